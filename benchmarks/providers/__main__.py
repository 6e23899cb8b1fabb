"""Judge every kind of provider, print the table, and write it as JSON.

python -m benchmarks.providers --seeds 20            measures, prints, writes JSON and docs
python -m benchmarks.providers --write               writes the table into docs/security.md
"""

from __future__ import annotations

import argparse
import gc
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from joblib import Parallel, delayed

from benchmarks.providers import attempts, page, refusals
from benchmarks.providers.cheats import CHEATS
from benchmarks.providers.worlds import CLASS, Finding, World, dice, world
from benchmarks.speed.machine import description
from forget_audit.whole_files import write_whole

EACH = {"instance": 5, "class": 10}  # suspects of each kind in one request
Kind = Literal["instance", "class", "attempts", "refusals"]
Row = tuple[str, str, str, str]  # group, name, access, what the docs say
Findings = Mapping[Row, Sequence[Finding]]


@dataclass(frozen=True, kw_only=True)
class Job:
    """A part of the work that needs nothing of the others.

    Args:
        kind: Of the part.
        number: Of the request.
        count: Suspects of each kind.
    """

    kind: Kind
    number: int
    count: int


def jobs(seeds: int) -> Iterator[Job]:
    """Yield all parts, those of a kind in order of their requests."""
    for kind in ("instance", "class"):
        for number, start in enumerate(range(0, seeds, EACH[kind])):
            count = min(EACH[kind], seeds - start)
            yield Job(kind=kind, number=number, count=count)
    yield Job(kind="attempts", number=0, count=seeds)
    yield Job(kind="refusals", number=0, count=seeds)


def done(job: Job) -> tuple[float, Findings]:
    """Return the CPU seconds of a part and what it found."""
    start = time.process_time()
    gc.collect()
    gc.freeze()
    if job.kind == "attempts":
        found = _attempts(job)
    elif job.kind == "refusals":
        found = _refusals(job)
    else:
        found = _judged(job)
    return time.process_time() - start, found


def _judged(job: Job) -> Findings:
    """Judge all suspects of one request."""
    room = _room(job)
    found: dict[Row, list[Finding]] = {}
    for cheat in (cheat for cheat in CHEATS if cheat.scope == job.kind):
        for k in range(job.count):
            suspect = cheat.make(room, k, dice(room, cheat.group, cheat.name, k))
            for access, expected in cheat.expected.items():
                rng = dice(room, cheat.group, cheat.name, k, "draw")
                row = (cheat.group, cheat.name, access, expected)
                found.setdefault(row, []).append(room.judge(suspect, access, k, rng))
    return found


def _room(job: Job) -> World:
    if job.kind == "class":
        return world(job.number, CLASS, pool=42 + job.count, originals=8 + job.count)
    return world(job.number, pool=55 + job.count, originals=9 + job.count)


def _attempts(job: Job) -> Findings:
    return {
        (attempts.GROUP, name, "weights", expected): findings
        for name, expected, findings in attempts.best_of(job.count)
    }


def _refusals(job: Job) -> Findings:
    room = world(2000, pool=job.count, originals=job.count)
    return {
        (refusals.GROUP, name, access, "caught"): [
            refusals.refusal(name, room, k) for k in range(job.count)
        ]
        for name, (access, _, _) in refusals.CASES.items()
    }


def kept(job: Job, folder: Path | None) -> tuple[float, Findings]:
    """Return what `done` does, from `folder` if it was done before."""
    if folder is None:
        return done(job)
    file = folder / f"{job.kind}-{job.number}-{job.count}.json"
    if not file.is_file():
        spent, found = done(job)
        rows = [[list(row), findings] for row, findings in found.items()]
        write_whole(file, json.dumps([spent, rows]).encode())
    spent, rows = json.loads(file.read_text("utf-8"))
    return spent, {
        (row[0], row[1], row[2], row[3]): [(outcome, tuple(why)) for outcome, why in findings]
        for row, findings in rows
    }


def measured(seeds: int, workers: int = 1, folder: Path | None = None) -> page.Json:
    """Return the whole result, each kind of provider judged so many times.

    Args:
        seeds: How many times.
        workers: Processes.
        folder: Where finished parts are kept, so that a run that was broken off goes on.
    """
    found: dict[Row, list[Finding]] = {}
    seconds = 0.0
    run = Parallel(n_jobs=workers)
    for spent, part in run(delayed(kept)(job, folder) for job in jobs(seeds)):
        seconds += spent
        for row, findings in part.items():
            found.setdefault(row, []).extend(findings)
    rows = [page.entry(*row, findings) for row, findings in found.items()]
    return {"cpu_seconds": round(seconds), "machine": description(), "rows": rows}


def main() -> None:
    """Measure and write, or write the table alone."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--keep", type=Path, help="folder of finished parts, to go on from")
    parser.add_argument("--write", action="store_true", help="write docs/security.md and stop")
    chosen = parser.parse_args()
    if not chosen.write:
        page.write(measured(chosen.seeds, chosen.workers, chosen.keep))
    result = page.read()
    print(page.table(result))
    page.write_docs(result)


if __name__ == "__main__":
    main()
