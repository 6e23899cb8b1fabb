"""Statements fit their published schemas, and other people's tools accept them."""

import base64
import copy
import json
import shutil
import subprocess
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from forget_audit.digests import sha256
from forget_audit.errors import VerificationError
from forget_audit.keys.signing import SigningKey
from forget_audit.reports import sigstore
from forget_audit.reports.attestation import (
    audit_statement,
    document_statement,
    open_self_signed,
    purge_statement,
    release_statement,
    review_statement,
    seal,
)
from forget_audit.reports.claims import AuditClaim, PurgeClaim, ReviewClaim
from forget_audit.verdict.scoretable import from_bytes
from forget_audit.verification.policy import Policy
from tests.fixtures import attested
from tests.fixtures.attested import attestation, reported
from tests.fixtures.evidence import evidence, scores
from tests.fixtures.programs import needs
from tests.fixtures.released import key

MOMENT, DIGEST, REPORT = "2026-11-21T10:00:00Z", sha256(b"x"), "FA-20261121-3F9A1C"
HEAD = {"origin": "forget-audit.org/ledger/" + "0" * 32, "size": 3, "root": DIGEST}
SAID = {**vars(attested.SAID), "decided_on": MOMENT}
GONE = {"name": "scores.npz", "what": "scores", "sha256": DIGEST}


def statements() -> Iterator[tuple[str, dict[str, Any]]]:
    for outcome in ("PASS", "FAIL", "INCONCLUSIVE"):
        yield "unlearning-audit-1", audit_statement(evidence(outcome))
        yield "unlearning-audit-1", audit_statement(reported(outcome))
    yield "unlearning-audit-1", audit_statement(reported(supersedes=REPORT, change="wrong day"))
    yield "release-1", release_statement({"evidence.json": DIGEST}, REPORT)
    again = {"reason": "reviewed", "previous": DIGEST}
    yield "release-1", release_statement({"a": DIGEST}, REPORT, checkpoint="x", reissued=again)
    yield "document-1", document_statement(DIGEST, REPORT)
    yield "review-1", review_statement(DIGEST, REPORT, **SAID)
    yield "purge-1", purge_statement(DIGEST, REPORT, purged_on=MOMENT, destroyed=[GONE])
    none = {**GONE, "name": "secret", "sha256": None}
    yield (
        "purge-1",
        purge_statement(DIGEST, REPORT, purged_on=MOMENT, destroyed=[none], ledger=HEAD),
    )


STATEMENTS = tuple(statements())


def schema(name: str) -> dict[str, Any]:
    folder = resources.files("forget_audit.reports") / "schemas"
    found: dict[str, Any] = json.loads((folder / f"{name}.json").read_text("utf-8"))
    return found


@pytest.mark.parametrize(("name", "statement"), STATEMENTS)
def test_a_statement_fits_its_schema_signed_or_not(name: str, statement: dict[str, Any]) -> None:
    document = schema(name)
    jsonschema.Draft202012Validator.check_schema(document)
    assert document["$id"] == f"https://forget-audit.org/schemas/{name}.json"
    assert document["properties"]["predicateType"]["const"] == statement["predicateType"]
    for shown in (statement, open_self_signed(seal(statement, key())).statement):
        jsonschema.Draft202012Validator(document).validate(shown)
        described = document["properties"]["predicate"]["properties"]
        assert set(shown["predicate"]) <= set(described)


@pytest.mark.parametrize(("name", "statement"), STATEMENTS)
def test_a_schema_refuses_other_subjects_and_kinds(name: str, statement: dict[str, Any]) -> None:
    checker = jsonschema.Draft202012Validator(schema(name))
    changes: list[dict[str, Any]] = [
        {"subject": []}, {"predicateType": "https://example.org/x/v1"}, {"more": 1},
        {"subject": [{"name": "x", "digest": {"md5": "0" * 32}}]},
    ]  # fmt: skip
    for change in changes:
        assert not checker.is_valid({**statement, **change})
    predicate = {name: item for name, item in statement["predicate"].items() if name != "reportId"}
    assert not checker.is_valid({**statement, "predicate": predicate})


