"""A run that breaks off while it is issued: the book has an entry, and the report comes later."""

from pathlib import Path

import pytest

from forget_audit.errors import ForgetAuditError
from forget_audit.reports import folders
from forget_audit.reports.folders import RELEASE
from tests.fixtures.commands import Run
from tests.resume.test_memory import PLAN


def test_an_issue_that_broke_off_is_taken_up(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORGET_AUDIT_HOME", str(tmp_path / "home"))
    plan, audit = tmp_path / "plan.toml", tmp_path / "audit"
    plan.write_text(PLAN.format(attacks="[]"), encoding="utf-8")
    written = folders.write

    def broken(path: Path, content: bytes | Path) -> str:
        if path.name == RELEASE:
            raise ForgetAuditError("the power went")
        return written(path, content)

    with monkeypatch.context() as full:
        full.setattr("forget_audit.reports.release.write", broken)
        code, _, said = run("certify", plan, "--out", audit)
    assert code == 4
    assert "the power went" in said

    assert not audit.exists()
    run("certify", plan, "--out", audit)
    _, entries, _ = run("ledger", "list")
    issued = [line for line in entries.splitlines() if "audit-issued" in line]
    assert len(issued) == 2  # the same report twice; the first time its files were never seen
    assert len({line.split("FA-")[1][:15] for line in issued}) == 1
    assert entries.count("audit-begun") == 1  # both times the same audit, begun once
    _, said, _ = run("verify", audit)
    assert "statistics and verdict follow from the scores" in said
    assert "mismatch" not in said
    assert "3 entries as they were signed" in "".join(run("ledger", "verify")[1:])
