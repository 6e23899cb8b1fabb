"""What every unlearning method keeps, each a function of its class."""

import dataclasses
import inspect
import json
import re
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import nn

from forget_audit.conformance import cases
from forget_audit.conformance.checks import (
    Check,
    NotChecked,
    error_of,
    global_generators,
    must,
    named,
    stir_generators,
)
from forget_audit.conformance.probes import Fragile, Watched, awkward, rows_digest, state_of
from forget_audit.contracts import Method, Unlearned
from forget_audit.errors import ModelError, NotApplicable
from forget_audit.labels import label_loss, to_forget
from forget_audit.seeds import draw_seed
from forget_audit.targets import Target, weights_digest
from forget_audit.types import Case, Features, Labels

# Settings under which a method has nothing to do; methods with epochs need no entry.
IDLE: dict[str, dict[str, Any]] = {
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
KINDS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "classes": ("instance_case", "mlp", {"hidden": [32]}),
    "a class": ("class_case", "mlp", {"hidden": [32]}),
    "a sub-class": ("subclass_case", "mlp", {"hidden": [32]}),
    "batch norm": ("instance_case", "mlp", {"hidden": [32], "norm": True}),
    "convolutions, activations in place": ("class_case", "vgg11", {"width": 1 / 32}),
    "a transformer": ("class_case", "vit", {"patch": 4, "width": 16, "depth": 1}),
    "labels": ("labels_case", "mlp", {"hidden": [32]}),
    "an attribute": ("attribute_case", "mlp", {"hidden": [32], "norm": True}),
}
PAPER = re.compile(r"arXiv:\d{4}\.\d{4,5}|10\.\d{4,}/\S+|https://\S+")
SLOWEST = 10.0


def the_card_is_complete(cls: type[Method]) -> None:
    """Name, title, summary, number, paper, needs and requests; idea and fields in the docstring."""
    info, doc = cls.info, inspect.getdoc(cls) or ""
    must(re.fullmatch(r"[a-z][a-z0-9_]*", info.name), f"name: lower-case words, not {info.name!r}")
    must(info.title, "title: for headings")
    must(info.summary.endswith("."), "summary: a sentence for people who are no engineers")
    must(re.fullmatch(r"[A-Z]+\d+", info.card), f"card: letters and a number, not {info.card!r}")
    must(PAPER.fullmatch(info.paper), "paper: arXiv:ID, a DOI or https://")
    must(info.needs, "needs: a method that reads nothing does nothing")
    must(info.scopes, "scopes: the requests that it serves")
    idea = re.split(r"\n\s*\n", doc.partition("Args:")[0].strip())
    must(len(idea) >= 2, "docstring: one sentence first, then the idea")
    for section in ("Raises:", "References:", "Departures:"):
        must(section in doc, f"docstring: {section} is missing")
    arguments = doc.partition("Args:")[2].partition("Raises:")[0]
    told = re.findall(r"^ {4}(\w+):", arguments, flags=re.MULTILINE)
    fields = [field.name for field in dataclasses.fields(cls)]  # type: ignore[arg-type]
    must(sorted(told) == sorted(fields), f"docstring: Args must name {fields}, found {told}")


def it_is_a_frozen_value(cls: type[Method]) -> None:
    """The same after `repr` and after JSON, and nothing can be changed in it."""
    method = cls()
    change = error_of(lambda: setattr(method, "anything", 1), dataclasses.FrozenInstanceError)
    must(change, "a setting can be changed: use @dataclass(frozen=True, kw_only=True)")
    again = eval(repr(method), {cls.__name__: cls})  # noqa: S307  written by the class checked
    must(again == method, "repr does not give an equal one")
    settings = json.loads(json.dumps(dataclasses.asdict(method)))  # type: ignore[call-overload]
    must(cls(**settings) == method, "settings do not survive JSON")


def model_and_rows_are_left_alone(cls: type[Method]) -> None:
    """The given model keeps weights, modes, hooks and gradients; rows keep their content."""
    model, case = _ready(cls)
    before, rows = state_of(model), rows_digest(case)
    _run(cls(), model, case)
    must(state_of(model) == before, "the given model is another one afterwards")
    must(rows_digest(case) == rows, "the rows are others afterwards")


