"""Files that are there as a whole or not at all, and that their owner alone can read."""

import os
from pathlib import Path


def write_whole(path: Path, data: bytes) -> None:
    """Write a file beside its place and move it there: whoever is killed leaves no half of it.

    Args:
        path: Its folder is made if there is none, for the owner alone.
        data: The content.
    """
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    part = part_of(path)
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
    part.replace(path)


def part_of(path: Path) -> Path:
    """Return where a file is while it is being written."""
    return path.with_suffix(".part")
