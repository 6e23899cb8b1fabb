"""A run that is killed goes on where it was, and ends with the evidence of an undisturbed one."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from forget_audit.training.remembered_ways import FILE as WAYS

PLAN = """\
[request]
reference = "KILLED"
random = 40

[data]
source = "digits"
label_noise = 0.15
train = 300
test = 150
auxiliary = 100

[model]
architecture = "mlp"
options = { hidden = [32], norm = true }

[training]
epochs = 40

[method]
name = "finetune"

[references]
retrained = 19
originals = 4
candidate_shadows = 6

[battery]
attacks = ["lira", "relearn", "ruli", "shadow_forgotten"]

[report]
formats = ["html"]
"""
KEPT = {".safetensors", ".json"}
TIMES = {"issued", "timings", "duration_s", "seconds"}


def command(folder: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "forget_audit", "certify", "plan.toml", "--out", "audit"],
        cwd=folder,
        env={**os.environ, "FORGET_AUDIT_HOME": str(folder / "home")},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )


def finish(folder: Path) -> float:
    start = time.monotonic()
    process = command(folder)
    _, said = process.communicate(timeout=600)
    assert process.returncode in (0, 1, 3), said.decode()
    return time.monotonic() - start


def kill(folder: Path, after: float) -> bool:
    """Kill a run some seconds after its start; say whether its report was not out yet."""
    process = command(folder)
    try:
        process.wait(after)
    except subprocess.TimeoutExpired:
        os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    return unfinished(folder)


def unfinished(folder: Path) -> bool:
    return any((folder / ".forget-audit/unfinished").glob("*.json"))


def begun(folder: Path) -> Path:
    """Return a folder in which a run has only just begun."""
    folder.mkdir()
    (folder / "plan.toml").write_text(PLAN, encoding="utf-8")
    process = command(folder)
    while not unfinished(folder):
        assert process.poll() is None
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    return folder


def without_times(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: without_times(v) for k, v in value.items() if k not in TIMES}
    return [without_times(item) for item in value] if isinstance(value, list) else value


def evidence(folder: Path) -> Any:
    found = without_times(json.loads((folder / "audit/evidence.json").read_bytes()))
    found["ledger"].pop("origin")  # made with the account, after the run had begun
    return found


def finished_work(folder: Path) -> dict[Path, int]:
    """Return when each model and result was written."""
    files = (folder / ".forget-audit/models").rglob("*")
    return {f.relative_to(folder): f.stat().st_mtime_ns for f in files if f.suffix in KEPT}


def disturbed(tmp_path: Path, kills: int, seed: int) -> None:
    start = begun(tmp_path / "begun")
    plain = shutil.copytree(start, tmp_path / "plain")
    seconds = finish(plain)
    shutil.copy(plain / "home" / WAYS, start / "home")  # what is fastest depends on the moment
    rng = random.Random(seed)
    for k in range(kills):
        folder = shutil.copytree(start, tmp_path / f"killed-{k}")
        while not kill(folder, rng.uniform(1, seconds)):
            seconds = max(2.0, 0.8 * seconds)  # the machine was busier when it was timed
            shutil.rmtree(folder)
            shutil.copytree(start, folder)
        before = finished_work(folder)
        finish(folder)
        after = finished_work(folder)
        assert before.items() <= after.items()
        assert evidence(folder) == evidence(plain)
        shutil.rmtree(folder)


def test_a_killed_run_ends_as_an_undisturbed_one(tmp_path: Path) -> None:
    disturbed(tmp_path, kills=2, seed=1)


@pytest.mark.slow
def test_thirty_killed_runs_end_as_an_undisturbed_one(tmp_path: Path) -> None:
    disturbed(tmp_path, kills=30, seed=2)
