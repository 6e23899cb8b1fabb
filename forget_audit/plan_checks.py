"""Checks of single sections of a plan: each returns its problems with their places."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from forget_audit import registry
from forget_audit.data import read_ids
from forget_audit.errors import ForgetAuditError, Problem

if TYPE_CHECKING:
    from forget_audit.sections import MethodSection, RequestSection


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
    if request.forget:
        path = folder / request.forget
        if path.is_file():
            problems += attempt("request.forget", lambda: read_ids(path))
        else:
            problems.append(Problem("request.forget", f"there is no file {request.forget}"))
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
