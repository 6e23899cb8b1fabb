"""The cross-validated loss attack: can forget rows be told from control rows by their losses?"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from sklearn.model_selection import StratifiedKFold
from sklearn.svm import SVC

from forget_audit import stats
from forget_audit.contracts import AttackInfo, Fitted, Scores
from forget_audit.errors import NotApplicable
from forget_audit.logistic import fit_many
from forget_audit.outputs import unit_means, units_of
from forget_audit.pools import Pool
from forget_audit.registry import attack
from forget_audit.targets import Target
from forget_audit.types import Case, Floats, Rows

Index = npt.NDArray[np.int64]
# Decision values (folds, n) of scaled values (folds, n), classes (n,) and rows learnt from.
Judge = Callable[[Floats, npt.NDArray[np.bool_], npt.NDArray[np.bool_]], Floats]


@dataclass(frozen=True, kw_only=True, eq=False)
class Deal:
    """One sub-sampling with as many forget as control rows, dealt into folds.

    Args:
        rows: Positions `(2 n,)` among forget rows followed by control rows, each at most once.
        member: 1 for forget and 0 for control rows `(2 n,)`.
        fold: The one fold `(2 n,)` of each row: it is scored by a fit on all other folds.
    """

    rows: Index
    member: Index
    fold: Index


@attack
@dataclass(frozen=True, kw_only=True)
class LossCrossValidation:
    """Learn forget from control rows by the loss alone, and score each row out of fold.

    As many control rows as there are forget rows are drawn (the larger group is sub-sampled); the
    feature is the cross-entropy in nats, clipped to [0, 400]. Stratified folds partition the rows.
    A classifier is fitted on all folds but one, scaling included, and scores that one, so that
    every row is scored once and never by a fit that has seen it. `accuracy` is the share of rows
    put on the right side and `out_of_fold_auc` the AUC of the decision values of all folds taken
    together, both averaged over sub-samplings; `svm_*` are the same for a support-vector machine
    with a radial kernel. Sub-samplings and folds are the same for every model.

    Where a person has several rows, the person is what is drawn, dealt and scored, by the mean of
    the losses. Forget and control rows are learnt from here, each only for the scores of others:
    the guard against scoring what was fitted on holds fold by fold.

    Args:
        folds: Number of folds; at most as many as rows of a group.
        samplings: Sub-samplings of the logistic regression.
        svm_samplings: Sub-samplings of the support-vector machine, which takes longer.
        svm_rows: At most so many rows of a group for the support-vector machine.
        c: Inverse strength of the logistic regression's ridge penalty, as in scikit-learn.
        svm_c: The same of the support-vector machine.

    References:
        Kurmanji et al. (2023), Towards Unbounded Machine Unlearning, arXiv:2302.09880.
        Triantafillou et al. (2024), Are We Making Progress in Unlearning? Findings from the First
        NeurIPS Unlearning Competition, arXiv:2406.09073.
        Fan et al. (2023), SalUn: Empowering Machine Unlearning via Gradient-based Weight Saliency,
        arXiv:2310.12508 (the support-vector machine).

    Departures:
        Folds partition the rows, where public code draws repeated, overlapping test shares. No
        spread over folds is reported, since folds share rows. The support-vector machine sees the
        loss instead of confidences, few sub-samplings and a limited number of rows. On few rows
        the AUC of a perfect method lies a little below one half, because a fold's rows are missing
        where the direction is learnt; so all is read against retrained models.
    """

    info: ClassVar[AttackInfo] = AttackInfo(
        name="loss_cross_validation",
        title="Losses with cross-validation",
        card="A05",
        paper="arXiv:2302.09880",
        access="score",
        kind="model",
        question=(
            "Can the deleted records be told from never-seen records by the size of the model's "
            "error alone?"
        ),
        perfect="The value of models retrained without the records; it need not be 0.5.",
        headline="accuracy",
        heads=frozenset({"single", "multi"}),
    )
    folds: int = 10
    samplings: int = 20
    svm_samplings: int = 2
    svm_rows: int = 200
    c: float = 1.0
    svm_c: float = 3.0

    def __post_init__(self) -> None:
        for name, least in (("folds", 2), ("samplings", 1), ("svm_samplings", 1), ("svm_rows", 2)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be at least {least}, found {getattr(self, name)}")
        for name in ("c", "svm_c"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be above 0, found {getattr(self, name)}")

    def fit(self, pool: Pool, case: Case, rng: np.random.Generator) -> Fitted:  # noqa: ARG002
        """Draw sub-samplings and folds, the same for every target.

        Raises:
            NotApplicable: With fewer than two forget or two control rows.
        """
        n_f, n_t = case.forget.numbered()[0], case.test.numbered()[0]
        if min(n_f, n_t) < 2:
            raise NotApplicable(
                f"needs at least two forget and two control rows, found {n_f} and {n_t}; there is "
                "nothing to learn from one row"
            )
        size = min(n_f, n_t)
        deals = [deal(n_f, n_t, size, self.folds, rng) for _ in range(self.samplings)]
        smaller = min(size, self.svm_rows)
        svm_deals = [deal(n_f, n_t, smaller, self.folds, rng) for _ in range(self.svm_samplings)]

        def score(target: Target, _rng: np.random.Generator) -> Scores:
            losses = np.concatenate([_losses(target, rows) for rows in (case.forget, case.test)])
            accuracy, area = _rates(partial(logistic, c=self.c), losses, deals)
            machine = SVC(C=self.svm_c, tol=1e-5, random_state=0)  # without it, it draws globally
            svm_accuracy, svm_area = _rates(partial(one_by_one, machine), losses, svm_deals)
            return Scores(
                scalars={
                    "accuracy": accuracy,
                    "out_of_fold_auc": area,
                    "svm_accuracy": svm_accuracy,
                    "svm_out_of_fold_auc": svm_area,
                }
            )

        return Fitted(score=score)


def deal(n_f: int, n_t: int, size: int, folds: int, rng: np.random.Generator) -> Deal:
    """Draw `size` forget and `size` control rows and deal them into stratified folds.

    Args:
        n_f: Number of forget rows.
        n_t: Number of control rows.
        size: Rows of each group, at least 2.
        folds: Number of folds, at most `size` of which are used.
        rng: Draws rows and folds.
    """
    rows = np.concatenate([rng.permutation(n_f)[:size], n_f + rng.permutation(n_t)[:size]])
    member = np.repeat(np.array([1, 0], dtype=np.int64), size)
    seed = int(rng.integers(2**32))
    splits = StratifiedKFold(min(folds, size), shuffle=True, random_state=seed)
    fold = np.full(len(rows), -1, dtype=np.int64)
    for k, (_, held_out) in enumerate(splits.split(rows[:, None], member)):
        fold[held_out] = k
    return Deal(rows=rows, member=member, fold=fold)


def out_of_fold(judge: Judge, values: Floats, dealt: Deal) -> Floats:
    """Return the decision value `(2 n,)` of each row by a fit that has not seen it.

    Args:
        judge: Fits once a fold, to the rows of the other folds.
        values: The feature of each row of the sub-sampling `(2 n,)`.
        dealt: Who is a member, and the folds.
    """
    known = dealt.fold != np.arange(dealt.fold.max() + 1)[:, None]
    number = known.sum(axis=1, keepdims=True)
    mean = np.sum(values * known, axis=1, keepdims=True) / number
    off = values - mean
    spread = np.sqrt(np.sum(off**2 * known, axis=1, keepdims=True) / number)
    scaled = off / np.where(spread > 0, spread, 1.0)
    decisions = judge(scaled, dealt.member == 1, known)
    return np.asarray(decisions[dealt.fold, np.arange(len(values))])


def logistic(x: Floats, y: npt.NDArray[np.bool_], known: npt.NDArray[np.bool_], c: float) -> Floats:
    """Judge by logistic regressions, all folds at once."""
    slope, intercept = fit_many(x, np.broadcast_to(y, x.shape), known, c)
    return slope[:, None] * x + intercept[:, None]


def one_by_one(
    judge: Any, x: Floats, y: npt.NDArray[np.bool_], known: npt.NDArray[np.bool_]
) -> Floats:
    """Judge by a scikit-learn classifier with decision values, fold by fold."""
    decisions = np.full(x.shape, np.nan)
    for values, seen, answer in zip(x, known, decisions, strict=True):
        judge.fit(values[seen, None], y[seen])
        answer[~seen] = judge.decision_function(values[~seen, None])
    return decisions


def _rates(judge: Judge, losses: Floats, deals: Sequence[Deal]) -> tuple[float, float]:
    """Return accuracy and AUC of the out-of-fold decisions, averaged over sub-samplings."""
    accuracies, areas = [], []
    for dealt in deals:
        decisions = out_of_fold(judge, losses[dealt.rows], dealt)
        member = dealt.member == 1
        accuracies.append(np.mean((decisions > 0) == member))
        areas.append(stats.auc(decisions[member], decisions[~member]))
    return float(np.mean(accuracies)), float(np.mean(areas))


def _losses(target: Target, rows: Rows) -> Floats:
    return unit_means(stats.cross_entropy(target.logits(rows), rows.y), units_of(rows))
