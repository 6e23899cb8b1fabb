"""Examples in three languages write files that pass, and the page shows them as they are."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from forget_audit.predictions import Predictions, read
from tests.fixtures.programs import needs
from tests.predictions.recorded import ordered_by, weighed

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples" / "predictions"
PAGE = (ROOT / "docs" / "predictions-only.md").read_text("utf-8")
LANGUAGES = {"python": "py", "r": "R", "julia": "jl"}
LONGEST = 45


def written(folder: Path, *command: str) -> Predictions:
    """Run an example in an empty folder and read what it writes."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert [path.name for path in folder.iterdir()] == ["predictions.csv"]
    return read(folder / "predictions.csv")


def as_promised(found: Predictions, folder: Path) -> None:
    assert found.counts == {"retrained": 39, "identity": 2, "originals": 8, "audited": 1}
    assert len(found.parts["forget"]) == 100
    assert found.n_classes == 2
    assert weighed(ordered_by(folder / "predictions.csv")).verdict.outcome == "PASS"


def test_the_python_example_writes_a_file_that_passes(tmp_path: Path) -> None:
    found = written(tmp_path, sys.executable, str(EXAMPLES / "write_predictions.py"))
    as_promised(found, tmp_path)


@needs("Rscript", "r-base-core r-cran-mass r-cran-nnet")
def test_the_r_example_writes_a_file_that_passes(tmp_path: Path) -> None:
    as_promised(written(tmp_path, "Rscript", str(EXAMPLES / "write_predictions.R")), tmp_path)


@needs("julia", "julia")
def test_the_julia_example_writes_a_file_that_passes(tmp_path: Path) -> None:
    as_promised(written(tmp_path, "julia", str(EXAMPLES / "write_predictions.jl")), tmp_path)


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_page_shows_the_example(language: str) -> None:
    path = EXAMPLES / f"write_predictions.{LANGUAGES[language]}"
    text = path.read_text("utf-8")
    assert f'```{language} title="{path.name}"\n{text}```\n' in PAGE
    assert len(text.splitlines()) <= LONGEST


def test_examples_need_nothing_but_what_comes_with_the_language() -> None:
    in_r = re.findall(r"library\((\w+)\)", (EXAMPLES / "write_predictions.R").read_text("utf-8"))
    assert set(in_r) == {"MASS", "nnet"}
    in_julia = (EXAMPLES / "write_predictions.jl").read_text("utf-8")
    assert re.findall(r"^(?:using|import) (.*?)(?: #.*)?$", in_julia, re.MULTILINE) == [
        "LinearAlgebra, Random"
    ]
