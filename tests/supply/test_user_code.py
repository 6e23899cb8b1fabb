"""Code that a plan names, or that lies where Python may look, is run by auditing commands alone."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.supply.hostile import (
    GOOD,
    LIBRARY,
    PACKAGES,
    PLAN,
    Told,
    environment,
    evil,
    plant,
    watched,
)

TRUST = ("--trust", "handed/trust.json")
HARMLESS = {"start ['/sbin/ldconfig', '-p']"}  # ctypes, asked by packages for their libraries
# The reviewer's key is not in the trust file: of the ledger and its proof that is 3.
CHECKING = {
    "verify": (["verify", "audit", *TRUST], 0),
    "verify json": (["verify", "audit", *TRUST, "--json"], 0),
    "verify file": (["verify", "audit/audit.dsse.json", *TRUST], 0),
    "gate": (["gate", "audit/unlearned.safetensors", "--attestation", "audit", *TRUST], 1),
    "bundle": (["bundle", "audit/audit.dsse.json", "--out", "audit.sigstore.json"], 0),
    "report": (["report", "audit", "--format", "html", "--out", "again"], 0),
    "review": (
        ["review", "audit", "--key", "reviewer", "--decision", "approved"], 0,
    ),
    "proof": (["proof", "make", "audit", "7", "--out", "proof.json"], 0),
    "proof check": (["proof", "check", "proof.json", "7", "--run", "audit"], 0),
    "ledger list": (["ledger", "list"], 0),
    "ledger verify": (["ledger", "verify", *TRUST], 3),
    "ledger checkpoint": (["ledger", "checkpoint"], 0),
    "ledger export": (["ledger", "export", "--out", "ledger.jsonl"], 0),
    "ledger prove": (["ledger", "prove", "REPORT", "--out", "ledger-proof.json"], 0),
    "ledger check-proof": (["ledger", "check-proof", "ledger-proof.json", *TRUST], 3),
    "keys list": (["keys", "list"], 0),
    "keys show": (["keys", "show"], 0),
    "trust list": (["trust", "list"], 0),
    "purge": (["purge", "audit", "--yes"], 0),
}  # fmt: skip
# These load packages that are installed, as documented, and still nothing that lies here.
TELLING = {
    "show": (["show", "scrub"], 0),
    "doctor": (["doctor", "--json"], None),
}


def told(place: Path, commands: dict[str, list[str]], paths: Sequence[Path] = ()) -> Told:
    return watched(
        commands, cwd=place, home=place / "home", places=[place], paths=paths,
        names=["my_model", "broken"],
    )  # fmt: skip


@pytest.fixture(scope="module")
def released(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a plan that names functions, its audit, and keys; never change it."""
    place = tmp_path_factory.mktemp("released").resolve()
    (place / "plan.toml").write_text(PLAN, encoding="utf-8")
    (place / "ids.txt").write_text("\n".join(map(str, range(20))), encoding="utf-8")
    (place / "my_model.py").write_text(GOOD, encoding="utf-8")
    made = told(
        place,
        {
            "dry run": ["certify", "plan.toml", "--dry-run"],
            "certify": ["certify", "plan.toml", "--out", "audit"],
            "export": ["keys", "export", "--out", "handed"],
            "reviewer": ["keys", "new", "--name", "R", "--unattended", "--out", "reviewer"],
        },
    )
    assert made.codes == {"dry run": 0, "certify": 3, "export": 0, "reviewer": 0}
    assert any(line == f"run {place}/my_model.py" for line in made.seen)  # the watch sees it
    assert "import my_model" in made.seen
    return place


@pytest.fixture
def place(released: Path, tmp_path: Path) -> Path:
    """A copy of it in which all code is hostile."""
    place = tmp_path.resolve() / "place"
    shutil.copytree(released, place)
    shutil.rmtree(place / "__pycache__", ignore_errors=True)
    plant(place, ["my_model"], tmp_path / "ran")
    return place


def install_hostile_plugin(site: Path, marker: Path) -> None:
    """Install a package of third parties whose entry points run code as they are loaded."""
    site.mkdir()
    (site / "broken.py").write_text(evil(marker), encoding="utf-8")
    folder = site / "broken-1.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 1\n")
    rooms = ("attacks", "experiments", "methods")
    points = [f"[forget_audit.{room}]\nmine = broken:Mine\n" for room in rooms]
    (folder / "entry_points.txt").write_text("".join(points), encoding="utf-8")


