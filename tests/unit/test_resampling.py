"""Bootstraps and statistics of many models at once, against drawing rows and looping."""

import math
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score, roc_curve

from forget_audit import stats
from forget_audit.attack_metrics import ROC_GRID
from forget_audit.seeds import generator
from forget_audit.types import Floats
from forget_audit.verdict import epsilon, exact_tests

quick = settings(max_examples=25, deadline=None)


def groups(seed: int, *, ties: bool, shift: float = 0.7) -> tuple[Floats, Floats]:
    rng = generator(80, seed)
    forget, control = rng.normal(shift, 1, 41), rng.normal(size=103)
    return (np.round(forget, 1), np.round(control, 1)) if ties else (forget, control)


def drawn_again(
    forget: Floats, control: Floats, rates: tuple[float, ...], delta: float
) -> dict[str, float | list[float]]:
    """Measure one draw from its rows, with sklearn's curve and the formulas of the cards."""
    member = np.repeat([1, 0], [len(forget), len(control)])
    scores = np.concatenate([forget, control])
    fpr, tpr, _ = roc_curve(member, scores, drop_intermediate=False)
    at_rates, at_epsilon = [], []
    for rate in rates:
        hits = stats.true_positives_at(forget, control, rate)
        at_rates.append(math.nan if hits is None else hits[0] / len(forget))
        if hits is None or not hits[1]:
            at_epsilon.append(math.nan)
        else:
            share = max(hits[0] / len(forget) - delta, float(np.finfo(float).tiny))
            at_epsilon.append(max(math.log(share * len(control) / hits[1]), 0.0))
    return {
        "auc": roc_auc_score(member, scores),
        "accuracy": float(np.max(tpr + 1 - fpr) / 2),
        "tpr": at_rates,
        "epsilon": epsilon.largest_epsilon(fpr, 1 - tpr, delta),
        "epsilon_at": at_epsilon,
    }


@pytest.mark.parametrize("ties", [False, True], ids=["no ties", "ties"])
@pytest.mark.parametrize("shift", [0.7, 0.0, -1.0, 50.0], ids=["some", "none", "turned", "all"])
@pytest.mark.parametrize("delta", [0.0, 1e-2])
def test_every_draw_by_drawing_its_rows(ties: bool, shift: float, delta: float) -> None:
    forget, control = groups(0, ties=ties, shift=shift)
    rates, draws = (0.001, 0.01, 0.1, 0.5, 1.0), 30
    found = stats.bootstrap(forget, control, draws, generator(81), rates=rates, delta=delta)
    rng = generator(81)
    rows_f = rng.integers(0, len(forget), (draws, len(forget)))
    rows_c = rng.integers(0, len(control), (draws, len(control)))
    for k in range(draws):
        slow = drawn_again(forget[rows_f[k]], control[rows_c[k]], rates, delta)
        for name, value in slow.items():
            np.testing.assert_allclose(getattr(found, name)[k], value, atol=1e-12, err_msg=name)


def test_draws_of_many_blocks_are_measured_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    forget, control = groups(1, ties=True)
    monkeypatch.setattr("forget_audit.resampling.AT_ONCE", 300)
    found = stats.bootstrap(forget, control, 11, generator(82), rates=(0.1,))
    rng = generator(82)
    aucs = []
    for size in (2, 2, 2, 2, 2, 1):
        rows_f = rng.integers(0, len(forget), (size, len(forget)))
        rows_c = rng.integers(0, len(control), (size, len(control)))
        aucs += stats.aucs(forget[rows_f], control[rows_c]).tolist()
    np.testing.assert_allclose(found.auc, aucs, rtol=1e-14)
    assert found.tpr.shape == (11, 1)


def test_the_spread_of_draws_is_that_of_delong() -> None:
    rng = generator(83)
    forget, control = rng.normal(0.5, 1, 300), rng.normal(size=400)
    drawn = stats.bootstrap(forget, control, 2000, rng)
    low, high = stats.auc_interval(forget, control)
    assert np.quantile(drawn.auc, [0.025, 0.975]) == pytest.approx([low, high], abs=0.006)
    assert np.isnan(drawn.tpr[:, 1]).all()
    assert not np.isnan(drawn.tpr[:, 0]).any()


