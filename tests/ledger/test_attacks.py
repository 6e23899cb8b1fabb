"""Edit, delete, truncate, fork: random attacks by somebody who knows the program.

Each takes the triggers away and puts them back. Without the signing key, the most that can be
done is to compute leaves and chain again; with it, history can be rewritten whole, and then only
what others hold shows it.
"""

import random
import sqlite3
from collections.abc import Callable
from datetime import date
from itertools import pairwise
from pathlib import Path

import pytest

from forget_audit.ledger import file as ledger_file
from forget_audit.ledger.check import LedgerCheck, verify_ledger
from forget_audit.ledger.ledger import Ledger
from forget_audit.ledger.witnesses import Witness, of_note, read
from forget_audit.trust import Trust
from tests.ledger.books import (
    SIZE,
    book,
    copied,
    issue,
    key,
    report,
    rewrite,
    stranger,
    trust,
    unguarded,
)

ROUNDS = 20
Attack = Callable[[sqlite3.Connection, str, int], None]
EDIT = """UPDATE entries SET body = replace(body, '"evidence.json":"0', '"evidence.json":"f')
          WHERE position = ?"""


def edit(db: sqlite3.Connection, origin: str, at: int) -> None:
    db.execute(EDIT, (at,))


def edit_time(db: sqlite3.Connection, origin: str, at: int) -> None:
    db.execute("UPDATE entries SET time = '2020-01-01T00:00:00.000Z' WHERE position = ?", (at,))


def edit_form(db: sqlite3.Connection, origin: str, at: int) -> None:
    """Another spelling of the same body."""
    db.execute("UPDATE entries SET body = replace(body, ',', ', ') WHERE position = ?", (at,))


def edit_link(db: sqlite3.Connection, origin: str, at: int) -> None:
    db.execute("UPDATE entries SET chain = leaf WHERE position = ?", (at,))


def edit_and_rewrite(db: sqlite3.Connection, origin: str, at: int) -> None:
    edit(db, origin, at)
    rewrite(db, origin, None, at)


def exchange(db: sqlite3.Connection, origin: str, at: int) -> None:
    """Two neighbours change places, everything computed again."""
    other = at + 1
    db.execute("UPDATE entries SET position = -1 WHERE position = ?", (at,))
    db.execute("UPDATE entries SET position = ? WHERE position = ?", (at, other))
    db.execute("UPDATE entries SET position = ? WHERE position = -1", (other,))
    rewrite(db, origin, None, at)


def insert(db: sqlite3.Connection, origin: str, at: int) -> None:
    db.execute("UPDATE entries SET position = -position - 1 WHERE position >= ?", (at,))
    db.execute("INSERT INTO entries SELECT ?, time, 'purged', body, leaf, previous, chain "
               "FROM entries WHERE position = 0 OR position = -1 LIMIT 1", (at,))  # fmt: skip
    db.execute("UPDATE entries SET position = -position WHERE position < 0")
    rewrite(db, origin, None, at)


def delete(db: sqlite3.Connection, origin: str, at: int) -> None:
    db.execute("DELETE FROM entries WHERE position = ?", (at,))


def delete_and_rewrite(db: sqlite3.Connection, origin: str, at: int) -> None:
    delete(db, origin, at)
    rewrite(db, origin, None, at)


def truncate(db: sqlite3.Connection, origin: str, at: int) -> None:
    db.execute("DELETE FROM entries WHERE position >= ?", (at,))


def truncate_all(db: sqlite3.Connection, origin: str, at: int) -> None:
    """Entries and checkpoints are cut at the same place: nothing in the file shows it."""
    truncate(db, origin, at)
    db.execute("DELETE FROM checkpoints WHERE size > ?", (at,))


def fork(db: sqlite3.Connection, origin: str, at: int) -> None:
    """An insider with the key tells another history from here on."""
    edit(db, origin, at)
    rewrite(db, origin, key(), at)


def forge(db: sqlite3.Connection, origin: str, at: int) -> None:
    """The same by somebody without the key, who signs with another."""
    edit(db, origin, at)
    rewrite(db, origin, stranger(), at)


