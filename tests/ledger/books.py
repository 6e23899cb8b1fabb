"""A ledger made once a test run, copies to attack, and the attacker's tools."""

import atexit
import json
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import cache
from pathlib import Path

from forget_audit.keys.signing import SigningKey
from forget_audit.ledger import checkpoints, merkle
from forget_audit.ledger.entries import first_link, leaf_of, link
from forget_audit.ledger.ledger import Ledger
from forget_audit.trust import Trust
from forget_audit.types import Json

SIZE = 24


@cache
def key() -> SigningKey:
    """The key of whoever keeps the ledger."""
    return SigningKey.create("Example Auditor", "Example Controller Ltd")


@cache
def trust() -> Trust:
    """A trust file that holds that key."""
    return Trust().add_key(key())


@cache
def stranger() -> SigningKey:
    """A key that nobody trusts."""
    return SigningKey.create("Somebody Else")


def report(number: int) -> str:
    return f"FA-20261121-{number:06X}"


def issue(number: int) -> Json:
    """The body of an entry on a report issued."""
    return {"report": report(number), "files": {"evidence.json": f"{number:064x}"}}


@cache
def book() -> Path:
    """A ledger of 24 entries; never change it."""
    folder = Path(tempfile.mkdtemp(prefix="forget-audit-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    ledger = Ledger.open(folder / "ledger.sqlite")
    for number in range(SIZE):
        ledger.append("audit-issued", issue(number), key())
    return ledger.path


def copied(target: Path, source: Path | None = None) -> Ledger:
    """A copy that may be changed."""
    shutil.copy(source or book(), target)
    return Ledger.open(target, create=False)


@contextmanager
def unguarded(path: Path) -> Iterator[sqlite3.Connection]:
    """Take the triggers away, and put them back as an attacker who knows the program would."""
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("PRAGMA synchronous = OFF")
        db.execute("BEGIN")
        triggers = db.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'")
        for name, _ in (found := triggers.fetchall()):
            db.execute(f"DROP TRIGGER {name}")
        yield db
        for _, statement in found:
            db.execute(statement)
        db.execute("COMMIT")


def rewrite(db: sqlite3.Connection, origin: str, signer: SigningKey | None, start: int) -> None:
    """Number entries anew from `start` on, compute leaves and chain, and sign if there is a key."""
    rows = db.execute("SELECT time, kind, body FROM entries ORDER BY position").fetchall()
    old = db.execute("SELECT leaf, chain FROM entries ORDER BY position").fetchall()
    hashes = [bytes.fromhex(leaf) for leaf, _ in old[:start]]
    chain = old[start - 1][1] if start else first_link(origin)
    db.execute("DELETE FROM entries WHERE position >= ?", (start,))
    if signer is not None:
        db.execute("DELETE FROM checkpoints WHERE size > ?", (start,))
    for index, (time, kind, body) in enumerate(rows[start:], start):
        leaf = leaf_of(index, time, kind, json.loads(body))
        previous, chain = chain, link(chain, leaf)
        hashes.append(bytes.fromhex(leaf))
        db.execute("INSERT INTO entries VALUES (?, ?, ?, ?, ?, ?, ?)",
                   (index, time, kind, body, leaf, previous, chain))  # fmt: skip
        if signer is not None:
            note = checkpoints.write(origin, index + 1, merkle.tree_root(hashes), signer)
            db.execute("INSERT INTO checkpoints VALUES (?, ?, ?)",
                       (index + 1, note, signer.public_pem))  # fmt: skip


def tampered(text: str) -> str:
    """Another body for the same report."""
    return text.replace('"evidence.json":"0', '"evidence.json":"f')
