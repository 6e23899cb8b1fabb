"""What every registered experiment must keep; a new one is tested by being registered."""

import dataclasses
import inspect
import json
import random
import re
import sys
from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import nn

from forget_audit import registry
from forget_audit.contracts import Scores
from forget_audit.errors import AccessError, NotApplicable
from forget_audit.laboratory import Laboratory, Procedure
from forget_audit.seeds import generator
from forget_audit.targets import Target, weights_digest
from forget_audit.training.loop import Index, Recipe
from forget_audit.training.trainers import RecipeTrainer
from forget_audit.trials import Experiment, Lab
from forget_audit.types import ACCESS_ORDER, Access, Case, Rows

EXPERIMENTS = dict(registry.experiments())
JARGON = re.compile(
    r"\b(auc|roc|entropy|loss|logits?|gradients?|softmax|shadow|rho|z-score)\b", re.I
)

every_experiment = pytest.mark.parametrize("name", list(EXPERIMENTS))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Watched:
    """A laboratory that notes what it is asked for and hands out views of its models.

    Args:
        inner: Does the work.
        access: What the models that are handed out answer.
        batch_size: Rows in one forward pass of these models.
        change: What is done to models before they are handed out.
    """

    inner: Laboratory
    access: Access = "weights"
    batch_size: int = 2048
    change: Callable[[nn.Module], nn.Module] = lambda model: model
    seeds: list[tuple[int, ...]] = dataclasses.field(default_factory=list)
    handed_out: list[tuple[Target, object]] = dataclasses.field(default_factory=list)
    learnt: list[tuple[Target, Target, Counter[bytes]]] = dataclasses.field(default_factory=list)
    forgotten: list[tuple[Counter[bytes], Case]] = dataclasses.field(default_factory=list)

    def train(self, rows: Rows, subsets: Sequence[Index], seeds: Sequence[int]) -> list[Target]:
        targets = self.inner.train(rows, subsets, seeds)
        views = self._views(targets, seeds)
        for target, view, subset in zip(targets, views, subsets, strict=True):
            self.learnt.append((target, view, contents(rows.take(subset))))
        return views

    def forget(
        self, originals: Sequence[Target], cases: Sequence[Case], seeds: Sequence[int]
    ) -> list[Target]:
        known = {id(view): (target, learnt) for target, view, learnt in self.learnt}
        for original, case in zip(originals, cases, strict=True):
            self.forgotten.append((known[id(original)][1], case))
        inner = [known[id(original)][0] for original in originals]
        return self._views(self.inner.forget(inner, cases, seeds), seeds)

    def retrain(self, case: Case, seeds: Sequence[int]) -> list[Target]:
        return self._views(self.inner.retrain(case, seeds), seeds)

    def _views(self, targets: Sequence[Target], seeds: Sequence[int]) -> list[Target]:
        self.seeds.append(tuple(seeds))
        views = []
        for target in targets:
            model = self.change(target.model_copy())
            views.append(Target(model, access=self.access, batch_size=self.batch_size))
            self.handed_out.append((Target(model), state(model)))
        return views


def contents(rows: Rows) -> Counter[bytes]:
    return Counter(x.tobytes() + y.tobytes() for x, y in zip(rows.x, rows.y, strict=True))


def state(model: nn.Module) -> object:
    return (
        weights_digest(model),
        [module.training for module in model.modules()],
        [(p.requires_grad, p.grad is None) for p in model.parameters()],
        [(len(m._forward_hooks), len(m._backward_hooks)) for m in model.modules()],
    )


def global_generators() -> object:
    return random.getstate(), str(np.random.get_state()), torch.get_rng_state().tolist()  # noqa: NPY002


def numbers(scores: Scores) -> npt.NDArray[np.float64]:
    curves = [np.asarray(series.y) for _, series in sorted(scores.series.items())]
    return np.concatenate([[value for _, value in sorted(scores.scalars.items())], *curves])


def scores_or_refusal(experiment: Experiment, lab: Lab, case: Case) -> Scores | None:
    """Return finite scores, or nothing after a refusal that gives a reason."""
    try:
        scores = experiment.run(lab, case, generator(1))
    except NotApplicable as refusal:
        reason = str(refusal)
    else:
        assert np.all(np.isfinite(numbers(scores)))
        return scores
    assert len(reason) > 20, "a refusal says why"
    return None


