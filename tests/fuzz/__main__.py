"""Fuzz every door: `python -m tests.fuzz --cases 200000 [--door NAME] [--seed N]`.

`--guided [--seconds S]` lets coverage decide which inputs are changed on: so much processor time a
door, and each run its own way.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from forget_audit.console import say
from tests.fuzz.doors import Door, chosen
from tests.fuzz.harness import Fuzzer, Tally, tell
from tests.fuzz.scratch import settle


def shares(doors: Sequence[Door], cases: int) -> dict[str, int]:
    """Return how many cases each door gets."""
    whole = sum(door.share for door in doors)
    return {door.name: max(1, round(cases * door.share / whole)) for door in doors}


def line(tally: Tally) -> str:
    """Return a row of the table."""
    return (
        f"{tally.door:<24}{tally.cases:>9}{tally.refused:>9}{tally.accepted:>9}"
        f"{tally.ways:>7}{len(tally.findings):>9}{tally.slowest_s:>10.2f} s"
    )


def written(tallies: Sequence[Tally], seed: int, seconds: float) -> dict[str, object]:
    """Return what goes into the file of results."""
    return {
        "seed": seed,
        "python": platform.python_version(),
        "cpu_seconds": round(seconds, 1),
        "cases": sum(tally.cases for tally in tallies),
        "findings": sum(len(tally.findings) for tally in tallies),
        "doors": {
            tally.door: {
                "cases": tally.cases,
                "refused": tally.refused,
                "accepted": tally.accepted,
                "ways": tally.ways,
                "slowest_s": round(tally.slowest_s, 3),
                "findings": sorted(tally.findings),
            }
            for tally in tallies
        },
    }


def merged(path: Path, new: dict[str, object]) -> dict[str, object]:
    """Return new results; doors that were left out this time keep what they had."""
    before = json.loads(path.read_text("utf-8")) if path.is_file() else {"doors": {}}
    if set(before["doors"]) <= set(new["doors"]):  # type: ignore[call-overload]
        return new
    doors = {**before["doors"], **dict(new["doors"])}  # type: ignore[call-overload]
    return {
        **new,
        "cpu_seconds": round(float(str(new["cpu_seconds"])) + before["cpu_seconds"], 1),
        "cases": sum(door["cases"] for door in doors.values()),
        "findings": sum(len(door["findings"]) for door in doors.values()),
        "doors": dict(sorted(doors.items())),
    }


def _tallies(doors: Sequence[Door], asked: argparse.Namespace) -> Iterator[Tally]:
    """Yield what came of each door, and print it."""
    for door in doors:
        n = shares(doors, asked.cases)[door.name]
        tally = Fuzzer(door, asked.seed, write=asked.keep).run(n)
        say(line(tally))
        yield tally


def main() -> int:
    """Run, print the table, write results; 1 if anything was found."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--cases", type=int, default=200_000, help="over all doors")
    parser.add_argument("--door", action="append", help="only this one; may be said again")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--guided", action="store_true", help="by coverage; needs atheris")
    parser.add_argument("--seconds", help="of processor time a door; with --guided")
    parser.add_argument("--keep", action="store_true", help="write new inputs into the corpus")
    parser.add_argument("--out", type=Path, help="file of results; doors left out stay in it")
    asked = parser.parse_args()
    if asked.guided:  # in a process that instruments what it imports
        words = [word for word in sys.argv[1:] if word != "--guided"]
        return subprocess.call([sys.executable, "-m", "tests.fuzz.guided", *words])
    doors = chosen(asked.door)
    say(f"{'door':<24}{'cases':>9}{'refused':>9}{'accepted':>9}{'ways':>7}{'findings':>9}"
          f"{'slowest':>12}")  # fmt: skip
    start = sum(os.times()[:4])
    tallies = list(_tallies(doors, asked))
    seconds = sum(os.times()[:4]) - start
    code = tell(tallies)
    say(f"{sum(tally.cases for tally in tallies)} cases, {seconds:.0f} s of processor time")
    if asked.out:
        results = merged(asked.out, written(tallies, asked.seed, seconds))
        asked.out.parent.mkdir(parents=True, exist_ok=True)
        asked.out.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    return code


if __name__ == "__main__":
    settle()
    sys.exit(main())
