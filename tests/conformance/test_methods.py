"""What every registered unlearning method must do; a new method is tested by being there."""

import dataclasses
import json
import re
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from scipy.special import log_softmax
from sklearn.datasets import load_digits
from torch import nn

from forget_audit.architectures import Architecture
from forget_audit.contracts import Method, Unlearned
from forget_audit.digests import arrays_digest
from forget_audit.errors import NotApplicable
from forget_audit.registry import methods
from forget_audit.seeds import draw_seed
from forget_audit.targets import Target, weights_digest
from forget_audit.trainers import RecipeTrainer
from forget_audit.training import Recipe
from forget_audit.types import Case, Features, Labels, Rows

CLASSES = methods()
# Settings under which a method has nothing to do; methods with epochs need no entry.
IDENTITY: dict[str, dict[str, Any]] = {"ssd": {"alpha": 1e9}}
RETAIN_FLOOR = 0.8

every_method = pytest.mark.parametrize("cls", CLASSES.values(), ids=CLASSES.keys())


def idle_settings(cls: type[Method]) -> dict[str, Any] | None:
    if "epochs" in {field.name for field in dataclasses.fields(cls)}:  # type: ignore[arg-type]
        return {"epochs": 0}
    return IDENTITY.get(cls.info.name)


@pytest.fixture(scope="module")
def instance_case() -> Case:
    """An instance request on digits."""
    digits = load_digits()
    chosen = np.random.default_rng(0).permutation(len(digits.target))[:420]
    rows = Rows(x=digits.data[chosen] / 16, y=digits.target[chosen], ids=chosen.astype(np.str_))
    architecture = Architecture(name="mlp", shape=(64,), n_classes=10, options={"hidden": [32]})
    return Case(
        name="digits",
        n_classes=10,
        retain=rows.take(np.arange(180)),
        forget=rows.take(np.arange(180, 220)),
        test=rows.take(np.arange(220, 320)),
        auxiliary=rows.take(np.arange(320, 420)),
        trainer=RecipeTrainer(architecture=architecture, recipe=Recipe(epochs=60)),
    )


@pytest.fixture(scope="module")
def class_case(instance_case: Case) -> Case:
    """A request to forget the threes."""
    rows, test = instance_case.training, instance_case.test
    return instance_case.replace(
        retain=rows.take(rows.y != 3),
        forget=rows.take(rows.y == 3),
        test=test.take(test.y == 3),
        others=test.take(test.y != 3),
        scope="class",
        classes=(3,),
    )


@pytest.fixture
def case(cls: type[Method], instance_case: Case, class_case: Case) -> Case:
    """A request that the method serves, of single rows if it can."""
    return instance_case if "instance" in cls.info.scopes else class_case


@pytest.fixture(scope="module")
def trained(instance_case: Case) -> nn.Module:
    assert instance_case.trainer is not None
    rows = instance_case.training
    return instance_case.trainer(rows.x, rows.y, 1)


@pytest.fixture
def model(trained: nn.Module) -> nn.Module:
    """The trained model in an awkward state: partly in training mode, one gradient left over."""
    trained.eval()
    last = list(trained.modules())[-1]
    last.train()
    for parameter in trained.parameters():
        parameter.grad = torch.ones_like(parameter)
    return trained


def state_of(model: nn.Module) -> object:
    """Everything of a model that a method must not change."""
    return (
        weights_digest(model),
        [module.training for module in model.modules()],
        [len(module._forward_hooks) + len(module._backward_hooks) for module in model.modules()],
        [(p.requires_grad, None if p.grad is None else p.grad.sum().item(), p.data_ptr())
         for p in model.parameters()],
    )  # fmt: skip


def rows_digest(case: Case) -> str:
    arrays = {f"{role}.{part}": getattr(rows, part)
              for role, rows in case.roles().items() for part in ("x", "y", "ids")}  # fmt: skip
    return arrays_digest(arrays)


def run(method: Method, model: nn.Module, case: Case, seed: int = 7) -> Unlearned:
    return method.unlearn(model, case, np.random.default_rng(seed))


