"""Attacks and methods by name, and their classes by import."""

import importlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from forget_audit import cli, registry
from forget_audit.errors import PluginError, UnknownName
from tests.fixtures.released import folder, trust

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("room", ["attacks", "methods"])
def test_classes_can_be_imported_from_their_room(room: str) -> None:
    module = importlib.import_module(f"forget_audit.{room}")
    for name, cls in getattr(registry, room)().items():
        assert getattr(module, cls.__name__) is cls
        assert cls.info.name == name == cls.__module__.rpartition(".")[2]
    for missing in ("Nothing", "nothing", "_nothing"):
        with pytest.raises(AttributeError, match=f"has no attribute '{missing}'"):
            getattr(module, missing)


def test_unknown_names_get_the_nearest() -> None:
    with pytest.raises(UnknownName, match="unknown method 'scrb'; did you mean 'scrub'"):
        registry.get_method("scrb")
    with pytest.raises(UnknownName, match=r"unknown attack 'zzz'\. Known: "):
        registry.get_attack("zzz")


def test_two_items_of_one_name_are_refused() -> None:
    with pytest.raises(ValueError, match="two attacks are called 'lira'"):
        registry.attack(registry.get_attack("lira"))
    with pytest.raises(ValueError, match="two methods are called 'ssd'"):
        registry.method(registry.get_method("ssd"))


def install(place: Path, room: str, lines: str, **modules: str) -> None:
    """Put a package of third parties into a folder, as pip would."""
    about = place / "foreign-1.2.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: foreign\nVersion: 1.2\n")
    (about / "entry_points.txt").write_text(f"[forget_audit.{room}]\n{lines}\n")
    for name, text in modules.items():
        (place / f"{name}.py").write_text(text)


def command(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[object, str, str]:
    """Run the program in this process."""
    sys.argv = ["forget-audit", *words]
    with pytest.raises(SystemExit) as stop:
        cli.main()
    out, err = capsys.readouterr()
    return stop.value.code, out, " ".join(err.split())


@pytest.fixture
def fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder on the path of modules, and a registry that has not looked at entry points yet."""
    for room in ("attacks", "experiments", "methods"):
        monkeypatch.setattr(registry, f"_{room}", dict(getattr(registry, room)()))
    monkeypatch.setattr(registry, "_loaded", set())
    monkeypatch.setattr(sys, "argv", [])
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


GOOD = """
from dataclasses import dataclass, replace
from forget_audit.methods.finetune import Finetune
from forget_audit.registry import method

@method
@dataclass(frozen=True, kw_only=True)
class Mine(Finetune):
    info = replace(Finetune.info, name="mine", title="A method of mine")
"""
PLAIN = "class Mine:\n    pass\n"
DOUBLE = GOOD.replace('"mine"', '"scrub"')
NO_CARD = """
from forget_audit.registry import method

@method
class Mine:
    def unlearn(self, model, case, rng):
        return None
"""


def test_a_package_of_third_parties_is_listed(
    fresh: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    install(fresh, "methods", "mine = good:Mine", good=GOOD)
    code, out, err = command(capsys, "list", "methods")
    assert not code
    assert "A method of mine" in out
    assert not err


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (
            "import not_there\n",
            r"cannot be loaded \(ModuleNotFoundError: No module named 'not_there",
        ),
        ("1 / 0\n", r"cannot be loaded \(ZeroDivisionError"),
        (PLAIN, "is not registered; put the decorator @method"),
        (DOUBLE, r"cannot be loaded \(ValueError: two methods are called 'scrub'"),
        (NO_CARD, r"cannot be loaded \(AttributeError: .*info"),
    ],
    ids=["import", "error", "undecorated", "double", "no-card"],
)
def test_a_broken_package_of_third_parties_is_named(fresh: Path, text: str, why: str) -> None:
    name = f"broken_{len(text)}"
    install(fresh, "methods", f"mine = {name}:Mine", **{name: text})
    with pytest.raises(PluginError, match=rf"mine = {name}:Mine of group .*methods {why}.*foreign"):
        registry.methods()


def test_a_broken_package_ends_the_commands_that_need_it_without_a_traceback(
    fresh: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    install(fresh, "attacks", "mine = broken:Mine", broken="import not_there\n")
    code, _, err = command(capsys, "list", "attacks")
    assert code == 4
    assert "entry point mine = broken:Mine of group forget_audit.attacks cannot be loaded" in err
    assert "uninstall foreign" in err
    assert "Traceback" not in err


def test_checking_and_gating_load_no_packages_of_third_parties(tmp_path: Path) -> None:
    install(tmp_path, "attacks", "mine = broken:Mine", broken="raise SystemExit('loaded')\n")
    trust().save(tmp_path / "trust.json")
    report = folder(pdf=False)
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{tmp_path}", "OMP_NUM_THREADS": "1"}
    code = (
        "import contextlib, sys\n"
        "from forget_audit import cli, registry\n"
        f"report, trust = {str(report)!r}, {str(tmp_path / 'trust.json')!r}\n"
        "for words in (['verify', report, '--trust', trust],\n"
        "              ['gate', report + '/x', '--attestation', report, '--trust', trust]):\n"
        "    sys.argv = ['forget-audit', *words]\n"
        "    with contextlib.suppress(SystemExit):\n"
        "        cli.main()\n"
        "print('loaded:', sorted(registry._loaded))"
    )
    call = [sys.executable, "-c", code]
    done = subprocess.run(call, env=environment, capture_output=True, text=True, check=False)
    assert "released file evidence.json" in done.stdout, done.stderr
    assert done.stdout.endswith("loaded: []\n"), done.stdout + done.stderr
