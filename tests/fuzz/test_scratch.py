"""A run of fuzzing that is killed leaves neither files nor processes behind."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.fixtures.offline import ROOT

PROGRAM = """
import time
from tests.fuzz.doors import Door
from tests.fuzz.harness import Worker
from tests.fuzz.scratch import scratch, settle

def enter(data, folder):
    (folder / "file").write_bytes(data)
    print(scratch(), flush=True)
    time.sleep(600)

settle()
with Worker(Door(name="x", seeds=lambda: [b"x"], enter=enter), quiet=False) as worker:
    print(worker._process.pid, flush=True)
    worker.ask(b"x")
"""
PATIENCE_S = 60.0


def gone(process: int) -> bool:
    """Whether a process is no more, or waits for nothing but to be counted."""
    try:
        state = Path(f"/proc/{process}/stat").read_text("ascii").rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return True
    return state == "Z"


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a case that hangs is not ended")
@pytest.mark.parametrize("name", ["SIGTERM", "SIGKILL", "SIGINT"])
def test_whatever_ends_it(name: str, tmp_path: Path) -> None:
    environment = {**os.environ, "TMPDIR": str(tmp_path), "PYTHONPATH": str(ROOT)}
    program = subprocess.Popen(
        [sys.executable, "-c", PROGRAM], env=environment, cwd=ROOT, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    try:
        assert program.stdout is not None
        worker, folder = int(program.stdout.readline()), Path(program.stdout.readline().strip())
        assert folder.parent == tmp_path
        assert list(folder.rglob("file"))
        program.send_signal(getattr(signal, name))
        program.wait(PATIENCE_S)
    finally:
        program.kill()
        program.communicate()
    last = time.monotonic() + PATIENCE_S
    while not gone(worker) or folder.exists():
        assert time.monotonic() < last, (gone(worker), list(tmp_path.rglob("*")))
        time.sleep(0.02)
    assert not list(tmp_path.iterdir())
