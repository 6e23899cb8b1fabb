"""The zero-retrain-forgetting score: how much like an untrained network a model answers."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from torch import nn

from forget_audit import stats
from forget_audit.contracts import AttackInfo, Fitted, Scores
from forget_audit.errors import NotApplicable
from forget_audit.pools import Pool
from forget_audit.registry import attack
from forget_audit.seeds import derive, draw_seed, seeded_torch
from forget_audit.targets import Target
from forget_audit.training.trainers import RecipeTrainer
from forget_audit.types import Case, Floats, Rows

FEWEST_NETWORKS = 10


@attack
@dataclass(frozen=True, kw_only=True)
class ZeroRetrainForgetting:
    """Compare the answers on the forget rows with those of untrained networks.

    `zrf = 1 - mean JS(p_U(x), p_0(x))` over the forget rows `x` and over untrained networks `0`
    of the same architecture, with `JS` the Jensen-Shannon divergence in bits, from 0 to 1. It is
    near 1 for a model that answers the forget rows like noise. That is no sign of forgetting:
    retrained models recognise much about rows that they never saw and lie well below 1, and a
    model above them draws attention to the rows. The score can be computed without retrained
    models, but means nothing without them.

    Args:
        networks: Untrained networks, at least 10, drawn once for all targets.

    References:
        Chundawat et al. (2023), Can Bad Teaching Induce Forgetting? Unlearning in Deep Networks
        Using an Incompetent Teacher, arXiv:2205.08096.

    Departures:
        The paper takes one untrained network and calls 1 ideal. We take the mean over many, since
        the choice of one moves the score, and read it against retrained models.
    """

    info: ClassVar[AttackInfo] = AttackInfo(
        name="zrf",
        title="Likeness to an untrained network",
        card="A23",
        paper="arXiv:2205.08096",
        access="score",
        kind="model",
        question="Does the model answer the deleted records suspiciously much at random?",
        perfect=(
            "The value of models retrained without the records, which is below 1; more than that "
            "is a deviation too."
        ),
        headline="zrf",
    )
    networks: int = FEWEST_NETWORKS

    def __post_init__(self) -> None:
        if self.networks < FEWEST_NETWORKS:
            raise ValueError(f"networks must be at least {FEWEST_NETWORKS}, found {self.networks}")

    def fit(self, pool: Pool, case: Case, rng: np.random.Generator) -> Fitted:
        """Draw the untrained networks and take their answers on the forget rows.

        Raises:
            NotApplicable: If neither the recipe nor a reference model gives the architecture, or
                if a layer of it cannot be drawn anew.
        """
        seed = draw_seed(rng)
        seeds = [derive(seed, "network", k) for k in range(self.networks)]
        networks = untrained(pool, case, seeds)
        at_random = np.stack([_probabilities(Target(model), case.forget) for model in networks])

        def score(target: Target, _rng: np.random.Generator) -> Scores:
            apart = stats.jensen_shannon(_probabilities(target, case.forget), at_random)
            return Scores(scalars={"zrf": 1 - float(np.mean(apart))})

        return Fitted(score=score)


def untrained(pool: Pool, case: Case, seeds: list[int]) -> list[nn.Module]:
    """Return one network a seed, as the recipe starts from or with all layers drawn anew."""
    if isinstance(case.trainer, RecipeTrainer):
        return [case.trainer.fresh(seed) for seed in seeds]
    known = (*pool.retrained, *pool.originals)
    if not known:
        raise NotApplicable(
            "needs the recipe or a reference model to know the architecture of untrained "
            "networks, found neither; give a recipe or ask for retrained models"
        )
    return [_drawn_anew(known[0].model_copy(), seed) for seed in seeds]


def _drawn_anew(model: nn.Module, seed: int) -> nn.Module:
    with seeded_torch(seed):
        for name, module in model.named_modules():
            reset = getattr(module, "reset_parameters", None)
            if callable(reset):
                reset()
            elif any(True for _ in module.parameters(recurse=False)):
                raise NotApplicable(
                    f"needs layers that can be drawn anew, and {type(module).__name__} "
                    f"{name!r} has no reset_parameters; use a registered architecture"
                )
    return model


def _probabilities(target: Target, rows: Rows) -> Floats:
    return stats.probabilities(target.logits(rows))
