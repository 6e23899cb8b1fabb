"""What a remembered model depends on: the code of a function, and all that it imports beside it."""

import importlib
import sys
import types
from pathlib import Path

import pytest

from forget_audit.architectures import Architecture
from forget_audit.named_objects import code_digest, imported_from
from forget_audit.training.loop import Recipe
from forget_audit.training.own_functions import FunctionTrainer
from forget_audit.training.references import fingerprint
from forget_audit.training.trainers import RecipeTrainer

MINE = """\
import numpy
from helpers import width

def build(shape, n_classes):
    from torch import nn
    return nn.Linear(shape[0], n_classes)

def fit(x, y, seed):
    from parts.late import rate
    from loose import piece
    return build((4,), 2)
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "__init__.py").write_text("")
    (tmp_path / "parts" / "late.py").write_text("from . import deep\nrate = 1\n")
    (tmp_path / "parts" / "deep.py").write_text("")
    (tmp_path / "helpers.py").write_text("width = 8\n")
    (tmp_path / "loose").mkdir()
    (tmp_path / "loose" / "piece.py").write_text("size = 1\n")
    (tmp_path / "unrelated.py").write_text("")
    (tmp_path / "mine.py").write_text(MINE)
    monkeypatch.syspath_prepend(str(tmp_path))
    for name in ("mine", "helpers", "parts", "parts.late", "parts.deep"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    importlib.import_module("mine")
    return tmp_path


@pytest.mark.parametrize(
    "file", ["mine.py", "helpers.py", "parts/late.py", "parts/deep.py", "loose/piece.py"]
)
def test_a_change_of_code_that_a_function_needs_is_noticed(place: Path, file: str) -> None:
    before = code_digest("mine"), fingerprint(FunctionTrainer(function="mine:fit"))
    assert (code_digest("mine"), fingerprint(FunctionTrainer(function="mine:fit"))) == before
    with (place / file).open("a") as end:
        end.write("# changed\n")
    assert code_digest("mine") != before[0]
    assert fingerprint(FunctionTrainer(function="mine:fit")) != before[1]


def test_a_network_of_ones_own_depends_on_the_same(place: Path) -> None:
    architecture = Architecture(name="mine:build", shape=(4,), n_classes=2)
    trainer = RecipeTrainer(architecture=architecture, recipe=Recipe())
    before = fingerprint(trainer)
    (place / "helpers.py").write_text("width = 9\n")
    assert None is not before != fingerprint(trainer)


def test_other_files_beside_it_do_not_count(place: Path) -> None:
    before = code_digest("mine")
    (place / "unrelated.py").write_text("changed = True\n")
    assert code_digest("mine") == before


def test_nothing_is_run_to_find_out(place: Path) -> None:
    code_digest("mine")
    assert "parts.late" not in sys.modules


def test_code_that_cannot_be_read_gives_nothing(place: Path) -> None:
    (place / "helpers.py").write_text("def broken(:\n")
    assert code_digest("mine") is None
    assert fingerprint(FunctionTrainer(function="mine:fit")) is None


def test_built_in_modules_stand_in_no_file() -> None:
    assert code_digest("builtins") is None
    assert code_digest("no.such.module") is None


def test_an_installed_package_counts_as_a_whole() -> None:
    import jinja2.loaders
    import typing_extensions

    assert code_digest("jinja2") == code_digest("jinja2.loaders") is not None
    assert code_digest(jinja2.loaders.__name__) != code_digest(typing_extensions.__name__)
    assert code_digest(typing_extensions.__name__) is not None


def test_modules_that_name_no_file_are_not_looked_for_in_this_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = types.ModuleType("made_by_code")
    made.__file__ = "_made.py"  # as torch.ops does
    monkeypatch.setitem(sys.modules, "made_by_code", made)
    monkeypatch.chdir(tmp_path)
    assert imported_from(tmp_path) == []
    (tmp_path / "_made.py").write_text("import os\n")
    assert imported_from(tmp_path) == []
    assert code_digest("made_by_code") is None
