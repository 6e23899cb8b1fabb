"""The folder of a run: what its files are called, and how it is replaced as a whole."""

import contextlib
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

from forget_audit.digests import file_digest
from forget_audit.errors import ForgetAuditError, VerificationError
from forget_audit.faults import named
from forget_audit.reports.attestation import named_subjects

PAGE, PDF, RECEIPT_PAGE, RECEIPT = "report.html", "report.pdf", "receipt.html", "receipt.pdf"
EVIDENCE, SCORES, AUDIT, RELEASE = (
    "evidence.json", "scores.npz", "audit.dsse.json", "release.dsse.json",
)  # fmt: skip
REVIEW, PURGE = "review.dsse.json", "purge.dsse.json"
OURS = frozenset(
    {EVIDENCE, SCORES, AUDIT, RELEASE, PAGE, PDF, RECEIPT_PAGE, RECEIPT, REVIEW, PURGE}
)
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


def refuse_foreign(directory: Path) -> None:
    """Refuse a folder with files that no release made, so that nothing of the user's is lost.

    Raises:
        ForgetAuditError: Naming some of them.
    """
    if not directory.exists():
        return
    if not directory.is_dir() or directory.is_symlink():
        raise ForgetAuditError(f"{directory}: not a folder")
    present = {item.name for item in directory.iterdir()}
    foreign = sorted(present - OURS - _listed(directory / RELEASE))
    if foreign:
        raise ForgetAuditError(
            f"{directory}: holds files that no release made ({', '.join(foreign[:3])}); choose "
            "another folder"
        )


def _listed(path: Path) -> set[str]:
    """Return the names an earlier release lists; whether it is genuine does not matter here."""
    with contextlib.suppress(OSError, VerificationError):
        return set(named_subjects(path.read_bytes()))
    return set()


@contextlib.contextmanager
def staged(target: Path) -> Iterator[Path]:
    """Yield an empty folder that takes the place of `target` at the end, or leaves no trace."""
    staging = target.parent / f".{target.name}.{secrets.token_hex(4)}"
    with named(target):
        staging.mkdir(parents=True)
    try:
        yield staging
        with named(target):
            _move(staging, target)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def write(path: Path, content: bytes | Path) -> str:
    """Write a file to disk, through to the medium, and return its SHA-256.

    Raises:
        StorageError: If the system refuses.
    """
    with named(path):
        if isinstance(content, Path):
            shutil.copyfile(content, path)
        else:
            path.write_bytes(content)
        with path.open("rb") as file:
            os.fsync(file.fileno())
        return file_digest(path)


def _move(staging: Path, target: Path) -> None:
    """Put the finished folder in place; an earlier release goes only once the new one stands."""
    if not target.exists():
        staging.rename(target)
        return
    old = target.parent / f"{staging.name}.old"
    target.rename(old)
    try:
        staging.rename(target)
    except OSError:
        old.rename(target)
        raise
    shutil.rmtree(old)
