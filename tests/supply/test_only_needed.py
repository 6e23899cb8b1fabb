"""The environment of the wheel's check holds what the package needs, and nothing else."""

import os
import py_compile
from importlib.metadata import PathDistribution
from pathlib import Path

import pytest

from scripts import only_needed


def installed(site: Path, name: str, *files: str) -> PathDistribution:
    about = site / f"{name}-1.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1\n", "utf-8")
    for file in files:
        (site / file).parent.mkdir(parents=True, exist_ok=True)
        (site / file).write_text("", "utf-8")
    named = [*files, f"{about.name}/METADATA", f"{about.name}/RECORD", "gone.py"]
    (about / "RECORD").write_text("".join(f"{file},,\n" for file in named), "utf-8")
    return PathDistribution(about)


@pytest.mark.parametrize("links", [True, False])
def test_files_of_what_is_needed_and_no_program(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, links: bool
) -> None:
    here, there = tmp_path / "here/lib/site", tmp_path / "there"
    installed(here, "other", "other.py", "shared/other.py")
    needed = [
        installed(here, "one", "one.py", "shared/one.py", "shared/both.h", "../bin/one"),
        installed(here, "two", "two/data.txt", "shared/both.h"),
    ]
    py_compile.compile(str(here / "one.py"))
    monkeypatch.setattr(only_needed, "closure", lambda _: {one.name: one for one in needed})
    if not links:
        monkeypatch.setattr(os, "link", _refused)
    assert only_needed.fill(there) == ["one", "two"]
    found = {path.relative_to(there) for path in there.rglob("*") if path.is_file()}
    kept = {path.relative_to(here) for path in here.rglob("*") if path.is_file()}
    assert kept - found == {
        *(Path("other-1.dist-info", name) for name in ("METADATA", "RECORD")),
        Path("other.py"),
        Path("shared/other.py"),
    }
    assert not found - kept
    assert (there / "one.py").samefile(here / "one.py") == links


def _refused(*_: object) -> None:
    raise OSError("another file system")
