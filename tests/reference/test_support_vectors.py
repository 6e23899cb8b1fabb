"""Many support-vector machines at once, against scikit-learn's one at a time."""

import numpy as np
import pytest
from sklearn.svm import SVC

from forget_audit.seeds import generator
from forget_audit.support_vectors import decide_many

FITS = 8


@pytest.mark.parametrize("c", [0.1, 3.0, 20.0])
@pytest.mark.parametrize("shift", [0.0, 1.0, 30.0], ids=["alike", "shifted", "apart"])
@pytest.mark.parametrize("n", [4, 41, 80])
def test_decisions_are_those_of_sklearn(n: int, shift: float, c: float) -> None:
    """A few rows of either class are held out of each machine, not equally many of both."""
    rng = generator(1, "machines", n)
    y = rng.permutation(n) < n // 2
    x = rng.exponential(1, (FITS, n)) + shift * y
    x = (x - x.mean(axis=1, keepdims=True)) / x.std(axis=1, keepdims=True)
    known = np.stack([rng.permutation(n) < n - n // 4 for _ in range(FITS)])
    known[:, [np.argmax(y), np.argmin(y)]] = True
    decisions = decide_many(x, y, known, c)
    for values, seen, found in zip(x, known, decisions, strict=True):
        one = SVC(C=c, gamma=1.0, tol=1e-9).fit(values[seen, None], y[seen])
        expected = one.decision_function(values[:, None])
        np.testing.assert_allclose(found, expected, atol=2e-4 * max(c, 1))


def test_equal_values_tell_nothing() -> None:
    """Without a difference between rows the decision is the same for all of them."""
    x, y = np.zeros((2, 12)), np.arange(12) % 3 == 0
    known = np.ones((2, 12), dtype=bool)
    decisions = decide_many(x, y, known, 3.0)
    assert np.ptp(decisions) == 0
    one = SVC(C=3.0, gamma=1.0, tol=1e-9).fit(x[0][:, None], y)
    assert decisions[0, 0] == pytest.approx(one.decision_function([[0.0]])[0], abs=1e-4)


def test_rows_that_are_held_out_teach_nothing() -> None:
    rng = generator(2, "machines")
    x, y = rng.normal(size=(1, 50)), rng.random(50) < 0.5
    known = (np.arange(50) < 40)[None]
    turned = np.where(known[0], y, ~y)
    first, second = decide_many(x, y, known, 3.0), decide_many(x, turned, known, 3.0)
    np.testing.assert_allclose(first, second, atol=1e-12)


def test_a_machine_does_not_depend_on_its_company() -> None:
    rng = generator(3, "machines")
    x, y = rng.normal(size=(30, 60)), rng.random(60) < 0.5
    known = rng.random((30, 60)) < 0.9
    together = decide_many(x, y, known, 3.0)
    for k in range(30):
        alone = decide_many(x[[k]], y, known[[k]], 3.0)[0]
        np.testing.assert_array_equal(together[k], alone)