@pytest.fixture(scope="module")
def watched(
    digits_case: Case, digits_lab: Callable[[Procedure], Laboratory]
) -> Callable[[str], tuple[Watched, Scores]]:
    """Every experiment once, by the method, on models that have learnt something.

    All have the same generator, so that those with equal designs share what they train.
    """
    known: dict[str, tuple[Watched, Scores]] = {}

    def get(name: str) -> tuple[Watched, Scores]:
        if name not in known:
            lab = Watched(inner=digits_lab("method"))
            known[name] = (lab, EXPERIMENTS[name]().run(lab, digits_case, generator(1)))
        return known[name]

    return get


@pytest.fixture(scope="module")
def quick_lab(digits_case: Case) -> Laboratory:
    """A laboratory whose models learn next to nothing, in no time."""
    assert isinstance(digits_case.trainer, RecipeTrainer)
    trainer = dataclasses.replace(
        digits_case.trainer, recipe=Recipe(epochs=3, steps_per_epoch=2, lr=1e-2)
    )
    return Laboratory(trainer=trainer, procedure="nothing")


@every_experiment
def test_the_card_is_complete(name: str) -> None:
    cls = EXPERIMENTS[name]
    info, doc = cls.info, inspect.getdoc(cls) or ""
    assert info.name == name == cls.__module__.rpartition(".")[2]
    assert re.fullmatch(r"[AE]\d+", info.card)
    assert re.match(r"(arXiv:\d{4}\.\d{4,5}|doi:10\.|https://)", info.paper)
    assert info.paper.removeprefix("doi:") in doc, "the paper belongs in the docstring"
    summary, *rest = doc.split("\n\n")
    assert summary.endswith("."), "one sentence first"
    assert rest, "then the idea"
    assert not rest[0].startswith(("Args", "References"))
    assert "References:" in doc
    assert "Departures:" in doc
    assert info.question.endswith("?")
    assert not JARGON.search(info.question), "the question is for a non-engineer"
    assert info.perfect.endswith(".")
    assert info.kind == "method"
    assert info.headline != "auc"
    assert not info.leave_one_out, "an experiment is fitted on nothing"


@every_experiment
def test_the_parameters_are_plain_and_frozen(name: str) -> None:
    cls = EXPERIMENTS[name]
    experiment = cls()
    assert isinstance(experiment, Experiment)
    again = eval(repr(experiment), vars(sys.modules[cls.__module__]))  # noqa: S307  of our class
    assert again == experiment
    parameters = dataclasses.asdict(experiment)  # type: ignore[call-overload]
    assert cls(**json.loads(json.dumps(parameters))) == experiment
    with pytest.raises(dataclasses.FrozenInstanceError):
        experiment.anything = 1  # type: ignore[attr-defined]


@every_experiment
def test_senseless_parameters_are_refused_by_name(name: str) -> None:
    for field in dataclasses.fields(EXPERIMENTS[name]):  # type: ignore[arg-type]
        if field.type in ("bool", bool):
            continue
        with pytest.raises(ValueError, match=field.name):
            EXPERIMENTS[name](**{field.name: -1})


@every_experiment
def test_scores_have_the_headline_and_finite_numbers(
    name: str, watched: Callable[[str], tuple[Watched, Scores]]
) -> None:
    _, scores = watched(name)
    assert len(scores.forget) == len(scores.control) == 0
    assert EXPERIMENTS[name].info.headline in scores.scalars
    assert "auc" not in scores.scalars
    assert np.all(np.isfinite(numbers(scores)))
    for series in scores.series.values():
        assert len(series.x) == len(series.y)


@every_experiment
def test_models_forget_what_they_have_learnt_and_keep_the_rest(
    name: str, watched: Callable[[str], tuple[Watched, Scores]]
) -> None:
    lab, _ = watched(name)
    assert lab.forgotten, "an experiment on a method uses it"
    for learnt, case in lab.forgotten:
        assert learnt == contents(case.training)
        assert len(case.forget)


@every_experiment
def test_models_are_left_as_found(
    name: str, watched: Callable[[str], tuple[Watched, Scores]]
) -> None:
    lab, _ = watched(name)
    for target, before in lab.handed_out:
        assert state(target._model) == before


@every_experiment
def test_every_run_has_seeds_of_its_own(
    name: str, digits_case: Case, quick_lab: Laboratory
) -> None:
    labs = [Watched(inner=quick_lab) for _ in range(3)]
    for lab, seed in zip(labs, (1, 1, 2), strict=True):
        try:
            EXPERIMENTS[name]().run(lab, digits_case, generator(seed))
        except NotApplicable:
            assert lab.seeds, "refused without need"
    first, again, other = (list(lab.seeds) for lab in labs)
    assert first == again
    flat = [seed for part in first for seed in part]
    assert len(set(flat)) == len(flat), "models of one seed are no independent runs"
    assert not set(flat) & {seed for part in other for seed in part}


