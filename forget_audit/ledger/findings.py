"""What the check of a ledger can find, and what follows from it."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Literal, get_args

from forget_audit.types import Json

Damage = Literal[
    "unreadable", "edited", "deleted", "truncated", "forked", "other-origin", "bad-signature",
    "unsigned", "unguarded", "untrusted", "revoked", "clock",
]  # fmt: skip
WORST_FIRST: tuple[str, ...] = get_args(Damage)
SIGNERS: Mapping[str, int] = {"untrusted": 3, "revoked": 4}
HARMLESS: Mapping[str, int] = {**SIGNERS, "clock": 0}


@dataclass(frozen=True, kw_only=True)
class LedgerProblem:
    """One thing wrong with a ledger.

    Args:
        what: What happened; `untrusted` and `revoked` concern the signer alone, and `clock` only
            the times that entries bear.
        index: First entry that is concerned; none if it is about the whole file.
        until: Last entry among which the first bad one is; equals `index` if that is exact.
        detail: In words.
    """

    what: Damage
    index: int | None
    until: int | None
    detail: str


@dataclass(frozen=True, kw_only=True)
class LedgerCheck:
    """What the check of a ledger found.

    Args:
        origin: Which ledger; empty if the file cannot be read.
        size: Number of entries.
        root_hex: Of the tree over the entries as they stand there.
        witnesses: How many checkpoints held elsewhere it was compared with.
        problems: The worst first.
    """

    origin: str
    size: int
    root_hex: str
    witnesses: int
    problems: tuple[LedgerProblem, ...]

    @property
    def exit_code(self) -> int:
        """0 all is well, 1 damaged, 3 a signer is not trusted, 4 a signer was revoked."""
        codes = {HARMLESS.get(problem.what, 1) for problem in self.problems}
        return next((code for code in (1, 4, 3) if code in codes), 0)

    @property
    def first_bad(self) -> int | None:
        """Index of the first entry that is not what was signed, if one is known."""
        found = [problem.index for problem in self.problems
                 if problem.index is not None and problem.what not in HARMLESS]  # fmt: skip
        return min(found, default=None)

    def as_json(self) -> Json:
        """Return the result for programs."""
        return {"exit_code": self.exit_code, "first_bad": self.first_bad, **asdict(self)}
