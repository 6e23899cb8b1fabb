"""What never gets as far as a verdict: an error that names what is wrong is the answer."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from torch import nn

from benchmarks.providers import fakes
from benchmarks.providers.worlds import Access, Finding, World
from forget_audit.errors import ForgetAuditError
from forget_audit.model_files import load_weights, safetensors_bytes
from forget_audit.targets import Target, check_targets
from forget_audit.types import Rows

GROUP = "Refused before any verdict"
REFUSED, ACCEPTED = "REFUSED", "ACCEPTED"


def coats(world: World, k: int) -> tuple[nn.Module, ...]:
    """Return the k-th original in every kind of coat, with a retrained model beside it."""
    case = world.commission.case
    x, old, new = case.forget.x, world.original(k), world.retrained(k)
    return (
        fakes.Recogniser(old, new, x),
        fakes.Neighbour(old, new, x, case.retain.x),
        fakes.Tiring(new, old, 1000),
        fakes.TwoFaced(new, old),
        fakes.Dropping(old, 0.1, k),
        fakes.Mixed(old, new, 0.5),
        fakes.Rounded(old, 2),
        fakes.Routed(old, new, [3]),
    )


def coated(world: World, k: int) -> None:
    """Hand in the weights of a network in a coat, another each time, as those of the recipe's."""
    each = coats(world, k)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "model.safetensors"
        file.write_bytes(safetensors_bytes(each[k % len(each)]))
        load_weights(world.commission.template(), file)


def members(world: World, k: int) -> None:
    """Take retained rows, under other ids, for control rows."""
    case = world.commission.case
    taken = case.retain.take(np.arange(k, k + 200))
    copied = Rows(x=taken.x, y=taken.y, ids=np.char.add("copy-", taken.ids))
    case.replace(test=copied)


def restless(world: World, k: int) -> None:
    """Ask an original that drops units at random, as each audit does before all else."""
    model = fakes.Dropping(world.original(k), 0.1, k)
    check_targets([Target(model.eval())], world.commission.case, "audited model")


Attempt = Callable[[World, int], None]
# What is handed in: access, who tries, and words of the error that is to be the reason.
CASES: dict[str, tuple[Access, Attempt, str]] = {
    "any of these coats, handed in as a file of weights": ("weights", coated, "Missing key"),
    "training rows under other ids as test rows": ("file", members, "rows of equal content"),
    "original that drops units at random": ("questions", restless, "answered differently"),
}


def refusal(name: str, world: World, k: int) -> Finding:
    """Return the name of the error, or that the k-th model was let in or refused for no reason."""
    _, attempt, words = CASES[name]
    try:
        attempt(world, k)
    except ForgetAuditError as error:
        reason = type(error).__name__
        return (REFUSED, (reason,)) if words in str(error) else (ACCEPTED, (reason, str(error)))
    return ACCEPTED, ()