@every_experiment
def test_same_generator_same_numbers_whatever_the_global_ones(
    name: str,
    digits_case: Case,
    digits_lab: Callable[[Procedure], Laboratory],
    watched: Callable[[str], tuple[Watched, Scores]],
) -> None:
    _, first = watched(name)
    random.random()
    np.random.random()  # noqa: NPY002
    torch.rand(3)
    before = global_generators()
    second = EXPERIMENTS[name]().run(digits_lab("method"), digits_case, generator(1))
    assert global_generators() == before, "global generators must be left as found"
    np.testing.assert_array_equal(numbers(first), numbers(second))


@every_experiment
def test_the_batch_size_does_not_matter(
    name: str, digits_case: Case, quick_lab: Laboratory
) -> None:
    whole, parts = (
        scores_or_refusal(
            EXPERIMENTS[name](), Watched(inner=quick_lab, batch_size=size), digits_case
        )
        for size in (2048, 7)
    )
    if whole is None or parts is None:
        assert whole is parts
    else:
        np.testing.assert_allclose(numbers(parts), numbers(whole), rtol=1e-3, atol=1e-3)


@every_experiment
def test_the_declared_access_is_enough_and_needed(
    name: str, digits_case: Case, quick_lab: Laboratory
) -> None:
    access = EXPERIMENTS[name].info.access
    scores_or_refusal(EXPERIMENTS[name](), Watched(inner=quick_lab, access=access), digits_case)
    for below in ACCESS_ORDER[: ACCESS_ORDER.index(access)]:
        lab = Watched(inner=quick_lab, access=below)
        with pytest.raises(AccessError):
            EXPERIMENTS[name]().run(lab, digits_case, generator(1))


def one_row(case: Case) -> Case:
    return case.replace(forget=case.forget.take(np.array([0])))


def one_row_each(case: Case) -> Case:
    return one_row(case).replace(test=case.test.take(np.array([0])))


def one_class(case: Case) -> Case:
    label = case.forget.y[0]
    return case.replace(
        retain=case.retain.take(case.retain.y == label),
        forget=case.forget.take(case.forget.y == label),
        test=case.test.take(case.test.y == label),
    )


def class_request(case: Case) -> Case:
    label = int(case.forget.y[0])
    own, unseen = case.training.y == label, case.test.y == label
    return case.replace(
        scope="class",
        classes=(label,),
        retain=case.training.take(~own),
        forget=case.training.take(own),
        test=case.test.take(unseen),
        others=case.test.take(~unseen),
    )


def duplicates(case: Case) -> Case:
    return case.replace(**{role: twice(getattr(case, role)) for role in ("forget", "test")})


def twice(rows: Rows) -> Rows:
    return Rows.concat(rows, Rows(x=rows.x, y=rows.y, ids=np.char.add("again-", rows.ids)))


def no_auxiliary(case: Case) -> Case:
    empty = case.auxiliary.take(np.zeros(0, dtype=np.int64))
    return case.replace(auxiliary=empty, sensitive=None)


@every_experiment
@pytest.mark.parametrize(
    "edge", [one_row, one_row_each, one_class, class_request, duplicates, no_auxiliary]
)
def test_odd_cases_give_a_refusal_or_finite_numbers(
    name: str, edge: Callable[[Case], Case], digits_case: Case, quick_lab: Laboratory
) -> None:
    scores = scores_or_refusal(EXPERIMENTS[name](), quick_lab, edge(digits_case))
    assert scores is None or len(numbers(scores))


@every_experiment
def test_constant_answers_give_a_refusal_or_finite_numbers(
    name: str, digits_case: Case, quick_lab: Laboratory
) -> None:
    def constant(model: nn.Module) -> nn.Module:
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.zero_()
        return model

    lab = Watched(inner=quick_lab, change=constant)
    scores = scores_or_refusal(EXPERIMENTS[name](), lab, digits_case)
    assert scores is None or len(numbers(scores))


@every_experiment
def test_a_refusal_of_the_method_is_passed_on(
    name: str, digits_case: Case, quick_lab: Laboratory, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> list[Target]:
        raise NotApplicable("the method does not serve this request")

    monkeypatch.setattr(Laboratory, "forget", refuse)
    with pytest.raises(NotApplicable, match="does not serve"):
        EXPERIMENTS[name]().run(quick_lab, digits_case, generator(1))
