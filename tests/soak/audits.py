"""Many small real audits in one process, and how much memory the process holds after each."""

import gc
import os
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

from forget_audit.audits import runs
from forget_audit.console import say
from forget_audit.progress import Silent
from forget_audit.verification.verify import verify_path
from tests.fixtures.released import trust

WARM_UP = 40  # by then every kind of audit was carried out, and all pools are as large as needed
PLAN = """\
[request]
reference = "SOAK-{number}"
random = 20

[data]
source = "digits"
train = 60
test = 40
auxiliary = 0

[model]
architecture = "{architecture}"

[training]
epochs = 1

[method]
name = "{method}"

[references]
seed = {number}
retrained = 3
originals = 2
identity = 2
shadows = 0

[battery]
attacks = ["loss_threshold"]

[report]
formats = {formats}
"""


@dataclass(frozen=True, kw_only=True)
class Figures:
    """What was measured.

    Args:
        audits: How many there were.
        warm_mib: Memory after the first of them, MiB.
        end_mib: Memory after the last.
        most_mib: The largest after any of those between.
        seconds: Of the processor, an audit.
    """

    audits: int
    warm_mib: float
    end_mib: float
    most_mib: float
    seconds: float

    @property
    def growth(self) -> float:
        """MiB by which the process has grown since it was warm."""
        return max(self.most_mib, self.end_mib) - self.warm_mib


def audit_once(folder: Path, number: int) -> str:
    """Carry out one audit of its own plan in its own folder, and return the id of its report.

    Every tenth is a draft, every tenth has a page, since drawing takes the longest by far; the
    others are signed without one. Two architectures and methods take turns.
    """
    place = folder / f"plan-{number}"
    place.mkdir(parents=True)
    path = place / "plan.toml"
    text = PLAN.format(
        number=number,
        architecture=("linear", "mlp")[number % 2],
        method=("finetune", "retrain")[number // 2 % 2],
        formats='["html"]' if number % 10 == 5 else "[]",
    )
    path.write_text(text, encoding="utf-8")
    issue = runs.Issue(draft=number % 10 == 0)
    done = runs.certify(runs.read(path), place / "audit", Silent(), issue=issue)
    evidence = done.audit.evidence
    assert (evidence["verdict"]["outcome"], evidence["battery"]["attempt"]) == ("INCONCLUSIVE", 1)
    if not issue.draft:
        found = verify_path(place / "audit", trust())
        assert found.exit_code == 3, found.checks  # intact, by a key of this account
    shutil.rmtree(place)
    return str(evidence["report"]["id"])


def many(folder: Path, audits: int, *, warm_up: int = WARM_UP, every: int = 25) -> Figures:
    """Carry out audits one after another and print the memory of the process now and then.

    Args:
        folder: Plans go here, each for as long as its audit takes.
        audits: How many after the process is warm.
        warm_up: How many before.
        every: After how many a line is printed.
    """
    named = {audit_once(folder, number) for number in range(warm_up)}
    gc.collect()
    warm = highest = resident()
    start = time.process_time()
    for number in range(warm_up, warm_up + audits):
        named.add(audit_once(folder, number))
        if (number + 1 - warm_up) % every == 0:
            gc.collect()
            highest = max(highest, resident())
            say(f"{number + 1 - warm_up:>5} audits  {resident():7.1f} MiB")
    assert len(named) == warm_up + audits
    gc.collect()
    seconds = (time.process_time() - start) / audits
    return Figures(
        audits=audits, warm_mib=warm, end_mib=resident(), most_mib=highest, seconds=seconds
    )


def resident() -> float:
    """Return the memory of this process that is in use, MiB, without files that it has mapped."""
    pages = Path("/proc/self/statm").read_text("ascii").split()
    return (int(pages[1]) - int(pages[2])) * os.sysconf("SC_PAGE_SIZE") / 2**20
