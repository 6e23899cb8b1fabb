"""The attack with three groups of shadows: a row kept, forgotten, or never trained on."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from scipy import special

from forget_audit.attacks._candidates import (
    Index,
    Mask,
    Roles,
    log_normal,
    means,
    refuse_rare,
    roles,
    scored,
    spreads,
)
from forget_audit.attacks._references import log_odds
from forget_audit.contracts import AttackInfo, Fitted, Scores
from forget_audit.pools import Pool
from forget_audit.registry import attack
from forget_audit.targets import Target
from forget_audit.types import Case, Floats


@attack
@dataclass(frozen=True, kw_only=True)
class Ruli:
    """Compare each row with shadows that kept it, forgot it, or were never trained on it.

    Each candidate, a forget row or one of some control rows, was kept, forgotten or left out by
    a third of the candidate shadows each. All shadows went through the audited method, and the
    log-odds `phi` of the label under them afterwards give three densities a row: `f_in` (kept),
    `f_unl` (forgotten) and `f_out` (left out). From `enough` values on, a density is a kernel
    estimate with Scott's bandwidth `sd n^(-1/5)` of that row; below, it is normal with the row's
    mean and the variance pooled over rows. The score asks for privacy, `f_unl / (f_unl + f_out)`:
    was the row forgotten, or never there?

    `vulnerable_auc` is the AUC on the share `top` of candidates that training moves most,
    `random_auc` the one on the others. How far training moves a row is told by the shadows before
    they forgot: `(mean phi of those trained on it - mean phi of the others) / sd`, never by the
    audited model or the models that give the densities. Either is left out if it would lack
    forget or control rows. `in_closeness` is the mean of `f_in / (f_in + f_out)` over the forget
    rows: how much they still look like kept ones.

    Args:
        enough: Values a row from which a density is a kernel estimate.
        top: Share of the candidates that count as vulnerable.

    References:
        Naderloui et al. (2025), Rectifying Privacy and Efficacy Measurements in Machine
        Unlearning: A New Inference Attack Perspective, arXiv:2506.13009.

    Departures:
        The score is `log f_unl - log f_out`: the same order, no rounding to one. The bandwidth
        follows the values instead of being fixed, its spread shrunk towards the one common to all
        rows. The vulnerable rows are a share of the candidates instead of a target set of their
        own. Efficacy is measured by `f_in` against `f_out`; models retrained without a row stand
        beside it as the yardstick instead of in its formula.
    """

    info: ClassVar[AttackInfo] = AttackInfo(
        name="ruli",
        title="Kept, forgotten or never seen",
        card="A09",
        paper="arXiv:2506.13009",
        access="score",
        kind="membership",
        question=(
            "Can the deleted records that are easiest to recognise be told from records the "
            "model never saw?"
        ),
        perfect="0.5, in the vulnerable group and among the others.",
        headline="auc",
        heads=frozenset({"single", "multi"}),
        practises=True,
    )
    enough: int = 20
    top: float = 0.25

    def __post_init__(self) -> None:
        if self.enough < 2:
            raise ValueError(f"enough must be at least 2, found {self.enough}")
        if not 0 < self.top < 1:
            raise ValueError(f"top must lie between 0 and 1, found {self.top}")

    def fit(self, pool: Pool, case: Case, rng: np.random.Generator) -> Fitted:  # noqa: ARG002
        """Learn the densities of each candidate from the shadows after they forgot.

        Raises:
            NotApplicable: Without candidate shadows in which each candidate has each of the three
                roles twice, or if a forget row is no candidate.
        """
        known, rows = roles(pool), scored(pool, case)
        refuse_rare(known.kept, "have kept each record")
        f_in, f_unl, f_out = (
            Density.of(known.after, role, self.enough, rows.candidate)
            for role in (known.kept, known.forgotten, known.unseen)
        )
        gap = learnt(known)
        vulnerable = (gap >= np.quantile(gap, 1 - self.top))[rows.candidate]
        n_f = len(case.forget)

        def score(target: Target, _rng: np.random.Generator) -> Scores:
            phi = rows.of(log_odds(target, case))
            out = f_out.log(phi)
            values = f_unl.log(phi) - out
            scalars = {
                "vulnerable_auc": rows.auc(values, vulnerable),
                "random_auc": rows.auc(values, ~vulnerable),
                "in_closeness": float(np.mean(special.expit(f_in.log(phi) - out)[:n_f])),
            }
            return rows.scores(values, 0.0, scalars)

        return Fitted(score=score)


@dataclass(frozen=True, kw_only=True, eq=False)
class Density:
    """The density of each row's log-odds in one role.

    Args:
        values: Log-odds under the shadows `(shadows, n)`.
        role: In which of them the row has the role `(shadows, n)`.
        width: Standard deviation of a kernel `(n,)`.
        mean: Of the normal law `(n,)`.
        sd: Of the normal law `(n,)`.
        kernel: Whether the density is a kernel estimate `(n,)`.
    """

    values: Floats
    role: Mask
    width: Floats
    mean: Floats
    sd: Floats
    kernel: Mask

    @classmethod
    def of(cls, values: Floats, role: Mask, enough: int, rows: Index) -> "Density":
        """Return the densities of `rows`, learnt from all candidates."""
        count = role.sum(axis=0)
        width = spreads(values, role) * count ** (-1 / 5)
        return cls(
            values=values[:, rows],
            role=role[:, rows],
            width=width[rows],
            mean=means(values, role)[rows],
            sd=spreads(values, role, prior=np.inf)[rows],
            kernel=(count >= enough)[rows],
        )

    def log(self, phi: Floats) -> Floats:
        """Return the log-density at each row's log-odds `(n,)`."""
        each = log_normal(phi, self.values, self.width)
        weight = self.role / self.role.sum(axis=0)
        smooth = special.logsumexp(each, axis=0, b=weight)
        return np.where(self.kernel, smooth, log_normal(phi, self.mean, self.sd))


def learnt(known: Roles) -> Floats:
    """Return how far training on a row moves its log-odds `(n,)`, in standard deviations."""
    trained = known.kept | known.forgotten
    moved = means(known.before, trained) - means(known.before, known.unseen)
    return moved / spreads(known.before, known.unseen)
