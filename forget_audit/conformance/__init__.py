"""Check a method or an attack of one's own against what audits rely on.

The same checks run over everything that comes with forget-audit. Each trains, unlearns or attacks
small real models; an item takes about ten seconds. `python -m forget_audit.conformance NAME` does
so on the command line.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from forget_audit.conformance import attacks, methods
from forget_audit.conformance.checks import Check, ConformanceError, NotChecked
from forget_audit.contracts import Attack, Method


@dataclass(frozen=True, kw_only=True)
class Result:
    """What a check found.

    Args:
        check: What should be kept.
        outcome: Whether it is.
        reason: Why not, or why that could not be seen.
    """

    check: str
    outcome: Literal["kept", "broken", "not checked"]
    reason: str = ""


def checks(item: type[Any], *, slow: bool = False) -> tuple[Check, ...]:
    """Return the checks of a method or an attack.

    Args:
        item: Its class.
        slow: Whether those are wanted that take minutes.

    Raises:
        ConformanceError: If it is neither.
    """
    if callable(getattr(item, "unlearn", None)):
        found = methods.CHECKS
    elif callable(getattr(item, "fit", None)):
        found = attacks.CHECKS
    else:
        raise ConformanceError(
            f"{item.__name__}: expected a method, with unlearn(model, case, rng), or an attack, "
            "with fit(pool, case, rng)"
        )
    return tuple(check for check in found if slow or not check.slow)


def results(item: type[Any], *, slow: bool = False) -> Iterator[Result]:
    """Yield what each check finds, whatever the item does."""
    for check in checks(item, slow=slow):
        try:
            check.run(item)
        except NotChecked as reason:
            yield Result(check=check.name, outcome="not checked", reason=str(reason))
        except ConformanceError as reason:
            yield Result(check=check.name, outcome="broken", reason=str(reason))
        except Exception as error:  # noqa: BLE001  foreign code raises whatever it likes
            said = f"{type(error).__name__}: {error}"
            yield Result(check=check.name, outcome="broken", reason=said)
        else:
            yield Result(check=check.name, outcome="kept")


def check_method(item: type[Method]) -> None:
    """Check an unlearning method.

    Raises:
        ConformanceError: With everything that is not kept.
    """
    _check(item)


def check_attack(item: type[Attack]) -> None:
    """Check an attack.

    Raises:
        ConformanceError: With everything that is not kept.
    """
    _check(item)


def _check(item: type[Any]) -> None:
    broken = [f"{r.check}: {r.reason}" for r in results(item) if r.outcome == "broken"]
    if broken:
        raise ConformanceError("\n".join(broken))
