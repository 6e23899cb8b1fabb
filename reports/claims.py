"""What signed statements claim, read strictly before anybody acts on it.

A good signature says who wrote a statement, not that it makes sense. Members that this version
does not know are left alone, so that later statements can still be read.
"""

from datetime import UTC, datetime
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from forget_audit.errors import VerificationError
from forget_audit.types import Json

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
ReportId = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
Moment = Annotated[str, Field(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z$")]


class Claim(BaseModel):
    """Part of a predicate."""

    model_config = ConfigDict(strict=True, frozen=True, extra="ignore", alias_generator=to_camel)

    @classmethod
    def of(cls, statement: Json) -> Self:
        """Return the claim in a statement's predicate.

        Raises:
            VerificationError: If it has another shape.
        """
        try:
            return cls.model_validate(statement["predicate"])
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(["predicate", *(str(part) for part in first["loc"])])
            raise VerificationError(f"{place}: {first['msg']}") from error


class DigestClaim(Claim):
    """A SHA-256."""

    sha256: Sha256


class ResourceClaim(Claim):
    """A file that is named, but is no subject."""

    name: str
    digest: DigestClaim


class RuleClaim(Claim):
    """Which rule the verdict follows."""

    name: str
    digest: DigestClaim
    claim: str
    access: str


class RetrainedClaim(Claim):
    """How many models were retrained."""

    count: Annotated[int, Field(ge=0)]


class ReferencesClaim(Claim):
    """What the audited models were compared with."""

    original_model: ResourceClaim | None
    retrained_models: RetrainedClaim | None = None


class VerdictClaim(Claim):
    """How the audit ended."""

    value: Literal["PASS", "FAIL", "INCONCLUSIVE"]
    reasons: list[str]


class HeadClaim(Claim):
    """Head of a ledger."""

    origin: str
    size: Annotated[int, Field(ge=0)]
    root: Sha256


class AuditClaim(Claim):
    """What the statement of an audit claims."""

    report_id: ReportId
    issued_on: Moment
    supersedes: ReportId | None
    controller: str | None
    policy: RuleClaim
    references: ReferencesClaim
    verdict: VerdictClaim
    ledger: HeadClaim | None = None
    key_protection: Literal["unattended", "passphrase", "token"] | None = None

    @property
    def issued(self) -> datetime:
        """When it was issued, as its signer's clock had it.

        Raises:
            VerificationError: If there is no such day or hour.
        """
        return moment(self.issued_on)


class ReviewClaim(Claim):
    """What the statement of a reviewer claims."""

    report_id: ReportId
    decision: Literal["approved", "rejected"]
    name: str
    role: str
    independence: str
    remarks: str
    decided_on: Moment


class DestroyedClaim(Claim):
    """One thing that was destroyed."""

    name: str
    what: str
    sha256: Sha256 | None


class PurgeClaim(Claim):
    """What the statement of a purge claims."""

    report_id: ReportId
    purged_on: Moment
    destroyed: list[DestroyedClaim]
    ledger: HeadClaim | None


def moment(text: str) -> datetime:
    """Return the moment in `text`, such as `2026-11-21T10:00:00Z`.

    Raises:
        VerificationError: If there is no such day or hour.
    """
    try:
        return datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    except ValueError as error:
        raise VerificationError(f"no such moment: {text}") from error
