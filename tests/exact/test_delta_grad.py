"""DeltaGrad is retraining on the same batches when it computes, and close to it otherwise."""

import dataclasses
from collections import deque

import numpy as np
import pytest
import torch
from torch import nn

from forget_audit.errors import NotApplicable
from forget_audit.labels import label_loss
from forget_audit.methods.delta_grad import DeltaGrad, quasi_hessian
from forget_audit.targets import weights_digest
from forget_audit.training.log import TrainingLog, record
from forget_audit.training.loop import Index
from forget_audit.training.trainers import RecipeTrainer
from forget_audit.types import Case

METHOD = DeltaGrad()


def rng(seed: int = 5) -> np.random.Generator:
    return np.random.default_rng(seed)


def weights(model: nn.Module) -> torch.Tensor:
    return torch.cat([p.detach().double().flatten() for p in model.parameters()])


def recorded(case: Case) -> tuple[nn.Module, Case]:
    assert case.trainer is not None
    trainer = METHOD.trainer(case.trainer)
    short = dataclasses.replace(trainer.recipe, epochs=20)
    trainer = dataclasses.replace(trainer, recipe=short)
    model, log = record(trainer, case.training, 1)
    return model, case.replace(trainer=trainer, log=log)


def same_batches(case: Case) -> nn.Module:
    """Return the model trained in plain float64 on the recorded batches without forget rows."""
    assert isinstance(case.trainer, RecipeTrainer)
    assert case.log is not None
    model = case.trainer.fresh(1).double()
    place = {name: i for i, name in enumerate(case.retain.ids.tolist())}
    x, y = torch.tensor(case.retain.x).double(), torch.tensor(case.retain.y)
    optimizer = torch.optim.SGD(model.parameters(), lr=METHOD.lr, weight_decay=METHOD.weight_decay)
    for step in case.log.steps:
        batch = [place[name] for name in step.ids.tolist() if name in place]
        if batch:
            optimizer.zero_grad()
            label_loss(model(x[batch]), y[batch]).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
    return model


@pytest.mark.parametrize(
    ("name", "share"), [("instance_case", 0.4), ("class_case", 0.9), ("labels_case", 0.1)]
)
def test_replay_is_retraining_on_the_same_batches(
    name: str, share: float, request: pytest.FixtureRequest
) -> None:
    model, case = recorded(request.getfixturevalue(name))
    retrained = weights(same_batches(case))
    distance = (weights(model) - retrained).norm()
    exact = DeltaGrad(period=1).unlearn(model, case, rng())
    assert (weights(exact.model) - retrained).norm() < 1e-5 * distance + 1e-5
    assert exact.report.notes[0] == "120 steps computed, the others corrected"
    quick = METHOD.unlearn(model, case, rng())
    assert (weights(quick.model) - retrained).norm() < share * distance
    assert quick.report.notes[0] == "32 steps computed, the others corrected"
    assert quick.report.rows_touched < exact.report.rows_touched / 2


def test_correction_beats_the_recorded_gradient(
    instance_case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, case = recorded(instance_case)
    retrained = weights(same_batches(case))
    rests = []
    for product in (quasi_hessian, lambda _, vector: torch.zeros_like(vector)):
        monkeypatch.setattr("forget_audit.methods.delta_grad.quasi_hessian", product)
        new = METHOD.unlearn(model, case, rng()).model
        rests.append(float((weights(new) - retrained).norm()))
    assert rests[0] < 0.7 * rests[1]


def test_only_the_last_steps_can_be_replayed(instance_case: Case) -> None:
    model, case = recorded(instance_case)
    idle = DeltaGrad(replay=0).unlearn(model, case, rng())
    assert weights_digest(idle.model) == weights_digest(model)
    retrained = weights(same_batches(case))
    rests = []
    for replay in (6, 60, None):
        new = DeltaGrad(period=1, replay=replay).unlearn(model, case, rng()).model
        rests.append(float((weights(new) - retrained).norm()))
    assert rests[0] > rests[1] > rests[2]


def test_a_batch_of_forget_rows_alone_takes_no_step(instance_case: Case) -> None:
    assert instance_case.trainer is not None
    trainer = METHOD.trainer(instance_case.trainer)

    def alone(n: int, steps: int, numbers: np.random.Generator) -> list[Index]:
        return [np.arange(0, 110), np.arange(110, 220), np.arange(220, 260)]

    model, log = record(trainer, instance_case.training, 1, dealer=alone)
    case = instance_case.replace(trainer=trainer, log=log)
    unlearned = DeltaGrad(period=1).unlearn(model, case, rng())
    assert unlearned.report.steps == log.taken * 2 // 3
    retrained = weights(same_batches(case))
    assert (weights(unlearned.model) - retrained).norm() < 1e-4


def test_quasi_hessian_is_that_of_bfgs() -> None:
    numbers = torch.from_numpy(rng().standard_normal((9, 6)))
    curvature = numbers[:6].T @ numbers[:6] + torch.eye(6, dtype=torch.float64)
    history = deque((s, curvature @ s) for s in numbers[6:])
    last = history[-1]
    matrix = (last[0] @ last[1]) / (last[0] @ last[0]) * torch.eye(6, dtype=torch.float64)
    for s, y in history:
        bent = matrix @ s
        matrix = matrix - torch.outer(bent, bent) / (s @ bent) + torch.outer(y, y) / (s @ y)
    for vector in torch.eye(6, dtype=torch.float64):
        assert torch.allclose(quasi_hessian(history, vector), matrix @ vector)
    assert torch.allclose(quasi_hessian(history, last[0]), last[1])


def test_other_records_are_refused(instance_case: Case) -> None:
    model, case = recorded(instance_case)
    base, log = instance_case.trainer, case.log
    assert isinstance(base, RecipeTrainer)
    assert isinstance(case.trainer, RecipeTrainer)
    assert log is not None
    with pytest.raises(NotApplicable, match="delta_grad needs a model whose weights are one"):
        METHOD.unlearn(base.fresh(1), case, rng())
    for wrong, message in (
        (record(case.trainer, case.training, 1, watched=["1"])[1], "needs a record of all 120"),
        (TrainingLog(initial={}, steps=log.steps, taken=120), "in the record, found none"),
    ):
        with pytest.raises(NotApplicable, match=message):
            METHOD.unlearn(model, case.replace(log=wrong), rng())
    with pytest.raises(NotApplicable, match=r"gradient descent with weight decay 0\.9"):
        DeltaGrad(weight_decay=0.9).unlearn(model, case, rng())
    fewer = case.retain.take(np.arange(200))
    with pytest.raises(NotApplicable, match="20 recorded rows are not in the case"):
        METHOD.unlearn(model, case.replace(retain=fewer), rng())
    with pytest.raises(NotApplicable, match="delta_grad needs a RecipeTrainer"):
        METHOD.trainer(same_batches)  # type: ignore[arg-type]
