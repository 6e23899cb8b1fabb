"""The few questions by which models are checked: what they find, what they leave alone."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from forget_audit.asking import NOISE, ask, check_model, check_models, device_of, evaluating
from forget_audit.errors import ModelError
from forget_audit.faults import out_of_memory
from forget_audit.foreign.answering import AnswersOnly
from forget_audit.targets import Target, weights_digest
from forget_audit.types import Case, Rows
from tests.bad_input.world import Changed, case, names, of_classes, retrained, rows


def of_labels() -> Case:
    """Return a request on rows with two labels each."""
    rng = np.random.default_rng(1)
    given = {"x": rng.normal(size=(90, 4)), "y": rng.integers(0, 2, (90, 2))}
    unseen = rng.normal(size=(60, 4)).astype(np.float32), rng.integers(0, 2, (60, 2))
    return rows(**given, forget=np.arange(30), test=unseen)


def test_a_good_model_is_left_as_it_was() -> None:
    model = nn.Sequential(nn.BatchNorm1d(64), nn.Dropout(0.5), retrained()).train()
    before = weights_digest(model)
    first = check_model(model, case(), "model")
    assert weights_digest(model) == before
    assert all(part.training for part in model.modules())
    assert first.shape == (9, 10)


def test_questions_are_few() -> None:
    asked: list[int] = []

    class Counted(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            asked.append(len(x))
            return x[:, :10] - 1

    check_model(Counted(), case(), "model")
    assert asked == [9, 9, 3, 6]


def test_models_of_other_libraries_are_asked_once() -> None:
    asked: list[int] = []

    class Foreign(AnswersOnly):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            asked.append(len(x))
            return -x[:, :10]

    check_model(Foreign(), case(), "model")
    assert asked == [9]


@pytest.mark.parametrize(("share", "found"), [(0.5, False), (2.0, True)])
def test_rounding_is_no_noise(share: float, found: bool) -> None:
    sign = iter([1, -1] * 9)
    inner = retrained()

    class Rounding(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            answers: torch.Tensor = inner(x)
            most = float(answers.abs().max())
            return answers + next(sign) * share * NOISE * most / 2

    if found:
        with pytest.raises(ModelError, match="answered differently"):
            check_model(Rounding(), case(), "model")
    else:
        check_model(Rounding(), case(), "model")


def test_the_sigmoid_is_found_in_models_of_several_labels() -> None:
    request = of_labels()
    models = [of_classes(2)(request.retain.x, request.retain.y, k) for k in range(3)]
    check_models(models, request, "retrained model")
    sure = [Changed(model, lambda m, x: m(x).sigmoid()) for model in models]
    with pytest.raises(ModelError, match=r"retrained models: expected logits.*leave the sigmoid"):
        check_models(sure, request, "retrained model")


def test_the_sigmoid_is_found_in_models_of_one_output() -> None:
    rng = np.random.default_rng(2)
    x = rng.normal(size=(150, 4)).astype(np.float32)
    y = (x[:, 0] > 0).astype(np.int64)
    request = rows(x=x[:90], y=y[:90], forget=np.arange(30), test=(x[90:], y[90:]))
    models = [nn.Linear(4, 1) for _ in range(3)]

    def two(change: Callable[[torch.Tensor], torch.Tensor]) -> list[nn.Module]:
        def answer(model: nn.Module, rows: torch.Tensor) -> Any:
            one = change(model(rows))
            return torch.cat([torch.zeros_like(one), one], dim=1)

        return [Changed(model, answer) for model in models]

    check_models(two(lambda z: 5 * z), request, "original model")
    with pytest.raises(ModelError, match="answers between 0 and 1 throughout"):
        check_models(two(torch.sigmoid), request, "original model")


@pytest.mark.parametrize(
    "error",
    [MemoryError(), RuntimeError("CUDA out of memory. Tried"), RuntimeError("CUDA error: lost")],
    ids=["memory", "gpu-memory", "gpu"],
)
def test_a_broken_machine_is_no_fault_of_the_model(error: Exception) -> None:
    def fail(_: nn.Module, x: torch.Tensor) -> None:
        raise error

    with pytest.raises(type(error)) as found:
        ask(Changed(retrained(), fail), case().test.x)
    assert found.value is error
    assert out_of_memory(error) == ("memory" in f"{type(error).__name__} {error}".lower())


def test_every_question_of_a_target_is_answered_by_name() -> None:
    broken = Target(Changed(retrained(), lambda m, x: m(x) / 0 if len(x) > 9 else m(x)))
    with pytest.raises(ModelError, match="not finite, for 200 of 200 rows"):
        broken.logits(case().test)
    with pytest.raises(ModelError, match=r"asked for gradients: .*in-place"):
        Target(Changed(retrained(), lambda m, x: m(x.add_(1)))).loss_gradients(case().test)
    sure = Target(Changed(retrained(), lambda m, x: m(x).softmax(1)))
    with pytest.raises(ModelError, match="leave the softmax out"):
        sure.labels(case().test)


def test_rows_stay_as_they_are_when_a_model_changes_them() -> None:
    before = case().test.x.copy()
    Target(Changed(retrained(), lambda m, x: m(x.add_(1)))).logits(case().test)
    assert np.array_equal(case().test.x, before)


def test_modes_come_back_after_an_error() -> None:
    seen: list[bool] = []

    class Failing(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            seen.append(self.training)
            raise KeyError

    model = Failing().train()
    with pytest.raises(ModelError, match="KeyError"), evaluating(model):
        ask(model, case().test.x)
    assert seen == [False]
    assert model.training
    assert device_of(model) == torch.device("cpu")


def test_zero_is_zero_whatever_its_sign() -> None:
    x = np.array([[0.0, 1.0], [-0.0, 1.0]], dtype=np.float32)
    contents = Rows(x=x, y=np.zeros(2, np.int64), ids=names("r", range(2))).contents
    assert contents[0] == contents[1]
