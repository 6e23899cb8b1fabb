"""Lower bounds on the epsilon between an unlearning method's models and retrained ones.

A method is `(epsilon, delta)`-unlearning if for every set `B` of models
`P[unlearned in B] <= e^epsilon P[retrained in B] + delta`, and the other way round. Bounds from
samples can refute a claimed epsilon and never confirm one: a bound of zero is absence of
evidence. `level` is always the confidence of the whole statement.
"""

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from scipy import optimize, special, stats

from forget_audit.types import Floats, read_only

Flags = npt.NDArray[np.bool_]

SEPARATED = 50.0
TINY = float(np.finfo(np.float64).tiny)


def lower_limit(k: npt.ArrayLike, n: int, level: float) -> Floats:
    """Return the one-sided lower limit of Clopper and Pearson for `k` successes of `n`."""
    count = np.asarray(k, dtype=np.float64)
    some = np.maximum(count, 1.0)
    return np.where(count > 0, special.betaincinv(some, n - some + 1, 1 - level), 0.0)


def upper_limit(k: npt.ArrayLike, n: int, level: float) -> Floats:
    """Return the one-sided upper limit of Clopper and Pearson for `k` successes of `n`."""
    return 1.0 - lower_limit(n - np.asarray(k), n, level)


@dataclass(frozen=True, kw_only=True)
class Counts:
    """What a rule says of models it was not chosen on.

    Args:
        hits: Unlearned models that are called unlearned.
        unlearned: Number of unlearned models.
        alarms: Retrained models that are called unlearned.
        retrained: Number of retrained models.
    """

    hits: int
    unlearned: int
    alarms: int
    retrained: int


@dataclass(frozen=True, kw_only=True)
class Rule:
    """When a model is called unlearned, and which of the two inequalities is bounded.

    Args:
        threshold: Of the models' scores.
        above: Whether scores above it are called unlearned, instead of those at or below.
        misses: Whether true negatives are set against misses, instead of hits against alarms.
    """

    threshold: float
    above: bool
    misses: bool

    def counts(self, unlearned: Floats, retrained: Floats) -> Counts:
        """Apply the rule to models by their scores."""
        hits, alarms = (
            int(np.sum((scores > self.threshold) == self.above))
            for scores in (unlearned, retrained)
        )
        return Counts(hits=hits, unlearned=len(unlearned), alarms=alarms, retrained=len(retrained))


def choose_rule(
    unlearned: Floats, retrained: Floats, *, level: float = 0.95, delta: float = 0.0
) -> Rule:
    """Return the rule with the largest bound on tuning models; apply it to other models only."""
    n_u, n_r = len(unlearned), len(retrained)
    values = np.unique(np.concatenate([unlearned, retrained]))
    cuts = (values[1:] + values[:-1]) / 2 if len(values) > 1 else values
    above_u = n_u - np.searchsorted(np.sort(unlearned), cuts, side="right")
    above_r = n_r - np.searchsorted(np.sort(retrained), cuts, side="right")
    low_u, low_r = (_lower_limits(n, (1 + level) / 2) for n in (n_u, n_r))
    gains = []
    for u, r in ((above_u, above_r), (n_u - above_u, n_r - above_r)):
        gains.append(_log_ratio(low_u[u], 1 - low_r[n_r - r], delta))
        gains.append(_log_ratio(low_r[n_r - r], 1 - low_u[u], delta))
    kind, cut = np.unravel_index(np.argmax(gains), (4, len(cuts)))
    return Rule(threshold=float(cuts[cut]), above=bool(kind < 2), misses=bool(kind % 2))


@lru_cache(maxsize=64)
def _lower_limits(n: int, level: float) -> Floats:
    return read_only(lower_limit(np.arange(n + 1), n, level))


def _log_ratio(lower: Floats, upper: Floats, delta: float) -> Floats:
    return np.asarray(np.log(np.maximum(lower - delta, TINY)) - np.log(upper))


def counts_epsilon(
    counts: Counts, *, misses: bool | None = None, level: float = 0.95, delta: float = 0.0
) -> float:
    """Return the bound of a rule that was fixed beforehand, from exact limits of its rates.

    Args:
        counts: Of models the rule was not chosen on.
        misses: The one inequality to bound, as in `Rule`; if left out, the larger of both, with
            each limit at a quarter of the error instead of half.
        level: Confidence.
        delta: Of the definition.
    """
    each = 1 - (1 - level) / (4 if misses is None else 2)
    hit = lower_limit(counts.hits, counts.unlearned, each)
    quiet = lower_limit(counts.retrained - counts.alarms, counts.retrained, each)
    bounds = {
        False: _log_ratio(hit, 1 - quiet, delta),
        True: _log_ratio(quiet, 1 - hit, delta),
    }
    chosen = max(bounds.values()) if misses is None else bounds[misses]
    return max(0.0, float(chosen))