def test_the_schema_of_the_policy_is_that_of_the_program() -> None:
    made = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "https://forget-audit.org/schemas/gate-policy-1.json",
        **Policy.model_json_schema(),
    }
    assert schema("gate-policy-1") == made


def test_claims_are_read_from_what_is_written() -> None:
    claim = AuditClaim.of(audit_statement(reported("FAIL", supersedes=REPORT, change="x")))
    assert (claim.report_id, claim.supersedes) == (REPORT, REPORT)
    assert (claim.verdict.value, claim.verdict.reasons) == ("FAIL", ["RESIDUAL"])
    assert claim.references.retrained_models
    assert claim.references.retrained_models.count == 39
    assert claim.key_protection == "unattended"
    assert claim.ledger
    assert claim.ledger.size == 41
    review = ReviewClaim.of(review_statement(DIGEST, REPORT, **SAID))
    assert (review.decision, review.decided_on) == ("approved", MOMENT)
    purge = purge_statement(DIGEST, REPORT, purged_on=MOMENT, destroyed=[GONE], ledger=HEAD)
    assert PurgeClaim.of(purge).destroyed[0].sha256 == DIGEST
    with pytest.raises(VerificationError, match=r"predicate\.reportId"):
        ReviewClaim.of(
            audit_statement({**evidence(), "report": {**evidence()["report"], "id": ""}})
        )


def test_a_predicate_gains_members_only_where_the_evidence_has_them() -> None:
    """What was signed by an earlier version must still be what is computed today."""
    plain, full = (audit_statement(item)["predicate"] for item in (evidence(), reported()))
    assert set(full) - set(plain) == {"parties", "lineage", "ledger", "keyProtection"}
    assert set(full["request"]) - set(plain["request"]) == {"dueOn", "erasedOn"}
    assert set(full["references"]) - set(plain["references"]) == {"retrainedModels"}
    small = audit_statement(reported("INCONCLUSIVE"))["predicate"]
    assert small["references"]["forgetSet"]["countBand"] == "fewer than 10"
    changed = audit_statement(reported(supersedes=REPORT, change="wrong day"))["predicate"]
    assert changed["change"] == "wrong day"


def test_nothing_by_row_is_in_a_statement() -> None:
    text = json.dumps(audit_statement(reported()))
    rows = from_bytes(scores())["id_f"].tolist()
    assert not [name for name in rows if name in text]


# Other people's tools


@pytest.mark.parametrize(("name", "statement"), STATEMENTS)
def test_the_validator_of_in_toto_accepts_it(name: str, statement: dict[str, Any]) -> None:
    module = pytest.importorskip("in_toto_attestation.v1.statement")
    statement_pb2 = pytest.importorskip("in_toto_attestation.v1.statement_pb2")
    json_format = pytest.importorskip("google.protobuf.json_format")
    payload = open_self_signed(seal(statement, key())).statement
    parsed = json_format.ParseDict(payload, statement_pb2.Statement())
    found = module.Statement.copy_from_pb(parsed)
    found.validate()
    assert json_format.MessageToDict(found.pb)["predicateType"] == statement["predicateType"]


def rsa() -> SigningKey:
    from tests.fixtures.pdfs import reviewer

    return reviewer()


