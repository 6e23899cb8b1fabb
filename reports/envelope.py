"""The form of envelopes (DSSE) and of the statements in them (in-toto), read strictly.

One envelope, one signature, one encoding: whatever could be read in two ways is refused.
"""

import base64
import binascii
import re
from typing import Any

from forget_audit.errors import VerificationError
from forget_audit.reports import strict_json
from forget_audit.types import Json

STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PAYLOAD_TYPE = "application/vnd.in-toto+json"
DIGEST = re.compile(r"[0-9a-f]{64}")


def pre_authentication(kind: str, payload: bytes) -> bytes:
    """Return the bytes that a DSSE signature covers."""
    return b"DSSEv1 %d %s %d %s" % (len(kind.encode()), kind.encode(), len(payload), payload)


def parts(data: bytes) -> tuple[bytes, str, bytes]:
    """Return payload, key id and signature of an envelope: canonical JSON with one signature.

    Raises:
        VerificationError: If it is malformed.
    """
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


def statement_in(payload: bytes) -> Json:
    """Return the in-toto statement in `payload`; nothing is checked but the form.

    Raises:
        VerificationError: If it is malformed.
    """
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