def two_sample_bound(
    unlearned_tune: Floats,
    retrained_tune: Floats,
    unlearned_eval: Floats,
    retrained_eval: Floats,
    *,
    level: float = 0.95,
    delta: float = 0.0,
) -> float:
    """Choose threshold, direction and inequality on tuning models and bound on the others."""
    rule = choose_rule(unlearned_tune, retrained_tune, level=level, delta=delta)
    counts = rule.counts(unlearned_eval, retrained_eval)
    return counts_epsilon(counts, misses=rule.misses, level=level, delta=delta)


def gaussian_mu(counts: Counts, *, level: float = 0.95) -> float:
    """Return the bound on `mu` if the two laws trade errors like `N(0, 1)` and `N(mu, 1)`."""
    each = (1 + level) / 2
    hit = lower_limit(counts.hits, counts.unlearned, each)
    alarm = upper_limit(counts.alarms, counts.retrained, each)
    return max(0.0, float(special.ndtri(hit) - special.ndtri(alarm)))


def gaussian_delta(epsilon: float, mu: float) -> float:
    """Return the least `delta` at which `N(0, 1)` and `N(mu, 1)` are `(epsilon, delta)`-close."""
    first = special.log_ndtr(mu / 2 - epsilon / mu)
    second = epsilon + special.log_ndtr(-mu / 2 - epsilon / mu)
    return float(np.exp(first) - np.exp(second))


def gaussian_epsilon(mu: float, delta: float) -> float:
    """Return the epsilon at which `N(0, 1)` and `N(mu, 1)` are `(epsilon, delta)`-close."""
    if mu <= 0 or gaussian_delta(0.0, mu) <= delta:
        return 0.0
    high = mu * mu / 2 + mu * math.sqrt(2 * math.log(1 / delta))
    return float(optimize.brentq(lambda e: gaussian_delta(e, mu) - delta, 0.0, high))


