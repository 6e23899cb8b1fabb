"""Reviews, proofs of deletion, supersession, policy and ledger: what verify makes of them."""

import json
import shutil
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from forget_audit.digests import file_digest, sha256
from forget_audit.ledger.ledger import Ledger
from forget_audit.reports import pdf_signature
from forget_audit.reports.attestation import (
    audit_statement,
    purge_statement,
    review_statement,
    seal,
)
from forget_audit.reports.timestamps import Timestamper
from forget_audit.trust import Trust
from forget_audit.verification.policy import Policy
from forget_audit.verification.signers import Moment, standing
from forget_audit.verification.verify import VerifyResult, verify_path
from tests.fixtures import attested, pdfs
from tests.fixtures.attested import both, reviewer, stranger
from tests.fixtures.evidence import evidence
from tests.fixtures.programs import needs
from tests.fixtures.released import copied, key, trust
from tests.fixtures.timestamp_server import authority
from tests.keys.material import pem

REPORT = evidence()["report"]["id"]
GOOD_POLICY = Policy(profile="standard", claims=["artifact"], access=["answers"])


@pytest.fixture
def lean(tmp_path: Path) -> Path:
    return copied(attested.small(), tmp_path / "run")


def public_pem(certificate: x509.Certificate) -> str:
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return certificate.public_key().public_bytes(serialization.Encoding.PEM, form).decode()


def codes(result: VerifyResult) -> set[str]:
    return {check.code for check in result.checks} - {"pass", "not-run", "not-begun", "trusted"}


def failed(result: VerifyResult) -> dict[str, str]:
    return {check.file: check.detail for check in result.checks if check.outcome == "fail"}


# Reviews


def test_a_reviewed_folder_is_valid_with_both_signers_trusted() -> None:
    result = verify_path(attested.reviewed(), both())
    assert result.exit_code == 0
    signed = next(check for check in result.checks if check.file == "report.pdf"
                  and check.name == "PDF signature")  # fmt: skip
    assert reviewer().keyid[:16] in signed.detail
    review = next(check for check in result.checks if check.name == "review")
    assert "approved by Dr Example (data protection officer)" in review.detail
    alone = verify_path(attested.reviewed() / "report.pdf", both())
    assert alone.exit_code == 0
    assert [check.name for check in alone.checks if check.code == "trusted"] == [
        "signer", "reviewer",
    ]  # fmt: skip


def test_a_reviewer_must_be_trusted_as_one(lean: Path) -> None:
    attested.review(lean)
    assert verify_path(lean, both()).exit_code == 0
    for book, code in (
        (trust(), "signer-unknown"), (trust().add_key(reviewer()), "signer-wrong-role"),
    ):  # fmt: skip
        result = verify_path(lean, book)
        assert result.exit_code == 3
        assert code in codes(result)
    revoked = both().revoke(reviewer().keyid, date(2026, 1, 1), "left")
    assert verify_path(lean, revoked).exit_code == 4


def test_a_rejection_is_heeded_whoever_signed_it(lean: Path) -> None:
    attested.review(lean, decision="rejected")
    for book in (both(), trust()):
        result = verify_path(lean, book)
        assert result.exit_code == 4
        assert "rejected" in codes(result)
    assert verify_path(lean / "review.dsse.json", both()).exit_code == 4


def test_a_review_of_another_audit_is_refused(lean: Path) -> None:
    about = file_digest(lean / "audit.dsse.json")
    said = {**vars(attested.SAID), "decided_on": "2026-11-21T10:00:00Z"}
    for digest, report in ((sha256(b"other"), REPORT), (about, "FA-20261121-000000")):
        envelope = seal(review_statement(digest, report, **said), reviewer())
        (lean / "review.dsse.json").write_bytes(envelope)
        attested.resign(lean, reviewer())
        result = verify_path(lean, both())
        assert result.exit_code == 1
        assert failed(result)["review.dsse.json"] == "is about another audit"


def test_nobody_reviews_their_own_audit(lean: Path) -> None:
    said = {**vars(attested.SAID), "decided_on": "2026-11-21T10:00:00Z"}
    envelope = seal(review_statement(file_digest(lean / "audit.dsse.json"), REPORT, **said), key())
    (lean / "review.dsse.json").write_bytes(envelope)
    attested.resign(lean)
    book = Trust().add_key(key(), ("tool", "reviewer"))
    assert "no second pair" in failed(verify_path(lean, book))["review.dsse.json"]


def test_a_reviewer_signs_the_release_only_with_a_review(lean: Path) -> None:
    attested.resign(lean, reviewer())
    result = verify_path(lean, both())
    assert set(failed(result)) == {"release.dsse.json"}
    attested.review(lean)
    (lean / "review.dsse.json").unlink()
    assert "review.dsse.json" in failed(verify_path(lean, both()))


