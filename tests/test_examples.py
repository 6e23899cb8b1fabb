"""The examples run as they stand."""

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from forget_audit.audits.audit import carry_out
from forget_audit.audits.commission import from_plan
from forget_audit.plans.plan import check_plan

ROOT = Path(__file__).resolve().parents[1]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
LONGEST = 60
RECOMPUTE, RECOMPUTE_ALL = ROOT / "examples/recompute.py", ROOT / "examples/recompute_all.py"
LONGER = {
    RECOMPUTE_ALL: 80,  # thirteen statistics, their tests and the controls
    ROOT / "examples/tabular_people.py": 90,  # two data sets, two kinds of models
}
DEMONSTRATIONS = {"tabular_people", "multi_label"}  # tests/init/test_demonstrations.py runs them


def run(path: Path, folder: Path, code: int = 0) -> str:
    environment = {**os.environ, "FORGET_AUDIT_HOME": str(folder / "home"), "OMP_NUM_THREADS": "1"}
    environment["PYTHONPATH"] = str(ROOT)
    call = [sys.executable, str(path)]
    done = subprocess.run(
        call, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == code, done.stderr
    return done.stdout + done.stderr


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_examples_are_short_and_tested_below(path: Path) -> None:
    assert len(path.read_text("utf-8").splitlines()) <= LONGER.get(path, LONGEST)
    assert path.stem in DEMONSTRATIONS or f"test_{path.stem.removesuffix('_all')}" in globals()


def test_python_api(tmp_path: Path) -> None:
    lines = run(ROOT / "examples/python_api.py", tmp_path).splitlines()
    assert lines[0].split()[0] in ("PASS", "FAIL", "INCONCLUSIVE")
    for name in ("evidence.json", "scores.npz", "report.html", "release.dsse.json"):
        assert (tmp_path / "audit" / name).is_file()


def test_add_an_attack(tmp_path: Path) -> None:
    printed = run(ROOT / "examples/add_an_attack.py", tmp_path)
    assert "name='auc'" in printed


def test_recompute(tmp_path: Path) -> None:
    plan = {
        "request": {"reference": "REQ-1", "random": 60},
        "data": {"source": "digits", "label_noise": 0.15, "test": 150},
        "training": {"epochs": 10, "lr": 0.01},
        "model": {"options": {"hidden": [16]}},
        "method": {"name": "retrain"},
        "references": {"retrained": 7, "originals": 3, "shadows": 0},
        "battery": {"attacks": []},
    }
    path, _ = carry_out(from_plan(check_plan(plan, tmp_path))).save(tmp_path / "audit")
    scripts, true = (RECOMPUTE, RECOMPUTE_ALL), path.read_text("utf-8")
    for script, count in zip(scripts, (2, 7), strict=True):
        assert run(script, tmp_path).count("differ by at most") == count
    for script, keys in (
        (RECOMPUTE, ("statistics", 0, "interval", 1)),
        (RECOMPUTE, ("verdict", "attained_bound")),
        (RECOMPUTE_ALL, ("statistics", 7, "reference_mean")),
        (RECOMPUTE_ALL, ("statistics", 4, "p_value")),
        (RECOMPUTE_ALL, ("fidelity", "p_value")),
        (RECOMPUTE_ALL, ("controls", "identity", 1, "p_value")),
        (RECOMPUTE_ALL, ("controls", "original", "n_eff")),
    ):
        evidence = json.loads(true)
        place = evidence
        for key in keys[:-1]:
            place = place[key]
        place[keys[-1]] += 1e-6
        path.write_text(json.dumps(evidence), encoding="utf-8")
        run(script, tmp_path, code=1)
    evidence = json.loads(true)
    evidence["request"]["scope"] = "class"
    path.write_text(json.dumps(evidence), encoding="utf-8")
    assert "only for requests for single rows" in run(RECOMPUTE, tmp_path, code=1)


def test_recomputing_needs_numpy_and_scipy_alone() -> None:
    known = {"json", "sys", "pathlib", "numpy", "scipy", "recompute"}
    for script in (RECOMPUTE, RECOMPUTE_ALL):
        for node in ast.walk(ast.parse(script.read_text("utf-8"))):
            if isinstance(node, ast.Import):
                assert {alias.name for alias in node.names} <= known
            if isinstance(node, ast.ImportFrom):
                assert node.module in known
