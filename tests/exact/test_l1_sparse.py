"""l1-sparse fine-tuning: its penalty, its schedule, and what it equals without a penalty."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from forget_audit.labels import label_loss
from forget_audit.methods.finetune import Finetune
from forget_audit.methods.l1_sparse import L1Sparse
from forget_audit.seeds import seeded_torch
from forget_audit.targets import Target, weights_digest
from forget_audit.training.loop import rows_tensors
from forget_audit.types import Case
from tests.fixtures.requests import Train

PLAIN: dict[str, Any] = {
    "batch_size": 1000, "least_steps": 1, "optimizer": "sgd", "lr": 0.3, "momentum": 0.0,
}  # fmt: skip


def rng(seed: int = 5) -> np.random.Generator:
    return np.random.default_rng(seed)


class Double(nn.Module):
    """Softmax regression in float64, with one more weight that nothing uses."""

    def __init__(self, n_outputs: int) -> None:
        super().__init__()
        self.line = nn.Linear(64, n_outputs).double()
        self.idle = nn.Parameter(torch.tensor([0.5, -0.5, 0.0], dtype=torch.float64))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        answer: torch.Tensor = self.line(x.double())
        return answer


@pytest.mark.parametrize("name", ["instance_case", "labels_case"])
def test_steps_by_hand(name: str, request: pytest.FixtureRequest) -> None:
    case: Case = request.getfixturevalue(name)
    with seeded_torch(3):
        model = Double(case.n_classes)
    x, y = rows_tensors(case.retain, model)
    weights = [p.detach().clone().requires_grad_() for p in model.parameters()]
    for share in (1.0, 0.75, 0.5, 0.25):
        loss = label_loss(x.double() @ weights[1].T + weights[2], y)
        slopes = torch.autograd.grad(loss, weights, allow_unused=True)
        with torch.no_grad():
            for w, slope in zip(weights, slopes, strict=True):
                w -= 0.3 * ((0 if slope is None else slope) + 0.01 * share * w.sign())
    done = L1Sparse(**PLAIN, epochs=4, alpha=0.01).unlearn(model, case, rng())
    expected = dict(zip(("idle", "line.weight", "line.bias"), weights, strict=True))
    for key, p in done.model.named_parameters():
        torch.testing.assert_close(p, expected[key], rtol=0, atol=1e-12)
    idle = done.model.get_parameter("idle").tolist()
    assert idle == pytest.approx([0.5 - 0.3 * 0.025, -0.5 + 0.3 * 0.025, 0.0])


@pytest.mark.parametrize("name", ["instance_case", "labels_case"])
def test_no_penalty_is_plain_finetuning(
    name: str, request: pytest.FixtureRequest, train: Train
) -> None:
    model, case = train(request.getfixturevalue(name), "mlp", hidden=[16], norm=True)
    shared: dict[str, Any] = {"epochs": 3, "lr": 1e-3, "weight_decay": 1e-3}
    tuned = weights_digest(Finetune(**shared).unlearn(model, case, rng()).model)
    methods = L1Sparse(**shared, alpha=0.0), L1Sparse(**shared, plain_epochs=3), L1Sparse(**shared)
    digests = [weights_digest(method.unlearn(model, case, rng()).model) for method in methods]
    assert digests[0] == digests[1] == tuned != digests[2]


def test_penalty_fades_linearly_and_ends() -> None:
    fading = L1Sparse(epochs=5, alpha=0.1)
    assert [fading.penalty(e) for e in range(5)] == pytest.approx([0.1, 0.08, 0.06, 0.04, 0.02])
    ending = L1Sparse(epochs=5, alpha=0.1, plain_epochs=3)
    assert [ending.penalty(e) for e in range(5)] == pytest.approx([0.1, 0.05, 0, 0, 0])


def test_penalty_shrinks_weights(class_case: Case, train: Train) -> None:
    model, case = train(class_case, "mlp", hidden=[32])
    sizes, small = [], []
    for alpha in (0.0, 5e-4, 2e-3):
        new = L1Sparse(alpha=alpha).unlearn(model, case, rng()).model
        weights = torch.cat([p.detach().flatten() for p in new.parameters()]).abs()
        sizes.append(float(weights.sum()))
        small.append(float((weights < 1e-2).double().mean()))
        assert Target(new).accuracy(case.retain) > 0.9
    assert sizes == sorted(sizes, reverse=True)
    assert small == sorted(small)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: L1Sparse(alpha=-0.1), "alpha"),
        (lambda: L1Sparse(plain_epochs=-1), "plain_epochs"),
        (lambda: L1Sparse(norms="off"), "norms"),  # type: ignore[arg-type]
    ],
)  # fmt: skip
def test_wrong_fields_are_refused(make: Callable[[], L1Sparse], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_preset() -> None:
    method = L1Sparse.preset("reference")
    assert (method.alpha, method.epochs, method.lr, method.batch_size) == (5e-4, 10, 0.01, 256)
