"""Statistics with a value known in closed form, or a law known exactly."""

import math

import numpy as np
import pytest
from scipy.stats import binom

from forget_audit import stats
from forget_audit.seeds import generator
from forget_audit.types import Floats
from forget_audit.verdict import exact_tests, yardstick

ALMOST_NEVER = 1e-5


def close_to_rate(count: int, n: int, rate: float) -> bool:
    low, high = binom.interval(1 - ALMOST_NEVER, n, rate)
    return bool(low <= count <= high)


def test_log_odds_of_a_known_distribution() -> None:
    logits = np.log([[0.7, 0.2, 0.1], [0.25, 0.25, 0.5]]) + np.array([[3.0], [-8.0]])
    found = stats.log_odds(logits, np.array([0, 2]))
    assert found == pytest.approx([math.log(0.7 / 0.3), 0.0])
    assert stats.label_probability(found) == pytest.approx([0.7, 0.5])


def test_log_odds_do_not_saturate_before_the_limit() -> None:
    """At 25 the probability rounds to a number whose log-odds are off by percents."""
    logits = np.array([[25.0, 0.0], [100.0, 0.0], [-100.0, 0.0]])
    assert stats.log_odds(logits, np.array([0, 0, 0])).tolist() == [25.0, 30.0, -30.0]


def test_cross_entropy_of_a_known_distribution() -> None:
    logits = np.log([[0.7, 0.2, 0.1]])
    assert stats.cross_entropy(logits, np.array([1])) == pytest.approx([-math.log(0.2)])
    assert stats.cross_entropy(np.array([[1e4, 0.0]]), np.array([1])).tolist() == [400.0]


def test_entropy_of_uniform_and_sure_answers() -> None:
    assert stats.entropy(np.full(8, 1 / 8)) == pytest.approx(math.log(8))
    assert stats.entropy(np.eye(3)).tolist() == [0.0, 0.0, 0.0]


def test_jensen_shannon_of_opposite_answers_is_one_bit() -> None:
    """A public implementation gives 1.31 nats, with its arguments reversed, where ln 2 is right."""
    assert stats.jensen_shannon(np.array([1.0, 0.0]), np.array([0.0, 1.0])) == 1.0
    assert stats.jensen_shannon(np.eye(10)[:2], np.eye(10)[2:4]).tolist() == [1.0, 1.0]


@pytest.mark.parametrize("p", [0.0, 0.1, 0.3, 0.5])
def test_jensen_shannon_of_two_points(p: float) -> None:
    q = 0.8

    def bits(x: float) -> float:
        return -sum(v * math.log2(v) for v in (x, 1 - x) if v)

    expected = bits((p + q) / 2) - (bits(p) + bits(q)) / 2
    first, second = np.array([p, 1 - p]), np.array([q, 1 - q])
    assert stats.jensen_shannon(first, second) == pytest.approx(expected)
    assert stats.jensen_shannon(second, first) == pytest.approx(expected)
    assert stats.jensen_shannon(first, first) == 0


