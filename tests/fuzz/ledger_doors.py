"""Doors of the ledger: its file, checkpoints kept elsewhere, and proofs out of it."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from functools import cache
from pathlib import Path
from typing import Any

from forget_audit import proofs
from forget_audit.digests import pseudonym, pseudonym_key
from forget_audit.ledger import begun, merkle, witnesses
from forget_audit.ledger import file as ledger_file
from forget_audit.ledger.check import verify_ledger
from forget_audit.ledger.ledger import Ledger
from forget_audit.ledger.proofs import Proven, check_proof
from forget_audit.reports.attestation import audit_statement, seal
from tests.fixtures import attested
from tests.fuzz import places
from tests.fuzz.doors import SAME, Door, Refused
from tests.fuzz.scratch import scratch
from tests.ledger import books

WHAT = begun.Beginning(request="1" * 64, plan="2" * 64, run="3" * 64, subject=None, fixed={})
SECRET = b"a secret of thirty-two bytes ....."
RECORDS = tuple(f"row-{i}" for i in range(5))
WORDS = (b"position", b"entries", b"checkpoints", b"origin", b"CREATE TRIGGER", b"CREATE TABLE",
         b"leaf", b"chain", b"audit-issued", b"purged", b"sqlite_master")  # fmt: skip


@cache
def _content() -> ledger_file.Content:
    return ledger_file.content(books.book())


def enter_ledger(data: bytes, folder: Path) -> object:
    """A ledger file: everything that reads one. A change must show, if it changed what it says."""
    path = folder / "ledger.sqlite"
    path.write_bytes(data)
    found = verify_ledger(path, places.everybody())
    found.as_json()
    if found.exit_code:
        raise Refused(f"{found.problems[0].what}: {found.problems[0].detail}")
    ledger = Ledger.open(path, create=False)
    ledger.head(), ledger.checkpoint(), ledger.notes(), ledger.export()
    ledger.successor(books.report(3)), ledger.purged(books.report(3))
    ledger.prove(0, since=ledger.notes()[1])
    return SAME if ledger_file.content(path) == _content() else None


def enter_ledger_unchecked(data: bytes, folder: Path) -> object:
    """The same file listed, exported and proven from, by who did not verify it first."""
    path = folder / "ledger.sqlite"
    path.write_bytes(data)
    ledger = Ledger.open(path, create=False)
    shown = [item.as_json() for item in ledger.entries()]
    ledger.export()
    ledger.entries_about(books.report(3))
    ledger.prove(0)
    return shown


def _note_seeds() -> Sequence[bytes]:
    ledger = Ledger.open(books.book())
    notes = [ledger.notes()[3].encode(), ledger.checkpoint().encode()]
    return [*notes, ledger.export().splitlines(keepends=True)[0]]


def enter_note(data: bytes, folder: Path) -> object:
    """A checkpoint that somebody kept: a note, an export, a release."""
    path = folder / "note"
    path.write_bytes(data)
    held = witnesses.read(path)
    found = verify_ledger(books.book(), places.everybody(), witnesses=held)
    if found.exit_code:
        raise Refused(f"{found.problems[0].what}: {found.problems[0].detail}")
    known = {(item.origin, item.size, item.root) for text in Ledger.open(books.book()).notes()
             for item in [witnesses.of_note(text, "")]}  # fmt: skip
    return SAME if all((w.origin, w.size, w.root) in known for w in held) else None


@cache
def _proof() -> dict[str, Any]:
    ledger = Ledger.open(books.book())
    return ledger.prove(2, 7, since=ledger.notes()[4])


def _said(found: Proven) -> tuple[Any, ...]:
    head = found.checkpoint
    return head.origin, head.size, head.root


def enter_proof(data: bytes, folder: Path) -> object:
    """A proof out of the ledger: it shows what stands there, and nothing else."""
    found = check_proof(data, places.everybody())
    if found.signer is None or found.signer.revoked:
        raise Refused("the signer is not believed")
    told = check_proof(json.dumps(_proof()).encode(), places.everybody())
    same = _said(found) == _said(told) and found.since in (told.since, None)
    return SAME if same and all(entry in told.entries for entry in found.entries) else None


@cache
def _erasure() -> tuple[proofs.Proof, bytes]:
    """A proof that one record is in the forget set, and the envelope that commits to the set."""
    names = sorted(pseudonym(record, pseudonym_key(record, SECRET)) for record in RECORDS)
    document = attested.reported()
    hashes = [merkle.leaf_hash(name.encode()) for name in names]
    document["data"]["forget_commitment"] = merkle.tree_root(hashes).hex()
    key = pseudonym_key(RECORDS[1], SECRET)
    index = names.index(pseudonym(RECORDS[1], key))
    made = proofs.Proof(
        report=document["report"]["id"], commitment=document["data"]["forget_commitment"],
        key=key.hex(), index=index, size=len(names),
        path=[item.hex() for item in merkle.inclusion_path(hashes, index)],
    )  # fmt: skip
    return made, seal(audit_statement(document), places.key())


def enter_erasure(data: bytes, folder: Path) -> object:
    """A proof that a record is in the forget set: it holds for that record, and for no other."""
    path, source = folder / "proof.json", folder / "audit.dsse.json"
    path.write_bytes(data)
    source.write_bytes(_erasure()[1])
    proof = proofs.read(path)
    for other in ("row-0", "row-9", ""):
        if proofs.check(proof, other, source)[0]:
            raise AssertionError(f"it holds for {other!r} as well")
    holds, reason = proofs.check(proof, RECORDS[1], source)
    if not holds:
        raise Refused(reason)
    known = _erasure()[0]
    return SAME if (proof.report, proof.commitment, proof.key) == (
        known.report, known.commitment, known.key) else None  # fmt: skip


@cache
def _begun() -> tuple[bytes, bytes]:
    """A ledger in which an audit began, and the secret beside it."""
    place = scratch() / "begun"
    place.mkdir(mode=0o700)
    begun.begin(Ledger.open(place / "l.sqlite"), books.key(), WHAT)
    return (place / "l.sqlite").read_bytes(), (place / f"l{begun.SUFFIX}").read_bytes()


def enter_ledger_secret(data: bytes, folder: Path) -> object:
    """The secret beside a ledger: with another one attempts cannot be counted."""
    for name, content in (("l.sqlite", _begun()[0]), (f"l{begun.SUFFIX}", data)):
        (folder / name).write_bytes(content)
        (folder / name).chmod(0o600)
    folder.chmod(0o700)
    found = begun.begin(Ledger.open(folder / "l.sqlite"), books.key(), WHAT)
    assert found.attempt == 1
    return found


@cache
def _grown() -> tuple[bytes, bytes, bytes]:
    """A ledger, what SQLite keeps beside it until one more entry is in it, and how it undoes it."""
    place = scratch() / "grown"
    place.mkdir(mode=0o700)
    path = place / "ledger.sqlite"
    path.write_bytes(books.book().read_bytes())
    path.chmod(0o600)
    with closing(sqlite3.connect(path, isolation_level=None)) as held:
        held.execute("BEGIN")
        held.execute("SELECT * FROM about").fetchall()
        Ledger.open(path).append("audit-issued", books.issue(books.SIZE), books.key())
        wal = path.with_name("ledger.sqlite-wal").read_bytes()
    path.write_bytes(books.book().read_bytes())
    with closing(sqlite3.connect(path, isolation_level=None)) as held:
        held.execute("PRAGMA journal_mode = DELETE")
        held.execute("BEGIN IMMEDIATE")
        held.execute("PRAGMA user_version = 7")
        journal = path.with_name("ledger.sqlite-journal").read_bytes()
    return books.book().read_bytes(), wal, journal


def enter_beside_ledger(suffix: str, data: bytes, folder: Path) -> object:
    """What SQLite finds beside a ledger and takes in: an entry too many or too few shows."""
    path = folder / "ledger.sqlite"
    path.write_bytes(_grown()[0])
    path.with_name(f"{path.name}{suffix}").write_bytes(data)
    found = verify_ledger(path, places.everybody())
    if found.exit_code:
        raise Refused(f"{found.problems[0].what}: {found.problems[0].detail}")
    known, read = ledger_file.content(books.book()), ledger_file.content(path)
    more = read.entries[len(known.entries) :]
    ours = [f'"report":"{books.report(books.SIZE)}"' in row[3] for row in more]
    same = read.entries[: len(known.entries)] == known.entries and all(ours) and len(more) < 2
    return SAME if same else None


DOORS: tuple[Door, ...] = (
    Door(
        name="ledger-file",
        seeds=lambda: [books.book().read_bytes()],
        enter=enter_ledger,
        dictionary=WORDS,
        must_refuse=True,
        share=0.5,
    ),
    Door(
        name="ledger-unchecked",
        seeds=lambda: [books.book().read_bytes()],
        enter=enter_ledger_unchecked,
        dictionary=WORDS,
        share=0.5,
    ),
    Door(
        name="ledger-note",
        seeds=_note_seeds,
        enter=enter_note,
        suffix=".json",
        dictionary=("\u2014 ".encode(), b"\n\n", b"forget-audit.org/ledger/"),
        must_refuse=True,
    ),
    Door(
        name="ledger-proof",
        seeds=lambda: [json.dumps(_proof()).encode()],
        enter=enter_proof,
        suffix=".json",
        must_refuse=True,
        share=2,
    ),
    Door(
        name="erasure-proof",
        seeds=lambda: [_erasure()[0].model_dump_json().encode()],
        enter=enter_erasure,
        suffix=".json",
        must_refuse=True,
        share=1.5,
    ),
    Door(
        name="ledger-secret",
        seeds=lambda: [_begun()[1]],
        enter=enter_ledger_secret,
        must_refuse=True,
        share=0.2,
    ),
    Door(
        name="ledger-wal",
        seeds=lambda: [_grown()[1]],
        enter=lambda data, folder: enter_beside_ledger("-wal", data, folder),
        must_refuse=True,
        share=0.1,
    ),
    Door(
        name="ledger-journal",
        seeds=lambda: [_grown()[2]],
        enter=lambda data, folder: enter_beside_ledger("-journal", data, folder),
        must_refuse=True,
        share=0.1,
    ),
)