def test_a_file_beside_a_release_is_compared_if_its_signer_is_believed(lean: Path) -> None:
    def compared() -> list[str]:
        found = verify_path(lean / "report.html", both()).checks
        return [check.outcome for check in found if check.name == "released file"]

    assert compared() == ["pass"]
    attested.resign(lean, stranger())
    assert compared() == ["not-run"]
    attested.review(lean)
    assert compared() == ["pass"]
    assert verify_path(lean / "release.dsse.json", both()).exit_code == 0


def test_a_release_by_another_reviewer_than_the_review_is_refused(lean: Path) -> None:
    other = stranger()
    attested.review(lean)
    attested.resign(lean, other)
    result = verify_path(lean, both().add_key(other, ("reviewer",)))
    assert set(failed(result)) == {"release.dsse.json"}


def test_the_second_signature_in_the_pdf_is_by_the_reviewer(tmp_path: Path) -> None:
    report = copied(attested.small(), tmp_path / "run")
    shutil.copy(attested.reviewed() / "report.pdf", report / "report.pdf")
    book = both().add_key(stranger(), ("reviewer",))
    attested.resign(report)
    assert "another key than the review" in failed(verify_path(report, book))["report.pdf"]
    said = {**vars(attested.SAID), "decided_on": "2026-11-21T10:00:00Z"}
    about = file_digest(report / "audit.dsse.json")
    envelope = seal(review_statement(about, REPORT, **said), stranger())
    (report / "review.dsse.json").write_bytes(envelope)
    attested.resign(report)
    assert "another key than the review" in failed(verify_path(report, book))["report.pdf"]


# Proofs of deletion


def test_a_purged_folder_stays_valid() -> None:
    result = verify_path(attested.purged(), trust(), lambda *_: ["must not be asked"])
    assert result.exit_code == 0
    numbers = next(check for check in result.checks if check.name == "numbers")
    assert (numbers.outcome, numbers.code) == ("not-run", "purged")


def test_scores_are_missed_without_a_proof_of_their_deletion(lean: Path) -> None:
    (lean / "scores.npz").unlink()
    attested.resign(lean)
    assert "scores.npz" in failed(verify_path(lean, trust()))
    about = file_digest(lean / "evidence.json")
    gone = {"name": "scores.npz", "what": "scores", "sha256": sha256(b"other scores")}
    for destroyed in ([], [gone], [{**gone, "name": "other.npz"}]):
        statement = purge_statement(
            about, REPORT, purged_on="2026-11-21T10:00:00Z", destroyed=destroyed
        )
        (lean / "purge.dsse.json").write_bytes(seal(statement, key()))
        attested.resign(lean)
        result = verify_path(lean, trust())
        assert result.exit_code == 1
        assert "no proof" in failed(result)["scores.npz"]


def test_a_proof_of_deletion_must_be_of_this_report_and_true(lean: Path) -> None:
    gone = {"name": "scores.npz", "what": "scores", "sha256": evidence()["digests"]["scores"]}
    here = file_digest(lean / "evidence.json")
    for digest, report, words in (
        (sha256(b"other"), REPORT, "is about another report"),
        (here, "FA-20261121-000000", "is about another report"),
        (here, REPORT, "says that scores.npz was destroyed, but it is here"),
    ):
        statement = purge_statement(
            digest, report, purged_on="2026-11-21T10:00:00Z", destroyed=[gone]
        )
        (lean / "purge.dsse.json").write_bytes(seal(statement, key()))
        attested.resign(lean)
        assert failed(verify_path(lean, trust()))["purge.dsse.json"] == words


def test_a_proof_of_deletion_by_a_stranger_is_not_trusted(lean: Path) -> None:
    attested.purge(lean, stranger())
    assert verify_path(lean, trust()).exit_code == 3
    assert verify_path(lean, trust().add_key(stranger())).exit_code == 0
    assert verify_path(lean, trust().add_key(stranger(), ("reviewer",))).exit_code == 3


def test_a_purge_after_a_review_keeps_both(lean: Path) -> None:
    attested.purge(attested.review(lean))
    assert verify_path(lean, both()).exit_code == 0


