"""Statements about an audit (in-toto) and the envelopes that sign them (DSSE).

A deploy gate asks whether a model's digest is a subject of a trusted PASS, and any subject
matches. So the audited models are the only subjects of an audit statement: originals and
references appear in its predicate. What was released is a second statement.
"""

import base64
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from forget_audit.digests import canonical_json
from forget_audit.errors import KeyFileError, VerificationError
from forget_audit.keys.signing import SigningKey, keyid_of, verify
from forget_audit.reports import envelope
from forget_audit.reports.predicate import audit_predicate
from forget_audit.types import Json

AUDIT_TYPE = "https://forget-audit.org/attestation/unlearning-audit/v1"
RELEASE_TYPE = "https://forget-audit.org/attestation/release/v1"
DOCUMENT_TYPE = "https://forget-audit.org/attestation/document/v1"
REVIEW_TYPE = "https://forget-audit.org/attestation/review/v1"
PURGE_TYPE = "https://forget-audit.org/attestation/purge/v1"
Decision = Literal["approved", "rejected"]


@dataclass(frozen=True, kw_only=True)
class Opened:
    """A statement whose signature was checked.

    Args:
        statement: As signed.
        keyid: Of the key that signed it.
        public_key: That key, PEM.
    """

    statement: Json
    keyid: str
    public_key: str

    @property
    def digests(self) -> dict[str, str]:
        """SHA-256 of each subject by name."""
        return {item["name"]: item["digest"]["sha256"] for item in self.statement["subject"]}

    @property
    def kind(self) -> str:
        """The predicate type."""
        return str(self.statement["predicateType"])


def audit_statement(evidence: Json) -> Json:
    """Return the statement of the result; its only subjects are the audited models."""
    audited = {item["name"]: item["sha256"] for item in evidence["model"]["audited"]}
    return {
        **_statement_of(AUDIT_TYPE, audited, audit_predicate(evidence)),
        "subject": [_subject(name, digest) for name, digest in audited.items()],
    }


def release_statement(
    digests: Mapping[str, str],
    report_id: str,
    *,
    checkpoint: str | None = None,
    reissued: Json | None = None,
) -> Json:
    """Return the statement that these files, by name and SHA-256, are the released ones.

    Args:
        digests: SHA-256 by name.
        report_id: Of the report.
        checkpoint: Signed head of the ledger after the entry of this release, a note.
        reissued: `reason`, and in `previous` the SHA-256 of the statement this one replaces.
    """
    predicate: Json = {"reportId": report_id}
    if checkpoint is not None:
        predicate["checkpoint"] = checkpoint
    if reissued is not None:
        predicate["reissued"] = {key: reissued[key] for key in ("reason", "previous")}
    return _statement_of(RELEASE_TYPE, digests, predicate)


def document_statement(digest: str, report_id: str) -> Json:
    """Return the statement that a page without its signature block has this SHA-256."""
    subject = {"report.html without its signature block": digest}
    return _statement_of(DOCUMENT_TYPE, subject, {"reportId": report_id})


def review_statement(
    audit_digest: str,
    report_id: str,
    *,
    decision: Decision,
    name: str,
    role: str,
    independence: str,
    remarks: str,
    decided_on: str,
) -> Json:
    """Return the statement of what a person thinks of an audit.

    Args:
        audit_digest: SHA-256 of `audit.dsse.json`, its only subject.
        report_id: Of the report.
        decision: `approved` or `rejected`.
        name: Of the person.
        role: In which they decide.
        independence: Of those who trained and audited.
        remarks: Free text, may be empty.
        decided_on: Moment in UTC, such as `2026-11-21T10:00:00Z`.
    """
    predicate = {
        "reportId": report_id,
        "decision": decision,
        "name": name,
        "role": role,
        "independence": independence,
        "remarks": remarks,
        "decidedOn": decided_on,
    }
    return _statement_of(REVIEW_TYPE, {"audit.dsse.json": audit_digest}, predicate)


