"""What is done with a finished run: rendered again, reviewed, purged, proven."""

import json
import shutil
from pathlib import Path

import pytest

from forget_audit import proofs
from forget_audit.audits import holdings, reissue
from forget_audit.errors import ForgetAuditError, LeakError, VerificationError
from forget_audit.keys.signing import SigningKey
from forget_audit.ledger.ledger import Ledger
from forget_audit.reports.folders import PURGE, REVIEW, SCORES
from forget_audit.reports.release import Terms
from forget_audit.trust import Trust
from forget_audit.verdict import scoretable
from forget_audit.verification.verify import VerifyResult, verify_path
from tests.fixtures.audited import FORGOTTEN, audit, run
from tests.fixtures.released import copied, key

REVIEWER = SigningKey.create("Rosa Reader")
OPINION = reissue.Review(
    decision="approved", name="Rosa Reader", role="data protection officer",
    independence="took no part in the training",
)  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return copied(run(), tmp_path / "run")


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger.open(tmp_path / "ledger.sqlite")


def trust() -> Trust:
    reviewer = REVIEWER
    return (
        Trust()
        .add_key(key())
        .add(reviewer.public_pem, reviewer.certificates_pem, reviewer.name, roles=("reviewer",))
    )


def checked(folder: Path) -> VerifyResult:
    return verify_path(folder, trust(), scoretable.recompute)


def held(tmp_path: Path) -> holdings.Holdings:
    """Copies of what the audit holds, since other tests need it too."""
    models = []
    for k, path in enumerate(audit().held):
        models.append(tmp_path / f"{k}.safetensors")
        shutil.copyfile(path, models[-1])
    return holdings.keep(
        audit().evidence["report"]["id"], tmp_path / "state", audit().secret, tuple(models)
    )


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORGET_AUDIT_HOME", str(tmp_path / "home"))


def test_the_fixture_is_a_valid_release() -> None:
    assert checked(run()).exit_code == 0


def test_only_models_that_saw_the_rows_are_held() -> None:
    assert len(audit().held) == 2
    assert len(list(audit().held[0].parent.iterdir())) == 9


def test_a_run_is_rendered_again_from_its_evidence(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "de"
    terms = Terms(formats=("html",), language="de")
    reissue.render_again(reissue.opened(folder), key(), out, terms)
    assert checked(out).exit_code == 0
    assert b'lang="de"' in (out / "report.html").read_bytes()
    before, after = (json.loads((path / "evidence.json").read_bytes()) for path in (folder, out))
    assert before["verdict"] == after["verdict"]
    assert before["report"]["id"] == after["report"]["id"]


def test_the_same_evidence_gives_the_same_page_again(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "again"
    reissue.render_again(reissue.opened(folder), key(), out, Terms(formats=("html",)))
    for name in ("evidence.json", "report.html", "receipt.html"):
        assert (out / name).read_bytes() == (folder / name).read_bytes()


def test_a_run_rendered_in_place_is_replaced(folder: Path, ledger: Ledger) -> None:
    terms = Terms(formats=("html",), ledger=ledger)
    reissue.render_again(reissue.opened(folder), key(), folder, terms)
    assert checked(folder).exit_code == 0
    assert [entry.kind for entry in ledger.entries()] == ["rendered"]


def test_a_changed_run_is_not_touched(folder: Path) -> None:
    data = (folder / SCORES).read_bytes()
    (folder / SCORES).write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    with pytest.raises(VerificationError, match=r"not a run as it was released.*scores\.npz"):
        reissue.opened(folder)


def test_a_reviewer_signs_what_stays_valid(folder: Path, ledger: Ledger) -> None:
    reissue.review(reissue.opened(folder), REVIEWER, OPINION, ledger=ledger)
    result = checked(folder)
    assert result.exit_code == 0, [check for check in result.checks if check.outcome != "pass"]
    assert (folder / REVIEW).is_file()
    assert [entry.kind for entry in ledger.entries()] == ["reviewed"]
    assert verify_path(folder, Trust().add_key(key()), scoretable.recompute).exit_code == 3


def test_a_rejection_does_not_verify_as_good(folder: Path) -> None:
    said = reissue.Review(decision="rejected", name="R", role="officer", independence="full")
    reissue.review(reissue.opened(folder), REVIEWER, said)
    assert checked(folder).exit_code == 4


def test_a_second_review_is_refused(folder: Path) -> None:
    reissue.review(reissue.opened(folder), REVIEWER, OPINION)
    with pytest.raises(VerificationError, match="reviewed already"):
        reissue.review(reissue.opened(folder), REVIEWER, OPINION)


def test_the_issuer_cannot_review_their_own_report(folder: Path) -> None:
    with pytest.raises(VerificationError, match="own report"):
        reissue.review(reissue.opened(folder), key(), OPINION)


def test_remarks_that_give_somebody_away_are_not_signed(folder: Path) -> None:
    said = reissue.Review(
        decision="approved", name="R", role="officer", independence="full",
        remarks="ask jane.doe@example.org",
    )  # fmt: skip
    with pytest.raises(LeakError):
        reissue.review(reissue.opened(folder), REVIEWER, said)
    assert not (folder / REVIEW).exists()


def test_a_purge_destroys_and_stays_verifiable(
    folder: Path, tmp_path: Path, ledger: Ledger
) -> None:
    things = held(tmp_path)
    gone: list[str] = []
    reissue.purge(reissue.opened(folder), key(), things, ledger=ledger, tell=gone.append)
    assert not any(path.exists() for path in (*things.models, things.secret, folder / SCORES))
    assert len(gone) == 4
    result = checked(folder)
    assert result.exit_code == 0, [check for check in result.checks if check.outcome != "pass"]
    assert "not-run" in {check.outcome for check in result.checks}
    assert [entry.kind for entry in ledger.entries()] == ["purged"]
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".run")]
    with pytest.raises(ForgetAuditError, match="--state"):
        holdings.find(things.report)


