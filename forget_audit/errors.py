"""Everything that can go wrong, as nouns of the domain.

A message says what was expected, what was found and what to do. Whatever a user can cause
derives from `ForgetAuditError`; the command line prints it without a traceback.
"""

from collections.abc import Sequence
from dataclasses import dataclass


class ForgetAuditError(Exception):
    """Base of all errors a user of forget-audit can cause."""


@dataclass(frozen=True)
class Problem:
    """One thing wrong with a plan.

    Args:
        place: Where in the plan, as a dotted path such as `request.forget`.
        message: What was expected, what was found, what to do.
    """

    place: str
    message: str

    def __str__(self) -> str:
        return f"{self.place}: {self.message}"


class PlanError(ForgetAuditError):
    """A plan has problems; all of them are listed at once.

    Args:
        problems: What is wrong, each with its place.
    """

    subject = "plan"

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


class CaseError(ForgetAuditError):
    """Rows, ids or roles do not form a case."""


class ModelError(ForgetAuditError):
    """A model file or architecture cannot be used."""


class LeakageError(ForgetAuditError):
    """An attack was asked to score rows it was fitted on."""


class AccessError(ForgetAuditError):
    """A target was asked for more than its declared access."""


class NotApplicable(ForgetAuditError):
    """A method or attack does not apply here; the message is the reason that reports print."""


class UnknownName(ForgetAuditError):
    """A registry holds no item of that name."""


class PluginError(ForgetAuditError):
    """A method, attack or experiment of another package cannot be loaded."""


class MissingDependency(ForgetAuditError):
    """An optional part is not installed; the message holds the line that installs it."""


class EngineError(ForgetAuditError):
    """A cluster cannot be reached, cannot run a task, or lost one for good."""


class StorageError(ForgetAuditError):
    """The system refuses to read or write a file; the message names it and says what to do."""


class MemoryShortage(ForgetAuditError):
    """Memory ran out although everything that can be made smaller was."""


class MachineError(ForgetAuditError):
    """A part of the machine failed, such as a GPU or a worker process."""


class Busy(ForgetAuditError):
    """Another process works in the same folder."""


class KeyFileError(ForgetAuditError):
    """A signing key or certificate cannot be read or used."""


class VerificationError(ForgetAuditError):
    """A digest, signature or recomputed number differs from what was released."""


class LeakError(ForgetAuditError):
    """Something about to be signed holds what must not leave; nothing was written."""
