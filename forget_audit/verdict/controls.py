"""What references and originals show by themselves, before the audited model is looked at."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats as distributions

from forget_audit import stats
from forget_audit.outputs import Derived
from forget_audit.types import Floats, Scope
from forget_audit.verdict import yardstick
from forget_audit.verdict.weighing import ROW_ERROR, Models, compare, family_names
from forget_audit.verdict.yardstick import Measured


@dataclass(frozen=True, kw_only=True, eq=False)
class Signal:
    """What references and originals alone show in one primary statistic.

    Args:
        effect: Residual of each original `(K,)`; about 1.
        effect_low: Lower 95 % bound of their mean difference from the retrained models.
        reference: Leave-one-out values of the retrained models `(R,)`; about 0.
        standard_error: Of one audited model's difference, as expected from the references.
        df: Degrees of freedom.
    """

    effect: Floats
    effect_low: float
    reference: Floats
    standard_error: float
    df: float

    def pass_probability(self, margin: float, alpha: float) -> float:
        """Probability that a truly retrained model is shown equivalent at `margin`."""
        half = float(distributions.t.isf(alpha, self.df)) * self.standard_error
        if half >= margin:
            return 0.0
        if self.standard_error == 0.0:
            return 1.0
        quantile = (margin - half) / self.standard_error
        return float(2 * distributions.norm.cdf(quantile) - 1)

    def detectable(self, alpha: float) -> float:
        """Smallest residual that is told from none with probability .8 at level `alpha`."""
        tails = distributions.t.isf(alpha / 2, self.df) + distributions.t.ppf(0.8, self.df)
        return float(tails * self.standard_error)


@dataclass(frozen=True, kw_only=True, eq=False)
class Control:
    """What the references and the originals alone can show, before the audited model is seen.

    Args:
        signals: By primary statistic.
        p_value: Exact p-value that the first original is a further retrained model.
        n_eff: Number of forget rows that carry the evidence.
        n_statistics: Size of the family.
        identity: Exact p-value of each identity model.
    """

    signals: Mapping[str, Signal]
    p_value: float
    n_eff: float
    n_statistics: int
    identity: tuple[float, ...]

    @property
    def main(self) -> Signal:
        """The signal in the residual influence."""
        return self.signals["rho_p"]

    def pass_probability(self, margins: Mapping[str, float], alpha: float) -> float:
        """Probability that a truly retrained model is shown equivalent, of the weakest primary."""
        return min(s.pass_probability(margins[name], alpha) for name, s in self.signals.items())

    def detectable(self, alpha: float) -> float:
        """Smallest residual influence that is told from none with probability .8."""
        return self.main.detectable(alpha / self.n_statistics)


def control(models: Models, scope: Scope) -> Control:
    """Measure originals, identity models and the references themselves; never the audited one."""
    derived = models.derived
    retrained, originals = models.positions("retrained"), models.positions("originals")
    trained = derived.take(originals)
    alone = yardstick.leave_one_out(derived, retrained, trained, scope, primary_only=True)
    null = yardstick.null_of(derived.take(retrained))
    positive = [_positive(models, int(k), scope, null) for k in originals]
    joined = [_joined(models, int(k), scope) for k in (originals[0], *models.positions("identity"))]
    names = joined[0][1]
    return Control(
        signals={
            name: _signal(name, alone, positive, len(models.audited))
            for name in yardstick.primaries(names)
        },
        p_value=joined[0][0],
        n_eff=yardstick.evidence_rows(null, trained),
        n_statistics=len(names),
        identity=tuple(p_value for p_value, _ in joined[1:]),
    )


def _signal(
    name: str, alone: Sequence[Measured], positive: Sequence[Mapping[str, float]], copies: int
) -> Signal:
    reference = np.array([m.values[name] for m in alone])
    effect = np.array([values[name] for values in positive])
    r, k = len(reference), len(effect)
    spread = float(np.std(reference, ddof=1))
    if k > 1:
        error = float(np.sqrt(np.var(effect, ddof=1) / k + spread**2 / r))
        df = float(k - 1)
    else:
        error, df = spread * float(np.sqrt(1 + 1 / r)), float(r - 1)
    gap = float(effect.mean() - reference.mean())
    expected = spread * float(np.sqrt(1 / copies + 1 / r))
    if name == ROW_ERROR:
        expected = max(expected, float(np.mean([m.row_error for m in alone])))
    return Signal(
        effect=effect,
        effect_low=gap - float(distributions.t.isf(0.05, df)) * error,
        reference=reference,
        standard_error=expected,
        df=float(r + copies - 2),
    )


def _weights(models: Models, model: int) -> Derived:
    """Row scores of the originals other than `model`, or of all if it is the only one."""
    originals = models.positions("originals")
    others = originals[originals != model]
    return models.derived.take(others if len(others) else originals)


def _positive(models: Models, original: int, scope: Scope, null: stats.Null) -> dict[str, float]:
    """Measure an original, with the row weights from the other originals."""
    retrained, weights = models.positions("retrained"), _weights(models, original)
    return yardstick.primary_values(models.derived, original, retrained, weights, scope, null)


def _joined(models: Models, model: int, scope: Scope) -> tuple[float, tuple[str, ...]]:
    """Return the exact p-value of one model joined to the retrained ones, and the family."""
    pool = np.append(models.positions("retrained"), model)
    weights = _weights(models, model)
    measured = yardstick.leave_one_out(models.derived, pool, weights, scope)
    names = family_names(measured[0], scope)
    return compare(measured, 1, names).p_value, names