@pytest.mark.parametrize("predicate", [{}, {"decision": "maybe"}, {"reportId": 3}, {"name": None}])
def test_a_review_that_makes_no_sense_is_refused(lean: Path, predicate: dict[str, object]) -> None:
    said = {**vars(attested.SAID), "decided_on": "2026-11-21T10:00:00Z"}
    statement = review_statement(file_digest(lean / "audit.dsse.json"), REPORT, **said)
    changed = {**statement["predicate"], **predicate} if predicate else {}
    (lean / "review.dsse.json").write_bytes(seal({**statement, "predicate": changed}, reviewer()))
    attested.resign(lean)
    assert "predicate" in failed(verify_path(lean, both()))["review.dsse.json"]


# Supersession


def later(parent: Path, former: str) -> Path:
    document = attested.reported(supersedes=former, change="wrong day", id="FA-20261122-1")
    document["ledger"] = None
    del document["ledger"]
    return attested.issue(parent / "later", document=document)


def test_of_several_folders_the_superseded_one_is_named(tmp_path: Path) -> None:
    copied(attested.small(), tmp_path / "first")
    later(tmp_path, REPORT)
    (tmp_path / "notes.txt").write_text("not a report")
    result = verify_path(tmp_path, trust())
    assert result.exit_code == 4
    found = [check for check in result.checks if check.outcome == "superseded"]
    assert [(check.file, check.code) for check in found] == [
        ("first/audit.dsse.json", "superseded")
    ]
    assert "FA-20261122-1" in found[0].detail
    assert verify_path(tmp_path / "first", trust()).exit_code == 0


def test_only_a_trusted_report_supersedes(tmp_path: Path) -> None:
    copied(attested.small(), tmp_path / "first")
    forged = later(tmp_path, REPORT)
    document = json.loads((forged / "evidence.json").read_bytes())
    (forged / "audit.dsse.json").write_bytes(seal(audit_statement(document), stranger()))
    result = verify_path(tmp_path, trust())
    assert not [check for check in result.checks if check.outcome == "superseded"]


def test_a_draft_among_several_folders_is_named(tmp_path: Path) -> None:
    copied(attested.small(), tmp_path / "first")
    (tmp_path / "draft").mkdir()
    (tmp_path / "draft" / "evidence.json").write_text("{}")
    result = verify_path(tmp_path, trust())
    assert result.exit_code == 1
    assert "a draft: unsigned" in failed(result)["draft/release.dsse.json"]


def test_the_ledger_says_what_was_superseded(tmp_path: Path) -> None:
    ledger = Ledger.open(tmp_path / "book" / "ledger.sqlite")
    report = attested.issue(tmp_path / "run", ledger)
    result = verify_path(report, trust(), ledger=ledger)
    assert result.exit_code == 0
    assert "the ledger knows no later report" in str(result.as_json())
    ledger.append("report-superseded", {"report": REPORT, "by": "FA-20261122-1"}, key())
    for path in (report, report / "audit.dsse.json", report / "report.html"):
        result = verify_path(path, trust(), ledger=ledger)
        assert result.exit_code == 4
        assert codes(result) == {"superseded"}
        assert "FA-20261122-1" in str(result.as_json())


def test_a_ledger_that_is_another_or_not_trusted_is_said(tmp_path: Path) -> None:
    ledger = Ledger.open(tmp_path / "book" / "ledger.sqlite")
    report = attested.issue(tmp_path / "run", ledger)
    other = Ledger.open(tmp_path / "other" / "ledger.sqlite")
    other.append("key-added", {"keyid": key().keyid}, key())
    shutil.copytree(tmp_path / "book", tmp_path / "cut")
    cut = Ledger.open(tmp_path / "cut" / "ledger.sqlite")
    attested.resign_in(report, ledger)
    assert codes(verify_path(report, trust(), ledger=ledger)) == set()
    assert codes(verify_path(report, trust(), ledger=cut)) == {"ledger-mismatch"}
    assert codes(verify_path(report, trust(), ledger=other)) == {"ledger-mismatch"}
    other.append("key-added", {"keyid": key().keyid}, stranger())
    result = verify_path(report, trust(), ledger=other)
    assert result.exit_code == 4
    assert codes(result) == {"ledger-mismatch", "ledger-untrusted"}


def test_the_checkpoint_in_a_release_is_by_its_signer(tmp_path: Path) -> None:
    from forget_audit.reports.attestation import open_self_signed, release_statement

    ledger = Ledger.open(tmp_path / "book" / "ledger.sqlite")
    report = attested.issue(tmp_path / "run", ledger)
    digests = open_self_signed((report / "release.dsse.json").read_bytes()).digests
    ledger.append("key-added", {"keyid": key().keyid}, stranger())
    for note in (ledger.checkpoint(), "anything"):
        statement = release_statement(digests, REPORT, checkpoint=note)
        (report / "release.dsse.json").write_bytes(seal(statement, key()))
        result = verify_path(report, trust())
        assert result.exit_code == 1
        assert "checkpoint" in failed(result)["release.dsse.json"]


