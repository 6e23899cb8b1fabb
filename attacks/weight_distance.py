"""How far each layer has moved away from the model before unlearning."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from forget_audit.contracts import AttackInfo, Fitted, Scores, Series
from forget_audit.errors import NotApplicable
from forget_audit.pools import Pool
from forget_audit.registry import attack
from forget_audit.targets import Target
from forget_audit.types import Case, Floats

FLOOR = 1e-8


@attack
@dataclass(frozen=True, kw_only=True)
class WeightDistance:
    """Measure the relative distance of each layer from the parent model.

    `|W - W_parent| / |W_parent|` over all weights of a layer, as a decimal logarithm; buffers,
    such as running means, apart. A layer at distance zero was frozen: whatever it knew of the
    forget rows, it still knows. Distances prove nothing either way, since distant weights can
    compute the same function, so they describe and never decide.

    References:
        Tarun et al. (2023), Fast Yet Effective Machine Unlearning, arXiv:2111.08947.
        Thudi et al. (2022), On the Necessity of Auditable Algorithmic Definitions for Machine
        Unlearning, arXiv:2110.11891.

    Departures:
        The yardstick of the same initialisation and data order, without which distances of
        retrained models mean little, is printed when that twin is known. Distances are cut at
        1e-8, about the rounding of the weights.
    """

    info: ClassVar[AttackInfo] = AttackInfo(
        name="weight_distance",
        title="Distance of the weights",
        card="A20",
        paper="arXiv:2111.08947",
        access="weights",
        kind="model",
        question="Which parts of the model were changed at all by the unlearning, and how much?",
        perfect=(
            "No set value: retrained models are far away from the original in all layers, and a "
            "part that has not moved cannot have forgotten anything."
        ),
        headline="mean_log_distance",
        heads=frozenset({"single", "multi"}),
    )

    def fit(self, pool: Pool, case: Case, rng: np.random.Generator) -> Fitted:  # noqa: ARG002
        """Take the weights of the parent, and of its twin if there is one.

        Raises:
            NotApplicable: Without the parent.
        """
        if pool.parent is None:
            raise NotApplicable("needs the model before unlearning, which was not handed in")
        parent, twin = pool.parent, pool.twin

        def score(target: Target, _rng: np.random.Generator) -> Scores:
            layers, buffers = _distances(target, parent)
            scalars = {
                "mean_log_distance": float(np.mean(_logs(layers))),
                "frozen_layers": float(sum(value == 0 for value in layers.values())),
            }
            series = {"layers": _series(layers)}
            if buffers:
                series["buffers"] = _series(buffers)
            if twin is not None:
                twin_layers, _ = _distances(twin, parent)
                scalars["twin_mean_log_distance"] = float(np.mean(_logs(twin_layers)))
                series["layers_twin"] = _series(twin_layers)
            return Scores(scalars=scalars, series=series)

        return Fitted(score=score)


def _distances(target: Target, parent: Target) -> tuple[dict[str, float], dict[str, float]]:
    """Return the distances of the layers, and those of the buffers, each by name."""
    ours, theirs = target.weights(), parent.weights()
    shapes = ({name: w.shape for name, w in weights.items()} for weights in (ours, theirs))
    if next(shapes) != next(shapes):
        raise NotApplicable("the model has other layers than the model before unlearning")
    parameters = target.parameter_names()
    layers: dict[str, list[str]] = {}
    for name in parameters:
        layers.setdefault(name.rpartition(".")[0] or name, []).append(name)
    buffers = [name for name in ours if name not in parameters]
    return (
        {layer: _distance(ours, theirs, names) for layer, names in layers.items()},
        {name: _distance(ours, theirs, [name]) for name in buffers},
    )


def _distance(ours: Mapping[str, Floats], theirs: Mapping[str, Floats], names: list[str]) -> float:
    moved = np.concatenate([(ours[name] - theirs[name]).ravel() for name in names])
    size = np.concatenate([theirs[name].ravel() for name in names])
    return float(np.linalg.norm(moved)) / max(float(np.linalg.norm(size)), FLOOR)


def _logs(distances: Mapping[str, float]) -> Floats:
    return np.log10(np.maximum(list(distances.values()), FLOOR))


def _series(distances: Mapping[str, float]) -> Series:
    return Series(
        x_label="layer",
        y_label="log10 of the relative distance",
        x=tuple(distances),
        y=tuple(_logs(distances).tolist()),
    )
