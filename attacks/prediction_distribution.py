"""What the model answers on the forget rows, as a distribution, beside what is natural."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from forget_audit import stats
from forget_audit.attacks._references import log_odds, retrained_log_odds
from forget_audit.contracts import AttackInfo, Fitted, Scores
from forget_audit.pools import Pool
from forget_audit.registry import attack
from forget_audit.targets import Target
from forget_audit.types import Case, Floats

EXTREME = 3.0


@attack
@dataclass(frozen=True, kw_only=True)
class PredictionDistribution:
    """Compare the answers on the forget rows with what retrained models answer there.

    A model that was pushed too far gives itself away: it answers one label to all forget rows, or
    none with any confidence. With `h` the shares of the predicted labels among the forget rows,
    `total_variation = sum_k |h_k - mean h_k| / 2` against the mean over retrained models;
    `histogram_entropy` is the entropy of `h` in nats and `largest_share` its maximum.
    `confidence_gap` and `entropy_gap` are the mean largest probability and the mean entropy of
    the prediction, in nats, less the same of the retrained models. `extreme_share` is the share
    of forget rows whose log-odds lie more than three standard deviations from those under
    retrained models, on either side.

    References:
        Golatkar et al. (2020), Eternal Sunshine of the Spotless Net, arXiv:1911.04933 (forgetting
        that shows, called the Streisand effect).
        Tarun et al. (2023), Fast Yet Effective Machine Unlearning, arXiv:2111.08947 (the
        prediction distribution of a forgotten class).

    Departures:
        The papers show histograms; we put numbers on them and read each beside retrained models.
        The spread of the log-odds is shrunk towards the mean one over forget and control rows.
    """

    info: ClassVar[AttackInfo] = AttackInfo(
        name="prediction_distribution",
        title="Distribution of the answers",
        card="A24",
        paper="arXiv:2111.08947",
        access="score",
        kind="model",
        question=(
            "Does the model answer the deleted records in a way that no retrained model would, "
            "such as with one answer for all of them?"
        ),
        perfect="The value of retrained models against each other; neither 0 nor as low as can be.",
        headline="total_variation",
        leave_one_out=True,
    )

    def fit(self, pool: Pool, case: Case, rng: np.random.Generator) -> Fitted:  # noqa: ARG002
        """Learn from the retrained models what is natural.

        Raises:
            NotApplicable: With fewer than two retrained models.
        """
        null = stats.calibrate(retrained_log_odds(pool, case))
        usual_shares = np.mean([_label_shares(t, case) for t in pool.retrained], axis=0)
        usual_confidence, usual_entropy = np.mean(
            [_sureness(target, case) for target in pool.retrained], axis=0
        )
        n_f = len(case.forget)

        def score(target: Target, _rng: np.random.Generator) -> Scores:
            shares = _label_shares(target, case)
            confidence, entropy = _sureness(target, case)
            z = null.z(log_odds(target, case))[:n_f]
            return Scores(
                scalars={
                    "total_variation": float(np.abs(shares - usual_shares).sum() / 2),
                    "histogram_entropy": float(stats.entropy(shares)),
                    "largest_share": float(shares.max()),
                    "confidence_gap": float(confidence - usual_confidence),
                    "entropy_gap": float(entropy - usual_entropy),
                    "extreme_share": float(np.mean(np.abs(z) > EXTREME)),
                }
            )

        return Fitted(score=score)


def _label_shares(target: Target, case: Case) -> Floats:
    """Return the share of each class `(classes,)` among the labels predicted on forget rows."""
    logits = target.logits(case.forget)
    counts = np.bincount(np.argmax(logits, axis=1), minlength=logits.shape[1])
    return np.asarray(counts / len(logits), dtype=np.float64)


def _sureness(target: Target, case: Case) -> tuple[float, float]:
    """Return mean largest probability and mean entropy of the predictions on forget rows."""
    p = stats.probabilities(target.logits(case.forget))
    return float(np.mean(p.max(axis=1))), float(np.mean(stats.entropy(p)))
