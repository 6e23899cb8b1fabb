"""What the shadow-model attacks share: features of a row, shadow-wise folds, the threshold."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from forget_audit.attacks._references import entropies
from forget_audit.attacks._together import together
from forget_audit.contracts import Fitted, FreshGenerator, Scores
from forget_audit.errors import NotApplicable
from forget_audit.pools import Pool, Shadow
from forget_audit.targets import Target
from forget_audit.types import Case, Floats, Rows

FEWEST_SHADOWS = 2
AT_ONCE = 200_000  # rows scored together


@dataclass(frozen=True, kw_only=True, eq=False)
class Lessons:
    """What the attack model learns from.

    Args:
        features: `(shadows * n, columns)`.
        member: Whether the row was trained on by its shadow `(shadows * n,)`.
        shadow: Which shadow it is `(shadows * n,)`; folds never split one.
    """

    features: Floats
    member: npt.NDArray[np.bool_]
    shadow: npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, eq=False)
class Pair:
    """A shadow before and after the audited method made it forget some of its rows.

    Args:
        before: As trained.
        after: With the rows forgotten.
        rows: The auxiliary rows that were forgotten or never trained on.
        forgotten: Which of `rows` were forgotten `(n,)`.
    """

    before: Target
    after: Target
    rows: Rows
    forgotten: npt.NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True, eq=False)
class Learnt:
    """A fitted attack model.

    Args:
        score: Maps features `(n, columns)` to scores `(n,)`, higher for members.
        held_out: Scores of the lessons `(shadows * n,)`, each by a model that has seen no row of
            the same shadow.
    """

    score: Callable[[Floats], Floats]
    held_out: Floats


def features(target: Target, rows: Rows, n_classes: int, top: int) -> Floats:
    """Return the features of each row `(n, min(top, n_classes) + 4 + n_classes)`.

    They are the largest probabilities in order, log-odds, loss, entropy, whether the answer is
    right, and the label as indicators.
    """
    p, phi, losses = target.probabilities(rows), target.log_odds(rows), target.losses(rows)

    def compute() -> Floats:
        right = np.argmax(target.logits(rows), axis=1) == rows.y
        columns = [phi, losses, entropies(target, rows), right]
        largest = np.sort(p, axis=1)[:, ::-1][:, :top]
        return np.column_stack([largest, *columns, np.eye(n_classes)[rows.y]])

    return target.once(rows, ("shadow features", n_classes, top), compute)


def lessons(pool: Pool, case: Case, top: int) -> Lessons:
    """Return the auxiliary rows as each shadow sees them.

    Raises:
        NotApplicable: With fewer than two shadows, or if one has no members or only members.
    """
    shadows = _usable(pool, case)
    parts = [features(shadow.target, case.auxiliary, case.n_classes, top) for shadow in shadows]
    return Lessons(
        features=np.concatenate(parts),
        member=np.concatenate([shadow.members for shadow in shadows]),
        shadow=np.repeat(np.arange(len(shadows)), len(case.auxiliary)),
    )


def pairs(pool: Pool, case: Case) -> list[Pair]:
    """Return each shadow before and after it forgot, with the rows that tell the two apart.

    Raises:
        NotApplicable: With fewer than two shadows, or if one did not go through the method.
    """
    found = []
    for shadow in _usable(pool, case):
        after, forgotten = shadow.after, shadow.forgotten
        if after is None or forgotten is None:
            raise NotApplicable(
                "needs shadow models that the audited method has made forget some of their rows, "
                "found shadows that did not go through it; let the audit run the method itself "
                "and train shadow models"
            )
        if not forgotten.any():
            raise NotApplicable("needs forgotten rows in each shadow, found one without")
        asked = forgotten | ~shadow.members
        found.append(
            Pair(
                before=shadow.target,
                after=after,
                rows=case.auxiliary.take(asked),
                forgotten=forgotten[asked],
            )
        )
    return found


def forgotten_lessons(pool: Pool, case: Case, top: int) -> Lessons:
    """Return forgotten and never-trained rows as each shadow sees them after it forgot.

    Raises:
        NotApplicable: With fewer than two shadows, or if one did not go through the method.
    """
    known = pairs(pool, case)
    return Lessons(
        features=np.concatenate(
            [features(pair.after, pair.rows, case.n_classes, top) for pair in known]
        ),
        member=np.concatenate([pair.forgotten for pair in known]),
        shadow=np.repeat(np.arange(len(known)), [len(pair.rows) for pair in known]),
    )


def fitted(case: Case, top: int, known: Lessons, learnt: Learnt) -> Fitted:
    """Return the attack that scores forget and control rows by what was learnt from shadows."""
    fitted_on = frozenset(case.auxiliary.ids.tolist())
    threshold = best_threshold(learnt.held_out[known.member], learnt.held_out[~known.member])

    def score_many(targets: Sequence[Target], _fresh: FreshGenerator) -> list[Scores]:
        several = max(AT_ONCE // len(case.test), 1)
        groups = [targets[k : k + several] for k in range(0, len(targets), several)]
        return [
            Scores(
                forget=forget,
                control=control,
                forget_ids=case.forget.ids,
                control_ids=case.test.ids,
                fitted_on=fitted_on,
                threshold=threshold,
            )
            for group in groups
            for forget, control in zip(
                *(_scored(learnt, group, rows, case, top) for rows in (case.forget, case.test)),
                strict=True,
            )
        ]

    return together(score_many, fitted_on)


def _scored(learnt: Learnt, targets: Sequence[Target], rows: Rows, case: Case, top: int) -> Floats:
    """Return the scores `(targets, n)` of rows."""
    seen = [features(target, rows, case.n_classes, top) for target in targets]
    return learnt.score(np.concatenate(seen)).reshape(len(targets), len(rows))


def best_threshold(members: Floats, others: Floats) -> float:
    """Return the best percentile of held-out scores to tell members from others at."""
    candidates = np.quantile(np.concatenate([members, others]), np.linspace(0, 1, 101))
    missed, left = (np.searchsorted(np.sort(part), candidates) for part in (members, others))
    rates = ((len(members) - missed) / len(members) + left / len(others)) / 2
    return float(candidates[np.argmax(rates)])


def _usable(pool: Pool, case: Case) -> tuple[Shadow, ...]:
    shadows = pool.shadows
    if len(shadows) < FEWEST_SHADOWS:
        raise NotApplicable(
            f"needs at least {FEWEST_SHADOWS} shadow models, found {len(shadows)}; ask for shadow "
            "models and give auxiliary rows to train them on"
        )
    for shadow in shadows:
        if shadow.members.shape != case.auxiliary.ids.shape:
            raise NotApplicable(
                f"shadow models speak of {len(shadow.members)} auxiliary rows, the case has "
                f"{len(case.auxiliary)}"
            )
        if shadow.members.all() or not shadow.members.any():
            raise NotApplicable("each shadow needs auxiliary rows in and out of its training set")
    return shadows