def test_a_purge_names_what_it_destroyed(folder: Path, tmp_path: Path) -> None:
    from forget_audit.reports.attestation import open_self_signed

    reissue.purge(reissue.opened(folder), key(), held(tmp_path))
    statement = open_self_signed((folder / PURGE).read_bytes()).statement
    destroyed = {item["name"]: item["sha256"] for item in statement["predicate"]["destroyed"]}
    assert destroyed[SCORES] == audit().evidence["digests"]["scores"]
    assert destroyed["secret"] is None
    assert len(destroyed) == 4


def test_scores_that_vanish_without_a_purge_are_noticed(folder: Path) -> None:
    (folder / SCORES).unlink()
    assert checked(folder).exit_code == 1


def test_a_purge_by_a_stranger_does_not_excuse_missing_scores(folder: Path, tmp_path: Path) -> None:
    reissue.purge(reissue.opened(folder), SigningKey.create("Stranger"), held(tmp_path))
    assert checked(folder).exit_code in (1, 3)


def test_a_crash_amid_a_purge_can_be_made_good(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    things = held(tmp_path)

    def dies(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(reissue, "publish", dies)
        with pytest.raises(KeyboardInterrupt):
            reissue.purge(reissue.opened(folder), key(), things)
    assert not (folder / PURGE).exists()
    assert checked(folder).exit_code == 0
    reissue.purge(reissue.opened(folder), key(), things)
    assert checked(folder).exit_code == 0
    assert not (folder / SCORES).exists()


def test_what_was_moved_is_not_said_to_be_destroyed(
    folder: Path, tmp_path: Path, ledger: Ledger
) -> None:
    things = held(tmp_path)
    state = things.secret.parent.parent
    state.rename(tmp_path / "moved")
    with pytest.raises(ForgetAuditError, match=r"is not at .*; if the folder .* --state"):
        reissue.purge(reissue.opened(folder), key(), things, ledger=ledger)
    assert not list(ledger.entries())
    assert (folder / SCORES).exists()
    there = holdings.find(things.report, tmp_path / "moved")
    reissue.purge(reissue.opened(folder), key(), there, ledger=ledger)
    assert not [path for path in (tmp_path / "moved").rglob("*") if path.is_file()]


def test_after_a_purge_nothing_new_is_signed(folder: Path, tmp_path: Path) -> None:
    reissue.purge(reissue.opened(folder), key(), held(tmp_path))
    purged = reissue.opened(folder)
    with pytest.raises(VerificationError, match="purged"):
        reissue.render_again(purged, key(), tmp_path / "new", Terms(formats=("html",)))
    with pytest.raises(VerificationError, match="purged already"):
        reissue.purge(purged, key(), held(tmp_path))
    with pytest.raises(VerificationError, match="no proof"):
        proofs.prove(purged, FORGOTTEN[0], audit().secret)


@pytest.mark.parametrize("record", FORGOTTEN)
def test_each_forgotten_record_can_be_proven(record: str, tmp_path: Path) -> None:
    made = proofs.prove(reissue.opened(run()), record, audit().secret)
    proofs.write(tmp_path / "proof.json", made)
    proof = proofs.read(tmp_path / "proof.json")
    assert proofs.check(proof, record, run()) == (
        True, f"the record is in the forget set of {audit().evidence['report']['id']}",
    )  # fmt: skip
    assert not proofs.check(proof, "row-50", run())[0]
    assert record not in (tmp_path / "proof.json").read_text()


def test_a_record_outside_the_forget_set_cannot_be_proven() -> None:
    with pytest.raises(VerificationError, match="not in the forget set"):
        proofs.prove(reissue.opened(run()), "row-50", audit().secret)


def test_a_proof_shows_nothing_of_other_records() -> None:
    """Its key gives one pseudonym; that of another id under it is none of the forget set."""
    from forget_audit.digests import pseudonym

    opened = reissue.opened(run())
    proof = proofs.prove(opened, FORGOTTEN[0], audit().secret)
    names = set(scoretable.from_bytes((run() / SCORES).read_bytes())["id_f"].tolist())
    found = [pseudonym(record, bytes.fromhex(proof.key)) in names for record in FORGOTTEN]
    assert found == [True] + [False] * 11


@pytest.mark.parametrize(
    "text",
    ["", "{}", "[]", "null", '{"report": 3}', "\x00\xff", '{"path": [1]}', "[" * 100_000],
)
def test_a_malformed_proof_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "proof.json").write_text(text)
    with pytest.raises(VerificationError, match="not a proof"):
        proofs.read(tmp_path / "proof.json")


def test_a_forged_proof_does_not_hold(tmp_path: Path) -> None:
    proof = proofs.prove(reissue.opened(run()), FORGOTTEN[3], audit().secret)
    other = proofs.prove(reissue.opened(run()), FORGOTTEN[4], audit().secret)
    forged = [
        proof.model_copy(update={"key": other.key}),
        proof.model_copy(update={"index": other.index}),
        proof.model_copy(update={"path": other.path}),
        proof.model_copy(update={"size": proof.index + 1, "index": proof.index + 1}),
        proof.model_copy(update={"path": proof.path[:-1]}),
        proof.model_copy(update={"report": "FA-20200101-OTHER"}),
        proof.model_copy(update={"commitment": "0" * 64}),
    ]
    assert not any(proofs.check(item, FORGOTTEN[3], run())[0] for item in forged)


def test_holdings_are_for_their_owner_alone(tmp_path: Path) -> None:
    things = held(tmp_path)
    assert things.read_secret() == audit().secret
    register = tmp_path / "home" / "runs" / f"{things.report}.json"
    assert {path.stat().st_mode & 0o777 for path in (things.secret, register)} == {0o600}
    assert {path.parent.stat().st_mode & 0o777 for path in (things.secret, register)} == {0o700}


def test_holdings_are_found_by_the_state_folder(tmp_path: Path) -> None:
    things = held(tmp_path)
    models = tmp_path / "state" / "models"
    models.mkdir()
    (models / "a.safetensors").write_bytes(b"x")
    found = holdings.find(things.report, tmp_path / "state")
    assert found.secret.read_bytes() == audit().secret
    assert found.models == (models / "a.safetensors",)
