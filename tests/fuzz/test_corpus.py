"""What fuzzing kept goes through every door again, and some fresh changes with it."""

import json
import os
import time
from itertools import islice
from pathlib import Path

import pytest

from forget_audit.errors import ForgetAuditError
from tests.fuzz import harness
from tests.fuzz.__main__ import main, merged
from tests.fuzz.doors import Door, all_doors
from tests.fuzz.harness import Fuzzer, Worker, enter, judged
from tests.fuzz.kept_inputs import CORPUS, LARGEST_FILE, kept

DOORS = {door.name: door for door in all_doors()}
SECONDS, CASES = 0.04, 60  # of fresh changes a door, whichever is reached first
# The worker is forked; nothing else runs in this process that could be in the midst of something.
pytestmark = pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")


@pytest.mark.parametrize("name", DOORS)
def test_nothing_escapes(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("FORGET_AUDIT_HOME", str(tmp_path))
    door = DOORS[name]
    fuzzer = Fuzzer(door, seed=17)
    with Worker(door) as worker:
        for data in tuple(fuzzer.pool):
            fuzzer.one(worker, data)
        good, spent = fuzzer.tally.accepted, 0.0
        for data in islice(fuzzer.cases, CASES):
            spent += fuzzer.one(worker, data).seconds
            if spent > SECONDS:
                break
    found = [f"{mark}, {data[:100]!r}: {detail}"
             for mark, (_, data, detail) in fuzzer.tally.findings.items()]  # fmt: skip
    assert not found, "\n".join(found)
    assert good, "not one of the good inputs was accepted"


def test_the_corpus_is_small_and_belongs_to_doors() -> None:
    files = [path for path in CORPUS.rglob("*") if path.is_file()]
    assert {path.parent.name for path in files} <= set(DOORS)
    assert sum(path.stat().st_size for path in files) < 1_000_000
    assert all(path.stat().st_size <= LARGEST_FILE for path in files)


def _hang(data: bytes, folder: Path) -> object:
    if data == b"stop":
        time.sleep(60)
    if data == b"die":
        os._exit(3)
    if data == b"fill":
        return (b"x" * (harness.LIMIT_BYTES + (30 << 20)))[-1]
    if data == b"burst":
        return bytearray(4 * harness.LIMIT_BYTES)
    if data == b"no":
        raise ForgetAuditError("no")
    if data == b"break":
        raise ZeroDivisionError
    return data


def test_the_harness_finds_what_it_looks_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(harness, "LIMIT_S", 1.0)
    monkeypatch.setattr(harness, "LIMIT_BYTES", 64 << 20)
    door = Door(name="x", seeds=lambda: [b"good"], enter=_hang, must_refuse=True)
    wanted = {
        b"good": None, b"no": None, b"other": "accepted tampering", b"break": "escaped",
        b"stop": "hang", b"die": "died", b"burst": "memory", b"fill": "memory",
    }  # fmt: skip
    with Worker(door) as worker:
        for data, wrong in wanted.items():
            assert judged(door, data, worker.ask(data), [b"good"]) == wrong, data


def test_the_same_seed_gives_the_same_cases(tmp_path: Path) -> None:
    door = DOORS["ids"]
    first, second = (Fuzzer(door, seed=5) for _ in range(2))
    cases = [next(first.cases) for _ in range(50)]
    assert cases == [next(second.cases) for _ in range(50)]
    assert len(set(cases)) > 40
    assert enter(door, first.good[0], tmp_path).outcome == "accepted"
    assert kept(door) == sorted(kept(door))


def test_the_program_counts_and_keeps_what_was_left_out(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FORGET_AUDIT_HOME", str(tmp_path))
    out = tmp_path / "fuzz.json"
    found = []
    for name in ("ids", "words"):
        call = ["fuzz", "--cases", "20", "--door", name, "--out", str(out)]
        monkeypatch.setattr("sys.argv", call)
        assert main() == 0
        found.append(json.loads(out.read_bytes()))
    assert list(found[1]["doors"]) == ["ids", "words"]
    assert found[1]["doors"]["ids"] == found[0]["doors"]["ids"]
    assert found[1]["cases"] == sum(door["cases"] for door in found[1]["doors"].values())
    assert found[1]["findings"] == 0
    again = merged(out, {"doors": found[1]["doors"], "cpu_seconds": 1.5})
    assert again["cpu_seconds"] == 1.5, "nothing was left out, so nothing is added"
    assert "words" in capsys.readouterr().out
    monkeypatch.setattr("sys.argv", ["fuzz", "--door", "no such door"])
    with pytest.raises(SystemExit, match="no door no such door; there are"):
        main()
