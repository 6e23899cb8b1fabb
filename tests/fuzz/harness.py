"""Cases one after the other in a process of their own, under a watch for time and memory."""

from __future__ import annotations

import gc
import multiprocessing
import os
import random
import re
import resource
import shutil
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

import forget_audit
from forget_audit.console import say
from forget_audit.errors import ForgetAuditError
from forget_audit.seeds import derive
from tests.fuzz.doors import SAME, Door, Refused
from tests.fuzz.kept_inputs import keep, kept
from tests.fuzz.scratch import die_with, scratch
from tests.fuzz.structures import mutated

PACKAGE = Path(forget_audit.__file__).parent
LIMIT_S = 10.0
LIMIT_BYTES = 2 << 30
Outcome = Literal["accepted", "same", "refused", "escaped", "memory", "slow", "hang", "died"]


@dataclass(frozen=True)
class Answer:
    """What came of one case.

    Args:
        outcome: How it ended.
        mark: Where and how, so that equal marks are equal ways through the code.
        seconds: Processor time; of a hang, time on the clock.
        detail: The traceback of what escaped, else the message.
    """

    outcome: Outcome
    mark: str
    seconds: float
    detail: str = ""


@dataclass(kw_only=True)
class Tally:
    """Counts of one door.

    Args:
        door: Its name.
        findings: What must not be, by mark: how, the input, the detail.
    """

    door: str
    cases: int = 0
    refused: int = 0
    accepted: int = 0
    slowest_s: float = 0.0
    ways: int = 0
    findings: dict[str, tuple[str, bytes, str]] = field(default_factory=dict)


def _mark(error: BaseException) -> str:
    """Name the lines of this package that an error passed, and the line it began at."""
    if isinstance(error, Refused):
        return re.sub(r"[0-9a-f]*\d[0-9a-f]*", "#", str(error)[:100])
    frames = [
        (Path(frame.f_code.co_filename), number)
        for frame, number in traceback.walk_tb(error.__traceback__)
    ]
    ours = [(path, number) for path, number in frames if PACKAGE in path.parents]
    places = dict.fromkeys([*ours[-3:], *(() if error_is_deep(error) else frames[-1:])])
    return " ".join([type(error).__name__, *(f"{path.stem}:{n}" for path, n in places)])


def error_is_deep(error: BaseException) -> bool:
    """Return whether the innermost line of an error is chance."""
    return isinstance(error, RecursionError | MemoryError)


def enter(door: Door, data: bytes, scratch: Path) -> Answer:
    """Let bytes in, and say what came of them."""
    start = time.process_time()
    outcome: Outcome
    try:
        value = door.enter(data, scratch)
        outcome, mark, detail = "accepted", "accepted", ""
        if value is SAME:
            outcome, mark = "same", "same"
    except ForgetAuditError as error:
        places = [problem.place for problem in getattr(error, "problems", ())]
        mark = " ".join([_mark(error), *places[:4]])
        outcome, detail = "refused", str(error)[:300]
    except MemoryError as error:
        outcome, mark, detail = "memory", _mark(error), traceback.format_exc(limit=-12)
    except BaseException as error:  # noqa: BLE001 whatever escapes is what is looked for
        outcome, mark = "escaped", _mark(error)
        detail = "".join(traceback.format_exception(error, limit=-12))
    seconds = time.process_time() - start
    if outcome in ("accepted", "same", "refused") and seconds > LIMIT_S:
        outcome, mark = "slow", f"slow {mark}"
    return Answer(outcome, mark, seconds, detail[-3000:])


def limit_memory() -> None:
    """Allow as much as is in use now, and twice the limit more; Linux alone."""
    if sys.platform != "linux":
        return
    pages = int(Path("/proc/self/statm").read_text("ascii").split()[5])
    most = pages * resource.getpagesize() + 2 * LIMIT_BYTES
    resource.setrlimit(resource.RLIMIT_DATA, (most, most))


def _most_used() -> int:
    """Return the most memory that this process ever had, in bytes."""
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else 1024 * most


def _work(
    door: Door, pipe: Connection, theirs: Connection, place: Path, *, master: int, quiet: bool
) -> None:
    die_with(master)
    theirs.close()  # else the pipe would never end for this process
    limit_memory()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if quiet:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 1)
        os.dup2(nowhere, 2)
    gc.freeze()
    inside, before = place / "case", _most_used()
    while True:
        try:
            data = pipe.recv_bytes()
        except EOFError:
            os._exit(0)
        inside.mkdir(exist_ok=True)
        answer = enter(door, data, inside)
        more, before = _most_used() - before, _most_used()
        if more > LIMIT_BYTES:
            answer = Answer("memory", f"memory {answer.mark}", answer.seconds, f"{more} bytes")
        pipe.send(answer)
        if any(inside.iterdir()):
            shutil.rmtree(inside)


