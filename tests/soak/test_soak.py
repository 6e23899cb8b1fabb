"""A short version of `make soak`: a few audits in one process, a few processes on one ledger."""

import sys
from pathlib import Path

import pytest

from tests.soak.audits import many
from tests.soak.books import APPENDS, at_once


def test_a_few_audits_in_one_process_leave_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FORGET_AUDIT_HOME", str(tmp_path / "home"))
    found = many(tmp_path / "plans", 8, warm_up=4, every=4)
    assert found.growth < 50
    assert capsys.readouterr().out.count(" audits ") == 2
    assert list((tmp_path / "plans").iterdir()) == []
    assert len([item for item in sys.path if item.startswith(str(tmp_path))]) <= 1


def test_a_few_processes_lose_nothing_in_one_ledger(tmp_path: Path) -> None:
    assert at_once(tmp_path, 6).entries == 6 * (APPENDS + 2)
