"""Fuzzing by coverage with atheris (libFuzzer): lines reached decide which inputs are changed on.

Optional: atheris is made for Linux and some versions of Python. Each door runs in a process of its
own, which instruments this package while it is imported.
"""

from __future__ import annotations

import base64
import json
import random
import shutil
import subprocess
import sys
import tempfile
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.fuzz.harness import Tally

LONGEST = 1 << 18
EVERY = 10


def guided(name: str, seed: int, cases: int, *, write: bool = False) -> Tally:
    """Return what came of so many cases at one door.

    Args:
        name: Of the door.
        seed: Of libFuzzer.
        cases: How many.
        write: Whether small inputs that reached new lines go into the corpus.
    """
    from tests.fuzz.doors import all_doors
    from tests.fuzz.harness import LIMIT_BYTES, LIMIT_S, Tally, keep

    if find_spec("atheris") is None:
        raise SystemExit("--guided needs atheris, on Linux: pip install atheris")
    door = next(item for item in all_doors() if item.name == name)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        (folder / "new").mkdir()
        call = [
            sys.executable, "-m", "tests.fuzz.guided", name, place, f"-runs={cases}",
            f"-seed={seed + 1}", f"-timeout={int(3 * LIMIT_S)}", f"-max_len={LONGEST}",
            f"-rss_limit_mb={2 * LIMIT_BYTES >> 20}", f"-artifact_prefix={place}/found-",
            "-print_final_stats=0", "-verbosity=0", str(folder / "new"),
        ]  # fmt: skip
        done = subprocess.run(call, capture_output=True, text=True, check=False, errors="replace")
        if not (folder / "counts.json").is_file():
            raise RuntimeError(f"{name}: {done.stderr[-3000:]}")
        counts = json.loads((folder / "counts.json").read_bytes())
        tally = Tally(door=name, **counts)
        lines = (folder / "findings").read_text("utf-8").splitlines()
        for mark, kind, data, detail in map(json.loads, lines):
            tally.findings.setdefault(mark, (kind, base64.b64decode(data), detail))
        for path in sorted(folder.glob("found-*")):
            tally.findings[f"hang or memory: {path.name}"] = (
                "hang", path.read_bytes(), done.stderr[-2000:],
            )  # fmt: skip
        if done.returncode and not tally.findings:
            raise RuntimeError(f"{name}: {done.stderr[-3000:]}")
        tally.ways = sum(1 for _ in (folder / "new").iterdir())
        for path in sorted((folder / "new").iterdir()) if write else ():
            keep(door, path.read_bytes(), "edge")
    for _, data, _ in tally.findings.values():
        if write:
            keep(door, data, "found")
    return tally


def _child(name: str, place: Path, options: list[str]) -> None:
    atheris: Any = import_module("atheris")  # no types, and not everywhere
    with atheris.instrument_imports(include=["forget_audit"], enable_loader_override=False):
        from tests.fuzz.doors import all_doors
        from tests.fuzz.harness import Answer, Tally, enter, judged, kept
        from tests.fuzz.structures import mutated

        door = next(item for item in all_doors() if item.name == name)
    good = tuple(door.seeds())
    pool = [*good, *(path.read_bytes() for path in kept(door))]
    (place / "old").mkdir()
    for i, data in enumerate(pool):
        (place / "old" / str(i)).write_bytes(data)
    tally = Tally(door=name)
    inside = place / "case"

    def tell(answer: Answer, data: bytes) -> None:
        wrong = judged(door, data, answer, good)
        if wrong is not None:
            line = [
                f"{wrong}: {answer.mark}",
                wrong,
                base64.b64encode(data).decode(),
                answer.detail,
            ]
            with (place / "findings").open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")

    def counts() -> dict[str, Any]:
        kept_back = ("door", "findings")
        return {key: value for key, value in vars(tally).items() if key not in kept_back}

    def one(data: bytes) -> None:
        inside.mkdir()
        answer = enter(door, data, inside)
        shutil.rmtree(inside)
        tally.cases += 1
        tally.refused += answer.outcome == "refused"
        tally.accepted += answer.outcome in ("accepted", "same")
        tally.slowest_s = max(tally.slowest_s, answer.seconds)
        tell(answer, data)
        if tally.cases % EVERY == 1:
            (place / "counts.json").write_text(json.dumps(counts()), encoding="utf-8")

    def change(data: bytes, most: int, seed: int) -> bytes:
        rng = random.Random(seed)
        if rng.random() < 0.3:
            return bytes(atheris.Mutate(data, most))
        return mutated(data, rng, good, door.suffix, door.dictionary)[:most]

    (place / "findings").touch()
    (place / "counts.json").write_text(json.dumps(counts()), encoding="utf-8")
    atheris.Setup([sys.argv[0], *options, str(place / "old")], one, custom_mutator=change)
    atheris.Fuzz()


if __name__ == "__main__":
    _child(sys.argv[1], Path(sys.argv[2]), sys.argv[3:])
