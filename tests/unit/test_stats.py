"""Statistics against libraries and brute force, and the properties they must have."""

import math
from itertools import combinations, permutations, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy.spatial.distance import jensenshannon
from scipy.special import logit, ndtr
from scipy.stats import binom, binomtest, norm
from sklearn.metrics import balanced_accuracy_score, log_loss, roc_auc_score, roc_curve
from statsmodels.stats.multitest import multipletests

from forget_audit import stats
from forget_audit.outputs import Derived, Outputs
from forget_audit.seeds import generator
from forget_audit.types import Floats, Labels
from forget_audit.verdict import exact_tests, yardstick

moderate = st.floats(-8, 8, allow_nan=False)
scores = arrays.arrays(
    np.float64, st.integers(1, 25), elements=st.integers(-6, 6).map(lambda v: v / 2)
)
logit_tables = arrays.arrays(
    np.float64, st.tuples(st.integers(1, 6), st.integers(2, 5)), elements=moderate
)
quick = settings(max_examples=60, deadline=None)


def labels_for(logits: Floats, seed: int = 0) -> Labels:
    labels: Labels = generator(51, seed).integers(0, logits.shape[-1], size=logits.shape[-2:-1])
    return labels


def simplex(rng: np.random.Generator, *shape: int) -> Floats:
    return rng.dirichlet(np.ones(shape[-1]), size=shape[:-1])


@quick
@given(logit_tables)
def test_log_odds_by_the_direct_formula(logits: Floats) -> None:
    labels = labels_for(logits)
    wide = logits.astype(np.longdouble)
    p = np.exp(wide) / np.exp(wide).sum(axis=1, keepdims=True)
    own = p[np.arange(len(p)), labels]
    expected = np.log(own) - np.log(p.sum(axis=1) - own)
    np.testing.assert_allclose(
        stats.log_odds(logits, labels), expected.astype(np.float64), rtol=1e-8, atol=1e-8
    )


@quick
@given(logit_tables, moderate)
def test_row_scores_depend_on_probabilities_only(logits: Floats, shift: float) -> None:
    labels = labels_for(logits)
    for score in (stats.log_odds, stats.cross_entropy):
        np.testing.assert_allclose(
            score(logits + shift, labels), score(logits, labels), rtol=1e-9, atol=1e-9
        )
        log_p = np.log(stats.probabilities(logits))
        np.testing.assert_allclose(score(log_p, labels), score(logits, labels), atol=1e-9)


@quick
@given(logit_tables)
def test_one_row_at_a_time_gives_the_same(logits: Floats) -> None:
    """A widely copied row score indexes whole columns, so rows get mixed up."""
    labels = labels_for(logits)
    for score in (stats.log_odds, stats.cross_entropy):
        single = [score(logits[i : i + 1], labels[i : i + 1])[0] for i in range(len(logits))]
        assert score(logits, labels).tolist() == single
    p = stats.probabilities(logits)
    np.testing.assert_allclose(stats.entropy(p), [stats.entropy(row) for row in p], atol=1e-12)


@pytest.mark.parametrize("score", [stats.log_odds, stats.cross_entropy])
def test_another_label_gives_another_score(score: object) -> None:
    """In the same copied function the value does not depend on the label at all."""
    assert callable(score)
    logits = generator(52).normal(size=(40, 5)) * 2
    labels = np.arange(40) % 5
    turned = (labels + 1) % 5
    before, after = score(logits, labels), score(logits, turned)
    assert np.all(before != after)
    order = generator(53).permutation(40)
    np.testing.assert_array_equal(score(logits[order], labels[order]), before[order])


def test_row_scores_of_many_models_at_once() -> None:
    logits = generator(54).normal(size=(3, 7, 4))
    labels = labels_for(logits)
    for score in (stats.log_odds, stats.cross_entropy):
        each = np.stack([score(model, labels) for model in logits])
        np.testing.assert_array_equal(score(logits, labels), each)


def test_row_scores_leave_their_input_alone() -> None:
    logits = generator(55).normal(size=(4, 3))
    copy = logits.copy()
    logits.flags.writeable = False
    stats.log_odds(logits, np.array([0, 1, 2, 0]))
    stats.cross_entropy(logits, np.array([0, 1, 2, 0]))
    np.testing.assert_array_equal(logits, copy)


