"""The ledger as it is used: what goes in, what comes out, and what is refused."""

import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from forget_audit.errors import VerificationError
from forget_audit.keys.signing import SigningKey
from forget_audit.ledger import checkpoints, merkle
from forget_audit.ledger import entries as ledger_entries
from forget_audit.ledger import file as ledger_file
from forget_audit.ledger.check import verify_ledger
from forget_audit.ledger.ledger import Ledger, LedgerError
from forget_audit.ledger.proofs import check_proof
from forget_audit.ledger.witnesses import of_note
from forget_audit.trust import Trust
from forget_audit.types import Json
from tests.ledger.books import SIZE, book, copied, issue, key, report, stranger, trust, unguarded

ROOT = Path(__file__).resolve().parents[2]


def proof_bytes(proof: Json) -> bytes:
    return json.dumps(proof).encode()


def test_a_new_ledger_is_empty_private_and_anonymous(tmp_path: Path) -> None:
    ledger = Ledger.open(tmp_path / "new" / "ledger.sqlite")
    assert ledger.head().size == 0
    assert ledger.head().root_hex == merkle.EMPTY.hex()
    assert ledger.entries() == []
    assert re.fullmatch(r"forget-audit\.org/ledger/[0-9a-f]{32}", ledger.origin)
    assert ledger.path.stat().st_mode & 0o777 == 0o600
    assert ledger.path.parent.stat().st_mode & 0o777 == 0o700
    assert [item.name for item in ledger.path.parent.iterdir()] == ["ledger.sqlite"]
    with pytest.raises(LedgerError, match="no checkpoint yet"):
        ledger.checkpoint()
    assert Ledger.open(ledger.path).origin == ledger.origin
    assert Ledger.open(tmp_path / "other.sqlite").origin != ledger.origin
    found = verify_ledger(ledger.path, Trust())
    assert (found.exit_code, found.size, found.problems) == (0, 0, ())


