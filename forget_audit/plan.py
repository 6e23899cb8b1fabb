"""The plan: one TOML file that describes an audit, checked completely before anything runs.

All problems are reported together, each with its place in the file.
"""

import difflib
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from forget_audit import datasets, registry
from forget_audit.architectures import Architecture, find_builder, import_object, load_weights
from forget_audit.contracts import Method
from forget_audit.data import Request, prepare, read_ids
from forget_audit.datasets import Dataset
from forget_audit.errors import CaseError, PlanError, Problem
from forget_audit.plan_checks import attempt, method_problems, request_problems
from forget_audit.profiles import PROFILES
from forget_audit.sections import (
    OPTIONAL,
    REQUIRED,
    SECTIONS,
    BatterySection,
    DataSection,
    MethodSection,
    ModelSection,
    ReferencesSection,
    ReportSection,
    RequestSection,
    Section,
    TrainingSection,
)
from forget_audit.trainers import RecipeTrainer
from forget_audit.training import Recipe
from forget_audit.types import Case, Trainer


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
    folder: Path

    def as_json(self) -> dict[str, Any]:
        """Return the resolved plan, every default filled in, without the folder."""
        return {
            name: section.model_dump(mode="json")
            for name in SECTIONS
            if (section := getattr(self, name)) is not None
        }

    def path(self, name: str) -> Path:
        """Return a path of the plan, relative ones from the plan's folder."""
        return self.folder / name

    def dataset(self) -> Dataset:
        """Load the rows."""
        return datasets.load(
            self.data.source,
            folder=self.folder,
            seed=self.references.seed,
            label_noise=self.data.label_noise,
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
            return import_object(self.training.function)  # type: ignore[return-value]
        names = {field.name for field in fields(Recipe)}
        recipe = Recipe(**self.training.model_dump(include=names))
        return RecipeTrainer(architecture=self.architecture(dataset), recipe=recipe)

    def architecture(self, dataset: Dataset) -> Architecture:
        """Return what is built for the rows of `dataset`."""
        return Architecture(
            name=self.model.architecture,
            shape=dataset.rows.x.shape[1:],
            n_classes=dataset.n_classes,
            options=self.model.options,
        )

    def unlearner(self) -> Method | None:
        """Return the method with the options of the plan."""
        if self.method is None:
            return None
        section = self.method
        return registry.make_method(section.name, section.preset, section.options)

    def case(self, dataset: Dataset) -> Case:
        """Give every row its role."""
        default = dataset.sizes
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
        PlanError: If there is no such file, or it is not TOML.
    """
    try:
        with path.open("rb") as file:
            return tomllib.load(file)
    except OSError as error:
        raise PlanError([Problem(str(path), f"cannot be read: {error.strerror}")]) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
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
    sections: dict[str, Any] = {}
    for name, kind in SECTIONS.items():
        sections[name] = None
        if name in tables or name not in OPTIONAL:
            sections[name] = _section(name, kind, tables.get(name), problems)
    problems += _names(sections, folder)
    usable = all(sections[name] is not None for name in SECTIONS if name not in OPTIONAL)
    if usable:
        plan = Plan(**sections, folder=folder)
        blocked = {problem.place for problem in problems}
        if not blocked & {"data.source", "request.forget", "request", "model.architecture"}:
            problems += _rows(plan)
        if not problems:
            return plan
    raise PlanError(problems)


def _section(
    name: str, kind: type[Section], table: object, problems: list[Problem]
) -> Section | None:
    if table is None and name in REQUIRED:
        problems.append(Problem(name, f"the section [{name}] is missing"))
        return None
    try:
        return kind.model_validate({} if table is None else table)
    except ValidationError as error:
        for item in error.errors():
            place = ".".join([name, *(str(part) for part in item["loc"])])
            message = item["msg"].removeprefix("Value error, ")
            if item["type"] == "extra_forbidden":
                near = difflib.get_close_matches(str(item["loc"][-1]), kind.model_fields, n=1)
                message = "unknown key" + (f"; did you mean {near[0]!r}?" if near else "")
            elif item["type"] != "missing":
                message += f", found {item['input']!r}"
            problems.append(Problem(place, message))
        return None


def _names(sections: Mapping[str, Any], folder: Path) -> list[Problem]:
    """Check names and files, one section at a time, whatever else is wrong."""
    problems = []
    request, model, battery = sections["request"], sections["model"], sections["battery"]
    if request is not None:
        problems += request_problems(request, folder)
    if model is not None:
        for key in ("original", "unlearned"):
            name = getattr(model, key)
            if name and not (folder / name).is_file():
                problems.append(Problem(f"model.{key}", f"there is no file {name}"))
        problems += attempt("model.architecture", lambda: find_builder(model.architecture))
        if sections["method"] is None and not model.unlearned:
            problems.append(
                Problem("model.unlearned", "name the audited model, or a [method] that makes it")
            )
    if sections["method"] is not None:
        problems += method_problems(sections["method"])
    if sections["training"] is not None and sections["training"].function:
        function = sections["training"].function
        problems += attempt("training.function", lambda: import_object(function))
    if battery is not None:
        if (battery.canary or battery.experiments) and (
            sections["method"] is None or (model is not None and model.unlearned)
        ):
            message = (
                "experiments test a method; name it in a section [method], not model.unlearned"
            )
            problems.append(Problem("battery", message))
        if battery.profile not in PROFILES:
            message = registry.unknown("profile", battery.profile, PROFILES)
            problems.append(Problem("battery.profile", message))
        for name in battery.attacks or []:
            problems += attempt("battery.attacks", partial(registry.get_card, name))
    return problems


def _rows(plan: Plan) -> list[Problem]:
    """Check that the request fits the rows and the architecture builds on them."""
    try:
        dataset = plan.dataset()
    except CaseError as error:
        return [Problem("data.source", str(error))]
    problems = attempt("request", lambda: plan.case(dataset))
    architecture = plan.architecture(dataset)
    broken = attempt("model.options", architecture.build)
    if not broken:
        for key in ("original", "unlearned"):
            name = getattr(plan.model, key)
            if name and plan.path(name).is_file():
                load = partial(load_weights, architecture.build(), plan.path(name))
                broken += attempt(f"model.{key}", load)
    return problems + broken
