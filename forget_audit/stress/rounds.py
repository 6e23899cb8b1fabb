"""One seed of a stress test: sets are drawn, methods forget them, retrained models judge."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial

import numpy as np
from torch import nn

from forget_audit.contracts import Method
from forget_audit.errors import CaseError, LeakageError, NotApplicable
from forget_audit.foreign.answering import AnswersOnly
from forget_audit.seeds import derive, generator
from forget_audit.stress.drawing import Drawn
from forget_audit.stress.ground import Extent, Ground, case_of
from forget_audit.stress.judging import Judge
from forget_audit.stress.strategies import Strategy, keep_apart
from forget_audit.targets import Target
from forget_audit.training.originals import needs_its_own, original_for
from forget_audit.types import SMALL_REQUEST, Case, Json
from forget_audit.verdict.profiles import Profile
from forget_audit.worst_case import WorstCase

log = logging.getLogger(__name__)
ORIGINAL, SEARCH = "original", "search"
MEASURED, NOT_APPLICABLE, ERROR = "measured", "not applicable", "error"
Make = Callable[[], nn.Module]


def one_set(
    strategy: Strategy,
    ground: Ground,
    methods: Mapping[str, Method],
    extent: Extent,
    profile: Profile,
) -> Json:
    """Draw one set and measure every method on it; what does not work is part of the answer.

    Raises:
        LeakageError: If rows would be judged by what picked them.
    """
    start = time.process_time()
    split = ground.split
    rng = generator(split.seed, "stress", strategy.name)
    try:
        drawn = strategy.draw(ground.scouts, split.size, rng)
        case = case_of(split, drawn)
        _refuse_few(case)
    except NotApplicable as error:
        return _without(strategy, str(error), start)
    except CaseError as error:  # its text may hold ids
        log.warning("%s: %s", strategy.name, error)
        return _without(strategy, "rows of equal content would be forgotten and kept", start)
    except LeakageError:
        raise
    except Exception as error:
        log.warning("%s: no set could be drawn", strategy.name, exc_info=True)
        return _without(strategy, f"{type(error).__name__}; the log says more", start, ERROR)
    parent, judge = _judge(strategy, ground, drawn, case, extent, profile)
    results: dict[str, Json] = {}
    models: dict[str, Make] = {ORIGINAL: lambda: parent}
    if drawn.planted is None:
        models[SEARCH] = partial(_searched, ground, case)
    for name, method in methods.items():
        models[name] = partial(_unlearned, name, method, parent, case, split.seed)
    scouts = ground.scouts.targets
    for name, make in models.items():
        results[name] = _attempt(make, judge, strategy, () if name == SEARCH else scouts)
    return {
        "name": strategy.name,
        "status": MEASURED,
        "reason": "",
        "size": case.forget.numbered()[0],
        "set": judge.about_set,
        "facts": dict(drawn.facts),
        "methods": results,
        "seconds": time.process_time() - start,
    }


def _judge(
    strategy: Strategy,
    ground: Ground,
    drawn: Drawn,
    case: Case,
    extent: Extent,
    profile: Profile,
) -> tuple[nn.Module, Judge]:
    """Train what the set is judged by; with planted rows also what is to be unlearned."""
    workshop, group = ground.split.workshop, f"stress {strategy.name}"
    kept = [np.arange(len(case.retain))] * extent.references
    retrained = tuple(Target(m) for m in workshop.train(f"{group} retrained", case.retain, kept))
    parent, originals = ground.parent, ground.originals
    if drawn.planted is not None:
        rows = case.training
        every = [np.arange(len(rows))] * (extent.originals + 1)
        parent, *others = workshop.train(f"{group} originals", rows, every)
        originals = tuple(Target(model) for model in others)
    keep_apart(strategy, ground.scouts.targets, (*retrained, *originals, Target(parent)))
    return parent, Judge(case=case, retrained=retrained, originals=originals, profile=profile)


def _unlearned(name: str, method: Method, parent: nn.Module, case: Case, seed: int) -> nn.Module:
    if isinstance(parent, AnswersOnly) and "recipe" not in method.info.needs:
        raise NotApplicable("changes a model from inside, and models of this kind only answer")
    model, own = parent, case
    if needs_its_own(method.info):
        model, own = original_for(method, case, derive(seed, "stress own original", name))
    return method.unlearn(model, own, generator(seed, "stress unlearning", name)).model


def _searched(ground: Ground, case: Case) -> nn.Module:
    """Forget as the search for the worst case does, on the surrogate it was made with."""
    surrogate, rows = ground.scouts.need_gradients(), ground.scouts.rows
    kept = (~np.isin(rows.ids, case.forget.ids)).astype(np.float64)
    rng = generator(ground.split.seed, "stress", SEARCH)
    return WorstCase().forget(surrogate, rows, kept, rng)


def _attempt(make: Make, judge: Judge, strategy: Strategy, scouts: Sequence[Target]) -> Json:
    start = time.process_time()
    try:
        model = make()
    except NotApplicable as reason:
        return {"status": NOT_APPLICABLE, "reason": str(reason)}
    except Exception as error:
        log.warning("%s: a method broke", strategy.name, exc_info=True)
        return {"status": ERROR, "reason": f"{type(error).__name__}; the log says more"}
    seconds = time.process_time() - start
    target = Target(model)
    keep_apart(strategy, scouts, (target,))
    measures, flag = judge.measure(target)
    return {
        "status": MEASURED,
        "reason": "",
        "measures": measures,
        "flag": flag,
        "seconds": seconds,
    }


def _refuse_few(case: Case) -> None:
    """Refuse sets of so few rows that numbers about them could point at somebody."""
    if min(rows.numbered()[0] for rows in (case.forget, case.test)) < SMALL_REQUEST:
        raise NotApplicable(f"leaves fewer than {SMALL_REQUEST} rows to forget or to compare with")


def _without(strategy: Strategy, reason: str, start: float, status: str = NOT_APPLICABLE) -> Json:
    return {
        "name": strategy.name,
        "status": status,
        "reason": reason,
        "seconds": time.process_time() - start,
    }