def guesses(scores: Floats, coins: Flags, r: int) -> Flags:
    """Return for each of `r` guesses `(..., r)` whether it is right.

    The `r / 2` highest scores are called 1 and the `r / 2` lowest 0. Among tied scores those
    are taken that make the guess wrong, so no order of the candidates can help.

    Args:
        scores: Of the candidates `(..., m)`.
        coins: What was drawn for them `(..., m)`.
        r: Number of guesses, even, at most `m`, fixed before the scores are seen.
    """
    if r % 2 or not 2 <= r <= scores.shape[-1]:
        raise ValueError(f"r: expected an even number from 2 to {scores.shape[-1]}, found {r}")
    lowest = np.lexsort((~coins, scores), axis=-1)[..., : r // 2]
    highest = np.lexsort((coins, -scores), axis=-1)[..., : r // 2]
    called_one = np.take_along_axis(coins, highest, axis=-1)
    called_zero = np.take_along_axis(coins, lowest, axis=-1)
    return np.concatenate([called_one, ~called_zero], axis=-1)


def one_run_p_value(epsilon: float, r: int, v: int, *, m: int, delta: float = 0.0) -> float:
    """Bound the probability of `v` or more right guesses of `r` among `m` candidates.

    Laws that differ in one candidate are `(epsilon, delta)`-close.
    """
    q = special.expit(epsilon)
    p = stats.binom.sf(v - 1, r, q)
    if delta and v:
        below = np.cumsum(stats.binom.pmf(np.arange(v - 1, -1, -1), r, q))
        p += 2 * m * delta * np.max(below / np.arange(1, v + 1))
    return float(min(1.0, p))


def one_run_per_example(
    r: int, v: int, *, m: int, level: float = 0.95, delta: float = 0.0
) -> float:
    """Return the bound on the epsilon of one candidate; pool runs by adding `r`, `v` and `m`."""
    highest = max(0.0, float(special.logit(lower_limit(v, r, level))))

    def excess(epsilon: float) -> float:
        return one_run_p_value(epsilon, r, v, m=m, delta=delta) - (1 - level)

    if not delta or not highest or excess(0.0) > 0:
        return 0.0 if delta else highest
    return float(optimize.brentq(excess, 0.0, highest + 1e-6))


def one_run_set_level(
    r: int, v: int, *, runs: int = 1, level: float = 0.95, delta: float = 0.0
) -> float:
    """Return the bound on the epsilon of a whole request, from `v` right of `r` in all runs.

    Under retraining guesses are independent of the coins, so by composition over the runs `v`
    or more are right with at most `e^(runs epsilon) P[Bin(r, 1/2) >= v] + runs delta`.
    """
    error = 1 - level - runs * delta
    if error <= 0:
        return 0.0
    return max(0.0, (math.log(error) - float(stats.binom.logsf(v - 1, r, 0.5))) / runs)


def one_run_gaussian(r: int, v: int, *, m: int, level: float = 0.95) -> float:
    """Return the bound on `mu` if laws that differ in one candidate trade errors as Gaussians.

    `R_i` is `1 / m` times the mean number of right guesses, counting only outcomes with at
    least `i` right ones, `W_i` that of wrong guesses. Turning over one coin makes one right
    guess wrong, hence `R_(i+1) <= Phi(Phi^-1(W_i) + mu)`. From `v` down to 0 this gives the
    least `R_0 + W_0` if `v` are reached with probability `1 - level`; a `mu` for which it
    exceeds `r / m`, which it is, is refuted. Independent runs count as one: add `r`, `v`, `m`.
    """

    def excess(mu: float) -> float:
        right, wrong = (1 - level) * v / m, (1 - level) * (r - v) / m
        for i in range(v - 1, -1, -1):
            more = max(wrong, float(special.ndtr(special.ndtri(right) - mu)))
            right = min(1.0, right + i / (r - i) * (more - wrong))
            wrong = more
        return (right + wrong) * m / r - 1.0

    if excess(0.0) <= 0:
        return 0.0
    high = 1.0
    while excess(high) > 0:
        high *= 2
    return float(optimize.brentq(excess, 0.0, high))


def bayesian_interval(
    counts: Counts,
    rng: np.random.Generator,
    *,
    level: float = 0.95,
    delta: float = 0.0,
    draws: int = 20_000,
) -> tuple[float, float]:
    """Return lower and upper credible bound of a fixed rule's epsilon, each at `level`.

    Both error rates get the posterior of a Beta(1/2, 1/2) prior and are drawn jointly.
    """
    misses, quiet = counts.unlearned - counts.hits, counts.retrained - counts.alarms
    fpr = rng.beta(counts.alarms + 0.5, quiet + 0.5, draws)
    fnr = rng.beta(misses + 0.5, counts.hits + 0.5, draws)
    low, high = np.quantile(rates_epsilon(fpr, fnr, delta), [1 - level, level])
    return float(low), float(high)


def rates_epsilon(fpr: Floats, fnr: Floats, delta: float) -> Floats:
    """Return the epsilon that a rule with these error rates refutes, were they known."""
    first = np.log(np.maximum(1 - delta - fpr, TINY)) - np.log(np.maximum(fnr, TINY))
    second = np.log(np.maximum(1 - delta - fnr, TINY)) - np.log(np.maximum(fpr, TINY))
    return np.asarray(np.maximum(np.maximum(first, second), 0.0))


def largest_epsilon(fpr: Floats, fnr: Floats, delta: float) -> float:
    """Return the largest plug-in epsilon of several rules from their empirical error rates.

    A rule with exactly one error rate of zero is dropped; two zeros count 50.
    """
    fpr, fnr = fpr.round(12), fnr.round(12)
    epsilon = np.where(fpr + fnr > 0, rates_epsilon(fpr, fnr, delta), SEPARATED)
    return float(np.max(np.where((fpr == 0) != (fnr == 0), 0.0, epsilon)))


def oracle_epsilon(unlearned: Floats, retrained: Floats, *, delta: float = 1e-5) -> float:
    """Return the largest plug-in epsilon over all thresholds on the very models it describes.

    Biased upwards and without confidence, so it belongs in no verdict. The group with the larger
    median is expected above the threshold.
    """
    low, high = sorted((unlearned, retrained), key=lambda group: float(np.median(group)))
    cuts = np.concatenate([unlearned, retrained])
    fpr, fnr = np.mean(low > cuts[:, None], axis=1), np.mean(high <= cuts[:, None], axis=1)
    return largest_epsilon(fpr, fnr, delta)
