"""Runs in which an independent fair coin decides for each candidate whether it is forgotten."""

from dataclasses import dataclass

import numpy as np

from forget_audit import stats
from forget_audit.errors import NotApplicable
from forget_audit.experiments._models import check_confidence, draw_seeds
from forget_audit.experiments._rows import distinct
from forget_audit.trials import Lab
from forget_audit.types import Case, Floats, Rows
from forget_audit.verdict import epsilon

FEWEST_CANDIDATES = 20  # with fewer the coins may leave nothing to forget


@dataclass(frozen=True, kw_only=True)
class OneRunSettings:
    """What experiments with candidates and coins have in common.

    Args:
        candidates: Most candidates; half of them forget rows, half test rows.
        runs: Independent models that are trained and made to forget.
        guesses: Guesses in each run, fixed beforehand; even.
        references: Retrained models that say what is normal for a candidate.
        level: Confidence of the bounds.
        delta: Probability for which the bounds need not hold.

    Raises:
        ValueError: If a field is out of its range.
    """

    candidates: int = 200
    runs: int = 8
    guesses: int = 20
    references: int = 8
    level: float = 0.95
    delta: float = 0.0

    def __post_init__(self) -> None:
        least = {"candidates": FEWEST_CANDIDATES, "runs": 1, "guesses": 2, "references": 2}
        for name, lowest in least.items():
            if getattr(self, name) < lowest:
                raise ValueError(f"{name} must be at least {lowest}, found {getattr(self, name)}")
        if self.guesses % 2:
            raise ValueError(f"guesses must be even, found {self.guesses}")
        check_confidence(self.level, self.delta)


@dataclass(frozen=True, kw_only=True, eq=False)
class Guessed:
    """What became of the guesses in all runs.

    Args:
        r: Guesses.
        v: Right guesses.
        m: Candidates, counted once a run.
    """

    r: int
    v: int
    m: int


def guess_coins(
    lab: Lab, case: Case, rng: np.random.Generator, settings: OneRunSettings
) -> Guessed:
    """Carry out the runs and count right guesses.

    Raises:
        NotApplicable: If too few rows can be candidates, or the request is for a class.
    """
    candidates = _candidates(case, rng, settings)
    coins = rng.random((settings.runs, len(candidates))) < 0.5
    scores = _scores(lab, case, candidates, coins, rng, settings.references)
    right = epsilon.guesses(scores, coins, settings.guesses)
    return Guessed(r=right.size, v=int(right.sum()), m=coins.size)


def _candidates(case: Case, rng: np.random.Generator, settings: OneRunSettings) -> Rows:
    if case.scope == "class":
        raise NotApplicable(
            "coins are thrown for single records, and this request is for a whole class"
        )
    parts = [distinct(part) for part in (case.forget, case.test)]
    half = min(len(parts[0]), len(parts[1]), settings.candidates // 2)
    needed = max(FEWEST_CANDIDATES, settings.guesses)
    if 2 * half < needed:
        raise NotApplicable(
            f"needs {needed} different candidates, half of them records to forget and half test "
            f"records, found {2 * half}; guess less often or forget more records"
        )
    return Rows.concat(*(part.take(rng.permutation(len(part))[:half]) for part in parts))


def _scores(
    lab: Lab,
    case: Case,
    candidates: Rows,
    coins: epsilon.Flags,
    rng: np.random.Generator,
    references: int,
) -> Floats:
    """Return how far each candidate's log-odds lie above retrained models' `(runs, m)`."""
    kept = np.arange(len(case.retain))
    subsets = [np.append(kept, len(kept) + np.flatnonzero(coin)) for coin in coins]
    rows = Rows.concat(case.retain, candidates)
    originals = lab.train(rows, subsets, draw_seeds(rng, len(coins)))
    cases = [
        case.replace(forget=candidates.take(coin), test=candidates.take(~coin)) for coin in coins
    ]
    unlearned = lab.forget(originals, cases, draw_seeds(rng, len(coins)))
    retrained = lab.retrain(case, draw_seeds(rng, references))
    phi, reference = (
        np.stack([stats.log_odds(t.logits(candidates), candidates.y) for t in targets])
        for targets in (unlearned, retrained)
    )
    return stats.calibrate(reference).z(phi)