def test_extreme_logits_stay_finite() -> None:
    logits = np.array([[1e30, -1e30, 0.0], [0.0, 0.0, 0.0], [-745.0, 700.0, 0.0]])
    for label in range(3):
        labels = np.full(3, label)
        assert np.all(np.isfinite(stats.log_odds(logits, labels)))
        assert np.all(np.isfinite(stats.cross_entropy(logits, labels)))
    assert np.all(np.isfinite(stats.entropy(stats.probabilities(logits))))


def test_cross_entropy_by_sklearn() -> None:
    logits = generator(56).normal(size=(50, 4))
    labels = np.arange(50) % 4
    expected = log_loss(labels, stats.probabilities(logits))
    assert stats.cross_entropy(logits, labels).mean() == pytest.approx(expected)


@quick
@given(st.integers(0, 10_000), st.integers(2, 12))
def test_jensen_shannon_by_scipy(seed: int, classes: int) -> None:
    rng = generator(57, seed)
    p, q = simplex(rng, 5, classes), simplex(rng, 5, classes)
    found = stats.jensen_shannon(p, q)
    expected = [jensenshannon(a, b, base=2) ** 2 for a, b in zip(p, q, strict=True)]
    np.testing.assert_allclose(found, expected, atol=1e-12)
    np.testing.assert_allclose(found, stats.jensen_shannon(q, p), atol=1e-12)
    assert np.all((found >= 0) & (found <= 1))
    assert np.all(stats.jensen_shannon(p, p) == 0)


def test_jensen_shannon_of_sure_answers_is_finite() -> None:
    p, q = np.array([1.0, 0.0, 0.0]), np.array([0.5, 0.5, 0.0])
    assert stats.jensen_shannon(p, q) == pytest.approx(jensenshannon(p, q, base=2) ** 2)


@quick
@given(scores, scores)
def test_auc_by_counting_pairs_and_by_sklearn(forget: Floats, control: Floats) -> None:
    wins = sum((a > b) + 0.5 * (a == b) for a in forget for b in control)
    value = stats.auc(forget, control)
    assert value == pytest.approx(wins / (len(forget) * len(control)))
    member = np.repeat([1, 0], [len(forget), len(control)])
    assert value == pytest.approx(roc_auc_score(member, np.concatenate([forget, control])))


@quick
@given(scores, scores)
def test_auc_depends_on_the_order_only(forget: Floats, control: Floats) -> None:
    value = stats.auc(forget, control)
    assert stats.auc(np.exp(forget) + forget, np.exp(control) + control) == pytest.approx(value)
    assert stats.auc(-forget, -control) == pytest.approx(1 - value)
    assert stats.auc(control, forget) == pytest.approx(1 - value)


@quick
@given(scores, scores)
def test_roc_by_sklearn_and_its_area_is_the_auc(forget: Floats, control: Floats) -> None:
    fpr, tpr = stats.roc(forget, control)
    member = np.repeat([1, 0], [len(forget), len(control)])
    expected = roc_curve(member, np.concatenate([forget, control]), drop_intermediate=False)
    np.testing.assert_allclose(fpr, expected[0], atol=1e-12)
    np.testing.assert_allclose(tpr, expected[1], atol=1e-12)
    assert np.trapezoid(tpr, fpr) == pytest.approx(stats.auc(forget, control))


@quick
@given(scores, scores, st.integers(-6, 6))
def test_balanced_accuracy_by_sklearn(forget: Floats, control: Floats, twice: int) -> None:
    threshold = twice / 2
    member = np.repeat([1, 0], [len(forget), len(control)])
    called = np.concatenate([forget, control]) >= threshold
    expected = balanced_accuracy_score(member, called)
    assert stats.balanced_accuracy(forget, control, threshold) == pytest.approx(expected)


@quick
@given(scores, arrays.arrays(np.float64, 40, elements=st.integers(0, 9).map(float)))
def test_true_positives_by_trying_all_thresholds(forget: Floats, control: Floats) -> None:
    for fpr in (0.025, 0.1, 0.33):
        allowed = math.floor(fpr * 40 + 1e-9)
        cuts = [c for c in (*control, -np.inf) if np.sum(control > c) <= allowed]
        found = stats.true_positives_at(forget, control, fpr)
        assert found is not None
        assert found[1] <= allowed
        assert found[0] == max(np.sum(forget > c) for c in cuts)


