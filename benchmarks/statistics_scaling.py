"""How processor time and memory of the verdict's statistics grow with the number of rows.

Each size runs in a fresh process of one thread: what an audit does from the answers of its models
to the verdict. `collect` asks every model and works out log-odds and losses, `pack` writes
`scores.npz`, `read` reads it again and checks it, `weigh` computes every statistic, gate and the
verdict. The answers are drawn, as float32 logits; one row in ten is a forget row. The compressed
scores stay in memory throughout, as in an audit.

    python benchmarks/statistics_scaling.py
    python benchmarks/statistics_scaling.py --rows 20000 40000 80000 --classes 10
"""

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np

from forget_audit.rows import Rows
from forget_audit.seeds import generator
from forget_audit.types import Case, Floats, Labels
from forget_audit.verdict import scoretable
from forget_audit.verdict.policy import weigh
from forget_audit.verdict.profiles import PROFILES
from forget_audit.verdict.weighing import GROUPS, Group

SIZES = (62_500, 125_000, 250_000, 500_000, 1_000_000)
IDENTITY, ORIGINALS = 2, 8
LEANING: dict[Group, float] = {"retrained": 0.0, "identity": 0.0, "originals": 2.0, "audited": 0.5}
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
STAGES = ("collect", "pack", "read", "weigh")


class Drawn:
    """Answers of a model that was never trained: noise, and what it remembers of forget rows."""

    def __init__(self, number: int, leaning: float, classes: int) -> None:
        self.number, self.leaning, self.classes = number, leaning, classes

    def logits(self, rows: Rows) -> Floats:
        """Return logits `(n, classes)` that lean towards the label, more so where it was taught."""
        rng = generator(self.number, len(rows))
        drawn = rng.standard_normal((len(rows), self.classes), dtype=np.float32)
        ease = generator(0, "ease", len(rows)).random(len(rows), dtype=np.float32)
        forget = rows.x[0, 0] == 1
        drawn[np.arange(len(rows)), rows.y] += (1 + self.leaning * forget) * ease
        return drawn.astype(np.float64)

    def accuracy(self, rows: Rows) -> float:
        """Return an accuracy that varies from model to model."""
        return 0.9 + 0.01 * float(generator(self.number, "accuracy", len(rows)).random())


def request(rows: int, classes: int) -> Case:
    """Return forget, control and a few retained rows, whose roles are not compared."""

    def part(n: int, name: str, forget: float) -> Rows:
        y: Labels = np.arange(n, dtype=np.int64) % classes
        x = np.full((n, 1), forget, np.float32)
        return Rows(x=x, y=y, ids=np.char.add(name, np.arange(n).astype(np.str_)))

    forgotten = rows // 10
    control = part(rows - forgotten, "t", 0.0)
    case = SimpleNamespace(
        forget=part(forgotten, "f", 1.0), test=control, never_trained=control,
        retain=part(100, "r", 0.0), others=None, attribute=None, multi_label=False,
        n_classes=classes, scope="instance",
    )  # fmt: skip
    return cast(Case, case)


def measure(rows: int, models: int, classes: int) -> dict[str, Any]:
    """Run all stages once in this process."""
    case, number = request(rows, classes), 0
    sizes = {"originals": ORIGINALS, "audited": 1, "identity": IDENTITY}
    sizes["retrained"] = models - sum(sizes.values())
    groups: dict[Group, list[Any]] = {}
    for group in GROUPS:
        groups[group] = [Drawn(number + k, LEANING[group], classes) for k in range(sizes[group])]
        number += sizes[group]
    marks = [(time.process_time(), _peak())]
    arrays = scoretable.collect(groups, case, b"secret")
    marks.append((time.process_time(), _peak()))
    data = scoretable.to_bytes(arrays)
    del arrays
    marks.append((time.process_time(), _peak()))
    answers = scoretable.models_of(scoretable.from_bytes(data))
    marks.append((time.process_time(), _peak()))
    weighed = weigh(answers, profile=PROFILES["standard"], scope="instance")
    marks.append((time.process_time(), _peak()))
    stages = zip(STAGES, marks, marks[1:], strict=False)
    return {
        "rows": rows,
        "cpu_s": marks[-1][0] - marks[0][0],
        **{f"{name}_s": after[0] - before[0] for name, before, after in stages},
        "peak_gb": dict(zip(("before", *STAGES), (peak for _, peak in marks), strict=True)),
        "scores_gb": len(data) / 1e9,
        "outcome": weighed.verdict.outcome,
        "rho_p": weighed.privacy.of("rho_p").difference,
    }


def _peak() -> float:
    """Return the most memory this process has held, in GB of 10^9 bytes."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9


def exponent(rows: list[int], seconds: list[float]) -> float:
    """Return the slope of log seconds over log rows."""
    return float(np.polyfit(np.log(rows), np.log(seconds), 1)[0])


def main() -> None:
    """Measure each size in a process of its own, print and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=list(SIZES))
    parser.add_argument("--models", type=int, default=64)
    parser.add_argument("--classes", type=int, default=2)
    parser.add_argument("--out", type=Path, help="write the numbers here as JSON")
    parser.add_argument("--here", action="store_true", help="one size, in this process")
    chosen = parser.parse_args()
    if chosen.here:
        print(json.dumps(measure(chosen.rows[0], chosen.models, chosen.classes)))
        return
    found = []
    print(f"{chosen.models} models, {chosen.classes} classes, one thread")
    print("     rows   CPU s  " + "  ".join(f"{name:>7}" for name in STAGES) + "  peak GB  verdict")
    for rows in chosen.rows:
        options = ["--rows", rows, "--models", chosen.models, "--classes", chosen.classes]
        call = [sys.executable, __file__, "--here", *map(str, options)]
        environment = {**os.environ, **dict.fromkeys(THREADS, "1")}
        done = subprocess.run(call, env=environment, capture_output=True, text=True, check=True)
        one = json.loads(done.stdout.splitlines()[-1])
        found.append(one)
        stages = "  ".join(f"{one[f'{name}_s']:7.1f}" for name in STAGES)
        peak, outcome = one["peak_gb"]["weigh"], one["outcome"]
        print(f"{rows:9d} {one['cpu_s']:7.1f}  {stages}  {peak:7.2f}  {outcome}", flush=True)
    result: dict[str, Any] = {"models": chosen.models, "classes": chosen.classes, "sizes": found}
    if len(found) > 1:
        names = ("cpu", *STAGES)
        result["exponents"] = {
            name: exponent(chosen.rows, [one[f"{name}_s"] for one in found]) for name in names
        }
        shown = ", ".join(f"{name} {value:.2f}" for name, value in result["exponents"].items())
        print(f"exponents of time in rows: {shown}")
    if chosen.out:
        result |= {"python": platform.python_version(), "machine": platform.machine()}
        chosen.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