def the_model_is_left_alone_on_error(cls: type[Method]) -> None:
    """An error of the model or of the recipe is heard, and leaves everything as found."""

    def trainer(_x: Features, _y: Labels, _seed: int) -> nn.Module:
        raise RuntimeError("broke half-way")

    model, case = _ready(cls)
    Fragile.answers = 0
    fragile = Fragile(model)
    fragile.train()
    before, drawn = state_of(fragile), torch.random.get_rng_state()
    broken = case.replace(trainer=trainer)
    heard = RuntimeError, ModelError, NotApplicable  # targets tell errors of a model as their own
    problem = error_of(lambda: _run(cls(), fragile, broken), *heard)
    choosy = bool(cls.info.needs & {"log", "initial", "training", "architecture"})
    refused = choosy and isinstance(problem, NotApplicable) and "expected" in str(problem)
    must(refused or "broke half-way" in str(problem), "an error of the model was not heard")
    must(state_of(fragile) == before, "after an error the given model is another one")
    must(torch.equal(torch.random.get_rng_state(), drawn), "torch's generator was moved")


def it_runs_wherever_its_card_allows(cls: type[Method]) -> None:
    """Requests and models of eight kinds are served, or refused if the card does not name them."""
    for kind in KINDS:
        model, case = cases.original(cls, _asked(kind))
        head = "multi" if case.multi_label else "single"
        if case.scope not in cls.info.scopes or head not in cls.info.heads:
            _must_refuse(cls, model, case)
            continue
        new = _run(cls(), awkward(model), case).model
        must(type(new) is type(model), f"{kind}: the new model is of another class")
        shapes = [[(n, p.shape, p.requires_grad) for n, p in m.named_parameters()]
                  for m in (new, model)]  # fmt: skip
        must(shapes[0] == shapes[1], f"{kind}: parameters of other names, shapes or flags")
        must(not any(module.training for module in new.modules()), f"{kind}: still in training")
        must(all(p.grad is None for p in new.parameters()), f"{kind}: gradients hold forget rows")
        old = {p.data_ptr() for p in model.parameters()}
        must(not any(p.data_ptr() in old for p in new.parameters()), f"{kind}: weights are shared")
        answers = Target(new).logits(case.test).shape
        must(answers == (len(case.test), case.n_classes), f"{kind}: answers of shape {answers}")


def randomness_is_the_generators_alone(cls: type[Method]) -> None:
    """The same generator gives the same weights, whatever the shared generators are at."""
    model, case = _ready(cls)
    first = weights_digest(_run(cls(), model, case).model)
    stir_generators()
    before = global_generators()
    must(weights_digest(_run(cls(), model, case).model) == first, "the same seed, other weights")
    must(global_generators() == before, "a shared generator was moved; draw from rng alone")


def nothing_to_do_is_the_identity(cls: type[Method]) -> None:
    """With settings that do nothing, weights stay bit for bit."""
    fields = {field.name for field in dataclasses.fields(cls)}  # type: ignore[arg-type]
    settings = {"epochs": 0} if "epochs" in fields else IDLE.get(cls.info.name)
    if settings is None:
        if cls.info.guarantee == "none":
            raise NotChecked("it has no setting `epochs` that could be 0")
        return
    model, case = _ready(cls)
    unlearned = _run(cls(**settings), model, case)
    same = weights_digest(unlearned.model) == weights_digest(model)
    must(same, f"with {settings} the weights are others")
    must(unlearned.report.steps == 0, f"with {settings} it reports steps")


def it_reads_the_rows_it_declares(cls: type[Method]) -> None:
    """Forget rows, retained rows and labels are read if, and only if, the card says so."""
    model, case = _ready(cls)
    roles = {name: Watched.over(name, rows) for name, rows in case.roles().items()}
    watched = case.replace(**roles)
    Watched.seen.clear()
    _run(cls(), model, watched)
    declared = {need for need in cls.info.needs if need in ("forget", "retain")}
    read = {role for role, _ in Watched.seen}
    must(read == declared, f"needs: declared are {sorted(declared)}, read were {sorted(read)}")
    labels = any(part == "y" for _, part in Watched.seen)
    must(
        labels == ("labels" in cls.info.needs), f"needs: labels were {'' if labels else 'not '}read"
    )


def exact_means_retraining(cls: type[Method]) -> None:
    """A method that promises exactness gives the retrained weights; any other changes some."""
    model, case = _ready(cls)
    found = weights_digest(_run(cls(), model, case).model)
    if cls.info.guarantee != "exact":
        must(found != weights_digest(model), "nothing was changed")
        return
    must(case.trainer is not None, "the case has no recipe")
    assert case.trainer is not None
    seed = 1 if "training" in cls.info.needs else draw_seed(np.random.default_rng(7))
    expected = case.trainer(case.retain.x, case.retain.y, seed)
    must(found == weights_digest(expected), "guarantee exact: other weights than retraining gives")