def jackknife_variance(forget: Floats, control: Floats) -> float:
    total = 0.0
    for group, left_out in (
        (forget, [stats.auc(np.delete(forget, i), control) for i in range(len(forget))]),
        (control, [stats.auc(forget, np.delete(control, i)) for i in range(len(control))]),
    ):
        n = len(group)
        total += (n - 1) / n * float(np.sum((np.array(left_out) - np.mean(left_out)) ** 2))
    return total


@pytest.mark.parametrize("ties", [False, True])
def test_delong_variance_by_leaving_rows_out(ties: bool) -> None:
    rng = generator(58)
    forget, control = rng.normal(0.7, size=23), rng.normal(size=41)
    if ties:
        forget, control = np.round(forget), np.round(control)
    value = stats.auc(forget, control)
    low, high = stats.auc_interval(forget, control, level=0.9)
    half = (logit(high) - logit(low)) / 2 / norm.ppf(0.95)
    assert (half * value * (1 - value)) ** 2 == pytest.approx(jackknife_variance(forget, control))
    assert (logit(high) + logit(low)) / 2 == pytest.approx(logit(value))


@pytest.mark.parametrize(
    ("n_f", "n_c"), [(1, 30), (30, 1), (1, 1)], ids=["one forget", "one control", "one each"]
)
def test_auc_interval_of_single_rows(n_f: int, n_c: int) -> None:
    rng = generator(59)
    control = rng.normal(size=n_c)
    forget = np.full(n_f, float(np.median(control)))
    low, high = stats.auc_interval(forget, control)
    assert 0 <= low <= stats.auc(forget, control) <= high <= 1


@quick
@given(st.integers(1, 60), st.integers(0, 60), st.sampled_from([0.9, 0.95, 0.99]))
def test_clopper_pearson_by_scipy(n: int, k: int, level: float) -> None:
    k = min(k, n)
    expected = binomtest(k, n).proportion_ci(confidence_level=level, method="exact")
    low, high = stats.binomial_interval(k, n, level)
    assert (low, high) == pytest.approx((expected.low, expected.high), abs=1e-9)


def naive_studentise(members: Floats) -> Floats:
    found = np.empty_like(members)
    for i in range(len(members)):
        others = np.delete(members, i, axis=0)
        for j in range(members.shape[1]):
            sd = np.std(others[:, j], ddof=1)
            found[i, j] = (members[i, j] - np.mean(others[:, j])) / sd
    return found


def test_studentise_by_a_loop() -> None:
    members = generator(60).normal(size=(12, 4)) * [1, 1e-3, 1e3, 5] + [0, 1, -5, 100]
    np.testing.assert_allclose(
        exact_tests.studentise(members), naive_studentise(members), rtol=1e-6
    )
    expected = np.max(np.abs(naive_studentise(members)), axis=1)
    np.testing.assert_allclose(exact_tests.max_t(members), expected, rtol=1e-6)


def test_a_column_without_spread_says_nothing() -> None:
    for level, n in product([0.0, 1.0, 0.1, -13.7, 1e6], [3, 8, 40]):
        assert exact_tests.studentise(np.full((n, 1), level)).ravel().tolist() == [0.0] * n


def test_the_only_one_that_differs_is_infinitely_far() -> None:
    for level, n in product([0.0, 1.0, 0.1, -13.7], [4, 11, 40]):
        column = np.full((n, 1), level)
        column[1] += 0.5
        assert exact_tests.studentise(column)[1, 0] == np.inf


def test_a_large_offset_does_not_drown_the_spread() -> None:
    spread = generator(61).normal(size=(20, 1)) * 1e-3
    np.testing.assert_allclose(
        exact_tests.studentise(spread + 1e5), naive_studentise(spread + 1e5), rtol=1e-3
    )


def naive_group_t(pool: Floats, inside: tuple[int, ...]) -> float:
    largest = 0.0
    outside = [i for i in range(len(pool)) if i not in inside]
    for j in range(pool.shape[1]):
        a, b = pool[list(inside), j], pool[outside, j]
        squares = sum((a - a.mean()) ** 2) + sum((b - b.mean()) ** 2)
        error = math.sqrt(squares / (len(pool) - 2) * (1 / len(a) + 1 / len(b)))
        largest = max(largest, abs(a.mean() - b.mean()) / error)
    return largest


