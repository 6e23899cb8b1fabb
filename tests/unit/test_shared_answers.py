"""What models answer is worked out once, shared by all attacks, and kept on disk if it is much."""

import gc
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from forget_audit import stats, targets
from forget_audit.answers_store import AnswersStore
from forget_audit.attacks.retain_exposure import RetainExposure
from forget_audit.conformance.cases import attacked_case, attacked_pool
from forget_audit.conformance.scores import fresh, numbers
from forget_audit.errors import AccessError
from forget_audit.seeds import generator
from forget_audit.targets import Target
from forget_audit.types import Floats, Rows


class Counting(nn.Module):
    """A linear model that counts how often it is asked."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
        self.asked = 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.asked += 1
        logits: torch.Tensor = self.layers(x)
        return logits


@pytest.fixture
def rows() -> Rows:
    rng = generator(1)
    x = rng.standard_normal((20, 4), np.float32)
    return Rows(x=x, y=rng.integers(0, 3, 20), ids=np.arange(20).astype(np.str_))


def test_scores_follow_from_one_pass_shared_by_all_views(rows: Rows) -> None:
    model = Counting()
    target = Target(model)
    view = target.restricted("score")
    logits = target.logits(rows)
    np.testing.assert_array_equal(view.log_odds(rows), stats.log_odds(logits, rows.y))
    np.testing.assert_array_equal(view.losses(rows), stats.cross_entropy(logits, rows.y))
    np.testing.assert_array_equal(view.probabilities(rows), stats.probabilities(logits))
    assert target.log_odds(rows) is view.log_odds(rows)
    assert target.losses(rows) is view.losses(rows)
    assert target.probabilities(rows) is view.probabilities(rows)
    assert model.asked == 1
    for answers in (logits, target.log_odds(rows), target.losses(rows)):
        with pytest.raises(ValueError, match="read-only"):
            answers[0] = 0


def test_equal_rows_in_another_object_are_asked_again(rows: Rows) -> None:
    model = Counting()
    target = Target(model)
    first = target.log_odds(rows)
    assert target.log_odds(rows.replace(y=(rows.y + 1) % 3)).tolist() != first.tolist()
    assert model.asked == 2


def test_features_of_the_last_layer_are_taken_once(rows: Rows) -> None:
    model = Counting()
    target = Target(model)
    with torch.no_grad():
        expected = model.layers[:2](torch.tensor(rows.x)).double().numpy()
    asked = model.asked
    np.testing.assert_array_equal(target.features(rows), expected)
    found = target.restricted("weights").features(rows, "layers.2")
    assert found is target.features(rows)
    assert model.asked == asked + 2  # once for the names of the layers


def test_views_answer_no_more_than_before(rows: Rows) -> None:
    target = Target(Counting())
    target.log_odds(rows)
    target.features(rows)
    view = target.restricted("label")
    for ask in (view.log_odds, view.losses, view.probabilities, view.features):
        with pytest.raises(AccessError):
            ask(rows)


def test_answers_are_forgotten_with_their_rows(rows: Rows, monkeypatch: pytest.MonkeyPatch) -> None:
    store = AnswersStore()
    monkeypatch.setattr(targets, "ANSWERS", store)
    target = Target(Counting())
    part = rows.take(np.arange(5))
    target.log_odds(part)
    assert store.held == 8 * (5 * 3 + 5)
    del part
    gc.collect()
    assert store.held == 0


def test_what_is_worked_out_once_is_told_apart_by_name(rows: Rows) -> None:
    target, called = Target(Counting()), []

    def compute(value: float) -> Floats:
        called.append(value)
        return np.full(2, value)

    assert target.once(rows, ("a", 1), lambda: compute(1.0)).tolist() == [1, 1]
    assert target.once(rows, ("a", 1), lambda: compute(2.0)).tolist() == [1, 1]
    assert target.once(rows, ("a", 2), lambda: compute(3.0)).tolist() == [3, 3]
    assert called == [1.0, 3.0]


def test_the_store_keeps_in_memory_no_more_than_its_limit(tmp_path: Path) -> None:
    store = AnswersStore(limit=1000, folder=tmp_path)
    small, large = np.arange(100.0), np.arange(30.0).reshape(5, 6)
    kept = store.keep(small)
    assert kept is small
    assert store.held == 800
    mapped = store.keep(large)
    assert store.held == 800
    assert isinstance(mapped.base, np.memmap)
    assert type(mapped) is np.ndarray
    np.testing.assert_array_equal(mapped, np.arange(30.0).reshape(5, 6))
    assert not list(tmp_path.iterdir())  # nothing to find once the process is gone
    for array in (kept, mapped):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1
    assert store.keep(np.zeros((0, 3))).shape == (0, 3)


def test_turned_arrays_are_mapped_in_their_order(tmp_path: Path) -> None:
    array = np.arange(12.0).reshape(3, 4).T
    mapped = AnswersStore(limit=0, folder=tmp_path).keep(array)
    np.testing.assert_array_equal(mapped, array)


def test_an_attack_says_the_same_of_answers_on_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    case, pool = attacked_case(), attacked_pool()
    found = []
    for limit in (10**9, 0):
        monkeypatch.setattr(targets, "ANSWERS", AnswersStore(limit=limit))
        anew = [fresh(target) for target in pool.retrained[:3]]
        fit = RetainExposure().fit(type(pool)(retrained=tuple(anew)), case, generator(1))
        target = fresh(pool.originals[0])
        found.append(numbers(fit.score(target, generator(2))))
        assert isinstance(target.logits(case.retain).base, np.memmap) == (limit == 0)
    np.testing.assert_array_equal(found[0], found[1])
