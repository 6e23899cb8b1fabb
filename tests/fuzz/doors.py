"""What a door is: a place where bytes of others come in, and what may come of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from forget_audit.errors import ForgetAuditError

# What `enter` returns where changed bytes were accepted and say the same: another order of
# keys, an unread byte in a ZIP's header. `must_refuse` does not mind it.
SAME = "changed bytes of the same meaning"


class Refused(ForgetAuditError):
    """What a door raises that says no by an answer and not by an error."""


@dataclass(frozen=True, kw_only=True)
class Door:
    """A place where bytes of others come in.

    Args:
        name: Short, fit for a folder's name.
        seeds: Makes good inputs; called once a run, in the parent of the worker.
        enter: Gets bytes and an empty folder. It returns, or raises a `ForgetAuditError`;
            whatever else escapes is a finding.
        suffix: How the file's name ends; chooses the mutations that know the form: `.json`,
            `.toml`, `.csv`, `.npz`, `.zip`, `.safetensors`; others are mutated as bytes.
        dictionary: Tokens of the form that mutations put in.
        must_refuse: Whether any bytes but the seeds' must be refused; accepting others is
            a finding, but where `enter` returns `SAME`.
        share: How many cases it gets beside doors of share 1; slow doors have less.
    """

    name: str
    seeds: Callable[[], Sequence[bytes]]
    enter: Callable[[bytes, Path], object]
    suffix: str = ""
    dictionary: tuple[bytes, ...] = ()
    must_refuse: bool = False
    share: float = 1.0


def all_doors() -> tuple[Door, ...]:
    """Return every door, by name.

    Raises:
        ValueError: If two have one name.
    """
    from tests.fuzz import data_doors, trust_doors

    doors = tuple(sorted((*trust_doors.DOORS, *data_doors.DOORS), key=lambda door: door.name))
    names = [door.name for door in doors]
    if len(set(names)) < len(names):
        raise ValueError(f"two doors of one name among {names}")
    return doors


def chosen(names: Sequence[str] | None) -> list[Door]:
    """Return the doors of these names, or all.

    Raises:
        SystemExit: If there is no such door.
    """
    doors = all_doors()
    unknown = set(names or ()) - {door.name for door in doors}
    if unknown:
        there = ", ".join(door.name for door in doors)
        raise SystemExit(f"no door {', '.join(sorted(unknown))}; there are {there}")
    return [door for door in doors if not names or door.name in names]
