"""The tree is what pyproject.toml, the package and CONTRIBUTING.md say it is."""

import ast
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from zipfile import ZipFile

import pytest

from scripts import wheel_content

ROOT = Path(__file__).resolve().parents[1]
ROOMS = ("attacks", "experiments", "methods", "reports")
SOURCES = sorted(
    path
    for folder in ("forget_audit", *ROOMS, "scripts")
    for path in (ROOT / folder).rglob("*.py")
    if not any(parent.is_symlink() for parent in path.parents)
)
LONGEST_MODULE = 300
LONGEST_FUNCTION = 150
# Told apart from this file by being written in pieces.
FORBIDDEN = tuple(
    "".join(parts)
    for parts in (
        ("/wo", "rk/"),
        ("/ro", "ot/"),
        ("/ho", "me/"),
        ("/tm", "p/"),
        ("/opt/", "wheels"),
        ("py", "pi.org"),
        ("python", "hosted"),
        ("download.", "pytorch"),
    )
)
BROKEN = ROOT / "tests" / "fuzz" / "corpus"  # inputs that no reader can make sense of
BINARY = (".ttf", ".png", ".pdf", ".npz", ".safetensors")


def tracked() -> list[Path]:
    """Return what git tracks, or is about to; without git, all that is not made."""
    call = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    done = subprocess.run(call, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip("no git here")
    paths = [ROOT / name for name in done.stdout.split("\0") if name]
    return [path for path in paths if path.is_file() and not path.is_symlink()]


def test_package_list_equals_the_packages_on_disk() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["setuptools"]
    found = set()
    for top in ("forget_audit", *ROOMS):
        for folder, names, files in os.walk(ROOT / top):
            names[:] = [name for name in names if not (Path(folder) / name).is_symlink()]
            if "__init__.py" in files:
                dotted = ".".join(Path(folder).relative_to(ROOT).parts)
                found.add(dotted if top == "forget_audit" else f"forget_audit.{dotted}")
    assert set(settings["packages"]) == found
    assert settings["package-dir"] == {f"forget_audit.{room}": room for room in ROOMS}


@pytest.mark.parametrize("room", ROOMS)
def test_rooms_are_linked_into_the_package(room: str) -> None:
    link = ROOT / "forget_audit" / room
    if not link.is_symlink() and sys.platform == "win32":
        pytest.skip("no links without developer mode")
    assert link.is_symlink()
    assert link.readlink() == Path("..") / room


@pytest.mark.parametrize("room", ROOMS)
def test_rooms_refuse_their_own_name(room: str) -> None:
    call = [sys.executable, "-c", f"import {room}"]
    done = subprocess.run(call, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert f"import forget_audit.{room}, not {room}" in done.stderr


def test_no_module_is_called_utils() -> None:
    names = {"utils.py", "util.py", "helpers.py", "common.py", "misc.py"}
    assert not [path for path in tracked() if path.name in names]


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_modules_and_functions_are_short(path: Path) -> None:
    text = path.read_text("utf-8")
    assert text.count("\n") < LONGEST_MODULE
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert (node.end_lineno or 0) - node.lineno < LONGEST_FUNCTION, node.name


def test_tracked_files_leave_nothing_undone_and_name_no_machine() -> None:
    undone = re.compile(r"\b(?:TO" + r"DO|FIX" + r"ME|XX" + r"X)\b")
    found = []
    for path in tracked():
        if path.suffix in BINARY or path.name in ("LICENSE", "LICENSE_DEJAVU"):
            continue
        if BROKEN in path.parents:
            continue
        text = path.read_text("utf-8")
        words = [word for word in FORBIDDEN if word in text]
        words += undone.findall(text)
        found += [f"{path.relative_to(ROOT)}: {word}" for word in words]
    assert not found


def test_scripts_are_executable() -> None:
    for path in (ROOT / ".ci/run", *(ROOT / "scripts").glob("*.sh")):
        assert os.access(path, os.X_OK) == (path.name != "debian.sh"), path  # read by setup.sh


def test_wheel_content_is_checked(tmp_path: Path) -> None:
    wheel = tmp_path / "a.whl"
    names = wheel_content.expected()
    with ZipFile(wheel, "w") as file:
        for name in sorted(names):
            file.writestr(name, "")
        file.writestr("forget_audit-0.1.0.dist-info/METADATA", "")
    assert wheel_content.differences(wheel) == []
    with ZipFile(wheel, "w") as file:
        file.writestr("attacks/lira.py", "")
    problems = wheel_content.differences(wheel)
    assert "not expected: attacks/lira.py" in problems
    assert "missing: forget_audit/attacks/lira.py" in problems


@pytest.mark.skipif(sys.platform == "win32", reason="Debian's tools are imitated by sh scripts")
@pytest.mark.parametrize("may_install", [False, True])
def test_set_up_prints_the_line_that_it_may_not_run(tmp_path: Path, *, may_install: bool) -> None:
    """With imitations of Debian's tools: the package is installed once apt-get has run."""
    fakes = {
        "id": "echo 1000",
        "dpkg-query": f"test -e {tmp_path}/there && echo -n installed",
        "sudo": 'shift; exec "$@"' if may_install else "exit 1",
        "apt-get": f'test "$1" = install && touch {tmp_path}/there; exit 0',
    }
    for name, body in fakes.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{body}\n", encoding="utf-8")
        (tmp_path / name).chmod(0o755)
    code = ". scripts/debian.sh; debian_install libpango-1.0-0 qpdf"
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    call = ["bash", "-euo", "pipefail", "-c", code]
    done = subprocess.run(
        call, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert (tmp_path / "there").exists() == may_install
    assert (done.returncode == 0) == may_install
    line = "apt-get install --no-install-recommends libpango-1.0-0 qpdf\n"
    assert (line in done.stderr) != may_install