def test_a_dry_run_loads_rows_and_builds_the_network_and_trains_nothing(released: Path) -> None:
    calls = set((released / "calls.txt").read_text(encoding="utf-8").splitlines())
    assert calls == {"dry load", "dry net", "real load", "real net", "real fit"}


def test_checking_commands_run_nothing_that_a_plan_names_or_that_lies_beside_it(
    place: Path, tmp_path: Path
) -> None:
    site = tmp_path / "site"
    install_hostile_plugin(site, tmp_path / "ran")
    report = json.loads((place / "audit" / "evidence.json").read_bytes())["report"]["id"]
    commands = {
        name: [report if word == "REPORT" else word for word in words]
        for name, (words, _) in CHECKING.items()
    }
    found = told(place, commands, [site, place])
    assert not (tmp_path / "ran").exists()
    assert found.codes == {name: code for name, (_, code) in CHECKING.items()}
    assert set(found.seen) <= HARMLESS
    assert {name: rooms for name, rooms in found.loads.items() if rooms} == {}


def test_what_there_is_is_told_without_code_of_the_current_folder(
    place: Path, tmp_path: Path
) -> None:
    plant(place, PACKAGES, tmp_path / "ran")
    found = told(place, {name: words for name, (words, _) in TELLING.items()})
    assert not (tmp_path / "ran").exists()
    assert set(found.seen) <= HARMLESS
    assert found.codes["show"] == 0
    assert sorted(found.loads["doctor"]) == ["attacks", "experiments", "methods"]


def test_the_hostile_package_would_run_if_its_entry_points_were_loaded(tmp_path: Path) -> None:
    """The other side: where attacks are asked for, it does."""
    install_hostile_plugin(tmp_path / "site", tmp_path / "ran")
    code = (
        "from importlib.metadata import entry_points; "
        "[entry.load() for entry in entry_points(group='forget_audit.attacks')]"
    )
    found = environment(tmp_path / "home", tmp_path / "site")
    call = [sys.executable, "-P", "-c", code]
    done = subprocess.run(call, cwd=tmp_path, env=found, capture_output=True, check=False)
    assert done.returncode == 66
    assert (tmp_path / "ran").read_text(encoding="utf-8") == "broken\n"


@pytest.mark.parametrize(
    ("way", "where"), [("script", "plan"), ("module", "plan"), ("module", "release")]
)
def test_modules_called_as_others_are_not_taken_from_the_current_folder(
    place: Path, tmp_path: Path, where: str, way: str
) -> None:
    cwd = place if where == "plan" else place / "audit"
    names = [*LIBRARY, *PACKAGES, "my_model", "sitecustomize", "usercustomize"]
    plant(cwd, names, tmp_path / "ran")
    script = ["-P", "-c", "from forget_audit.program import main; main()"]
    call = [
        *(script if way == "script" else ["-m", "forget_audit"]),
        "verify",
        str(place / "audit"),
    ]
    trust = ["--trust", str(place / "handed" / "trust.json")]
    done = subprocess.run(
        [sys.executable, *call, *trust], cwd=cwd, env=environment(place / "home"),
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert not (tmp_path / "ran").exists(), (tmp_path / "ran").read_text(encoding="utf-8")
    assert done.returncode == (1 if where == "release" else 0), done.stdout + done.stderr
    assert ("released file json.py: is not part of the release" in done.stdout) == (
        where == "release"
    )


def test_the_module_keeps_the_folder_that_it_lies_in_itself(tmp_path: Path) -> None:
    """Without an installation, `python -m forget_audit` works in the repository alone."""
    root = Path(__file__).resolve().parents[2]
    call = [sys.executable, "-S", "-c", "import runpy, sys; sys.path[0] = sys.argv[1]; "
            "sys.argv = ['x']; from forget_audit.__main__ import leave_current_folder as f; f(); "
            "print(sys.path[0])", str(root)]  # fmt: skip
    done = subprocess.run(call, cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(root)
    found = {**os.environ, "PYTHONPATH": str(root)}
    call[-1] = str(tmp_path)
    done = subprocess.run(call, cwd=tmp_path, env=found, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(root)


def test_the_documentation_says_which_commands_run_code() -> None:
    page = Path(__file__).resolve().parents[2] / "docs" / "supply-chain.md"
    text = page.read_text(encoding="utf-8")
    never = re.search(r"Never: (.*?)\.\n", text, re.DOTALL)
    assert never is not None
    named = {name.split()[0] for name in CHECKING}
    assert set(re.findall(r"`([a-z]+)`", never[1])) == named
