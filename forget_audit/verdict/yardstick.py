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
from forget_audit.outputs import Derived
from forget_audit.types import Floats, Scope

CAP = 3.0
TOP_SHARE = 0.1
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


@dataclass(frozen=True, kw_only=True, eq=False)
class Influences:
    """The residual influence of the forget rows on one or more models.

    Args:
        rho: 0 like a retrained model, 1 like an original, below 0 over-removed.
        standard_error: Over rows, linearised.
        n_eff: Number of forget rows that carry the evidence.
    """

    rho: Floats
    standard_error: Floats
    n_eff: Floats


def influences(
    null: stats.Null,
    scores: Floats,
    original_mean: Floats,
    n_f: int,
    *,
    cap: float | None = CAP,
    adjust: bool = True,
    rows: npt.NDArray[np.bool_] | None = None,
) -> Influences:
    """Return the share of the forget rows' measurable influence that is left in each model.

    `d` is how far training on a row moves its score, in units of seed-to-seed spread; `z` is
    how far the audited model's score lies from retrained ones, less what difficulty explains.
    The projection `sum w z / sum w d` with `w = clip(d, -cap, cap)` is 0 for a retrained model
    and 1 for an original; without a cap it is the normalised log-likelihood ratio of the
    per-example Gaussian test summed over the forget set.

    Args:
        null: Of the forget and control rows `(..., n)`, from the reference models.
        scores: Of the audited models on the same rows `(..., n)`, forget rows first.
        original_mean: Mean score of the originals on the same rows `(n,)`.
        n_f: Number of forget rows.
        cap: Largest weight of a row; unlimited if none.
        adjust: Whether to take off what difficulty explains.
        rows: Mask over the forget rows `(..., n_f)` to look at; all if left out.
    """
    z = null.z(scores)
    if adjust:
        z = stats.remove_difficulty(z, null, slice(n_f, None))
    d, z = null.z(original_mean)[..., :n_f], z[..., :n_f]
    w = d if cap is None else np.clip(d, -cap, cap)
    counted = np.ones(d.shape, dtype=bool) if rows is None else np.broadcast_to(rows, d.shape)
    w = np.where(counted, w, 0.0)
    total = np.sum(w * d, axis=-1)
    empty = total <= 1e-12
    safe = np.where(empty, 1.0, total)
    rho = np.where(empty, 0.0, np.sum(w * z, axis=-1) / safe)
    parts = w * (z - rho[..., None] * d) / safe[..., None]
    n = counted.sum(axis=-1)
    alone = empty | (n < 2)
    error = np.sqrt(np.sum(parts**2, axis=-1) * n / np.where(alone, 1, n - 1))
    n_eff = safe**2 / np.where(empty, 1.0, np.sum((w * d) ** 2, axis=-1))
    return Influences(
        rho=np.asarray(rho),
        standard_error=np.asarray(np.where(alone, np.inf, error)),
        n_eff=np.asarray(np.where(empty, 0.0, n_eff)),
    )


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
    derived: Derived, pool: npt.NDArray[np.int64], originals: Derived, scope: Scope
) -> list[Measured]:
    """Measure every model at the positions `pool` against all the others there.

    Args:
        derived: Row scores of all models.
        pool: Positions of the models that are compared.
        originals: Row scores of models trained with the forget rows.
        scope: Class and sub-class requests compare within the class, without difficulty
            adjustment. Attribute requests look at what `traces` found of the label, in features
            and head, because the head of a retrained model has never been taught it.
    """
    part, n_f = derived.take(pool), derived.n_f
    if scope == "attribute":
        return _of_attribute(part, originals)
    null_p = stats.leave_one_out_nulls(part.p)
    null_phi = stats.leave_one_out_nulls(part.phi)
    instance = scope == "instance"
    main = influences(null_p, part.p, originals.p.mean(axis=0), n_f, adjust=instance)
    z = null_phi.z(part.phi)
    others = (part.predictions.sum(axis=0) - part.predictions) / (len(part) - 1)
    js = part.of_units(stats.jensen_shannon(part.predictions, others))
    columns = {"rho_p": main.rho, **_fidelity(part, z)}
    if instance:
        columns |= _log_odds_influence(part, null_phi, originals.phi.mean(axis=0))
        columns |= _contrasts(z, part.loss, js, part.entropy, n_f)
    else:
        columns |= {
            "js": np.log(js[:, :n_f].mean(axis=1) + TINY),
            "js_test": np.log(js[:, n_f:].mean(axis=1) + TINY),
            "entropy": part.entropy[:, :n_f].mean(axis=1),
            "entropy_test": part.entropy[:, n_f:].mean(axis=1),
        }
        for name, values in part.traces.items():
            columns[name] = _share_left(values, float(originals.traces[name].mean()))
    return [
        Measured(
            values={name: float(column[m]) for name, column in columns.items()},
            row_error=float(main.standard_error[m]),
        )
        for m in range(len(part))
    ]


