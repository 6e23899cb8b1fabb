"""The ledger on a bad day: a clock set back, a full disk, another process that holds it."""

import logging
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from forget_audit.ledger import ledger as ledger_module
from forget_audit.ledger.check import verify_ledger
from forget_audit.ledger.ledger import Ledger
from tests.fixtures.commands import Run
from tests.ledger.books import SIZE, book, copied, issue, key, report, tampered, trust, unguarded

ROOT = Path(__file__).resolve().parents[2]


class Clock(datetime):
    """A clock that somebody has set back by a day."""

    @classmethod
    def now(cls, *_: object) -> datetime:  # type: ignore[override]
        return datetime.now(UTC) - timedelta(days=1)


def set_back(path: Path, monkeypatch: pytest.MonkeyPatch) -> Ledger:
    ledger = copied(path)
    with monkeypatch.context() as wrong:
        wrong.setattr(ledger_module, "datetime", Clock)
        ledger.append("purged", {"report": report(1)}, key())
        ledger.append("purged", {"report": report(2)}, key())
    ledger.append("purged", {"report": report(3)}, key())
    return ledger


def test_a_clock_set_back_is_told_and_is_no_damage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        ledger = set_back(tmp_path / "ledger.sqlite", monkeypatch)
    assert [text.count("is it right?") for text in caplog.messages] == [1]
    found = verify_ledger(ledger.path, trust())
    (problem,) = found.problems
    assert (problem.what, problem.index, found.exit_code, found.first_bad) == (
        "clock", SIZE, 0, None,
    )  # fmt: skip
    assert [entry.index for entry in ledger.entries()] == [*range(SIZE + 3)]


def test_a_clock_set_back_hides_no_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger = set_back(tmp_path / "ledger.sqlite", monkeypatch)
    with unguarded(ledger.path) as db:
        (text,) = db.execute("SELECT body FROM entries WHERE position = 3").fetchone()
        db.execute("UPDATE entries SET body = ? WHERE position = 3", (tampered(text),))
    found = verify_ledger(ledger.path, trust())
    assert [problem.what for problem in found.problems] == ["edited", "clock"]
    assert (found.exit_code, found.first_bad) == (1, 3)


def test_the_command_names_the_entry_of_a_clock_set_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Run
) -> None:
    ledger = set_back(tmp_path / "ledger.sqlite", monkeypatch)
    trust().save(tmp_path / "trust.json")
    code, said, _ = run(
        "ledger", "verify", "--ledger", ledger.path, "--trust", tmp_path / "trust.json"
    )
    assert code == 0
    assert f"clock         entry {SIZE} bears" in said
    assert "entries as they were signed" in said


LIMITED = """
import resource, sys
from pathlib import Path
from forget_audit.errors import ForgetAuditError
from forget_audit.keys.signing import SigningKey
from forget_audit.ledger.begun import begin
from forget_audit.ledger.ledger import Ledger
from tests.ledger.test_begun import about
path, key = Path(sys.argv[1]), SigningKey.load(Path(sys.argv[2]))
body = {"report": "FA-20261121-000001", "files": {f"f{n}": "a" * 64 for n in range(150)}}
tries = {
    "append": lambda: Ledger.open(path).append("audit-issued", body, key),
    "begin": lambda: begin(Ledger.open(path), key, about()),
    "create": lambda: Ledger.open(path.with_name("new.sqlite")),
}
def full(what):
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]), resource.RLIM_INFINITY))
    try:
        for _ in range(200):
            tries[what]()
            if what != "append":
                break
    except ForgetAuditError as error:
        print(what, error)
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
full(sys.argv[4])
"""


def limited(path: Path, folder: Path, size: int, what: str) -> str:
    """Use a ledger while no file may grow beyond `size` bytes, as on a full disk."""
    if not (folder / "key").exists():
        key().save(folder / "key")
    call = [sys.executable, "-c", LIMITED, str(path), str(folder / "key"), str(size), what]
    done = subprocess.run(call, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


@pytest.mark.parametrize("what", ["append", "begin"])
def test_a_full_disk_loses_nothing(tmp_path: Path, what: str) -> None:
    folder = tmp_path / "account"
    folder.mkdir(mode=0o700)
    ledger = copied(folder / "ledger.sqlite")
    room = ledger.path.stat().st_size + (100_000 if what == "append" else -40_000)
    said = limited(ledger.path, tmp_path, room, what)
    assert "nothing was recorded" in said
    assert "not a ledger" not in said
    size = ledger.head().size
    assert verify_ledger(ledger.path, trust()).exit_code == 0
    assert ledger.entries()[:SIZE] == Ledger.open(book()).entries()
    ledger.append("audit-issued", issue(1), key())
    assert ledger.head().size == size + 1


def test_no_half_made_ledger_stays_on_a_full_disk(tmp_path: Path) -> None:
    folder = tmp_path / "account"
    folder.mkdir(mode=0o700)
    said = limited(folder / "ledger.sqlite", tmp_path, 6000, "create")
    assert "nothing was recorded" in said
    assert list(folder.iterdir()) == []
