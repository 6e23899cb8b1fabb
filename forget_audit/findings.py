"""What an audit finds: statistics, gates, the verdict, and a row for every attack."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from forget_audit.contracts import Series
from forget_audit.types import Decision, Outcome, Role


@dataclass(frozen=True, kw_only=True)
class Statistic:
    """One number of the verdict, with its yardstick, interval and outcome.

    Args:
        name: Such as `rho_p`.
        role: Why it is there: `primary` (must be shown equivalent), `secondary` (must not
            differ) or `fidelity` (printed on its own line).
        estimate: Value for the audited model (mean over copies).
        reference_mean: Mean over the retrained models, each scored by the others.
        reference_sd: Standard deviation over them.
        difference: Estimate minus reference mean.
        standard_error: Of the difference.
        interval: Of the difference; 90 % two-sided at level .05.
        margin: The difference that would still pass; none for secondary statistics.
        p_value: Holm-adjusted p-value of no difference.
        outcome: `pass`, `fail` or `inconclusive`.
    """

    name: str
    role: Role
    estimate: float
    reference_mean: float
    reference_sd: float
    difference: float
    standard_error: float
    interval: tuple[float, float]
    margin: float | None
    p_value: float
    outcome: Outcome


@dataclass(frozen=True, kw_only=True)
class Gate:
    """A condition without which a verdict would be empty.

    Args:
        code: Such as `NO_SIGNAL`.
        outcome: `pass`, `fail` or `informative`.
        detail: What was found against what was required.
    """

    code: str
    outcome: Outcome
    detail: str


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """The answer, and what it rests on.

    Args:
        outcome: `PASS`, `FAIL` or `INCONCLUSIVE`.
        reasons: Codes of the failed gates or the kind of failure.
        profile: Name of the profile that was applied.
        p_value: Of the exact test that the audited model is one more retrained model.
        attained_bound: Smallest margin at which equivalence would still have been shown.
        detectable_share: Smallest share of the influence that would have been told apart from
            nothing with probability .8.
        scope: The sentence that bounds what the verdict says.
    """

    outcome: Decision
    reasons: tuple[str, ...]
    profile: str
    p_value: float
    attained_bound: float
    detectable_share: float
    scope: str

    def __str__(self) -> str:
        return f"{self.outcome} ({', '.join(self.reasons)})" if self.reasons else self.outcome


@dataclass(frozen=True, kw_only=True)
class Metric:
    """One metric of an attack, for the audited model and for the yardsticks.

    Args:
        name: Such as `auc`.
        audited: Value for the audited model (first copy).
        low: Lower end of its interval over rows, if there is one.
        high: Upper end.
        construction: How the interval was made, such as `DeLong 95 %`; empty if there is none.
        retrained_mean: Mean over the retrained models.
        retrained_sd: Standard deviation over them.
        original_mean: Mean over the originals trained by the auditor.
        p_value: Two-sided rank of the audited model among the retrained ones.
    """

    name: str
    audited: float
    low: float | None
    high: float | None
    construction: str
    retrained_mean: float
    retrained_sd: float
    original_mean: float | None
    p_value: float | None


@dataclass(frozen=True, kw_only=True)
class AttackResult:
    """A row of the evidence for every attack, also for those that were not run.

    Args:
        name: Registry name.
        outcome: `informative`, `not-applicable`, `not-run` or `error`.
        reason: Why it was not run, or what went wrong; empty otherwise.
        metrics: What was measured.
        series: Curves by name and by model group (`audited`, `retrained`, `original`).
        duration_s: Wall time.
    """

    name: str
    outcome: Outcome
    reason: str
    metrics: tuple[Metric, ...]
    series: Mapping[str, Mapping[str, Series]]
    duration_s: float
