"""The gate: which models it lets out, and with which reason it refuses the others."""

import base64
import copy
import json
import os
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from forget_audit.deployment.gating import DEPLOY, Decision, gate
from forget_audit.deployment.steps import REFUSALS
from forget_audit.digests import canonical_json, sha256
from forget_audit.ledger.ledger import Ledger
from forget_audit.reports.attestation import (
    audit_statement,
    document_statement,
    purge_statement,
    release_statement,
    review_statement,
    seal,
)
from forget_audit.trust import Trust
from forget_audit.verification.policy import Policy
from tests.fixtures import attested, audited
from tests.fixtures.attested import attestation, both, ended, reported, reviewer, stranger
from tests.fixtures.released import copied, key, trust

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
FORMER, LATER = "FA-20261121-3F9A1C", "FA-20261122-AAAAAA"


class Desk:
    """A folder with model files and attestations."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.model = self.file("unlearned.safetensors", attested.UNLEARNED)

    def file(self, name: str, data: bytes) -> Path:
        path = self.folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(data)
        return path

    def attest(self, outcome: str = "PASS", name: str = "audit.dsse.json", **more: Any) -> Path:
        return self.file(name, attestation(outcome, **more))

    def ask(
        self, *paths: Path, model: Path | None = None, book: Trust | None = None, **more: Any
    ) -> Decision:
        more = {"now": NOW, **more}
        return gate(model or self.model, paths, book or trust(), **more)


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def refused(decision: Decision, code: str, words: str = "") -> None:
    assert not decision.deploy
    assert decision.code == code
    assert code in REFUSALS
    assert words in decision.reason
    assert decision.reports == ()
    json.dumps(decision.as_json())


def test_an_unlearned_model_with_a_trusted_pass_is_deployed(desk: Desk) -> None:
    decision = desk.ask(desk.attest())
    assert decision.deploy
    assert decision.code == DEPLOY
    assert decision.sha256 == sha256(attested.UNLEARNED)
    assert decision.reports == (FORMER,)
    assert {check.outcome for check in decision.checks} == {"pass"}
    assert len({check.name for check in decision.checks}) == 7


def test_the_original_is_refused(desk: Desk) -> None:
    original = desk.file("original.safetensors", attested.ORIGINAL)
    decision = desk.ask(desk.attest(), model=original)
    refused(decision, "is-the-original", "trained with what is to be forgotten")


def test_a_retrained_reference_is_refused(desk: Desk) -> None:
    other = desk.file("retrained-1.safetensors", b"file retrained 1")
    refused(desk.ask(desk.attest(), model=other), "not-the-audited-model", "another model")


def test_models_that_a_real_audit_trained_are_refused() -> None:
    """Retrained references, originals and identity controls, as they are remembered."""
    run, remembered = audited.run(), sorted((audited.scratch() / "models").rglob("*.safetensors"))
    evidence = json.loads((run / "evidence.json").read_bytes())
    assert len(remembered) >= evidence["counts"]["retrained"] + evidence["counts"]["originals"]
    for path in remembered:
        refused(gate(path, [run], trust()), "not-the-audited-model", evidence["report"]["id"])


@pytest.mark.parametrize(
    ("outcome", "code", "reason"),
    [("FAIL", "outcome-fail", "RESIDUAL"),
     ("INCONCLUSIVE", "outcome-inconclusive", "NO_SIGNAL, UNDERPOWERED")],
)  # fmt: skip
def test_only_a_pass_is_enough(desk: Desk, outcome: str, code: str, reason: str) -> None:
    model = desk.file("other.safetensors", f"file unlearned {outcome}".encode())
    refused(desk.ask(desk.attest(outcome), model=model), code, reason)


# Subjects


def test_no_other_file_than_the_audited_models_is_a_subject(desk: Desk) -> None:
    document = reported()
    statement = audit_statement(document)
    assert [item["digest"]["sha256"] for item in statement["subject"]] == [
        item["sha256"] for item in document["model"]["audited"]
    ]
    assert document["model"]["original"]["sha256"] in json.dumps(statement["predicate"])


def test_other_statements_never_admit_a_model(desk: Desk) -> None:
    digest, report = sha256(attested.UNLEARNED), FORMER
    said = {**vars(attested.SAID), "decided_on": "2026-11-21T10:00:00Z"}
    for statement in (
        release_statement({"unlearned.safetensors": digest}, report),
        document_statement(digest, report),
        review_statement(digest, report, **said),
        purge_statement(digest, report, purged_on="2026-11-21T10:00:00Z", destroyed=[]),
        {**audit_statement(reported()), "predicateType": "https://example.org/unlearning-audit/v1"},
    ):
        path = desk.file("statement.json", seal(statement, key()))
        refused(desk.ask(path), "wrong-kind")
        refused(desk.ask(desk.attest(), path), "wrong-kind")


def test_a_release_that_lists_the_original_does_not_admit_it(desk: Desk) -> None:
    original = desk.file("original.safetensors", attested.ORIGINAL)
    digests = {"original.safetensors": sha256(attested.ORIGINAL)}
    path = desk.file("release.dsse.json", seal(release_statement(digests, FORMER), key()))
    refused(desk.ask(path, model=original), "wrong-kind")


def test_an_original_that_was_audited_once_is_refused_by_a_later_audit_of_it(desk: Desk) -> None:
    """It forgot one person and was trained with the next who asked."""
    first = desk.attest(name="first.json")
    document = reported(id=LATER)
    document["model"]["original"]["sha256"] = sha256(attested.UNLEARNED)
    document["model"]["audited"][0]["sha256"] = sha256(b"next")
    second = desk.file("second.json", seal(audit_statement(document), key()))
    assert desk.ask(first).deploy
    refused(desk.ask(first, second), "is-the-original", LATER)
    forged = desk.file("second.json", seal(audit_statement(document), stranger()))
    assert desk.ask(first, forged).deploy


def test_every_audit_of_a_model_must_have_passed(desk: Desk) -> None:
    document = reported("FAIL", id=LATER)
    document["model"]["audited"][0]["sha256"] = sha256(attested.UNLEARNED)
    failed = desk.file("failed.json", seal(audit_statement(document), key()))
    refused(desk.ask(desk.attest(), failed), "outcome-fail", LATER)


# Signers and signatures


def test_the_signer_must_be_trusted_as_a_tool_now(desk: Desk) -> None:
    path = desk.attest()
    refused(desk.ask(path, book=Trust()), "signer-unknown", key().keyid)
    reviews = Trust().add_key(key(), ("reviewer", "timestamp"))
    refused(desk.ask(path, book=reviews), "signer-wrong-role")
    revoked = trust().revoke(key().keyid, date(2026, 11, 20), "lost laptop")
    refused(desk.ask(path, book=revoked), "signer-revoked", "lost laptop")
    old = desk.attest(signer=ended())
    refused(desk.ask(old, book=Trust().add_key(ended())), "signer-expired", "had ended")


def test_another_key_of_the_same_name_is_unknown(desk: Desk) -> None:
    refused(desk.ask(desk.attest(signer=stranger())), "signer-unknown")


def test_an_attestation_that_names_its_own_key_is_not_trusted_for_it(desk: Desk) -> None:
    """Everything a forger needs is inside: public key, certificates, even a trust file."""
    statement = audit_statement(reported())
    own = Trust().add_key(stranger())
    statement["predicate"]["trust"] = {"keys": [vars(item) for item in own.keys]}
    path = desk.file("audit.dsse.json", seal(statement, stranger()))
    desk.file("trust.json", b"{}")
    own.save(desk.folder / "trust.json")
    refused(desk.ask(path), "signer-unknown")


def forged(change: Callable[[dict[str, Any]], None]) -> bytes:
    envelope = json.loads(attestation())
    change(envelope)
    return canonical_json(envelope)


def swap_key(envelope: dict[str, Any]) -> None:
    """The payload names the trusted key, the signature is by another."""
    payload = base64.b64decode(envelope["payload"])
    signed = b"DSSEv1 28 application/vnd.in-toto+json %d %s" % (len(payload), payload)
    sig = base64.b64encode(stranger().sign(signed)).decode()
    envelope["signatures"] = [{"keyid": key().keyid, "sig": sig}]


def other_payload(envelope: dict[str, Any]) -> None:
    envelope["payload"] = json.loads(attestation("FAIL"))["payload"]


SECOND = json.loads(attestation(signer=stranger()))["signatures"][0]


@pytest.mark.parametrize(
    "change",
    [
        lambda envelope: envelope.update(signatures=[]),
        lambda envelope: envelope.pop("signatures"),
        lambda envelope: envelope["signatures"].append(copy.deepcopy(SECOND)),
        lambda envelope: envelope["signatures"].insert(0, copy.deepcopy(SECOND)),
        lambda envelope: envelope["signatures"].append(envelope["signatures"][0]),
        lambda envelope: envelope.update(signatures=[SECOND]),
        lambda envelope: envelope["signatures"][0].update(keyid=SECOND["keyid"]),
        lambda envelope: envelope["signatures"][0].update(keyid=""),
        lambda envelope: envelope["signatures"][0].update(sig=SECOND["sig"]),
        lambda envelope: envelope["signatures"][0].update(sig=""),
        swap_key,
        other_payload,
        lambda envelope: envelope.update(payloadType="application/json"),
        lambda envelope: envelope.update(more=1),
    ],
)
def test_a_stripped_added_or_replaced_signature_is_refused(
    desk: Desk, change: Callable[[dict[str, Any]], None]
) -> None:
    refused(desk.ask(desk.file("audit.dsse.json", forged(change))), "bad-signature")


def test_the_attestation_of_another_audit_cannot_be_replayed(desk: Desk) -> None:
    """A genuine PASS, but of another model."""
    model = desk.file("mine.safetensors", b"file unlearned FAIL")
    refused(desk.ask(desk.attest("PASS"), model=model), "not-the-audited-model")
    changed = desk.file("changed.safetensors", attested.UNLEARNED + b" ")
    refused(desk.ask(desk.attest("PASS"), model=changed), "not-the-audited-model")


@pytest.mark.parametrize(
    "predicate",
    [
        {"verdict": {"value": "pass", "reasons": []}}, {"verdict": None}, {"issuedOn": "today"},
        {"issuedOn": "2026-02-31T00:00:00Z"}, {"reportId": ""}, {"policy": {}},
        {"references": {"originalModel": 3}}, {"supersedes": 7},
    ],
)  # fmt: skip
def test_a_signed_statement_that_makes_no_sense_is_refused(
    desk: Desk, predicate: dict[str, Any]
) -> None:
    statement = audit_statement(reported())
    statement["predicate"] |= predicate
    refused(desk.ask(desk.file("audit.dsse.json", seal(statement, key()))), "bad-signature")


# Time


def test_a_report_may_be_too_old_and_never_from_the_future(desk: Desk) -> None:
    path = desk.attest(issued="2026-10-22T12:00:00Z")
    assert desk.ask(path, max_age=30).deploy
    refused(desk.ask(path, max_age=29), "too-old", "30 days ago; 29 are allowed")
    refused(desk.ask(path, max_age=99, policy=Policy(max_age_days=29)), "too-old")
    refused(desk.ask(path, max_age=29, policy=Policy(max_age_days=99)), "too-old")
    assert desk.ask(desk.attest(issued="2026-11-21T12:04:59Z")).deploy
    ahead = desk.attest(issued="2026-11-21T12:05:01Z")
    refused(desk.ask(ahead), "issued-in-the-future", "2026-11-21T12:05:01Z")
    assert desk.ask(ahead, now=NOW + timedelta(hours=1)).deploy


# Supersession


def test_a_superseded_report_admits_nothing(desk: Desk) -> None:
    former = desk.attest(name="former.json")
    document = reported(id=LATER, supersedes=FORMER, change="wrong day")
    later = desk.file("later.json", seal(audit_statement(document), key()))
    decision = desk.ask(former, later)
    assert decision.deploy
    assert decision.reports == (LATER,)
    document["model"]["audited"][0]["sha256"] = sha256(b"made again")
    moved = desk.file("moved.json", seal(audit_statement(document), key()))
    for order in ([former, moved], [moved, former]):
        refused(desk.ask(*order), "superseded", f"{FORMER} was superseded by {LATER}")
    document["verdict"]["outcome"] = "FAIL"
    document["model"]["audited"][0]["sha256"] = sha256(attested.UNLEARNED)
    worse = desk.file("worse.json", seal(audit_statement(document), key()))
    refused(desk.ask(former, worse), "outcome-fail")


@pytest.mark.parametrize("outcome", ["FAIL", "INCONCLUSIVE"])
def test_a_refusal_outlives_its_report(desk: Desk, outcome: str) -> None:
    """Whoever audits for other people, in the name of a correction, withdraws no FAIL."""
    document = reported(outcome)
    document["model"]["audited"][0]["sha256"] = sha256(attested.UNLEARNED)
    former = desk.file("former.json", seal(audit_statement(document), key()))
    document = reported(id=LATER, supersedes=FORMER, change="typing error")
    later = desk.file("later.json", seal(audit_statement(document), key()))
    assert desk.ask(later).deploy
    for order in ([former, later], [later, former]):
        refused(desk.ask(*order), f"outcome-{outcome.lower()}")


def test_only_a_trusted_report_takes_another_out_of_use(desk: Desk) -> None:
    document = reported(id=LATER, supersedes=FORMER, change="wrong day")
    document["model"]["audited"][0]["sha256"] = sha256(b"made again")
    later = desk.file("later.json", seal(audit_statement(document), stranger()))
    assert desk.ask(desk.attest(), later).deploy


def test_the_ledger_takes_a_report_out_of_use(desk: Desk) -> None:
    ledger = Ledger.open(desk.folder / "book" / "ledger.sqlite")
    run = attested.issue(desk.folder / "run", ledger)
    asks: dict[str, Any] = {"ledger": ledger, "policy": Policy(ledger=True)}
    assert desk.ask(run, **asks).deploy
    refused(desk.ask(run, policy=Policy(ledger=True)), "policy-mismatch", "none was given")
    refused(desk.ask(desk.attest(), **asks), "policy-mismatch", "does not hold this report")
    ledger.append("report-superseded", {"report": FORMER, "by": LATER}, key())
    refused(desk.ask(run, ledger=ledger), "superseded", LATER)


def test_a_ledger_that_is_damaged_or_not_trusted_decides_nothing(desk: Desk) -> None:
    ledger = Ledger.open(desk.folder / "book" / "ledger.sqlite")
    ledger.append("key-added", {"keyid": stranger().keyid}, stranger())
    refused(desk.ask(desk.attest(), ledger=ledger), "ledger-untrusted")
    book = trust().add_key(stranger())
    assert desk.ask(desk.attest(), ledger=ledger, book=book).deploy
    ledger.path.write_bytes(ledger.path.read_bytes()[:100])
    refused(desk.ask(desk.attest(), ledger=ledger), "ledger-damaged")


# Reviews


def test_a_review_beside_the_attestation_counts(desk: Desk) -> None:
    run = copied(attested.small(), desk.folder / "run")
    asks: dict[str, Any] = {"policy": Policy(reviewer=True)}
    refused(desk.ask(run, **asks), "reviewer-missing", "no review.dsse.json")
    attested.review(run)
    for path in (run, run / "audit.dsse.json"):
        assert desk.ask(path, book=both(), **asks).deploy
        refused(desk.ask(path, **asks), "reviewer-missing", "not in the trust file")
        wrong = trust().add_key(reviewer())
        refused(desk.ask(path, book=wrong, **asks), "reviewer-missing", "not as reviewer")
        assert desk.ask(path).deploy
    alone = desk.file("alone/audit.dsse.json", (run / "audit.dsse.json").read_bytes())
    refused(desk.ask(alone, book=both(), **asks), "reviewer-missing")


def test_a_review_by_the_key_that_issued_the_audit_closes_the_gate(desk: Desk) -> None:
    run = copied(attested.small(), desk.folder / "run")
    digest = sha256((run / "audit.dsse.json").read_bytes())
    said = {**vars(attested.SAID), "decided_on": "2026-11-21T10:00:00Z"}
    (run / "review.dsse.json").write_bytes(seal(review_statement(digest, FORMER, **said), key()))
    book = Trust().add_key(key(), ("tool", "reviewer"))
    asks: dict[str, Any] = {"book": book, "policy": Policy(reviewer=True)}
    refused(desk.ask(run, **asks), "bad-signature", "no second pair of eyes")


def test_a_rejection_closes_the_gate_whoever_signed_it(desk: Desk) -> None:
    run = attested.review(copied(attested.small(), desk.folder / "run"), decision="rejected")
    for book in (both(), trust()):
        refused(desk.ask(run, book=book), "reviewer-rejected", "rejected by Dr Example")


def test_a_review_that_is_broken_closes_the_gate_and_one_of_another_audit_is_none(
    desk: Desk,
) -> None:
    run = attested.review(copied(attested.small(), desk.folder / "run"))
    review = run / "review.dsse.json"
    data = review.read_bytes()
    review.write_bytes(data[:-1])
    refused(desk.ask(run, book=both()), "bad-signature", "review.dsse.json")
    review.unlink()
    review.symlink_to("elsewhere")
    refused(desk.ask(run, book=both()), "unreadable")
    review.unlink()
    review.write_bytes(data)
    (run / "audit.dsse.json").write_bytes(attestation())
    assert desk.ask(run, book=both()).deploy
    refused(desk.ask(run, book=both(), policy=Policy(reviewer=True)), "reviewer-missing")


# Files


@pytest.mark.parametrize("kind", ["missing", "folder", "pipe", "link", "loop"])
def test_a_model_that_is_no_plain_file_is_refused(desk: Desk, kind: str) -> None:
    path = desk.folder / "model"
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind in ("link", "loop"):
        path.symlink_to(desk.model if kind == "link" else path)
    decision = desk.ask(desk.attest(), model=path)
    refused(decision, "unreadable", "the model")
    assert decision.sha256 == ""


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (None, "unreadable"), (b"", "bad-signature"), (b"\x00\xff" * 99, "bad-signature"),
        (b'{"a":' * 50_000, "bad-signature"), (b"{}", "bad-signature"),
        (b" " * (16 * 2**20 + 1), "unreadable"),
    ],
)  # fmt: skip
def test_an_attestation_that_cannot_be_read_is_refused(
    desk: Desk, data: bytes | None, code: str
) -> None:
    path = desk.folder / "audit.dsse.json"
    if data is not None:
        path.write_bytes(data)
    refused(desk.ask(path), code)
    good = desk.attest(name="good.json")
    refused(desk.ask(good, path), code)


def test_without_an_attestation_nothing_is_deployed(desk: Desk) -> None:
    refused(desk.ask(), "unreadable", "no attestation")
    (desk.folder / "empty").mkdir()
    refused(desk.ask(desk.folder / "empty"), "unreadable")


def test_a_gate_that_breaks_stays_shut(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> Sequence[object]:
        raise ZeroDivisionError("by nought")

    monkeypatch.setattr("forget_audit.deployment.gating.steps", broken)
    refused(desk.ask(desk.attest()), "unreadable", "by nought")


def test_older_attestations_still_open_the_gate(desk: Desk) -> None:
    older = Path(__file__).parents[1] / "fixtures" / "older"
    from forget_audit.trust import load

    book = load(older / "trust-0.1.0.json")
    run = older / "audit-0.1.0"
    decision = gate(run / "unlearned.safetensors", [run], book)
    refused(decision, "outcome-fail")
    assert [check.name for check in decision.checks if check.outcome == "pass"] == [
        "attestation", "signer", "model",
    ]  # fmt: skip