def test_jensen_shannon_is_not_divided_by_the_number_of_classes() -> None:
    """Averaged over classes, nearly every pair of answers would look alike."""
    for classes in (4, 100, 1000):
        half = np.repeat([2 / classes, 0.0], classes // 2)
        assert stats.jensen_shannon(half, half[::-1]) == pytest.approx(1)


def test_bits_of_success() -> None:
    assert stats.bits_of_success(0.46) == pytest.approx(0.0046, abs=5e-5)
    assert stats.bits_of_success(0.65) == pytest.approx(0.066, abs=5e-4)
    assert stats.bits_of_success(0.5) == 0
    assert stats.bits_of_success(0.0) == stats.bits_of_success(1.0) == 1
    assert stats.bits_of_success(0.2) == pytest.approx(stats.bits_of_success(0.8))


def test_calibration_shrinks_by_four_degrees_of_freedom() -> None:
    reference = np.array([[0.0, 1.0], [2.0, 1.0], [4.0, 1.0]])
    null = stats.calibrate(reference)
    assert null.mean.tolist() == [2.0, 1.0]
    common = (4.0 + 0.0) / 2
    assert null.sd == pytest.approx([math.sqrt((2 * s + 4 * common) / 6) for s in (4.0, 0.0)])
    assert null.z(np.array([2.0, 1.0])).tolist() == [0.0, 0.0]


def test_calibration_needs_two_models() -> None:
    with pytest.raises(ValueError, match="at least two reference models, found 1"):
        stats.calibrate(np.zeros((1, 3)))


def test_calibration_without_spread_stays_finite() -> None:
    null = stats.calibrate(np.ones((5, 3)))
    assert np.all(np.isfinite(null.z(np.array([0.0, 1.0, 2.0]))))


def test_difficulty_takes_off_what_it_explains() -> None:
    rng = generator(41)
    null = stats.Null(mean=rng.normal(size=500), sd=np.exp(rng.normal(size=500) / 4))
    shift = 1 + 0.5 * null.mean - 0.2 * null.mean**2 + 0.1 * null.mean**3 + np.log(null.sd)
    left = stats.remove_difficulty(shift, null, slice(100, None))
    assert np.std(left) < 0.02 * np.std(shift)
    signal = np.where(np.arange(500) < 100, 2.0, 0.0)
    kept = stats.remove_difficulty(shift + signal, null, slice(100, None))
    np.testing.assert_allclose(kept - left, signal, atol=1e-9)


def test_influence_of_the_ends_and_the_middle() -> None:
    null = stats.Null(mean=np.zeros(6), sd=np.ones(6))
    original = np.array([2.0, 2.0, 2.0, 2.0, 0.0, 0.0])
    for share in (0.0, 0.25, 1.0, -0.5):
        found = yardstick.influences(null, share * original, original, 4, adjust=False)
        assert found.rho == pytest.approx(share)
        assert found.standard_error == pytest.approx(0)
        assert found.n_eff == pytest.approx(4)


def test_influence_caps_the_weight_of_a_row() -> None:
    null = stats.Null(mean=np.zeros(2), sd=np.ones(2))
    original, own = np.array([30.0, 1.0]), np.array([0.0, 1.0])
    capped = yardstick.influences(null, own, original, 2, adjust=False)
    assert capped.rho == pytest.approx(1 / (3 * 30 + 1))
    free = yardstick.influences(null, own, original, 2, cap=None, adjust=False)
    assert free.rho == pytest.approx(1 / (30 * 30 + 1))


def test_influence_without_any_says_that_it_has_no_evidence() -> None:
    null = stats.Null(mean=np.zeros(3), sd=np.ones(3))
    found = yardstick.influences(null, np.ones(3), np.zeros(3), 3, adjust=False)
    assert [float(found.rho), float(found.n_eff)] == [0.0, 0.0]
    assert float(found.standard_error) == math.inf


def test_auc_of_small_sets() -> None:
    assert stats.auc(np.array([2.0, 3.0]), np.array([0.0, 1.0])) == 1
    assert stats.auc(np.array([0.0]), np.array([1.0])) == 0
    assert stats.auc(np.array([1.0, 1.0]), np.array([1.0])) == 0.5
    assert stats.auc(np.array([1.0, 3.0]), np.array([1.0, 2.0])) == 0.625


def test_auc_interval_at_the_ends_is_the_binomial_bound() -> None:
    low, high = stats.auc_interval(np.arange(50.0, 60.0), np.arange(30.0))
    assert (low, high) == pytest.approx((0.025 ** (1 / 10), 1))
    low, high = stats.auc_interval(np.arange(-10.0, 0.0), np.arange(30.0))
    assert (low, high) == pytest.approx((0, 1 - 0.025 ** (1 / 10)))


@pytest.mark.parametrize("shift", [0.0, 1.0])
def test_auc_intervals_cover_as_often_as_they_say(shift: float) -> None:
    truth = 0.5 * (1 + math.erf(shift / 2))
    rng, n, covered = generator(42), 500, 0
    for _ in range(n):
        low, high = stats.auc_interval(rng.normal(shift, size=60), rng.normal(size=150))
        covered += low <= truth <= high
    low_count, high_count = binom.interval(1 - ALMOST_NEVER, n, 0.95)
    assert low_count - 0.01 * n <= covered <= high_count + 0.01 * n


@pytest.mark.parametrize("n", [5, 40])
def test_clopper_pearson_at_the_ends(n: int) -> None:
    assert stats.binomial_interval(0, n) == pytest.approx((0, 1 - 0.025 ** (1 / n)))
    assert stats.binomial_interval(n, n, level=0.9) == pytest.approx((0.05 ** (1 / n), 1))


@pytest.mark.parametrize(("n", "rate"), [(100, 2 / 101), (400, 5 / 401), (150, 2 / 151)])
def test_true_positive_rate_of_chance_is_above_its_name(n: int, rate: float) -> None:
    """`(floor(a n) + 1) / (n + 1)`: 1.98 % and 1.25 %, not 1 %."""
    assert rate == (math.floor(0.01 * n) + 1) / (n + 1)
    rng, repetitions, hits = generator(43, n), 10_000, 0
    for _ in range(repetitions):
        draw = rng.random(n + 1)
        found = stats.true_positives_at(draw[:1], draw[1:], 0.01)
        assert found is not None
        hits += found[0]
        assert found[1] == math.floor(0.01 * n)
    assert close_to_rate(hits, repetitions, rate)


def test_true_positives_need_enough_control_rows() -> None:
    assert stats.true_positives_at(np.ones(5), np.zeros(99), 0.01) is None
    assert stats.true_positives_at(np.ones(5), np.zeros(100), 0.01) == (5, 0)
    assert stats.true_positives_at(np.ones(5), np.zeros(999), 0.001) is None


def test_true_positives_never_exceed_the_false_positive_rate_with_ties() -> None:
    control = np.repeat([0.0, 1.0], [97, 3])
    assert stats.true_positives_at(np.array([1.0, 2.0]), control, 0.01) == (1, 0)
    assert stats.true_positives_at(np.array([1.0, 2.0]), control, 0.03) == (2, 3)


def test_balanced_accuracy_counts_the_threshold_as_member() -> None:
    forget, control = np.array([1.0, 2.0, 3.0, 0.0]), np.array([0.0, 1.0])
    assert stats.balanced_accuracy(forget, control, 1.0) == (0.75 + 0.5) / 2


def test_roc_goes_through_its_corners() -> None:
    fpr, tpr = stats.roc(np.array([2.0, 1.0]), np.array([1.0, 0.0]))
    assert fpr.tolist() == [0.0, 0.0, 0.5, 1.0]
    assert tpr.tolist() == [0.0, 0.5, 1.0, 1.0]


def test_rank_p_values_are_exact() -> None:
    """Every rank is as likely as any other, so `P(p <= a) <= a` can be counted out."""
    members = np.arange(40.0)
    p = np.array([exact_tests.rank_p_value(v, members[members != v]) for v in members])
    assert p.min() == pytest.approx(2 / 40)
    for level in (0.05, 0.1, 0.2, 0.5):
        assert np.mean(p <= level + 1e-12) <= level + 1e-12
    assert np.mean(p <= 0.05 + 1e-12) == 0.05


def test_studentised_distance_from_the_others() -> None:
    found = exact_tests.studentise(np.array([[1.0], [2.0], [3.0], [10.0]]))
    assert found[3, 0] == pytest.approx((10 - 2) / 1.0)
    assert found[0, 0] == pytest.approx((1 - 5) / math.sqrt((9 + 4 + 25) / 2))


def gaussians(rng: np.random.Generator, n: int, columns: int) -> Floats:
    mixing = generator(44).normal(size=(columns, columns))
    return rng.normal(size=(n, columns)) @ mixing * 10.0 ** np.arange(columns)


def test_max_t_p_values_are_uniform_for_one_audited_model() -> None:
    rng, n, r = generator(45), 2000, 19
    p = np.empty(n)
    for i in range(n):
        pool = gaussians(rng, r + 1, 5)
        p[i] = exact_tests.max_t_p_value(pool[:r], pool[r:], rng)
    for k in (1, 2, 5, 10):
        assert close_to_rate(int(np.sum(p <= k / 20 + 1e-9)), n, k / 20)


def test_max_t_p_values_are_uniform_for_several_copies() -> None:
    rng, n, r, m = generator(46), 400, 6, 2
    ways = math.comb(r + m, m)
    p = np.empty(n)
    for i in range(n):
        pool = gaussians(rng, r + m, 3)
        p[i] = exact_tests.max_t_p_value(pool[:r], pool[r:], rng)
    for k in (1, 3, 7, 14):
        assert close_to_rate(int(np.sum(p <= k / ways + 1e-9)), n, k / ways)


def test_max_t_is_smallest_for_a_model_far_away() -> None:
    rng = generator(47)
    reference = gaussians(rng, 39, 4)
    far = reference.mean(axis=0) + 100 * reference.std(axis=0)
    assert exact_tests.max_t_p_value(reference, far[None], rng) == 1 / 40
    copies = np.stack([far, far + 0.01 * reference.std(axis=0)])
    assert exact_tests.max_t_p_value(reference, copies, rng) == pytest.approx(1 / math.comb(41, 2))


def test_holm_by_hand() -> None:
    assert exact_tests.holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert exact_tests.holm([0.5, 0.9]) == pytest.approx([1.0, 1.0])
    assert exact_tests.holm([0.2]) == pytest.approx([0.2])


def test_log_odds_of_a_count() -> None:
    assert stats.log_odds_of_count(50, 100) == 0
    assert stats.log_odds_of_count(0, 100) == pytest.approx(-math.log(201))
    assert stats.log_odds_of_count(3, 10) == pytest.approx(-stats.log_odds_of_count(7, 10))
