"""Training functions of the user's own: called with care, their errors told in plain words."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from weakref import WeakSet

import numpy.typing as npt
from torch import nn

from forget_audit.errors import ForgetAuditError, ModelError
from forget_audit.faults import memory_error, out_of_memory
from forget_audit.foreign.answering import adopt
from forget_audit.named_objects import import_object
from forget_audit.own_calls import guarded, place_of
from forget_audit.seeds import seeded_torch
from forget_audit.streaming import as_stream
from forget_audit.types import Features, Labels

SEEDS = 2**31  # what scikit-learn, NumPy and XGBoost all take
Function = Callable[[Features, Labels, int], object]

_returned: WeakSet[nn.Module] = WeakSet()


def find_function(name: str) -> Function:
    """Import a training function, and check that it takes `(x, y, seed)`.

    Args:
        name: Such as `package.module:fit`.

    Raises:
        ModelError: If there is none, or it takes something else.
    """
    found: Any = import_object(name)
    if not callable(found):
        raise ModelError(f"{name} is no function; expected one that takes (x, y, seed)")
    _check_signature(found, name)
    return found  # type: ignore[no-any-return]


def _check_signature(function: Function, name: str) -> None:
    try:
        taken = inspect.signature(function)
    except (TypeError, ValueError):  # made by C code, which shows none
        return
    try:
        taken.bind(None, None, 0)
    except TypeError as error:
        raise ModelError(f"{name} must take (x, y, seed), found {taken}: {error}") from error


def call_own(
    function: Function, name: str, x: Features, y: Labels, seed: int, n_classes: int | None
) -> nn.Module:
    """Return the model that a user's function trains, in evaluation mode.

    The function gets arrays that it may change, or the `Streamed` rows as they are;
    a seed below `SEEDS`; and torch's global generators seeded by it.

    Args:
        function: Takes `(x, y, seed)`.
        name: What to call it in messages.
        x: Features `(n, ...)`.
        y: Labels.
        seed: Of everything random.
        n_classes: Number of outputs, for classifiers that do not know classes they have not seen.

    Raises:
        ModelError: If the function fails, returns no model, or the same network twice.
    """
    drawn = seed % SEEDS
    rows = x if as_stream(x) is not None else _writable(x)
    try:
        with seeded_torch(drawn), guarded():
            found = function(rows, _writable(y), drawn)
    except ForgetAuditError:
        raise
    except Exception as error:
        place = _place(function, error)
        if out_of_memory(error):
            raise memory_error(f"{name}, which failed{place}") from error
        raise ModelError(
            f"{name} failed with seed {drawn}{place}: {type(error).__name__}: {error}"
        ) from error
    try:
        model = adopt(found, n_classes)
    except ModelError as error:
        raise ModelError(f"{name} returned something else than a model: {error}") from error
    if model in _returned:
        raise ModelError(
            f"{name} returned the same network twice, so that what it learnt before is still in "
            "it; build a new one inside the function"
        )
    _returned.add(model)
    model.zero_grad(set_to_none=True)  # as large as the model, and the models stay in memory
    return model


def _writable(array: npt.NDArray[Any]) -> Any:
    return array if array.flags.writeable else array.copy()


def _place(function: Function, error: Exception) -> str:
    """Return where in the file of `function` an error arose, if it can be told."""
    try:
        file = inspect.getsourcefile(function)
    except TypeError:
        return ""
    place = place_of(error, file)
    return f" at {place}" if place else ""


@dataclass(frozen=True, kw_only=True)
class FunctionTrainer:
    """A training function of the user's own, `fit(x, y, seed) -> model`.

    Args:
        function: Such as `package.module:fit`; returns a module, or a fitted classifier of
            scikit-learn or XGBoost.
        n_classes: Number of outputs, for classifiers that do not know classes they have not seen.
    """

    function: str
    n_classes: int | None = None

    def __call__(self, x: Features, y: Labels, seed: int) -> nn.Module:
        """Return the model that the function trains, in evaluation mode.

        Raises:
            ModelError: If there is no such function, it fails, or it returns no model.
        """
        return call_own(find_function(self.function), self.function, x, y, seed, self.n_classes)


class CallTrainer:
    """A training function that is at hand, called as carefully as one that a plan names.

    Args:
        function: Takes `(x, y, seed)`; returns what `FunctionTrainer`'s function may return.
        n_classes: Number of outputs, for classifiers that do not know classes they have not seen.

    Raises:
        ModelError: If it is no function, or takes something else.
    """

    def __init__(self, function: Function, n_classes: int | None = None) -> None:
        if not callable(function):
            raise ModelError(
                "expected a function that takes (x, y, seed) as the recipe, found "
                f"{type(function).__name__}"
            )
        self.function, self.n_classes = function, n_classes
        _check_signature(function, self._name())

    def __call__(self, x: Features, y: Labels, seed: int) -> nn.Module:
        """Return the model that the function trains, in evaluation mode.

        Raises:
            ModelError: If the function fails, or returns no model.
        """
        return call_own(self.function, self._name(), x, y, seed, self.n_classes)

    def _name(self) -> str:
        return str(getattr(self.function, "__qualname__", type(self.function).__name__))
