"""The ledger: every report issued, replaced, reviewed or purged, in an order that shows changes.

Entries are leaves of a Merkle tree (RFC 6962) and links of a hash chain. After each entry the head
of the tree is signed: that checkpoint goes into the release and the next report, so that everybody
who holds one can tell whether the ledger was cut or rewritten since.
"""

from __future__ import annotations

import json
import logging
import secrets
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from forget_audit.digests import canonical_json
from forget_audit.errors import ForgetAuditError
from forget_audit.keys.signing import SigningKey, home, keyid_of
from forget_audit.ledger import checkpoints, merkle
from forget_audit.ledger import file as ledger_file
from forget_audit.ledger.entries import (
    Entry,
    encoded,
    entry_of,
    first_link,
    leaf_of,
    link,
)
from forget_audit.ledger.file import LedgerError as LedgerError
from forget_audit.types import Json

log = logging.getLogger(__name__)

PROOF = "https://forget-audit.org/ledger-proof/v1"
FILE = "ledger.sqlite"


@dataclass(frozen=True, kw_only=True)
class Head:
    """Where a ledger stands.

    Args:
        origin: Which ledger: a random name that says nothing about its owner.
        size: Number of entries.
        root_hex: Of the tree over them.
    """

    origin: str
    size: int
    root_hex: str


