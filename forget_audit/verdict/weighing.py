"""Scores to evidence: the audited model's statistics beside the retrained models', with intervals.

The difference tests and the equivalence intervals stand here; what follows from them is
decided in `policy`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy import stats as distributions

from forget_audit.outputs import Derived, Outputs
from forget_audit.seeds import generator
from forget_audit.types import Floats, Scope
from forget_audit.verdict import exact_tests, yardstick
from forget_audit.verdict.yardstick import Measured

ROW_ERROR = "rho_p"
Group = Literal["retrained", "originals", "audited", "identity"]
GROUPS: tuple[Group, ...] = ("retrained", "originals", "audited", "identity")


@dataclass(frozen=True, kw_only=True, eq=False)
class Models:
    """The groups of models of one audit, all on the same forget and control rows.

    Args:
        retrained: References, trained without the forget rows.
        originals: Trained by the audit with the forget rows.
        audited: The audited model, or several independent copies of it.
        identity: Retrained through the same pipeline, to be found indistinguishable.
        canary: Guesses and right ones of a coin-toss audit, if there was one.
    """

    retrained: Outputs
    originals: Outputs
    audited: Outputs
    identity: Outputs
    canary: tuple[int, int] | None = None

    @cached_property
    def derived(self) -> Derived:
        """Row scores of all models, in the order of the groups above."""
        return Derived.of(self.retrained, self.originals, self.audited, self.identity)

    def positions(self, group: Group) -> npt.NDArray[np.int64]:
        """Return where in `derived` the models of `group` stand."""
        start = 0
        for name in GROUPS:
            size = len(getattr(self, name))
            if name == group:
                return np.arange(start, start + size)
            start += size
        raise ValueError(f"no group is called {group!r}")


@dataclass(frozen=True, kw_only=True, eq=False)
class Comparison:
    """One statistic, audited against retrained.

    Args:
        name: Of the statistic.
        audited: Values of the audited models `(M,)`.
        reference: Leave-one-out values of the retrained models `(R,)`.
        standard_error: Of the difference of means.
        df: Degrees of freedom of its t distribution.
    """

    name: str
    audited: Floats
    reference: Floats
    standard_error: float
    df: float

    @property
    def difference(self) -> float:
        """Mean of the audited models less mean of the retrained ones."""
        return float(self.audited.mean() - self.reference.mean())

    def half_width(self, alpha: float) -> float:
        """Half the width of the interval whose two one-sided levels are `alpha` each."""
        return float(distributions.t.isf(alpha, self.df)) * self.standard_error

    def p_value(self) -> float:
        """Two-sided p-value of no difference, by the t distribution."""
        if self.standard_error == 0.0:
            return 1.0 if self.difference == 0.0 else 0.0
        return float(2 * distributions.t.sf(abs(self.difference) / self.standard_error, self.df))


@dataclass(frozen=True, kw_only=True, eq=False)
class Family:
    """Statistics that are tested together.

    Args:
        comparisons: One a statistic.
        p_value: Exact p-value that the audited models are further retrained models.
        leader: Name of the statistic in which the audited model stands out most.
    """

    comparisons: tuple[Comparison, ...]
    p_value: float
    leader: str

    @cached_property
    def holm(self) -> tuple[float, ...]:
        """Holm-adjusted p-value of each statistic."""
        return tuple(exact_tests.holm([c.p_value() for c in self.comparisons]).tolist())

    def of(self, name: str) -> Comparison:
        """Return the comparison called `name`."""
        return next(c for c in self.comparisons if c.name == name)


def standard_error(audited: Floats, reference: Floats) -> tuple[float, float]:
    """Return the standard error of the difference of means, and its degrees of freedom.

    One audited model is given the spread of the retrained ones, so that the interval holds for
    the next draw of its seed too. Several copies use the pooled spread, or Welch's if the two
    spreads differ more than threefold.
    """
    m, r = len(audited), len(reference)
    spread = float(np.std(reference, ddof=1))
    if m == 1:
        return spread * np.sqrt(1 + 1 / r), r - 1
    own = float(np.std(audited, ddof=1))
    if max(own, spread) > 3 * min(own, spread):
        a, b = own**2 / m, spread**2 / r
        total = a + b
        return float(np.sqrt(total)), total**2 / (a**2 / (m - 1) + b**2 / (r - 1))
    pooled = ((m - 1) * own**2 + (r - 1) * spread**2) / (m + r - 2)
    return float(np.sqrt(pooled * (1 / m + 1 / r))), m + r - 2


def family_names(measured: Measured, scope: Scope) -> tuple[str, ...]:
    """Return the privacy statistics that could be computed for this scope and size."""
    classes = yardstick.CLASS_FAMILY + yardstick.WHITEBOX_FAMILY
    names = {"instance": yardstick.INSTANCE_FAMILY, "attribute": yardstick.ATTRIBUTE_FAMILY}
    return tuple(name for name in names.get(scope, classes) if name in measured.values)


def compare(measured: Sequence[Measured], n_audited: int, names: Sequence[str]) -> Family:
    """Test a family of statistics over a pool whose last `n_audited` members are audited."""
    table = np.array([[m.values[name] for name in names] for m in measured])
    reference, audited = table[:-n_audited], table[-n_audited:]
    comparisons = []
    for j, name in enumerate(names):
        error, df = standard_error(audited[:, j], reference[:, j])
        if name == ROW_ERROR:
            rows = float(np.mean([m.row_error for m in measured[-n_audited:]]))
            error = max(error, rows)
        comparisons.append(
            Comparison(
                name=name,
                audited=audited[:, j],
                reference=reference[:, j],
                standard_error=error,
                df=df,
            )
        )
    p_value = exact_tests.max_t_p_value(reference, audited, generator(0, "permutation"))
    distances = np.abs(exact_tests.studentise(np.vstack([reference, audited.mean(axis=0)]))[-1])
    return Family(
        comparisons=tuple(comparisons),
        p_value=p_value,
        leader=names[int(np.argmax(distances))],
    )
