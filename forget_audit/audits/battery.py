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
from forget_audit.audits.scoring import score_groups
from forget_audit.contracts import AttackInfo, Scores
from forget_audit.errors import AccessError, ForgetAuditError, NotApplicable
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

FAILURES = (ForgetAuditError, ValueError, RuntimeError, ArithmeticError, LookupError)
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
    """
    results = []
    for name, kind in registry.attacks().items():
        if names is not None and name not in names:
            results.append(_empty(name, "not-run", "the plan does not ask for it", 0.0))
        elif ACCESS_ORDER.index(kind.info.access) > ACCESS_ORDER.index(access):
            reason = f"needs access {kind.info.access!r}, this audit has {access!r}"
            results.append(_empty(name, "not-applicable", reason, 0.0))
        elif case.scope not in kind.info.scopes:
            results.append(_empty(name, "not-applicable", _unserved(kind.info, case), 0.0))
        elif not _understood(kind.info, case):
            reason = "reads one class a row, and these rows bear several labels"
            results.append(_empty(name, "not-applicable", reason, 0.0))
        else:
            attack = kind()
            results.append(
                _tried(attack.info, partial(score_groups, attack, audited, pool, case, seed))
            )
        progress(1)
    return results


def run_experiments(
    labs: Labs | None,
    case: Case,
    seed: int,
    names: Sequence[str],
    progress: Progress = lambda _: None,
) -> list[AttackResult]:
    """Run experiments on the method; each gets a row, also when it was not run.

    Args:
        labs: Where models forget by the method, by retraining, or not at all; none if the
            audited model was handed in.
        case: The rows.
        seed: Root seed; every experiment has generators of its own.
        names: Experiments to run.
        progress: Called with 1 after each experiment.
    """
    results = []
    for name, kind in registry.experiments().items():
        if name not in names:
            reason = "it trains models of its own, and the plan does not ask for it"
            results.append(_empty(name, "not-run", reason, 0.0))
        elif labs is None:
            reason = "it tests a method, and the audited model was handed in ready-made"
            results.append(_empty(name, "not-applicable", reason, 0.0))
        elif case.scope not in kind.info.scopes:
            results.append(_empty(name, "not-applicable", _unserved(kind.info, case), 0.0))
        else:
            experiment = kind()
            results.append(_tried(experiment.info, partial(conduct, experiment, labs, case, seed)))
        progress(1)
    return results


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
        log.exception("%s failed", info.name)
        reason = f"{type(error).__name__}; the log says more"  # its text may hold data
        return _empty(info.name, "error", reason, time.perf_counter() - start)


def _empty(name: str, outcome: Outcome, reason: str, seconds: float) -> AttackResult:
    return AttackResult(
        name=name, outcome=outcome, reason=reason, metrics=(), series={}, duration_s=seconds
    )
