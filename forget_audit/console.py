"""What people see in a terminal: progress on standard error, answers on standard output."""

from __future__ import annotations

import contextlib
import json
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import typer
from rich.console import Console

from forget_audit import stopping
from forget_audit.errors import KeyFileError
from forget_audit.faults import storage_error

PASSPHRASE = "FORGET_AUDIT_PASSPHRASE"  # noqa: S105  the name of a variable
# Control characters but tabulator and line end, and those that change the order of letters.
_COMMANDS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")


class ReaderGone(BaseException):
    """Whoever read standard output went away, such as `head`, which is no error of ours."""


class _Console(Console):
    def on_broken_pipe(self) -> None:
        """Raise what happened, where rich would end the process with a code that means FAIL."""
        raise ReaderGone


ERRORS = _Console(stderr=True, highlight=False, soft_wrap=True)
ANSWERS = _Console(highlight=False, soft_wrap=True)


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

            def step(steps: int) -> None:
                stopping.check()
                bars.advance(task, steps)

            yield step


def say(text: str) -> None:
    """Write a line of an answer to standard output, without interpreting markup."""
    with _answering():
        ANSWERS.print(harmless(text), markup=False)


def complain(text: str) -> None:
    """Write a line to standard error, without interpreting markup; who cannot hear it, does not."""
    with contextlib.suppress(OSError, ValueError, ReaderGone):
        ERRORS.print(harmless(text), markup=False)


def harmless(text: str) -> str:
    """Return a text that says to a terminal what its letters say, and does nothing there.

    Names in the files of others may hold codes that delete the line above and write another one,
    or turn around the order of letters. They are shown as codes.
    """
    return _COMMANDS.sub(lambda found: ascii(found[0])[1:-1], text)


def say_json(value: Any) -> None:
    """Write JSON alone to standard output."""
    say_bytes(json.dumps(value, indent=2, ensure_ascii=False).encode() + b"\n")


def say_bytes(data: bytes) -> None:
    """Write bytes as they are to standard output."""
    with _answering():
        sys.stdout.flush()
        binary = getattr(sys.stdout, "buffer", None)
        if binary is None:  # a notebook or a test has put something else there
            sys.stdout.write(data.decode())
        else:
            binary.write(data)


def flush() -> None:
    """Hand over all that was said, and notice if that fails.

    Raises:
        ReaderGone: If nobody reads any more.
        StorageError: If standard output is a file and the disk is full.
    """
    with _answering():
        sys.stdout.flush()


@contextmanager
def _answering() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError as error:
        raise ReaderGone from error
    except OSError as error:
        raise storage_error(error, Path("standard output")) from error


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
    question = "passphrase or PIN of the signing key"
    try:
        return str(typer.prompt(question, hide_input=True, err=True))
    except typer.Abort as error:  # the end of the input; typer would end with the code of a FAIL
        raise KeyFileError(f"no answer to: {question}") from error


def confirmed(question: str) -> bool:
    """Ask for a yes; no answer is none."""
    try:
        return typer.confirm(harmless(question), err=True)
    except typer.Abort:
        return False
