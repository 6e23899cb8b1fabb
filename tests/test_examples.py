"""The examples run as they stand."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
LONGEST = 60


def run(path: Path, folder: Path) -> str:
    environment = {**os.environ, "FORGET_AUDIT_HOME": str(folder / "home"), "OMP_NUM_THREADS": "1"}
    environment["PYTHONPATH"] = str(ROOT)
    call = [sys.executable, str(path)]
    done = subprocess.run(
        call, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_examples_are_short_and_tested_below(path: Path) -> None:
    assert len(path.read_text("utf-8").splitlines()) <= LONGEST
    assert f"test_{path.stem}" in globals()


def test_python_api(tmp_path: Path) -> None:
    lines = run(ROOT / "examples/python_api.py", tmp_path).splitlines()
    assert lines[0].split()[0] in ("PASS", "FAIL", "INCONCLUSIVE")
    for name in ("evidence.json", "scores.npz", "report.html", "release.dsse.json"):
        assert (tmp_path / "audit" / name).is_file()


def test_add_an_attack(tmp_path: Path) -> None:
    printed = run(ROOT / "examples/add_an_attack.py", tmp_path)
    assert "name='auc'" in printed
