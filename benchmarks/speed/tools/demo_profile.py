"""Where `forget-audit demo` spends its time, sampled by pyinstrument from before its imports."""

import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pyinstrument import Profiler  # type: ignore[import-not-found]

from benchmarks.speed import clock
from benchmarks.speed.clock import Json

STAGES = (
    ("import", ("<frozen importlib", "importlib/")),
    ("report", ("/reports/", "/keys/", "/ledger/", "/verification/")),
    ("attacks", ("/audits/battery", "/audits/scoring", "/attacks/", "/attack_metrics")),
    ("statistics", ("/verdict/", "/stats.py", "/outputs.py")),
    ("unlearning", ("/methods/", "/training/unlearning")),
    ("training", ("/training/", "/engines/")),
)


def stage_of(path: str) -> str | None:
    """Return the stage that a source file belongs to, if any."""
    plain = path.replace("\\", "/")
    for stage, marks in STAGES:
        ours = stage == "import" or "/forget_audit/" in plain or plain.count("/") < 2
        if ours and any(mark in plain for mark in marks):
            return stage
    return None


def shares(frame: Any, found: dict[str, float], stage: str | None = None) -> dict[str, float]:
    """Add up the seconds by stage: the outermost frame that belongs to one decides."""
    here = stage or stage_of(frame.file_path or "")
    inside = 0.0
    for child in frame.children:
        inside += child.time
        shares(child, found, here)
    own = max(frame.time - inside, 0.0)
    found[here or "other"] = found.get(here or "other", 0.0) + own
    return found


def heaviest(frame: Any, least: float) -> Iterator[tuple[str, float]]:
    """Yield the functions of the package that take at least some seconds, with their time."""
    for child in frame.children:
        path = (child.file_path or "").replace("\\", "/")
        if child.time >= least and "forget_audit" in path:
            yield f"{path.rpartition('forget_audit/')[2]}:{child.function}", child.time
        yield from heaviest(child, least)


def profile(arguments: list[str]) -> Json:
    """Run the program under the profiler; `{folder}` in its arguments is an empty one."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ["FORGET_AUDIT_HOME"] = str(Path(folder) / "home")
        sys.argv = ["forget-audit", *(each.format(folder=folder) for each in arguments)]
        profiler = Profiler(interval=0.005)
        start = clock.cpu_seconds()
        profiler.start()
        code: Any = 0
        try:
            from forget_audit.cli import main  # within the profile

            main()
        except SystemExit as error:
            code = error.code
        session = profiler.stop()
    root = session.root_frame()
    if code not in (0, None) or root is None:
        raise RuntimeError(f"forget-audit {' '.join(arguments)} ended with {code}")
    found = shares(root, {})
    total = sum(found.values())
    return {
        "wall": root.time,
        "cpu": clock.cpu_seconds() - start,
        "seconds": found,
        "shares": {name: value / total for name, value in found.items()},
    }


if __name__ == "__main__":
    options = clock.asked()
    sys.stdout, real = sys.stderr, sys.stdout
    measured = profile(options["arguments"])
    sys.stdout = real
    clock.tell(measured)
