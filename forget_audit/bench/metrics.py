"""What the benchmark measures of one model, against models retrained without the rows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import stats as distributions

from forget_audit import stats
from forget_audit.bench import inside as bench_inside
from forget_audit.bench.columns import measurable
from forget_audit.outputs import Derived, Outputs, units_of
from forget_audit.questions import answers, asked, kept_labels
from forget_audit.targets import Target
from forget_audit.types import Case, Floats, Scope
from forget_audit.verdict import yardstick

LEVEL = 0.95
CHANCE = 0.5
INVERTED, REMEMBERS, SCATTERED, SILENT = "INVERTED", "remembers", "scattered", "says nothing"


@dataclass(frozen=True, kw_only=True, eq=False)
class Seen:
    """What a group of models was asked.

    Args:
        outputs: Answers, accuracies and traces.
        probe_auc: Of the features `(models,)`; attribute requests only, if looked inside.
    """

    outputs: Outputs
    probe_auc: Floats | None = None

    def __len__(self) -> int:
        return len(self.outputs)

    def take(self, index: Sequence[int]) -> Seen:
        """Return the models at `index`."""
        places = np.asarray(index, dtype=np.int64)
        probes = None if self.probe_auc is None else self.probe_auc[places]
        return Seen(outputs=self.outputs.take(places), probe_auc=probes)

    def forget_accuracy(self) -> Floats:
        """Return the share of right answers on the forget rows, or on the forgotten label."""
        right = np.argmax(self.outputs.logits_f, axis=-1) == self.outputs.y_f
        return np.asarray(right.mean(axis=1), dtype=np.float64)

    def heads(self) -> list[tuple[Floats, Floats]]:
        """Return each model's output for the label on never-trained rows with it and without."""
        yes = self.outputs.logits_t[..., 1] - self.outputs.logits_t[..., 0]
        holds = self.outputs.y_t == 1
        return [(scores[holds], scores[~holds]) for scores in yes]


def ask(targets: Sequence[Target], case: Case, seed: int, *, inside: bool = True) -> Seen:
    """Ask all models about forget and never-trained rows, and look inside if the request allows.

    Args:
        targets: Models of one architecture, with access to weights.
        case: The request.
        seed: Draws examples and output layers, the same for every model.
        inside: Whether to look inside; models built in another way cannot be compared there.
    """
    rows = asked(case)
    retain, test = kept_labels(case.retain, case), kept_labels(case.never_trained, case)
    outputs = Outputs(
        logits_f=np.stack([answers(target, rows["f"], case) for target in targets]),
        logits_t=np.stack([answers(target, rows["t"], case) for target in targets]),
        y_f=rows["f"].y,
        y_t=rows["t"].y,
        units_f=units_of(rows["f"]),
        units_t=units_of(rows["t"]),
        retain_accuracy=np.array([target.accuracy(retain) for target in targets]),
        test_accuracy=np.array([target.accuracy(test) for target in targets]),
        traces=bench_inside.traces(targets, case, seed) if inside else {},
    )
    if case.scope != "attribute" or not inside:
        return Seen(outputs=outputs)
    probes = np.array([bench_inside.probe_auc(target, case) for target in targets])
    return Seen(outputs=outputs, probe_auc=probes)


