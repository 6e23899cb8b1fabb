"""Two runs in one folder: the second one is told who works there, and the dead hold nothing."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from forget_audit.audits import reissue, runs
from forget_audit.errors import Busy, VerificationError
from forget_audit.locks import beside, sole
from tests.faults.machines import PLAN
from tests.fixtures.commands import Run

HOLD = """
import sys, time
from pathlib import Path
from forget_audit.locks import sole
with sole(Path(sys.argv[1]), Path(sys.argv[1]).parent):
    print("held", flush=True)
    time.sleep(60)
"""


@contextmanager
def held(path: Path) -> Iterator[subprocess.Popen[str]]:
    """Let another process hold a lock."""
    call = [sys.executable, "-c", HOLD, str(path)]
    with subprocess.Popen(call, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        try:
            yield process
        finally:
            process.kill()


def test_whoever_comes_second_is_told_who_works_there(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with held(path) as other:
        with (
            pytest.raises(Busy, match=rf"{tmp_path}: process {other.pid} on .*, since 20..-"),
            sole(path, tmp_path),
        ):
            raise AssertionError("two at once")
        os.kill(other.pid, signal.SIGKILL)
        other.wait()
    assert path.exists()
    with sole(path, tmp_path):
        said = path.read_text()
        assert said.startswith(f"process {os.getpid()} on ")
    assert not path.exists()


def test_a_lock_that_its_holder_removed_is_not_taken_for_held(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "lock"
    true = os.open
    opened: list[int] = []

    def late(place: Path, flags: int, mode: int) -> int:
        found = true(place, flags, mode)
        if not opened:
            path.unlink()  # between our opening it and our holding it
        opened.append(found)
        return found

    monkeypatch.setattr("forget_audit.locks.os.open", late)
    with sole(path, tmp_path):
        assert path.exists()
    assert len(opened) == 2


def test_a_run_keeps_others_from_its_folder_and_its_report(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORGET_AUDIT_HOME", str(tmp_path / "home"))
    plan, audit = tmp_path / "plan.toml", tmp_path / "audit"
    plan.write_text(PLAN, encoding="utf-8")
    state = tmp_path / ".forget-audit"
    state.mkdir()
    for place in (state / runs.LOCK, beside(audit)):
        with held(place) as other:
            code, _, said = run("certify", plan, "--out", audit)
        assert (code, f"process {other.pid} " in said) == (4, True), said
    assert not audit.exists()
    with held(state / runs.LOCK):
        unlearned = run(
            "unlearn", plan, "--method", "finetune", "--out", tmp_path / "m.safetensors"
        )
    assert unlearned[0] == 4


def test_a_report_is_not_touched_while_another_process_works_on_it(tmp_path: Path) -> None:
    audit = tmp_path / "audit"
    audit.mkdir()
    with (
        held(beside(audit.resolve())),
        pytest.raises(Busy, match="wait until it has ended"),
        reissue.working_on(audit),
    ):
        raise AssertionError("two at once")
    with (
        pytest.raises(VerificationError, match="not a run"),
        reissue.working_on(audit, tmp_path / "other"),
    ):
        raise AssertionError("no run is there")
    assert sorted(item.name for item in tmp_path.iterdir()) == ["audit"]
