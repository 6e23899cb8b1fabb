"""The plan: one TOML file that describes an audit, checked completely before anything runs.

All problems are reported together, each with its place in the file.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from forget_audit import predictions, registry
from forget_audit.architectures import Architecture
from forget_audit.contracts import Method
from forget_audit.data import Request, dealt_sizes, prepare, read_ids
from forget_audit.datasets import Dataset
from forget_audit.errors import CaseError, ForgetAuditError, PlanError, Problem
from forget_audit.faults import refuse_irregular
from forget_audit.finite import NotFinite, read_toml
from forget_audit.foreign.answering import SelfTrained
from forget_audit.model_files import load_weights
from forget_audit.plans.checks import (
    NOT_WITH_PREDICTIONS,
    attempt,
    is_there,
    only_answers,
    section_problems,
)
from forget_audit.plans.sections import (
    OPTIONAL,
    SECTIONS,
    BatterySection,
    DataSection,
    MethodSection,
    ModelSection,
    PredictionsSection,
    PresetSection,
    ReferencesSection,
    ReportSection,
    RequestSection,
    TrainingSection,
    left_to_function,
    read_section,
)
from forget_audit.predictions import Predictions, PredictionsError
from forget_audit.sources.loading import load
from forget_audit.training.loop import Recipe
from forget_audit.training.own_functions import FunctionTrainer
from forget_audit.training.trainers import RecipeTrainer, SelfTrainer
from forget_audit.types import Case, Trainer

BLOCKING = frozenset(
    {"data.source", "request", "request.forget", "model.architecture", "predictions.file"}
)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A plan whose names, numbers and files have been checked.

    Args:
        request: Section `[request]`.
        data: Section `[data]`.
        model: Section `[model]`.
        training: Section `[training]`.
        method: Section `[method]`, if the audit runs the method.
        references: Section `[references]`.
        battery: Section `[battery]`.
        report: Section `[report]`.
        predictions: Section `[predictions]`, if models are known by their answers alone.
        preset: Section `[preset]`, if the plan repeats an experiment of a paper.
        folder: Where relative paths start.
    """

    request: RequestSection
    data: DataSection
    model: ModelSection
    training: TrainingSection
    method: MethodSection | None
    references: ReferencesSection
    battery: BatterySection
    report: ReportSection
    predictions: PredictionsSection | None
    preset: PresetSection | None
    folder: Path

    def as_json(self) -> dict[str, Any]:
        """Return the resolved plan, every default filled in, without the folder."""
        unsaid = {*NOT_WITH_PREDICTIONS} - {"data"} if self.predictions is not None else set()
        return {
            name: section.model_dump(mode="json")
            for name in SECTIONS
            if name not in unsaid and (section := getattr(self, name)) is not None
        }

    def path(self, name: str) -> Path:
        """Return a path of the plan, relative ones from the plan's folder."""
        return self.folder / name

    def answers(self) -> Predictions:
        """Read the file of predictions.

        Raises:
            CaseError: If the plan hands in none.
            PredictionsError: If the file is not in order.
        """
        if self.predictions is None:
            raise CaseError("the plan has no section [predictions]")
        return predictions.read(self.path(self.predictions.file))

    def dataset(self) -> Dataset:
        """Return the rows, which are loaded once.

        Raises:
            CaseError: If they cannot be loaded, or only predictions were handed in.
        """
        return self._loaded

    @cached_property
    def _loaded(self) -> Dataset:
        if self.predictions is not None:
            raise CaseError("this needs the rows, and the plan hands in predictions alone")
        return load(
            self.data.source,
            folder=self.folder,
            seed=self.references.seed,
            label_noise=self.data.label_noise,
            options=self.data.options,
        )

    def deletion(self) -> Request:
        """Return the request for rows."""
        ids = read_ids(self.path(self.request.forget)) if self.request.forget else ()
        named = tuple(self.request.classes or ())
        if self.request.attribute:
            return Request(attribute=self.request.attribute)
        if self.request.scope == "subclass":
            return Request(ids=ids, random=self.request.random, subclasses=named)
        return Request(ids=ids, random=self.request.random, classes=named)

    def trainer(self, dataset: Dataset) -> Trainer:
        """Return the recipe as a function of rows and seed."""
        if self.training.function:
            return FunctionTrainer(function=self.training.function, n_classes=dataset.n_classes)
        architecture = self.architecture(dataset)
        if isinstance(architecture.build(), SelfTrained):
            return SelfTrainer(architecture=architecture)
        names = {field.name for field in fields(Recipe)}
        recipe = Recipe(**self.training.model_dump(include=names))
        return RecipeTrainer(
            architecture=architecture, recipe=recipe, precision=self.training.precision
        )

    def architecture(self, dataset: Dataset) -> Architecture:
        """Return what is built for the rows of `dataset`."""
        return Architecture(
            name=self.model.architecture,
            shape=dataset.rows.x.shape[1:],
            n_classes=dataset.n_classes,
            options=self.model.options,
            head=self.model.head,
            folder=self.folder,
        )

    def unlearner(self) -> Method | None:
        """Return the method with the options of the plan."""
        if self.method is None:
            return None
        section = self.method
        return registry.make_method(section.name, section.preset, section.options)

    def case(self, dataset: Dataset) -> Case:
        """Give every row its role."""
        default = dealt_sizes(dataset)
        given = (self.data.train, self.data.test, self.data.auxiliary)
        train, test, auxiliary = (
            d if g is None else g for g, d in zip(given, default, strict=True)
        )
        return prepare(
            dataset,
            self.deletion(),
            seed=self.references.seed,
            sizes=(train, test, auxiliary),
            trainer=self.trainer(dataset),
        )


