"""The distributions that this package needs, and those that they need, as installed here."""

import tomllib
from collections.abc import Iterable, Mapping
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import NormalizedName, canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
TOOLS = ("dev", "docs", "fuzz")


class NotInstalled(Exception):
    """A distribution that is needed is not in this environment."""


def project() -> dict[str, Any]:
    """Return the table `project` of pyproject.toml."""
    found: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    return found


def extras() -> tuple[str, ...]:
    """Return the extras that users install; those for working on the project are left out."""
    return tuple(name for name in project()["optional-dependencies"] if name not in TOOLS)


def direct(groups: Iterable[str] = ()) -> list[Requirement]:
    """Return what the package itself asks for, sorted by name.

    Args:
        groups: Extras whose requirements are wanted too.
    """
    table = project()
    lines = [*table["dependencies"]]
    lines += [line for name in groups for line in table["optional-dependencies"][name]]
    return sorted((Requirement(line) for line in set(lines)), key=lambda one: one.name.lower())


def closure(needed: Iterable[Requirement]) -> dict[NormalizedName, Distribution]:
    """Return the distributions that are needed, and those that they need, by name.

    Raises:
        NotInstalled: With the name, and what asked for it.
    """
    found: dict[NormalizedName, Distribution] = {}
    done: set[tuple[str, frozenset[str]]] = set()
    waiting = [(one, "this package") for one in needed]
    while waiting:
        wanted, asker = waiting.pop()
        name, options = canonicalize_name(wanted.name), frozenset(wanted.extras)
        if (name, options) in done:
            continue
        done.add((name, options))
        try:
            found[name] = distribution(wanted.name)
        except PackageNotFoundError as error:
            raise NotInstalled(f"{wanted.name} is not installed; {asker} needs it") from error
        waiting += [(one, name) for one in required(found[name], options)]
    return dict(sorted(found.items()))


def required(found: Distribution, options: Iterable[str] = ()) -> list[Requirement]:
    """Return what a distribution asks for on this machine, with these extras of its own."""
    lines = [Requirement(line) for line in found.requires or []]
    return [line for line in lines if _counts(line, ["", *options])]


def _counts(line: Requirement, options: Iterable[str]) -> bool:
    marker = line.marker
    return marker is None or any(marker.evaluate({"extra": option}) for option in options)


def versions(found: Mapping[NormalizedName, Distribution]) -> dict[str, str]:
    """Return the versions by name."""
    return {name: one.version for name, one in found.items()}