def test_without_a_path_it_lies_in_the_folder_of_the_account(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORGET_AUDIT_HOME", str(tmp_path / "account"))
    with pytest.raises(LedgerError, match="no ledger"):
        Ledger.open(create=False)
    assert Ledger.open().path == tmp_path / "account" / "ledger.sqlite"


def test_entries_come_back_as_they_were_written() -> None:
    ledger = Ledger.open(book())
    entries = ledger.entries()
    assert [item.index for item in entries] == list(range(SIZE))
    assert [item.body for item in entries] == [issue(number) for number in range(SIZE)]
    assert {item.kind for item in entries} == {"audit-issued"}
    first = datetime.fromisoformat(entries[0].time)
    assert abs((datetime.now(UTC) - first).total_seconds()) < 3600
    hashes = [bytes.fromhex(item.leaf) for item in entries]
    head = ledger.head()
    assert (head.size, head.root_hex) == (SIZE, merkle.tree_root(hashes).hex())
    note = checkpoints.parse(ledger.checkpoint())
    assert (note.origin, note.size, note.root.hex()) == (ledger.origin, SIZE, head.root_hex)
    assert [checkpoints.parse(text).size for text in ledger.notes()] == list(range(1, SIZE + 1))
    assert verify_ledger(book(), trust()).problems == ()


def test_the_file_holds_no_name_of_person_host_or_folder() -> None:
    data = book().read_bytes()
    words = (key().name, key().org or "-", str(book().parent), os.uname().nodename)
    assert not [word for word in words if word.encode() in data and len(word) > 3]


def test_successors_and_purges_are_found(tmp_path: Path) -> None:
    ledger = copied(tmp_path / "ledger.sqlite")
    ledger.append("report-superseded", {"report": report(3), "by": report(9)}, key())
    ledger.append("report-superseded", {"report": report(3), "by": report(10)}, key())
    ledger.append("purged", {"report": report(4), "files": {}}, key())
    assert ledger.successor(report(3)) == report(10)
    assert ledger.successor(report(9)) is None
    assert ledger.purged(report(4))
    assert not ledger.purged(report(3))
    assert [item.kind for item in ledger.entries_about(report(9))] == [
        "audit-issued", "report-superseded"]  # fmt: skip


# What may stand there


@pytest.mark.parametrize("kind", ledger_entries.KINDS)
def test_every_kind_has_fields_it_cannot_do_without(kind: str) -> None:
    values = {
        "report": report(1),
        "by": report(2),
        "keyid": "a" * 64,
        "files": {"a.json": "b" * 64},
        **dict.fromkeys(("commitment", "request", "plan", "keyed"), "c" * 64),
        "attempt": 2,
    }
    body = {name: values[name] for name in ledger_entries.KINDS[kind]}
    assert json.loads(ledger_entries.encoded(kind, body)) == body
    for name in body:
        with pytest.raises(LedgerError, match=f"needs {name}"):
            ledger_entries.encoded(kind, {k: v for k, v in body.items() if k != name})


def test_other_kinds_are_refused() -> None:
    with pytest.raises(LedgerError, match="kinds of entries are audit-issued"):
        ledger_entries.encoded("changed-my-mind", issue(1))


@pytest.mark.parametrize(
    "value",
    [
        "a" * 64, "12345678" * 8, "FA-20261121-3F9A1C", "2026-11-21", "2026-11-21T10:00:00Z",
        "PASS", "within-bounds", "forget-audit.org/ledger/" + "1" * 32, 7, None, True, ["approved"],
        {"report.html": "0" * 64},
    ],
)  # fmt: skip
def test_digests_ids_days_and_single_words_may_stand_there(value: Any) -> None:
    body = {"report": report(1), "detail": value}
    assert json.loads(ledger_entries.encoded("reviewed", body)) == body


@pytest.mark.parametrize(
    "value",
    [
        "jane.doe@example.org", "Jane Doe", "+49 30 1234567", "1234567", "AB-1234567", "12345678",
        1234567, -1, 1.5, float("nan"), "", " x", "line\nbreak", "tab\tstop", "naïve", "<b>",
        "a" * 121, {"jane.doe@example.org": "x"}, {"Jane Doe.csv": "x"}, ["ok", "Jane Doe"],
        {"": "x"}, b"bytes", {"a": {"b": {"c": {"d": {"e": 1}}}}}, object(), "x\u202ey",
        "FA-20261121-3F9A1C Jane Doe",
    ],
)  # fmt: skip
def test_whatever_may_be_personal_is_refused_and_never_repeated(value: Any) -> None:
    with pytest.raises(LedgerError) as caught:
        ledger_entries.encoded("reviewed", {"report": report(1), "detail": value})
    assert "Jane" not in str(caught.value)
    assert "1234567" not in str(caught.value)


def test_entries_stay_small() -> None:
    files = {f"file-{number}": "a" * 64 for number in range(300)}
    with pytest.raises(LedgerError, match="at most 16384"):
        ledger_entries.encoded("audit-issued", {"report": report(1), "files": files})


# Nothing is changed


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE entries SET body = '{}' WHERE position = 3",
        "DELETE FROM entries WHERE position = 23",
        "DELETE FROM entries",
        "INSERT OR REPLACE INTO entries SELECT position, time, 'purged', body, leaf, previous,"
        " chain FROM entries WHERE position = 3",
        "REPLACE INTO entries SELECT * FROM entries WHERE position = 23",
        "INSERT INTO entries SELECT * FROM entries WHERE position = 3 ON CONFLICT (position) DO"
        " UPDATE SET kind = 'purged'",
        "INSERT OR IGNORE INTO entries SELECT 25, time, kind, body, leaf, previous, chain"
        " FROM entries WHERE position = 3",
        "INSERT INTO entries SELECT -1, time, kind, body, leaf, previous, chain FROM entries"
        " LIMIT 1",
        "INSERT INTO entries SELECT NULL, time, kind, body, leaf, previous, chain FROM entries"
        " WHERE 0 = (SELECT 1)  UNION SELECT 99, '', '', '', '', '', ''",
        "UPDATE checkpoints SET note = ''",
        "DELETE FROM checkpoints WHERE size = 24",
        "REPLACE INTO checkpoints SELECT * FROM checkpoints WHERE size = 24",
        "INSERT INTO checkpoints VALUES (25, '', '')",
        "UPDATE about SET origin = ''",
        "DELETE FROM about",
        "INSERT OR REPLACE INTO about VALUES (1, '')",
        "INSERT INTO about VALUES (2, '')",
    ],
)  # fmt: skip
def test_triggers_stop_careless_programs(statement: str, tmp_path: Path) -> None:
    ledger = copied(tmp_path / "ledger.sqlite")
    before = ledger_file.content(ledger.path)
    with (
        closing(sqlite3.connect(ledger.path, isolation_level=None)) as db,
        pytest.raises(sqlite3.IntegrityError, match=r"follow|changed|one origin"),
    ):
        db.execute(statement)
    assert ledger_file.content(ledger.path) == before


