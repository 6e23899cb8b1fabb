"""A small audit, and machines on which it breaks."""

import errno
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from forget_audit.stopping import HEEDED

PLAN = """\
[request]
reference = "BROKEN"
random = 30

[data]
source = "digits"
label_noise = 0.15
train = 200
test = 100
auxiliary = 100

[model]
architecture = "linear"

[training]
epochs = 3

[method]
name = "finetune"

[references]
retrained = 4
originals = 2
identity = 2
shadows = 2
candidate_shadows = 0

[battery]
attacks = ["loss_threshold"]

[report]
formats = ["html"]
"""
OWN = (
    PLAN.replace('architecture = "linear"\n', "")
    .replace("epochs = 3", 'function = "own_code:fit"')
    .replace('"finetune"', '"retrain"')
)
FIT = """\
import {imports}
import torch
from torch import nn

def fit(x, y, seed):
    model = nn.Linear(x.shape[1], 10)
    {body}
    return model
"""
VERDICTS = (0, 1, 3)


def full(*_: object) -> None:
    """Do what a full disk does: name no file."""
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def python(
    code: str,
    *arguments: object,
    limit: Callable[[], None] | None = None,
    environment: dict[str, str] | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run a few lines in a process of their own, limited as a small machine would."""
    call = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(
        call, capture_output=True, text=True, check=False, preexec_fn=limit, timeout=120,
        env={**os.environ, "OMP_NUM_THREADS": "1", **(environment or {})},
    )  # fmt: skip


def program(*arguments: object) -> Sequence[str]:
    """Return the command that runs the program in a process of its own."""
    return [sys.executable, "-m", "forget_audit", *map(str, arguments)]


def heeding() -> None:
    """Undo what whoever started the tests had them ignore, such as by nohup."""
    for number in HEEDED:
        signal.signal(number, signal.SIG_DFL)


def gone(numbers: list[int], within_s: float = 20.0) -> bool:
    """Wait until processes have ended; say whether they have."""
    end = time.monotonic() + within_s
    while any(map(_alive, numbers)) and time.monotonic() < end:
        time.sleep(0.05)
    return not any(map(_alive, numbers))


def left_behind(folder: Path) -> list[str]:
    """Return what a broken run must not leave: half files, staged reports, locks."""
    return sorted(
        path.name
        for path in folder.rglob("*")
        if path.suffix == ".part"
        or path.name.endswith((".part", ".lock"))
        or (path.is_dir() and path.name.startswith(".audit."))
    )


def _alive(number: int) -> bool:
    try:
        state = Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"
