"""Pages, PDFs and envelopes, each checked alone: intact, and by which key.

Whether that key is believed is another question, see `forget_audit.verification.signers`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from forget_audit.digests import sha256
from forget_audit.errors import VerificationError
from forget_audit.keys.signing import certificates_of
from forget_audit.reports import html_signature, pdf_signature
from forget_audit.reports.attestation import DOCUMENT_TYPE, Opened
from forget_audit.reports.folders import AUDIT
from forget_audit.reports.pdf_signature import PdfCheck
from forget_audit.trust import Trust
from forget_audit.verification.attested import Attested, open_expected, read_attested
from forget_audit.verification.checks import Findings

Chain = tuple[x509.Certificate, ...]


@dataclass(frozen=True, kw_only=True)
class Carried:
    """A page or PDF that is intact.

    Args:
        keyid: Of the key that issued it.
        audit: The result inside; a receipt carries none.
        pdf: More on a PDF.
    """

    keyid: str
    audit: Attested | None
    pdf: PdfCheck | None = None


def check_page(
    findings: Findings, data: bytes, file: str, keyid: str | None = None
) -> Carried | None:
    """Check the signature that a page carries, and the result in it."""

    def check() -> Carried:
        signed, block = html_signature.split(data)
        found = open_expected(block, DOCUMENT_TYPE, keyid)
        if list(found.digests.values()) != [sha256(signed)]:
            raise VerificationError("the page was changed after signing")
        audit = read_attested(html_signature.attestation_of(data), found.keyid)
        findings.add("page signature", "pass", f"valid, by key {found.keyid[:16]}…", file)
        return Carried(keyid=found.keyid, audit=audit)

    return findings.attempt("page signature", file, check)


def check_pdf(
    findings: Findings,
    trust: Trust,
    data: bytes,
    file: str,
    audit: Attested | None = None,
    review: Opened | None = None,
) -> Carried | None:
    """Check the signatures in a PDF.

    Args:
        findings: Where the outcome goes.
        trust: Certificates in it, and those that the statements name, are what a PDF's own
            certificate must lead to.
        data: The PDF.
        file: Its name.
        audit: In a folder, the statement whose key must have made the first signature.
        review: In a folder, the statement whose key must have made a second signature.
    """

    def check() -> Carried:
        known = {
            "tool": [*_of_role(trust, "tool"), *_named_by(audit.opened if audit else None)],
            "reviewer": [*_of_role(trust, "reviewer"), *_named_by(review)],
        }
        roots = {role: [chain[-1] for chain in chains] for role, chains in known.items()}
        stamps = [chain[-1] for chain in _of_role(trust, "timestamp")]
        found = pdf_signature.verify_pdf(
            data, roots["tool"], reviewers=roots["reviewer"], timestamps=stamps
        )
        if not found.valid or found.keyid is None:
            raise VerificationError(found.reason)
        _refuse_other(found, audit, review)
        _refuse_strange(known["tool"], found.keyid, "issuer", leads=found.trusted)
        if found.reviewer_keyid:
            leads = found.reviewer_trusted
            _refuse_strange(known["reviewer"], found.reviewer_keyid, "reviewer", leads=leads)
        carried = audit or _result_in(data, found.keyid)
        second = found.reviewer_keyid and f", and by reviewer key {found.reviewer_keyid[:16]}…"
        findings.add(
            "PDF signature",
            "pass",
            f"valid, covers the whole file, by key {found.keyid[:16]}…{second or ''}",
            file,
        )
        return Carried(keyid=found.keyid, audit=carried, pdf=found)

    return findings.attempt("PDF signature", file, check)


def _refuse_other(found: PdfCheck, audit: Attested | None, review: Opened | None) -> None:
    if audit is None:
        return
    if found.keyid != audit.keyid:
        raise VerificationError("signed by another key than the attestation")
    if found.reviewer_keyid and (review is None or found.reviewer_keyid != review.keyid):
        raise VerificationError("a second signature is by another key than the review")


def _refuse_strange(chains: Sequence[Chain], keyid: str, whose: str, *, leads: bool) -> None:
    """Refuse a certificate for a known key that does not lead to the root known for that key.

    One that has ended leads nowhere: that is for the check of the signer to say.
    """
    ours = [chain[0] for chain in chains if _keyid(chain[0]) == keyid]
    now = datetime.now(UTC)
    valid = all(leaf.not_valid_before_utc <= now <= leaf.not_valid_after_utc for leaf in ours)
    if ours and valid and not leads:
        raise VerificationError(f"the certificate of the {whose} does not lead to its root")


def _result_in(pdf: bytes, keyid: str) -> Attested | None:
    """Return the result attached to a PDF; a receipt has none."""
    try:
        inside = pdf_signature.attachments(pdf)
    except VerificationError:
        return None
    return read_attested(inside[AUDIT], keyid) if AUDIT in inside else None


def _of_role(trust: Trust, role: str) -> list[Chain]:
    return [certificates_of(key.certificates) for key in trust.keys if role in key.roles]


def _named_by(statement: Opened | None) -> list[Chain]:
    """Return the chain that a statement's signer names."""
    if statement is None:
        return []
    return [certificates_of(str(statement.statement["predicate"]["signer"]["certificates"]))]


def _keyid(certificate: x509.Certificate) -> str:
    der = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return sha256(der)
