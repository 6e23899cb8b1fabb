"""The online likelihood-ratio attack on unlearned models: forgotten against never trained on."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from forget_audit import stats
from forget_audit.attacks._candidates import Bells, Scored, bells, roles, scored
from forget_audit.attacks._references import log_odds, nulls_of_others, retrained_log_odds
from forget_audit.contracts import AttackInfo, Fitted, FreshGenerator, Scores
from forget_audit.pools import Pool
from forget_audit.registry import attack
from forget_audit.targets import Target
from forget_audit.types import Case


@attack
@dataclass(frozen=True, kw_only=True)
class ULira:
    """Weigh for each row whether the model forgot it or never saw it.

    Candidates are the forget rows and some control rows. The auditor trains shadows on the
    retained rows and a random part of the candidates, and the audited method makes each of them
    forget some of these. For a row `i`, `IN_i` are the log-odds `phi` of its label under shadows
    that have forgotten it, `OUT_i` those under shadows that were never trained on it; all of
    these went through the method, so that the attack does not merely notice that a method ran.
    With a normal law for either, the score is `log N(phi; IN_i) - log N(phi; OUT_i)`, and a row
    counts as forgotten from 0 on. The variances are shrunk, `(v s^2 + 4 s0^2) / (v + 4)` with
    `v` degrees of freedom of a row and the pooled variance `s0^2` over rows. Only forget rows and
    control rows that are candidates are scored; the audited model is never a shadow.

    `retrained_out_auc` is the AUC with `OUT_i` from the retrained models instead: forgotten
    against retrained without.

    References:
        Hayes et al. (2024), Inexact Unlearning Needs More Careful Evaluations to Avoid a False
        Sense of Privacy, arXiv:2403.01218.
        Carlini et al. (2022), Membership Inference Attacks From First Principles,
        arXiv:2112.03570 (the likelihood ratio).

    Departures:
        Shadows share the retained rows and differ in a few candidates, as the audited model
        does, instead of being trained on random halves of all data. The variance is neither a
        row's own, which needs dozens of shadows, nor common to all. Every row is queried once,
        without augmented copies.
    """

    info: ClassVar[AttackInfo] = AttackInfo(
        name="u_lira",
        title="Likelihood ratio per record, with unlearned models",
        card="A07",
        paper="arXiv:2403.01218",
        access="score",
        kind="membership",
        question=(
            "Does the model treat each deleted record as models do that deleted that record, "
            "rather than as models that never had it?"
        ),
        perfect="0.5, because a record that was truly deleted and one never seen look alike.",
        headline="auc",
        heads=frozenset({"single", "multi"}),
        practises=True,
        leave_one_out=True,
    )

    def fit(self, pool: Pool, case: Case, rng: np.random.Generator) -> Fitted:  # noqa: ARG002
        """Learn the laws of each candidate's log-odds from the shadows after they forgot.

        Raises:
            NotApplicable: Without candidate shadows in which each candidate was forgotten twice
                and left out twice, without retrained models, or if a forget row is no candidate.
        """
        laws = _laws(pool, case)
        return laws.against(stats.calibrate(laws.rows.of(retrained_log_odds(pool, case))))

    def fit_each(self, pool: Pool, case: Case, fresh: FreshGenerator) -> Sequence[Fitted]:  # noqa: ARG002
        """Learn the same without each retrained model in turn."""
        laws = _laws(pool, case)
        nulls = nulls_of_others(laws.rows.of(retrained_log_odds(pool, case)))
        return [laws.against(null) for null in nulls]


@dataclass(frozen=True, kw_only=True, eq=False)
class _Laws:
    """What the candidate shadows say of the rows under attack.

    Args:
        rows: The rows under attack.
        forgotten: Laws under shadows that have forgotten a row.
        unseen: Laws under shadows that were never trained on it.
    """

    rows: Scored
    forgotten: Bells
    unseen: Bells

    def against(self, null: stats.Null) -> Fitted:
        """Return the attack that knows what retrained models say of the rows under attack."""
        retrained = Bells(mean=null.mean, sd=null.sd)

        def score(target: Target, _rng: np.random.Generator) -> Scores:
            phi = self.rows.of(log_odds(target, self.rows.case))
            likely = self.forgotten.log_density(phi)
            values = likely - self.unseen.log_density(phi)
            against_retrained = self.rows.auc(likely - retrained.log_density(phi))
            return self.rows.scores(values, 0.0, {"retrained_out_auc": against_retrained})

        return Fitted(score=score)


def _laws(pool: Pool, case: Case) -> _Laws:
    known, rows = roles(pool), scored(pool, case)
    forgotten, unseen = (
        bells(known.after, role).take(rows.candidate) for role in (known.forgotten, known.unseen)
    )
    return _Laws(rows=rows, forgotten=forgotten, unseen=unseen)
