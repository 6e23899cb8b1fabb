"""SalUn: which weights may change, that no other one does, and relabelling as the limit."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from forget_audit.labels import label_loss, to_forget
from forget_audit.methods._importance import mean_gradient, top
from forget_audit.methods._steps import Course
from forget_audit.methods.random_label import RandomLabel
from forget_audit.methods.salun import SalUn
from forget_audit.targets import Target, weights_digest
from forget_audit.training.loop import rows_tensors
from forget_audit.types import Case
from tests.fixtures.requests import Train

MOVING: list[dict[str, Any]] = [
    {"optimizer": "sgd", "momentum": 0.9, "weight_decay": 0.1},
    {"optimizer": "adam", "weight_decay": 0.1},
    {"optimizer": "adamw", "weight_decay": 0.1},
]


def rng() -> np.random.Generator:
    return np.random.default_rng(5)


def masks_of(method: SalUn, model: nn.Module, case: Case) -> dict[str, torch.Tensor]:
    x, y = rows_tensors(case.forget, model)
    return method.salient(Course(model, rng()), x, to_forget(case, y))


@pytest.mark.parametrize("moving", MOVING, ids=lambda moving: moving["optimizer"])
def test_other_weights_stay_bit_for_bit(
    moving: dict[str, Any], instance_case: Case, train: Train
) -> None:
    model, case = train(instance_case, "mlp", hidden=[32], norm=True)
    method = SalUn(epochs=2, share=0.3, **moving)
    masks = masks_of(method, model, case)
    new = dict(method.unlearn(model, case, rng()).model.named_parameters())
    for name, old in model.named_parameters():
        mask = masks[name]
        assert torch.equal(new[name][~mask], old[~mask]), name
    moved = sum(int((new[n] != p).sum()) for n, p in model.named_parameters())
    free = sum(int(mask.sum()) for mask in masks.values())
    assert 0.5 * free < moved <= free


@pytest.mark.parametrize("share", [0.1, 0.5, 0.777, 1.0])
def test_the_number_of_salient_weights_is_exact(
    share: float, instance_case: Case, train: Train
) -> None:
    model, case = train(instance_case)
    masks = masks_of(SalUn(share=share), model, case)
    total = sum(p.numel() for p in model.parameters())
    assert sum(int(mask.sum()) for mask in masks.values()) == round(share * total)
    note = SalUn(share=share, epochs=1).unlearn(model, case, rng()).report.notes[0]
    assert note == f"{round(share * total)} of {total} weights may change"


def test_ties_are_counted_exactly() -> None:
    scores = {"a": torch.zeros(3), "b": torch.ones(2, 2)}
    masks = top(scores, 5)
    assert masks["b"].all()
    assert masks["a"].tolist() == [True, False, False]


def test_salient_weights_have_the_greatest_gradients_of_all_layers(
    instance_case: Case, train: Train
) -> None:
    model, case = train(instance_case)
    x, y = rows_tensors(case.forget, model)
    masks = masks_of(SalUn(share=0.25), model, case)
    gradients = torch.autograd.grad(label_loss(model(x), y), list(model.parameters()))
    sizes = torch.cat([g.abs().flatten() for g in gradients])
    chosen = torch.cat([mask.flatten() for mask in masks.values()])
    assert float(sizes[chosen].min()) >= float(sizes[~chosen].max()) * (1 - 1e-5)
    shares = [float(mask.double().mean()) for mask in masks.values()]
    assert max(shares) - min(shares) > 0.1, "ranking is over all layers, not within each"


@pytest.mark.parametrize("rows", [7, 64, 130])
def test_the_gradient_does_not_depend_on_batches(
    rows: int, instance_case: Case, train: Train
) -> None:
    model, case = train(instance_case)
    x, y = rows_tensors(case.training.take(np.arange(rows)), model)
    truth = torch.autograd.grad(label_loss(model(x), y), list(model.parameters()))
    for found, expected in zip(mean_gradient(model, x, y).values(), truth, strict=True):
        torch.testing.assert_close(found, expected.double(), rtol=1e-4, atol=1e-6)


def test_all_weights_are_random_relabelling(instance_case: Case, train: Train) -> None:
    model, case = train(instance_case, "mlp", hidden=[32], norm=True)
    settings: dict[str, Any] = {"epochs": 2, "lr": 0.01, "weight_decay": 0.1}
    ours = SalUn(share=1.0, **settings).unlearn(model, case, rng()).model
    plain = RandomLabel(**settings).unlearn(model, case, rng()).model
    assert weights_digest(ours) == weights_digest(plain) != weights_digest(model)
    fewer = SalUn(share=0.5, **settings).unlearn(model, case, rng()).model
    assert weights_digest(fewer) != weights_digest(plain)


def test_frozen_norms_are_not_ranked(instance_case: Case, train: Train) -> None:
    model, case = train(instance_case, "mlp", hidden=[32], norm=True)
    method = SalUn(epochs=1, share=1.0, forget_norms="frozen", retain_norms="frozen")
    new = method.unlearn(model, case, rng())
    total = sum(p.numel() for p in model.parameters()) - 64
    assert new.report.notes[0] == f"{total} of {total} weights may change"
    for name in ("2.weight", "2.bias", "2.running_mean"):
        assert new.report.changed[name] == 0


def test_an_attribute_request_ranks_by_its_label_alone(attribute_case: Case, train: Train) -> None:
    model, case = train(attribute_case)
    masks = masks_of(SalUn(share=0.2), model, case)
    head = list(masks)[-2]
    assert masks[head][2].any()
    assert not masks[head][[0, 1, 3]].any(), "other rows of the head have no gradient"
    new = SalUn().unlearn(model, case, rng()).model
    before, after = Target(model).logits(case.forget), Target(new).logits(case.forget)
    y = case.forget.y

    def right(logits: Any, column: int) -> float:
        return float(np.mean((logits[:, column] > 0) == y[:, column]))

    assert right(before, 2) > 0.95
    assert right(after, 2) < 0.8
    assert min(right(after, k) for k in (0, 1, 3)) > 0.8


def test_a_class_is_forgotten(class_case: Case, train: Train) -> None:
    model, case = train(class_case)
    new = Target(SalUn().unlearn(model, case, rng()).model)
    assert new.accuracy(case.forget) <= 0.05
    assert case.others is not None
    assert new.accuracy(case.others) > 0.8


def test_fields_are_checked_and_the_release_is_a_preset() -> None:
    for share in (0.0, 1.1):
        with pytest.raises(ValueError, match="share: expected"):
            SalUn(share=share)
    reference = SalUn.preset("reference")
    assert (reference.lr, reference.share, reference.epochs) == (0.013, 0.5, 10)
    assert (reference.batch_size, reference.momentum, reference.weight_decay) == (256, 0.9, 5e-4)
