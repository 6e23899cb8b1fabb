"""Folders and single files that were swapped, emptied, forged or made to break the reader."""

import json
import os
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from forget_audit.digests import canonical_json, file_digest
from forget_audit.reports import html, html_signature
from forget_audit.reports.attestation import audit_statement, release_statement, seal
from forget_audit.signing import SigningKey
from forget_audit.trust import Trust
from forget_audit.types import Json
from forget_audit.verify import VerifyResult, verify_path
from tests.fixtures.evidence import evidence
from tests.fixtures.released import copied, folder, key, trust


@pytest.fixture
def report(tmp_path: Path) -> Path:
    return copied(folder(), tmp_path / "run")


def failures(result: VerifyResult) -> dict[str, str]:
    return {check.file: check.detail for check in result.checks if check.outcome == "fail"}


def resign(report: Path, signer: SigningKey | None = None) -> None:
    """Issue a new release statement over whatever the folder holds."""
    (report / "release.dsse.json").unlink()
    digests = {path.name: file_digest(path) for path in report.iterdir()}
    statement = release_statement(digests, evidence()["report"]["id"])
    (report / "release.dsse.json").write_bytes(seal(statement, signer or key()))


@pytest.mark.parametrize("outcome", ["PASS", "FAIL"])
def test_a_released_folder_is_valid(outcome: str) -> None:
    result = verify_path(folder(outcome), trust(), lambda *_: [])
    assert result.exit_code == 0
    assert {check.outcome for check in result.checks} == {"pass"}
    json.dumps(result.as_json())


def test_the_signer_must_be_known() -> None:
    result = verify_path(folder(), Trust())
    assert result.exit_code == 3
    assert key().keyid in next(c.detail for c in result.checks if c.outcome == "untrusted")
    reviewer = Trust().add(key().public_pem, key().certificates_pem, "x", roles=("reviewer",))
    assert verify_path(folder(), reviewer).exit_code == 3


def test_a_revoked_key_is_no_longer_believed() -> None:
    book = trust().revoke(key().keyid, date(2026, 11, 21), "lost laptop")
    result = verify_path(folder(), book)
    assert result.exit_code == 4
    assert "revoked since 2026-11-21: lost laptop" in str(result.as_json())


def test_numbers_are_computed_again(report: Path) -> None:
    seen: list[tuple[Json, bytes]] = []

    def recompute(document: Json, scores: bytes) -> list[str]:
        seen.append((document, scores))
        return ["rho_p: 0.023 in the evidence, 0.400 from the scores"]

    result = verify_path(report, trust(), recompute)
    assert result.exit_code == 1
    assert "0.400 from the scores" in failures(result)["evidence.json"]
    assert seen == [(evidence(), (report / "scores.npz").read_bytes())]

    def crash(*_: object) -> list[str]:
        raise ZeroDivisionError

    assert "malformed (ZeroDivisionError)" in str(verify_path(report, trust(), crash).as_json())


def test_an_added_file_is_named(report: Path) -> None:
    (report / "note.txt").write_text("all is well")
    assert failures(verify_path(report, trust())) == {"note.txt": "is not part of the release"}


@pytest.mark.parametrize("name", sorted(path.name for path in folder().iterdir()))
def test_a_missing_file_is_named(report: Path, name: str) -> None:
    (report / name).unlink()
    assert name in failures(verify_path(report, trust()))


