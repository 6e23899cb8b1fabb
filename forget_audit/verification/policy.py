"""What an organisation asks of a report before it lets a model out: a small TOML file.

A PASS by a trusted tool key is asked for always and cannot be waived here. Each line of the file
asks for more; what it leaves out is not asked.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from forget_audit.errors import PlanError, Problem, VerificationError
from forget_audit.finite import read_toml
from forget_audit.reports import reading
from forget_audit.reports.claims import AuditClaim

LARGEST = 64 * 1024
ACCESS = {"answers": "black-box", "weights": "answers and weights"}


class PolicyError(PlanError):
    """A policy file has problems; all of them are listed at once."""

    subject = "policy"


class Policy(BaseModel):
    """The keys of a policy file, all optional."""

    model_config = ConfigDict(
        extra="forbid", strict=True, frozen=True, title="Deployment policy of forget-audit"
    )

    profile: Annotated[str, Field(min_length=1)] | None = Field(
        default=None, description="Name of the verdict's profile."
    )
    profile_digest: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = Field(
        default=None, description="SHA-256 of the profile, as the attestation names it."
    )
    claims: Annotated[list[Literal["artifact", "algorithm"]], Field(min_length=1)] | None = Field(
        default=None, description="About what the verdict may speak: one file, or the method."
    )
    access: Annotated[list[Literal["answers", "weights"]], Field(min_length=1)] | None = Field(
        default=None, description="What the audit may have looked at."
    )
    controller: Annotated[str, Field(min_length=1)] | None = Field(
        default=None, description="Who must answer for the model, exactly as in the report."
    )
    max_age_days: Annotated[int, Field(ge=1, le=36500)] | None = Field(
        default=None, description="Days after which a report is too old."
    )
    min_retrained: Annotated[int, Field(ge=1)] | None = Field(
        default=None, description="Fewest retrained models to compare with."
    )
    reviewer: bool = Field(default=False, description="Whether a trusted reviewer must approve.")
    unattended_keys: bool = Field(
        default=True, description="Whether a key without passphrase or token may have signed."
    )
    ledger: bool = Field(
        default=False, description="Whether a ledger must be given that holds the report."
    )


@dataclass(frozen=True, kw_only=True)
class Difference:
    """One thing that a policy asks for and a report does not have.

    Args:
        field: Key of the policy.
        message: What was expected and what was found.
    """

    field: str
    message: str

    def __str__(self) -> str:
        return f"{self.field}: {self.message}"


def load(path: Path) -> Policy:
    """Read a policy file.

    Raises:
        PolicyError: With every problem found, each with its place.
    """
    try:
        data = reading.read(path)
        if len(data) > LARGEST:
            raise PolicyError([Problem(str(path), "too large for a policy file")])
        table = read_toml(data)
    except OSError as error:
        raise PolicyError([Problem(str(path), f"cannot be read: {error.strerror}")]) from error
    except VerificationError as error:
        raise PolicyError([Problem(str(path), str(error))]) from error
    except (ValueError, RecursionError) as error:
        raise PolicyError([Problem(path.name, f"is not TOML: {error}")]) from error
    try:
        return Policy.model_validate(table)
    except ValidationError as error:
        raise PolicyError(_problems(error)) from error


def differences(policy: Policy, claim: AuditClaim) -> list[Difference]:
    """Say where an audit is not what a policy asks for.

    Age, review and ledger are not in here: they take more than the statement to judge.
    """
    found = []
    rule, references = claim.policy, claim.references

    def ask(field: str, expected: object, value: object, fits: bool) -> None:
        if expected is not None and not fits:
            wanted = ", ".join(expected) if isinstance(expected, list) else expected
            said = "nothing: the report does not say" if value is None else value
            found.append(Difference(field=field, message=f"asks for {wanted}, found {said}"))

    digest = rule.digest.sha256
    ask("profile", policy.profile, rule.name, policy.profile == rule.name)
    ask("profile_digest", policy.profile_digest, digest, policy.profile_digest == digest)
    ask("claims", policy.claims, rule.claim, rule.claim.split(" ")[0] in (policy.claims or ()))
    ask("access", policy.access, rule.access, _looked(rule.access) in (policy.access or ()))
    ask("controller", policy.controller, claim.controller, policy.controller == claim.controller)
    count = references.retrained_models.count if references.retrained_models else None
    enough = count is not None and count >= (policy.min_retrained or 0)
    ask("min_retrained", policy.min_retrained, count, enough)
    if not policy.unattended_keys:
        kept = claim.key_protection
        ask("unattended_keys", ["passphrase", "token"], kept, kept in ("passphrase", "token"))
    return found


def too_old(issued: datetime, days: Sequence[int | None], now: datetime) -> str | None:
    """Say why a report is too old for the shortest of `days`, or `None` if it is not."""
    limits = [item for item in days if item is not None]
    age = now - issued
    if not limits or age <= timedelta(days=min(limits)):
        return None
    return f"issued on {issued:%Y-%m-%d}, {age.days} days ago; {min(limits)} are allowed"


def _looked(access: str) -> str | None:
    return next((name for name, words in ACCESS.items() if access.startswith(words)), None)


def _problems(error: ValidationError) -> list[Problem]:
    problems = []
    for item in error.errors():
        place = ".".join(str(part) for part in item["loc"])
        message = f"{item['msg']}, found {item['input']!r}"
        if item["type"] == "extra_forbidden":
            near = difflib.get_close_matches(place, Policy.model_fields, n=1)
            message = "unknown key" + (f"; did you mean {near[0]!r}?" if near else "")
        problems.append(Problem(place, message))
    return problems
