"""Processor time of the command line: its help, its import, and an audit with one attack more."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

from benchmarks.speed import clock
from benchmarks.speed.clock import Json

ADDED = "rmia"
ANSWERS = (0, 1, 3)  # PASS, FAIL, INCONCLUSIVE
PROGRAM = (sys.executable, "-m", "forget_audit")
PLAN = """\
[request]
reference = "SPEED-1"
random = {random}

[data]
source = "{source}"
{noise}
[model]
architecture = "mlp"

[method]
name = "finetune"

[references]
seed = 0
{counts}
[battery]
attacks = [{attacks}]

[report]
controller = "Example Controller Ltd"
"""


def spent(call: list[str], home: Path, codes: tuple[int, ...] = (0,)) -> float:
    """Return the processor seconds of a command and of what it starts.

    Raises:
        RuntimeError: If it ends with another code, or with a traceback.
    """
    environment = {**os.environ, "FORGET_AUDIT_HOME": str(home)}
    start = clock.cpu_seconds()
    done = subprocess.run(call, env=environment, capture_output=True, text=True, check=False)
    if done.returncode not in codes or "Traceback" in done.stderr:
        raise RuntimeError(f"{call} ended with {done.returncode}:\n{done.stderr[-2000:]}")
    return clock.cpu_seconds() - start


def starting(repeats: int) -> Json:
    """Return the medians of help and imports."""
    calls = {
        "help": [*PROGRAM, "--help"],
        "import": [sys.executable, "-c", "import forget_audit.cli"],
        "python": [sys.executable, "-c", "pass"],
    }
    with tempfile.TemporaryDirectory() as folder:
        return {
            name: median(spent(call, Path(folder)) for _ in range(repeats))
            for name, call in calls.items()
        }


def added(attacks: list[str], *, tiny: bool) -> Json:
    """Return the times of a first audit, of the same again, and with one attack more."""
    asked = {
        "random": 20 if tiny else 100,
        "source": "digits" if tiny else "randhie",
        "noise": "label_noise = 0.15\n" if tiny else "",
        "counts": "retrained = 19\noriginals = 3\nidentity = 2\n" if tiny else "",
    }
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        plan = folder / "plan.toml"
        call = [*PROGRAM, "certify", str(plan), "--out", str(folder / "report")]
        found = {}
        for stage, chosen in (
            ("first", attacks),
            ("again", attacks),
            ("one_more", [*attacks, ADDED]),
        ):
            quoted = ", ".join(f'"{attack}"' for attack in chosen)
            plan.write_text(PLAN.format(**asked, attacks=quoted), "utf-8")
            found[stage] = spent(call, folder / "home", ANSWERS)
    return {**found, "added": ADDED, "share": found["one_more"] / found["first"]}


if __name__ == "__main__":
    given = clock.asked()
    if given["what"] == "starting":
        clock.tell(starting(given["repeats"]))
    else:
        clock.tell(added(given["attacks"], tiny=given["tiny"]))
