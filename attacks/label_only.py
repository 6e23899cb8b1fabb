"""The label-only attack: how much noise a row bears before its label is answered wrongly."""

from dataclasses import dataclass
from typing import ClassVar
from weakref import WeakKeyDictionary

import numpy as np

from forget_audit import stats
from forget_audit.contracts import AttackInfo, Fitted, Scores
from forget_audit.errors import NotApplicable
from forget_audit.pools import Pool
from forget_audit.registry import attack
from forget_audit.seeds import draw_seed, generator
from forget_audit.targets import Target
from forget_audit.types import Case, Floats, Rows


@dataclass(frozen=True, kw_only=True)
class Noise:
    """What is added to every row, the same for all models.

    Args:
        seed: With the id of a row it gives the directions of that row.
        sigmas: Standard deviations, in units of the features.
        draws: Directions a row.
    """

    seed: int
    sigmas: tuple[float, ...]
    draws: int

    @property
    def queries(self) -> int:
        """Noisy copies of a row."""
        return self.draws * len(self.sigmas)


# Robustness counts by model: leaving out one reference model at a time asks for them again.
_counted: WeakKeyDictionary[Target, dict[tuple[Noise, Rows], Floats]] = WeakKeyDictionary()


@attack
@dataclass(frozen=True, kw_only=True)
class LabelOnly:
    """Score a row by how much noise its label survives, against models that never saw the row.

    Rows that were trained on lie further from the decision boundary. Each row gets `draws` random
    directions, each at `levels` lengths: noise `N(0, sigma^2)` on every feature, `sigma` from
    `smallest` to `largest` in equal ratios, in units of the mean standard deviation of a feature
    over the retained rows. The robustness count `k` is the number of the `n = draws * levels`
    noisy copies that get the label of the row. Its smoothed log-odds
    `log (k + 1/2) / (n - k + 1/2)` are finite for every count, and the score is their distance,
    in standard deviations, from what the retrained models give for the same noisy copies.
    `plain_auc` tells forget from control rows by the counts alone, without retrained models.

    Args:
        draws: Directions a row.
        levels: Lengths of a direction.
        smallest: Least standard deviation of the noise, in those of a feature.
        largest: Largest one.

    References:
        Choquette-Choo et al. (2021), Label-Only Membership Inference Attacks, arXiv:2007.14321.

    Departures:
        The paper finds the distance to the boundary by HopSkipJump, or counts right answers under
        noise; the count is taken here, as it needs no search and the same queries serve all
        models. The paper tunes the noise on a shadow model and sets one threshold for all rows;
        here the strengths are set by the spread of the retained rows, and each row is compared
        with itself under retrained models. Copies changed by rotation or translation, which suit
        images alone, are left out.
    """

    info: ClassVar[AttackInfo] = AttackInfo(
        name="label_only",
        title="Labels under noise",
        card="A11",
        paper="arXiv:2007.14321",
        access="label",
        kind="membership",
        question=(
            "Does the model hold on to the answer for a deleted record, when the record is "
            "disturbed, more firmly than models that never saw it?"
        ),
        perfect=(
            "0.5, because each record is compared with itself under retrained models; the value "
            "without that comparison is the one of retrained models."
        ),
        headline="auc",
        leave_one_out=True,
    )
    draws: int = 25
    levels: int = 4
    smallest: float = 0.25
    largest: float = 2.0

    def __post_init__(self) -> None:
        for name in ("draws", "levels"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, found {getattr(self, name)}")
        if not self.smallest > 0:
            raise ValueError(f"smallest must be above 0, found {self.smallest}")
        if not self.largest >= self.smallest:
            raise ValueError(f"largest must be at least {self.smallest}, found {self.largest}")

    def fit(self, pool: Pool, case: Case, rng: np.random.Generator) -> Fitted:
        """Draw the noise and count what the retrained models answer.

        Raises:
            NotApplicable: With fewer than two retrained models, which give no spread.
        """
        if len(pool.retrained) < 2:
            raise NotApplicable(
                f"needs at least two retrained models, found {len(pool.retrained)}; "
                "ask for more retrained models"
            )
        spread = float(np.mean(np.std(case.retain.x, axis=0, dtype=np.float64)))
        sigmas = spread * np.geomspace(self.smallest, self.largest, self.levels)
        noise = Noise(seed=draw_seed(rng), sigmas=tuple(sigmas.tolist()), draws=self.draws)
        reference = np.stack([_counts(target, case, noise) for target in pool.retrained])
        null = stats.calibrate(stats.log_odds_of_count(reference, noise.queries))
        fitted_on = frozenset(case.retain.ids.tolist())
        n_f = len(case.forget)

        def score(target: Target, _rng: np.random.Generator) -> Scores:
            counts = _counts(target, case, noise)
            z = null.z(stats.log_odds_of_count(counts, noise.queries))
            return Scores(
                forget=z[:n_f],
                control=z[n_f:],
                forget_ids=case.forget.ids,
                control_ids=case.test.ids,
                fitted_on=fitted_on,
                scalars={"plain_auc": stats.auc(counts[:n_f], counts[n_f:])},
            )

        return Fitted(score=score, fitted_on=fitted_on)


def _counts(target: Target, case: Case, noise: Noise) -> Floats:
    """Return the robustness counts `(n_f + n_t,)`, forget rows first."""
    known = _counted.setdefault(target, {})
    for rows in (case.forget, case.test):
        if (noise, rows) not in known:
            known[noise, rows] = _count(target, rows, noise)
    return np.concatenate([known[noise, case.forget], known[noise, case.test]])


def _count(target: Target, rows: Rows, noise: Noise) -> Floats:
    """Return how many noisy copies of each row get its label `(n,)`."""
    shape = rows.x.shape[1:]
    sigmas = np.reshape(noise.sigmas, (-1, 1, *(1,) * len(shape))).astype(np.float32)
    labels = np.tile(rows.y, len(sigmas))
    names = np.arange(len(labels)).astype(np.str_)
    directions = [generator(noise.seed, "noise", name) for name in rows.ids.tolist()]
    right = np.zeros(len(rows))
    for _ in range(noise.draws):
        unit = np.stack([g.standard_normal(shape, np.float32) for g in directions])
        noisy = Rows(x=(rows.x + sigmas * unit).reshape(-1, *shape), y=labels, ids=names)
        hits = target.labels(noisy) == labels
        right += hits.reshape(len(sigmas), -1).sum(axis=0)
    return right
