"""A model measured against a pool of retrained models: the statistics of the verdict.

Every member of the pool, the audited model included, is scored by the others. If the audited
model is one more retrained model, the rows of the resulting table are exchangeable, so rank
tests on them are exact for any network and any request.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from forget_audit import stats
from forget_audit.nulls import Sums, total
from forget_audit.outputs import Derived
from forget_audit.types import Floats, Scope
from forget_audit.verdict.influence import CAP as CAP
from forget_audit.verdict.influence import TOP_SHARE as TOP_SHARE
from forget_audit.verdict.influence import Influences as Influences
from forget_audit.verdict.influence import influences as influences
from forget_audit.verdict.row_statistics import statistics_of_rows

TINY = 1e-12
INSTANCE_FAMILY = (
    "rho_p",
    "rho",
    "zauc",
    "dispersion",
    "loss_auc",
    "js",
    "entropy",
    "tpr1",
    "rho_top",
)
CLASS_FAMILY = ("rho_p", "js", "js_test", "entropy", "entropy_test", "label_shift")
WHITEBOX_FAMILY = ("probe", "relearn", "first_probe")
ATTRIBUTE_FAMILY = ("rho_p", "head", "relearn", "first_probe")
FIDELITY_FAMILY = ("retain_accuracy", "test_accuracy", "test_z", "label_shift")
ATTRIBUTE_FIDELITY = ("retain_accuracy", "test_accuracy")


def primaries(names: Iterable[str]) -> tuple[str, ...]:
    """Return those of `names` that must be shown equivalent before anything can pass."""
    return tuple(name for name in ("rho_p", "probe") if name in names)


@dataclass(frozen=True, kw_only=True, eq=False)
class Measured:
    """Statistics of one model against the reference models.

    Args:
        values: By name, on the scale on which they are tested (log-odds of rates, log of
            ratios).
        row_error: Standard error of `rho_p` over rows.
    """

    values: Mapping[str, float]
    row_error: float


def leave_one_out(
    derived: Derived,
    pool: npt.NDArray[np.int64],
    originals: Derived,
    scope: Scope,
    *,
    primary_only: bool = False,
) -> list[Measured]:
    """Measure every model at the positions `pool` against all the others there.

    Goes through the pool a few models at a time, so that it needs memory for the log-odds and
    for few models' worth of everything else.

    Args:
        derived: Row scores of all models.
        pool: Positions of the models that are compared.
        originals: Row scores of models trained with the forget rows.
        scope: Class and sub-class requests compare within the class, without difficulty
            adjustment. Attribute requests look at what `traces` found of the label, in features
            and head, because the head of a retrained model has never been taught it.
        primary_only: Whether to measure the primary statistics alone.

    Raises:
        ValueError: With fewer than three models.
    """
    if len(pool) < 3:
        raise ValueError(f"expected at least three models, found {len(pool)}")
    part = derived.take(pool)
    if scope == "attribute":
        return _of_attribute(part, originals)
    columns = statistics_of_rows(part, originals, scope, primary_only=primary_only)
    row_error = columns.pop("row_error")
    for name, values in part.traces.items() if scope != "instance" else ():
        columns[name] = _share_left(values, float(originals.traces[name].mean()))
    return [
        Measured(
            values={name: float(column[m]) for name, column in columns.items()},
            row_error=float(row_error[m]),
        )
        for m in range(len(part))
    ]


def primary_values(
    derived: Derived,
    model: int,
    reference: npt.NDArray[np.int64],
    originals: Derived,
    scope: Scope,
    null: stats.Null | None = None,
) -> dict[str, float]:
    """Return the primary statistics of the model at one position against reference models.

    The same numbers as `leave_one_out` gives for it, without those of all the others.

    Args:
        derived: Row scores of all models.
        model: Position of the model.
        reference: Positions of the reference models.
        originals: Row scores of models trained with the forget rows.
        scope: As in `leave_one_out`.
        null: `null_of` the reference models, if it is known already.
    """
    if scope == "attribute":
        name = _main_trace(derived)
        traces = derived.traces[name][np.append(reference, model)]
        return {"rho_p": float(_share_left(traces, float(originals.traces[name].mean()))[-1])}
    known = null or null_of(derived.take(reference))
    own = next(derived.take(np.array([model])).each_p())
    adjust = scope == "instance"
    size, trained = total(originals.each_p())
    main = influences(known, own, trained / size, derived.n_f, adjust=adjust)
    values = {"rho_p": float(main.rho)}
    if "probe" in derived.traces:
        traces = derived.traces["probe"][np.append(reference, model)]
        share = _share_left(traces, float(originals.traces["probe"].mean()))
        values["probe"] = float(share[-1])
    return values


def null_of(models: Derived) -> stats.Null:
    """Return what models say of the probability of each unit's label."""
    return Sums.of(models.each_p).null()


def evidence_rows(null: stats.Null, originals: Derived) -> float:
    """Return how many forget rows carry the evidence, going by retrained models and originals."""
    size, trained = total(originals.each_p())
    mean = trained / size
    return float(influences(null, mean, mean, originals.n_f, adjust=False).n_eff)


def _of_attribute(part: Derived, originals: Derived) -> list[Measured]:
    """Measure the share of a label that is left: in features, head, and after relearning."""
    columns = {
        name: _share_left(values, float(originals.traces[name].mean()))
        for name, values in part.traces.items()
    }
    columns["rho_p"] = columns[_main_trace(part)]
    columns |= {"retain_accuracy": part.retain_accuracy, "test_accuracy": part.test_accuracy}
    return [
        Measured(values={name: float(c[m]) for name, c in columns.items()}, row_error=0.0)
        for m in range(len(part))
    ]


def _main_trace(derived: Derived) -> str:
    """Return where a label is looked for: the features, or the head without access to them."""
    return "probe" if "probe" in derived.traces else "head"


def _share_left(values: Floats, original_mean: float) -> Floats:
    """Return where each value lies between the mean of the others, 0, and of the originals, 1."""
    others = (values.sum() - values) / (len(values) - 1)
    effect = original_mean - others
    flat = np.abs(effect) <= TINY
    return np.asarray(np.where(flat, 0.0, (values - others) / np.where(flat, 1.0, effect)))