@every_method
def test_card_is_complete(cls: type[Method]) -> None:
    info = cls.info
    doc = cls.__doc__ or ""
    assert cls.__module__.rpartition(".")[2] == info.name, "a method's file bears its name"
    assert info.title
    assert info.summary.endswith("."), "the summary is a sentence for people who are no engineers"
    assert re.fullmatch(r"M\d\d", info.card)
    assert re.fullmatch(r"arXiv:\d{4}\.\d{4,5}|10\.\d{4,}/\S+|https://\S+", info.paper)
    assert info.needs, "a method that reads nothing does nothing"
    assert info.scopes
    assert len(re.split(r"\n\s*\n", doc.partition("Args:")[0].strip())) >= 2, "idea is missing"
    for section in ("Raises:", "References:", "Departures:"):
        assert section in doc, f"{section} is missing"
    arguments = doc.partition("Args:")[2].partition("Raises:")[0]
    documented = re.findall(r"^\s{8}(\w+):", arguments, flags=re.MULTILINE)
    fields = [field.name for field in dataclasses.fields(cls)]  # type: ignore[arg-type]
    assert sorted(documented) == sorted(fields), "each field is documented, nothing else is"


@every_method
def test_is_a_frozen_value(cls: type[Method]) -> None:
    method = cls()
    with pytest.raises(dataclasses.FrozenInstanceError):
        method.anything = 1  # type: ignore[attr-defined]
    assert eval(repr(method), {cls.__name__: cls}) == method
    parameters = json.loads(json.dumps(dataclasses.asdict(method)))  # type: ignore[call-overload]
    assert cls(**parameters) == method


@every_method
def test_leaves_model_and_rows_alone(cls: type[Method], model: nn.Module, case: Case) -> None:
    before, rows = state_of(model), rows_digest(case)
    run(cls(), model, case)
    assert state_of(model) == before
    assert rows_digest(case) == rows


class Fragile(nn.Module):
    """Answers once, then breaks; copies share the count."""

    answers: ClassVar[int] = 0

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        Fragile.answers += 1
        if Fragile.answers > 1:
            raise RuntimeError("broke half-way")
        answer: torch.Tensor = self.inner(x)
        return answer


@every_method
def test_leaves_model_alone_on_error(cls: type[Method], model: nn.Module, case: Case) -> None:
    def trainer(x: Features, y: Labels, seed: int) -> nn.Module:
        raise RuntimeError("broke half-way")

    Fragile.answers = 0
    fragile = Fragile(model)
    fragile.train()
    before, rng_state = state_of(fragile), torch.random.get_rng_state()
    with pytest.raises(RuntimeError, match="half-way"):
        run(cls(), fragile, case.replace(trainer=trainer))
    assert state_of(fragile) == before
    assert torch.equal(torch.random.get_rng_state(), rng_state)


@every_method
@pytest.mark.parametrize("request_name", ["case", "class_case"])
def test_returns_a_fresh_model_of_the_same_kind(
    cls: type[Method], model: nn.Module, request_name: str, request: pytest.FixtureRequest
) -> None:
    case: Case = request.getfixturevalue(request_name)
    new = run(cls(), model, case).model
    assert type(new) is type(model)
    assert [(n, p.shape, p.requires_grad) for n, p in new.named_parameters()] == [
        (n, p.shape, p.requires_grad) for n, p in model.named_parameters()
    ]
    assert not any(module.training for module in new.modules())
    assert all(p.grad is None for p in new.parameters()), "gradients hold forget rows"
    old = {p.data_ptr() for p in model.parameters()}
    assert not any(p.data_ptr() in old for p in new.parameters()), "weights are shared"
    assert Target(new).logits(case.test).shape == (len(case.test), 10)


@every_method
def test_randomness_is_the_generators_alone(
    cls: type[Method], model: nn.Module, case: Case
) -> None:
    first = weights_digest(run(cls(), model, case).model)
    torch.rand(3)
    np.random.random(3)  # noqa: NPY002 the global generator must make no difference
    torch_state = torch.random.get_rng_state()
    numpy_state = np.random.get_state()[1].copy()  # type: ignore[index] # noqa: NPY002
    assert weights_digest(run(cls(), model, case).model) == first
    assert torch.equal(torch.random.get_rng_state(), torch_state)
    assert np.array_equal(np.random.get_state()[1], numpy_state)  # type: ignore[index] # noqa: NPY002


