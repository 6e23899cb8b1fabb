"""Two-stage retraining: contrary labels, a step of each stage, and what the second one restores."""

from typing import Any

import numpy as np
import pytest
import torch
from scipy.special import expit, softmax
from torch import nn

from forget_audit.errors import NotApplicable
from forget_audit.methods._relabel import random_labels
from forget_audit.methods._teaching import answers
from forget_audit.methods.random_label import RandomLabel
from forget_audit.methods.two_stage import TwoStage
from forget_audit.seeds import seeded_torch
from forget_audit.targets import Target
from forget_audit.types import UNKNOWN, Case, Floats, Rows
from tests.fixtures.requests import Train

WHOLE: dict[str, Any] = {
    "epochs": 1, "batch_size": 1000, "least_steps": 1, "lr": 0.3, "repair_lr": 0.2,
    "momentum": 0.0,
}  # fmt: skip
Weights = tuple[Floats, Floats]


def rng(seed: int = 5) -> np.random.Generator:
    return np.random.default_rng(seed)


def regression(outputs: int = 10) -> nn.Linear:
    with seeded_torch(4):
        return nn.Linear(64, outputs)


def weights(model: nn.Module) -> Weights:
    w, b = (p.detach().double().numpy() for p in model.parameters())
    return w, b


def logits_of(at: Weights, rows: Rows) -> Floats:
    return np.asarray(rows.x.astype(np.float64) @ at[0].T + at[1])


def stepped(at: Weights, rows: Rows, by_logit: Floats, rate: float) -> Weights:
    """One plain step, given the gradient of each row's loss by its logits."""
    by_logit = by_logit / len(rows)
    return at[0] - rate * by_logit.T @ rows.x.astype(np.float64), at[1] - rate * by_logit.sum(0)


def assert_weights(model: nn.Module, expected: Weights) -> None:
    for found, wanted in zip(model.parameters(), expected, strict=True):
        np.testing.assert_allclose(found.detach().numpy(), wanted, atol=2e-6)


def taught(method: TwoStage, model: nn.Module, case: Case) -> tuple[Floats, Floats]:
    shares, concerned = method.contrary(model, case, rng())
    return shares.double().numpy(), concerned.double().numpy()


# Contrary labels


def test_contrary_classes(class_case: Case, instance_case: Case) -> None:
    model = regression()
    two = class_case.replace(classes=(3, 5))
    for case, gone in ((instance_case, ()), (two, (3, 5))):
        logits = logits_of(weights(model), case.forget)
        for row, (label, z) in enumerate(zip(case.forget.y[:6], logits[:6], strict=True)):
            others = [k for k in range(10) if k != label and k not in gone]
            least = np.eye(10)[min(others, key=lambda k: z[k])]
            even = np.isin(np.arange(10), others) / len(others)
            for contrast, expected in (("least_likely", least), ("uniform", even)):
                found, _ = taught(TwoStage(contrast=contrast), model, case)  # type: ignore[arg-type]
                np.testing.assert_allclose(found[row], expected, atol=1e-7)
                if contrast == "least_likely":
                    assert np.array_equal(found, taught(TwoStage(), model, case)[0])
    found, concerned = taught(TwoStage(contrast="random_wrong"), model, two)
    assert np.array_equal(found.argmax(1), random_labels(two, rng(), exclude_true=True))
    assert concerned.min() == 1
    with pytest.raises(NotApplicable, match="expected a class left"):
        taught(TwoStage(), model, class_case.replace(classes=tuple(range(10))))


def test_contrary_labels(labels_case: Case, attribute_case: Case) -> None:
    model = regression(4)
    blank = labels_case.forget.y.copy()
    blank[0, :2] = UNKNOWN
    rows = labels_case.forget
    partly = labels_case.replace(forget=Rows(x=rows.x, y=blank, ids=rows.ids))
    for case in (labels_case, attribute_case, partly):
        known = case.forget.y != UNKNOWN
        if case.attribute is not None:
            known = known & (np.arange(4) == case.attribute)
        opposite = logits_of(weights(model), case.forget) <= 0
        drawn = random_labels(case, rng(), exclude_true=True)
        for contrast, expected in (
            (None, np.full(known.shape, 0.5)), ("uniform", np.full(known.shape, 0.5)),
            ("least_likely", opposite), ("random_wrong", drawn),
        ):  # fmt: skip
            found, concerned = taught(TwoStage(contrast=contrast), model, case)  # type: ignore[arg-type]
            assert np.array_equal(concerned, known)
            np.testing.assert_allclose(found, expected * known)


# The two stages