def purge_statement(
    evidence_digest: str,
    report_id: str,
    *,
    purged_on: str,
    destroyed: Sequence[Mapping[str, str | None]],
    ledger: Mapping[str, Any] | None = None,
) -> Json:
    """Return the statement of what an audit destroyed of that which it held itself.

    Args:
        evidence_digest: SHA-256 of `evidence.json`, its only subject.
        report_id: Of the report.
        purged_on: Moment in UTC.
        destroyed: For each thing its `name`, `what` it was, and its `sha256` if it had one.
        ledger: Head before the entry of this purge: `origin`, `size`, `root`.
    """
    keys = ("name", "what", "sha256")
    predicate: Json = {
        "reportId": report_id,
        "purgedOn": purged_on,
        "destroyed": [{key: item[key] for key in keys} for item in destroyed],
        "ledger": ledger and {key: ledger[key] for key in ("origin", "size", "root")},
    }
    return _statement_of(PURGE_TYPE, {"evidence.json": evidence_digest}, predicate)


def seal(statement: Json, key: SigningKey) -> bytes:
    """Return the DSSE envelope of `statement`, signed by `key`.

    The statement is completed with who signed it, so that an envelope can be checked alone;
    whether that signer is to be believed is a matter of the reader's trust file.
    """
    signer = {"name": key.name, "publicKey": key.public_pem, "certificates": key.certificates_pem}
    predicate = {**statement["predicate"], "signer": signer}
    payload = canonical_json({**statement, "predicate": predicate})
    signature = key.sign(envelope.pre_authentication(envelope.PAYLOAD_TYPE, payload))
    return canonical_json(
        {
            "payload": base64.b64encode(payload).decode(),
            "payloadType": envelope.PAYLOAD_TYPE,
            "signatures": [{"keyid": key.keyid, "sig": base64.b64encode(signature).decode()}],
        }
    )


def open_envelope(data: bytes, public_keys: Iterable[str]) -> Opened:
    """Check an envelope as received and return its statement.

    Args:
        data: The envelope, canonical JSON with exactly one signature.
        public_keys: PEM; the one whose id the signature carries is used.

    Raises:
        VerificationError: If anything about it is not as it must be.
    """
    payload, keyid, signature = envelope.parts(data)
    public = next((pem for pem in public_keys if keyid_of(pem) == keyid), None)
    if public is None:
        raise VerificationError(f"no public key with the id {keyid[:16]}… at hand")
    _refuse_forged(payload, signature, public)
    return Opened(statement=envelope.statement_in(payload), keyid=keyid, public_key=public)


def open_self_signed(data: bytes) -> Opened:
    """Check an envelope with the key that its own statement names.

    That shows the envelope intact and who claims it; whether that signer is to be believed is a
    matter of the reader's trust file.

    Raises:
        VerificationError: If anything about it is not as it must be.
    """
    payload, keyid, signature = envelope.parts(data)
    statement = envelope.statement_in(payload)
    signer = statement["predicate"].get("signer")
    named = signer.get("publicKey") if isinstance(signer, dict) else None
    if not isinstance(named, str) or not isinstance(signer.get("certificates"), str):
        raise VerificationError("the statement does not name its signer")
    try:
        same = keyid_of(named) == keyid
    except KeyFileError as error:
        raise VerificationError(f"the signer's key: {error}") from error
    if not same:
        raise VerificationError("the key id is not that of the key named in the statement")
    _refuse_forged(payload, signature, named)
    return Opened(statement=statement, keyid=keyid, public_key=named)


def named_subjects(data: bytes) -> list[str]:
    """Return the names of an envelope's subjects; nothing is checked but the form.

    Raises:
        VerificationError: If it is malformed.
    """
    return [item["name"] for item in envelope.statement_in(envelope.parts(data)[0])["subject"]]


def _refuse_forged(payload: bytes, signature: bytes, public: str) -> None:
    if not verify(public, envelope.pre_authentication(envelope.PAYLOAD_TYPE, payload), signature):
        raise VerificationError("the signature does not fit the statement and its key")


def _statement_of(kind: str, digests: Mapping[str, str], predicate: Json) -> Json:
    return {
        "_type": envelope.STATEMENT_TYPE,
        "subject": [_subject(name, digests[name]) for name in sorted(digests)],
        "predicateType": kind,
        "predicate": predicate,
    }


def _subject(name: str, digest: str) -> Json:
    return {"name": name, "digest": {"sha256": digest}}