@pytest.mark.parametrize(("r", "m"), [(5, 2), (4, 3), (6, 2)])
def test_permutation_p_value_by_brute_force(r: int, m: int) -> None:
    rng = generator(62, r, m)
    for shift in (0.0, 1.5):
        pool = rng.normal(size=(r + m, 3))
        pool[r:] += shift
        observed = naive_group_t(pool, tuple(range(r, r + m)))
        every = [naive_group_t(pool, group) for group in combinations(range(r + m), m)]
        expected = sum(t >= observed - 1e-9 for t in every) / len(every)
        assert exact_tests.max_t_p_value(pool[:r], pool[r:], rng) == pytest.approx(expected)


def test_permutation_p_value_for_one_model_by_leaving_each_out() -> None:
    rng = generator(63)
    for _ in range(20):
        pool = rng.normal(size=(8, 3))
        t = np.max(np.abs(naive_studentise(pool)), axis=1)
        expected = np.sum(t >= t[-1] - 1e-9) / 8
        assert exact_tests.max_t_p_value(pool[:7], pool[7:], rng) == pytest.approx(expected)


def test_drawn_permutations_come_near_all_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = generator(64)
    pool = rng.normal(size=(10, 2))
    pool[8:] += 0.8
    exact = exact_tests.max_t_p_value(pool[:8], pool[8:], rng)
    monkeypatch.setattr(exact_tests, "MOST_PERMUTATIONS", 1)
    monkeypatch.setattr(exact_tests, "DRAWN_PERMUTATIONS", 1999)
    drawn = exact_tests.max_t_p_value(pool[:8], pool[8:], rng)
    assert drawn == pytest.approx(exact, abs=0.06)
    assert drawn >= 1 / 2000


def test_a_large_offset_does_not_change_the_p_value_of_copies() -> None:
    pool = generator(73).normal(size=(9, 2)) * 1e-3
    p = exact_tests.max_t_p_value(pool[:7], pool[7:], generator(74))
    shifted = pool + 1e5
    again = exact_tests.max_t_p_value(shifted[:7], shifted[7:], generator(74))
    assert again == pytest.approx(p, abs=0.06)


def test_copies_that_all_differ_alike_are_told_apart() -> None:
    """Without spread inside either group, the groups could not be further apart."""
    reference, audited = np.zeros((9, 1)), np.ones((3, 1))
    p = exact_tests.max_t_p_value(reference, audited, generator(65))
    assert p == pytest.approx(1 / math.comb(12, 3))


def test_a_column_without_spread_does_not_stop_the_other_columns() -> None:
    rng = generator(66)
    pool = rng.normal(size=(20, 2))
    with_dull = np.column_stack([pool, np.ones(20)])
    for r in (19, 18):
        assert exact_tests.max_t_p_value(
            with_dull[:r], with_dull[r:], rng
        ) == exact_tests.max_t_p_value(pool[:r], pool[r:], rng)