@dataclass(frozen=True, kw_only=True)
class Ledger:
    """A ledger on disk; each call opens the file, so that nothing is left open or behind.

    Args:
        path: SQLite.
        origin: Its name.
    """

    path: Path
    origin: str

    @staticmethod
    def open(path: Path | None = None, *, create: bool = True) -> Ledger:
        """Open a ledger, without `path` that of this account, making it if there is none.

        Raises:
            LedgerError: If it is missing and not to be made, or cannot be used.
        """
        place = path or home() / FILE
        if create and not place.exists() and not place.is_symlink():
            ledger_file.create(place, f"forget-audit.org/ledger/{secrets.token_hex(16)}")
        with ledger_file.reading(place) as db:
            found = db.execute("SELECT origin FROM about").fetchone()
        if found is None or not checkpoints.ORIGIN.fullmatch(str(found[0])):
            raise LedgerError(f"{place}: does not say which ledger it is")
        return Ledger(path=place, origin=found[0])

    def head(self) -> Head:
        """Return where the ledger stands.

        Raises:
            LedgerError: If the last checkpoint does not fit the entries.
        """
        with ledger_file.reading(self.path) as db:
            hashes = self._sound(db)
        root = merkle.tree_root(hashes).hex()
        return Head(origin=self.origin, size=len(hashes), root_hex=root)

    def append(self, kind: str, body: Json, key: SigningKey) -> Entry:
        """Add an entry and sign the new head, both or neither.

        Args:
            kind: One of `ledger_entries.KINDS`.
            body: Digests and opaque references; anything else is refused.
            key: Signs the checkpoint.

        Raises:
            LedgerError: If the body may not stand there, the ledger is damaged, or it cannot be
                written. Nothing was recorded then.
        """
        text = encoded(kind, body)
        with ledger_file.writing(self.path) as db:
            return self._added(db, self._sound(db), kind, text, key)

    @contextmanager
    def adding(
        self, kind: str, key: SigningKey
    ) -> Iterator[tuple[list[Entry], Callable[[Json], Entry]]]:
        """Hold the ledger, so that what is added can follow from what stands there.

        Args:
            kind: Of entry.
            key: Signs the checkpoints.

        Yields:
            The entries of that kind, oldest first, and what adds one more, once.

        Raises:
            LedgerError: As by `append`. Nothing was recorded then.
        """
        with ledger_file.writing(self.path) as db:
            hashes = self._sound(db)
            rows = db.execute("SELECT * FROM entries WHERE kind = ? ORDER BY position", (kind,))
            yield (
                [_as_hashed(entry_of(row)) for row in rows.fetchall()],
                lambda body: self._added(db, hashes, kind, encoded(kind, body), key),
            )

    def checkpoint(self) -> str:
        """Return the newest checkpoint, a signed note.

        Raises:
            LedgerError: If there is none yet, or it does not fit the entries.
        """
        with ledger_file.reading(self.path) as db:
            return _last(self._signed(db))

    def notes(self) -> list[str]:
        """Return the checkpoint after each entry, oldest first."""
        with ledger_file.reading(self.path) as db:
            return [str(row[0]) for row in db.execute(
                "SELECT note FROM checkpoints ORDER BY size")]  # fmt: skip

    def entries(self) -> list[Entry]:
        """Return all entries, oldest first.

        Raises:
            LedgerError: If one cannot be read.
        """
        with ledger_file.reading(self.path) as db:
            rows = db.execute("SELECT * FROM entries ORDER BY position").fetchall()
        return [entry_of(row) for row in rows]

    def entries_about(self, report_id: str) -> list[Entry]:
        """Return the entries that name this report, as itself or as the successor of another."""
        return [item for item in self.entries()
                if report_id in (item.body.get("report"), item.body.get("by"))]  # fmt: skip

    def successor(self, report_id: str) -> str | None:
        """Return the id of the report that took the place of this one, if one did."""
        found = [item.body.get("by") for item in self._of("report-superseded", report_id)]
        return str(found[-1]) if found else None

    def purged(self, report_id: str) -> bool:
        """Say whether what the report was computed from has been recorded as destroyed."""
        return bool(self._of("purged", report_id))

    def prove(self, *indices: int, since: str | None = None) -> Json:
        """Return a proof, checkable without the ledger, that it holds these entries.

        Args:
            indices: Of entries.
            since: An older checkpoint; the proof then also shows that nothing before it changed.

        Raises:
            LedgerError: If there is no such entry or the ledger is damaged.
            VerificationError: If `since` is malformed.
        """
        with ledger_file.reading(self.path) as db:
            hashes = self._sound(db)
            note = _last(self._signed(db))
            rows = {row[0]: row for row in db.execute("SELECT * FROM entries")}
        missing = [index for index in indices if index not in rows]
        if missing:
            raise LedgerError(f"{self.path}: has no entry {missing[0]}")
        proven = [{"entry": entry_of(rows[index]).stated,
                   "path": _hexadecimal(merkle.inclusion_path(hashes, index))}
                  for index in indices]  # fmt: skip
        proof: Json = {"format": PROOF, "checkpoint": note, "entries": proven}
        if since is not None:
            old = checkpoints.parse(since)
            if old.origin != self.origin or old.size > len(hashes):
                raise LedgerError(f"{self.path}: the older checkpoint is not one of this ledger")
            path = merkle.consistency_path(hashes, old.size)
            proof["since"] = {"checkpoint": since, "path": _hexadecimal(path)}
        return proof

    def export(self) -> bytes:
        """Return all entries as lines of canonical JSON, each with its checkpoint."""
        notes = self.notes()
        lines = [canonical_json({**entry.as_json(), "checkpoint": note})
                 for entry, note in zip(self.entries(), notes, strict=False)]  # fmt: skip
        return b"".join(line + b"\n" for line in lines)

    def _of(self, kind: str, report_id: str) -> list[Entry]:
        return [item for item in self.entries()
                if item.kind == kind and item.body.get("report") == report_id]  # fmt: skip

    def _added(
        self, db: sqlite3.Connection, hashes: list[bytes], kind: str, text: str, key: SigningKey
    ) -> Entry:
        entry = self._next(db, len(hashes), kind, json.loads(text))
        size = len(hashes) + 1
        root = merkle.tree_root([*hashes, bytes.fromhex(entry.leaf)])
        note = checkpoints.write(self.origin, size, root, key)
        row = (entry.index, entry.time, kind, text, entry.leaf, entry.previous, entry.chain)
        db.execute("INSERT INTO entries VALUES (?, ?, ?, ?, ?, ?, ?)", row)
        db.execute("INSERT INTO checkpoints VALUES (?, ?, ?)", (size, note, key.public_pem))
        return entry

    def _next(self, db: sqlite3.Connection, index: int, kind: str, body: Json) -> Entry:
        query = "SELECT chain, time FROM entries WHERE position = ?"
        last = db.execute(query, (index - 1,)).fetchone()
        time = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        if last and time < last[1]:
            log.warning("%s: the clock says %s, the last entry %s; is it right?", self.path, time,
                        last[1])  # fmt: skip
        leaf = leaf_of(index, time, kind, body)
        previous = last[0] if last else first_link(self.origin)
        return Entry(index=index, time=time, kind=kind, body=body, leaf=leaf, previous=previous,
                     chain=link(previous, leaf))  # fmt: skip

    def _signed(self, db: sqlite3.Connection) -> tuple[Any, ...] | None:
        last: tuple[Any, ...] | None = db.execute(
            "SELECT size, note, public_key FROM checkpoints ORDER BY size DESC LIMIT 1"
        ).fetchone()
        return last

    def _sound(self, db: sqlite3.Connection) -> list[bytes]:
        """Return the leaf hashes after checking that the last checkpoint is about them.

        Signing another head after damage would bury it.
        """
        found = db.execute("SELECT leaf FROM entries ORDER BY position").fetchall()
        last = self._signed(db)
        try:
            hashes = [bytes.fromhex(leaf) for (leaf,) in found]
            if last is None:
                sound = not hashes
            else:
                note = checkpoints.parse(last[1])
                signer = note.signer({keyid_of(last[2]): last[2]})
                stated = (note.origin, note.size, note.root, last[0])
                expected = (self.origin, len(hashes), merkle.tree_root(hashes), len(hashes))
                sound = signer is not None and stated == expected
        except (ForgetAuditError, ValueError, TypeError, AttributeError):
            sound = False
        if not sound:
            raise LedgerError(
                f"{self.path}: damaged, the last checkpoint is not about these {len(found)} "
                "entries; nothing is added to it. Run `forget-audit ledger verify` and keep the "
                "file"
            )
        return hashes


def _as_hashed(entry: Entry) -> Entry:
    """Return the entry if it says what its leaf covers: more than the last checkpoint shows."""
    if leaf_of(entry.index, entry.time, entry.kind, entry.body) != entry.leaf:
        raise LedgerError(
            f"entry {entry.index} of the ledger was changed; run `forget-audit ledger verify`"
        )
    return entry


def _last(row: tuple[Any, ...] | None) -> str:
    if row is None:
        raise LedgerError("the ledger is empty: there is no checkpoint yet")
    return str(row[1])


def _hexadecimal(hashes: Sequence[bytes]) -> list[str]:
    return [item.hex() for item in hashes]
