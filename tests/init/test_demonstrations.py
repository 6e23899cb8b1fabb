"""The demonstrations run, and their page says what they printed."""

import re
import runpy
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs/demonstrations.md").read_text("utf-8")
SCRIPTS = ("tabular_people", "multi_label")
FIGURE = re.compile(r"(?<![\d.,])-?\d\.\d\d(?!\d)")


def printed(name: str) -> str:
    return (ROOT / "examples/results" / f"{name}.md").read_text("utf-8")


def table(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith("|")]


@pytest.mark.parametrize("name", SCRIPTS)
def test_the_page_holds_the_table_that_the_script_printed(name: str) -> None:
    assert "\n".join(table(printed(name))) in PAGE
    assert f"python examples/{name}.py" in PAGE


def test_every_figure_in_the_text_was_printed() -> None:
    known = {figure for name in SCRIPTS for figure in FIGURE.findall(printed(name))}
    parts = PAGE.split("\n## ")[1:]
    said = [figure for part in parts for figure in FIGURE.findall(part)]
    assert len(said) > 100
    assert not [figure for figure in said if figure not in known]


def test_the_verdict_of_the_full_audit_is_the_one_on_the_page() -> None:
    verdict = re.findall(r"^Verdict on (\w+): (\w+)", printed("multi_label"), re.MULTILINE)
    (name, outcome), = verdict  # fmt: skip
    assert f"The full audit of `{name}` looks at the features and says {outcome}" in PAGE


@pytest.mark.parametrize(
    ("name", "part", "keys"),
    [
        ("tabular_people", ("3", "1", "randhie"), 4),
        ("multi_label", ("1", "3", "weight_filtering"), 1),
    ],
    ids=SCRIPTS,
)
def test_the_script_prints_such_rows_at_small_size(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    name: str,
    part: tuple[str, ...],
    keys: int,
) -> None:
    path = ROOT / "examples" / f"{name}.py"
    monkeypatch.setattr(sys, "argv", [str(path), *part])
    monkeypatch.chdir(tmp_path)
    runpy.run_path(str(path))
    out, err = capsys.readouterr()
    assert err == ""
    few, many = table(out), table(printed(name))
    known = {tuple(line.split(" | ")[:keys]) for line in many}
    assert len(few) > 7
    assert {tuple(line.split(" | ")[:keys]) for line in few} <= known
    assert {line.count("|") for line in few} == {many[0].count("|")}
    assert not list(tmp_path.iterdir()), "a demonstration leaves nothing behind"
