"""The forgetting quality of the NeurIPS 2023 unlearning challenge, next to what is attainable."""

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from forget_audit.contracts import AttackInfo, Scores
from forget_audit.errors import NotApplicable
from forget_audit.experiments._models import Copies, draw_copies, log_odds
from forget_audit.registry import experiment
from forget_audit.targets import Target
from forget_audit.trials import Lab
from forget_audit.types import Case, Floats
from forget_audit.verdict import epsilon

FEWEST_MODELS = 8
BUCKET = 0.5
NARROW = 0.01


@experiment
@dataclass(frozen=True, kw_only=True)
class ChallengeQuality:
    """Tell unlearned from retrained models on each forget row and average how hard it was.

    Let `N` unlearned and `N` retrained models give log-odds on a forget row. All single
    thresholds (the group with the larger median is expected above) and all pairs (the group with
    the smaller range is expected between) are tried on these very models; each gives
    `eps = max(ln(1 - delta - FPR) - ln FNR, ln(1 - delta - FNR) - ln FPR, 0)`. Thresholds with
    exactly one rate of zero are dropped, two zeros count 50, and so does a group whose range is
    below a hundredth of the other's. The row's value is the largest; it earns
    `H = 2^-floor(eps / 0.5)`, and 0 from `ceil(ln(N - 1))` on. The quality `F` is the mean of `H`.

    The maximum over thresholds is biased upwards, so identical laws do not earn 1: about a third
    with single thresholds alone, about a tenth with pairs. `quality_null` is therefore `F` of `N`
    further retrained models, compared with the same retrained ones, and the headline is
    `F / quality_null`. `score` is `F` times the ratios of retain and of test accuracy.

    Args:
        models: Unlearned models `N`; twice as many are retrained.
        delta: Probability for which epsilon need not hold.

    Raises:
        ValueError: If a field is out of its range.

    References:
        Triantafillou et al. (2024), Are We Making Progress in Unlearning? Findings from the first
        NeurIPS unlearning competition, arXiv:2406.09073.

    Departures:
        All thresholds between observed values are tried instead of a grid of hundredths, and
        pairs of any width. The paper gives no value for held-out retrained models; it used 512
        models of a kind, the default here is 32, so `F` is comparable only between equal `N`.
    """

    info: ClassVar[AttackInfo] = AttackInfo(
        name="challenge_quality",
        title="Challenge forgetting quality",
        card="E6",
        paper="arXiv:2406.09073",
        access="score",
        kind="method",
        question=(
            "Record by record, how hard is it to tell models made by this method from models "
            "that never saw the record, compared with what is attainable?"
        ),
        perfect="About 1, which is what further retrained models get.",
        headline="relative_quality",
    )
    models: int = 32
    delta: float = 1e-5

    def __post_init__(self) -> None:
        if self.models < FEWEST_MODELS:
            raise ValueError(f"models must be at least {FEWEST_MODELS}, found {self.models}")
        if not 0 <= self.delta < 1:
            raise ValueError(f"delta must lie in [0, 1), found {self.delta}")

    def run(self, lab: Lab, case: Case, rng: np.random.Generator) -> Scores:
        """Score the unlearned models, and as many retrained ones, against retrained ones.

        Raises:
            NotApplicable: If the retrained models leave nothing to compare with.
        """
        n = self.models
        copies = draw_copies(lab, case, rng, unlearned=n, retrained=2 * n)
        unlearned, retrained = (
            log_odds(group, case)[:, : len(case.forget)]
            for group in (copies.unlearned, copies.retrained)
        )
        epsilons = row_epsilons(unlearned, retrained[:n], self.delta)
        quality = float(np.mean(weights(epsilons, n)))
        null = float(np.mean(weights(row_epsilons(retrained[n:], retrained[:n], self.delta), n)))
        utility = _accuracy_ratio(copies, n, case)
        if null == 0:
            raise NotApplicable(
                "two groups of retrained models are told apart on every record, so the quality has "
                "no yardstick; ask for more models"
            )
        return Scores(
            scalars={
                "relative_quality": quality / null,
                "quality": quality,
                "quality_null": null,
                "score": quality * utility,
                "median_epsilon": float(np.median(epsilons)),
            }
        )


def row_epsilons(unlearned: Floats, retrained: Floats, delta: float) -> Floats:
    """Return the plug-in epsilon `(n,)` of each row from scores `(models, n)`."""
    pairs = zip(unlearned.T, retrained.T, strict=True)
    return np.array([row_epsilon(u, r, delta) for u, r in pairs])


def row_epsilon(unlearned: Floats, retrained: Floats, delta: float) -> float:
    """Return the largest plug-in epsilon over single and double thresholds on one row."""
    slim, wide = sorted((unlearned, retrained), key=lambda group: float(np.ptp(group)))
    if np.ptp(slim) < NARROW * np.ptp(wide):
        return epsilon.SEPARATED
    cuts = np.unique(np.concatenate([slim, wide]))
    start, end = np.triu_indices(len(cuts) + 1, 1)

    def share_between(group: Floats) -> Floats:
        below = np.searchsorted(np.sort(group), cuts, side="right") / len(group)
        below = np.append(0.0, below)
        return np.asarray(below[end] - below[start])

    double = epsilon.largest_epsilon(share_between(wide), 1 - share_between(slim), delta)
    return max(epsilon.oracle_epsilon(unlearned, retrained, delta=delta), double)


def weights(epsilons: Floats, models: int) -> Floats:
    """Return `2^-floor(epsilon / 0.5)`, and 0 from the largest measurable epsilon on."""
    largest = math.ceil(math.log(models - 1))
    return np.where(epsilons < largest, 2.0 ** -np.floor(epsilons / BUCKET), 0.0)


def _accuracy_ratio(copies: Copies, n: int, case: Case) -> float:
    """Return retain times test accuracy of the unlearned models over those of retrained ones."""
    parts = (case.retain, case.never_trained)

    def product(targets: list[Target]) -> float:
        return math.prod(float(np.mean([t.accuracy(rows) for t in targets])) for rows in parts)

    reference = product(copies.retrained[:n])
    if reference == 0:
        raise NotApplicable(
            "retrained models get every kept or every test record wrong, so accuracies have no "
            "ratio; check the recipe"
        )
    return product(copies.unlearned) / reference
