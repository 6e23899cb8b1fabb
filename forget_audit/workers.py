"""Worker processes that end when their master does, and whose death is told in plain words."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, partial
from typing import ParamSpec, TypeVar

from joblib.externals.loky.process_executor import BrokenProcessPool

from forget_audit.errors import MachineError
from forget_audit.faults import KEPT

EVERY_S = 1.0
_Given = ParamSpec("_Given")
_Result = TypeVar("_Result")


def served(function: Callable[_Given, _Result]) -> Callable[_Given, _Result]:
    """Return `function` as a worker process is to call it.

    A worker leaves Ctrl-C to its master, which ends it; and it ends by itself soon after a master
    that was killed, where joblib's would wait for minutes.

    Args:
        function: Found by name in the other process.
    """
    return partial(_serve, os.getpid(), function)


@contextmanager
def overseen() -> Iterator[None]:
    """Run the body, which waits for workers; that one died is told in plain words.

    Raises:
        MachineError: If one did.
    """
    try:
        yield
    except BrokenProcessPool as error:
        raise MachineError(
            "a worker process ended in the middle of its work: the system kills processes when "
            "memory runs out, and code of your own may end its process or crash it; use fewer "
            f"--workers, and look at what the code does; {KEPT}"
        ) from error


def _serve(
    master: int, function: Callable[_Given, _Result], *args: _Given.args, **kwargs: _Given.kwargs
) -> _Result:
    if os.getpid() != master:
        _follow(master)
    return function(*args, **kwargs)


@cache
def _follow(master: int) -> None:
    """Begin, once a process, to watch for the end of the master."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_after, args=(master,), daemon=True).start()


def _end_after(master: int) -> None:
    while os.getppid() == master:
        time.sleep(EVERY_S)
    os._exit(1)
