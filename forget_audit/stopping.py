"""Being told to stop: once is heeded in good order, twice at once; no process is left behind."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import NoReturn

HEEDED = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
)
WORDS = {"SIGINT": "Ctrl-C", "SIGTERM": "a request to end (SIGTERM)", "SIGHUP": "a hang-up"}
PATIENCE_S = 3.0
TRACKER = b"resource_tracker"  # it removes what a dead process shared, and then ends by itself

_asked: list[int] = []
_installed: list[int] = []
_overseen: list[bool] = []


class Stopped(BaseException):
    """This process was told to stop. Nothing that handles errors is to catch it."""


@contextmanager
def heeded() -> Iterator[None]:
    """Raise `Stopped` within the body when this process is told to stop; twice ends it at once.

    Signals that whoever started this process had it ignore stay ignored, as `nohup` means it.
    Outside the main thread nothing is changed.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in HEEDED}
    taken = {number: kept for number, kept in before.items() if kept is not signal.SIG_IGN}
    _asked.clear()
    for number in taken:
        signal.signal(number, _heed)
    _installed.extend(taken)
    try:
        yield
    finally:
        _installed.clear()
        for number, kept in taken.items():
            signal.signal(number, kept)


def asked() -> int | None:
    """Return the signal that told this process to stop, if one did."""
    return _asked[0] if _asked else None


def watching() -> bool:
    """Say whether signals are heeded here, so that a `KeyboardInterrupt` is none of the user's."""
    return bool(_installed)


def check() -> None:
    """Stop here if this process was told to and something swallowed it.

    Raises:
        Stopped: If it was.
    """
    if _asked and _installed:
        raise Stopped(_asked[0])


def be_overseen() -> None:
    """Leave it to the process that waits for this one to end it when it is told again.

    Ctrl-C goes to both, and the other passes on what it hears, so that one request comes twice.
    """
    _overseen.append(True)


@contextmanager
def unchanged() -> Iterator[None]:
    """Put back what happens on signals after the body, also if C code changed it unseen."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in HEEDED}
    try:
        yield
    finally:
        for number, kept in before.items():
            if kept is not None:
                signal.signal(number, kept)


def code_of(number: int) -> int:
    """Return the exit code of a process that a signal stopped, as shells have it."""
    return 128 + number


def word_for(number: int) -> str:
    """Return what people call a signal."""
    name = signal.Signals(number).name
    return WORDS.get(name, name)


def end_children() -> None:
    """End all processes that this one started, and those that they started.

    They are asked first, and killed if they take too long.
    """
    waiting = descendants(os.getpid())
    for child in waiting:
        send(child, signal.SIGTERM)
    end = time.monotonic() + PATIENCE_S
    while waiting and time.monotonic() < end:
        multiprocessing.active_children()  # takes leave of those that ended
        waiting = [child for child in waiting if _alive(child)]
        time.sleep(0.02)
    for child in waiting:
        send(child, signal.SIGKILL)


def end_at_once(number: int, *children: int) -> NoReturn:
    """Kill all processes that this one started, and end as one that a signal stopped."""
    for child in (*descendants(os.getpid()), *children):
        send(child, signal.SIGKILL)
    os._exit(code_of(number))


def send(process: int, number: int) -> None:
    """Send a signal to a process, if it is there."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(process, number)


def descendants(parent: int) -> list[int]:
    """Return the ids of the processes below `parent`; of direct children alone without Linux."""
    found: list[int] = []
    try:
        lists = [
            file.read_text("ascii") for file in Path(f"/proc/{parent}/task").glob("*/children")
        ]
    except OSError:  # it ended meanwhile
        return []
    children = [int(number) for text in lists for number in text.split()]
    if not lists and parent == os.getpid():
        children = [child.pid for child in multiprocessing.active_children() if child.pid]
    for child in children:
        if not _tracker(child):
            found += [*descendants(child), child]
    return found


def _heed(number: int, _frame: FrameType | None) -> None:
    """Stop in good order at first, and at once when told again."""
    again = bool(_asked)
    _asked.append(number)
    if not again:
        raise Stopped(number)
    if not _overseen:
        end_at_once(number)


def _tracker(child: int) -> bool:
    try:
        return TRACKER in Path(f"/proc/{child}/cmdline").read_bytes()
    except OSError:
        return False


def _alive(child: int) -> bool:
    try:
        state = Path(f"/proc/{child}/stat").read_text("utf-8", "replace").rpartition(")")[2].split()
    except OSError:
        return False
    return state[0] not in ("Z", "X")
