"""What never gets as far as a verdict: the error that names it is the answer."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks.providers import fakes
from benchmarks.providers.worlds import Access, Finding, World
from forget_audit.errors import ForgetAuditError
from forget_audit.model_files import load_weights, safetensors_bytes
from forget_audit.targets import Target, check_targets
from forget_audit.types import Rows

GROUP = "Refused before any verdict"
REFUSED = "REFUSED"


def coated(world: World, k: int) -> None:
    """Hand in the weights of a network in a coat as a file for the recipe's architecture."""
    x = world.commission.case.forget.x
    model = fakes.Recogniser(world.original(k), world.retrained(k), x)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "model.safetensors"
        file.write_bytes(safetensors_bytes(model))
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


CASES: dict[str, tuple[Access, Callable[[World, int], None]]] = {
    "any of these coats, handed in as a file of weights": ("weights", coated),
    "training rows under other ids as test rows": ("file", members),
    "original that drops units at random": ("questions", restless),
}


def refusal(name: str, world: World, k: int) -> Finding:
    """Return the name of the error, or a finding that says that there was none."""
    _, attempt = CASES[name]
    try:
        attempt(world, k)
    except ForgetAuditError as error:
        return REFUSED, (type(error).__name__,)
    return "ACCEPTED", ()
