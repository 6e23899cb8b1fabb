"""The share of the forget rows' measurable influence that is left in a model."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from forget_audit import stats
from forget_audit.attacks._references import log_odds, nulls_of_others, retrained_log_odds
from forget_audit.contracts import AttackInfo, Fitted, FreshGenerator, Scores
from forget_audit.errors import NotApplicable
from forget_audit.pools import Pool
from forget_audit.registry import attack
from forget_audit.targets import Target
from forget_audit.types import Case, Floats
from forget_audit.verdict.yardstick import TOP_SHARE, influences


@attack
@dataclass(frozen=True, kw_only=True)
class ResidualInfluence:
    """Project a model's deviation onto the deviation that training on the forget rows causes.

    Originals against retrained models show how far training on a row moves its score, `d`; the
    audited model shows how far it lies away, `z`, less what difficulty explains. The projection
    `rho = sum w z / sum w d` is 0 for a retrained model, 1 for an original and negative where too
    much was removed. With `w = d` on the log-odds it is the normalised likelihood ratio of the
    per-row Gaussian test, summed over the forget set (`rho`; `rho_top` on the most exposed
    tenth); `rho_p` takes label probabilities and caps the weight of a row. The most exposed rows
    are chosen by the reference models, never by the audited one.

    References:
        Carlini et al. (2022), Membership Inference Attacks From First Principles,
        arXiv:2112.03570 (the likelihood ratio of one row).

    Departures:
        The paper decides on single rows; we sum over the request and normalise. Class requests
        get `rho_p` alone, without adjustment for difficulty, since control rows of the same
        class move together with the forget rows.
    """

    info: ClassVar[AttackInfo] = AttackInfo(
        name="residual_influence",
        title="Residual influence",
        card="A10",
        paper="arXiv:2112.03570",
        access="score",
        kind="model",
        question="How much of what the model learnt from the deleted records is still in it?",
        perfect="0: nothing is left; 1 would be a model that was never unlearned.",
        headline="rho_p",
        leave_one_out=True,
        statistics=("rho_p", "rho", "rho_top"),
    )

    def fit(self, pool: Pool, case: Case, rng: np.random.Generator) -> Fitted:  # noqa: ARG002
        """Learn what is normal from retrained models, and the influence from originals.

        Raises:
            NotApplicable: Without originals, or if nothing was learnt from the forget rows.
        """
        reference = retrained_log_odds(pool, case)
        null_phi = stats.calibrate(reference)
        null_p = stats.calibrate(stats.label_probability(reference))
        return _against(null_phi, null_p, _originals(pool, case), case)

    def fit_each(self, pool: Pool, case: Case, fresh: FreshGenerator) -> Sequence[Fitted]:  # noqa: ARG002
        """Learn from all but one of the retrained models, for each of them, from sums."""
        reference = retrained_log_odds(pool, case)
        nulls_phi = nulls_of_others(reference)
        nulls_p = nulls_of_others(stats.label_probability(reference))
        original = _originals(pool, case)
        return [
            _against(null_phi, null_p, original, case)
            for null_phi, null_p in zip(nulls_phi, nulls_p, strict=True)
        ]


def _originals(pool: Pool, case: Case) -> Floats:
    """Return the log-odds of the labels `(models, n_f + n_t)` under the originals."""
    if not pool.originals:
        raise NotApplicable(
            "needs at least one original trained by the auditor with the forget rows, found "
            "none; ask for originals"
        )
    return np.stack([log_odds(target, case) for target in pool.originals])


def _against(null_phi: stats.Null, null_p: stats.Null, original: Floats, case: Case) -> Fitted:
    """Return the attack that knows what retrained models and originals answer."""
    original_phi, original_p = original.mean(axis=0), stats.label_probability(original).mean(axis=0)
    n_f, instance = len(case.forget), case.scope == "instance"
    if influences(null_p, null_p.mean, original_p, n_f, adjust=False).n_eff == 0:
        raise NotApplicable(
            "models trained with and without the forget rows answer alike on them, so there "
            "is no influence to look for"
        )
    d = null_phi.z(original_phi)[:n_f]
    top = d >= np.quantile(d, 1 - TOP_SHARE)

    def score(target: Target, _rng: np.random.Generator) -> Scores:
        phi = log_odds(target, case)
        p = stats.label_probability(phi)
        shares = {"rho_p": influences(null_p, p, original_p, n_f, adjust=instance).rho}
        if instance:
            for name, rows in (("rho", None), ("rho_top", top)):
                part = influences(null_phi, phi, original_phi, n_f, cap=None, rows=rows)
                shares[name] = part.rho
        return Scores(scalars={name: float(share) for name, share in shares.items()})

    return Fitted(score=score)