@pytest.mark.parametrize("scope", ["instance_case", "class_case", "labels_case", "attribute_case"])
def test_the_first_stage_with_random_labels_is_that_method(
    scope: str, request: pytest.FixtureRequest, train: Train
) -> None:
    model, case = train(request.getfixturevalue(scope), "mlp", hidden=[32], norm=True)
    shared: dict[str, Any] = {"epochs": 2, "lr": 0.02, "weight_decay": 1e-3}
    method = TwoStage(**shared, contrast="random_wrong", repair_epochs=0)
    relabel = RandomLabel(**shared, policy="forget_only", per_epoch=False)
    found, expected = (m.unlearn(model, case, rng()) for m in (method, relabel))
    assert found.report.steps == expected.report.steps > 0
    for name, tensor in expected.model.state_dict().items():
        torch.testing.assert_close(found.model.state_dict()[name], tensor, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("mask", [True, False])
def test_a_step_of_each_stage(mask: bool, class_case: Case) -> None:
    model, case = regression(), class_case
    method = TwoStage(**WHOLE, repair_epochs=1, beta=0.3, temperature=2.0, mask_forgotten=mask)
    start = weights(model)
    shares, _ = taught(method, model, case)
    wrong = softmax(logits_of(start, case.forget), axis=1) - shares
    middle = stepped(start, case.forget, wrong, 0.3)
    z, kept = logits_of(middle, case.retain), case.retain
    teacher = logits_of(start, kept) / 2
    if mask:
        teacher[:, 3] = -np.inf
    right = softmax(z, axis=1) - np.eye(10)[kept.y]
    alike = 2 * (softmax(z / 2, axis=1) - softmax(teacher, axis=1))
    done = method.unlearn(model, case, rng())
    assert_weights(done.model, stepped(middle, kept, 0.7 * right + 0.3 * alike, 0.2))
    assert (done.report.steps, done.report.rows_touched) == (2, len(case.forget) + len(kept))


def test_a_step_of_each_stage_for_a_label(attribute_case: Case) -> None:
    model, case = regression(4), attribute_case
    method = TwoStage(**WHOLE, repair_epochs=1, beta=0.3, temperature=2.0)
    start = weights(model)
    alone = np.arange(4) == case.attribute
    wrong = (expit(logits_of(start, case.forget)) - 0.5) * alone
    middle = stepped(start, case.forget, wrong, 0.3)
    z, kept = logits_of(middle, case.retain), case.retain
    right = (expit(z) - kept.y) / 3 * ~alone
    alike = 2 * (expit(z / 2) - expit(logits_of(start, kept) / 2)) * ~alone
    new = method.unlearn(model, case, rng()).model
    assert_weights(new, stepped(middle, kept, 0.7 * right + 0.3 * alike, 0.2))


def test_the_teacher_is_asked_about_forget_rows_in_the_first_stage_only(
    instance_case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Rows] = []

    def noting(model: nn.Module, rows: Rows) -> torch.Tensor:
        asked.append(rows)
        return answers(model, rows)

    monkeypatch.setattr("forget_audit.methods.two_stage.answers", noting)
    TwoStage().unlearn(regression(), instance_case, rng())
    assert asked == [instance_case.forget, instance_case.retain]


def test_the_second_stage_restores_what_the_first_ruins(class_case: Case, train: Train) -> None:
    model, case = train(class_case, "mlp", hidden=[32])
    ruined = Target(TwoStage(repair_epochs=0).unlearn(model, case, rng()).model)
    restored = Target(TwoStage().unlearn(model, case, rng()).model)
    assert ruined.accuracy(case.forget) <= 0.05
    assert restored.accuracy(case.forget) <= 0.05
    assert ruined.accuracy(case.retain) < 0.5
    assert restored.accuracy(case.retain) > 0.9


def test_batch_statistics_move_in_the_second_stage_only(instance_case: Case, train: Train) -> None:
    model, case = train(instance_case, "mlp", hidden=[32], norm=True)
    name = next(n for n, _ in model.named_buffers() if n.endswith("running_mean"))
    for epochs in (0, 1):
        method = TwoStage(repair_epochs=epochs)
        new = method.unlearn(model, case, rng()).model
        same = torch.equal(new.get_buffer(name), model.get_buffer(name))
        assert same == (epochs == 0)


def test_the_stages_share_no_momentum(instance_case: Case) -> None:
    model = regression()
    method = TwoStage(**{**WHOLE, "momentum": 0.9}, repair_epochs=1)
    expected = TwoStage(**WHOLE, repair_epochs=1).unlearn(model, instance_case, rng()).model
    assert_weights(method.unlearn(model, instance_case, rng()).model, weights(expected))


def test_fields() -> None:
    wrong: list[dict[str, Any]] = [
        {"contrast": "none"}, {"repair_epochs": -1}, {"repair_lr": 0.0}, {"beta": -0.1},
        {"beta": 1.1}, {"temperature": 0.0}, {"mask_forgotten": 1}, {"forget_norms": "off"},
        {"repair_norms": "off"},
    ]  # fmt: skip
    for field in wrong:
        with pytest.raises(ValueError, match=rf"{next(iter(field))}: expected .*, found"):
            TwoStage(**field)
    assert TwoStage(beta=1.0).beta == 1
    assert TwoStage.info.reconstructed
