"""Statements and envelopes: who is a subject, and what a strict reader accepts."""

import base64
import copy
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from forget_audit.digests import canonical_json, sha256
from forget_audit.errors import VerificationError
from forget_audit.keys.signing import SigningKey
from forget_audit.reports import attestation
from forget_audit.reports.attestation import open_envelope, seal
from forget_audit.reports.envelope import PAYLOAD_TYPE, pre_authentication
from tests.fixtures.evidence import evidence
from tests.fixtures.released import key


def envelope(outcome: str = "PASS") -> bytes:
    return seal(attestation.audit_statement(evidence(outcome)), key())


def test_only_the_audited_model_is_a_subject() -> None:
    document = evidence()
    statement = open_envelope(envelope(), [key().public_pem]).statement
    audited, original = document["model"]["audited"][0], document["model"]["original"]
    assert statement["subject"] == [
        {"name": audited["name"], "digest": {"sha256": audited["sha256"]}}
    ]
    assert statement["predicate"]["references"]["originalModel"]["digest"] == {
        "sha256": original["sha256"]
    }
    assert statement["predicate"]["verdict"]["value"] == "PASS"
    digest = sha256(canonical_json(document))
    assert statement["predicate"]["evidence"]["digest"]["sha256"] == digest


def test_the_encoding_is_that_of_the_published_example() -> None:
    assert pre_authentication("http://example.com/HelloWorld", b"hello world") == (
        b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    )


@pytest.mark.skipif(not shutil.which("openssl"), reason="openssl is not installed")
def test_openssl_accepts_it_and_refuses_a_change(tmp_path: Path) -> None:
    parts = json.loads(envelope())
    payload = base64.b64decode(parts["payload"])
    (tmp_path / "key.pem").write_text(key().public_pem)
    (tmp_path / "sig").write_bytes(base64.b64decode(parts["signatures"][0]["sig"]))
    for data, wanted in ((payload, "Verified OK"), (payload[:-1] + b" ", "Verification failure")):
        signed = pre_authentication(parts["payloadType"], data)
        (tmp_path / "data").write_bytes(signed)
        said = subprocess.run(
            ["openssl", "dgst", "-sha256", "-verify", "key.pem", "-signature", "sig", "data"],
            cwd=tmp_path, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert wanted in said.stdout + said.stderr


def test_securesystemslib_accepts_it() -> None:
    dsse = pytest.importorskip("securesystemslib.dsse", reason="securesystemslib is missing")
    signer = pytest.importorskip("securesystemslib.signer", reason="securesystemslib is missing")
    public = signer.SSlibKey(
        key().keyid, "ecdsa", "ecdsa-sha2-nistp256", {"public": key().public_pem}
    )
    parsed = dsse.Envelope.from_dict(copy.deepcopy(json.loads(envelope())))
    assert set(parsed.verify([public], 1)) == {key().keyid}


def test_equal_statements_give_equal_envelopes() -> None:
    assert envelope() == envelope()


def test_a_key_that_is_not_given_opens_nothing() -> None:
    with pytest.raises(VerificationError, match="no public key"):
        open_envelope(envelope(), [SigningKey.create("Other").public_pem])


def forged(**changes: Any) -> bytes:
    return canonical_json({**json.loads(envelope()), **changes})


def signed(statement: Any) -> bytes:
    payload = canonical_json(statement)
    signature = key().sign(pre_authentication(PAYLOAD_TYPE, payload))
    return canonical_json(
        {
            "payload": base64.b64encode(payload).decode(),
            "payloadType": PAYLOAD_TYPE,
            "signatures": [{"keyid": key().keyid, "sig": base64.b64encode(signature).decode()}],
        }
    )


MALFORMED = (
    b"", b"{}", b"[]", b"null", b"\xff\xfe", b"{" * 100_000, b"[" * 100_000,
    b'{"payload":NaN}', b'{"a":1,"a":2}', b'{"a":1e999}',
    forged(payloadType="text/plain"), forged(payload=3), forged(payload="***"),
    forged(signatures=[]), forged(signatures={}), forged(signatures=[3]), forged(extra=1),
    forged(signatures=[{"keyid": "", "sig": ""}]), forged(signatures=[{"keyid": 3, "sig": ""}]),
    forged(signatures=[{"keyid": key().keyid, "sig": "AAAA"}]),
    envelope() + b"\n", b" " + envelope(), envelope()[:-1],
)  # fmt: skip


@pytest.mark.parametrize("data", MALFORMED, ids=map(str, range(len(MALFORMED))))
def test_a_malformed_envelope_is_refused(data: bytes) -> None:
    with pytest.raises(VerificationError):
        open_envelope(data, [key().public_pem])


@pytest.mark.parametrize(
    "change",
    [
        {"_type": "https://in-toto.io/Statement/v0.1"}, {"subject": []}, {"subject": {}},
        {"subject": [{"name": "m", "digest": {"sha256": "0"}}]},
        {"subject": [{"name": "m", "digest": {"md5": "0" * 64}}]},
        {"subject": [{"name": 3, "digest": {"sha256": "0" * 64}}]},
        {"subject": [{"name": "m", "digest": {"sha256": "0" * 64}}] * 2},
        {"predicateType": 3}, {"predicate": []}, {"more": 1},
    ],
)  # fmt: skip
def test_a_signed_statement_of_the_wrong_shape_is_refused(change: dict[str, Any]) -> None:
    statement = attestation.audit_statement(evidence())
    with pytest.raises(VerificationError, match="statement"):
        open_envelope(signed({**statement, **change}), [key().public_pem])


def test_a_signer_cannot_be_named_for_another_key() -> None:
    statement = attestation.audit_statement(evidence())
    other = SigningKey.create("Other")
    statement["predicate"]["signer"] = {"publicKey": other.public_pem, "certificates": ""}
    with pytest.raises(VerificationError, match="not that of the key named"):
        attestation.open_self_signed(signed(statement))
    for signer in (None, {}, {"publicKey": "x", "certificates": ""}):
        statement["predicate"]["signer"] = signer
        with pytest.raises(VerificationError, match="signer"):
            attestation.open_self_signed(signed(statement))
