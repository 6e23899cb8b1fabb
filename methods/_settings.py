"""Settings of methods: named presets, checks that refuse in the same words, and requests served."""

import math
from typing import ClassVar, Self

from forget_audit.contracts import MethodInfo
from forget_audit.errors import NotApplicable, UnknownName
from forget_audit.registry import unknown
from forget_audit.types import Case


class Presets:
    """Gives a method its named settings, from its card."""

    info: ClassVar[MethodInfo]

    @classmethod
    def preset(cls, name: str) -> Self:
        """Return the method with the settings that its card names so.

        Raises:
            UnknownName: If there is no such preset.
        """
        if name not in cls.info.presets:
            raise UnknownName(unknown("preset", name, cls.info.presets))
        return cls(**cls.info.presets[name])


def refuse_unserved(info: MethodInfo, case: Case) -> None:
    """Check scope, labels and record of `case` against the card of a method.

    Raises:
        NotApplicable: If the method does not serve it, or the case lacks what it needs.
    """
    if case.scope not in info.scopes:
        raise NotApplicable(
            f"{info.name} serves {' and '.join(sorted(info.scopes))} requests, "
            f"found a {case.scope} request; choose another method"
        )
    if ("multi" if case.multi_label else "single") not in info.heads:
        found = "a matrix of labels" if case.multi_label else "one class a row"
        raise NotApplicable(
            f"{info.name} serves {' and '.join(sorted(info.heads))}-label models, "
            f"found {found}; choose another method"
        )
    if info.needs & {"log", "initial"} and case.log is None:
        raise NotApplicable(
            f"{info.name} needs a record of the original's training, found case.log empty; "
            "train the original with forget_audit.training.log.record"
        )
    if "recipe" in info.needs and case.trainer is None:
        raise NotApplicable(
            f"{info.name} needs the training recipe, found case.trainer empty; "
            "give the case a trainer (x, y, seed) -> model"
        )


def whole(name: str, value: object, *, at_least: int) -> None:
    """Check that a field is a whole number."""
    if not isinstance(value, int) or isinstance(value, bool) or value < at_least:
        raise ValueError(_refusal(name, f"a whole number of at least {at_least}", value))


def number(
    name: str,
    value: object,
    *,
    at_least: float = -math.inf,
    at_most: float = math.inf,
    above: float = -math.inf,
    below: float = math.inf,
) -> None:
    """Check that a field is a finite number within its limits."""
    fits = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not fits or not (at_least <= value <= at_most and above < value < below):  # type: ignore[operator]
        words = {"at least": at_least, "at most": at_most, "above": above, "below": below}
        limits = [f"{word} {limit:g}" for word, limit in words.items() if math.isfinite(limit)]
        raise ValueError(_refusal(name, " ".join(["a finite number", " and ".join(limits)]), value))


def one_of(name: str, value: object, known: tuple[str, ...]) -> None:
    """Check that a field is one of the known words."""
    if value not in known:
        raise ValueError(_refusal(name, f"one of {', '.join(known)}", value))


def flag(name: str, value: object) -> None:
    """Check that a field is true or false."""
    if not isinstance(value, bool):
        raise ValueError(_refusal(name, "true or false", value))  # noqa: TRY004


def whole_numbers(name: str, value: object) -> tuple[int, ...]:
    """Return a field as a tuple of whole numbers from 0; JSON brings a list."""
    if not isinstance(value, (list, tuple)):
        raise ValueError(_refusal(name, "a list of whole numbers", value))  # noqa: TRY004
    for item in value:
        whole(name, item, at_least=0)
    return tuple(value)


def _refusal(name: str, expected: str, found: object) -> str:
    return f"{name}: expected {expected}, found {found!r}; leave it out for the default"
