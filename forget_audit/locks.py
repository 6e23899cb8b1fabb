"""One process at a time in a folder; a process that died holds nothing."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from forget_audit.errors import Busy
from forget_audit.faults import named

if sys.platform != "win32":
    import fcntl

log = logging.getLogger(__name__)

UNABLE = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)
LONGEST = 200  # bytes of what a holder says about itself


@contextmanager
def sole(path: Path, folder: Path) -> Iterator[None]:
    """Keep others out of `folder` while the body runs; the lock file is gone afterwards.

    The system lets go of it when its holder ends, however that comes.

    Args:
        path: The lock file.
        folder: What is worked in, for the message.

    Raises:
        Busy: If another process holds it, naming that process and since when.
        StorageError: If the lock file cannot be written.
    """
    if sys.platform == "win32":  # nobody is kept out
        yield
        return
    with named(folder):
        path.parent.mkdir(parents=True, exist_ok=True)
        held = _taken(path, folder)
    try:
        since = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        with named(path):
            os.ftruncate(held, 0)
            os.pwrite(held, f"process {os.getpid()} on {_machine()}, since {since}".encode(), 0)
        yield
    finally:
        with contextlib.suppress(OSError):  # it is let go in any case
            path.unlink()
        os.close(held)


def beside(folder: Path) -> Path:
    """Return the lock file of a folder that is replaced as a whole: it stands beside it."""
    place = folder.absolute()
    return place.with_name(f".{place.name}.lock")


def _taken(path: Path, folder: Path) -> int:
    """Return the open lock file, held; one that its holder removed meanwhile is not it."""
    while True:
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | getattr(os, "O_NOFOLLOW", 0)
        found = os.open(path, flags, 0o600)
        try:
            fcntl.flock(found, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.pread(found, LONGEST, 0).decode("utf-8", "replace") or "another process"
            os.close(found)
            raise Busy(
                f"{folder}: {holder} works there; wait until it has ended, stop it, or choose "
                "another folder"
            ) from error
        except OSError as error:
            if error.errno not in UNABLE:
                os.close(found)
                raise
            log.warning("%s: the file system knows no locks; nobody is kept out", path)
        if _stands(path, found):
            return found
        os.close(found)


def _stands(path: Path, held: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(held))
    except FileNotFoundError:
        return False


def _machine() -> str:
    return socket.gethostname() or "this machine"
