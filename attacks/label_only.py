"""The label-only attack: how much noise a row bears before its label is answered wrongly."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import numpy as np

from forget_audit import stats
from forget_audit.attacks._references import nulls_of_others, two_or_more
from forget_audit.attacks._together import together
from forget_audit.contracts import AttackInfo, Fitted, FreshGenerator, Scores
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
        two_or_more(len(pool.retrained))
        noise = self._noise(case, rng)
        reference = _counts(pool.retrained, case, noise)
        null = stats.calibrate(stats.log_odds_of_count(reference, noise.queries))
        return _against(null, case, noise)

    def fit_each(self, pool: Pool, case: Case, fresh: FreshGenerator) -> Sequence[Fitted]:
        """Count once, and compare with all but one of the retrained models, from sums."""
        two_or_more(len(pool.retrained) - 1)
        noise = self._noise(case, fresh())
        reference = _counts(pool.retrained, case, noise)
        nulls = nulls_of_others(stats.log_odds_of_count(reference, noise.queries))
        return [_against(null, case, noise) for null in nulls]

    def _noise(self, case: Case, rng: np.random.Generator) -> Noise:
        spread = float(np.mean(np.std(case.retain.x, axis=0, dtype=np.float64)))
        sigmas = spread * np.geomspace(self.smallest, self.largest, self.levels)
        return Noise(seed=draw_seed(rng), sigmas=tuple(sigmas.tolist()), draws=self.draws)


def _against(null: stats.Null, case: Case, noise: Noise) -> Fitted:
    """Return the attack that knows what retrained models answer to the noise."""
    fitted_on = frozenset(case.retain.ids.tolist())
    n_f = len(case.forget)

    def score_many(targets: Sequence[Target], _fresh: FreshGenerator) -> list[Scores]:
        counts = _counts(targets, case, noise)
        z = null.z(stats.log_odds_of_count(counts, noise.queries))
        plain = stats.aucs(counts[:, :n_f], counts[:, n_f:])
        return [
            Scores(
                forget=one[:n_f],
                control=one[n_f:],
                forget_ids=case.forget.ids,
                control_ids=case.test.ids,
                fitted_on=fitted_on,
                scalars={"plain_auc": float(auc)},
            )
            for one, auc in zip(z, plain, strict=True)
        ]

    return together(score_many, fitted_on)


def _counts(targets: Sequence[Target], case: Case, noise: Noise) -> Floats:
    """Return the robustness counts `(models, n_f + n_t)`, forget rows first.

    Those of a model are taken once: leaving out one reference model at a time asks again.
    """
    return np.concatenate(
        [_counts_of(targets, rows, noise) for rows in (case.forget, case.test)], axis=1
    )


def _counts_of(targets: Sequence[Target], rows: Rows, noise: Noise) -> Floats:
    counted: dict[int, Floats] = {}

    def count(k: int) -> Floats:
        if not counted:
            counted.update(enumerate(_count(targets, rows, noise)))
        return counted[k]

    return np.stack([t.once(rows, noise, partial(count, k)) for k, t in enumerate(targets)])


def _count(targets: Sequence[Target], rows: Rows, noise: Noise) -> Floats:
    """Return how many noisy copies of each row get its label `(models, n)`."""
    shape = rows.x.shape[1:]
    sigmas = np.reshape(noise.sigmas, (-1, 1, *(1,) * len(shape))).astype(np.float32)
    labels = np.tile(rows.y, len(sigmas))
    names = np.arange(len(labels)).astype(np.str_)
    directions = [generator(noise.seed, "noise", name) for name in rows.ids.tolist()]
    right = np.zeros((len(targets), len(rows)))
    for _ in range(noise.draws):
        unit = np.stack([g.standard_normal(shape, np.float32) for g in directions])
        noisy = Rows(x=(rows.x + sigmas * unit).reshape(-1, *shape), y=labels, ids=names)
        for k, target in enumerate(targets):
            hits = target.labels(noisy) == labels
            right[k] += hits.reshape(len(sigmas), -1).sum(axis=0)
    return right
