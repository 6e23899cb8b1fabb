"""Fisher forgetting: exact information, the shape of the noise, and what stays."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from forget_audit.errors import NotApplicable
from forget_audit.methods.fisher import Fisher, fisher_information
from forget_audit.targets import Target, weights_digest
from forget_audit.types import Case
from tests.fixtures.requests import Train


def rng(seed: int = 5) -> np.random.Generator:
    return np.random.default_rng(seed)


def random_model(*layers: nn.Module) -> nn.Module:
    generator = torch.Generator().manual_seed(0)
    model = nn.Sequential(*layers).double()
    with torch.no_grad():
        for p in model.parameters():
            p.copy_(torch.randn(p.shape, generator=generator))
    return model.eval()


def some_rows(n: int, width: int) -> torch.Tensor:
    return torch.randn(n, width, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def test_information_of_softmax_regression_in_closed_form() -> None:
    model, x = random_model(nn.Linear(5, 4)), some_rows(70, 5)
    found = fisher_information(model, x, [0, 1, 2, 3], several=False)
    p = model(x).softmax(1).detach()
    torch.testing.assert_close(found["0.weight"], (p * (1 - p)).T @ x**2 / 70, rtol=1e-10, atol=0)
    torch.testing.assert_close(found["0.bias"], (p * (1 - p)).mean(0), rtol=1e-10, atol=0)


@pytest.mark.parametrize("several", [False, True])
def test_information_is_the_sum_over_rows_and_answers(several: bool) -> None:
    model = random_model(nn.Linear(5, 6), nn.Tanh(), nn.LayerNorm(6), nn.Linear(6, 3))
    x = some_rows(9, 5)
    weights = list(model.parameters())
    totals = [torch.zeros_like(w) for w in weights]
    outputs = [0, 2] if several else [0, 1, 2]
    for row in x:
        for k in outputs:
            for answer in (1.0, -1.0) if several else (1.0,):
                z = model(row.unsqueeze(0))[0]
                log_p = nn.functional.logsigmoid(answer * z[k]) if several else z.log_softmax(0)[k]
                for total, g in zip(totals, torch.autograd.grad(log_p, weights), strict=True):
                    total += log_p.detach().exp() * g**2 / len(x)
    found = fisher_information(model, x, outputs, several=several)
    for ours, expected in zip(found.values(), totals, strict=True):
        torch.testing.assert_close(ours, expected, rtol=1e-9, atol=1e-14)


@pytest.mark.parametrize("exponent", [0.25, 0.5])
def test_noise_falls_as_information_rises(exponent: float) -> None:
    information = {
        "hidden.weight": torch.logspace(-6, 2, 40, dtype=torch.float64).view(40, 1),
        "head.weight": torch.logspace(-6, 2, 40, dtype=torch.float64).view(40, 1),
    }
    variance = Fisher(exponent=exponent).variance(information, "head")
    for name, most in (("hidden.weight", 1e3), ("head.weight", 1e2)):
        steps = variance[name].flatten().diff()
        assert bool((steps <= 0).all())
        factor = 10 if name == "head.weight" else 1
        inverse = (1 / (information[name] + 1e-8)).clamp(max=most)
        torch.testing.assert_close(variance[name], factor * 1e-6 * inverse ** (2 * exponent))
    hidden = variance["hidden.weight"].flatten()
    assert bool((hidden[20:].diff() < 0).all())


def test_weights_into_a_unit_share_their_variance() -> None:
    information = {"a.weight": torch.rand(3, 4, 2, 2).double(), "a.bias": torch.rand(3).double()}
    shared = Fisher().variance(information, "head")
    alone = Fisher(by_unit=False).variance(information, "head")
    torch.testing.assert_close(shared["a.weight"][:, 0, 0, 0], alone["a.weight"].mean((1, 2, 3)))
    assert torch.equal(shared["a.bias"], alone["a.bias"])
    expected = 10 * 1e-6 / (information["a.bias"] + 1e-8)
    torch.testing.assert_close(shared["a.bias"], expected)


def test_no_noise_is_the_identity(instance_case: Case, class_case: Case, train: Train) -> None:
    for plain in (instance_case, class_case):
        model, case = train(plain)
        new = Fisher(alpha=0.0, class_row=False).unlearn(model, case, rng()).model
        assert weights_digest(new) == weights_digest(model)


def test_the_mean_of_many_draws_is_the_model(instance_case: Case, train: Train) -> None:
    model, case = train(instance_case)
    method, few = Fisher(alpha=1e-4), case.retain.take(np.arange(5))
    draws = [method.unlearn(model, case.replace(retain=few), rng(i)).model for i in range(16)]
    information = fisher_information(
        model.eval(), torch.tensor(few.x), list(range(10)), several=False
    )
    for name, variance in method.variance(information, "3").items():
        moved = torch.stack([d.get_parameter(name).detach() for d in draws])
        moved = (moved - model.get_parameter(name).detach()) / variance.sqrt()
        assert float(moved.mean(0).abs().max()) < 5.5 / 4
        assert float(moved.std()) == pytest.approx(1, rel=0.2)


def test_the_row_of_a_class_starts_from_zero(class_case: Case, train: Train) -> None:
    model, case = train(class_case)
    new = Fisher().unlearn(model, case, rng()).model
    row = new.get_parameter("3.weight")[3].detach()
    assert float(row.std()) == pytest.approx(0.01, rel=0.5)
    assert abs(float(new.get_parameter("3.bias").detach()[3])) < 0.05
    target = Target(new)
    assert target.accuracy(case.forget) <= 0.2
    assert case.others is not None
    assert target.accuracy(case.others) > 0.75
    quiet = Fisher(alpha=0.0).unlearn(model, case, rng()).model
    others = [k for k in range(10) if k != 3]
    old, kept = model.get_parameter("3.weight"), quiet.get_parameter("3.weight")
    assert torch.equal(old[others], kept[others])


def test_an_attribute_leaves_its_label_out(attribute_case: Case, train: Train) -> None:
    model, case = train(attribute_case)
    x = torch.tensor(case.retain.x)
    information = fisher_information(model.eval(), x, [0, 1, 3], several=True)
    assert torch.all(information["3.weight"][2] == 0)
    assert torch.all(information["3.weight"][[0, 1, 3]].sum(1) > 0)
    new = Fisher().unlearn(model, case, rng())
    assert new.report.rows_touched == 3 * len(x)
    assert float(new.model.get_parameter("3.weight")[2].detach().abs().max()) < 0.1


def test_more_noise_destroys(instance_case: Case, train: Train) -> None:
    model, case = train(instance_case)
    found = [
        Target(Fisher(alpha=alpha).unlearn(model, case, rng()).model).accuracy(case.retain)
        for alpha in (0.0, 1e-6, 1e-1)
    ]
    assert found[0] >= found[1] - 0.02 > found[2]
    assert found[2] < 0.5


def test_a_class_must_be_named_and_fields_are_checked(class_case: Case, train: Train) -> None:
    model, case = train(class_case)
    with pytest.raises(NotApplicable, match="fisher expected the forgotten classes"):
        Fisher().unlearn(model, case.replace(classes=()), rng())
    wrong: dict[str, Any]
    for wrong in ({"alpha": -1.0}, {"most": 0.0}, {"exponent": -0.5}, {"class_row": 1}):
        with pytest.raises(ValueError, match=f"{next(iter(wrong))}: expected"):
            Fisher(**wrong)
