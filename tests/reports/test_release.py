"""Issuing a folder: whole or not at all, and never over somebody's files."""

import dataclasses
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from forget_audit.digests import file_digest
from forget_audit.errors import (
    ForgetAuditError,
    KeyFileError,
    LeakError,
    MissingDependency,
    VerificationError,
)
from forget_audit.ledger.ledger import Ledger
from forget_audit.reports import folders, pdf, release
from forget_audit.reports.attestation import open_self_signed
from forget_audit.verification.verify import verify_path
from tests.fixtures.evidence import evidence, scores, without_figures
from tests.fixtures.released import folder, key, trust

FILES = {"evidence.json", "scores.npz", "report.html", "receipt.html", "audit.dsse.json",
         "release.dsse.json"}  # fmt: skip


def issue(out: Path, **changes: Any) -> release.Released:
    arguments: dict[str, Any] = {
        "evidence": without_figures(evidence()), "scores_npz": scores(), "extra_files": {},
        "key": key(), "out_dir": out,
    }  # fmt: skip
    names = {item.name for item in dataclasses.fields(release.Terms)}
    terms = {"formats": ("html",), **{k: changes.pop(k) for k in names & set(changes)}}
    return release.release(**{**arguments, **changes}, terms=release.Terms(**terms))


def test_a_folder_holds_what_it_must() -> None:
    expected = (FILES - {"receipt.html"}) | {"receipt.pdf", "report.pdf", "plan.toml"}
    assert {path.name for path in folder().iterdir()} == expected


def test_an_earlier_release_is_replaced_whole(tmp_path: Path) -> None:
    (tmp_path / "model").write_bytes(b"weights")
    out = tmp_path / "run"
    first = issue(out, extra_files={"other.safetensors": tmp_path / "model"})
    assert (out / "other.safetensors").read_bytes() == b"weights"
    assert first.paths[-1] == out / "release.dsse.json"
    issue(out, evidence=evidence("FAIL"))
    assert {path.name for path in out.iterdir()} == FILES
    assert {path.name for path in tmp_path.iterdir()} == {"model", "run"}
    assert verify_path(out, trust()).exit_code == 0


