"""The result of an audit as its envelope states it, and which results took the place of others."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from forget_audit.digests import sha256
from forget_audit.errors import VerificationError
from forget_audit.reports.attestation import AUDIT_TYPE, Opened, open_self_signed
from forget_audit.reports.claims import AuditClaim
from forget_audit.trust import Trust


class WrongKind(VerificationError):
    """An envelope holds another kind of statement than was asked for."""


@dataclass(frozen=True, kw_only=True)
class Attested:
    """An intact statement of an audit's result; whether to believe its signer is open.

    Args:
        opened: The statement.
        claim: What it says.
        digest: SHA-256 of the envelope.
    """

    opened: Opened
    claim: AuditClaim
    digest: str

    @property
    def keyid(self) -> str:
        """Of the key that signed it."""
        return self.opened.keyid

    @property
    def models(self) -> frozenset[str]:
        """SHA-256 of the audited models: the subjects, and nothing else."""
        return frozenset(self.opened.digests.values())


def open_expected(data: bytes, kind: str | None = None, keyid: str | None = None) -> Opened:
    """Open an envelope that names its signer.

    Args:
        data: As received.
        kind: The predicate type that is expected, if any.
        keyid: Of the key that is expected, if any.

    Raises:
        WrongKind: If it is another kind of statement.
        VerificationError: If it is broken or by another key.
    """
    found = open_self_signed(data)
    if kind not in (None, found.kind):
        raise WrongKind(f"expected a statement of the kind {kind}, found {found.kind[:120]}")
    if keyid not in (None, found.keyid):
        raise VerificationError("signed by another key than the attestation")
    return found


def read_attested(data: bytes, keyid: str | None = None) -> Attested:
    """Return the result in an envelope.

    Args:
        data: `audit.dsse.json`.
        keyid: Of the key that is expected, if any.

    Raises:
        WrongKind: If it is another kind of statement.
        VerificationError: If it is broken, by another key, or makes no sense.
    """
    found = open_expected(data, AUDIT_TYPE, keyid)
    return Attested(opened=found, claim=AuditClaim.of(found.statement), digest=sha256(data))


def superseding(audits: Iterable[Attested], trust: Trust) -> dict[str, str]:
    """Return which reports were superseded by one of `audits`, each with its successor.

    Only a signer who is trusted as a tool today can take a report out of use.
    """
    return {
        audit.claim.supersedes: audit.claim.report_id
        for audit in audits
        if audit.claim.supersedes and trust.believed(audit.keyid, "tool").outcome == "pass"
    }
