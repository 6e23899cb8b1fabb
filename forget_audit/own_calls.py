"""Calls of the user's own code: what it leaves behind is put back, and its end is not ours."""

from __future__ import annotations

import contextlib
import io
import os
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType

import numpy as np

from forget_audit import stopping


class EndedItself(Exception):
    """Code of the user's own tried to end the process."""


@contextmanager
def guarded() -> Iterator[None]:
    """Run code of the user's own: nothing that it sets outlives it.

    Put back are the working folder, what happens on signals and warnings, NumPy's answer to odd
    numbers, and PyTorch's default type and device, threads, gradients and choice of algorithms.
    NumPy's and Python's global generators are left alone: nothing of ours draws from them, and
    models that do would all get the same draws. What is printed goes to standard error, since
    standard output holds the answer.

    Raises:
        EndedItself: In the place of `SystemExit`, which would end the audit with a code of the
            user's choice, and of a `KeyboardInterrupt` that nobody asked for.
    """
    with ExitStack() as stack:
        stack.enter_context(_folder())
        stack.enter_context(_numbers())
        stack.enter_context(_torch())
        if threading.current_thread() is threading.main_thread():
            stack.enter_context(stopping.unchanged())
            stack.enter_context(warnings.catch_warnings())
            stack.enter_context(contextlib.redirect_stdout(_Aside()))
        try:
            yield
        except SystemExit as error:
            found = EndedItself(f"it called sys.exit({error.code!r})")
            raise found.with_traceback(error.__traceback__) from error
        except KeyboardInterrupt as error:
            if not stopping.watching():
                raise
            found = EndedItself("it raised KeyboardInterrupt")
            raise found.with_traceback(error.__traceback__) from error
        stopping.check()


def place_of(error: BaseException, file: str | None = None) -> str:
    """Return the line of the user's own code where an error arose; empty if none is known.

    Args:
        error: As it was caught.
        file: The file of the code that was called; if left out, the last one outside of this
            package, which is named then.
    """
    ours = str(Path(__file__).resolve().parent)
    found = ""
    step: TracebackType | None = error.__traceback__
    while step is not None:
        name = step.tb_frame.f_code.co_filename
        mine = name == file if file else not name.startswith((ours, "<frozen"))
        if mine and Path(name).suffix == ".py":
            found = f"line {step.tb_lineno}" + ("" if file else f" of {Path(name).name}")
        step = step.tb_next
    return found


class _Aside(io.TextIOBase):
    """What is written here goes to standard error; to close it changes nothing."""

    def write(self, text: str) -> int:
        return sys.stderr.write(text)

    def flush(self) -> None:
        sys.stderr.flush()

    def writable(self) -> bool:
        return True


@contextmanager
def _folder() -> Iterator[None]:
    before = Path.cwd()
    try:
        yield
    finally:
        with contextlib.suppress(FileNotFoundError):
            if Path.cwd() != before:
                os.chdir(before)


@contextmanager
def _numbers() -> Iterator[None]:
    before = np.geterr()
    try:
        yield
    finally:
        np.seterr(**before)


@contextmanager
def _torch() -> Iterator[None]:
    import torch  # what reads reports does without it

    kind, device = torch.get_default_dtype(), torch.get_default_device()
    threads, learning = torch.get_num_threads(), torch.is_grad_enabled()
    strict = torch.are_deterministic_algorithms_enabled()
    lenient = torch.is_deterministic_algorithms_warn_only_enabled()
    try:
        yield
    finally:
        torch.set_default_dtype(kind)
        if torch.get_default_device() != device:
            torch.set_default_device(device)
        if torch.get_num_threads() != threads:
            torch.set_num_threads(threads)
        torch.set_grad_enabled(learning)
        if (
            torch.are_deterministic_algorithms_enabled() != strict
            or torch.is_deterministic_algorithms_warn_only_enabled() != lenient
        ):
            torch.use_deterministic_algorithms(strict, warn_only=lenient)