def test_a_thousand_draws_of_899_rows_take_no_time() -> None:
    rng = generator(84)
    forget, control = rng.normal(0.2, 1, 899), rng.normal(size=899)
    taken = []
    for _ in range(3):
        start = time.process_time()
        stats.bootstrap(forget, control, 1000, rng)
        taken.append(time.process_time() - start)
    assert min(taken) < 0.4  # 0.06 s on an idle machine


@quick
@given(st.integers(0, 1000), st.booleans())
def test_many_models_at_once_by_one_after_the_other(seed: int, ties: bool) -> None:
    rng = generator(85, seed)
    forget, control = rng.normal(0.3, 1, (7, 13)), rng.normal(size=(7, 29))
    if ties:
        forget, control = np.round(forget), np.round(control)
    grid = np.array([0.0, 0.03, 1 / 29, 0.1, 0.5, 0.999, 1.0, *ROC_GRID])
    aucs, curves = stats.aucs(forget, control), stats.roc_each(forget, control, grid)
    for rate in (0.05, 0.2, 0.99, 1.0):
        found = stats.true_positives_at_each(forget, control, rate)
        assert found is not None
        alone = [stats.true_positives_at(f, c, rate) for f, c in zip(forget, control, strict=True)]
        assert list(zip(*(part.tolist() for part in found), strict=True)) == alone
        allowed = math.floor(rate * 29 + 1e-9)
        cuts = [[t for t in (-np.inf, *c) if np.sum(c > t) <= allowed] for c in control]
        best = [max(int(np.sum(f > t)) for t in cut) for f, cut in zip(forget, cuts, strict=True)]
        assert found[0].tolist() == best
    assert stats.true_positives_at_each(forget, control, 0.01) is None
    for k in range(7):
        member = np.repeat([1, 0], [13, 29])
        expected = roc_auc_score(member, np.concatenate([forget[k], control[k]]))
        assert aucs[k] == pytest.approx(expected, abs=1e-14)
        fpr, tpr = stats.roc(forget[k], control[k])
        slow = tpr[np.searchsorted(fpr, grid, side="right") - 1]
        np.testing.assert_array_equal(curves[k], slow)


def test_the_interval_of_balanced_accuracy_by_drawing_rows() -> None:
    rng = generator(86)
    forget, control = rng.normal(0.8, 1, 60), rng.normal(size=90)
    rates = []
    for _ in range(4000):
        f, c = rng.choice(forget, 60), rng.choice(control, 90)
        rates.append(stats.balanced_accuracy(f, c, 0.4))
    expected = np.quantile(rates, [0.05, 0.95])
    found = stats.balanced_accuracy_interval(forget, control, 0.4, rng, level=0.9)
    assert found == pytest.approx(expected, abs=0.012)
    assert stats.balanced_accuracy_interval(forget[:1], control, 0.4, rng) == (0.0, 1.0)
    assert stats.balanced_accuracy_interval(forget + 9, control - 9, 0.4, rng) == (0.0, 1.0)
    assert stats.balanced_accuracy_interval(forget + 9, control, 0.4, rng)[1] < 1.0


def test_drawn_permutations_are_those_of_the_first_release() -> None:
    """Signed reports of several copies hold p-values of these draws."""
    pool = generator(87).normal(size=(43, 3))
    pool[39:] += 0.4
    rng = generator(0, "permutation")
    each = np.stack([rng.permutation(43)[:4] for _ in range(exact_tests.DRAWN_PERMUTATIONS)])
    observed = exact_tests.group_t(pool, np.arange(39, 43)[None])[0] - 1e-12
    reached = int(np.sum(exact_tests.group_t(pool, each) >= observed))
    found = exact_tests.max_t_p_value(pool[:39], pool[39:], generator(0, "permutation"))
    assert found == (1 + reached) / (exact_tests.DRAWN_PERMUTATIONS + 1)
