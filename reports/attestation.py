"""Statements about an audit (in-toto) and the envelopes that sign them (DSSE).

A deploy gate asks whether a model's digest is a subject of a trusted PASS, and any subject
matches. So the audited models are the only subjects of an audit statement: originals and
references appear in its predicate. What was released is a second statement.
"""

import base64
import binascii
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from forget_audit.digests import canonical_json, sha256
from forget_audit.errors import KeyFileError, VerificationError
from forget_audit.reports import strict_json
from forget_audit.signing import SigningKey, keyid_of, verify
from forget_audit.types import Json

STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PAYLOAD_TYPE = "application/vnd.in-toto+json"
AUDIT_TYPE = "https://forget-audit.org/attestation/unlearning-audit/v1"
RELEASE_TYPE = "https://forget-audit.org/attestation/release/v1"
DOCUMENT_TYPE = "https://forget-audit.org/attestation/document/v1"
DIGEST = re.compile(r"[0-9a-f]{64}")


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
    encoded = canonical_json(evidence)
    report, battery = evidence["report"], evidence["battery"]
    method = evidence["method"]
    return {
        "_type": STATEMENT_TYPE,
        "subject": [
            _subject(item["name"], item["sha256"]) for item in evidence["model"]["audited"]
        ],
        "predicateType": AUDIT_TYPE,
        "predicate": {
            "reportId": report["id"],
            "issuedOn": report["issued"],
            "supersedes": report["supersedes"],
            "tool": {
                "name": evidence["tool"]["name"],
                "version": evidence["tool"]["version"],
                "sourceDigest": {"sha256": evidence["tool"]["source_digest"]},
            },
            "policy": {
                "name": battery["profile"],
                "digest": {"sha256": battery["profile_digest"]},
                "required": battery["required"],
                "claim": battery["claim"],
                "access": battery["access"],
            },
            "request": {
                "ref": evidence["request"]["reference"],
                "basis": evidence["request"]["basis"],
                "receivedOn": evidence["request"]["received"],
                "scope": evidence["request"]["scope"],
            },
            "controller": report["controller"],
            "method": method and {"name": method["name"], "guaranteeClaimed": method["guarantee"]},
            "references": {
                "originalModel": _described(evidence["model"]["original"]),
                "weights": {
                    item["name"]: {"sha256": item["weights_sha256"]}
                    for item in evidence["model"]["audited"]
                },
                "data": {"sha256": evidence["data"]["digest"]},
                "forgetSet": {"commitment": evidence["data"]["forget_commitment"]},
            },
            "environment": evidence["environment"],
            "tests": [_test(item, battery["required"]) for item in evidence["statistics"]],
            "gates": evidence["gates"],
            "verdict": {
                "value": evidence["verdict"]["outcome"],
                "reasons": evidence["verdict"]["reasons"],
                "scope": evidence["verdict"]["scope"],
            },
            "limits": evidence["limits"],
            "evidence": {
                "digest": {"sha256": sha256(encoded)},
                "mediaType": "application/json",
                "size": len(encoded),
            },
        },
    }


def release_statement(digests: Mapping[str, str], report_id: str) -> Json:
    """Return the statement that these files, by name and SHA-256, are the released ones."""
    return {
        "_type": STATEMENT_TYPE,
        "subject": [_subject(name, digests[name]) for name in sorted(digests)],
        "predicateType": RELEASE_TYPE,
        "predicate": {"reportId": report_id},
    }


def document_statement(digest: str, report_id: str) -> Json:
    """Return the statement that a page without its signature block has this SHA-256."""
    return {
        "_type": STATEMENT_TYPE,
        "subject": [_subject("report.html without its signature block", digest)],
        "predicateType": DOCUMENT_TYPE,
        "predicate": {"reportId": report_id},
    }


def seal(statement: Json, key: SigningKey) -> bytes:
    """Return the DSSE envelope of `statement`, signed by `key`.

    The statement is completed with who signed it, so that an envelope can be checked alone;
    whether that signer is to be believed is a matter of the reader's trust file.
    """
    signer = {"name": key.name, "publicKey": key.public_pem, "certificates": key.certificates_pem}
    predicate = {**statement["predicate"], "signer": signer}
    payload = canonical_json({**statement, "predicate": predicate})
    signature = key.sign(pre_authentication(PAYLOAD_TYPE, payload))
    return canonical_json(
        {
            "payload": base64.b64encode(payload).decode(),
            "payloadType": PAYLOAD_TYPE,
            "signatures": [{"keyid": key.keyid, "sig": base64.b64encode(signature).decode()}],
        }
    )


def pre_authentication(kind: str, payload: bytes) -> bytes:
    """Return the bytes that a DSSE signature covers."""
    return b"DSSEv1 %d %s %d %s" % (len(kind.encode()), kind.encode(), len(payload), payload)


