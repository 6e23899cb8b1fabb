"""Classes in another order than the labels are found, and bad models are not taken for them."""

from collections.abc import Callable

import numpy as np
import pytest
from sklearn.datasets import load_digits, load_iris, load_wine
from sklearn.tree import DecisionTreeClassifier

from forget_audit.class_order import reordered
from forget_audit.types import Labels

SETS = {"digits": load_digits, "wine": load_wine, "iris": load_iris}
Change = Callable[[Labels], Labels]


def trees(x: np.ndarray, y: Labels, depth: int, models: int = 8) -> list[Labels]:
    """Return the answers of trees that choose among two features at each step."""
    return [
        DecisionTreeClassifier(max_depth=depth, max_features=2, random_state=k).fit(x, y).predict(x)
        for k in range(models)
    ]


def of_set(name: str) -> tuple[np.ndarray, Labels]:
    found = SETS[name]()
    return found.data, found.target


def exchanged(a: int, b: int, classes: int) -> Change:
    order = np.arange(classes)
    order[[a, b]] = b, a
    return lambda answered: order[answered]


def turned(classes: int) -> Change:
    return lambda answered: (answered + 1) % classes


def answers(accuracy: float, y: Labels, classes: int, models: int = 8) -> list[Labels]:
    """Return answers that are right so often, and otherwise any class."""
    rng = np.random.default_rng(0)
    wrong = rng.integers(0, classes, (models, len(y)))
    return list(np.where(rng.random((models, len(y))) < accuracy, y, wrong))


def balanced(rows: int, classes: int) -> Labels:
    return np.arange(rows) % classes


@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize("who", [[3], [0, 1, 2, 5], list(range(8))], ids=["one", "half", "all"])
def test_models_with_two_classes_exchanged_are_named(name: str, who: list[int]) -> None:
    x, y = of_set(name)
    classes = int(y.max()) + 1
    change = exchanged(0, 2, classes)
    found = reordered([change(a) if k in who else a for k, a in enumerate(trees(x, y, 12))], y)
    assert [item.model for item in found] == who
    assert str(found[0]).startswith("class 0 for 2, 2 for 0: ")
    assert found[0].share < 0.2 < 0.8 < found[0].share_then


@pytest.mark.parametrize("classes", [2, 10, 100])
def test_all_classes_may_be_in_another_order(classes: int) -> None:
    y = balanced(2000, classes)
    own = answers(0.7, y, classes)
    found = reordered([turned(classes)(own[0]), *own[1:]], y)
    assert [item.model for item in found] == [0]
    assert len(found[0].answers) >= 0.9 * classes


def test_a_rare_class_exchanged_with_a_frequent_one_is_found() -> None:
    y = (np.arange(1000) % 20 == 0).astype(np.int64)
    own = answers(0.95, y, 2)
    assert [item.model for item in reordered([1 - own[0], *own[1:]], y)] == [0]


@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize("depth", [1, 2, 5])
def test_weak_models_are_no_models_in_another_order(name: str, depth: int) -> None:
    x, y = of_set(name)
    assert not reordered(trees(x, y, depth, 20), y)


@pytest.mark.parametrize("classes", [2, 3, 10])
def test_models_that_say_anything_tell_no_order(classes: int) -> None:
    """Of models near chance some were called reordered: the best order always fits them better."""
    rng = np.random.default_rng(classes)
    y = balanced(150, classes)
    planes = rng.normal(size=(200, 2, classes))
    x = rng.normal(size=(150, 2))
    assert not reordered([np.argmax(x @ plane, axis=1) for plane in planes], y)


@pytest.mark.parametrize("share", [0.05, 0.5, 0.95])
def test_a_model_with_one_answer_to_everything_tells_no_order(share: float) -> None:
    y = (np.arange(400) < share * 400).astype(np.int64)
    others = answers(0.95, y, 2)
    for answer in (0, 1):
        assert not reordered([np.full(400, answer), *others], y)


def test_a_class_that_is_taken_for_another_is_a_fault_of_the_model() -> None:
    y = balanced(600, 6)
    own = answers(0.97, y, 6)
    confused = np.where(own[0] == 2, 4, own[0])
    assert not reordered([confused, *own[1:]], y)


def test_a_binary_model_below_chance_is_told_only_beside_models_that_are_right() -> None:
    y = balanced(400, 2)
    below, near = 1 - answers(0.8, y, 2)[0], answers(0.1, y, 2)
    assert not reordered([below, *near], y)
    assert [item.model for item in reordered([below, *answers(0.8, y, 2)[1:]], y)] == [0]


def test_few_rows_tell_no_order() -> None:
    y = balanced(49, 2)
    assert not reordered([1 - y, y, y], y)
    assert not reordered([], balanced(60, 2))
