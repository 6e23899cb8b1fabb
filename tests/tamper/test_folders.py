"""Folders and single files that were swapped, emptied, forged or made to break the reader."""

import json
import os
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from forget_audit.digests import canonical_json, file_digest
from forget_audit.keys.signing import SigningKey
from forget_audit.reports import html, html_signature
from forget_audit.reports.attestation import audit_statement, release_statement, seal
from forget_audit.trust import Trust
from forget_audit.types import Json
from forget_audit.verification.verify import VerifyResult, verify_path
from tests.fixtures.attested import committed, issue, resign, reviewer, small, with_pdf
from tests.fixtures.evidence import evidence
from tests.fixtures.released import copied, folder, key, trust

NAMES = ("audit.dsse.json", "evidence.json", "plan.toml", "receipt.html", "release.dsse.json",
         "report.html", "scores.npz", "unlearned.safetensors")  # fmt: skip


@pytest.fixture
def report(tmp_path: Path) -> Path:
    """With a PDF of one line."""
    return copied(with_pdf(), tmp_path / "run")


@pytest.fixture
def lean(tmp_path: Path) -> Path:
    return copied(small(), tmp_path / "run")


@cache
def failing() -> Path:
    return issue(small().parent / "failing", outcome="FAIL")


def failures(result: VerifyResult) -> dict[str, str]:
    return {check.file: check.detail for check in result.checks if check.outcome == "fail"}


def test_a_released_folder_is_valid() -> None:
    assert {path.name for path in small().iterdir()} == set(NAMES)
    result = verify_path(small(), trust(), lambda *_: [])
    assert result.exit_code == 0
    made_in_python = {"begun"}  # nothing was committed to
    assert {check.name for check in result.checks if check.outcome != "pass"} == made_in_python
    json.dumps(result.as_json())


def test_a_released_folder_with_pdfs_is_valid() -> None:
    result = verify_path(folder(), trust())
    assert result.exit_code == 0
    assert {check.file for check in result.checks if check.name == "PDF signature"} == {
        "receipt.pdf",
        "report.pdf",
    }
    assert {check.name for check in result.checks if check.outcome != "pass"} == {
        "begun",
        "numbers",
    }


def test_the_signer_must_be_known(lean: Path) -> None:
    result = verify_path(lean, Trust())
    assert result.exit_code == 3
    unknown = [check for check in result.checks if check.outcome == "untrusted"]
    assert [check.code for check in unknown] == ["signer-unknown"]
    assert key().keyid in unknown[0].detail
    reviews = Trust().add(key().public_pem, key().certificates_pem, "x", roles=("reviewer",))
    result = verify_path(lean, reviews)
    assert result.exit_code == 3
    assert "signer-wrong-role" in {check.code for check in result.checks}


def test_a_revoked_key_is_no_longer_believed(lean: Path) -> None:
    book = trust().revoke(key().keyid, date(2026, 11, 21), "lost laptop")
    result = verify_path(lean, book)
    assert result.exit_code == 4
    assert "revoked since 2026-11-21: lost laptop" in str(result.as_json())
    assert "signer-revoked" in {check.code for check in result.checks}


def test_numbers_are_computed_again(lean: Path) -> None:
    seen: list[tuple[Json, bytes]] = []

    def recompute(document: Json, scores: bytes) -> list[str]:
        seen.append((document, scores))
        return ["rho_p: 0.023 in the evidence, 0.400 from the scores"]

    result = verify_path(lean, trust(), recompute)
    assert result.exit_code == 1
    assert "0.400 from the scores" in failures(result)["evidence.json"]
    contents = (lean / "evidence.json").read_bytes(), (lean / "scores.npz").read_bytes()
    assert seen == [(json.loads(contents[0]), contents[1])]

    def crash(*_: object) -> list[str]:
        raise ZeroDivisionError

    assert "malformed (ZeroDivisionError)" in str(verify_path(lean, trust(), crash).as_json())


def test_the_scores_must_be_of_the_rows_committed_to(lean: Path) -> None:
    change_evidence(lean, "data", forget_commitment="0" * 64)
    result = verify_path(lean, trust(), lambda *_: [])
    assert "other rows" in failures(result)["scores.npz"]
    assert {"commitment"} == {c.name for c in result.checks if c.file == "scores.npz"
                              and c.outcome == "fail"}  # fmt: skip
    change_evidence(lean, "request", scope="attribute")
    result = verify_path(lean, trust(), lambda *_: [])
    assert {"commitment": "not-run"}.items() <= {c.name: c.outcome for c in result.checks}.items()


