"""`reproduce` as a person runs it: tables, JSON, exit codes, and what is missing."""

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from forget_audit.commands import presets as cli_presets
from forget_audit.errors import PlanError
from forget_audit.methods.lpu_flip import LpuFlip

PRESET = "lpu-mnist-mlp"


def call(*arguments: object) -> Result:
    app = typer.Typer()
    app.command()(cli_presets.reproduce)
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.mark.usefixtures("quick")
def test_tables_are_printed_and_written(data: Path, tmp_path: Path) -> None:
    done = call(PRESET, "--data", data, "--smoke", "--methods", "lpu_flip", "--out", tmp_path)
    assert done.exit_code == 0, done.output
    assert "Smoke size" in done.output
    assert "Published" in done.output
    names = [f"{PRESET}{suffix}" for suffix in (".csv", ".json", ".md")]
    assert sorted(path.name for path in tmp_path.iterdir()) == names


@pytest.mark.usefixtures("quick")
def test_json_is_alone_on_standard_output(data: Path, tmp_path: Path) -> None:
    done = call(
        PRESET, "lpu-mnist-lenet", "--data", data, "--smoke", "--methods", "lpu_flip",
        "--out", tmp_path, "--json",
    )  # fmt: skip
    assert set(json.loads(done.stdout)) == {PRESET, "lpu-mnist-lenet"}


@pytest.mark.usefixtures("quick")
def test_a_broken_method_is_exit_code_4(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("broke half-way")

    monkeypatch.setattr(LpuFlip, "unlearn", broken)
    done = call(PRESET, "--data", data, "--smoke", "--methods", "lpu_flip", "--out", tmp_path)
    assert done.exit_code == 4
    assert "broke half-way" in done.output


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("lpu-mnist-mpl",), "did you mean 'lpu-mnist-mlp'"),
        ((PRESET, "--methods", "lpu_flop"), "did you mean 'lpu_flip'"),
    ],
)
@pytest.mark.usefixtures("quick")
def test_wrong_names_are_exit_code_2(
    data: Path, tmp_path: Path, arguments: tuple[str, ...], words: str
) -> None:
    done = call(*arguments, "--data", data, "--smoke", "--out", tmp_path / "out")
    assert done.exit_code == 2
    assert words in done.output
    assert not (tmp_path / "out").exists()


def test_everything_that_is_missing_is_said_at_once(tmp_path: Path) -> None:
    done = call(PRESET, "suli-utkface-allcnn-class", "--data", tmp_path, "--out", tmp_path / "out")
    assert isinstance(done.exception, PlanError)
    said = str(done.exception)
    assert "train-images-idx3-ubyte" in said
    assert "age_gender_race_date.jpg" in said
    assert not (tmp_path / "out").exists()
