"""What a check of conformance is, and what checks of methods and of attacks share."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from forget_audit.errors import ForgetAuditError


class ConformanceError(ForgetAuditError):
    """A method or an attack does not keep what the rest relies on."""


class NotChecked(ForgetAuditError):
    """A check has nothing to look at; the message says what would give it something."""


@dataclass(frozen=True, kw_only=True)
class Check:
    """One promise that every registered item keeps.

    Args:
        name: What is kept, in words.
        run: Checks a class; raises `ConformanceError` if it is not kept.
        slow: Whether it takes minutes, so that it is run only on request.
    """

    name: str
    run: Callable[[type[Any]], None]
    slow: bool = False


def must(kept: object, reason: str) -> None:
    """Go on if `kept` holds.

    Raises:
        ConformanceError: If it does not.
    """
    if not kept:
        raise ConformanceError(reason)


def error_of(action: Callable[[], object], *kinds: type[BaseException]) -> BaseException | None:
    """Return the error of one of these kinds that an action ends with, if it ends so."""
    try:
        action()
    except kinds as error:
        return error
    return None


def global_generators() -> object:
    """Return the state of the generators that a library shares with its user."""
    return random.getstate(), str(np.random.get_state()), torch.get_rng_state().tolist()  # noqa: NPY002


def stir_generators() -> None:
    """Draw from the shared generators, which must make no difference."""
    random.random()  # noqa: S311  drawn from, to show that nobody else does
    np.random.random(3)  # noqa: NPY002
    torch.rand(3)


def named(check: Callable[[type[Any]], None], *, slow: bool = False) -> Check:
    """Return a function as a check, called after it."""
    return Check(name=check.__name__.replace("_", " "), run=check, slow=slow)