def measure(model: Seen, references: Seen, originals: Seen, scope: Scope) -> dict[str, float]:
    """Return every metric of one model that could be measured, but those of cost.

    Args:
        model: One model; none of the references or originals.
        references: Retrained models.
        originals: Trained with the forget rows: what remembering looks like.
        scope: Of the request.
    """
    groups = [seen.outputs for seen in (references, originals, model)]
    seen_inside = model.outputs.traces
    if not seen_inside:
        groups = [replace(outputs, traces={}) for outputs in groups]
    derived = Derived.of(Outputs.concat(*groups))
    r, last, n_f = len(references), len(derived) - 1, derived.n_f
    losses = derived.loss[last]
    values = {
        "retain_accuracy": float(model.outputs.retain_accuracy[0]),
        "forget_accuracy": float(model.forget_accuracy()[0]),
        "test_accuracy": float(model.outputs.test_accuracy[0]),
        "gap": gap(model, references),
        "mia_auc": stats.auc(-losses[:n_f], -losses[n_f:]),
    }
    if seen_inside or scope != "attribute":
        pool, remembering = np.append(np.arange(r), last), derived.take(np.arange(r, last))
        shares = yardstick.leave_one_out(derived, pool, remembering, scope)[-1].values
        values["residual_influence"] = shares["rho_p"]
        values |= {name: shares[name] for name in seen_inside if name in measurable(scope)}
    if scope == "attribute":
        return values | _of_head(model)
    z = stats.calibrate(derived.phi[:r]).z(derived.phi[last])
    return values | {"zauc": stats.auc(z[:n_f], z[n_f:])}


def gap(model: Seen, references: Seen) -> float:
    """Return the mean absolute difference of three accuracies to retrained models."""
    pairs = [
        (seen.outputs.retain_accuracy, seen.forget_accuracy(), seen.outputs.test_accuracy)
        for seen in (model, references)
    ]
    return float(np.mean([abs(own[0] - other.mean()) for own, other in zip(*pairs, strict=True)]))


def _of_head(model: Seen) -> dict[str, float]:
    holds, lacks = model.heads()[0]
    area = stats.auc(holds, lacks)
    balanced = stats.balanced_accuracy(holds, lacks, np.nextafter(0.0, 1.0))
    probes = model.probe_auc
    return {
        "head_auc": area,
        "head_folded": abs(area - CHANCE),
        "balanced_accuracy": balanced,
        "balanced_folded": abs(balanced - CHANCE),
    } | ({} if probes is None else {"probe_auc": float(probes[0])})


def interval(values: Sequence[float], level: float = LEVEL) -> tuple[float, float] | None:
    """Return the t-interval of the mean of `values`; none for a single one."""
    n = len(values)
    if n < 2:
        return None
    mean, error = float(np.mean(values)), float(np.std(values, ddof=1)) / math.sqrt(n)
    half = float(distributions.t.isf((1 - level) / 2, n - 1)) * error
    return mean - half, mean + half


def call_of_head(
    areas: Sequence[float], over_rows: Sequence[tuple[float, float]], retrained: Sequence[float]
) -> str:
    """Say what the output of a forgotten label gives away.

    An output that ranks the rows the wrong way round tells as much as one that ranks them
    rightly: whoever flips it has the label back. `INVERTED` therefore is maximal leakage and not
    forgetting. The outputs of retrained models were never taught the label, and most of them rank
    the rows somehow, in one direction or the other, far beyond what the number of rows explains.
    So one such output proves nothing: every seed must have its interval on the same side, and the
    interval over seeds must lie there too. With a single seed, the area must lie beyond those of
    all retrained models instead.

    Args:
        areas: AUC of the output on never-trained rows, one a seed.
        over_rows: Interval of each over the rows.
        retrained: AUC of the outputs of retrained models.

    Returns:
        `INVERTED`; `remembers`, its mirror image; `says nothing` if all intervals hold .5; or
        `scattered`, as with outputs that were never taught.
    """
    over_seeds = interval(areas) or (areas[0], areas[0])
    low, high = zip(*over_rows, over_seeds, strict=True)
    alone = len(areas) == 1
    if max(high) < CHANCE and not (alone and min(retrained) <= areas[0]):
        return INVERTED
    if min(low) > CHANCE and not (alone and max(retrained) >= areas[0]):
        return REMEMBERS
    return SILENT if max(low) <= CHANCE <= min(high) else SCATTERED


def head_interval(model: Seen, k: int = 0) -> tuple[float, float]:
    """Return the interval over rows of the AUC of one model's output for the label."""
    return stats.auc_interval(*model.heads()[k], LEVEL)
