"""Bounds on epsilon against tables, closed forms and slow references; nothing from nothing."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, optimize, special, stats
from scipy.stats import binom
from statsmodels.stats.proportion import proportion_confint

from forget_audit.seeds import generator
from forget_audit.types import Floats
from forget_audit.verdict import epsilon
from forget_audit.verdict.epsilon import Counts

ALPHA = 0.05


def counts(hits: int, n_u: int, alarms: int, n_r: int) -> Counts:
    return Counts(hits=hits, unlearned=n_u, alarms=alarms, retrained=n_r)


def separated(n: int) -> Counts:
    return counts(n, n, 0, n)


def most_claims(draws: int) -> int:
    """A bound that claims in 5 % of the draws exceeds this once in ten thousand runs."""
    return int(binom.ppf(1 - 1e-4, draws, ALPHA))


@pytest.mark.parametrize(("k", "n"), [(0, 7), (1, 7), (3, 7), (7, 7), (12, 400)])
def test_limits_are_those_of_clopper_and_pearson(k: int, n: int) -> None:
    low, high = proportion_confint(k, n, alpha=0.1, method="beta")
    assert float(epsilon.lower_limit(k, n, 0.95)) == pytest.approx(low, abs=1e-12)
    assert float(epsilon.upper_limit(k, n, 0.95)) == pytest.approx(high, abs=1e-12)


@pytest.mark.parametrize(
    ("n", "ceiling"),
    [
        (8, 0.53),
        (16, 1.35),
        (32, 2.10),
        (64, 2.82),
        (128, 3.53),
        (256, 4.23),
        (512, 4.93),
        (1000, 5.60),
    ],
)
def test_two_sample_ceilings(n: int, ceiling: float) -> None:
    found = epsilon.counts_epsilon(separated(n), misses=False)
    assert found == pytest.approx(ceiling, abs=0.006)
    assert found == pytest.approx(epsilon.counts_epsilon(separated(n), misses=True))
    low = 0.025 ** (1 / n)
    assert found == pytest.approx(math.log(low / (1 - low)))
    quarter = 0.0125 ** (1 / n)
    assert epsilon.counts_epsilon(separated(n)) == pytest.approx(
        max(0.0, math.log(quarter / (1 - quarter)))
    )


def test_two_sample_bound_by_hand() -> None:
    """9 of 10 hits, 2 of 20 alarms: the roots of the binomial tails, found by scanning."""
    grid = np.linspace(1e-6, 1 - 1e-6, 400_001)
    hit = grid[np.argmax(binom.sf(8, 10, grid) >= 0.025)]
    alarm = grid[np.argmax(binom.cdf(2, 20, grid) <= 0.025)]
    got = epsilon.counts_epsilon(counts(9, 10, 2, 20), misses=False, delta=0.01)
    assert got == pytest.approx(math.log((hit - 0.01) / alarm), abs=1e-4)
    got = epsilon.counts_epsilon(counts(9, 10, 2, 20), misses=True)
    assert got == pytest.approx(math.log((1 - alarm) / (1 - hit)), abs=1e-4)


@given(
    hits=st.integers(0, 29),
    alarms=st.integers(0, 29),
    misses=st.sampled_from([None, True, False]),
    delta=st.floats(0, 0.3),
)
def test_two_sample_bound_is_monotone(
    hits: int, alarms: int, misses: bool | None, delta: float
) -> None:
    def bound(hits: int, alarms: int, *, level: float = 0.95, delta: float = delta) -> float:
        part = counts(hits, 30, alarms, 30)
        return epsilon.counts_epsilon(part, misses=misses, level=level, delta=delta)

    here = bound(hits, alarms)
    assert 0 <= here < math.inf
    assert bound(hits + 1, alarms) >= here >= bound(hits, alarms + 1)
    assert bound(hits, alarms, level=0.99) <= here <= bound(hits, alarms, delta=0.0)
    if hits <= alarms:
        assert here == 0


def test_rule_is_the_best_of_all_on_the_tuning_models() -> None:
    """Every threshold, direction and inequality is tried one by one."""
    rng = generator(1, "rule")
    for shift, spread in ((2.0, 1.0), (-2.0, 1.0), (1.5, 0.3), (0.0, 1.0)):
        unlearned = (rng.standard_normal(30) * spread + shift).round(1)
        retrained = rng.standard_normal(25).round(1)
        best = -math.inf
        for cut, above in itertools.product([*unlearned, *retrained], (True, False)):
            u, r = (int(np.sum((s > cut) == above)) for s in (unlearned, retrained))
            part = counts(u, 30, r, 25)
            for misses in (True, False):
                best = max(best, epsilon.counts_epsilon(part, misses=misses))
        rule = epsilon.choose_rule(unlearned, retrained)
        found = epsilon.counts_epsilon(rule.counts(unlearned, retrained), misses=rule.misses)
        assert found == pytest.approx(best)


def test_direction_and_order_of_the_groups_do_not_matter() -> None:
    rng = generator(2, "flip")
    groups = [rng.standard_normal(40) + shift for shift in (2, 0, 2, 0)]
    a, b, c, d = groups
    found = epsilon.two_sample_bound(a, b, c, d)
    assert found > 0.3
    assert epsilon.two_sample_bound(*(-group for group in groups)) == pytest.approx(found)
    assert epsilon.two_sample_bound(b, a, d, c) == pytest.approx(found)
    constant = np.zeros(40)
    assert epsilon.two_sample_bound(constant, constant, constant, constant) == 0


def test_thresholds_of_the_same_models_are_biased_upwards_and_ours_are_not() -> None:
    draws, n = 400, 1000
    rng = generator(3, "null")
    u, r = rng.standard_normal((2, draws, n))
    half = n // 2
    ours = sum(
        epsilon.two_sample_bound(a[:half], b[:half], a[half:], b[half:]) > 0
        for a, b in zip(u, r, strict=True)
    )
    naive = sum(epsilon.two_sample_bound(a, b, a, b) > 0 for a, b in zip(u, r, strict=True))
    plain = [epsilon.oracle_epsilon(a, b) for a, b in zip(u[:50], r[:50], strict=True)]
    assert ours <= most_claims(draws)
    assert naive > most_claims(draws)
    assert np.median(plain) > 0.5
    assert np.min(plain) > 0


@pytest.mark.parametrize("n", [16, 64, 256])
def test_plain_rates_of_identical_laws_look_like_a_leak_at_any_size(n: int) -> None:
    u, r = generator(4, "oracle", n).standard_normal((2, 600, n))
    found = np.array([epsilon.oracle_epsilon(a, b) for a, b in zip(u, r, strict=True)])
    assert np.median(found) == pytest.approx(1.10, abs=0.25)
    assert np.quantile(found, 0.9) == pytest.approx(1.79, abs=0.3)


def test_plain_rates_drop_one_zero_and_cap_two() -> None:
    assert epsilon.oracle_epsilon(np.array([3.0, 4.0]), np.array([1.0, 2.0])) == epsilon.SEPARATED
    assert epsilon.oracle_epsilon(np.array([1.0, 2.0]), np.array([3.0, 4.0])) == epsilon.SEPARATED
    same = np.ones(4)
    assert epsilon.oracle_epsilon(same, same) == 0
    u, r = np.array([1.0, 3.0, 4.0, 5.0]), np.array([0.0, 0.5, 0.7, 3.5])
    assert epsilon.oracle_epsilon(u, r, delta=0.0) == pytest.approx(math.log(0.75 / 0.25))


def divergence(eps: float, mu: float) -> float:
    """Integrate `max(0, p - e^eps q)` for `p = N(mu, 1)`, `q = N(0, 1)`."""

    def gap(x: float) -> float:
        return max(0.0, float(stats.norm.pdf(x - mu) - np.exp(eps) * stats.norm.pdf(x)))

    return float(integrate.quad(gap, eps / mu + mu / 2, mu + 12)[0])


@pytest.mark.parametrize(("mu", "eps"), [(0.3, 0.2), (1.0, 0.0), (1.0, 2.5), (3.0, 6.0)])
def test_gaussian_delta_is_the_divergence_of_the_two_laws(mu: float, eps: float) -> None:
    assert epsilon.gaussian_delta(eps, mu) == pytest.approx(divergence(eps, mu), rel=1e-6)


@pytest.mark.parametrize(("mu", "delta"), [(0.01, 1e-5), (0.5, 1e-5), (2.0, 1e-3), (6.0, 1e-9)])
def test_gaussian_epsilon_is_the_root(mu: float, delta: float) -> None:
    grid = np.linspace(0, mu * mu / 2 + 8 * mu, 20_001)
    reached = [epsilon.gaussian_delta(float(e), mu) <= delta for e in grid[::20]]
    coarse = 20 * int(np.argmax(reached))
    found = epsilon.gaussian_epsilon(mu, delta)
    assert grid[max(coarse - 20, 0)] <= found <= grid[coarse]
    assert epsilon.gaussian_delta(found, mu) == pytest.approx(delta, rel=1e-4)


def test_gaussian_bound() -> None:
    found = epsilon.gaussian_mu(separated(32))
    assert found == pytest.approx(2 * stats.norm.ppf(0.025 ** (1 / 32)))
    assert epsilon.gaussian_mu(counts(10, 30, 10, 30)) == 0
    assert epsilon.gaussian_mu(counts(0, 30, 30, 30)) == 0
    assert epsilon.gaussian_epsilon(0.0, 1e-5) == 0
    assert epsilon.gaussian_epsilon(1e-5, 1e-5) == 0, "total variation below delta"
    ladder = [epsilon.gaussian_epsilon(mu, 1e-5) for mu in (0.1, 0.5, 1.0, 2.0, 5.0)]
    assert ladder == sorted(ladder)
    assert epsilon.gaussian_epsilon(1.0, 1e-3) < epsilon.gaussian_epsilon(1.0, 1e-6)
    assert found < epsilon.gaussian_epsilon(found, 1e-5)


@pytest.mark.parametrize(
    ("r", "v", "bound"),
    [
        (100, 100, 3.49),
        (400, 400, 4.89),
        (1000, 1000, 5.81),
        (320, 155, 0.0),
        (320, 320, 4.67),
        (320, 319, 4.20),
        (320, 315, 3.39),
    ],
)
def test_one_run_table(r: int, v: int, bound: float) -> None:
    assert epsilon.one_run_per_example(r, v, m=r) == pytest.approx(bound, abs=0.006)


def test_set_level_table() -> None:
    assert epsilon.one_run_set_level(100, 75) == pytest.approx(12.09, abs=0.01)
    assert epsilon.one_run_set_level(100, 58) == 0
    assert epsilon.one_run_set_level(320, 320, runs=16) == pytest.approx(
        (math.log(0.05) + 320 * math.log(2)) / 16
    )
    assert epsilon.one_run_set_level(100, 75, delta=0.05) == 0, "delta uses up the error"


@pytest.mark.parametrize("delta", [0.0, 1e-6, 1e-4])
@pytest.mark.parametrize(("r", "v"), [(20, 18), (40, 40), (100, 75)])
def test_one_run_bound_is_the_largest_refuted_epsilon(r: int, v: int, delta: float) -> None:
    """The published sum over numbers of right guesses, scanned over a grid of epsilons."""
    m = 3 * r

    def p_value(eps: float) -> float:
        q = math.exp(eps) / (1 + math.exp(eps))
        chances = [math.comb(r, j) * q**j * (1 - q) ** (r - j) for j in range(r + 1)]
        steps = [sum(chances[v - i : v]) / i for i in range(1, v + 1)]
        return sum(chances[v:]) + 2 * m * delta * max(steps)

    grid = np.linspace(0, 5, 251)
    refuted = [eps for eps in grid if p_value(eps) <= ALPHA]
    found = epsilon.one_run_per_example(r, v, m=m, delta=delta)
    assert max(refuted, default=0.0) <= found + 1e-6
    assert found <= max(refuted, default=0.0) + 0.02
    for eps in (0.0, 0.7):
        assert epsilon.one_run_p_value(eps, r, v, m=m, delta=delta) == pytest.approx(
            min(1.0, p_value(eps))
        )


@pytest.mark.parametrize(("runs", "delta"), [(1, 0.0), (1, 1e-3), (4, 0.0), (4, 1e-3)])
def test_set_level_bound_is_the_largest_refuted_epsilon(runs: int, delta: float) -> None:
    tail = sum(binom.pmf(j, 80, 0.5) for j in range(60, 81))
    grid = np.linspace(0, 15, 15_001)
    refuted = grid[np.exp(runs * grid) * tail + runs * delta <= ALPHA]
    found = epsilon.one_run_set_level(80, 60, runs=runs, delta=delta)
    assert 0 <= found - refuted.max() < 1.1e-3


@given(r=st.integers(1, 150), data=st.data(), delta=st.sampled_from([0.0, 1e-5, 1e-3]))
@settings(max_examples=60, deadline=None)
def test_one_run_bounds_are_monotone(r: int, data: st.DataObject, delta: float) -> None:
    v = data.draw(st.integers(0, r - 1))
    m = data.draw(st.integers(r, 400))
    for bound in (epsilon.one_run_per_example, epsilon.one_run_gaussian):
        extra = {} if bound is epsilon.one_run_gaussian else {"delta": delta}
        here = bound(r, v, m=m, **extra)
        slack = 1e-6
        assert 0 <= here < math.inf
        assert bound(r, v + 1, m=m, **extra) >= here - slack
        assert bound(r, v, m=m, level=0.99, **extra) <= here + slack
        assert bound(r, v, m=m + 50, **extra) <= here + slack
        if here > 0:
            assert binom.sf(v - 1, r, 0.5) <= ALPHA, "coins refute nothing that coins explain"
    assert epsilon.one_run_per_example(r, v, m=m) >= epsilon.one_run_per_example(
        r, v, m=m, delta=delta
    )


def worst_guesses(scores: Floats, coins: epsilon.Flags, r: int) -> int:
    """Try every order of tied candidates and keep the fewest right guesses of both ends."""
    m = len(scores)

    def fewest(sign: int, called: bool) -> int:
        orders = (
            order
            for order in itertools.permutations(range(m))
            if all(sign * scores[a] >= sign * scores[b] for a, b in itertools.pairwise(order))
        )
        return min(sum(bool(coins[k]) == called for k in order[: r // 2]) for order in orders)

    return fewest(1, True) + fewest(-1, False)


def test_ties_count_against_the_guesser() -> None:
    rng = generator(5, "ties")
    for _ in range(25):
        scores = rng.integers(0, 3, 6).astype(np.float64)
        coins = rng.random(6) < 0.5
        right = epsilon.guesses(scores, coins, 4)
        assert right.shape == (4,)
        assert right.sum() == worst_guesses(scores, coins, 4)
        order = rng.permutation(6)
        again = epsilon.guesses(scores[order], coins[order], 4)
        assert again.sum() == right.sum()


def test_guesses_of_scores_that_know_the_coins() -> None:
    coins = generator(6, "coins").random((5, 40)) < 0.5
    assert epsilon.guesses(coins.astype(np.float64), coins, 10).all()
    assert not epsilon.guesses(-coins.astype(np.float64), coins, 10).any()
    for r in (3, 42, 0):
        with pytest.raises(ValueError, match="r: expected an even number from 2 to 40"):
            epsilon.guesses(coins[0].astype(np.float64), coins[0], r)


@pytest.mark.parametrize("m", [50, 400])
def test_pure_coins_are_claimed_in_at_most_five_percent(m: int) -> None:
    draws, r = 2000, m // 5 * 2
    rng = generator(7, "pure", m)
    coins = rng.random((draws, m)) < 0.5
    right = epsilon.guesses(rng.standard_normal((draws, m)), coins, r).sum(axis=1)
    bounds = np.array(
        [
            (
                epsilon.one_run_per_example(r, v, m=m),
                epsilon.one_run_set_level(r, v),
                epsilon.one_run_gaussian(r, v, m=m),
            )
            for v in range(r + 1)
        ]
    )
    claims = np.sum(bounds[right] > 0, axis=0)
    assert np.all(claims <= most_claims(draws))


def test_bounds_hold_for_mechanisms_of_known_strength() -> None:
    """Coins told with probability q, and coins with Gaussian noise: truth is rarely exceeded."""
    draws, m, r, eps, mu = 2000, 60, 40, 1.0, 1.0
    rng = generator(8, "known")
    coins = rng.random((draws, m)) < 0.5
    told = coins ^ (rng.random((draws, m)) > special.expit(eps))
    noise = rng.random((draws, m)) / 2
    right = epsilon.guesses(told + noise, coins, r).sum(axis=1)
    limits = np.array([epsilon.one_run_per_example(r, v, m=m) for v in range(r + 1)])
    assert np.sum(limits[right] > eps) <= most_claims(draws)
    assert np.mean(limits[right] > 0) > 0.5, "and the bound is not idle"
    right = epsilon.guesses(coins * mu + rng.standard_normal((draws, m)), coins, r).sum(axis=1)
    limits = np.array([epsilon.one_run_gaussian(r, v, m=m) for v in range(r + 1)])
    assert np.sum(limits[right] > mu) <= most_claims(draws)
    assert np.mean(limits[right] > 0.1) > 0.5


def test_one_guess_against_a_gaussian_curve_in_closed_form() -> None:
    """One guess is right with probability Phi(mu / 2) at most."""
    for error in (0.6, 0.8, 0.95):
        found = epsilon.one_run_gaussian(1, 1, m=1, level=1 - error)
        assert found == pytest.approx(2 * stats.norm.ppf(error), rel=1e-6)
    assert epsilon.one_run_gaussian(1, 1, m=1) == 0


@pytest.mark.parametrize(
    ("r", "v", "m", "level"), [(6, 6, 6, 0.95), (6, 6, 9, 0.9), (8, 7, 8, 0.9)]
)
def test_gaussian_recursion_against_a_general_optimiser(
    r: int, v: int, m: int, level: float
) -> None:
    """At the bound, no law of the number of right guesses reaches `v` more often than allowed."""
    mu = epsilon.one_run_gaussian(r, v, m=m, level=level)
    assert mu > 0
    j = np.arange(r + 1)

    def slack(p: Floats) -> Floats:
        right = np.array([np.sum((j * p)[i + 1 :]) / m for i in range(r)])
        wrong = np.array([np.sum(((r - j) * p)[i:]) / m for i in range(r)])
        return np.asarray(special.ndtr(special.ndtri(np.clip(wrong, 1e-12, 1)) + mu) - right)

    def missed(p: Floats) -> float:
        return -float(np.sum(p[v:]))

    total = optimize.LinearConstraint(np.ones(r + 1), 1, 1)
    best = optimize.minimize(
        missed,
        np.asarray(binom.pmf(j, r, 0.5)),
        method="SLSQP",
        bounds=[(0.0, 1.0)] * (r + 1),
        constraints=(optimize.NonlinearConstraint(slack, 0, np.inf), total),
        tol=1e-12,
    )
    assert best.success
    assert -best.fun == pytest.approx(1 - level, abs=2e-5)


def test_gaussian_recursion_is_tighter_than_coins_where_the_curve_is_gaussian() -> None:
    plain = epsilon.one_run_per_example(320, 300, m=400, delta=1e-5)
    mu = epsilon.one_run_gaussian(320, 300, m=400)
    assert epsilon.gaussian_epsilon(mu, 1e-5) > plain > 0


def test_bayesian_interval_against_integration() -> None:
    """The credible bound of ln((1 - FPR) / FNR) by two-dimensional integration of the posterior."""
    part = counts(27, 30, 6, 30)
    low, high = epsilon.bayesian_interval(part, generator(9, "bayes"), draws=200_000)
    fpr, fnr = stats.beta(6.5, 24.5), stats.beta(3.5, 27.5)
    grid = (np.arange(800) + 0.5) / 800
    p, q = np.meshgrid(grid, grid, indexing="ij")
    mass = fpr.pdf(p) * fnr.pdf(q)
    value = np.maximum(0, np.maximum(np.log((1 - p) / q), np.log((1 - q) / p)))
    order = np.argsort(value.ravel())
    share = np.cumsum(mass.ravel()[order]) / mass.sum()
    expected = value.ravel()[order][np.searchsorted(share, [0.05, 0.95])]
    assert [low, high] == pytest.approx(expected, abs=0.02)
    assert low > epsilon.counts_epsilon(part), "belief is tighter than confidence"


def test_bayesian_interval_of_extreme_counts_is_finite() -> None:
    rng = generator(10, "bayes")
    for part in (separated(1), counts(0, 5, 5, 5), separated(1000)):
        low, high = epsilon.bayesian_interval(part, rng, delta=1e-5, draws=2000)
        assert 0 <= low <= high < math.inf