def test_a_damaged_ledger_is_not_added_to(tmp_path: Path) -> None:
    ledger = copied(tmp_path / "ledger.sqlite")
    with unguarded(ledger.path) as db:
        db.execute("DELETE FROM entries WHERE position = 23")
    for call in (
        lambda: ledger.append("purged", {"report": report(1)}, key()),
        ledger.head,
        lambda: ledger.prove(1),
    ):
        with pytest.raises(LedgerError, match="damaged, the last checkpoint is not about these 23"):
            call()
    assert len(ledger.entries()) == 23


@pytest.mark.parametrize(
    ("column", "value"),
    [("note", "'no note'"), ("note", "x'00'"), ("public_key", "'no key'"), ("note", "5")],
)
def test_a_ledger_with_a_damaged_checkpoint_is_not_added_to(
    column: str, value: str, tmp_path: Path
) -> None:
    ledger = copied(tmp_path / "ledger.sqlite")
    with unguarded(ledger.path) as db:
        db.execute(f"UPDATE checkpoints SET {column} = {value} WHERE size = 24")
    with pytest.raises(LedgerError, match="damaged"):
        ledger.append("purged", {"report": report(1)}, key())
    assert verify_ledger(ledger.path, trust()).problems[0].what == "bad-signature"


# Both or neither


class Broken(SigningKey):
    """A token that was pulled out."""

    def sign(self, data: bytes) -> bytes:
        raise OSError(data[:1])


def broken() -> SigningKey:
    made = object.__new__(Broken)
    made.__dict__.update(key().__dict__)
    return made


def test_an_entry_that_cannot_be_signed_is_not_recorded(tmp_path: Path) -> None:
    ledger = copied(tmp_path / "ledger.sqlite")
    with pytest.raises(OSError, match="f"):
        ledger.append("purged", {"report": report(1)}, broken())
    assert ledger.head().size == SIZE
    ledger.append("purged", {"report": report(1)}, key())
    assert verify_ledger(ledger.path, trust()).exit_code == 0


CRASH = """
import os, sys
from pathlib import Path
from forget_audit.ledger import file as ledger_file
from forget_audit.ledger import ledger
from forget_audit.keys.signing import SigningKey
class Dying(SigningKey):
    @property
    def public_pem(self):  # read between the two INSERTs of an append
        calls.append(1)
        return os._exit(9) if len(calls) == int(sys.argv[2]) else super().public_pem
calls = []
made = object.__new__(Dying)
made.__dict__.update(SigningKey.create("x").__dict__)
ledger.Ledger.open(Path(sys.argv[1])).append("purged", {"report": "FA-20261121-000001"}, made)
"""


def test_a_crash_in_the_middle_records_nothing(tmp_path: Path) -> None:
    """The process dies after the entry is written and before its checkpoint is."""
    ledger = copied(tmp_path / "ledger.sqlite")
    calls = 0
    while True:
        calls += 1
        call = [sys.executable, "-c", CRASH, str(ledger.path), str(calls)]
        done = subprocess.run(call, cwd=ROOT, capture_output=True, text=True, check=False)
        if done.returncode == 0:
            break
        assert done.returncode == 9, done.stderr
        assert verify_ledger(ledger.path, trust()).problems == ()
        assert ledger.head().size == SIZE
        assert [item.name for item in tmp_path.iterdir()] == ["ledger.sqlite"]
    assert calls > 1
    assert ledger.head().size == SIZE + 1


APPENDER = """
import sys
from pathlib import Path
from forget_audit.ledger.ledger import Ledger
from forget_audit.keys.signing import SigningKey
key = SigningKey.load(Path(sys.argv[2]))
for number in range(12):
    name = f"FA-20261121-{sys.argv[3]}{number:03d}"
    Ledger.open(Path(sys.argv[1])).append("audit-issued", {"report": name, "files": {}}, key)
"""