def read_tables(path: Path) -> dict[str, Any]:
    """Read the tables of a plan, unchecked.

    Raises:
        PlanError: If there is no such file, it is not TOML, or holds a number that is not finite.
    """
    try:
        refuse_irregular(path)
        return read_toml(path.read_bytes())
    except OSError as error:
        raise PlanError([Problem(str(path), f"cannot be read: {error.strerror}")]) from error
    except NotFinite as error:
        message = f"{error}; no setting of a plan takes one"
        raise PlanError([Problem(path.name, message)]) from error
    except (ValueError, RecursionError) as error:
        raise PlanError([Problem(path.name, f"is not TOML: {error}")]) from error


def read_plan(path: Path) -> Plan:
    """Read and check a plan.

    Raises:
        PlanError: With every problem found, each with its place.
    """
    return check_plan(read_tables(path), path.parent)


def check_plan(tables: Mapping[str, Any], folder: Path) -> Plan:
    """Check the tables of a plan.

    Args:
        tables: As read from TOML.
        folder: Where relative paths start.

    Raises:
        PlanError: With every problem found, each with its place.
    """
    problems = [
        Problem(name, registry.unknown("section", name, SECTIONS))
        for name in tables
        if name not in SECTIONS
    ]
    if "predictions" in tables:
        tables, refused = only_answers(tables)
        problems += refused
    sections: dict[str, Any] = {}
    for name in SECTIONS:
        sections[name] = None
        if name in tables or name not in OPTIONAL:
            sections[name], wrong = read_section(name, tables.get(name))
            problems += wrong
    problems += section_problems(sections, folder)
    usable = all(sections[name] is not None for name in SECTIONS if name not in OPTIONAL)
    if usable:
        plan = Plan(**sections, folder=folder)
        blocked = {problem.place for problem in problems}
        if not blocked & BLOCKING:
            problems += _rows(plan) if plan.predictions is None else _answers(plan)
        if not problems:
            return plan
    raise PlanError(problems)


def _rows(plan: Plan) -> list[Problem]:
    """Check that the request fits the rows and the architecture builds on them."""
    try:
        dataset = plan.dataset()
    except CaseError as error:
        return [Problem("data.source", str(error))]
    architecture = plan.architecture(dataset)
    own = left_to_function(plan.model, plan.training)
    broken = [] if own else _network(architecture, dataset)
    told = {problem.message for problem in broken}
    problems = [p for p in attempt("request", lambda: plan.case(dataset)) if p.message not in told]
    if plan.model.head == "binary" and dataset.rows.y.ndim == 2:
        message = f"rows bear {dataset.n_classes} labels; binary is for two classes, leave it out"
        problems.append(Problem("model.head", message))
    if not broken and not own:
        for key in ("original", "unlearned"):
            name = getattr(plan.model, key)
            if name and is_there(plan.path(name)):
                load = partial(load_weights, architecture.build(), plan.path(name))
                broken += attempt(f"model.{key}", load)
    return problems + broken


def _network(architecture: Architecture, dataset: Dataset) -> list[Problem]:
    built = attempt("model.options", architecture.build)
    return built or attempt("model.architecture", lambda: architecture.answer(dataset.rows.x[:2]))


def _answers(plan: Plan) -> list[Problem]:
    """Check that the file of predictions is in order and fits the request."""
    try:
        found = plan.answers()
    except PredictionsError as error:
        return [Problem("predictions.file", str(problem)) for problem in error.problems]
    except ForgetAuditError as error:
        return [Problem("predictions.file", str(error))]
    ids = read_ids(plan.path(plan.request.forget)) if plan.request.forget else None
    return found.against(plan.request.scope, plan.request.classes or (), ids)
