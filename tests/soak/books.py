"""Many processes that write to one ledger at once: beginnings, small releases, and reviews."""

import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from forget_audit.keys.signing import SigningKey
from forget_audit.ledger.check import verify_ledger
from forget_audit.ledger.ledger import Ledger
from forget_audit.trust import Trust
from forget_audit.verification.verify import verify_path

ROOT = Path(__file__).resolve().parents[2]
APPENDS = 4
WRITER = """
import sys
from pathlib import Path
from forget_audit.digests import sha256
from forget_audit.keys.signing import SigningKey
from forget_audit.ledger.begun import Beginning, begin
from forget_audit.ledger.commitments import fixed, yardstick_seeds
from forget_audit.ledger.ledger import Ledger
from forget_audit.reports.release import Terms, issued, release
from tests.fixtures.evidence import evidence, scores, without_figures
from tests.soak.books import APPENDS, identifier

folder, number = Path(sys.argv[1]), int(sys.argv[2])
key = SigningKey.load(folder / "key")
ledger = Ledger.open(folder / "account" / "ledger.sqlite")
document = without_figures(evidence("PASS"))
document["report"]["id"] = identifier(number)
print("ready", flush=True)
sys.stdin.readline()
what = Beginning(request=sha256(b"one request"), plan=sha256(b"plan %d" % number),
                 run=sha256(b"run %d" % number), subject=None,
                 fixed=fixed(plan={"number": number}, case=sha256(b"rows"),
                             seeds=yardstick_seeds(number, {"retrained": 3})))
print(begin(ledger, key, what).attempt)
release(issued(document, key, ledger), scores(), {}, key, folder / f"run-{number}",
        Terms(formats=(), ledger=ledger))
for _ in range(APPENDS):
    ledger.append("reviewed", {"report": identifier(number)}, key)
"""


@dataclass(frozen=True, kw_only=True)
class Written:
    """What many processes have written.

    Args:
        processes: How many there were.
        entries: In the ledger.
        seconds: From the moment they were let go.
    """

    processes: int
    entries: int
    seconds: float


def identifier(number: int) -> str:
    """Return the id of the report that a process releases."""
    return f"FA-20261121-{number:06X}"


def at_once(folder: Path, processes: int) -> Written:
    """Let processes write to one ledger at the same time, and check that nothing is lost.

    Each begins an audit of the same request under a plan of its own, signs and releases a small
    report, and adds four entries more.

    Args:
        folder: Key, ledger and reports go here.
        processes: How many.
    """
    key = SigningKey.create("Soak")
    key.save(folder / "key")
    running = [_started(folder, number) for number in range(processes)]
    for process in running:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n", process.communicate()[1]
    start = time.monotonic()
    for process in running:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    said = [process.communicate() for process in running]
    seconds = time.monotonic() - start
    failed = [err.strip().splitlines()[-1] for _, err in said if err.strip()]
    assert not failed, f"{len(failed)} of {processes} failed: {sorted(set(failed))}"
    attempts = sorted(int(out) for out, _ in said)
    assert attempts == [*range(1, processes + 1)], attempts
    _check(folder, processes, key)
    return Written(processes=processes, entries=processes * (APPENDS + 2), seconds=seconds)


def _started(folder: Path, number: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, str(folder), str(number)],
        cwd=ROOT, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def _check(folder: Path, processes: int, key: SigningKey) -> None:
    ledger = Ledger.open(folder / "account" / "ledger.sqlite", create=False)
    trust = Trust().add_key(key)
    found = verify_ledger(ledger.path, trust)
    assert found.exit_code == 0, found.problems
    entries = ledger.entries()
    assert [entry.index for entry in entries] == [*range(processes * (APPENDS + 2))]
    kinds = Counter((entry.kind, str(entry.body.get("report"))) for entry in entries)
    for number in range(processes):
        assert kinds["audit-issued", identifier(number)] == 1
        assert kinds["reviewed", identifier(number)] == APPENDS
        result = verify_path(folder / f"run-{number}", trust, ledger=ledger)
        assert result.exit_code == 0, result.checks
    assert kinds["audit-begun", "None"] == processes
