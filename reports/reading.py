"""Reading files that others may have made: regular ones of bounded size, nothing else."""

import stat
from pathlib import Path

from forget_audit.errors import VerificationError

LARGEST = 512 * 1024 * 1024


def read(path: Path) -> bytes:
    """Return what a file holds.

    Raises:
        VerificationError: If it is no regular file, or too large.
        OSError: If it is missing or cannot be read.
    """
    refuse_irregular(path)
    refuse_large(path)
    return path.read_bytes()


def refuse_large(path: Path) -> None:
    """Refuse a file that is larger than any that is read as a whole.

    Raises:
        VerificationError: If it is.
        OSError: If it is missing.
    """
    if path.stat().st_size > LARGEST:
        raise VerificationError(f"larger than {LARGEST // 2**20} MiB")


def refuse_irregular(path: Path) -> None:
    """Refuse whatever is no regular file itself: links, folders, pipes.

    Raises:
        VerificationError: If it is one of those.
        OSError: If it is missing.
    """
    if not stat.S_ISREG(path.lstat().st_mode):
        raise VerificationError("not a regular file (links and folders are refused)")
