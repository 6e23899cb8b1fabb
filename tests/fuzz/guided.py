"""Fuzzing by coverage with atheris (libFuzzer): lines reached decide which inputs are changed on.

`python -m tests.fuzz --guided [--seconds S] [--door NAME] [--seed N] [--keep]` runs this as a
program. This package is instrumented while it is imported, once; each door then gets a process
forked from that one. Optional: atheris is made for Linux and some versions of Python.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import random
import re
import resource
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import redirect_stderr
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.fuzz.doors import Door
    from tests.fuzz.harness import Tally

LONGEST = 1 << 18
LARGEST_EDGE, MOST_EDGES = 4000, 3  # of the inputs of one run at a door that are kept
EVERY = 10
SPARE_S = 120  # of processor time beyond the seconds asked for: then a process is ended
HEAD = (
    "door                          cases  refused accepted  corpus  edges features findings"
    "    slowest"
)
SEEN = re.compile(r"cov: (\d+) ft: (\d+) corp: (\d+)/")


@dataclass(frozen=True)
class Reached:
    """What libFuzzer saw at one door.

    Args:
        edges: Edges of the program that were reached.
        features: Edges, and how often in one case.
        corpus: Inputs that reached something first.
    """

    edges: int = 0
    features: int = 0
    corpus: int = 0


def guided(
    door: Door, good: Sequence[bytes], seed: int, seconds: float, *, write: bool = False
) -> tuple[Tally, Reached]:
    """Return what came of a door, and how much of the program was reached there.

    Args:
        door: The door; this package must have been instrumented when it was imported.
        good: Its good inputs.
        seed: Of libFuzzer.
        seconds: Processor time.
        write: Whether findings and small inputs that reached new lines go into the corpus.

    Raises:
        RuntimeError: If the process ended without a reason that could be found.
    """
    from tests.fuzz.harness import Tally
    from tests.fuzz.kept_inputs import keep, kept
    from tests.fuzz.scratch import scratch

    place = Path(tempfile.mkdtemp(prefix="guided-", dir=scratch()))
    for name in ("old", "new"):
        (place / name).mkdir()
    for i, data in enumerate((*good, *(path.read_bytes() for path in kept(door)))):
        (place / "old" / str(i)).write_bytes(data)
    code = _forked(door, good, place, seed, seconds)
    said = (place / "log").read_text("utf-8", "replace")
    tally = Tally(door=door.name, **json.loads((place / "counts.json").read_bytes()))
    for mark, kind, data, detail in map(
        json.loads, (place / "findings").read_text("utf-8").splitlines()
    ):
        tally.findings.setdefault(mark, (kind, base64.b64decode(data), detail))
    for path in sorted(place.glob("found-*")):
        kind = path.name.split("-")[1]
        tally.findings[f"{kind}: {path.name}"] = (kind, path.read_bytes(), said[-2000:])
    if code and not tally.findings:
        raise RuntimeError(f"{door.name}: ended with {code}: {said[-3000:]}")
    seen = SEEN.findall(said)
    new = [path for path in (place / "new").iterdir() if path.stat().st_size <= LARGEST_EDGE]
    new.sort(key=lambda path: -path.stat().st_mtime_ns)  # the last ones were hardest to find
    for path in new[:MOST_EDGES] if write else ():
        keep(door, path.read_bytes(), "edge")
    for _, data, _ in tally.findings.values() if write else ():
        keep(door, data, "found")
    shutil.rmtree(place)
    return tally, Reached(*map(int, seen[-1])) if seen else Reached()


def _forked(door: Door, good: Sequence[bytes], place: Path, seed: int, seconds: float) -> int:
    from tests.fuzz.scratch import die_with

    master = os.getpid()
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    try:
        die_with(master)
        log = os.open(place / "log", os.O_WRONLY | os.O_CREAT, 0o600)
        os.dup2(log, 1)
        os.dup2(log, 2)
        _fuzz(door, good, place, seed, seconds)
    finally:
        os._exit(1)


def _fuzz(door: Door, good: Sequence[bytes], place: Path, seed: int, seconds: float) -> None:
    from tests.fuzz.harness import LIMIT_BYTES, LIMIT_S, Tally, enter, judged, limit_memory
    from tests.fuzz.structures import mutated

    atheris: Any = import_module("atheris")  # no types, and not everywhere
    limit_memory()
    began = time.process_time()
    most = int(began + seconds + SPARE_S)
    resource.setrlimit(resource.RLIMIT_CPU, (most, most))
    tally, inside = Tally(door=door.name), place / "case"

    def count() -> None:
        found = {
            key: value for key, value in vars(tally).items() if key not in ("door", "findings")
        }
        (place / "counts.json").write_text(json.dumps(found), encoding="utf-8")

    def one(data: bytes) -> None:
        if time.process_time() - began > seconds:
            count()
            os._exit(0)
        inside.mkdir(exist_ok=True)
        answer = enter(door, data, inside)
        if any(inside.iterdir()):
            shutil.rmtree(inside)
        tally.cases += 1
        tally.refused += answer.outcome == "refused"
        tally.accepted += answer.outcome in ("accepted", "same")
        tally.slowest_s = max(tally.slowest_s, answer.seconds)
        wrong = judged(door, data, answer, good)
        if wrong is not None:
            there = base64.b64encode(data).decode()
            with (place / "findings").open("a", encoding="utf-8") as file:
                line = [f"{wrong}: {answer.mark}", wrong, there, answer.detail]
                file.write(json.dumps(line) + "\n")
        if tally.cases % EVERY == 1:
            count()

    def change(data: bytes, most: int, seed: int) -> bytes:
        rng = random.Random(seed)
        if rng.random() < 0.3:
            return bytes(atheris.Mutate(data, most))
        return mutated(data, rng, good, door.suffix, door.dictionary)[:most]

    (place / "findings").touch()
    count()
    options = [
        f"-seed={seed + 1}", f"-timeout={int(3 * LIMIT_S)}", f"-max_len={LONGEST}",
        f"-rss_limit_mb={2 * LIMIT_BYTES >> 20}", f"-artifact_prefix={place}/found-",
        "-print_funcs=0", "-report_slow_units=100000", str(place / "new"), str(place / "old"),
    ]  # fmt: skip
    atheris.Setup([sys.argv[0], *options], one, custom_mutator=change)
    atheris.Fuzz()


def _line(tally: Tally, reached: Reached) -> str:
    return (
        f"{tally.door:<26}{tally.cases:>9}{tally.refused:>9}{tally.accepted:>9}"
        f"{reached.corpus:>8}{reached.edges:>7}{reached.features:>9}{len(tally.findings):>9}"
        f"{tally.slowest_s:>9.2f} s"
    )


def main(words: Sequence[str]) -> int:
    """Run every door, or those named, and print the table; 1 if anything was found."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz --guided")
    parser.add_argument("--door", action="append")
    parser.add_argument("--seconds", type=float, default=15.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", action="store_true")
    asked = parser.parse_args(words)
    if find_spec("atheris") is None:
        raise SystemExit('--guided needs atheris, on Linux: pip install -e ".[fuzz]"')
    atheris: Any = import_module("atheris")
    with atheris.instrument_imports(include=["forget_audit"], enable_loader_override=False):
        with redirect_stderr(StringIO()):  # it says which modules
            from forget_audit.console import say
            from tests.fuzz.doors import chosen
            from tests.fuzz.harness import tell
            from tests.fuzz.scratch import settle

            doors = chosen(asked.door)
        settle()
        say(HEAD)
        tallies = []
        for door in doors:
            good = tuple(door.seeds())
            tally, reached = guided(door, good, asked.seed, asked.seconds, write=asked.keep)
            tallies.append(tally)
            say(_line(tally, reached))
    say(f"{sum(tally.cases for tally in tallies)} cases")
    return tell(tallies)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