def attacked(attack: Attack, at: int, target: Path) -> Ledger:
    ledger = copied(target)
    with unguarded(ledger.path) as db:
        attack(db, ledger.origin, at)
    return ledger


def found(check: LedgerCheck) -> tuple[str, int | None]:
    return check.problems[0].what, check.problems[0].index


def positions(attack: Attack) -> list[int]:
    """Twenty random places; the last entry cannot be exchanged, and its deletion is a cut."""
    chosen = random.Random(attack.__name__)
    return [chosen.randrange(SIZE - 1) for _ in range(ROUNDS)]


ALONE: list[tuple[Attack, str]] = [
    (edit, "edited"), (edit_time, "edited"), (edit_form, "edited"), (edit_link, "edited"),
    (edit_and_rewrite, "edited"), (exchange, "edited"), (insert, "edited"), (delete, "deleted"),
    (delete_and_rewrite, "deleted"), (truncate, "truncated"), (forge, "untrusted"),
]  # fmt: skip


@pytest.mark.parametrize(("attack", "what"), ALONE)
def test_random_attacks_are_found_with_their_index(
    attack: Attack, what: str, tmp_path: Path
) -> None:
    for at in positions(attack):
        ledger = attacked(attack, at, tmp_path / "ledger.sqlite")
        check = verify_ledger(ledger.path, trust())
        assert found(check) == (what, at)
        assert check.exit_code == (3 if what == "untrusted" else 1)
        assert check.first_bad == (None if what == "untrusted" else at)


@pytest.mark.parametrize("attack", [truncate_all, fork, forge])
def test_random_cuts_and_forks_are_found_by_what_others_hold(
    attack: Attack, tmp_path: Path
) -> None:
    what = "truncated" if attack is truncate_all else "forked"
    newest = Ledger.open(book()).checkpoint()
    for at in positions(attack):
        ledger = attacked(attack, at, tmp_path / "ledger.sqlite")
        problem = verify_ledger(ledger.path, trust(), newest).problems[0]
        assert problem.what == what
        assert problem.index is not None
        assert problem.until is not None
        assert problem.index <= at <= problem.until
        check = verify_ledger(ledger.path, trust(), witnesses=read(book()))
        assert found(check) == (what, at)
        assert check.problems[0].until == at
        assert check.exit_code == 1


@pytest.mark.parametrize("attack", [truncate_all, fork])
def test_what_only_others_can_show_is_not_seen_without_them(attack: Attack, tmp_path: Path) -> None:
    ledger = attacked(attack, 11, tmp_path / "ledger.sqlite")
    assert verify_ledger(ledger.path, trust()).exit_code == 0
    older = Ledger.open(book()).notes()[10]
    assert verify_ledger(ledger.path, trust(), older).exit_code == 0
    last = Ledger.open(book()).notes()[11]
    assert verify_ledger(ledger.path, trust(), last).exit_code == 1


def test_a_truncated_chain_is_sound_in_itself(tmp_path: Path) -> None:
    """Which is why a chain without a signed head would not do."""
    ledger = attacked(truncate, 14, tmp_path / "ledger.sqlite")
    entries = ledger.entries()
    assert all(later.previous == earlier.chain for earlier, later in pairwise(entries))
    assert found(verify_ledger(ledger.path, trust())) == ("truncated", 14)


def test_two_copies_that_went_on_apart_are_shown_as_a_fork(tmp_path: Path) -> None:
    one, two = copied(tmp_path / "one.sqlite"), copied(tmp_path / "two.sqlite")
    one.append("purged", {"report": report(1)}, key())
    for number in (2, 3):
        two.append("purged", {"report": report(number)}, key())
    for path, other in ((one.path, two.path), (two.path, one.path)):
        assert verify_ledger(path, trust()).exit_code == 0
        assert found(verify_ledger(path, trust(), witnesses=read(other))) == ("forked", SIZE)


def test_an_older_checkpoint_fits_a_ledger_that_has_grown() -> None:
    for note in Ledger.open(book()).notes():
        check = verify_ledger(book(), trust(), note)
        assert (check.problems, check.witnesses) == ((), 1)