def test_processes_that_append_at_once_lose_nothing(tmp_path: Path) -> None:
    key().save(tmp_path / "key")
    path = tmp_path / "at-once" / "ledger.sqlite"
    running = [
        subprocess.Popen(
            [sys.executable, "-c", APPENDER, str(path), str(tmp_path / "key"), name],
            cwd=ROOT, stderr=subprocess.PIPE, text=True,
        )
        for name in "ABCD"
    ]  # fmt: skip
    for process in running:
        assert process.communicate()[1] == ""
    ledger = Ledger.open(path, create=False)
    named = [item.body["report"] for item in ledger.entries()]
    for name in "ABCD":
        mine = [item for item in named if item.startswith(f"FA-20261121-{name}")]
        assert mine == [f"FA-20261121-{name}{number:03d}" for number in range(12)]
    assert len(named) == 48
    assert verify_ledger(path, trust()).exit_code == 0
    assert [item.name for item in path.parent.iterdir()] == ["ledger.sqlite"]


def test_a_ledger_held_by_another_is_said_to_be_busy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = copied(tmp_path / "ledger.sqlite")
    monkeypatch.setattr(ledger_file, "PATIENCE", 0.05)
    with closing(sqlite3.connect(ledger.path, isolation_level=None)) as db:
        db.execute("BEGIN IMMEDIATE")
        with pytest.raises(LedgerError, match="another process has held it"):
            ledger.append("purged", {"report": report(1)}, key())
        assert ledger.head().size == SIZE
    ledger.append("purged", {"report": report(1)}, key())


def test_appending_takes_milliseconds(tmp_path: Path, record_property: Any) -> None:
    """Full sync, signed, each in a connection of its own; nearly all of it is the disk."""
    ledger = Ledger.open(tmp_path / "ledger.sqlite")
    taken = []
    for number in range(20):
        start = time.process_time()
        ledger.append("audit-issued", issue(number), key())
        taken.append(1000 * (time.process_time() - start))
    record_property("append_ms_of_processor", round(sorted(taken)[10], 2))
    assert sorted(taken)[10] < 50


# Files that cannot be used


def test_files_that_are_no_ledger_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    for content in (b"", b"text", b"SQLite format 3\x00" + bytes(200), book().read_bytes()[:5000]):
        path.write_bytes(content)
        path.chmod(0o600)
        with pytest.raises(LedgerError, match=r"not a ledger|damaged"):
            Ledger.open(path).append("purged", {"report": report(1)}, key())
        found = verify_ledger(path, trust())
        assert (found.exit_code, found.problems[0].what) in ((1, "unreadable"), (1, "truncated"))
    path.unlink()
    with closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE entries (x)")
    with pytest.raises(LedgerError, match="not a ledger of forget-audit"):
        Ledger.open(path)
    path.unlink()
    path.symlink_to(book())
    with pytest.raises(LedgerError, match="regular file"):
        Ledger.open(path)
    path.unlink()
    path.mkdir()
    with pytest.raises(LedgerError, match="regular file"):
        Ledger.open(path)


def test_a_file_or_folder_open_to_others_is_not_written(tmp_path: Path) -> None:
    ledger = copied(tmp_path / "ledger.sqlite")
    ledger.path.chmod(0o640)
    with pytest.raises(LedgerError, match=r"mode 640\); run chmod 600"):
        ledger.append("purged", {"report": report(1)}, key())
    assert verify_ledger(ledger.path, trust()).exit_code == 0
    ledger.path.chmod(0o600)
    tmp_path.chmod(0o770)
    with pytest.raises(LedgerError, match=r"mode 770\); run chmod 700"):
        ledger.append("purged", {"report": report(1)}, key())
    tmp_path.chmod(0o700)
    ledger.append("purged", {"report": report(1)}, key())


@contextmanager
def without_rights(folder: Path, *, file: int, inside: int) -> Iterator[None]:
    """Be somebody who may not write here, also where the tests run as root."""
    root = os.geteuid() == 0
    for path in (folder, *folder.iterdir()):
        if root:
            os.chown(path, 65534, -1)
        path.chmod(inside if path == folder else file)
    if root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)
        folder.chmod(0o700)


@pytest.mark.skipif(not hasattr(os, "seteuid"), reason="needs POSIX users")
def test_a_ledger_on_a_read_only_medium_can_be_checked_and_not_written() -> None:
    folder = Path(tempfile.mkdtemp(prefix="forget-audit-"))
    try:
        ledger = copied(folder / "ledger.sqlite")
        with without_rights(folder, file=0o400, inside=0o500):
            assert verify_ledger(ledger.path, trust()).problems == ()
            assert ledger.head().size == SIZE
            with pytest.raises(LedgerError, match="cannot be written"):
                ledger.append("purged", {"report": report(1)}, key())
            with pytest.raises(LedgerError, match="Permission denied"):
                Ledger.open(folder / "new.sqlite")
    finally:
        shutil.rmtree(folder)