def it_forgets_and_keeps_the_rest(cls: type[Method]) -> None:
    """The loss of the forget rows rises, retained accuracy stays above the card's floor."""
    asked = cases.class_case() if "class" in cls.info.scopes else _served(cls)
    model, case = cases.original(cls, asked)
    before = Target(awkward(model))
    unlearned = _run(cls(), model, case)
    after, report = Target(unlearned.model), unlearned.report
    kept = after.accuracy(case.retain) / before.accuracy(case.retain)
    must(
        kept >= cls.info.floor, f"kept {kept:.0%} of the retained accuracy; floor {cls.info.floor}"
    )
    must(_forget_loss(after, case) > _forget_loss(before, case), "the forget rows' loss fell")
    must(report.rows_touched >= report.steps, "report: fewer rows touched than steps")
    some = cls.info.needs == {"log"} or report.rows_touched >= min(
        len(case.forget), len(case.retain)
    )
    must(some, "report: rows_touched is less than a pass")
    must(0 < report.seconds < SLOWEST, f"report: {report.seconds} seconds")
    must(set(report.changed) == set(unlearned.model.state_dict()), "report: changed lacks tensors")
    must(max(report.changed.values()) > 0, "report: nothing changed")
    must(report.stop_reason, "report: stop_reason is empty")


def it_refuses_other_requests(cls: type[Method]) -> None:
    """A request that the card does not name is refused in words, whatever it is."""
    info = cls.info
    model, _ = _ready(cls)
    try:
        for case, scope in ((cases.instance_case(), "class"), (cases.class_case(), "instance")):
            cls.info = dataclasses.replace(info, scopes=frozenset({scope}))  # type: ignore[arg-type]
            _must_refuse(cls, model, case)
    finally:
        cls.info = info


def a_missing_recipe_is_named_only_if_needed(cls: type[Method]) -> None:
    """Without a recipe it runs, unless the card says that it needs one."""
    model, case = _ready(cls)
    bare = case.replace(trainer=None)
    problem = error_of(lambda: _run(cls(), model, bare), NotApplicable)
    if "recipe" in cls.info.needs:
        words = re.search(r"training recipe.*case\.trainer", str(problem))
        must(words, "without a recipe: NotApplicable must name the training recipe, case.trainer")
    else:
        must(problem is None, f"without a recipe it refuses, but its card needs none: {problem}")


CHECKS: tuple[Check, ...] = tuple(
    named(check)
    for check in (
        the_card_is_complete, it_is_a_frozen_value, model_and_rows_are_left_alone,
        the_model_is_left_alone_on_error, it_runs_wherever_its_card_allows,
        randomness_is_the_generators_alone, nothing_to_do_is_the_identity,
        it_reads_the_rows_it_declares, exact_means_retraining, it_forgets_and_keeps_the_rest,
        it_refuses_other_requests, a_missing_recipe_is_named_only_if_needed,
    )
)  # fmt: skip


@cache
def _asked(kind: str) -> Case:
    name, architecture, options = KINDS[kind]
    case: Case = getattr(cases, name)()
    return case.replace(trainer=cases.trainer_of(architecture, case.n_classes, **options))


def _served(cls: type[Method]) -> Case:
    scopes = {"instance": cases.instance_case, "class": cases.class_case,
              "subclass": cases.subclass_case, "attribute": cases.attribute_case}  # fmt: skip
    return next(case for scope, case in scopes.items() if scope in cls.info.scopes)()


def _ready(cls: type[Method]) -> tuple[nn.Module, Case]:
    """Return the trained model in an awkward state, and the request with what the method needs."""
    model, case = cases.original(cls, _served(cls))
    return awkward(model), case


def _run(method: Method, model: nn.Module, case: Case) -> Unlearned:
    return method.unlearn(model, case, np.random.default_rng(7))


def _must_refuse(cls: type[Method], model: nn.Module, case: Case) -> None:
    problem = error_of(lambda: _run(cls(), model, case), NotApplicable)
    expected = rf"{cls.info.name} serves .* found .*; choose another"
    must(
        re.search(expected, str(problem)),
        f"a request for {case.scope}: expected NotApplicable like '{cls.info.name} serves ... "
        f"requests, found ...; choose another method', found {problem!r}",
    )


def _forget_loss(target: Target, case: Case) -> float:
    logits = torch.tensor(target.logits(case.forget))
    return float(label_loss(logits, to_forget(case, torch.tensor(case.forget.y))))