def test_an_empty_folder_is_used(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    assert issue(tmp_path / "run").pdf_missing is None


def test_foreign_files_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.doc").write_text("years of work")
    with pytest.raises(ForgetAuditError, match=r"thesis\.doc.*another folder"):
        issue(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.doc"]


def test_a_file_in_the_way_is_refused(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("x")
    with pytest.raises(ForgetAuditError, match="not a folder"):
        issue(tmp_path / "run")


def test_a_failure_leaves_the_earlier_release(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    issue(tmp_path / "run")
    before = {path.name: file_digest(path) for path in (tmp_path / "run").iterdir()}

    def full_disk(*_: object) -> str:
        raise OSError("no space left")

    monkeypatch.setattr(release, "write", full_disk)
    with pytest.raises(OSError, match="no space"):
        issue(tmp_path / "run", evidence=evidence("FAIL"))
    assert {path.name: file_digest(path) for path in (tmp_path / "run").iterdir()} == before
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_without_pdf_libraries_the_rest_is_issued(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(*_: object) -> None:
        raise MissingDependency(f"no PDF: a system library is missing; {pdf.APT}")

    monkeypatch.setattr(pdf, "render_papers", missing)
    done = issue(tmp_path / "run", formats=("html", "pdf"))
    assert pdf.APT in (done.pdf_missing or "")
    assert {path.name for path in (tmp_path / "run").iterdir()} == FILES
    assert verify_path(tmp_path / "run", trust()).exit_code == 0


def test_equal_inputs_and_keys_give_equal_files(tmp_path: Path) -> None:
    issue(tmp_path / "a")
    issue(tmp_path / "b")
    for name in FILES:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_inputs_must_belong_together(tmp_path: Path) -> None:
    with pytest.raises(VerificationError, match="scores are not those"):
        issue(tmp_path / "run", scores_npz=b"other")
    locked = evidence()
    locked["report"]["key"] = "passphrase"
    with pytest.raises(VerificationError, match="says the key is passphrase"):
        issue(tmp_path / "run", evidence=locked)
    with pytest.raises(VerificationError, match=r"evidence\.schema"):
        issue(tmp_path / "run", evidence={**evidence(), "schema": "other"})
    with pytest.raises(ForgetAuditError, match="formats are html and pdf, found 'docx'"):
        issue(tmp_path / "run", formats=("docx",))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["../x", "a/b", "", ".hidden", "evidence.json", "x" * 200, "a\n"])
def test_extra_files_have_plain_names(tmp_path: Path, name: str) -> None:
    with pytest.raises(VerificationError, match="cannot be the name"):
        issue(tmp_path / "run", extra_files={name: b""})


def test_an_ended_certificate_signs_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type(key()), "not_after", datetime(2020, 1, 1, tzinfo=UTC))
    monkeypatch.setattr(type(key()), "not_before", datetime(2019, 1, 1, tzinfo=UTC))
    with pytest.raises(KeyFileError, match="ended on"):
        issue(tmp_path / "run")


# The ledger, drafts and what must not leave


def statement(folder: Path) -> dict[str, Any]:
    return open_self_signed((folder / "release.dsse.json").read_bytes()).statement


def test_an_issue_is_recorded_and_carries_the_signed_head(tmp_path: Path) -> None:
    ledger = Ledger.open(tmp_path / "ledger.sqlite")
    issue(tmp_path / "run", ledger=ledger)
    [entry] = ledger.entries()
    assert entry.kind == "audit-issued"
    assert entry.body["files"]["evidence.json"] == file_digest(tmp_path / "run" / "evidence.json")
    assert statement(tmp_path / "run")["predicate"]["checkpoint"] == ledger.checkpoint()


def test_evidence_names_the_head_before_its_own_entry(tmp_path: Path) -> None:
    ledger = Ledger.open(tmp_path / "ledger.sqlite")
    issue(tmp_path / "first", ledger=ledger)
    before = ledger.head()
    second = release.issued(without_figures(evidence()), key(), ledger)
    issue(tmp_path / "second", evidence=second, ledger=ledger)
    read = json.loads((tmp_path / "second" / "evidence.json").read_bytes())
    assert read["ledger"] == {"origin": before.origin, "size": 1, "root": before.root_hex}
    assert ledger.head().size == 2
    assert verify_path(tmp_path / "second", trust()).exit_code == 0


def test_superseding_is_recorded(tmp_path: Path) -> None:
    ledger = Ledger.open(tmp_path / "ledger.sqlite")
    newer = without_figures(evidence())
    newer["report"] |= {"supersedes": "FA-20261101-AAAAAA", "change": "fine-tuned since"}
    issue(tmp_path / "run", evidence=newer, ledger=ledger)
    assert ledger.successor("FA-20261101-AAAAAA") == newer["report"]["id"]


def test_a_crash_leaves_an_entry_without_files_never_files_without_an_entry(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = Ledger.open(tmp_path / "ledger.sqlite")

    def dies(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(folders, "_move", dies)
    with pytest.raises(KeyboardInterrupt):
        issue(tmp_path / "run", ledger=ledger)
    assert ledger.head().size == 1
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("where", ["controller", "title", "file"])
def test_what_must_not_leave_blocks_the_signature(tmp_path: Path, where: str) -> None:
    document, extra = without_figures(evidence()), {}
    if where == "controller":
        document["report"]["controller"] = "care of patient-4711-canary"
    elif where == "title":
        document["data"]["title"] = "records with patient-4711-canary"
    else:
        extra = {"notes.txt": b"see patient-4711-canary"}
    ledger = Ledger.open(tmp_path / "ledger.sqlite")
    with pytest.raises(
        LeakError, match=r"nothing was signed.*the id of a deleted record"
    ) as caught:
        issue(
            tmp_path / "run", evidence=document, extra_files=extra, ledger=ledger,
            private={"patient-4711-canary": "the id of a deleted record"},
        )  # fmt: skip
    assert "patient-4711-canary" not in str(caught.value)
    assert ledger.head().size == 0
    assert not (tmp_path / "run").exists()


def test_the_contact_of_the_controller_may_be_an_address(tmp_path: Path) -> None:
    document = without_figures(evidence())
    document["report"]["contact"] = "privacy@controller.example"
    issue(tmp_path / "run", evidence=document)
    assert b"privacy@controller.example" in (tmp_path / "run" / "receipt.html").read_bytes()


def test_a_draft_is_signed_by_nobody_and_never_verifies(tmp_path: Path) -> None:
    document = without_figures(evidence())
    document["report"]["status"] = "draft"
    release.draft(document, scores(), tmp_path / "run", {})
    names = {path.name for path in (tmp_path / "run").iterdir()}
    assert names == {"evidence.json", "scores.npz", "report.html"}
    assert b"DRAFT" in (tmp_path / "run" / "report.html").read_bytes()
    result = verify_path(tmp_path / "run", trust())
    assert result.exit_code == 1
    assert "draft" in str(result.as_json())


def test_a_draft_may_give_way_to_a_release(tmp_path: Path) -> None:
    document = without_figures(evidence())
    document["report"]["status"] = "draft"
    release.draft(document, scores(), tmp_path / "run", {})
    issue(tmp_path / "run")
    assert verify_path(tmp_path / "run", trust()).exit_code == 0
