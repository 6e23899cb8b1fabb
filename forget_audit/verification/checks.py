"""One check after the other: what was looked at, what was found, and what follows from all."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, TypeVar

from forget_audit.errors import ForgetAuditError
from forget_audit.reports.plain_text import shown

CheckOutcome = Literal[
    "pass", "fail", "not-run", "untrusted", "expired", "superseded", "mismatch", "rejected"
]
Found = TypeVar("Found")


@dataclass(frozen=True, kw_only=True)
class Check:
    """One thing that was checked.

    Args:
        name: What.
        outcome: `untrusted` and `expired` concern the signer; `superseded`, `mismatch` and
            `rejected` a report that is intact and does not count; all else is `fail`.
        detail: What was found.
        file: Which file, empty if it is about several.
        code: The same for programs, such as `signer-revoked` or `draft`.
    """

    name: str
    outcome: CheckOutcome
    detail: str
    file: str = ""
    code: str = ""


def one_line(text: str) -> str:
    """Return `text` as it may stand in a terminal: a hostile name cannot forge a line of ours."""
    return " ".join(shown(text).split())


@dataclass(kw_only=True)
class Findings:
    """The checks made so far.

    Args:
        folder: Stands before the name of each file, for reports that lie in a folder of several.
    """

    folder: str = ""
    checks: list[Check] = field(default_factory=list)

    def add(
        self, name: str, outcome: CheckOutcome, detail: str, file: str = "", code: str = ""
    ) -> None:
        """Note a check; without a code of its own it has that of its outcome."""
        place = f"{self.folder}{file}" if file else self.folder.rstrip("/")
        self.checks.append(
            Check(
                name=name,
                outcome=outcome,
                detail=one_line(detail),
                file=one_line(place),
                code=code or outcome,
            )
        )

    def attempt(self, name: str, file: str, action: Callable[[], Found]) -> Found | None:
        """Run `action`; whatever it raises becomes a failed check."""
        try:
            return action()
        except ForgetAuditError as error:
            self.add(name, "fail", str(error), file)
        except OSError as error:
            self.add(name, "fail", f"cannot be read ({error.strerror})", file)
        except Exception as error:  # noqa: BLE001  hostile files raise whatever they like
            self.add(name, "fail", f"malformed ({type(error).__name__})", file)
        return None

    def passed(self, name: str) -> set[str]:
        """Return the files for which the check of that name passed, without their folder."""
        return {
            check.file.removeprefix(self.folder)
            for check in self.checks
            if check.name == name and check.outcome == "pass"
        }