@pytest.mark.parametrize(
    ("kind", "scheme"), [("ecdsa", "ecdsa-sha2-nistp256"), ("rsa", "rsa-pkcs1v15-sha256")]
)
def test_securesystemslib_accepts_it_and_nothing_else(kind: str, scheme: str) -> None:
    dsse = pytest.importorskip("securesystemslib.dsse", reason="securesystemslib is missing")
    module = pytest.importorskip("securesystemslib.signer", reason="securesystemslib is missing")
    signer = rsa() if kind == "rsa" else key()
    data = json.loads(seal(audit_statement(reported()), signer))
    public = module.SSlibKey(signer.keyid, kind, scheme, {"public": signer.public_pem})
    envelope = dsse.Envelope.from_dict(copy.deepcopy(data))
    assert set(envelope.verify([public], 1)) == {signer.keyid}
    other = module.SSlibKey(
        attested.stranger().keyid, "ecdsa", "ecdsa-sha2-nistp256",
        {"public": attested.stranger().public_pem},
    )  # fmt: skip
    failed = pytest.importorskip("securesystemslib.exceptions").VerificationError
    payload = bytearray(base64.b64decode(data["payload"]))
    payload[100] ^= 1
    changed = {**copy.deepcopy(data), "payload": base64.b64encode(payload).decode()}
    for item, keys in ((data, [other]), (changed, [public])):
        with pytest.raises(failed):
            dsse.Envelope.from_dict(copy.deepcopy(item)).verify(keys, 1)


# Bundles


def test_a_bundle_has_the_names_of_the_protobuf_and_no_keyid() -> None:
    data = attestation()
    made = json.loads(sigstore.bundle(data))
    assert made["mediaType"] == "application/vnd.dev.sigstore.bundle.v0.3+json"
    assert set(made) == {"mediaType", "verificationMaterial", "dsseEnvelope"}
    material_ = made["verificationMaterial"]
    assert set(material_) == {"publicKey", "tlogEntries"}
    assert base64.b64decode(material_["publicKey"]["hint"]).hex() == key().keyid
    envelope, inside = json.loads(data), made["dsseEnvelope"]
    assert [item["keyid"] for item in inside["signatures"]] == [""]
    assert inside["signatures"][0]["sig"] == envelope["signatures"][0]["sig"]
    assert {name: inside[name] for name in ("payload", "payloadType")} == {
        name: envelope[name] for name in ("payload", "payloadType")
    }
    assert sigstore.bundle(data) == sigstore.bundle(data)


def test_a_broken_envelope_gives_no_bundle() -> None:
    for data in (b"", b"{}", attestation()[:-1], sigstore.bundle(attestation())):
        with pytest.raises(VerificationError):
            sigstore.bundle(data)


@needs("openssl", "openssl")
@pytest.mark.parametrize("kind", ["p256", "rsa"])
def test_openssl_accepts_the_signature_in_a_bundle(tmp_path: Path, kind: str) -> None:
    signer = key() if kind == "p256" else rsa()
    made = json.loads(sigstore.bundle(seal(audit_statement(reported()), signer)))["dsseEnvelope"]
    payload = base64.b64decode(made["payload"])
    signed = b"DSSEv1 28 application/vnd.in-toto+json %d %s" % (len(payload), payload)
    (tmp_path / "public.pem").write_text(signer.public_pem)
    (tmp_path / "sig").write_bytes(base64.b64decode(made["signatures"][0]["sig"]))
    for data, code in ((signed, 0), (signed + b" ", 1)):
        (tmp_path / "data").write_bytes(data)
        done = subprocess.run(
            ["openssl", "dgst", "-sha256", "-verify", "public.pem", "-signature", "sig", "data"],
            cwd=tmp_path, capture_output=True, check=False,
        )  # fmt: skip
        assert done.returncode == code


@pytest.mark.skipif(not shutil.which("cosign"), reason="cosign is missing: see docs/gate.md")
def test_cosign_accepts_the_bundle(tmp_path: Path) -> None:
    (tmp_path / "model").write_bytes(attested.UNLEARNED)
    (tmp_path / "public.pem").write_text(key().public_pem)
    (tmp_path / "bundle.json").write_bytes(sigstore.bundle(attestation()))
    done = subprocess.run(
        ["cosign", "verify-blob-attestation", "--key", "public.pem", "--bundle", "bundle.json",
         "--new-bundle-format", "--insecure-ignore-tlog", "--type",
         "https://forget-audit.org/attestation/unlearning-audit/v1", "model"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