@every_method
def test_nothing_to_do_is_the_identity(cls: type[Method], model: nn.Module, case: Case) -> None:
    settings = idle_settings(cls)
    if settings is None:
        assert cls.info.guarantee == "exact", "say in IDENTITY when the method has nothing to do"
        return
    unlearned = run(cls(**settings), model, case)
    assert weights_digest(unlearned.model) == weights_digest(model)
    assert unlearned.report.steps == 0


class Watched(Rows):
    """Rows that note when features or labels are read."""

    seen: ClassVar[set[tuple[str, str]]] = set()

    @staticmethod
    def over(role: str, rows: Rows) -> "Watched":
        watched = Watched(x=rows.x, y=rows.y, ids=rows.ids)
        object.__setattr__(watched, "role", role)
        return watched

    def __getattribute__(self, name: str) -> Any:
        if name in ("x", "y") and "role" in object.__getattribute__(self, "__dict__"):
            Watched.seen.add((object.__getattribute__(self, "role"), name))
        return object.__getattribute__(self, name)


@every_method
def test_reads_the_rows_it_declares(cls: type[Method], model: nn.Module, case: Case) -> None:
    roles = {name: Watched.over(name, rows) for name, rows in case.roles().items()}
    watched = case.replace(**roles)
    Watched.seen.clear()
    run(cls(), model, watched)
    declared = {need for need in cls.info.needs if need in ("forget", "retain")}
    assert {role for role, _ in Watched.seen} == declared
    assert any(part == "y" for _, part in Watched.seen) == ("labels" in cls.info.needs)


@every_method
def test_exact_means_retraining(cls: type[Method], model: nn.Module, case: Case) -> None:
    if cls.info.guarantee != "exact":
        assert weights_digest(run(cls(), model, case).model) != weights_digest(model)
        return
    assert case.trainer is not None
    seed = draw_seed(np.random.default_rng(7))
    expected = case.trainer(case.retain.x, case.retain.y, seed)
    assert weights_digest(run(cls(), model, case).model) == weights_digest(expected)


def forget_loss(target: Target, case: Case) -> float:
    log_p = log_softmax(target.logits(case.forget), axis=1)
    return float(-np.mean(log_p[np.arange(len(case.forget)), case.forget.y]))


@every_method
def test_forgets_a_class_and_keeps_the_rest(
    cls: type[Method], model: nn.Module, class_case: Case
) -> None:
    before = Target(model)
    unlearned = run(cls(), model, class_case)
    after, report = Target(unlearned.model), unlearned.report
    kept = before.accuracy(class_case.retain)
    assert after.accuracy(class_case.retain) >= RETAIN_FLOOR * kept
    assert forget_loss(after, class_case) > forget_loss(before, class_case)
    assert report.rows_touched >= report.steps
    assert report.rows_touched >= min(len(class_case.forget), len(class_case.retain))
    assert 0 < report.seconds < 10
    assert report.stop_reason


@every_method
@pytest.mark.parametrize(
    ("request_name", "scope"), [("instance_case", "class"), ("class_case", "instance")]
)
def test_refuses_other_scopes(
    cls: type[Method],
    model: nn.Module,
    request_name: str,
    scope: str,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    narrow = dataclasses.replace(cls.info, scopes=frozenset({scope}))  # type: ignore[arg-type]
    monkeypatch.setattr(cls, "info", narrow)
    found: Case = request.getfixturevalue(request_name)
    with pytest.raises(NotApplicable, match=f"{narrow.name} serves {scope} requests, found a"):
        run(cls(), model, found)


@every_method
def test_missing_recipe_is_named_only_if_needed(
    cls: type[Method], model: nn.Module, case: Case
) -> None:
    bare = case.replace(trainer=None)
    if "recipe" in cls.info.needs:
        with pytest.raises(NotApplicable, match=r"training recipe.*case\.trainer"):
            run(cls(), model, bare)
    else:
        assert run(cls(), model, bare).report.stop_reason
