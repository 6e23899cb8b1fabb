"""Checks of single sections of a plan: each returns its problems with their places."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from forget_audit import registry
from forget_audit.architectures import find_builder
from forget_audit.data import read_ids
from forget_audit.errors import ForgetAuditError, Problem
from forget_audit.model_identity import model_digest
from forget_audit.stress_file import read_stress
from forget_audit.training.own_functions import find_function
from forget_audit.verdict.looks import Looks
from forget_audit.verdict.profiles import PROFILES

if TYPE_CHECKING:
    from forget_audit.plans.sections import (
        BatterySection,
        MethodSection,
        ReferencesSection,
        RequestSection,
        Section,
    )

SUBJECT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
NOT_WITH_PREDICTIONS: Mapping[str, str] = {
    "data": "the rows are those of the file",
    "model": "models are known by their answers alone",
    "training": "nothing is trained",
    "method": "a method changes a model, and there is none",
    "references": "the models for comparison are those of the file",
}


def section_problems(sections: Mapping[str, Any], folder: Path) -> list[Problem]:
    """Check names and files, one section at a time, whatever else is wrong.

    Args:
        sections: By name; nothing where a section is missing or broken.
        folder: Where relative paths start.
    """
    problems = []
    request, model, method = sections["request"], sections["model"], sections["method"]
    answered = sections["predictions"]
    if request is not None:
        check = request_problems if answered is None else answered_request_problems
        problems += check(request, folder)
    if answered is not None:
        found = _files("predictions", answered, ("file", "model"), folder)
        if answered.model and not found:
            found = attempt("predictions.model", lambda: model_digest(folder / answered.model))
        problems += found
    elif model is not None:
        problems += _files("model", model, ("original", "unlearned"), folder)
        problems += attempt("model.architecture", lambda: find_builder(model.architecture, folder))
        if method is None and not model.unlearned:
            message = "name the audited model, or a [method] that makes it"
            problems.append(Problem("model.unlearned", message))
    if method is not None:
        problems += method_problems(method)
    if sections["training"] is not None and sections["training"].function:
        function = sections["training"].function
        problems += attempt("training.function", lambda: find_function(function))
    if sections["references"] is not None and sections["battery"] is not None:
        problems += _looks(sections["references"], sections["battery"])
    if sections["battery"] is not None:
        made = answered is None and method is not None and not (model and model.unlearned)
        problems += battery_problems(sections["battery"], made=made)
    if sections["report"] is not None and sections["report"].stress:
        stress = folder / sections["report"].stress
        problems += attempt("report.stress", lambda: read_stress(stress))
    return problems


def only_answers(tables: Mapping[str, Any]) -> tuple[dict[str, Any], list[Problem]]:
    """Return the tables of a plan that hands in predictions, with a source of its rows.

    What such a plan cannot say is taken out and is a problem.
    """
    problems = [
        Problem(name, f"does not go with [predictions]: {reason}; leave [{name}] out")
        for name, reason in NOT_WITH_PREDICTIONS.items()
        if name in tables
    ]
    kept = {name: table for name, table in tables.items() if name not in NOT_WITH_PREDICTIONS}
    table = tables["predictions"]
    file = table.get("file", "") if isinstance(table, dict) else ""
    return {**kept, "data": {"source": f"predictions:{file}"}}, problems


def request_problems(request: RequestSection, folder: Path) -> list[Problem]:
    """Check that one way to name rows is given, fits the scope, and finds its file."""
    problems = []
    keys = ("forget", "random", "classes", "attribute")
    given = [key for key in keys if getattr(request, key)]
    if len(given) != 1:
        found = " and ".join(given) or "none"
        problems.append(
            Problem("request", f"expected exactly one of {', '.join(keys)}; found {found}")
        )
    fitting = {"instance": ("forget", "random"), "attribute": ("attribute",)}
    if len(given) == 1 and given[0] not in fitting.get(request.scope, ("classes",)):
        problems.append(
            Problem("request.scope", f"scope {request.scope!r} does not go with {given[0]!r}")
        )
    return problems + _list_of_ids(request, folder)


def answered_request_problems(request: RequestSection, folder: Path) -> list[Problem]:
    """Check a request whose rows stand in a file of predictions."""
    keys = ("forget", "random", "classes", "attribute")
    given = [key for key in keys if getattr(request, key)]
    found = " and ".join(given) or "none of them"
    problems = []
    if request.scope not in ("instance", "class"):
        message = f"predictions are audited for instance or class requests, found {request.scope!r}"
        problems.append(Problem("request.scope", message))
    elif request.scope == "class" and given != ["classes"]:
        problems.append(Problem("request", f"a request for classes names classes; found {found}"))
    elif request.scope == "instance" and given not in ([], ["forget"]):
        message = "the forget rows are those that the file of predictions calls so, and may be "
        message += f"listed in forget; found {found}"
        problems.append(Problem("request", message))
    return problems + _list_of_ids(request, folder)


def _list_of_ids(request: RequestSection, folder: Path) -> list[Problem]:
    if not request.forget:
        return []
    path = folder / request.forget
    if not is_there(path) or not path.is_file():
        return [Problem("request.forget", f"there is no file {request.forget}")]
    return attempt("request.forget", lambda: read_ids(path))


def is_there(path: Path) -> bool:
    """Say whether there is a file or folder; a name that no system can hold names none."""
    try:
        return path.exists()
    except (OSError, ValueError):
        return False


def _files(place: str, section: Section, keys: Sequence[str], folder: Path) -> list[Problem]:
    """Check that files or folders exist, under names that can stand in a signed statement."""
    problems = []
    for key in keys:
        name = getattr(section, key)
        if name is None:
            continue
        path = folder / name
        if not is_there(path):
            problems.append(Problem(f"{place}.{key}", f"there is no file {name}"))
        elif not SUBJECT.fullmatch(path.name):
            message = "expected a name of at most 100 letters, digits, dots, dashes and "
            message += f"underscores, which the report can print; rename {path.name!r}"
            problems.append(Problem(f"{place}.{key}", message))
    return problems


def battery_problems(battery: BatterySection, *, made: bool) -> list[Problem]:
    """Check the names of rule and attacks, and that experiments have a method to test.

    Args:
        battery: The section.
        made: Whether the audit makes the audited model itself.
    """
    problems = []
    if (battery.canary or battery.experiments) and not made:
        message = "experiments test a method; name it in a section [method], not model.unlearned"
        problems.append(Problem("battery", message))
    if battery.profile not in PROFILES:
        message = registry.unknown("profile", battery.profile, PROFILES)
        problems.append(Problem("battery.profile", message))
    for name in battery.attacks or []:
        problems += attempt("battery.attacks", partial(registry.get_card, name))
    return problems


def method_problems(section: MethodSection) -> list[Problem]:
    """Check the name of the method, then its preset, then its options."""
    preset = partial(registry.make_method, section.name, section.preset)
    return (
        attempt("method.name", lambda: registry.get_method(section.name))
        or attempt("method.preset", preset)
        or attempt("method.options", lambda: preset(section.options))
    )


def attempt(place: str, action: Callable[[], object]) -> list[Problem]:
    """Return what goes wrong in `action` as a problem at `place`."""
    try:
        action()
    except (ForgetAuditError, TypeError, ValueError, OSError) as error:
        return [Problem(place, str(error))]
    return []


def _looks(references: ReferencesSection, battery: BatterySection) -> list[Problem]:
    """Check that there can be several looks, if they are asked for."""
    profile = PROFILES.get(battery.profile)
    if not references.sequential or profile is None:
        return []
    try:
        Looks.of(profile, canary=battery.canary, most=references.retrained)
    except ValueError as error:
        return [Problem("references.retrained", str(error).removeprefix("retrained: "))]
    return []
