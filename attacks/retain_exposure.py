"""Collateral: whether unlearning made the rows that were kept easier to recognise."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from forget_audit import stats
from forget_audit.attacks._references import nulls_of_others, two_or_more
from forget_audit.contracts import AttackInfo, Fitted, FreshGenerator, Scores
from forget_audit.pools import Pool
from forget_audit.registry import attack
from forget_audit.targets import Target
from forget_audit.types import Case, Floats

EXTREME = 3.0

Index = npt.NDArray[np.int64]


@attack
@dataclass(frozen=True, kw_only=True)
class RetainExposure:
    """Score retained rows by how far their log-odds lie above those under retrained models.

    Unlearning one person's rows can expose another's. Retained rows take the place of the forget
    rows in the likelihood-ratio attack: `z = (phi - mu) / sigma` with mean and shrunk spread of
    the log-odds `phi` of the label over retrained models. These were trained on the retained rows
    as well, so `z` says whether a row is fitted more than retraining fits it. `exposure_auc` sets
    the retained against never-trained rows, calibrated alike; `mean_z` is the mean over the
    retained rows and `extreme_share` the share of them with `z` above three.

    Args:
        max_rows: Retained rows taken, at most; drawn once for all targets.

    References:
        Hayes et al. (2024), Inexact Unlearning Needs More Careful Evaluations to Avoid a False
        Sense of Privacy, arXiv:2403.01218 (retained rows can become more exposed).
        Carlini et al. (2022), Membership Inference Attacks From First Principles,
        arXiv:2112.03570 (the offline variant).

    Departures:
        The first paper trains models without each retained row; we compare with models that were
        trained on it, so this measures a change and no exposure as such. Spreads are shrunk
        within each of the two groups, since rows that were trained on vary less. Class requests
        take never-trained rows of the other classes for comparison, if there are any.
    """

    info: ClassVar[AttackInfo] = AttackInfo(
        name="retain_exposure",
        title="Exposure of retained records",
        card="A28",
        paper="arXiv:2403.01218",
        access="score",
        kind="model",
        question=(
            "Did unlearning make the records that were kept easier to recognise than retraining "
            "would have?"
        ),
        perfect=(
            "0.5, because each record is compared with itself under retrained models; 0 for the "
            "mean."
        ),
        headline="exposure_auc",
        heads=frozenset({"single", "multi"}),
        leave_one_out=True,
    )
    max_rows: int = 500

    def __post_init__(self) -> None:
        if self.max_rows < 1:
            raise ValueError(f"max_rows must be at least 1, found {self.max_rows}")

    def fit(self, pool: Pool, case: Case, rng: np.random.Generator) -> Fitted:
        """Draw the retained rows, and learn mean and spread of each row's log-odds.

        Raises:
            NotApplicable: With fewer than two retrained models, which give no spread.
        """
        two_or_more(len(pool.retrained))
        chosen = self._chosen(case, rng)
        retained, unseen = _reference(pool, case, chosen)
        return _against(stats.calibrate(retained), stats.calibrate(unseen), case, chosen)

    def fit_each(self, pool: Pool, case: Case, fresh: FreshGenerator) -> Sequence[Fitted]:
        """Learn from all but one of the retrained models, for each of them, from sums."""
        chosen = self._chosen(case, fresh())
        retained, unseen = (nulls_of_others(phi) for phi in _reference(pool, case, chosen))
        return [
            _against(null_r, null_t, case, chosen)
            for null_r, null_t in zip(retained, unseen, strict=True)
        ]

    def _chosen(self, case: Case, rng: np.random.Generator) -> Index:
        return np.sort(rng.permutation(len(case.retain))[: self.max_rows])


def _reference(pool: Pool, case: Case, chosen: Index) -> tuple[Floats, Floats]:
    """Return what `_log_odds` gives under retrained models `(models, n)`."""
    retained, unseen = zip(*(_log_odds(t, case, chosen) for t in pool.retrained), strict=True)
    return np.stack(retained), np.stack(unseen)


def _against(null_r: stats.Null, null_t: stats.Null, case: Case, chosen: Index) -> Fitted:
    """Return the attack that knows retrained models on retained and on never-trained rows."""

    def score(target: Target, _rng: np.random.Generator) -> Scores:
        retained, unseen = _log_odds(target, case, chosen)
        z, z_t = null_r.z(retained), null_t.z(unseen)
        return Scores(
            scalars={
                "exposure_auc": stats.auc(z, z_t),
                "mean_z": float(np.mean(z)),
                "extreme_share": float(np.mean(z > EXTREME)),
            }
        )

    return Fitted(score=score)


def _log_odds(target: Target, case: Case, chosen: Index) -> tuple[Floats, Floats]:
    """Return the log-odds of the chosen retained rows, and of never-trained ones."""
    unseen = case.test if case.others is None else case.others
    return target.log_odds(case.retain)[chosen], target.log_odds(unseen)
