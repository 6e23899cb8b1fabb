"""What the attacks on candidate shadows share: a row's log-odds by its role, and its spread."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from forget_audit import stats
from forget_audit.contracts import Scores
from forget_audit.errors import NotApplicable
from forget_audit.nulls import PRIOR_DF
from forget_audit.pools import Pool
from forget_audit.types import Case, Floats

FEWEST_IN_A_ROLE = 2
LEAST_VARIANCE = 1e-24
HALF_LOG_2_PI = np.log(2 * np.pi) / 2
Mask = npt.NDArray[np.bool_]
Index = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, eq=False)
class Roles:
    """What the candidate shadows say of each candidate, and what it was to them.

    Args:
        before: Log-odds of the label before the shadow forgot `(shadows, n)`.
        after: Log-odds after it forgot `(shadows, n)`.
        kept: Trained on and kept `(shadows, n)`.
        forgotten: Trained on and forgotten `(shadows, n)`.
    """

    before: Floats
    after: Floats
    kept: Mask
    forgotten: Mask

    @property
    def unseen(self) -> Mask:
        """Never trained on `(shadows, n)`."""
        return np.asarray(~self.kept & ~self.forgotten)


@dataclass(frozen=True, kw_only=True, eq=False)
class Scored:
    """The rows under attack: the forget rows, then the control rows that are candidates.

    Args:
        case: Where they come from.
        candidate: Position of each among the candidates `(n_f + n_c,)`.
        control: Positions among the control rows of those that are candidates `(n_c,)`.
    """

    case: Case
    candidate: Index
    control: Index

    def of(self, values: Floats) -> Floats:
        """Return those of `values` `(..., all forget and control rows)` that are under attack."""
        n_f = len(self.case.forget)
        return np.concatenate([values[..., :n_f], values[..., n_f + self.control]], axis=-1)

    def auc(self, values: Floats, chosen: Mask | None = None) -> float | None:
        """Return the AUC of values `(n_f + n_c,)` on the chosen rows, if both groups have some."""
        n_f = len(self.case.forget)
        use = np.ones(len(values), dtype=bool) if chosen is None else chosen
        forget, control = values[:n_f][use[:n_f]], values[n_f:][use[n_f:]]
        return stats.auc(forget, control) if len(forget) and len(control) else None

    def scores(
        self, values: Floats, threshold: float, scalars: Mapping[str, float | None]
    ) -> Scores:
        """Return values `(n_f + n_c,)` as an attack's scores, with the scalars that there are."""
        n_f = len(self.case.forget)
        return Scores(
            forget=values[:n_f],
            control=values[n_f:],
            forget_ids=self.case.forget.ids,
            control_ids=self.case.test.ids[self.control],
            threshold=threshold,
            scalars={name: value for name, value in scalars.items() if value is not None},
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class Bells:
    """A normal law for the log-odds of each row.

    Args:
        mean: `(n,)`.
        sd: `(n,)`.
    """

    mean: Floats
    sd: Floats

    def take(self, rows: Index) -> "Bells":
        """Return the laws of `rows`, in that order."""
        return Bells(mean=self.mean[rows], sd=self.sd[rows])

    def log_density(self, values: Floats) -> Floats:
        """Return the log-density of each row's value `(n,)`."""
        return log_normal(values, self.mean, self.sd)


def log_normal(values: Floats, mean: Floats, sd: Floats) -> Floats:
    """Return the log-density of a normal law; SciPy's costs ten times as much on few rows."""
    z = (values - mean) / sd
    return np.asarray(-(z**2) / 2 - np.log(sd) - HALF_LOG_2_PI, dtype=np.float64)


def roles(pool: Pool) -> Roles:
    """Return the log-odds of all candidates under all candidate shadows.

    Raises:
        NotApplicable: Without candidate shadows, or if a candidate was forgotten by fewer than
            two of them, or left out by fewer than two.
    """
    rows, shadows = pool.candidates, pool.candidate_shadows
    if rows is None or not shadows:
        raise NotApplicable(
            "needs candidate shadows, models that were trained on some of the records under test "
            "and made to forget others by the audited method, found none; let the audit run the "
            "method itself and ask for candidate shadows"
        )
    found = Roles(
        before=np.stack([shadow.before.log_odds(rows) for shadow in shadows]),
        after=np.stack([shadow.after.log_odds(rows) for shadow in shadows]),
        kept=np.stack([shadow.kept for shadow in shadows]),
        forgotten=np.stack([shadow.forgotten for shadow in shadows]),
    )
    refuse_rare(found.forgotten, "have forgotten each record")
    refuse_rare(found.unseen, "were never trained on each record")
    return found


def refuse_rare(role: Mask, what: str) -> None:
    """Refuse to go on if a candidate has the role in fewer than two shadows."""
    fewest = int(role.sum(axis=0).min())
    if fewest < FEWEST_IN_A_ROLE:
        raise NotApplicable(
            f"needs at least {FEWEST_IN_A_ROLE} candidate shadows that {what}, found {fewest}; "
            "ask for more candidate shadows"
        )


def scored(pool: Pool, case: Case) -> Scored:
    """Return which rows of the case are scored: all forget rows, and controls by their ids.

    Raises:
        NotApplicable: If a forget row is no candidate, or no control row is one.
    """
    ids = [] if pool.candidates is None else pool.candidates.ids.tolist()
    place = {name: i for i, name in enumerate(ids)}
    missing = [name for name in case.forget.ids.tolist() if name not in place]
    if missing:
        raise NotApplicable(
            f"needs every forget row among the candidates, found {len(missing)} that are not "
            f"(first: {missing[0]}); train the candidate shadows for this request"
        )
    control = [i for i, name in enumerate(case.test.ids.tolist()) if name in place]
    if not control:
        raise NotApplicable("needs control rows among the candidates, found none")
    names = [*case.forget.ids.tolist(), *case.test.ids[control].tolist()]
    return Scored(
        case=case,
        candidate=np.array([place[name] for name in names], dtype=np.int64),
        control=np.array(control, dtype=np.int64),
    )


def means(values: Floats, role: Mask) -> Floats:
    """Return the mean over the shadows in which a row has the role `(n,)`."""
    return np.asarray(np.mean(values, axis=0, where=role), dtype=np.float64)


def spreads(values: Floats, role: Mask, prior: float = PRIOR_DF) -> Floats:
    """Return each row's standard deviation over the shadows in which it has the role `(n,)`.

    The variance is `(v s^2 + prior s0^2) / (v + prior)` with `v` degrees of freedom and the
    pooled variance `s0^2` over rows.

    Args:
        values: `(shadows, n)`.
        role: `(shadows, n)`, twice or more in each column.
        prior: Weight of the pooled variance; it stands alone if infinite.
    """
    df = role.sum(axis=0) - 1
    own = np.var(values, axis=0, ddof=1, where=role)
    pooled = np.sum(df * own) / np.sum(df)
    variance = (
        np.full(len(own), pooled) if np.isinf(prior) else (df * own + prior * pooled) / (df + prior)
    )
    return np.asarray(np.sqrt(np.maximum(variance, LEAST_VARIANCE)), dtype=np.float64)


def bells(values: Floats, role: Mask) -> Bells:
    """Return the normal law of each row in a role, with shrunk spread."""
    return Bells(mean=means(values, role), sd=spreads(values, role))
