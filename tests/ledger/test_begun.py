"""Audits begun: committed to before training, counted for good, and nobody's name to be guessed."""

import hashlib
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from forget_audit.audits import attempts
from forget_audit.errors import Busy
from forget_audit.ledger.begun import Beginning, Begun, attempts_known, begin
from forget_audit.ledger.check import verify_ledger
from forget_audit.ledger.commitments import commitment, fixed, yardstick_seeds
from forget_audit.ledger.ledger import Ledger, LedgerError
from forget_audit.locks import sole
from forget_audit.seeds import derive
from tests.ledger.books import issue, key, trust, unguarded

ROOT = Path(__file__).resolve().parents[2]


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def about(
    request: str = "r", plan: str = "p", run: str | None = None, subject: str | None = None
) -> Beginning:
    return Beginning(
        request=digest(request),
        plan=digest(plan),
        run=digest(run or plan),
        subject=None if subject is None else digest(subject),
        fixed=fixed(plan={"name": plan}, case=digest("rows"), seeds=yardstick_seeds(3, {})),
    )


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger.open(tmp_path / "account" / "ledger.sqlite")


def test_a_beginning_is_an_entry_that_opens_with_its_nonce(ledger: Ledger) -> None:
    found = begin(ledger, key(), about())
    (entry,) = ledger.entries()
    assert (entry.kind, entry.index, found.entry) == ("audit-begun", 0, 0)
    assert entry.body["commitment"] == commitment(about().fixed, found.nonce)
    assert entry.body["attempt"] == found.attempt == found.known == 1
    assert found.ledger == ledger.origin
    assert verify_ledger(ledger.path, trust()).problems == ()


def test_a_run_that_is_continued_keeps_its_commitment(ledger: Ledger) -> None:
    first = begin(ledger, key(), about())
    begin(ledger, key(), about(plan="q"))
    assert begin(ledger, key(), about()) == first
    assert len(ledger.entries()) == 2


def test_attempts_are_counted_by_request_and_plan(ledger: Ledger) -> None:
    def number(**what: str) -> tuple[int, int]:
        found = begin(ledger, key(), about(**what))
        return found.attempt, found.known

    assert number(plan="p") == (1, 1)
    assert number(plan="q") == (2, 2)
    assert number(plan="p") == (1, 1)
    assert number(plan="q", run="q with another attack") == (2, 2)
    assert number(request="other", plan="q") == (1, 1)
    assert number(plan="s") == (3, 3)
    assert attempts_known(ledger.entries()) == {0: 1, 1: 2, 2: 2, 3: 1, 4: 3}


def test_the_same_model_and_rows_under_another_reference_are_the_same_request(
    ledger: Ledger,
) -> None:
    assert begin(ledger, key(), about("a", "p", subject="model and rows")).attempt == 1
    assert begin(ledger, key(), about("b", "q", subject="model and rows")).attempt == 2
    assert begin(ledger, key(), about("c", "s", subject="another model")).attempt == 1
    assert begin(ledger, key(), about("d", "t")).attempt == 1
    assert begin(ledger, key(), about("e", "u")).attempt == 1


def test_the_larger_count_holds_and_is_remembered(ledger: Ledger) -> None:
    assert begin(ledger, key(), about(plan="p"), counted=3).attempt == 3
    assert begin(ledger, key(), about(plan="p"), counted=1).attempt == 3
    assert begin(ledger, key(), about(plan="q"), counted=2).attempt == 4


def test_nobody_can_guess_a_request_from_its_entry(ledger: Ledger, tmp_path: Path) -> None:
    """Whoever knows plan, rows and person still cannot say that an entry is about them."""
    what = about()
    begin(ledger, key(), what)
    other = Ledger.open(tmp_path / "other" / "ledger.sqlite")
    begin(other, key(), what)
    one, two = ledger.entries()[0].body, other.entries()[0].body
    assert not {*one.values()} & {*two.values()} - {1}
    known = [what.request, what.plan, what.run, commitment(what.fixed, "")]
    guesses = {*known, *map(digest, known)}
    assert not guesses & {str(value) for value in one.values()}
    secret = ledger.path.with_suffix(".secret")
    assert secret.stat().st_mode & 0o777 == 0o600
    assert secret.read_bytes().hex() not in ledger.export().decode()


def lose(secret: Path) -> None:
    secret.unlink()


def cut(secret: Path) -> None:
    secret.write_bytes(b"short")


def change(secret: Path) -> None:
    secret.write_bytes(bytes(32))


def publish(secret: Path) -> None:
    secret.chmod(0o644)


def replace(secret: Path) -> None:
    secret.unlink()
    secret.mkdir()


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (lose, "is gone"),
        (cut, "is damaged"),
        (change, "is another one"),
        (publish, "chmod 600"),
        (replace, "cannot be read"),
    ],
)
def test_a_lost_secret_is_no_fresh_start(
    ledger: Ledger, harm: Callable[[Path], None], said: str
) -> None:
    begin(ledger, key(), about())
    harm(ledger.path.with_suffix(".secret"))
    with pytest.raises(LedgerError, match=said):
        begin(ledger, key(), about(plan="q"))
    assert len(ledger.entries()) == 1