# Policy


@pytest.mark.parametrize(
    ("policy", "code"),
    [
        (Policy(profile="strict"), "policy-mismatch"), (Policy(reviewer=True), "policy-mismatch"),
        (Policy(max_age_days=1), "too-old"), (Policy(ledger=True), "policy-mismatch"),
    ],
)  # fmt: skip
def test_a_policy_that_is_not_met_is_said(lean: Path, policy: Policy, code: str) -> None:
    document = attested.reported(issued="2026-01-01T00:00:00Z")
    report = attested.issue(lean.parent / "old", document=document)
    result = verify_path(report, trust(), policy=policy)
    assert result.exit_code == 4
    assert code in codes(result)
    assert verify_path(report, trust(), policy=GOOD_POLICY).exit_code == 0


def test_a_policy_is_held_against_single_files_too(tmp_path: Path) -> None:
    for name in ("report.html", "audit.dsse.json"):
        (tmp_path / name).write_bytes((attested.small() / name).read_bytes())
        assert verify_path(tmp_path / name, trust(), policy=GOOD_POLICY).exit_code == 0
        other = Policy(controller="Somebody else")
        assert verify_path(tmp_path / name, trust(), policy=other).exit_code == 4
    (tmp_path / "release.dsse.json").write_bytes(
        (attested.small() / "release.dsse.json").read_bytes()
    )
    result = verify_path(tmp_path / "release.dsse.json", trust(), policy=GOOD_POLICY)
    assert result.exit_code == 4


def test_a_policy_that_asks_for_a_reviewer_counts_trusted_ones(lean: Path) -> None:
    attested.review(lean)
    assert verify_path(lean, both(), policy=Policy(reviewer=True)).exit_code == 0
    assert codes(verify_path(lean, trust(), policy=Policy(reviewer=True))) >= {"policy-mismatch"}


# Time


def test_proven_time_saves_what_has_ended_and_a_revoked_key_only_for_its_own_file() -> None:
    then = datetime.now(UTC) - timedelta(days=15)
    weak, strong = Moment(at=then, proof="x"), Moment(at=then, proof="x", revocable=True)
    book = Trust().add_key(attested.ended())
    keyid = attested.ended().keyid
    assert standing(book, keyid, "tool").outcome == "expired"
    assert standing(book, keyid, "tool", weak).outcome == "pass"
    assert "proven by x" in standing(book, keyid, "tool", weak).words
    day = (then + timedelta(days=2)).date()
    revoked = book.revoke(keyid, day, "stolen")
    assert standing(revoked, keyid, "tool", weak).outcome == "revoked"
    assert standing(revoked, keyid, "tool", strong).outcome == "pass"
    early = book.revoke(keyid, day - timedelta(days=4), "stolen")
    assert standing(early, keyid, "tool", strong).outcome == "revoked"


@needs("openssl", "openssl")
def test_the_time_in_the_pdf_is_used_and_printed(lean: Path) -> None:
    """A key that is revoked later is believed for the stamped PDF, and for nothing else."""
    with authority() as asked:
        stamp = Timestamper(asked.url)
        data = pdf_signature.sign(attested.unsigned_pdf(), key(), pdfs.PLACES, "x", stamp=stamp)
    book = trust().add(public_pem(asked.root), pem(asked.root), "time", ("timestamp",))
    (lean / "report.pdf").write_bytes(data)
    attested.resign(lean)
    alone = lean.parent / "alone.pdf"
    alone.write_bytes(data)
    assert "judged today" in str(verify_path(alone, trust()).as_json())
    for path in (alone, lean):
        assert "proven by the timestamp in the PDF" in str(verify_path(path, book).as_json())
    tomorrow = datetime.now(UTC).date() + timedelta(days=1)
    later, early = (book.revoke(key().keyid, tomorrow - timedelta(days=n), "x") for n in (0, 9))
    assert verify_path(alone, later).exit_code == 0
    assert verify_path(alone, early).exit_code == 4
    whole = verify_path(lean, later)
    assert whole.exit_code == 4
    assert "a timestamp speaks for the PDF alone" in str(whole.as_json())


def test_the_ledger_proves_when_a_key_was_still_valid(tmp_path: Path) -> None:
    ledger = Ledger.open(tmp_path / "book" / "ledger.sqlite")
    report = attested.issue(tmp_path / "run", ledger)
    signer = next(check for check in verify_path(report, trust(), ledger=ledger).checks
                  if check.name == "signer")  # fmt: skip
    assert "proven by its entry in the ledger" in signer.detail
    assert "judged today" in str(verify_path(report, trust()).as_json())