def open_envelope(data: bytes, public_keys: Iterable[str]) -> Opened:
    """Check an envelope as received and return its statement.

    Args:
        data: The envelope, canonical JSON with exactly one signature.
        public_keys: PEM; the one whose id the signature carries is used.

    Raises:
        VerificationError: If anything about it is not as it must be.
    """
    parts = _parts(data)
    public = next((pem for pem in public_keys if keyid_of(pem) == parts[1]), None)
    if public is None:
        raise VerificationError(f"no public key with the id {parts[1][:16]}… at hand")
    return _opened(*parts, public)


def open_self_signed(data: bytes) -> Opened:
    """Check an envelope with the key that its own statement names.

    That shows the envelope intact and who claims it; whether that signer is to be believed is a
    matter of the reader's trust file.

    Raises:
        VerificationError: If anything about it is not as it must be.
    """
    payload, keyid, signature = _parts(data)
    signer = _statement(payload)["predicate"].get("signer")
    named = signer.get("publicKey") if isinstance(signer, dict) else None
    if not isinstance(named, str) or not isinstance(signer.get("certificates"), str):
        raise VerificationError("the statement does not name its signer")
    try:
        same = keyid_of(named) == keyid
    except KeyFileError as error:
        raise VerificationError(f"the signer's key: {error}") from error
    if not same:
        raise VerificationError("the key id is not that of the key named in the statement")
    return _opened(payload, keyid, signature, named)


def named_subjects(data: bytes) -> list[str]:
    """Return the names of an envelope's subjects; nothing is checked but the form.

    Raises:
        VerificationError: If it is malformed.
    """
    return [item["name"] for item in _statement(_parts(data)[0])["subject"]]


def _opened(payload: bytes, keyid: str, signature: bytes, public: str) -> Opened:
    if not verify(public, pre_authentication(PAYLOAD_TYPE, payload), signature):
        raise VerificationError("the signature does not fit the statement and its key")
    return Opened(statement=_statement(payload), keyid=keyid, public_key=public)


def _parts(data: bytes) -> tuple[bytes, str, bytes]:
    envelope = strict_json.canonical(data, "envelope")
    if set(envelope) != {"payload", "payloadType", "signatures"}:
        raise VerificationError("envelope: expected payload, payloadType and signatures")
    if envelope["payloadType"] != PAYLOAD_TYPE:
        raise VerificationError(f"envelope: expected the payload type {PAYLOAD_TYPE}")
    signatures = envelope["signatures"]
    if not isinstance(signatures, list) or len(signatures) != 1:
        raise VerificationError("envelope: expected exactly one signature")
    entry = signatures[0]
    if not isinstance(entry, dict) or set(entry) != {"keyid", "sig"}:
        raise VerificationError("envelope: a signature has keyid and sig")
    keyid = entry["keyid"]
    if not isinstance(keyid, str) or not DIGEST.fullmatch(keyid):
        raise VerificationError("envelope: the keyid must be a SHA-256")
    return _decoded(envelope["payload"]), keyid, _decoded(entry["sig"])


def _decoded(text: Any) -> bytes:
    if not isinstance(text, str):
        raise VerificationError("envelope: expected base64 text")
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise VerificationError(f"envelope: {error}") from error
    if base64.b64encode(data).decode() != text:
        raise VerificationError("envelope: base64 with stray bits")
    return data


def _statement(payload: bytes) -> Json:
    statement = strict_json.canonical(payload, "statement")
    if set(statement) != {"_type", "subject", "predicateType", "predicate"}:
        raise VerificationError("statement: expected _type, subject, predicateType and predicate")
    if statement["_type"] != STATEMENT_TYPE or not isinstance(statement["predicateType"], str):
        raise VerificationError("statement: not an in-toto statement, version 1")
    if not isinstance(statement["predicate"], dict):
        raise VerificationError("statement: the predicate must be an object")
    subjects = statement["subject"]
    if not isinstance(subjects, list) or not subjects or not all(map(_is_subject, subjects)):
        raise VerificationError("statement: each subject needs a name and one SHA-256")
    if len({item["name"] for item in subjects}) != len(subjects):
        raise VerificationError("statement: two subjects of one name")
    return statement


def _is_subject(item: Any) -> bool:
    if not isinstance(item, dict) or set(item) != {"name", "digest"}:
        return False
    name, digest = item["name"], item["digest"]
    if not isinstance(name, str) or not isinstance(digest, dict) or set(digest) != {"sha256"}:
        return False
    return isinstance(digest["sha256"], str) and bool(DIGEST.fullmatch(digest["sha256"]))


def _subject(name: str, digest: str) -> Json:
    return {"name": name, "digest": {"sha256": digest}}


def _described(model: Json | None) -> Json | None:
    return model and _subject(model["name"], model["sha256"])


def _test(statistic: Json, required: list[str]) -> Json:
    names = ("name", "role", "estimate", "reference_mean", "reference_sd", "difference",
             "interval", "margin", "p_value", "outcome")  # fmt: skip
    return {**{name: statistic[name] for name in names}, "required": statistic["name"] in required}
