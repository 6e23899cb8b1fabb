"""Attribute inference: can a sensitive column of the forget rows be read off the model?"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from forget_audit import stats
from forget_audit.contracts import AttackInfo, Fitted, Scores
from forget_audit.errors import NotApplicable
from forget_audit.pools import Pool
from forget_audit.registry import attack
from forget_audit.targets import Target
from forget_audit.types import Case, Floats, Labels, Rows, Sensitive


@attack
@dataclass(frozen=True, kw_only=True)
class AttributeInference:
    """Guess a sensitive value as the one under which the model makes the smallest error.

    An attacker who knows all of a record but one column tries every value it can take and reads
    the loss. The likelihoods of the label under the values, normalised, are the scores; each
    value against the rest gives an AUC, and the mean over values is reported. Much of that needs
    no model, since columns go together: the baseline predicts the value from the other columns
    and the label, learnt on auxiliary rows, and `excess_auc` is what the model adds.
    `balanced_accuracy` (one value against the rest, so one half is chance) calls a value where
    its score is at or above the quantile that, on the auxiliary rows, calls it as often as it
    occurs there; `bits` is the information in it, above and below one half alike.

    Args:
        c: Inverse strength of the ridge penalty of the baseline, as in scikit-learn.

    References:
        Yeom et al. (2018), Privacy Risk in Machine Learning: Analyzing the Connection to
        Overfitting, arXiv:1709.01604.
        Jayaraman and Evans (2022), Are Attribute Inference Attacks Just Imputation?,
        arXiv:2209.01292.

    Departures:
        The likelihoods are not weighted by how frequent the values are: AUC and balanced
        accuracy do not depend on it.
    """

    info: ClassVar[AttackInfo] = AttackInfo(
        name="attribute_inference",
        title="Attribute inference",
        card="A12",
        paper="arXiv:2209.01292",
        access="score",
        kind="model",
        question=(
            "Can a private detail of the deleted records be guessed better with the model than "
            "without it?"
        ),
        perfect=(
            "The value of models retrained without the records; details that go together with "
            "others can be guessed without any model."
        ),
        headline="excess_auc",
    )
    c: float = 1.0

    def __post_init__(self) -> None:
        if not self.c > 0:
            raise ValueError(f"c must be above 0, found {self.c}")

    def fit(self, pool: Pool, case: Case, rng: np.random.Generator) -> Fitted:  # noqa: ARG002
        """Learn the baseline from the auxiliary rows.

        Raises:
            NotApplicable: Without a sensitive column, or if it does not vary where it must.
        """
        if case.sensitive is None:
            raise NotApplicable("needs a sensitive column, and the case names none")
        if not len(case.auxiliary):
            raise NotApplicable("needs auxiliary rows that no model was trained on, found none")
        truth_f = _truth(case.forget, case.sensitive)
        truth_a = _truth(case.auxiliary, case.sensitive)
        n_values = len(case.sensitive.values)
        if len(np.unique(truth_f)) < 2:
            raise NotApplicable("all forget rows have the same sensitive value: nothing to guess")
        if len(np.unique(truth_a)) < n_values:
            raise NotApplicable("needs auxiliary rows with every sensitive value")
        baseline = make_pipeline(StandardScaler(), LogisticRegression(C=self.c, max_iter=2000))
        baseline.fit(_covariates(case.auxiliary, case), truth_a)
        log_p = baseline.predict_log_proba(_covariates(case.forget, case))
        baseline_auc = _macro_auc(_against_rest(log_p), truth_f)
        candidates_f = _candidates(case.forget, case.sensitive)
        candidates_a = _candidates(case.auxiliary, case.sensitive)
        fitted_on = frozenset(case.auxiliary.ids.tolist())

        def score(target: Target, _rng: np.random.Generator) -> Scores:
            scores_f = _against_rest(_log_likelihoods(target, candidates_f))
            scores_a = _against_rest(_log_likelihoods(target, candidates_a))
            success = _balanced_accuracy(scores_f, truth_f, _thresholds(scores_a, truth_a))
            auc = _macro_auc(scores_f, truth_f)
            return Scores(
                fitted_on=fitted_on,
                scalars={
                    "auc": auc,
                    "baseline_auc": baseline_auc,
                    "excess_auc": auc - baseline_auc,
                    "balanced_accuracy": success,
                    "bits": stats.bits_of_success(success),
                },
            )

        return Fitted(score=score, fitted_on=fitted_on)


def _flat(rows: Rows) -> Floats:
    return np.asarray(rows.x, dtype=np.float64).reshape(len(rows), -1)


def _truth(rows: Rows, sensitive: Sensitive) -> Labels:
    """Return the position of each row's value among the sensitive values."""
    column = _flat(rows)[:, sensitive.column]
    gaps = np.abs(column[:, None] - np.asarray(sensitive.values))
    if np.any(gaps.min(axis=1) > 1e-5 * (1 + np.abs(column))):
        raise NotApplicable(
            "a row holds a value of the sensitive column that is none of those it may take"
        )
    return np.asarray(np.argmin(gaps, axis=1), dtype=np.int64)


def _candidates(rows: Rows, sensitive: Sensitive) -> list[Rows]:
    """Return the rows once for each sensitive value, all of them given that value."""
    copies = []
    for value in sensitive.values:
        x = np.array(rows.x)
        x.reshape(len(rows), -1)[:, sensitive.column] = value
        copies.append(Rows(x=x, y=rows.y, ids=rows.ids))
    return copies


def _covariates(rows: Rows, case: Case) -> Floats:
    assert case.sensitive is not None
    others = np.delete(_flat(rows), case.sensitive.column, axis=1)
    return np.column_stack([others, np.eye(case.n_classes)[rows.y]])


def _log_likelihoods(target: Target, candidates: list[Rows]) -> Floats:
    """Return `log p(label | other columns, value)` `(n, values)`."""
    return np.column_stack(
        [-stats.cross_entropy(target.logits(rows), rows.y) for rows in candidates]
    )


def _against_rest(log_p: Floats) -> Floats:
    """Return the log-odds of each value against the others `(n, values)`."""
    n, n_values = log_p.shape
    return np.column_stack([stats.log_odds(log_p, np.full(n, v)) for v in range(n_values)])


def _macro_auc(scores: Floats, truth: Labels) -> float:
    """Return the mean AUC of each value that occurs against the rest."""
    return float(
        np.mean([stats.auc(scores[truth == v, v], scores[truth != v, v]) for v in np.unique(truth)])
    )


def _thresholds(scores: Floats, truth: Labels) -> Floats:
    """Return the score `(values,)` at which each value is called as often as it is true."""
    return np.array(
        [np.quantile(scores[:, v], np.mean(truth != v)) for v in range(scores.shape[1])]
    )


def _balanced_accuracy(scores: Floats, truth: Labels, thresholds: Floats) -> float:
    """Return the mean balanced accuracy of calling each value that occurs against the rest."""
    rates = [
        stats.balanced_accuracy(scores[truth == v, v], scores[truth != v, v], thresholds[v])
        for v in np.unique(truth)
    ]
    return float(np.mean(rates))
