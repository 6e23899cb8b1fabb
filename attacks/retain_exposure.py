"""Collateral: whether unlearning made the rows that were kept easier to recognise."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from forget_audit import stats
from forget_audit.contracts import AttackInfo, Fitted, Scores
from forget_audit.errors import NotApplicable
from forget_audit.pools import Pool
from forget_audit.registry import attack
from forget_audit.targets import Target
from forget_audit.types import Case, Floats, Rows

EXTREME = 3.0


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
        if len(pool.retrained) < 2:
            raise NotApplicable(
                f"needs at least two retrained models, found {len(pool.retrained)}; "
                "ask for more retrained models"
            )
        chosen = np.sort(rng.permutation(len(case.retain))[: self.max_rows])
        unseen = case.test if case.others is None else case.others

        def retained(target: Target) -> Floats:
            return _log_odds(target, case.retain)[chosen]

        null_r = stats.calibrate(np.stack([retained(target) for target in pool.retrained]))
        null_t = stats.calibrate(np.stack([_log_odds(target, unseen) for target in pool.retrained]))

        def score(target: Target, _rng: np.random.Generator) -> Scores:
            z, z_t = null_r.z(retained(target)), null_t.z(_log_odds(target, unseen))
            return Scores(
                scalars={
                    "exposure_auc": stats.auc(z, z_t),
                    "mean_z": float(np.mean(z)),
                    "extreme_share": float(np.mean(z > EXTREME)),
                }
            )

        return Fitted(score=score)


def _log_odds(target: Target, rows: Rows) -> Floats:
    return stats.log_odds(target.logits(rows), rows.y)
