"""One process does the work, and the one that was started waits for it and knows how it ended.

Code of others runs within an audit. If it ends its process, the exit code is of its choice, and 0
would be read as a PASS. So the process that works says how it ends before it ends, and the one that
waits believes nothing else.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys

TYPE_CHECKING = False  # what is imported here is imported before Ctrl-C counts
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import FrameType

    Vanished = Callable[[int, int | None], int]

SAME_S = 1.0  # `timeout` sends a signal to a process and then to its group; machines are busy
HIGH = 100  # whoever names an open file by its number, such as 3, does not mean one of ours
LONGEST = 64

_voice: list[tuple[int, int]] = []


def heed_early() -> None:
    """End without a word when told to stop, until something is there that could say one."""
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _leave)


def divide(vanished: Vanished) -> None:
    """Return in a new process; this one waits for it, passes signals on and ends as it says.

    Args:
        vanished: Called if the new process ended without a word, with its exit code, negative if it
            died of a signal, and the signal that this one was told to stop by, if it was. Returns
            the exit code.

    Raises:
        OSError: If the system starts no more processes.
    """
    from threading import Thread

    from forget_audit import stopping

    hearing, voice = _pipe()
    life, hold = _pipe()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # ignored, it takes the exit code away
    before = signal.pthread_sigmask(signal.SIG_BLOCK, stopping.HEEDED)
    child = os.fork()
    if child:
        os.close(voice)
        os.close(life)
        sys.exit(_wait(child, hearing, before, vanished))
    os.close(hearing)
    os.close(hold)
    _voice.append((os.getpid(), voice))
    stopping.be_overseen()
    Thread(target=_end_with, args=(life,), daemon=True).start()
    signal.pthread_sigmask(signal.SIG_SETMASK, before)


def tell(code: int) -> None:
    """Say how this process will end to the one that waits for it, if one does; once counts."""
    for process, voice in _voice:
        if process == os.getpid():  # and no copy of it that code of the user's own made
            with contextlib.suppress(OSError):
                os.write(voice, b"%d\n" % code)


def _leave(number: int, _frame: FrameType | None) -> None:
    tell(128 + number)
    os._exit(128 + number)


def _wait(child: int, hearing: int, before: Iterable[int], vanished: Vanished) -> int:
    """Wait for the end of the process that works, and return the exit code."""
    import time

    from forget_audit import stopping

    asked: list[tuple[int, float]] = []

    def pass_on(number: int, _frame: FrameType | None) -> None:
        if not asked:
            asked.append((number, time.monotonic()))
            stopping.send(child, number)
        elif time.monotonic() - asked[0][1] > SAME_S:
            stopping.end_at_once(number, child)

    for number in stopping.HEEDED:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, pass_on)
    signal.pthread_sigmask(signal.SIG_SETMASK, before)
    _, status = os.waitpid(child, 0)
    os.set_blocking(hearing, False)  # a process that the child left behind may hold the other end
    with contextlib.suppress(BlockingIOError):
        said, complete, _ = os.read(hearing, LONGEST).partition(b"\n")
        if complete:
            return int(said)
    return vanished(os.waitstatus_to_exitcode(status), asked[0][0] if asked else None)


def _end_with(life: int) -> None:
    """End when the process that waits does, which alone holds the other end and writes nothing."""
    os.read(life, 1)
    os._exit(128 + signal.SIGKILL)


def _pipe() -> tuple[int, int]:
    import fcntl

    ends = os.pipe()
    high = [fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, HIGH) for end in ends]
    for end in ends:
        os.close(end)
    return high[0], high[1]
