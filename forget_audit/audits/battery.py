"""Runs every registered attack on the audited model and on its yardsticks.

Attacks end at scores; here the scores become metrics with intervals, each beside what
retrained models and originals get from the very same code.
"""

import logging
import time
from collections.abc import Callable, Sequence
from functools import partial

from forget_audit import registry
from forget_audit.attack_metrics import Groups, measured
from forget_audit.audits.results import Results
from forget_audit.audits.scoring import score_groups
from forget_audit.contracts import AttackInfo, Scores
from forget_audit.engines.engine import Engine
from forget_audit.engines.local import Local
from forget_audit.errors import (
    AccessError,
    ForgetAuditError,
    MachineError,
    NotApplicable,
    StorageError,
)
from forget_audit.faults import gpu_lost
from forget_audit.findings import AttackResult
from forget_audit.pools import Pool
from forget_audit.seeds import generator
from forget_audit.targets import Target
from forget_audit.trials import Experiment, Lab, Labs
from forget_audit.types import (
    ACCESS_ORDER,
    Access,
    Case,
    Outcome,
    Progress,
)

log = logging.getLogger(__name__)

FAILURES = (
    ForgetAuditError, ValueError, RuntimeError, ArithmeticError, LookupError, MemoryError,
)  # fmt: skip
YARDSTICKS = 3


def run_battery(
    audited: Target,
    pool: Pool,
    case: Case,
    seed: int,
    names: Sequence[str] | None = None,
    progress: Progress = lambda _: None,
    *,
    access: Access = "weights",
    results: Results | None = None,
    engine: Engine | None = None,
) -> list[AttackResult]:
    """Run all registered attacks; each gets a row, also when it was not run.

    Args:
        audited: The audited model (the first copy).
        pool: Reference models.
        case: The rows.
        seed: Root seed; every attack has generators of its own.
        names: Attacks to run; all if left out.
        progress: Called with 1 after each attack.
        access: The most that attacks may ask of any model.
        results: Where results are remembered; nowhere if left out.
        engine: Runs attacks elsewhere; one after the other in this process if left out.
    """
    memory = results or Results()
    found: dict[str, AttackResult] = {}
    wanted = []
    for name, kind in registry.attacks().items():
        row = _refused(kind.info, case, names, access) or memory.recall(kind)
        if row is None:
            wanted.append(name)
        else:
            found[name] = row
            progress(1)
    given = (audited, pool, case, seed)
    for place, result in (engine or Local()).run(_attacked, given, wanted):
        found[wanted[place]] = result
        memory.keep(registry.attacks()[wanted[place]], result)
        progress(1)
    return [found[name] for name in registry.attacks()]


def _refused(
    info: AttackInfo, case: Case, names: Sequence[str] | None, access: Access
) -> AttackResult | None:
    """Return the row of an attack that is not run; none if it is."""
    if names is not None and info.name not in names:
        return _empty(info.name, "not-run", "the plan does not ask for it", 0.0)
    reason = ""
    if ACCESS_ORDER.index(info.access) > ACCESS_ORDER.index(access):
        reason = f"needs access {info.access!r}, this audit has {access!r}"
    elif case.scope not in info.scopes:
        reason = _unserved(info, case)
    elif not _understood(info, case):
        reason = "reads one class a row, and these rows bear several labels"
    return _empty(info.name, "not-applicable", reason, 0.0) if reason else None


def _attacked(given: tuple[Target, Pool, Case, int], name: str) -> AttackResult:
    audited, pool, case, seed = given
    attack = registry.attacks()[name]()
    return _tried(attack.info, partial(score_groups, attack, audited, pool, case, seed))


def run_experiments(
    labs: Labs | None,
    case: Case,
    seed: int,
    names: Sequence[str],
    progress: Progress = lambda _: None,
    *,
    results: Results | None = None,
) -> list[AttackResult]:
    """Run experiments on the method; each gets a row, also when it was not run.

    Args:
        labs: Where models forget by the method, by retraining, or not at all; none if the
            audited model was handed in.
        case: The rows.
        seed: Root seed; every experiment has generators of its own.
        names: Experiments to run.
        progress: Called with 1 after each experiment.
        results: Where results are remembered; nowhere if left out.
    """
    memory = results or Results()
    found = []
    for name, kind in registry.experiments().items():
        outcome: Outcome = "not-applicable"
        reason = ""
        if name not in names:
            reason = "it trains models of its own, and the plan does not ask for it"
            outcome = "not-run"
        elif labs is None:
            reason = "it tests a method, and the audited model was handed in ready-made"
        elif case.scope not in kind.info.scopes:
            reason = _unserved(kind.info, case)
        found.append(
            _empty(name, outcome, reason, 0.0)
            if reason or labs is None
            else _conducted(kind, labs, case, seed, memory)
        )
        progress(1)
    return found


def _conducted(
    kind: type[Experiment], labs: Labs, case: Case, seed: int, memory: Results
) -> AttackResult:
    """Return the result of an experiment, remembered or found."""
    known = memory.recall(kind)
    if known is not None:
        return known
    experiment = kind()
    found = _tried(experiment.info, partial(conduct, experiment, labs, case, seed))
    memory.keep(kind, found)
    return found


def _understood(info: AttackInfo, case: Case) -> bool:
    """Say whether the attack can read the labels; those on a label look at it as a class."""
    return "multi" in info.heads or not case.multi_label or case.scope == "attribute"


def _unserved(info: AttackInfo, case: Case) -> str:
    return f"is for {' and '.join(sorted(info.scopes))} requests, this is a {case.scope} request"


def conduct(experiment: Experiment, labs: Labs, case: Case, seed: int) -> Groups:
    """Carry out an experiment once by the method, thrice by retraining, and once by nothing."""

    def run(lab: Lab, repetition: int) -> Scores:
        name = experiment.info.name
        return experiment.run(lab, case, generator(seed, "experiment", name, repetition))

    return {
        "audited": [run(labs.method, 0)],
        "retrained": [run(labs.retraining, k) for k in range(YARDSTICKS)],
        "original": [run(labs.nothing, 0)],
    }


def _tried(info: AttackInfo, measure: Callable[[], Groups]) -> AttackResult:
    """Return the result of what `measure` scores, or the reason why there is none."""
    start = time.perf_counter()
    try:
        return measured(info, measure(), time.perf_counter() - start)
    except (NotApplicable, AccessError) as error:
        return _empty(info.name, "not-applicable", str(error), time.perf_counter() - start)
    except FAILURES as error:
        if gpu_lost(error) or isinstance(error, (StorageError, MachineError)):
            raise  # the machine broke, not the attack: the next one would break too
        log.exception("%s failed", info.name)
        reason = f"{type(error).__name__}; the log says more"  # its text may hold data
        return _empty(info.name, "error", reason, time.perf_counter() - start)


def _empty(name: str, outcome: Outcome, reason: str, seconds: float) -> AttackResult:
    return AttackResult(
        name=name, outcome=outcome, reason=reason, metrics=(), series={}, duration_s=seconds
    )