# Proofs


def test_a_proof_shows_entries_without_the_ledger() -> None:
    ledger = Ledger.open(book())
    found = check_proof(proof_bytes(ledger.prove(3, 17)), trust())
    assert [item["body"] for item in found.entries] == [issue(3), issue(17)]
    assert found.checkpoint.size == SIZE
    assert found.signer is not None
    assert found.signer.keyid == key().keyid
    assert found.since is None
    assert check_proof(proof_bytes(ledger.prove(3)), Trust()).signer is None


def test_a_proof_shows_that_the_ledger_has_only_grown(tmp_path: Path) -> None:
    ledger = copied(tmp_path / "ledger.sqlite")
    for size, note in enumerate(ledger.notes(), 1):
        proof = proof_bytes(ledger.prove(3, since=note))
        assert check_proof(proof, trust(), of_note(note, "mine")).since == size
    newest = of_note(ledger.checkpoint(), "mine")
    assert check_proof(proof_bytes(ledger.prove(3)), trust(), newest).since is None
    other = of_note(ledger.notes()[4], "mine")
    with pytest.raises(VerificationError, match="ask for one made with --since"):
        check_proof(proof_bytes(ledger.prove(3)), trust(), other)


def test_proofs_from_forks_and_other_ledgers_are_refused(tmp_path: Path) -> None:
    ledger, fork = copied(tmp_path / "a.sqlite"), copied(tmp_path / "b.sqlite")
    ledger.append("purged", {"report": report(1)}, key())
    fork.append("purged", {"report": report(2)}, key())
    kept = of_note(fork.checkpoint(), "mine")
    with pytest.raises(VerificationError, match="it was forked"):
        check_proof(proof_bytes(ledger.prove(3)), trust(), kept)
    with pytest.raises(VerificationError, match="has not grown"):
        check_proof(proof_bytes(ledger.prove(3, since=fork.checkpoint())), trust())
    other = Ledger.open(tmp_path / "c.sqlite")
    other.append("purged", {"report": report(1)}, key())
    with pytest.raises(VerificationError, match="another ledger"):
        check_proof(proof_bytes(ledger.prove(3)), trust(), of_note(other.checkpoint(), "mine"))
    with pytest.raises(LedgerError, match="not one of this ledger"):
        ledger.prove(3, since=other.checkpoint())
    with pytest.raises(LedgerError, match="has no entry 99"):
        ledger.prove(99)


def test_a_changed_proof_is_refused() -> None:
    ledger = Ledger.open(book())
    proof = ledger.prove(3, since=ledger.notes()[9])
    foreign = checkpoints.write(ledger.origin, SIZE, bytes(32), stranger())
    changes: list[tuple[tuple[Any, ...], Any]] = [
        (("format",), "other"), (("checkpoint",), ""), (("checkpoint",), 5),
        (("checkpoint",), foreign), (("entries",), []), (("entries",), None),
        (("entries", 0, "entry", "kind"), "purged"), (("entries", 0, "entry", "index"), 4),
        (("entries", 0, "entry", "index"), True), (("entries", 0, "entry", "body"), []),
        (("entries", 0, "entry", "body", "report"), report(4)),
        (("entries", 0, "entry", "time"), 2**60), (("entries", 0, "entry", "body", "n"), 2**60),
        (("entries", 0, "path"), "x"), (("entries", 0, "path", 0), "00"),
        (("entries", 0, "path", 0), "zz"), (("entries", 0, "extra"), 1),
        (("since", "path"), []), (("since", "checkpoint"), ledger.notes()[8]), (("since",), "x"),
    ]  # fmt: skip
    for places, value in changes:
        changed = json.loads(json.dumps(proof))
        inner = changed
        for place in places[:-1]:
            inner = inner[place]
        inner[places[-1]] = value
        with pytest.raises(VerificationError):
            check_proof(proof_bytes(changed), trust())
    for data in (b"", b"[]", b"{}", b"\xff", b"[" * 100_000, b"x" * (17 * 2**20)):
        with pytest.raises(VerificationError, match="proof: "):
            check_proof(data, trust())
