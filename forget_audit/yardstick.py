"""A model measured against a pool of retrained models: the statistics of the verdict.

Every member of the pool, the audited model included, is scored by the others. If the audited
model is one more retrained model, the rows of the resulting table are exchangeable, so rank
tests on them are exact for any network and any request.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from forget_audit import stats
from forget_audit.types import Floats, Labels, Scope

CAP = 3.0
TOP_SHARE = 0.1
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
FIDELITY_FAMILY = ("retain_accuracy", "test_accuracy", "test_z", "label_shift")


@dataclass(frozen=True, kw_only=True, eq=False)
class Outputs:
    """What a group of models says of the forget and the never-trained rows.

    Args:
        logits_f: Logits `(models, n_f, classes)` on the forget rows; log-probabilities do too.
        logits_t: Logits `(models, n_t, classes)` on the control rows.
        y_f: Labels `(n_f,)`.
        y_t: Labels `(n_t,)`.
        retain_accuracy: Accuracy on retained rows `(models,)`.
        test_accuracy: Accuracy on all never-trained test rows `(models,)`.
    """

    logits_f: Floats
    logits_t: Floats
    y_f: Labels
    y_t: Labels
    retain_accuracy: Floats
    test_accuracy: Floats

    def __len__(self) -> int:
        return len(self.logits_f)

    def take(self, index: npt.NDArray[np.int64]) -> "Outputs":
        """Return the models at `index`."""
        return Outputs(
            logits_f=self.logits_f[index],
            logits_t=self.logits_t[index],
            y_f=self.y_f,
            y_t=self.y_t,
            retain_accuracy=self.retain_accuracy[index],
            test_accuracy=self.test_accuracy[index],
        )

    @staticmethod
    def concat(*groups: "Outputs") -> "Outputs":
        """Return the models of all groups, which must be on the same rows."""
        first = groups[0]
        return Outputs(
            logits_f=np.concatenate([group.logits_f for group in groups]),
            logits_t=np.concatenate([group.logits_t for group in groups]),
            y_f=first.y_f,
            y_t=first.y_t,
            retain_accuracy=np.concatenate([group.retain_accuracy for group in groups]),
            test_accuracy=np.concatenate([group.test_accuracy for group in groups]),
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class Derived:
    """Row scores computed once from `Outputs`; forget rows first, control rows after.

    Args:
        phi: Log-odds of the label `(models, n)`.
        p: Probability of the label `(models, n)`.
        loss: Cross-entropy `(models, n)`.
        entropy: Of the prediction `(models, n)`.
        predictions: Softmax `(models, n, classes)`.
        label_shares: Share of forget rows given each class `(models, classes)`.
        retain_accuracy: As in `Outputs`.
        test_accuracy: As in `Outputs`.
        n_f: Number of forget rows.
    """

    phi: Floats
    p: Floats
    loss: Floats
    entropy: Floats
    predictions: Floats
    label_shares: Floats
    retain_accuracy: Floats
    test_accuracy: Floats
    n_f: int

    def __len__(self) -> int:
        return len(self.phi)

    def take(self, index: npt.NDArray[np.int64]) -> "Derived":
        """Return the models at `index`."""
        return Derived(
            phi=self.phi[index],
            p=self.p[index],
            loss=self.loss[index],
            entropy=self.entropy[index],
            predictions=self.predictions[index],
            label_shares=self.label_shares[index],
            retain_accuracy=self.retain_accuracy[index],
            test_accuracy=self.test_accuracy[index],
            n_f=self.n_f,
        )

    @staticmethod
    def of(outputs: Outputs) -> "Derived":
        """Derive all row scores of `outputs`."""
        logits = np.concatenate([outputs.logits_f, outputs.logits_t], axis=1)
        labels = np.concatenate([outputs.y_f, outputs.y_t])
        predictions = stats.probabilities(logits)
        phi = stats.log_odds(logits, labels)
        n_f, classes = outputs.logits_f.shape[1:]
        answers = np.argmax(outputs.logits_f, axis=-1)
        return Derived(
            phi=phi,
            p=stats.label_probability(phi),
            loss=stats.cross_entropy(logits, labels),
            entropy=stats.entropy(predictions),
            predictions=predictions,
            label_shares=(answers[..., None] == np.arange(classes)).mean(axis=1),
            retain_accuracy=outputs.retain_accuracy,
            test_accuracy=outputs.test_accuracy,
            n_f=n_f,
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class Influence:
    """The residual influence of the forget rows on one model.

    Args:
        rho: 0 like a retrained model, 1 like an original, below 0 over-removed.
        standard_error: Over rows, linearised.
        n_eff: Number of forget rows that carry the evidence.
    """

    rho: float
    standard_error: float
    n_eff: float


def influence(
    null: stats.Null,
    scores: Floats,
    original_mean: Floats,
    n_f: int,
    *,
    cap: float | None = CAP,
    adjust: bool = True,
    rows: npt.NDArray[np.bool_] | None = None,
) -> Influence:
    """Return the share of the forget rows' measurable influence that is left in a model.

    `d` is how far training on a row moves its score, in units of seed-to-seed spread; `z` is
    how far the audited model's score lies from retrained ones, less what difficulty explains.
    The projection `sum w z / sum w d` with `w = clip(d, -cap, cap)` is 0 for a retrained model
    and 1 for an original; without a cap it is the normalised log-likelihood ratio of the
    per-example Gaussian test summed over the forget set.

    Args:
        null: Of the forget and control rows, from the reference models.
        scores: Of the audited model on the same rows `(n,)`, forget rows first.
        original_mean: Mean score of the originals on the same rows `(n,)`.
        n_f: Number of forget rows.
        cap: Largest weight of a row; unlimited if none.
        adjust: Whether to take off what difficulty explains.
        rows: Mask over the forget rows to look at; all if left out.
    """
    z = null.z(scores)
    if adjust:
        z = stats.remove_difficulty(z, null, slice(n_f, None))
    d = null.z(original_mean)[:n_f]
    z = z[:n_f]
    if rows is not None:
        d, z = d[rows], z[rows]
    w = d if cap is None else np.clip(d, -cap, cap)
    weight = w * d
    total = float(np.sum(weight))
    if total <= 1e-12:
        return Influence(rho=0.0, standard_error=float("inf"), n_eff=0.0)
    rho = float(np.sum(w * z)) / total
    parts = w * (z - rho * d) / total
    n = len(d)
    error = float(np.sqrt(np.sum(parts**2) * n / (n - 1))) if n > 1 else float("inf")
    return Influence(rho=rho, standard_error=error, n_eff=total**2 / float(np.sum(weight**2)))


@dataclass(frozen=True, kw_only=True, eq=False)
class Measured:
    """Statistics of one model against one set of reference models.

    Args:
        values: By name, on the scale on which they are tested (log-odds of rates, log of
            ratios).
        row_error: Standard error of `rho_p` over rows.
    """

    values: Mapping[str, float]
    row_error: float


def measure(
    derived: Derived, model: int, reference: npt.NDArray[np.int64], originals: Derived, scope: Scope
) -> Measured:
    """Measure one model against `reference` models of the same pool.

    Args:
        derived: Row scores of the whole pool.
        model: Position of the model in the pool.
        reference: Positions of the models it is compared with.
        originals: Row scores of models trained with the forget rows.
        scope: Class requests compare within the class, without difficulty adjustment.
    """
    n_f = derived.n_f
    null_p = stats.calibrate(derived.p[reference])
    null_phi = stats.calibrate(derived.phi[reference])
    original_p, original_phi = originals.p.mean(axis=0), originals.phi.mean(axis=0)
    instance = scope == "instance"
    main = influence(null_p, derived.p[model], original_p, n_f, adjust=instance)
    mean_prediction = derived.predictions[reference].mean(axis=0)
    js = stats.jensen_shannon(derived.predictions[model], mean_prediction)
    z = null_phi.z(derived.phi[model])
    values = {"rho_p": main.rho, **_fidelity(derived, model, reference, z)}
    if instance:
        whole = influence(null_phi, derived.phi[model], original_phi, n_f, cap=None)
        d = null_phi.z(original_phi)[:n_f]
        top = d >= np.quantile(d, 1 - TOP_SHARE)
        worst = influence(null_phi, derived.phi[model], original_phi, n_f, cap=None, rows=top)
        values |= {"rho": whole.rho, "rho_top": worst.rho}
        values |= _contrasts(z, derived.loss[model], js, derived.entropy[model], n_f)
    else:
        values |= {
            "js": float(np.log(js[:n_f].mean() + 1e-12)),
            "js_test": float(np.log(js[n_f:].mean() + 1e-12)),
            "entropy": float(derived.entropy[model][:n_f].mean()),
            "entropy_test": float(derived.entropy[model][n_f:].mean()),
        }
    return Measured(values=values, row_error=main.standard_error)


def _contrasts(
    z: Floats, loss: Floats, js: Floats, entropies: Floats, n_f: int
) -> dict[str, float]:
    """Compare forget with control rows of one model, on scales with a steady spread."""
    n_t = len(z) - n_f
    pairs = n_f * n_t
    values = {
        "zauc": stats.log_odds_of_count(stats.auc(z[:n_f], z[n_f:]) * pairs, pairs),
        "loss_auc": stats.log_odds_of_count(stats.auc(-loss[:n_f], -loss[n_f:]) * pairs, pairs),
        "dispersion": float(np.log(np.mean(z[:n_f] ** 2)) - np.log(np.mean(z[n_f:] ** 2))),
        "js": float(np.log(js[:n_f].mean() + 1e-12) - np.log(js[n_f:].mean() + 1e-12)),
        "entropy": float(entropies[:n_f].mean() - entropies[n_f:].mean()),
    }
    hits = stats.true_positives_at(z[:n_f], z[n_f:], 0.01)
    if hits is not None:
        values["tpr1"] = stats.log_odds_of_count(hits[0], n_f)
    return values


def _fidelity(
    derived: Derived, model: int, reference: npt.NDArray[np.int64], z: Floats
) -> dict[str, float]:
    """Compare the model as a whole with the reference models: not forget-specific."""
    shares = derived.label_shares
    shift = 0.5 * np.abs(shares[model] - shares[reference].mean(axis=0)).sum()
    return {
        "retain_accuracy": float(derived.retain_accuracy[model]),
        "test_accuracy": float(derived.test_accuracy[model]),
        "test_z": float(z[derived.n_f :].mean()),
        "label_shift": float(shift),
    }


def leave_one_out(
    derived: Derived, pool: npt.NDArray[np.int64], originals: Derived, scope: Scope
) -> list[Measured]:
    """Measure every model at the positions `pool` against all the others there."""
    return [measure(derived, model, pool[pool != model], originals, scope) for model in pool]