def primary_values(
    derived: Derived, model: int, reference: npt.NDArray[np.int64], originals: Derived, scope: Scope
) -> dict[str, float]:
    """Return the primary statistics of the model at one position against reference models.

    The same numbers as `leave_one_out` gives for it, without those of all the others.
    """
    if scope == "attribute":
        name = _main_trace(derived)
        traces = derived.traces[name][np.append(reference, model)]
        return {"rho_p": float(_share_left(traces, float(originals.traces[name].mean()))[-1])}
    null = stats.calibrate(derived.p[reference])
    trained = originals.p.mean(axis=0)
    adjust = scope == "instance"
    main = influences(null, derived.p[model], trained, derived.n_f, adjust=adjust)
    values = {"rho_p": float(main.rho)}
    if "probe" in derived.traces:
        traces = derived.traces["probe"][np.append(reference, model)]
        share = _share_left(traces, float(originals.traces["probe"].mean()))
        values["probe"] = float(share[-1])
    return values


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


def _log_odds_influence(
    part: Derived, null: stats.Null, original_mean: Floats
) -> dict[str, Floats]:
    """Residual influence on the log-odds: over all forget rows, and over the most exposed tenth."""
    d = null.z(original_mean)[:, : part.n_f]
    top = d >= np.quantile(d, 1 - TOP_SHARE, axis=1, keepdims=True)
    whole = influences(null, part.phi, original_mean, part.n_f, cap=None)
    worst = influences(null, part.phi, original_mean, part.n_f, cap=None, rows=top)
    return {"rho": whole.rho, "rho_top": worst.rho}


def _contrasts(
    z: Floats, loss: Floats, js: Floats, entropies: Floats, n_f: int
) -> dict[str, Floats]:
    """Compare forget with control rows of each model, on scales with a steady spread."""
    pairs = n_f * (z.shape[1] - n_f)

    def area(scores: Floats) -> Floats:
        wins = stats.aucs(scores[:, :n_f], scores[:, n_f:]) * pairs
        return stats.log_odds_of_count(wins, pairs)

    def log_mean(values: Floats) -> Floats:
        return np.asarray(np.log(values.mean(axis=1) + TINY))

    columns = {
        "zauc": area(z),
        "loss_auc": area(-loss),
        "dispersion": log_mean(z[:, :n_f] ** 2) - log_mean(z[:, n_f:] ** 2),
        "js": log_mean(js[:, :n_f]) - log_mean(js[:, n_f:]),
        "entropy": entropies[:, :n_f].mean(axis=1) - entropies[:, n_f:].mean(axis=1),
    }
    hits = [stats.true_positives_at(row[:n_f], row[n_f:], 0.01) for row in z]
    counts = [hit[0] for hit in hits if hit is not None]
    if counts:
        columns["tpr1"] = stats.log_odds_of_count(counts, n_f)
    return columns


def _fidelity(part: Derived, z: Floats) -> dict[str, Floats]:
    """Compare each model as a whole with the others: not forget-specific."""
    others = (part.label_shares.sum(axis=0) - part.label_shares) / (len(part) - 1)
    return {
        "retain_accuracy": part.retain_accuracy,
        "test_accuracy": part.test_accuracy,
        "test_z": z[:, part.n_f :].mean(axis=1),
        "label_shift": 0.5 * np.abs(part.label_shares - others).sum(axis=1),
    }