def test_a_newer_copy_shows_that_this_one_is_behind(tmp_path: Path) -> None:
    newer = copied(tmp_path / "newer.sqlite")
    newer.append("purged", {"report": report(1)}, key())
    check = verify_ledger(book(), trust(), newer.checkpoint())
    assert found(check) == ("truncated", SIZE)
    assert verify_ledger(newer.path, trust(), witnesses=read(book())).exit_code == 0


def test_missing_checkpoints_are_found(tmp_path: Path) -> None:
    for gone, index in (("size = 7", 6), ("size > 20", 20), ("size = 1", 0)):
        ledger = copied(tmp_path / "ledger.sqlite")
        with unguarded(ledger.path) as db:
            db.execute(f"DELETE FROM checkpoints WHERE {gone}")
        assert found(verify_ledger(ledger.path, trust())) == ("unsigned", index)


def test_changed_checkpoints_are_found(tmp_path: Path) -> None:
    other = Ledger.open(tmp_path / "other.sqlite")
    for number in range(8):
        other.append("audit-issued", issue(number), key())
    notes = Ledger.open(book()).notes()
    for note in (notes[5], other.notes()[6], notes[6].replace("\n7\n", "\n8\n"), "", None, 7, b"x"):
        ledger = copied(tmp_path / "ledger.sqlite")
        with unguarded(ledger.path) as db:
            db.execute("PRAGMA ignore_check_constraints = ON")
            value = "" if note is None else note
            db.execute("UPDATE checkpoints SET note = ? WHERE size = 7", (value,))
        assert found(verify_ledger(ledger.path, trust())) == ("bad-signature", 6)
    for size in (0, -3, 70):
        ledger = copied(tmp_path / "ledger.sqlite")
        with unguarded(ledger.path) as db:
            db.execute("UPDATE checkpoints SET size = ? WHERE size = 7", (size,))
        assert verify_ledger(ledger.path, trust()).exit_code == 1


def test_rows_of_other_types_are_found(tmp_path: Path) -> None:
    for column in ("time", "kind", "body", "leaf", "previous", "chain"):
        for value in ("x'ff'", "7.5", "''", "'[1]'", "'\u0661'"):
            ledger = copied(tmp_path / "ledger.sqlite")
            with unguarded(ledger.path) as db:
                db.execute(f"UPDATE entries SET {column} = {value} WHERE position = 5")
            assert found(verify_ledger(ledger.path, trust())) == ("edited", 5), (column, value)


def test_removed_and_weakened_triggers_are_found(tmp_path: Path) -> None:
    weaker = "CREATE TRIGGER entries_no_UPDATE BEFORE UPDATE ON entries BEGIN SELECT 1; END"
    more = "CREATE TRIGGER more AFTER INSERT ON entries BEGIN SELECT 1; END"
    for statements in (
        ["DROP TRIGGER entries_no_DELETE"],
        ["DROP TRIGGER entries_no_UPDATE", weaker],
        [more],
    ):
        ledger = copied(tmp_path / "ledger.sqlite")
        with sqlite3.connect(ledger.path) as db:
            for statement in statements:
                db.execute(statement)
        db.close()
        check = verify_ledger(ledger.path, trust())
        assert found(check) == ("unguarded", None)
        assert check.exit_code == 1


def test_other_tables_are_not_read(tmp_path: Path) -> None:
    for statement in ("CREATE TABLE more (x)", "CREATE VIEW more AS SELECT 1",
                      "CREATE INDEX more ON entries (kind)", "ALTER TABLE entries ADD more",
                      "DROP TABLE checkpoints"):  # fmt: skip
        ledger = copied(tmp_path / "ledger.sqlite")
        with sqlite3.connect(ledger.path) as db:
            db.execute(statement)
        db.close()
        check = verify_ledger(ledger.path, trust())
        assert found(check) == ("unreadable", None)
        assert "not those of a ledger" in check.problems[0].detail