@pytest.mark.parametrize("name", sorted(path.name for path in folder().iterdir()))
@pytest.mark.parametrize("kind", ["empty", "half", "garbage", "nested", "folder", "link", "pipe"])
def test_a_broken_file_is_named_without_a_traceback(report: Path, name: str, kind: str) -> None:
    path = report / name
    data = path.read_bytes()
    path.unlink()
    if kind == "folder":
        path.mkdir()
    elif kind == "link":
        (report.parent / "elsewhere").write_bytes(data)
        path.symlink_to(report.parent / "elsewhere")
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        broken = {"empty": b"", "half": data[: len(data) // 2], "garbage": b"\x00\xff\x13" * 999}
        path.write_bytes(broken.get(kind, b'{"a":[' * 50_000))
    result = verify_path(report, trust())
    assert result.exit_code == 1
    assert name in failures(result)
    assert verify_path(path, trust()).exit_code == 1


@pytest.mark.parametrize("name", ["nothing", "run/nothing"])
def test_what_is_not_there_is_said(report: Path, name: str) -> None:
    result = verify_path(report.parent / name, trust())
    assert result.exit_code == 1
    assert "cannot be read" in str(result.as_json())


def test_a_link_to_a_folder_is_refused(report: Path) -> None:
    (report.parent / "link").symlink_to(report)
    assert verify_path(report.parent / "link", trust()).exit_code == 1


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    assert "release.dsse.json" in failures(verify_path(tmp_path, trust()))


def change_evidence(report: Path, **verdict: Any) -> Json:
    document = json.loads((report / "evidence.json").read_bytes())
    document["verdict"] |= verdict
    (report / "evidence.json").write_bytes(canonical_json(document))
    resign(report)
    return dict(document)


def test_a_changed_verdict_does_not_agree_with_the_attestation(report: Path) -> None:
    change_evidence(report, outcome="FAIL")
    result = verify_path(report, trust())
    assert "says" in failures(result)["audit.dsse.json"]
    assert "carries another evidence.json" in failures(result)["report.pdf"]


def test_an_attestation_of_another_audit_is_refused(report: Path) -> None:
    (report / "audit.dsse.json").write_bytes(seal(audit_statement(evidence("FAIL")), key()))
    resign(report)
    found = failures(verify_path(report, trust()))
    assert set(found) == {"audit.dsse.json", "report.html", "report.pdf"}


def test_evidence_must_be_canonical_and_fit(report: Path) -> None:
    document = json.loads((report / "evidence.json").read_bytes())
    (report / "evidence.json").write_text(json.dumps(document))
    resign(report)
    assert "not canonical" in failures(verify_path(report, trust()))["evidence.json"]
    del document["gates"]
    (report / "evidence.json").write_bytes(canonical_json(document))
    resign(report)
    assert "gates: missing" in failures(verify_path(report, trust()))["evidence.json"]


def test_other_scores_are_refused(report: Path) -> None:
    (report / "scores.npz").write_bytes(b"PK")
    resign(report)
    assert "not those" in failures(verify_path(report, trust()))["scores.npz"]


def test_another_model_is_refused(report: Path) -> None:
    (report / "unlearned.safetensors").write_bytes(b"other weights")
    resign(report)
    assert "not the model" in failures(verify_path(report, trust()))["unlearned.safetensors"]


def test_a_page_or_pdf_of_another_audit_is_refused(report: Path) -> None:
    for name in ("report.html", "report.pdf"):
        (report / name).write_bytes((folder("FAIL") / name).read_bytes())
    resign(report)
    found = failures(verify_path(report, trust()))
    assert "carries another audit.dsse.json" in found["report.html"]
    assert "carries another audit.dsse.json" in found["report.pdf"]


def test_one_key_signs_everything(report: Path) -> None:
    other = SigningKey.create("Other")
    resign(report, other)
    found = failures(verify_path(report, trust().add_key(other)))
    assert set(found) == {"audit.dsse.json", "report.html", "report.pdf"}
    assert all("another key" in detail for detail in found.values())


def test_a_statement_of_another_kind_is_no_release(report: Path) -> None:
    (report / "release.dsse.json").write_bytes((report / "audit.dsse.json").read_bytes())
    assert "kind" in failures(verify_path(report, trust()))["release.dsse.json"]


@pytest.mark.parametrize("name", ["../run/evidence.json", "/etc/passwd", "a/b", "..", "x\n"])
def test_names_that_leave_the_folder_are_refused(report: Path, name: str) -> None:
    digests = {path.name: file_digest(path) for path in report.iterdir()}
    del digests["release.dsse.json"]
    digests[name] = file_digest(report / "evidence.json")
    (report / "release.dsse.json").write_bytes(seal(release_statement(digests, "FA-1"), key()))
    assert "not a plain file name" in failures(verify_path(report, trust()))[name]


@pytest.mark.parametrize("name", ["report.pdf", "report.html", "audit.dsse.json"])
def test_a_single_file_is_checked_alone(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes((folder() / name).read_bytes())
    result = verify_path(tmp_path / name, trust())
    assert result.exit_code == 0
    assert "not-run" in {check.outcome for check in result.checks}
    assert verify_path(tmp_path / name, Trust()).exit_code == 3
    assert verify_path(folder() / name, trust()).exit_code == 0


def test_a_valid_file_that_was_not_the_released_one_is_told_apart(report: Path) -> None:
    (report / "report.pdf").write_bytes((folder("FAIL") / "report.pdf").read_bytes())
    result = verify_path(report / "report.pdf", trust())
    outcomes = {check.name: check.outcome for check in result.checks}
    assert outcomes["PDF signature"] == "pass"
    assert outcomes["released file"] == "fail"
    assert result.exit_code == 1


def test_a_forger_with_the_same_name_is_not_trusted(tmp_path: Path) -> None:
    forger = SigningKey.create(key().name, key().org)
    document = evidence()
    audit = seal(audit_statement(document), forger)
    view = html.build(document, html.signer_of(forger))
    (tmp_path / "report.html").write_bytes(html.render(view, forger, audit))
    assert verify_path(tmp_path / "report.html", trust()).exit_code == 3


def test_a_page_that_carries_another_signers_result_is_refused(tmp_path: Path) -> None:
    other = SigningKey.create("Other")
    document = evidence()
    audit = seal(audit_statement(document), other)
    page = html.page(html.build(document, html.signer_of(key())), medium="html", attestation=audit)
    (tmp_path / "report.html").write_bytes(html_signature.sign(page, key(), "FA-1"))
    assert "another key" in failures(verify_path(tmp_path / "report.html", trust()))["report.html"]
