"""Many logistic regressions at once, against scikit-learn's one at a time."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from forget_audit.logistic import fit_many
from forget_audit.seeds import generator

FITS = 12


@pytest.mark.parametrize("c", [0.01, 1.0, 100.0])
@pytest.mark.parametrize("shift", [0.0, 1.0, 50.0], ids=["alike", "shifted", "apart"])
@pytest.mark.parametrize("n", [6, 40, 200])
def test_slopes_and_intercepts_are_those_of_sklearn(n: int, shift: float, c: float) -> None:
    rng = generator(1, "logistic", n)
    y = np.stack([rng.permutation(n) < n // 2 for _ in range(FITS)])
    x = rng.exponential(1, (FITS, n)) + shift * y
    x = (x - x.mean(axis=1, keepdims=True)) / x.std(axis=1, keepdims=True)
    used = np.stack([rng.permutation(n) < n - 1 for _ in range(FITS)])
    slopes, intercepts = fit_many(x, y, used, c)
    for k in range(FITS):
        one = LogisticRegression(C=c, tol=1e-12, solver="newton-cholesky", max_iter=1000)
        one.fit(x[k][used[k], None], y[k][used[k]])
        assert slopes[k] == pytest.approx(float(one.coef_[0, 0]), abs=1e-6)
        assert intercepts[k] == pytest.approx(float(one.intercept_[0]), abs=1e-6)


def test_rows_may_count_more_or_less() -> None:
    rng = generator(3, "logistic")
    x, y = rng.exponential(1, (FITS, 80)), rng.random((FITS, 80)) < 0.3
    weight = rng.exponential(1, (FITS, 80))
    slopes, intercepts = fit_many(x, y, weight, 1.0)
    for k in range(FITS):
        one = LogisticRegression(tol=1e-12, solver="newton-cholesky", max_iter=1000)
        one.fit(x[k][:, None], y[k], sample_weight=weight[k])
        assert slopes[k] == pytest.approx(float(one.coef_[0, 0]), abs=1e-6)
        assert intercepts[k] == pytest.approx(float(one.intercept_[0]), abs=1e-6)


def test_a_fit_does_not_depend_on_its_company() -> None:
    """Thousands are dealt into groups, and each leaves its group when it has arrived."""
    rng = generator(4, "logistic")
    x, y = rng.normal(size=(1500, 60)), rng.random((1500, 60)) < 0.5
    slopes, intercepts = fit_many(x, y, np.ones(x.shape), 1.0)
    for k in (0, 831, 832, 833, 834, 1499):
        alone = fit_many(x[[k]], y[[k]], np.ones((1, 60)), 1.0)
        assert (alone[0][0], alone[1][0]) == (slopes[k], intercepts[k])


def test_at_the_minimum_the_gradient_is_zero() -> None:
    rng = generator(2, "logistic")
    x, y = rng.normal(size=(5, 60)), rng.random((5, 60)) < 0.3
    used = rng.random((5, 60)) < 0.8
    slope, intercept = fit_many(x, y, used, 2.0)
    off = used * (1 / (1 + np.exp(-slope[:, None] * x - intercept[:, None])) - y)
    assert np.abs(slope + 2 * np.sum(off * x, axis=1)).max() < 1e-9
    assert np.abs(np.sum(off, axis=1)).max() < 1e-9


def test_a_feature_without_spread_gives_the_share_alone() -> None:
    y = np.array([[True, True, True, False]])
    slope, intercept = fit_many(np.zeros((1, 4)), y, np.ones((1, 4), dtype=bool), 1.0)
    assert slope[0] == 0
    assert intercept[0] == pytest.approx(np.log(3))
