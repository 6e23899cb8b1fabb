"""What every registered unlearning method must do; a new method is tested by being there."""

import dataclasses
import json
import re
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from torch import nn

from forget_audit.contracts import Method, Unlearned
from forget_audit.digests import arrays_digest
from forget_audit.errors import NotApplicable
from forget_audit.labels import label_loss, to_forget
from forget_audit.originals import needs_its_own, original_for
from forget_audit.registry import methods
from forget_audit.seeds import draw_seed
from forget_audit.targets import Target, weights_digest
from forget_audit.types import Case, Features, Labels, Rows
from tests.fixtures.requests import trainer_of

CLASSES = methods()
ASKED: dict[tuple[int, str], Case] = {}
ORIGINALS: dict[tuple[int, str], tuple[Case, nn.Module, Case]] = {}
# Settings under which a method has nothing to do; methods with epochs need no entry.
IDENTITY: dict[str, dict[str, Any]] = {
    "amnesiac": {"order": "reverse_epochs", "target": 1.0},
    "partial_amnesiac": {"order": "reverse_epochs", "target": 1.0},
    "delta_grad": {"replay": 0},
    "fisher": {"alpha": 0.0},
    "gkt": {"batches": 0},
    "influence_first": {"tau": 0.0},
    "influence_second": {"alpha": 0.0},
    "l_codec": {"most_slices": 0},
    "linear_filtration": {"strength": 0.0},
    "ntk": {"strength": 0.0},
    "ssd": {"alpha": 1e9},
    "weight_filtering": {"phi": 0.0, "head_rows": False, "repair_epochs": 0},
    "weight_pruning": {"rounds": 0},
}

every_method = pytest.mark.parametrize("cls", CLASSES.values(), ids=CLASSES.keys())


def idle_settings(cls: type[Method]) -> dict[str, Any] | None:
    if "epochs" in {field.name for field in dataclasses.fields(cls)}:  # type: ignore[arg-type]
        return {"epochs": 0}
    return IDENTITY.get(cls.info.name)


def original(cls: type[Method], case: Case) -> tuple[nn.Module, Case]:
    """Return an original that the method can unlearn, and the case with what it needs."""
    key = (id(case), cls.info.name if needs_its_own(cls.info) else "plain")
    if key not in ORIGINALS:
        ORIGINALS[key] = (case, *original_for(cls(), case, 1))
    return ORIGINALS[key][1:]


def awkward(model: nn.Module) -> nn.Module:
    """Put a model into an awkward state: partly in training mode, one gradient left over."""
    model.eval()
    last = list(model.modules())[-1]
    last.train()
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.grad = torch.ones_like(parameter)
    return model


@pytest.fixture
def asked(cls: type[Method], instance_case: Case, class_case: Case, attribute_case: Case) -> Case:
    """A request that the method serves, of single rows if it can."""
    scopes = {"instance": instance_case, "class": class_case, "attribute": attribute_case}
    return next(case for scope, case in scopes.items() if scope in cls.info.scopes)


@pytest.fixture
def case(cls: type[Method], asked: Case) -> Case:
    """The request, with a record or recipe if the method needs one."""
    return original(cls, asked)[1]


@pytest.fixture
def model(cls: type[Method], asked: Case) -> nn.Module:
    """The trained model in an awkward state."""
    return awkward(original(cls, asked)[0])


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
    choosy = bool(cls.info.needs & {"log", "initial", "training", "architecture"})
    allowed = (RuntimeError, NotApplicable) if choosy else RuntimeError
    with pytest.raises(allowed, match="half-way|expected" if choosy else "half-way"):
        run(cls(), fragile, case.replace(trainer=trainer))
    assert state_of(fragile) == before
    assert torch.equal(torch.random.get_rng_state(), rng_state)


KINDS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "classes": ("instance_case", "mlp", {"hidden": [32]}),
    "a class": ("class_case", "mlp", {"hidden": [32]}),
    "a sub-class": ("subclass_case", "mlp", {"hidden": [32]}),
    "batch norm": ("instance_case", "mlp", {"hidden": [32], "norm": True}),
    "convolutions": ("class_case", "cnn", {"channels": [4, 8]}),
    "a transformer": ("class_case", "vit", {"patch": 4, "width": 16, "depth": 1}),
    "labels": ("labels_case", "mlp", {"hidden": [32]}),
    "an attribute": ("attribute_case", "mlp", {"hidden": [32], "norm": True}),
}


# Kinds of models that lack what a method with `architecture` on its card must find.
UNFIT: dict[str, tuple[str, ...]] = {}


@every_method
@pytest.mark.parametrize("kind", KINDS)
def test_runs_wherever_its_card_allows(
    cls: type[Method], kind: str, request: pytest.FixtureRequest
) -> None:
    name, architecture, options = KINDS[kind]
    plain: Case = request.getfixturevalue(name)
    key = (id(plain), kind)
    if key not in ASKED:
        trainer = trainer_of(architecture, plain.n_classes, **options)
        ASKED[key] = plain.replace(trainer=trainer)
    model, case = original(cls, ASKED[key])
    head = "multi" if case.multi_label else "single"
    if case.scope not in cls.info.scopes or head not in cls.info.heads:
        with pytest.raises(NotApplicable, match=rf"{cls.info.name} serves .* choose another"):
            run(cls(), model, case)
        return
    if "architecture" in cls.info.needs and kind in UNFIT.get(cls.info.name, ()):
        with pytest.raises(NotApplicable, match=cls.info.name):
            run(cls(), model, case)
        return
    new = run(cls(), awkward(model), case).model
    assert type(new) is type(model)
    assert [(n, p.shape, p.requires_grad) for n, p in new.named_parameters()] == [
        (n, p.shape, p.requires_grad) for n, p in model.named_parameters()
    ]
    assert not any(module.training for module in new.modules())
    assert all(p.grad is None for p in new.parameters()), "gradients hold forget rows"
    old = {p.data_ptr() for p in model.parameters()}
    assert not any(p.data_ptr() in old for p in new.parameters()), "weights are shared"
    assert Target(new).logits(case.test).shape == (len(case.test), case.n_classes)


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
        assert cls.info.guarantee != "none", "say in IDENTITY when the method has nothing to do"
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
    own = "training" in cls.info.needs
    seed = 1 if own else draw_seed(np.random.default_rng(7))
    expected = case.trainer(case.retain.x, case.retain.y, seed)
    assert weights_digest(run(cls(), model, case).model) == weights_digest(expected)


def forget_loss(target: Target, case: Case) -> float:
    logits = torch.tensor(target.logits(case.forget))
    return float(label_loss(logits, to_forget(case, torch.tensor(case.forget.y))))


@every_method
def test_forgets_a_class_and_keeps_the_rest(
    cls: type[Method], class_case: Case, asked: Case
) -> None:
    model, case = original(cls, class_case if "class" in cls.info.scopes else asked)
    before = Target(awkward(model))
    unlearned = run(cls(), model, case)
    after, report = Target(unlearned.model), unlearned.report
    kept = before.accuracy(case.retain)
    assert after.accuracy(case.retain) >= cls.info.floor * kept
    assert forget_loss(after, case) > forget_loss(before, case)
    assert report.rows_touched >= report.steps
    reads_no_rows = cls.info.needs == {"log"}
    assert reads_no_rows or report.rows_touched >= min(len(case.forget), len(case.retain))
    assert 0 < report.seconds < 10
    assert set(report.changed) == set(unlearned.model.state_dict())
    assert max(report.changed.values()) > 0
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
