"""How a command ends: with its answer, with an error in words, or because it was told to stop."""

from __future__ import annotations

import atexit
import logging
import os
import shlex
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Collection
from pathlib import Path

from forget_audit import stopping, supervision
from forget_audit.console import ReaderGone, complain, flush
from forget_audit.errors import ForgetAuditError, KeyFileError, PlanError
from forget_audit.faults import (
    gpu_error,
    gpu_lost,
    memory_error,
    out_of_memory,
    storage_error,
)

FAILED, USAGE, READER_GONE = 4, 2, 141
REMEMBERING = frozenset({"certify", "demo", "stress", "unlearn", "reproduce", "power"})
CRASHES = frozenset(
    getattr(signal, name)
    for name in ("SIGSEGV", "SIGABRT", "SIGBUS", "SIGFPE", "SIGILL", "SIGSYS", "SIGTRAP")
    if hasattr(signal, name)
)
PATIENCE_S = 2.0


def code_of(command: Callable[[], object]) -> int:
    """Run a command to its end, however that comes, and return its exit code."""
    try:
        with stopping.heeded():
            code = _code_of(command)
    except stopping.Stopped:  # between the command's end and here
        code = _stopped()
    try:
        flush()
    except ReaderGone:
        return READER_GONE
    except ForgetAuditError as error:
        complain(str(error))
        return code or FAILED
    return code


def end(code: int, before: Collection[threading.Thread] = ()) -> None:
    """Leave with an exit code, also if something that a user's own code began goes on for ever.

    Args:
        code: The exit code.
        before: Threads that were there before the command began: they are none of its business.
    """
    supervision.tell(code)
    if stopping.asked() is not None or _someone_stays(before):
        stopping.end_children()
        logging.shutdown()
        for stream in (sys.stdout, sys.stderr):
            if not stream.closed:
                stream.flush()
        if _others(before):
            atexit._run_exitfuncs()
            os._exit(code)  # threads in foreign code crash a process that takes itself apart
    sys.exit(code)


def vanished(code: int, asked: int | None) -> int:
    """Say how a process ended that was to do the work and left no word; return the exit code.

    Args:
        code: Its exit code, negative if it died of a signal.
        asked: The signal that it was told to stop by, if it was.
    """
    number = -code if asked is None else asked
    if asked is None and code >= 0:
        complain(
            f"code of your own, or a library, ended the program with code {code} in the middle of "
            "its work, which is no answer: look for os._exit, exec, exit() in C and STOP in "
            f"Fortran, and return or raise an error instead. {_onward()}"
        )
        return FAILED
    if number in CRASHES:
        complain(
            f"code of your own, or a library, crashed the program ({signal.Signals(number).name}), "
            f"which is no answer. {_onward()}"
        )
        return FAILED
    if number == signal.SIGKILL:
        complain(f"the program was killed, as systems do when memory runs out. {_onward()}")
    else:
        complain(f"stopped by {stopping.word_for(number)}. {_onward()}")
    return stopping.code_of(number)


def _code_of(command: Callable[[], object]) -> int:
    try:
        command()
    except SystemExit as stop:
        known = stop.code if isinstance(stop.code, int) else 0 if stop.code is None else FAILED
        return _stopped() if stopping.asked() is not None else known
    except stopping.Stopped:
        return _stopped()
    except ReaderGone:
        return _unread()
    except BaseException as error:  # noqa: BLE001  a fault of ours may be anything, and is no FAIL
        return _stopped() if stopping.asked() is not None else _failed(error)
    return 0


def _failed(error: BaseException) -> int:
    """Say what went wrong and return the exit code."""
    if isinstance(error, PlanError):
        complain(f"the {error.subject} has {len(error.problems)} problem(s):")
        for problem in error.problems:
            complain(f"  {problem}")
        return USAGE
    if isinstance(error, ForgetAuditError):
        complain(str(error))
        return USAGE if isinstance(error, KeyFileError) else FAILED
    if isinstance(error, KeyboardInterrupt):  # not in the main thread, or raised by hand
        complain("stopped")
        return stopping.code_of(2)
    if out_of_memory(error):
        complain(str(memory_error("this")))
    elif gpu_lost(error):
        complain(str(gpu_error(error)))
    elif isinstance(error, OSError):
        complain(str(storage_error(error)))
    else:
        complain("".join(traceback.format_exception(error)).rstrip())
        complain("this is a fault of forget-audit and says nothing about the model; please report")
    return FAILED


def _stopped() -> int:
    """Say how to go on after being told to stop, and return the exit code."""
    number = stopping.asked()
    if number is None:
        return FAILED
    complain(f"stopped by {stopping.word_for(number)}. {_onward()}")
    return stopping.code_of(number)


def _onward() -> str:
    """Return the command that goes on, as a shell takes it."""
    given = [word for word in sys.argv[1:] if word != "--fresh"]  # that would go on with nothing
    command = shlex.join(["forget-audit", *given])
    if sys.argv[1:2] and sys.argv[1] in REMEMBERING:
        return f"What was finished is kept; to go on: {command}"
    return f"To begin again: {command}"


def _unread() -> int:
    """Let nothing more be said to whoever went away."""
    with Path(os.devnull).open("w", encoding="utf-8") as nowhere:
        os.dup2(nowhere.fileno(), sys.stdout.fileno())
    return READER_GONE


def _someone_stays(before: Collection[threading.Thread]) -> bool:
    """Say whether threads that nobody waits for would keep this process from ending."""
    deadline = time.monotonic() + PATIENCE_S
    others = [thread for thread in _others(before) if not thread.daemon]
    for thread in others:
        thread.join(max(0.0, deadline - time.monotonic()))
    return any(thread.is_alive() for thread in others)


def _others(before: Collection[threading.Thread]) -> set[threading.Thread]:
    return set(threading.enumerate()) - {*before, threading.main_thread()}