@settings(max_examples=15, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_by_its_steps(p_values: list[float]) -> None:
    m = len(p_values)
    adjusted = [0.0] * m
    largest = 0.0
    for rank, i in enumerate(sorted(range(m), key=lambda i: p_values[i])):
        largest = max(largest, min(1.0, (m - rank) * p_values[i]))
        adjusted[i] = largest
    assert exact_tests.holm(p_values) == pytest.approx(adjusted)


def test_rank_p_value_is_two_sided_and_never_zero() -> None:
    reference = np.arange(19.0)
    assert (
        exact_tests.rank_p_value(100, reference) == exact_tests.rank_p_value(-100, reference) == 0.1
    )
    assert exact_tests.rank_p_value(9, reference) == 1
    assert exact_tests.rank_p_value(3, np.full(19, 3.0)) == 1


@pytest.mark.parametrize("offset", [0.0, 1e3])
def test_nulls_without_each_model_are_those_of_the_others(offset: float) -> None:
    pool = generator(71).normal(size=(7, 5)) + offset
    found = stats.leave_one_out_nulls(pool)
    for i in range(len(pool)):
        expected = stats.calibrate(np.delete(pool, i, axis=0))
        np.testing.assert_allclose(found.mean[i], expected.mean, rtol=1e-10, atol=1e-10)
        np.testing.assert_allclose(found.sd[i], expected.sd, rtol=1e-8)
    with pytest.raises(ValueError, match="at least three models, found 2"):
        stats.leave_one_out_nulls(pool[:2])


def test_difficulty_is_taken_off_one_model_at_a_time() -> None:
    pool = generator(72).normal(size=(6, 40))
    nulls = stats.leave_one_out_nulls(pool)
    together = stats.remove_difficulty(nulls.z(pool), nulls, slice(10, None))
    for i in range(len(pool)):
        null = stats.Null(mean=nulls.mean[i], sd=nulls.sd[i])
        alone = stats.remove_difficulty(null.z(pool[i]), null, slice(10, None))
        np.testing.assert_allclose(together[i], alone, rtol=1e-9, atol=1e-9)


@quick
@given(st.integers(0, 1000))
def test_z_scores_do_not_depend_on_the_unit(seed: int) -> None:
    rng = generator(67, seed)
    reference, own = rng.normal(size=(6, 9)), rng.normal(size=9)
    plain = stats.calibrate(reference).z(own)
    scaled = stats.calibrate(7 * reference + 3).z(7 * own + 3)
    np.testing.assert_allclose(scaled, plain, rtol=1e-9, atol=1e-9)


def test_the_order_of_reference_models_does_not_matter() -> None:
    reference = generator(68).normal(size=(4, 5))
    first = stats.calibrate(reference)
    for order in permutations(range(4)):
        again = stats.calibrate(reference[list(order)])
        np.testing.assert_allclose(again.sd, first.sd)
        np.testing.assert_allclose(again.mean, first.mean, atol=1e-12)


def test_influence_error_by_leaving_rows_out() -> None:
    """The linearised standard error agrees with the jackknife of the ratio."""
    rng = generator(69)
    n = 80
    null = stats.Null(mean=np.zeros(n), sd=np.ones(n))
    original = rng.normal(2, 1, size=n)
    own = 0.3 * original + rng.normal(size=n)
    found = yardstick.influences(null, own, original, n, adjust=False)
    left_out = []
    for i in range(n):
        rows = np.arange(n) != i
        left_out.append(yardstick.influences(null, own, original, n, adjust=False, rows=rows).rho)
    spread = np.sum((np.array(left_out) - np.mean(left_out)) ** 2)
    assert found.standard_error == pytest.approx(math.sqrt((n - 1) / n * spread), rel=0.05)


def test_influence_of_one_row_has_no_finite_error() -> None:
    null = stats.Null(mean=np.zeros(1), sd=np.ones(1))
    found = yardstick.influences(null, np.ones(1), np.full(1, 2.0), 1, adjust=False)
    assert [float(found.rho), float(found.standard_error)] == [0.5, math.inf]


def test_measuring_models_that_answer_alike_gives_finite_values() -> None:
    rng = generator(70)
    logits = np.repeat(rng.normal(size=(1, 12, 3)), 5, axis=0)
    outputs = Outputs(
        logits_f=logits[:, :4],
        logits_t=logits[:, 4:],
        y_f=np.arange(4) % 3,
        y_t=np.arange(8) % 3,
        retain_accuracy=np.ones(5),
        test_accuracy=np.ones(5),
    )
    derived = Derived.of(outputs)
    measured = yardstick.leave_one_out(derived, np.arange(5), derived, "instance")[0]
    assert all(np.isfinite(value) for value in measured.values.values())


def test_bootstrap_of_balanced_accuracy_covers_and_stays_sober() -> None:
    covered, repetitions = 0, 200
    for k in range(repetitions):
        rng = np.random.default_rng(k)
        forget, control = rng.normal(1, 1, 60), rng.normal(0, 1, 120)
        low, high = stats.balanced_accuracy_interval(forget, control, 0.5, rng)
        assert low < stats.balanced_accuracy(forget, control, 0.5) < high
        covered += int(low <= ndtr(0.5) <= high)
    assert covered >= binom.ppf(1e-3, repetitions, 0.93)
    flat = np.ones(5)
    assert stats.balanced_accuracy_interval(flat, -flat, 0.0, np.random.default_rng(0)) == (0, 1)


def test_holm_is_that_of_statsmodels() -> None:
    rng = np.random.default_rng(5)
    for size in (1, 2, 9, 13):
        p = rng.random(size) ** 2
        p[-1] = p[0]
        expected = multipletests(p, method="holm")[1]
        np.testing.assert_allclose(exact_tests.holm(p.tolist()), expected, rtol=1e-15)
