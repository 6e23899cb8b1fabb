"""Processor time, peak memory, and processes of one thread to measure them in.

Wall time says little on a machine that does other things too; processor time does.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
ONE_THREAD = dict.fromkeys(
    ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS"), "1"
)
PEAK = re.compile(r"^VmHWM:\s+(\d+) kB", re.MULTILINE)
Json = dict[str, Any]


def cpu_seconds() -> float:
    """Return the processor time of this process and of its children that have ended."""
    ended = os.times()
    return time.process_time() + ended.children_user + ended.children_system


def timed(work: Callable[[], object]) -> float:
    """Return the processor seconds that `work` takes in this process."""
    start = time.process_time()
    work()
    return time.process_time() - start


def peak_megabytes() -> float | None:
    """Return the most memory this process has held, in MB of 10^6 bytes; nothing off Linux."""
    status = Path("/proc/self/status")
    found = PEAK.search(status.read_text("ascii")) if status.is_file() else None
    return None if found is None else int(found[1]) * 1024 / 1e6


def fresh_process(module: str, options: Mapping[str, Any], peers: Path | None = None) -> Json:
    """Run a module in a process of one thread and return the JSON of its last line.

    Args:
        module: Such as `benchmarks.speed.tools.plain_loop`.
        options: Given to it as JSON.
        peers: Folder of the other tools' packages, if it needs them.

    Raises:
        RuntimeError: If it fails.
    """
    paths = [str(ROOT), *([str(peers.resolve())] if peers else [])]
    call = [sys.executable, "-m", module, json.dumps(options)]
    with tempfile.TemporaryDirectory() as home:  # nothing is known from earlier runs
        own = {"PYTHONPATH": os.pathsep.join(paths), "FORGET_AUDIT_HOME": home}
        environment = {**os.environ, **ONE_THREAD, **own}
        done = subprocess.run(
            call, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
        )
    if done.returncode:
        raise RuntimeError(f"{module} {options} failed:\n{done.stderr[-2000:]}")
    found: Json = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def tell(found: Mapping[str, Any]) -> None:
    """Print what was measured as the last line of a process."""
    print(json.dumps(found), flush=True)


def asked() -> Json:
    """Return the options this process was started with, and hold PyTorch to one thread."""
    import torch  # here: some processes measure how long an import takes

    torch.set_num_threads(1)
    given: Json = json.loads(sys.argv[1])
    return given
