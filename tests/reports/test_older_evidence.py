"""Reports of earlier versions stay readable, renderable and verifiable."""

from pathlib import Path

import pytest

from forget_audit.reports import evidence as evidence_file
from forget_audit.reports import html
from forget_audit.trust import load
from forget_audit.verdict import scoretable
from forget_audit.verification.verify import verify_path
from tests.fixtures.released import key

OLDER = Path(__file__).parents[1] / "fixtures" / "older"
FOLDERS = sorted(OLDER.glob("audit-*"))


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_an_older_report_verifies_and_its_numbers_are_computed_again(folder: Path) -> None:
    trust = load(OLDER / f"{folder.name.replace('audit', 'trust')}.json")
    result = verify_path(folder, trust, scoretable.recompute)
    assert result.exit_code == 0, [c for c in result.checks if c.outcome != "pass"]
    assert "numbers" in {check.name for check in result.checks if check.outcome == "pass"}


@pytest.mark.parametrize("language", ["en", "de", "fr"])
@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_older_evidence_renders(folder: Path, language: str) -> None:
    evidence = evidence_file.read((folder / "evidence.json").read_bytes())
    view = html.build(evidence, html.signer_of(key()), language)
    assert evidence["report"]["id"].encode() in html.page(view, medium="html")


def test_there_are_older_reports() -> None:
    assert FOLDERS
