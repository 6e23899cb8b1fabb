"""The offline likelihood-ratio attack: each row against models that never saw it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from forget_audit import stats
from forget_audit.attacks._references import log_odds, nulls_of_others, retrained_log_odds
from forget_audit.contracts import AttackInfo, Fitted, FreshGenerator, Scores
from forget_audit.pools import Pool
from forget_audit.registry import attack
from forget_audit.targets import Target
from forget_audit.types import Case

TINY = 1e-12


@attack
@dataclass(frozen=True, kw_only=True)
class Lira:
    """Score a row by how far its log-odds lie above those under retrained models.

    Models retrained without the forget rows say what is normal for each single row, however
    hard it is. The score is `z = (phi - mu) / sigma` with mean and shrunk spread of the log-odds
    `phi` of the label over those models. Next to the row scores stand the mean of `z` over the
    forget rows and the dispersion `log mean z_f^2 - log mean z_t^2`, which also rises when a
    method has pushed the forget rows further away than retraining would.

    References:
        Carlini et al. (2022), Membership Inference Attacks From First Principles,
        arXiv:2112.03570 (the offline variant).
        Hayes et al. (2024), Inexact Unlearning Needs More Careful Evaluations to Avoid a False
        Sense of Privacy, arXiv:2403.01218.

    Departures:
        The score is `z` instead of the tail probability `Phi(z)`: the same order, no rounding to
        one. The variance of a row is shrunk towards the mean variance instead of being either
        its own or common to all. The models without the row are the retrained ones, for forget
        and control rows alike, so no further model is trained.
    """

    info: ClassVar[AttackInfo] = AttackInfo(
        name="lira",
        title="Likelihood ratio per record",
        card="A06",
        paper="arXiv:2112.03570",
        access="score",
        kind="membership",
        question=(
            "Is the model surer of each deleted record than models that never saw that record?"
        ),
        perfect="0.5, because each record is compared with itself under retrained models.",
        headline="auc",
        heads=frozenset({"single", "multi"}),
        leave_one_out=True,
        statistics=("zauc", "dispersion", "tpr1"),
    )

    def fit(self, pool: Pool, case: Case, rng: np.random.Generator) -> Fitted:  # noqa: ARG002
        """Learn mean and spread of each row's log-odds from the retrained models."""
        return _against(stats.calibrate(retrained_log_odds(pool, case)), case)

    def fit_each(self, pool: Pool, case: Case, fresh: FreshGenerator) -> Sequence[Fitted]:  # noqa: ARG002
        """Learn the same from all retrained models but one, each left out in turn."""
        nulls = nulls_of_others(retrained_log_odds(pool, case))
        return [_against(null, case) for null in nulls]


def _against(null: stats.Null, case: Case) -> Fitted:
    """Return the attack that scores rows in standard deviations of the null."""
    n_f = len(case.forget)

    def score(target: Target, _rng: np.random.Generator) -> Scores:
        z = null.z(log_odds(target, case))
        forget, control = z[:n_f], z[n_f:]
        spread_f, spread_t = np.mean(forget**2), np.mean(control**2)
        return Scores(
            forget=forget,
            control=control,
            forget_ids=case.forget.ids,
            control_ids=case.test.ids,
            scalars={
                "mean_z": float(np.mean(forget)),
                "dispersion": float(np.log(spread_f + TINY) - np.log(spread_t + TINY)),
            },
        )

    return Fitted(score=score)