def test_another_origin_is_found(tmp_path: Path) -> None:
    other = "forget-audit.org/ledger/" + "0" * 32
    for origin in (other, "", "x"):
        ledger = copied(tmp_path / "ledger.sqlite")
        with unguarded(ledger.path) as db:
            db.execute("UPDATE about SET origin = ?", (origin,))
        assert verify_ledger(ledger.path, trust()).first_bad == 0
    stranger_note = Ledger.open(tmp_path / "new.sqlite")
    stranger_note.append("audit-issued", issue(1), key())
    check = verify_ledger(book(), trust(), stranger_note.checkpoint())
    assert found(check) == ("other-origin", None)
    ledger = copied(tmp_path / "ledger.sqlite")
    with unguarded(ledger.path) as db:
        db.execute("DELETE FROM about")
    assert verify_ledger(ledger.path, trust()).exit_code == 1


def test_random_bits_of_the_file_change_nothing_unseen(tmp_path: Path) -> None:
    """A flip may hit free space; then the ledger must still say exactly what it said."""
    chosen, original = random.Random(6962), ledger_file.content(book())
    seen, path = 0, tmp_path / "ledger.sqlite"
    data = book().read_bytes()
    for _ in range(100):
        place = chosen.randrange(len(data) * 8)
        changed = bytearray(data)
        changed[place // 8] ^= 1 << (place % 8)
        path.write_bytes(changed)
        check = verify_ledger(path, trust())
        seen += check.exit_code != 0
        assert check.exit_code or ledger_file.content(path) == original
    assert seen > 50


# Signers


def test_unknown_signers_are_told_apart_from_damage() -> None:
    check = verify_ledger(book(), Trust())
    assert (check.exit_code, check.first_bad) == (3, None)
    assert [problem.what for problem in check.problems] == ["untrusted"]
    reviewer = Trust().add(key().public_pem, key().certificates_pem, "x", roles=("reviewer",))
    assert verify_ledger(book(), reviewer).exit_code == 3


def test_keys_change_and_the_older_ones_stay_believed(tmp_path: Path) -> None:
    ledger = copied(tmp_path / "ledger.sqlite")
    ledger.append("key-retired", {"keyid": key().keyid}, key())
    ledger.append("key-added", {"keyid": stranger().keyid}, stranger())
    both = trust().add_key(stranger())
    assert verify_ledger(ledger.path, both, Ledger.open(book()).checkpoint()).problems == ()


def test_a_reviewer_signs_the_checkpoint_of_a_review_and_no_other(tmp_path: Path) -> None:
    pems = stranger().public_pem, stranger().certificates_pem
    known = trust().add(*pems, "A reviewer", roles=("reviewer",))
    ledger = copied(tmp_path / "ledger.sqlite")
    ledger.append("reviewed", {"report": report(1)}, stranger())
    assert verify_ledger(ledger.path, known, ledger.checkpoint()).exit_code == 0
    ledger.append("purged", {"report": report(1)}, stranger())
    assert found(verify_ledger(ledger.path, known)) == ("untrusted", SIZE + 1)


def test_a_revoked_key_is_believed_only_before_and_under_a_later_checkpoint(tmp_path: Path) -> None:
    ledger = copied(tmp_path / "ledger.sqlite")
    later = trust().add_key(stranger()).revoke(key().keyid, date(2999, 1, 1), "lost")
    assert found(verify_ledger(ledger.path, later)) == ("revoked", 0)
    ledger.append("key-revoked", {"keyid": key().keyid}, stranger())
    assert verify_ledger(ledger.path, later).exit_code == 0
    before = trust().add_key(stranger()).revoke(key().keyid, date(2000, 1, 1), "lost")
    check = verify_ledger(ledger.path, before)
    assert found(check) == ("revoked", 0)
    assert check.exit_code == 4


def test_witnesses_that_are_not_genuine_are_set_aside() -> None:
    ledger = Ledger.open(book())
    forged = ledger.checkpoint().replace(f"\n{SIZE}\n", "\n12\n")
    check = verify_ledger(book(), trust(), forged)
    assert found(check) == ("bad-signature", None)
    assert len(check.problems) == 1
    unsigned = Witness(origin=ledger.origin, size=12, root=bytes(32), note=None, source="evidence")
    assert found(verify_ledger(book(), trust(), witnesses=[unsigned])) == ("forked", 0)
    mine = of_note(ledger.checkpoint(), "mine")
    assert verify_ledger(book(), Trust(), witnesses=[mine]).exit_code == 3
