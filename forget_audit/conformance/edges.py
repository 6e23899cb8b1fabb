"""What every attack keeps on odd requests and odd models: a refusal, or finite numbers."""

import copy
import dataclasses
import re
from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import nn

from forget_audit.conformance.cases import attacked_pool
from forget_audit.conformance.checks import Check, must, named
from forget_audit.conformance.scores import (
    class_request,
    model_state,
    must_answer,
    must_equal,
    numbers,
    one_class,
    scores_of,
    served,
    trouble_of,
)
from forget_audit.contracts import Attack
from forget_audit.errors import NotApplicable
from forget_audit.pools import Pool
from forget_audit.seeds import generator
from forget_audit.targets import Target
from forget_audit.types import Case, Rows


def _one_row(case: Case) -> Case:
    return case.replace(forget=case.forget.take(np.array([0])))


def _one_row_each(case: Case) -> Case:
    return _one_row(case).replace(test=case.test.take(np.array([0])))


def _duplicates(case: Case) -> Case:
    twice = Rows(x=case.forget.x, y=case.forget.y, ids=np.char.add("again-", case.forget.ids))
    return case.replace(forget=Rows.concat(case.forget, twice))


def _no_auxiliary(case: Case) -> Case:
    return case.replace(auxiliary=case.auxiliary.take(np.zeros(0, dtype=np.int64)))


def _no_sensitive(case: Case) -> Case:
    return case.replace(sensitive=None)


EDGES: Mapping[str, Callable[[Case], Case]] = {
    "one forget row": _one_row,
    "one forget row and one control row": _one_row_each,
    "rows of one class": one_class,
    "a class request": class_request,
    "rows of equal content": _duplicates,
    "no auxiliary rows": _no_auxiliary,
    "no sensitive column": _no_sensitive,
}


def odd_requests_give_a_refusal_or_numbers(cls: type[Attack]) -> None:
    """One row, one class, equal rows, and what is missing."""
    target = attacked_pool().originals[0]
    for what, edge in EDGES.items():
        must_answer(cls, attacked_pool(), edge(served(cls)), target, what)


def constant_answers_give_a_refusal_or_numbers(cls: type[Attack]) -> None:
    """A model that answers everything alike, alone and as the whole pool."""
    pool = attacked_pool()
    dull = _constant(pool.originals[0])
    must_answer(cls, pool, served(cls), dull, "a model with constant answers")
    shadows = tuple(dataclasses.replace(shadow, target=dull) for shadow in pool.shadows)
    all_dull = Pool(
        retrained=(dull,) * 4, originals=(dull,) * 2, shadows=shadows, parent=dull, twin=dull
    )
    must_answer(cls, all_dull, served(cls), dull, "models with constant answers")


def a_missing_reference_is_refused(cls: type[Attack]) -> None:
    """Without reference models it says what it needs, and never takes something else instead."""
    poor = _no_auxiliary(_no_sensitive(served(cls)))
    problem = trouble_of(lambda: cls().fit(Pool(), poor, generator(1)))
    if problem is None:
        scores = scores_of(cls, Pool(), poor, attacked_pool().originals[0])
        must(np.all(np.isfinite(numbers(scores))), "what asks for nothing must work without")
        return
    must(isinstance(problem, NotApplicable), f"without references: NotApplicable, not {problem!r}")
    words = re.search(r"needs?|not handed in", str(problem))
    must(words, f"without references: the reason says what it needs, not {str(problem)!r}")


def a_model_in_training_mode_is_evaluated(cls: type[Attack]) -> None:
    """Batch normalisation and dropout neither see single rows nor answer at random."""
    layers = (nn.Flatten(), nn.BatchNorm1d(64), nn.Linear(64, 16), nn.Dropout(0.5))
    model = nn.Sequential(*layers, nn.ReLU(), nn.Linear(16, 10))
    pool = dataclasses.replace(attacked_pool(), parent=Target(copy.deepcopy(model)), twin=None)
    model.train()
    before = model_state(model)
    at_once = scores_of(cls, pool, served(cls), Target(model))
    one_by_one = scores_of(cls, pool, served(cls), Target(model, batch_size=1))
    must_equal(one_by_one, at_once, 1e-3, "a model in training mode: other scores row by row")
    must(model_state(model) == before, "a model in training mode is left in another one")


EDGE_CHECKS: tuple[Check, ...] = tuple(
    named(check)
    for check in (
        odd_requests_give_a_refusal_or_numbers,
        constant_answers_give_a_refusal_or_numbers,
        a_missing_reference_is_refused,
        a_model_in_training_mode_is_evaluated,
    )
)


def _constant(target: Target) -> Target:
    model = target.model_copy()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    return Target(model)
