"""Models that attacks ask and train side by side get what each gets alone."""

import copy

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch import nn
from torch.nn import functional

from forget_audit.attacks._crowds import BATCH, MOST, Alone, Together, accuracies, crowds
from forget_audit.attacks._probes import WIDEST, decisions
from forget_audit.seeds import generator, seeded_torch
from forget_audit.targets import Target, weights_digest
from forget_audit.types import Rows


def perceptron(seed: int, hidden: int = 8, *, bias: bool = True) -> nn.Sequential:
    with seeded_torch(seed):
        return nn.Sequential(
            nn.Flatten(), nn.Linear(6, hidden, bias=bias), nn.ReLU(), nn.Linear(hidden, 3)
        )


def hooked() -> nn.Module:
    model = perceptron(7)
    model[1].register_forward_hook(lambda *args: 2 * args[2])
    return model


def tied() -> nn.Module:
    layer = nn.Linear(6, 6)
    return nn.Sequential(nn.Flatten(), layer, nn.ReLU(), layer)


class Louder(nn.Sequential):
    def forward(self, input: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = super().forward(input)  # type: ignore[no-untyped-call]
        return 2 * logits


class Patched(nn.Linear):
    def forward(self, input: torch.Tensor) -> torch.Tensor:
        return 2 * super().forward(input)


def rows_of(n: int) -> Rows:
    rng = generator(1)
    x = rng.standard_normal((n, 6), np.float32)
    return Rows(x=x, y=rng.integers(0, 3, n), ids=np.arange(n).astype(np.str_))


def odd_ones() -> list[nn.Module]:
    overridden = perceptron(8)
    overridden.forward = lambda x: x[:, :3]  # type: ignore[method-assign]
    return [
        hooked(),
        tied(),
        Louder(*perceptron(9)),
        nn.Sequential(nn.Flatten(), Patched(6, 3)),
        overridden,
        perceptron(10).double(),
        nn.Sequential(nn.Flatten(), nn.BatchNorm1d(6), nn.Linear(6, 3)),
        nn.Sequential(nn.Flatten(), nn.Dropout(), nn.Linear(6, 3)),
    ]


def test_only_plain_perceptrons_of_one_shape_go_together() -> None:
    odd = odd_ones()
    models = [perceptron(0), *odd, perceptron(1), perceptron(2, 5), perceptron(3, bias=False)]
    found = list(crowds(models))
    last = len(odd) + 1
    together = {crowd.places for crowd in found if isinstance(crowd, Together)}
    assert together == {(0, last), (last + 1,), (last + 2,)}
    alone = [crowd.places for crowd in found if isinstance(crowd, Alone)]
    assert alone == [(k,) for k in range(1, last)]


def test_crowds_are_not_too_large() -> None:
    sizes = [len(crowd.places) for crowd in crowds([perceptron(0)] * (MOST + 3))]
    assert sizes == [MOST, 3]


@pytest.mark.parametrize("bias", [True, False], ids=["bias", "no-bias"])
def test_each_answers_as_alone(bias: bool) -> None:
    models = [perceptron(k, bias=bias) for k in range(4)] + [hooked()]
    x = torch.tensor(rows_of(11).x)
    own = torch.stack([x + k for k in range(4)])
    for crowd in crowds(models):
        for k, place in enumerate(crowd.places):
            expected = models[place].eval()(x)
            torch.testing.assert_close(crowd.answer(x.unsqueeze(0))[k], expected)
    whole = next(crowds(models[:4])).answer(own)
    for k in range(4):
        torch.testing.assert_close(whole[k], models[k](own[k]))


def test_the_slope_by_the_inputs_is_that_of_each() -> None:
    models = [perceptron(k) for k in range(3)]
    own = torch.stack([torch.tensor(rows_of(5).x) + k for k in range(3)]).requires_grad_(True)
    (whole,) = torch.autograd.grad(next(crowds(models)).answer(own).square().sum(), own)
    for k, model in enumerate(models):
        x = own[k].detach().requires_grad_(True)
        (alone,) = torch.autograd.grad(model(x).square().sum(), x)
        torch.testing.assert_close(whole[k], alone)


def test_accuracies_are_those_of_a_target() -> None:
    models, rows = [perceptron(0), hooked(), perceptron(1)], rows_of(BATCH + 5)
    for crowd in crowds(models):
        expected = [Target(models[k]).accuracy(rows) for k in crowd.places]
        assert accuracies(crowd, rows).tolist() == expected


def test_training_together_is_training_alone_and_leaves_the_models() -> None:
    """Five steps of Adam; after three of them one model leaves."""
    models: list[nn.Module] = [perceptron(0), perceptron(1), perceptron(2), Louder(*perceptron(3))]
    before = [weights_digest(model) for model in models]
    rows = rows_of(12)
    x, y = torch.tensor(rows.x), torch.tensor(rows.y)
    expected = []
    for k, model in enumerate(models):
        twin = copy.deepcopy(model)
        optimizer = torch.optim.Adam(twin.parameters(), lr=0.05, fused=True)
        for _ in range(3 if k == 1 else 5):
            optimizer.zero_grad()
            torch.autograd.backward(functional.cross_entropy(twin(x), y))
            optimizer.step()
        expected.append(twin(x).detach())
    for crowd in crowds(models):
        optimizer = torch.optim.Adam(crowd.parameters, lr=0.05, fused=True)
        left = list(crowd.places)
        for step in range(5):
            if step == 3 and 1 in left:
                gone = crowd.answer(x.unsqueeze(0))[left.index(1)]
                torch.testing.assert_close(gone.detach(), expected[1], rtol=1e-4, atol=1e-5)
                crowd.narrow(np.array([0, 2]), optimizer)
                left = [0, 2]
            optimizer.zero_grad()
            torch.autograd.backward(crowd.loss(x.unsqueeze(0), y.unsqueeze(0)))
            optimizer.step()
        answers = crowd.answer(x.unsqueeze(0)).detach()
        for k, place in enumerate(left):
            torch.testing.assert_close(answers[k], expected[place], rtol=1e-4, atol=1e-5)
    assert [weights_digest(model) for model in models] == before


@pytest.mark.parametrize("width", [1, 12, WIDEST + 1])
@pytest.mark.parametrize("c", [0.1, 10.0])
def test_probes_are_those_of_scikit_learn(width: int, c: float) -> None:
    """Its most exact solver, told to stop late; some rows are told apart without a mistake."""
    rng = generator(3)
    x = rng.standard_normal((60, width))
    member = x[:, 0] + 0.3 * rng.standard_normal(60) > 0.8
    used = rng.random((4, 60)) < 0.8
    used[0, member] &= x[member, 0] > 1.5
    used[0, ~member] &= x[~member, 0] < 0.5
    found = decisions(x, member, used, c)
    tolerance = 1e-6 if width <= WIDEST else 0.1  # of scikit-learn's default solver
    for z, mask in zip(found, used, strict=True):
        judge = LogisticRegression(C=c, solver="newton-cholesky", tol=1e-12)
        expected = judge.fit(x[mask], member[mask]).decision_function(x)
        np.testing.assert_allclose(z, expected, atol=tolerance, rtol=tolerance)


def test_probes_of_columns_that_never_vary_say_the_same_of_all_rows() -> None:
    member = np.arange(20) < 5
    found = decisions(np.zeros((20, 3)), member, np.ones((1, 20), dtype=bool), 1.0)
    np.testing.assert_allclose(found, np.log(5 / 15))
    assert np.ptp(found) == 0
