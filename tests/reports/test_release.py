"""Issuing a folder: whole or not at all, and never over somebody's files."""

from pathlib import Path
from typing import Any

import pytest

from forget_audit.digests import file_digest
from forget_audit.errors import (
    ForgetAuditError,
    KeyFileError,
    MissingDependency,
    VerificationError,
)
from forget_audit.reports import pdf, release
from forget_audit.verify import verify_path
from tests.fixtures.evidence import evidence, scores, without_figures
from tests.fixtures.released import folder, key, trust

FILES = {"evidence.json", "scores.npz", "report.html", "audit.dsse.json", "release.dsse.json"}


def issue(out: Path, **changes: Any) -> release.Released:
    arguments: dict[str, Any] = {
        "evidence": without_figures(evidence()), "scores_npz": scores(), "extra_files": {},
        "key": key(), "out_dir": out, "formats": ("html",),
    }  # fmt: skip
    return release.release(**{**arguments, **changes})


def test_a_folder_holds_what_it_must() -> None:
    assert {path.name for path in folder().iterdir()} == {*FILES, "report.pdf", "plan.toml"}


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

    monkeypatch.setattr(release, "_write", full_disk)
    with pytest.raises(OSError, match="no space"):
        issue(tmp_path / "run", evidence=evidence("FAIL"))
    assert {path.name: file_digest(path) for path in (tmp_path / "run").iterdir()} == before
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_without_pdf_libraries_the_rest_is_issued(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(*_: object) -> None:
        raise MissingDependency(f"no PDF: a system library is missing; {pdf.APT}")

    monkeypatch.setattr(pdf, "render", missing)
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
    monkeypatch.setattr(type(key()), "usable", False)
    with pytest.raises(KeyFileError, match="ended on"):
        issue(tmp_path / "run")
