"""The cross-validated loss attack: can forget rows be told from control rows by their losses?"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import numpy as np
import numpy.typing as npt
from sklearn.model_selection import StratifiedKFold

from forget_audit import stats
from forget_audit.attacks._together import together
from forget_audit.contracts import AttackInfo, Fitted, FreshGenerator, Scores
from forget_audit.errors import NotApplicable
from forget_audit.logistic import fit_many
from forget_audit.outputs import unit_means, units_of
from forget_audit.pools import Pool
from forget_audit.registry import attack
from forget_audit.support_vectors import decide_many
from forget_audit.targets import Target
from forget_audit.types import Case, Floats

AT_ONCE = 2_000_000  # numbers standardised for the models that are scored together

Index = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]
# Decision values (fits, n) of scaled values (fits, n), classes (n,) and rows learnt from (fits, n).
Judge = Callable[[Floats, Mask, Mask], Floats]


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

        def score_many(targets: Sequence[Target], _fresh: FreshGenerator) -> list[Scores]:
            several = max(AT_ONCE // (2 * size * self.folds * self.samplings), 1)
            groups = [targets[k : k + several] for k in range(0, len(targets), several)]
            return [found for group in groups for found in scores(group)]

        def scores(targets: Sequence[Target]) -> list[Scores]:
            losses = np.stack([_losses(target, case) for target in targets])
            accuracy, area = _rates(partial(logistic, c=self.c), losses, deals)
            svm_accuracy, svm_area = _rates(partial(decide_many, c=self.svm_c), losses, svm_deals)
            return [
                Scores(
                    scalars={
                        "accuracy": float(accuracy[k]),
                        "out_of_fold_auc": float(area[k]),
                        "svm_accuracy": float(svm_accuracy[k]),
                        "svm_out_of_fold_auc": float(svm_area[k]),
                    }
                )
                for k in range(len(targets))
            ]

        return together(score_many)


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


def out_of_fold(judge: Judge, values: Floats, deals: Sequence[Deal]) -> Floats:
    """Return the decision values `(deals, models, 2 n)` of rows by fits that have not seen them.

    Args:
        judge: Fits once a deal, model and fold, to the rows of the other folds.
        values: The feature of each row `(models, rows)`.
        deals: Sub-samplings of one size: who is a member, and the folds.
    """
    member, folds = deals[0].member == 1, int(deals[0].fold.max()) + 1
    parts = [
        _standardised(np.take(values, dealt.rows, axis=1), dealt.fold, folds) for dealt in deals
    ]
    scaled, known = (np.stack(part) for part in zip(*parts, strict=True))
    flat = (-1, len(member))
    decisions = judge(scaled.reshape(flat), member, known.reshape(flat)).reshape(scaled.shape)
    every = np.arange(len(member))
    return np.stack(
        [each[:, dealt.fold, every] for each, dealt in zip(decisions, deals, strict=True)]
    )


def _standardised(values: Floats, fold: Index, folds: int) -> tuple[Floats, Mask]:
    """Return values scaled by the rows of the other folds, and which these are.

    Either is `(models, folds, 2 n)`.
    """
    known = fold != np.arange(folds)[:, None]
    number = known.sum(axis=1, keepdims=True)
    off = values[:, None] - np.sum(values[:, None] * known, axis=2, keepdims=True) / number
    spread = np.sqrt(np.sum(off**2 * known, axis=2, keepdims=True) / number)
    return off / np.where(spread > 0, spread, 1.0), np.broadcast_to(known, off.shape)


def logistic(x: Floats, y: Mask, known: Mask, c: float) -> Floats:
    """Judge by logistic regressions, all of them at once."""
    slope, intercept = fit_many(x, np.broadcast_to(y, x.shape), known, c)
    return slope[:, None] * x + intercept[:, None]


def _rates(judge: Judge, losses: Floats, deals: Sequence[Deal]) -> tuple[Floats, Floats]:
    """Return accuracy and AUC `(models,)` of out-of-fold decisions, averaged over sub-samplings."""
    member = deals[0].member == 1
    decisions = out_of_fold(judge, losses, deals)
    areas = [stats.aucs(each[:, member], each[:, ~member]) for each in decisions]
    return np.mean((decisions > 0) == member, axis=(0, 2)), np.mean(areas, axis=0)


def _losses(target: Target, case: Case) -> Floats:
    return np.concatenate(
        [unit_means(target.losses(rows), units_of(rows)) for rows in (case.forget, case.test)]
    )
