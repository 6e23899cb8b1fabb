"""Training functions of the user's own: what they may do, and what they are told."""

import inspect
from typing import Any

import numpy as np
import pytest
import torch

from forget_audit.errors import ModelError
from forget_audit.seeds import derive
from forget_audit.streaming import Streamed
from forget_audit.targets import weights_digest
from forget_audit.training.own_functions import SEEDS, CallTrainer, FunctionTrainer, find_function
from forget_audit.training.trainers import FirstMade
from forget_audit.types import Rows
from tests.foreign import own
from tests.foreign.rows import features, labels

SEED = derive(0, "retrained", 0)


def train(name: str, seed: int = SEED, n_classes: int | None = None) -> torch.nn.Module:
    trainer = FunctionTrainer(function=f"tests.foreign.own:{name}", n_classes=n_classes)
    return trainer(features(), labels(2), seed)


@pytest.mark.parametrize("name", ["fit", "unseeded", "boosted", "shared_forest"])
def test_the_same_seed_gives_the_same_model_and_another_another(name: str) -> None:
    state = torch.get_rng_state()
    one, same, other = train(name), train(name), train(name, SEED + 1)
    assert weights_digest(one) == weights_digest(same) != weights_digest(other)
    assert torch.equal(torch.get_rng_state(), state)
    assert one is not same
    assert not one.training


def test_gradients_of_the_last_step_are_dropped() -> None:
    """They would double the memory of every reference model."""
    assert all(p.grad is None for p in train("stepped").parameters())


def test_seeds_fit_the_libraries() -> None:
    """NumPy and scikit-learn take no seeds from 2^32 on, XGBoost none from 2^31."""
    assert SEED >= SEEDS
    assert weights_digest(train("fit")) == weights_digest(train("fit", SEED % SEEDS))


def test_a_function_may_change_its_rows_and_nobody_else_sees_it() -> None:
    rows = Rows(x=features(), y=labels(2), ids=np.arange(200).astype(np.str_))
    assert not rows.x.flags.writeable
    FunctionTrainer(function="tests.foreign.own:in_place")(rows.x, rows.y, 1)
    assert np.array_equal(rows.x, features())
    assert np.array_equal(rows.y, labels(2))


def test_streamed_rows_are_handed_on_as_they_are() -> None:
    trainer = FunctionTrainer(function="tests.foreign.own:measured")
    x: Any = Streamed(list(features(9)))
    model = trainer(x, labels(2, 9), 1)
    assert torch.allclose(next(model.parameters()), torch.tensor(features(9).sum()))


def test_classes_without_rows_keep_their_output() -> None:
    assert train("shared_forest", n_classes=4)(torch.zeros(3, 5)).shape == (3, 4)
    assert train("boosted", n_classes=4)(torch.zeros(3, 5)).shape == (3, 4)


def test_a_failure_is_told_with_function_seed_place_and_reason() -> None:
    lines, start = inspect.getsourcelines(own.broken)
    place = start + next(k for k, line in enumerate(lines) if "raise" in line)
    with pytest.raises(
        ModelError,
        match=rf"own:broken failed with seed {SEED % SEEDS} at line {place}: KeyError: 'learning_",
    ):
        train("broken")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nothing", "own:nothing returned something else than a model: .*return the trained model"),
        ("two", r"own:two must take \(x, y, seed\), found \(x: .*too many positional"),
        ("absent", r"cannot import tests\.foreign\.own:absent"),
        ("NUMBER", "own:NUMBER is no function"),
    ],
)
def test_functions_that_do_not_fit_are_refused(name: str, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        train(name)


def test_a_network_that_is_trained_on_is_refused() -> None:
    train("shared_network")
    with pytest.raises(ModelError, match="returned the same network twice"):
        train("shared_network")


def test_functions_at_hand_are_called_as_carefully() -> None:
    one = CallTrainer(own.boosted, 3)(features(), labels(2), SEED)
    assert weights_digest(one) == weights_digest(train("boosted", n_classes=3))
    assert one(torch.zeros(2, 5)).shape == (2, 3)
    with pytest.raises(ModelError, match="broken failed with seed 5 at line"):
        CallTrainer(own.broken)(features(), labels(2), 5)


def test_functions_are_found_without_a_call() -> None:
    assert find_function("tests.foreign.own:broken") is own.broken


def test_a_template_is_made_once_and_copied() -> None:
    seeds: list[int] = []

    def trainer(x: object, y: object, seed: int) -> torch.nn.Module:
        seeds.append(seed)
        return torch.nn.Linear(5, 2)

    template = FirstMade(trainer, features(), labels(2), 9)
    assert not seeds
    one, other = template(), template()
    assert seeds == [9]
    assert one is not other
    assert weights_digest(one) == weights_digest(other)
