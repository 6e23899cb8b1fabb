"""The file behind the ledger: SQLite with triggers that refuse to change what was written.

The triggers guard against accidents and careless programs. Whoever can write the file can remove
them: what was done then is found by `forget_audit.ledger.check`.
"""

import os
import sqlite3
import stat
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from forget_audit.errors import ForgetAuditError

PATIENCE = 60.0  # fifty processes on two busy cores keep one waiting for longer than ten seconds
# The second: SQLite repeats what a damaged file says in messages that are no UTF-8.
ERRORS = (sqlite3.Error, UnicodeDecodeError)
LARGEST = 512 * 1024 * 1024
APPLICATION = 0x46414C31
SIGNATURE = b"SQLite format 3\x00"
_STATEMENTS = """
CREATE TABLE about (
    only INTEGER PRIMARY KEY CHECK (only = 1),
    origin TEXT NOT NULL
);
CREATE TABLE entries (
    position INTEGER PRIMARY KEY,
    time TEXT NOT NULL,
    kind TEXT NOT NULL,
    body TEXT NOT NULL,
    leaf TEXT NOT NULL,
    previous TEXT NOT NULL,
    chain TEXT NOT NULL
);
CREATE TABLE checkpoints (
    size INTEGER PRIMARY KEY,
    note TEXT NOT NULL,
    public_key TEXT NOT NULL
);
CREATE TRIGGER entries_follow BEFORE INSERT ON entries
WHEN NEW.position IS NOT (SELECT COALESCE(MAX(position) + 1, 0) FROM entries)
BEGIN SELECT RAISE(ABORT, 'entries follow each other'); END;
CREATE TRIGGER checkpoints_follow BEFORE INSERT ON checkpoints
WHEN NEW.size IS NOT (SELECT COALESCE(MAX(position) + 1, 0) FROM entries)
  OR NEW.size IS NOT (SELECT COALESCE(MAX(size) + 1, 1) FROM checkpoints)
BEGIN SELECT RAISE(ABORT, 'checkpoints follow entries'); END;
CREATE TRIGGER about_once BEFORE INSERT ON about
WHEN EXISTS (SELECT 1 FROM about)
BEGIN SELECT RAISE(ABORT, 'a ledger has one origin'); END;
"""
_GUARD = """
CREATE TRIGGER {table}_no_{verb} BEFORE {verb} ON {table}
BEGIN SELECT RAISE(ABORT, 'nothing in the ledger is changed'); END;
"""
SCHEMA = _STATEMENTS + "".join(
    _GUARD.format(table=table, verb=verb)
    for table in ("about", "entries", "checkpoints")
    for verb in ("UPDATE", "DELETE")
)
_MEANING = {
    "SQLITE_BUSY": f"another process has held it for {PATIENCE:.0f} s; try again",
    "SQLITE_LOCKED": f"another process has held it for {PATIENCE:.0f} s; try again",
    "SQLITE_READONLY": "cannot be written; check the rights of the file and its folder",
    "SQLITE_CANTOPEN": "cannot be opened; check the rights of the file and its folder",
    "SQLITE_FULL": "the disk is full; nothing was recorded",
    "SQLITE_IOERR": "the system refuses to read or write it, and nothing was recorded; is the disk "
    "full, the size of files limited, or the file damaged?",
    "SQLITE_NOTADB": "not a ledger, or damaged",
    "SQLITE_CORRUPT": "damaged; run `forget-audit ledger verify`",
}


class LedgerError(ForgetAuditError):
    """The ledger cannot be read, written or extended."""


@dataclass(frozen=True, kw_only=True)
class Content:
    """All that a ledger file holds, as it stands there: nothing is checked.

    Args:
        origin: Which ledger it says it is.
        entries: Rows of position, time, kind, body, leaf, previous, chain.
        checkpoints: Rows of size, note, public key.
        guarded: Whether all triggers are in place.
    """

    origin: Any
    entries: list[tuple[Any, ...]]
    checkpoints: list[tuple[Any, ...]]
    guarded: bool


def create(path: Path, origin: str) -> None:
    """Make an empty ledger that only its owner can read; one that is there already stays.

    Raises:
        LedgerError: If it cannot be written.
    """
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=".ledger-")
        os.close(descriptor)
    except OSError as error:
        raise LedgerError(f"{path}: {error.strerror}") from error
    staging = Path(name)
    try:
        with _explained(path), closing(_connected(f"{staging.absolute().as_uri()}?mode=rw")) as db:
            db.execute("PRAGMA journal_mode = WAL")
            db.execute(f"PRAGMA application_id = {APPLICATION}")
            db.executescript(f"BEGIN IMMEDIATE;{SCHEMA}COMMIT;")
            db.execute("INSERT INTO about VALUES (1, ?)", (origin,))
        os.link(staging, path)
    except FileExistsError:  # another process was first: its ledger is used
        pass
    except OSError as error:
        raise LedgerError(f"{path}: {error.strerror}") from error
    finally:
        for suffix in ("", "-wal", "-shm"):
            staging.with_name(f"{staging.name}{suffix}").unlink(missing_ok=True)