def test_an_added_file_is_named(lean: Path) -> None:
    (lean / "note.txt").write_text("all is well")
    assert failures(verify_path(lean, trust())) == {"note.txt": "is not part of the release"}


@pytest.mark.parametrize("name", NAMES)
def test_a_missing_file_is_named(lean: Path, name: str) -> None:
    (lean / name).unlink()
    result = verify_path(lean, trust())
    assert name in failures(result)
    drafted = "a draft: unsigned" in failures(result)[name]
    assert drafted == (name == "release.dsse.json")


def break_file(path: Path, kind: str) -> None:
    data = path.read_bytes()
    path.unlink()
    if kind == "folder":
        path.mkdir()
    elif kind == "link":
        (path.parent.parent / "elsewhere").write_bytes(data)
        path.symlink_to(path.parent.parent / "elsewhere")
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        broken = {"empty": b"", "half": data[: len(data) // 2], "garbage": b"\x00\xff\x13" * 999}
        path.write_bytes(broken.get(kind, b'{"a":[' * 50_000))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", ["empty", "half", "garbage", "nested", "folder", "link", "pipe"])
def test_a_broken_file_is_named_without_a_traceback(lean: Path, name: str, kind: str) -> None:
    break_file(lean / name, kind)
    result = verify_path(lean, trust())
    assert result.exit_code == 1
    assert name in failures(result)
    assert verify_path(lean / name, trust()).exit_code == 1


def test_a_broken_pdf_is_named_without_a_traceback(report: Path) -> None:
    break_file(report / "report.pdf", "half")
    result = verify_path(report, trust())
    assert set(failures(result)) == {"report.pdf"}
    assert verify_path(report / "report.pdf", trust()).exit_code == 1
    (report / "report.pdf").unlink()
    assert "report.pdf" in failures(verify_path(report, trust()))


@pytest.mark.parametrize("name", ["nothing", "run/nothing"])
def test_what_is_not_there_is_said(lean: Path, name: str) -> None:
    result = verify_path(lean.parent / name, trust())
    assert result.exit_code == 1
    assert "cannot be read" in str(result.as_json())


def test_a_link_to_a_folder_is_refused(lean: Path) -> None:
    (lean.parent / "link").symlink_to(lean)
    assert verify_path(lean.parent / "link", trust()).exit_code == 1


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    assert "release.dsse.json" in failures(verify_path(tmp_path, trust()))


def change_evidence(report: Path, part: str, **changes: Any) -> None:
    """Change the evidence, and sign everything again that is about it."""
    document = json.loads((report / "evidence.json").read_bytes())
    document[part] |= changes
    (report / "evidence.json").write_bytes(canonical_json(document))
    (report / "audit.dsse.json").write_bytes(seal(audit_statement(document), key()))
    resign(report)


def test_a_changed_verdict_does_not_agree_with_the_attestation(report: Path) -> None:
    document = json.loads((report / "evidence.json").read_bytes())
    document["verdict"]["outcome"] = "FAIL"
    (report / "evidence.json").write_bytes(canonical_json(document))
    resign(report)
    result = verify_path(report, trust())
    assert "says" in failures(result)["audit.dsse.json"]
    assert "carries another evidence.json" in failures(result)["report.pdf"]


def test_an_attestation_of_another_audit_is_refused(report: Path) -> None:
    (report / "audit.dsse.json").write_bytes(seal(audit_statement(evidence("FAIL")), key()))
    resign(report)
    found = failures(verify_path(report, trust()))
    assert set(found) == {"audit.dsse.json", "report.html", "report.pdf"}


def test_a_draft_never_counts(lean: Path) -> None:
    change_evidence(lean, "report", status="draft")
    result = verify_path(lean, trust())
    assert result.exit_code == 1
    assert "draft" in {check.code for check in result.checks if check.file == "evidence.json"}


def test_evidence_must_be_canonical_and_fit(lean: Path) -> None:
    document = json.loads((lean / "evidence.json").read_bytes())
    (lean / "evidence.json").write_text(json.dumps(document))
    resign(lean)
    assert "not canonical" in failures(verify_path(lean, trust()))["evidence.json"]
    del document["gates"]
    (lean / "evidence.json").write_bytes(canonical_json(document))
    resign(lean)
    assert "gates: missing" in failures(verify_path(lean, trust()))["evidence.json"]


def test_other_scores_are_refused(lean: Path) -> None:
    (lean / "scores.npz").write_bytes(b"PK")
    resign(lean)
    assert "not those" in failures(verify_path(lean, trust()))["scores.npz"]


def test_another_model_is_refused(lean: Path) -> None:
    (lean / "unlearned.safetensors").write_bytes(b"other weights")
    resign(lean)
    assert "not the model" in failures(verify_path(lean, trust()))["unlearned.safetensors"]


def test_a_page_of_another_audit_is_refused(lean: Path) -> None:
    (lean / "report.html").write_bytes((failing() / "report.html").read_bytes())
    resign(lean)
    assert "carries another audit" in failures(verify_path(lean, trust()))["report.html"]


def test_a_pdf_of_another_audit_is_refused(report: Path) -> None:
    document = committed(evidence("FAIL"))
    (report / "evidence.json").write_bytes(canonical_json(document))
    (report / "audit.dsse.json").write_bytes(seal(audit_statement(document), key()))
    resign(report)
    assert "carries another audit" in failures(verify_path(report, trust()))["report.pdf"]


def test_one_key_signs_attestation_page_and_pdf(report: Path) -> None:
    other = SigningKey.create("Other")
    document = json.loads((report / "evidence.json").read_bytes())
    (report / "audit.dsse.json").write_bytes(seal(audit_statement(document), other))
    resign(report, other)
    found = failures(verify_path(report, trust().add_key(other)))
    assert set(found) == {"report.html", "report.pdf"}
    assert all("another key" in detail for detail in found.values())


def test_a_release_by_another_tool_is_refused(lean: Path) -> None:
    other = SigningKey.create("Other")
    resign(lean, other)
    for book in (trust(), trust().add_key(other), trust().add_key(reviewer())):
        found = failures(verify_path(lean, book))
        assert set(found) == {"release.dsse.json"}
        assert "another key" in found["release.dsse.json"]


def test_a_statement_of_another_kind_is_no_release(lean: Path) -> None:
    (lean / "release.dsse.json").write_bytes((lean / "audit.dsse.json").read_bytes())
    assert "kind" in failures(verify_path(lean, trust()))["release.dsse.json"]


def test_a_release_of_another_report_is_refused(lean: Path) -> None:
    resign(lean, identifier="FA-20261121-000000")
    assert "another report" in failures(verify_path(lean, trust()))["release.dsse.json"]


@pytest.mark.parametrize("name", ["../run/evidence.json", "/etc/passwd", "a/b", "..", "x\n"])
def test_names_that_leave_the_folder_are_refused(lean: Path, name: str) -> None:
    digests = {path.name: file_digest(path) for path in lean.iterdir()}
    del digests["release.dsse.json"]
    digests[name] = file_digest(lean / "evidence.json")
    (lean / "release.dsse.json").write_bytes(seal(release_statement(digests, "FA-1"), key()))
    assert "not a plain file name" in failures(verify_path(lean, trust()))[name.strip()]


def test_what_a_stranger_wrote_cannot_forge_a_line(lean: Path) -> None:
    name = "x\npass signer: trusted\x1b[2K\u202e"
    digests = {name: "0" * 64}
    (lean / "release.dsse.json").write_bytes(seal(release_statement(digests, "FA-1"), key()))
    shown = {check.file for check in verify_path(lean, trust()).checks}
    assert "x pass signer: trusted⟨U+001B⟩[2K⟨U+202E⟩" in shown


@pytest.mark.parametrize("name", ["report.pdf", "report.html", "audit.dsse.json"])
def test_a_single_file_is_checked_alone(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes((with_pdf() / name).read_bytes())
    result = verify_path(tmp_path / name, trust())
    assert result.exit_code == 0
    assert "not-run" in {check.outcome for check in result.checks}
    assert verify_path(tmp_path / name, Trust()).exit_code == 3
    assert verify_path(with_pdf() / name, trust()).exit_code == 0


def test_a_valid_file_that_was_not_the_released_one_is_told_apart(lean: Path) -> None:
    (lean / "report.html").write_bytes((failing() / "report.html").read_bytes())
    result = verify_path(lean / "report.html", trust())
    outcomes = {check.name: check.outcome for check in result.checks}
    assert outcomes["page signature"] == "pass"
    assert outcomes["released file"] == "fail"
    assert result.exit_code == 1


def test_a_statement_of_a_foreign_kind_is_refused(tmp_path: Path) -> None:
    statement = {**audit_statement(evidence()), "predicateType": "https://example.org/other/v1"}
    (tmp_path / "a.json").write_bytes(seal(statement, key()))
    result = verify_path(tmp_path / "a.json", trust())
    assert "not a statement of forget-audit" in failures(result)["a.json"]


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


def test_a_file_of_a_terabyte_of_nothing_is_not_read_through(lean: Path) -> None:
    os.truncate(lean / "report.html", 2**40)
    result = verify_path(lean, trust(), lambda *_: [])
    assert result.exit_code == 1
    assert failures(result)["report.html"] == "larger than 512 MiB"
