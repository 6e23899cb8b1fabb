"""Released folders, keys and ledgers that doors put changed files into; made once a process."""

from __future__ import annotations

import shutil
from functools import cache
from pathlib import Path

from forget_audit import trust as trust_files
from forget_audit.keys.signing import SigningKey
from forget_audit.trust import Trust
from tests.fixtures import attested
from tests.fuzz.scratch import scratch
from tests.ledger import books

OLDER = Path(__file__).resolve().parents[1] / "fixtures" / "older"


@cache
def older() -> Path:
    """The folder of an earlier version, whose signatures are the same in every run."""
    return Path(shutil.copytree(OLDER / "audit-0.1.0", scratch() / "older"))


@cache
def older_trust() -> Trust:
    """Whose it is."""
    return trust_files.load(OLDER / "trust-0.1.0.json")


@cache
def older_trust_file() -> bytes:
    """The same as a file."""
    return (OLDER / "trust-0.1.0.json").read_bytes()


@cache
def everybody() -> Trust:
    """Tool, reviewer and whoever keeps the ledger."""
    return attested.both().add_key(books.key())


@cache
def key() -> SigningKey:
    """The key of the ledger's keeper, which `everybody()` holds."""
    return books.key()


def together(source: Path, target: Path, name: str, data: bytes) -> Path:
    """Make a folder like `source` in which one file holds something else."""
    target.mkdir(exist_ok=True)
    for item in source.iterdir():
        if item.name != name:
            (target / item.name).hardlink_to(item)
    (target / name).write_bytes(data)
    return target
