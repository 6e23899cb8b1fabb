"""Files that are there as a whole or not at all."""

import contextlib
import os
from pathlib import Path

from forget_audit.faults import named


def write_whole(path: Path, data: bytes, *, shared: bool = False) -> None:
    """Write a file that its owner alone can read: beside its place, and moved there.

    Whoever is killed leaves no half of it.

    Args:
        path: Its folder is made if there is none, for the owner alone.
        data: The content.
        shared: Whether other processes may write the same file at the same time.

    Raises:
        StorageError: If the system refuses; what stood there before still does.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}") if shared else part_of(path)
    with named(path):
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        _write(path, part, data, 0o600)


def write_output(path: Path, data: bytes | str) -> None:
    """Write a file for whoever the user's settings let read it, whole or not at all.

    Args:
        path: Its folder is made if there is none. A link, or what is no file such as a terminal,
            is written to where it leads.
        data: The content; text is written as UTF-8.

    Raises:
        StorageError: If the system refuses; what stood there before still does.
    """
    content = data.encode("utf-8") if isinstance(data, str) else data
    with named(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists() and not path.is_file():
            path.write_bytes(content)
            return
        place = path.resolve()
        _write(place, place.with_name(f".{place.name[:200]}.part"), content, 0o666)


def part_of(path: Path) -> Path:
    """Return where a file is while it is being written."""
    return path.with_suffix(".part")


def _write(path: Path, part: Path, data: bytes, mode: int) -> None:
    try:
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
        part.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            part.unlink()
        raise