def test_an_entry_that_was_changed_is_not_believed(ledger: Ledger) -> None:
    """The last checkpoint covers leaf hashes only; the count must not rest on more."""
    begin(ledger, key(), about(plan="p"))
    begin(ledger, key(), about(plan="q"))
    body = json.dumps({**ledger.entries()[1].body, "attempt": 1}, sort_keys=True)
    with unguarded(ledger.path) as db:
        compact = json.dumps(json.loads(body), separators=(",", ":"))
        db.execute("UPDATE entries SET body = ? WHERE position = 1", (compact,))
    with pytest.raises(LedgerError, match="entry 1 of the ledger was changed"):
        begin(ledger, key(), about(plan="s"))


@pytest.mark.parametrize(
    "strange", [{"attempt": None}, {"attempt": True}, {"plan": 7}, {"commitment": ["x"]}]
)
def test_entries_of_another_program_are_refused(ledger: Ledger, strange: Any) -> None:
    body = dict.fromkeys(("commitment", "request", "plan", "keyed"), "c" * 64)
    ledger.append("audit-begun", {**body, "attempt": 1, **strange}, key())
    with pytest.raises(LedgerError, match="entry 0 of the ledger is no audit-begun"):
        begin(ledger, key(), about())


def test_seeds_follow_from_the_root_and_are_all_committed_to() -> None:
    seeds = yardstick_seeds(5, {"retrained": 3, "identity": 2, "shadows": 9})
    assert [len(seeds[name]) for name in ("retrained", "identity", "originals")] == [3, 2, 0]
    assert int(seeds["retrained"][2], 16) == derive(5, "retrained", 2)
    whole: dict[str, Any] = {"plan": {}, "case": digest("rows"), "seeds": seeds}
    first = commitment(fixed(**whole), "00")
    others: list[dict[str, Any]] = [
        {"plan": {"a": 1}}, {"case": digest("other")}, {"seeds": yardstick_seeds(6, {})},
        {"audited": [digest("model")]}, {"method": {"name": "finetune", "parameters": {}}},
        {"original": digest("original")},
    ]  # fmt: skip
    found = {commitment(fixed(**{**whole, **other}), "00") for other in others}
    assert len(found | {first, commitment(fixed(**whole), "01")}) == len(others) + 2


BEGINNER = """
import sys
from pathlib import Path
from forget_audit.keys.signing import SigningKey
from forget_audit.ledger.ledger import Ledger
from forget_audit.ledger.begun import begin
from tests.ledger.test_begun import about
key = SigningKey.load(Path(sys.argv[2]))
ledger = Ledger.open(Path(sys.argv[1]))
print("ready", flush=True)
sys.stdin.readline()
for number in range(6):
    print(begin(ledger, key, about(plan=f"{sys.argv[3]}{number}")).attempt)
"""


def at_once(code: str, *arguments: str) -> list[str]:
    """Run four processes that start together; return what each has printed."""
    call = [sys.executable, "-c", code, *arguments]
    running = [
        subprocess.Popen(
            [*call, name], cwd=ROOT, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )
        for name in "ABCD"
    ]  # fmt: skip
    for process in running:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n", process.communicate()[1]
    found = []
    for process in running:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in running:
        out, err = process.communicate()
        assert err == ""
        found.append(out)
    return found


def test_attempts_begun_at_once_all_count(tmp_path: Path) -> None:
    key().save(tmp_path / "key")
    path = tmp_path / "account" / "ledger.sqlite"
    said = at_once(BEGINNER, str(path), str(tmp_path / "key"))
    assert sorted(int(number) for text in said for number in text.split()) == [*range(1, 25)]
    assert verify_ledger(path, trust()).exit_code == 0
    assert len(Ledger.open(path).entries()) == 24


COUNTER = """
import sys
from pathlib import Path
from forget_audit.audits import attempts
print("ready", flush=True)
sys.stdin.readline()
for number in range(10):
    print(attempts.count(Path(sys.argv[1]), "request", f"{sys.argv[2]}{number}"))
"""


def test_attempts_counted_beside_the_plan_at_once_all_count(tmp_path: Path) -> None:
    said = at_once(COUNTER, str(tmp_path / "state"))
    assert sorted(int(number) for text in said for number in text.split()) == [*range(1, 41)]
    known = json.loads((tmp_path / "state" / "attempts.json").read_text("utf-8"))
    assert len(set(known["request"])) == 40


def test_a_count_that_is_held_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attempts, "PATIENCE", 0.05)
    with sole(tmp_path / attempts.LOCK, tmp_path), pytest.raises(Busy, match="works there"):
        attempts.count(tmp_path, "request", "plan")
    assert attempts.count(tmp_path, "request", "plan") == 1


def test_other_entries_do_not_count(ledger: Ledger) -> None:
    ledger.append("audit-issued", issue(1), key())
    found: Begun = begin(ledger, key(), about())
    assert (found.entry, found.attempt) == (1, 1)
