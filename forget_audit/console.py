"""What people see in a terminal: progress on standard error, answers on standard output."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

import typer
from rich.console import Console

from forget_audit.errors import KeyFileError

PASSPHRASE = "FORGET_AUDIT_PASSPHRASE"
ERRORS = Console(stderr=True, highlight=False, soft_wrap=True)
ANSWERS = Console(highlight=False, soft_wrap=True)


class Bars:
    """Progress bars with time left; nothing at all when standard error is no terminal."""

    @contextmanager
    def stage(self, name: str, total: int) -> Iterator[Callable[[int], None]]:
        """Show a bar of `total` steps while the body runs; yield a function that moves it on."""
        from rich import progress

        columns = (
            progress.TextColumn("{task.description:<22}"),
            progress.BarColumn(),
            progress.MofNCompleteColumn(),
            progress.TimeRemainingColumn(compact=True),
        )
        shown = sys.stderr.isatty()
        with progress.Progress(*columns, console=ERRORS, transient=True, disable=not shown) as bars:
            task = bars.add_task(name, total=total)
            yield lambda steps: bars.advance(task, steps)


def say(text: str) -> None:
    """Write a line of an answer to standard output, without interpreting markup."""
    ANSWERS.print(text, markup=False)


def complain(text: str) -> None:
    """Write a line to standard error, without interpreting markup."""
    ERRORS.print(text, markup=False)


def say_json(value: Any) -> None:
    """Write JSON alone to standard output."""
    sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def end_with(broken: Iterable[str]) -> NoReturn:
    """End a command: a line on standard error for all that broke, and exit code 4 if any did."""
    lines = list(broken)
    for line in lines:
        complain(line)
    raise typer.Exit(4 if lines else 0)


def ask_passphrase() -> str:
    """Return the passphrase or PIN of the signing key: from the environment, or asked for.

    Raises:
        KeyFileError: If there is neither the variable nor a terminal.
    """
    given = os.environ.get(PASSPHRASE)
    if given is not None:
        return given
    if not sys.stdin.isatty():
        raise KeyFileError(
            f"the signing key has a passphrase or PIN; set {PASSPHRASE}, or run in a terminal"
        )
    return str(typer.prompt("passphrase or PIN of the signing key", hide_input=True, err=True))
