"""The rows of the benchmark: registered methods, and controls whose result is known beforehand."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from torch import nn

from forget_audit import registry
from forget_audit.audits.impostors import inverted, silenced
from forget_audit.errors import NotApplicable
from forget_audit.seeds import draw_seed
from forget_audit.training.trainers import RecipeTrainer
from forget_audit.types import Case, Scope

Make = Callable[[nn.Module, Case, np.random.Generator], nn.Module]
EVERY = frozenset[Scope]({"class", "instance", "subclass", "attribute"})
# Settings tried besides, or instead of, the default ones of a method.
VARIANTS: Mapping[str, Sequence[Mapping[str, object]]] = {
    "eu_k": ({}, {"k": 1}),
    "neggrad": ({}, {"stop_at_chance": False}),
    "weight_filtering": ({"select": "high"}, {"select": "paper_low"}),
    "weight_pruning": ({"select": "high"}, {"select": "paper_low"}),
}


@dataclass(frozen=True, kw_only=True)
class Control:
    """A way to make a model whose result is known beforehand; no method.

    Args:
        make: Returns the model, given an original, the request and a generator.
        expected: What the audits must find on it.
        shows: Metrics in which that is seen.
        scopes: Requests on which it makes sense.
    """

    make: Make
    expected: str
    shows: tuple[str, ...]
    scopes: frozenset[Scope] = EVERY


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One row of the benchmark.

    Args:
        name: Distinct; of a control, or of a method with its settings.
        kind: Whether it is a method or a control.
        method: Registered name; empty for controls.
        settings: Other than the default ones.
    """

    name: str
    kind: Literal["control", "method"]
    method: str = ""
    settings: Mapping[str, object] = field(default_factory=dict)


def entries(scope: Scope, names: Sequence[str] | None = None) -> list[Entry]:
    """Return the rows for a request: its controls first, then methods in order of name.

    Args:
        scope: Of the request.
        names: Methods; all registered ones if left out.

    Raises:
        UnknownName: If there is no such method.
    """
    rows = [Entry(name=n, kind="control") for n, c in CONTROLS.items() if scope in c.scopes]
    for name in registry.methods() if names is None else dict.fromkeys(names):
        registry.get_method(name)
        for settings in VARIANTS.get(name, ({},)):
            said = ", ".join(f"{key}={_said(value)}" for key, value in settings.items())
            full = f"{name}, {said}" if said else name
            rows.append(Entry(name=full, kind="method", method=name, settings=settings))
    return rows


def _said(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _nothing(model: nn.Module, _case: Case, _rng: np.random.Generator) -> nn.Module:
    return copy.deepcopy(model)


def _untrained(_model: nn.Module, case: Case, rng: np.random.Generator) -> nn.Module:
    if not isinstance(case.trainer, RecipeTrainer):
        raise NotApplicable("an untrained model needs a RecipeTrainer, found another trainer")
    return case.trainer.fresh(draw_seed(rng)).eval()


def _retrained(_model: nn.Module, case: Case, rng: np.random.Generator) -> nn.Module:
    assert case.trainer is not None
    return case.trainer(case.retain.x, case.retain.y, draw_seed(rng))


CONTROLS: Mapping[str, Control] = {
    "do nothing": Control(
        make=_nothing,
        expected="the original itself: residual influence near 1",
        shows=("residual_influence",),
    ),
    "reset to random": Control(
        make=_untrained,
        expected="an untrained model: nothing is left, residual influence near 0 or below, and the "
        "accuracy is gone; a class is still named by chance, where retrained models never name it",
        shows=("residual_influence", "retain_accuracy"),
    ),
    "retrain, another seed": Control(
        make=_retrained,
        expected="one more retrained model: residual influence near 0, an average gap of seeds "
        "alone",
        shows=("residual_influence", "gap"),
    ),
    "head row zeroed": Control(
        make=silenced,
        expected="the output alone is silenced: it passes every measure of the head, while the "
        "features keep the label as the original does",
        shows=("head_auc", "probe_auc", "residual_influence"),
        scopes=frozenset({"attribute"}),
    ),
    "head flipped": Control(
        make=inverted,
        expected="every answer on the label is turned round: accuracy near 0, and all of the label "
        "still there, INVERTED",
        shows=("head_auc", "forget_accuracy", "residual_influence"),
        scopes=frozenset({"attribute"}),
    ),
}