class Worker:
    """A process that lets bytes in; it is made anew when it hangs or dies.

    Args:
        door: Where.
        quiet: Whether what is printed there goes nowhere.
    """

    def __init__(self, door: Door, *, quiet: bool = True) -> None:
        self.door = door
        self.quiet = quiet
        self._scratch = Path(tempfile.mkdtemp(prefix="worker-", dir=scratch()))
        self._start()

    def _start(self) -> None:
        # Forked, so that keys and trust made once are those the seeds are signed with.
        context = multiprocessing.get_context("fork")
        self._pipe, there = context.Pipe()
        self._process = context.Process(
            target=_work,
            args=(self.door, there, self._pipe, self._scratch),
            kwargs={"master": os.getpid(), "quiet": self.quiet},
            daemon=True,
        )
        self._process.start()
        there.close()

    def _stop(self) -> None:
        self._pipe.close()
        self._process.kill()
        self._process.join()

    def ask(self, data: bytes) -> Answer:
        """Return what comes of one case; the process that hangs on it is ended."""
        self._pipe.send_bytes(data)
        # Three times the limit on the clock: the machine may be busy with others.
        if not self._pipe.poll(3 * LIMIT_S):
            self._stop()
            self._start()
            return Answer("hang", "hang", 3 * LIMIT_S)
        try:
            answer: Answer = self._pipe.recv()
        except EOFError:
            self._process.join()
            code = self._process.exitcode
            self._stop()
            self._start()
            return Answer("died", f"died with {code}", 0.0)
        return answer

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop()
        shutil.rmtree(self._scratch, ignore_errors=True)


def cases(door: Door, good: Sequence[bytes], pool: Sequence[bytes], seed: int) -> Iterator[bytes]:
    """Yield mutations without end: of good inputs and, as often, of all that are in the pool."""
    rng = random.Random(derive(seed, door.name))
    while True:
        data = rng.choice(good if rng.random() < 0.5 else pool)
        yield mutated(data, rng, pool, door.suffix, door.dictionary)


def judged(door: Door, data: bytes, answer: Answer, good: Sequence[bytes]) -> str | None:
    """Return what is wrong with an answer, or nothing."""
    if answer.outcome in ("escaped", "memory", "slow", "hang", "died"):
        return answer.outcome
    if answer.outcome == "accepted" and door.must_refuse and data not in good:
        return "accepted tampering"
    return None


def tell(tallies: Sequence[Tally]) -> int:
    """Print what was found at doors; return 1 if anything was, else 0."""
    for tally in tallies:
        for mark, (kind, data, detail) in tally.findings.items():
            say(f"\n{tally.door}: {kind} ({mark}), {len(data)} bytes: {data[:200]!r}\n{detail}")
    return 1 if any(tally.findings for tally in tallies) else 0


class Fuzzer:
    """One door, its worker and what is known of it so far.

    Args:
        door: The door.
        seed: Root of the random changes.
        write: Whether new ways and findings go into the corpus.
    """

    def __init__(self, door: Door, seed: int, *, write: bool = False) -> None:
        self.door, self.write = door, write
        self.good = tuple(door.seeds())
        self.pool = [*self.good, *(path.read_bytes() for path in kept(door))]
        self.tally = Tally(door=door.name)
        self.marks: set[str] = set()
        self.cases = cases(door, self.good, self.pool, seed)

    def one(self, worker: Worker, data: bytes) -> Answer:
        """Let one input in, and count and return what came of it."""
        answer = worker.ask(data)
        tally = self.tally
        tally.cases += 1
        tally.refused += answer.outcome == "refused"
        tally.accepted += answer.outcome in ("accepted", "same")
        tally.slowest_s = max(tally.slowest_s, answer.seconds)
        wrong = judged(self.door, data, answer, self.good)
        if wrong is not None:
            mark = f"{wrong}: {answer.mark}"
            if mark not in tally.findings:
                tally.findings[mark] = (wrong, data, answer.detail)
                if self.write:
                    keep(self.door, data, "found")
        elif answer.mark not in self.marks:
            self.marks.add(answer.mark)
            tally.ways += 1
            if data not in self.pool and len(self.pool) < 1000:
                self.pool.append(data)
                if self.write:
                    keep(self.door, data, "way")
        return answer

    def run(self, n: int) -> Tally:
        """Let in all that is kept, then `n` changed inputs."""
        with Worker(self.door) as worker:
            for data in tuple(self.pool):
                self.one(worker, data)
            for _ in range(n):
                self.one(worker, next(self.cases))
        return self.tally
