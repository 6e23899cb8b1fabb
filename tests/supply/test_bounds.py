"""Every requirement has a lower and an upper bound, and what is installed lies between."""

import subprocess
import sys
from pathlib import Path

import pytest
from packaging.utils import canonicalize_name
from packaging.version import Version

from scripts import bounds, closure
from tests.fixtures.offline import ROOT


def test_every_requirement_has_both_bounds_and_nobody_disagrees() -> None:
    found = bounds.bounds()
    assert {one.name for one in closure.direct(closure.project()["optional-dependencies"])} == set(
        found
    )
    assert all(Version(lower) < Version(upper) for lower, upper in found.values())


def test_those_who_work_on_it_have_what_users_may_install() -> None:
    groups = closure.project()["optional-dependencies"]
    assert set().union(*(groups[name] for name in closure.extras())) <= set(groups["dev"])


def test_what_is_installed_lies_within_the_bounds() -> None:
    everything = closure.direct([*closure.extras(), "dev", "docs"])  # fuzz: not on every machine
    installed = closure.versions(closure.closure(everything))
    found = {one: installed[canonicalize_name(one.name)] for one in everything}
    wrong = {
        one.name: version for one, version in found.items() if not one.specifier.contains(version)
    }
    assert wrong == {}


def test_the_build_tool_has_bounds_too() -> None:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert 'requires = ["setuptools>=77,<' in text


@pytest.mark.parametrize(
    ("lines", "why"),
    [
        ('["numpy>=2.1"]', "expected name>=lower,<upper, found 'numpy>=2.1'"),
        ('["numpy<3"]', "expected name>=lower,<upper"),
        ('["numpy==2.1"]', "expected name>=lower,<upper"),
        ('["numpy>=2.1,<3", "numpy>=2.2,<3"]', "numpy has two different bounds"),
    ],
    ids=["no-upper", "no-lower", "pinned", "two"],
)
def test_a_missing_bound_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lines: str, why: str
) -> None:
    file = tmp_path / "pyproject.toml"
    file.write_text(f"[project]\ndependencies = {lines}\noptional-dependencies = {{}}\n", "utf-8")
    monkeypatch.setattr(bounds, "PYPROJECT", file)
    with pytest.raises(ValueError, match=why):
        bounds.bounds()


@pytest.mark.parametrize(("end", "pins"), [("lowest", True), ("highest", False)])
def test_constraints_are_the_lower_bounds(end: str, pins: bool) -> None:
    call = [sys.executable, "scripts/bounds.py", end]
    done = subprocess.run(call, cwd=ROOT, capture_output=True, text=True, check=True)
    expected = {f"{name}=={lower}" for name, (lower, _) in bounds.bounds().items()}
    assert set(done.stdout.split()) == (expected if pins else set())


@pytest.mark.parametrize("words", [[], ["lowset"], ["lowest", "highest"]], ids=str)
def test_an_end_of_another_name_is_not_taken_for_the_highest(words: list[str]) -> None:
    call = [sys.executable, "scripts/bounds.py", *words]
    done = subprocess.run(call, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert "expected lowest or highest" in done.stderr
