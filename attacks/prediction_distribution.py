"""What the model answers on the forget rows, as a distribution, beside what is natural."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from forget_audit import stats
from forget_audit.attacks._references import (
    log_odds,
    means_of_others,
    nulls_of_others,
    retrained_log_odds,
)
from forget_audit.contracts import AttackInfo, Fitted, FreshGenerator, Scores
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
        shares, sureness = (values.mean(axis=0) for values in _answers(pool, case))
        return _against(null, shares, sureness, case)

    def fit_each(self, pool: Pool, case: Case, fresh: FreshGenerator) -> Sequence[Fitted]:  # noqa: ARG002
        """Learn from all but one of the retrained models, for each of them, from sums."""
        nulls = nulls_of_others(retrained_log_odds(pool, case))
        usual = zip(nulls, *map(means_of_others, _answers(pool, case)), strict=True)
        return [_against(null, shares, sureness, case) for null, shares, sureness in usual]


def _against(null: stats.Null, usual_shares: Floats, usual_sureness: Floats, case: Case) -> Fitted:
    """Return the attack that knows the usual log-odds, shares of labels, and sureness."""
    n_f = len(case.forget)

    def score(target: Target, _rng: np.random.Generator) -> Scores:
        shares = _label_shares(target, case)
        confidence_gap, entropy_gap = _sureness(target, case) - usual_sureness
        z = null.z(log_odds(target, case))[:n_f]
        return Scores(
            scalars={
                "total_variation": float(np.abs(shares - usual_shares).sum() / 2),
                "histogram_entropy": float(stats.entropy(shares)),
                "largest_share": float(shares.max()),
                "confidence_gap": float(confidence_gap),
                "entropy_gap": float(entropy_gap),
                "extreme_share": float(np.mean(np.abs(z) > EXTREME)),
            }
        )

    return Fitted(score=score)


def _answers(pool: Pool, case: Case) -> tuple[Floats, Floats]:
    """Return shares of labels `(models, classes)` and sureness `(models, 2)` of retrained ones."""
    return (
        np.stack([_label_shares(target, case) for target in pool.retrained]),
        np.stack([_sureness(target, case) for target in pool.retrained]),
    )


def _label_shares(target: Target, case: Case) -> Floats:
    """Return the share of each class `(classes,)` among the labels predicted on forget rows."""
    logits = target.logits(case.forget)
    counts = np.bincount(np.argmax(logits, axis=1), minlength=logits.shape[1])
    return np.asarray(counts / len(logits), dtype=np.float64)


def _sureness(target: Target, case: Case) -> Floats:
    """Return mean largest probability and mean entropy of the predictions on forget rows `(2,)`."""
    p = target.probabilities(case.forget)
    return np.array([np.mean(p.max(axis=1)), np.mean(stats.entropy(p))])
