"""What may lie beside an attestation: a person's review, and the proof of a purge.

Both are statements of their own, bound to the audit by digest. A rejection is heeded whoever
signed it; an approval and a proof of deletion count only from those the reader trusts.
"""

from __future__ import annotations

from dataclasses import dataclass

from forget_audit.digests import sha256
from forget_audit.errors import VerificationError
from forget_audit.reports.attestation import PURGE_TYPE, REVIEW_TYPE, Opened
from forget_audit.reports.claims import PurgeClaim, ReviewClaim
from forget_audit.reports.folders import AUDIT, EVIDENCE, PURGE, REVIEW, SCORES
from forget_audit.types import Json
from forget_audit.verification.attested import Attested, open_expected
from forget_audit.verification.checks import Findings


class OtherAudit(VerificationError):
    """A review is intact, but not of the audit at hand."""


@dataclass(frozen=True, kw_only=True)
class Review:
    """An intact review of the audit at hand.

    Args:
        opened: The statement.
        claim: What it says.
    """

    opened: Opened
    claim: ReviewClaim

    @property
    def approved(self) -> bool:
        """Whether the reviewer agrees."""
        return self.claim.decision == "approved"

    @property
    def words(self) -> str:
        """For people."""
        claim = self.claim
        return f"{claim.decision} by {claim.name} ({claim.role}) on {claim.decided_on[:10]}"


def read_review(data: bytes, audit: Attested) -> Review:
    """Return the review in an envelope.

    Args:
        data: `review.dsse.json`.
        audit: What it must be about.

    Raises:
        OtherAudit: If it is about another audit.
        VerificationError: If it is broken, or by the key that issued the audit.
    """
    found = open_expected(data, REVIEW_TYPE)
    claim = ReviewClaim.of(found.statement)
    if found.digests != {AUDIT: audit.digest} or claim.report_id != audit.claim.report_id:
        raise OtherAudit("is about another audit")
    if found.keyid == audit.keyid:
        raise VerificationError("is by the key that issued the audit: no second pair of eyes")
    return Review(opened=found, claim=claim)


def check_review(findings: Findings, review: Review, file: str = REVIEW) -> None:
    """Note what the reviewer decided."""
    if review.approved:
        findings.add("review", "pass", review.words, file, "approved")
    else:
        findings.add("review", "rejected", review.words, file, "rejected")


@dataclass(frozen=True, kw_only=True)
class Purge:
    """An intact proof of deletion for the report at hand.

    Args:
        opened: The statement.
        claim: What it says.
    """

    opened: Opened
    claim: PurgeClaim

    def covers(self, evidence: Json) -> bool:
        """Say whether the very scores that the evidence names were destroyed."""
        digest = evidence["digests"]["scores"]
        return any(item.name == SCORES and item.sha256 == digest for item in self.claim.destroyed)


def read_purge(data: bytes, evidence: bytes, report_id: str) -> Purge:
    """Return the proof of deletion in an envelope.

    Args:
        data: `purge.dsse.json`.
        evidence: `evidence.json`, which it must be about.
        report_id: Of the evidence.

    Raises:
        VerificationError: If it is broken, or about another report.
    """
    found = open_expected(data, PURGE_TYPE)
    claim = PurgeClaim.of(found.statement)
    if found.digests != {EVIDENCE: sha256(evidence)} or claim.report_id != report_id:
        raise VerificationError("is about another report")
    return Purge(opened=found, claim=claim)


def check_purge(findings: Findings, purge: Purge, present: set[str]) -> None:
    """Note what was destroyed; what is said to be destroyed must not lie there.

    Args:
        findings: Where the outcome goes.
        purge: The proof.
        present: Names of the files in the folder.
    """
    still = sorted({item.name for item in purge.claim.destroyed} & present)
    if still:
        findings.add("purge", "fail", f"says that {still[0]} was destroyed, but it is here", PURGE)
        return
    count, day = len(purge.claim.destroyed), purge.claim.purged_on[:10]
    findings.add("purge", "pass", f"{count} things were destroyed on {day}", PURGE, "purged")