@contextmanager
def reading(path: Path) -> Iterator[sqlite3.Connection]:
    """Open a ledger for reading; all that is read is of one moment.

    Raises:
        LedgerError: If it is missing, no ledger, or damaged.
    """
    _refuse_irregular(path)
    with _explained(path), closing(_reader(path)) as db:
        _refuse_foreign(db, path)
        db.execute("BEGIN")
        yield db


@contextmanager
def writing(path: Path) -> Iterator[sqlite3.Connection]:
    """Open a ledger for one transaction that nobody else can come between.

    Whatever is raised inside undoes it: the file is closed without a commit.

    Raises:
        LedgerError: If it is missing, open to others, held by another process, or damaged.
    """
    _refuse_irregular(path)
    _refuse_if_shared(path)
    with _explained(path), closing(_connected(f"{path.absolute().as_uri()}?mode=rw")) as db:
        db.execute("PRAGMA synchronous = FULL")
        db.execute("BEGIN IMMEDIATE")
        _refuse_foreign(db, path)
        yield db
        db.execute("COMMIT")


def content(path: Path) -> Content:
    """Return all that the file holds, however it was changed.

    Raises:
        LedgerError: If it is missing, no ledger, or cannot be read as one.
    """
    with reading(path) as db:
        found = set(db.execute("SELECT type, name, sql FROM sqlite_master WHERE sql IS NOT NULL"))
        tables = {row for row in _expected() if row[0] == "table"}
        if {row for row in found if row[0] != "trigger"} != tables:
            raise LedgerError(f"{path}: its tables are not those of a ledger")
        origins = db.execute("SELECT origin FROM about").fetchall()
        return Content(
            origin=origins[0][0] if len(origins) == 1 else None,
            entries=db.execute("SELECT * FROM entries ORDER BY position").fetchall(),
            checkpoints=db.execute("SELECT * FROM checkpoints ORDER BY size").fetchall(),
            guarded=found == _expected(),
        )


def _reader(path: Path) -> sqlite3.Connection:
    """Connect for reading, also on media where SQLite cannot put its working files."""
    name = path.absolute().as_uri()
    db = _connected(f"{name}?mode=rw")
    try:
        db.execute("PRAGMA query_only = ON")
        db.execute("SELECT 1 FROM sqlite_master").fetchone()
    except ERRORS as error:
        db.close()
        pending = path.with_name(f"{path.name}-wal").exists()
        if pending or _code(error) not in ("SQLITE_READONLY", "SQLITE_CANTOPEN"):
            raise
        return _connected(f"{name}?mode=ro&immutable=1")
    return db


def _connected(uri: str) -> sqlite3.Connection:
    db = sqlite3.connect(uri, uri=True, timeout=PATIENCE, isolation_level=None)
    db.execute("PRAGMA trusted_schema = OFF")
    return db


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except ERRORS as error:
        meaning = _MEANING.get(_code(error), f"not a ledger, or damaged ({error})")
        raise LedgerError(f"{path}: {meaning}") from error


def _code(error: Exception) -> str:
    """Return the primary code of an error, such as `SQLITE_BUSY`."""
    return "_".join(getattr(error, "sqlite_errorname", "").split("_")[:2])


@cache
def _expected() -> frozenset[tuple[str, str, str]]:
    with closing(sqlite3.connect(":memory:")) as db:
        db.executescript(SCHEMA)
        return frozenset(db.execute("SELECT type, name, sql FROM sqlite_master"))


def _refuse_foreign(db: sqlite3.Connection, path: Path) -> None:
    if db.execute("PRAGMA application_id").fetchone() != (APPLICATION,):
        raise LedgerError(f"{path}: not a ledger of forget-audit")


def _refuse_irregular(path: Path) -> None:
    try:
        status = path.lstat()
    except OSError as error:
        raise LedgerError(f"{path}: no ledger ({error.strerror})") from error
    if not stat.S_ISREG(status.st_mode):
        raise LedgerError(f"{path}: expected a regular file (links and folders are refused)")
    if status.st_size > LARGEST:
        raise LedgerError(f"{path}: larger than {LARGEST // 2**20} MiB")


def _refuse_if_shared(path: Path) -> None:
    """Refuse to write where other users could read the file or put another in its place."""
    for place, bits, wanted in ((path, 0o077, "600"), (path.parent, 0o022, "700")):
        mode = place.stat().st_mode & 0o777
        if mode & bits:
            raise LedgerError(
                f"{place}: open to other users (mode {mode:03o}); run chmod {wanted} {place}"
            )
