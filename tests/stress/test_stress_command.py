"""`stress` as a person runs it: exit codes, files, JSON, and what is wrong with a plan."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from forget_audit import registry
from forget_audit.commands import stress as cli_stress
from forget_audit.errors import PlanError
from forget_audit.stress.strategies import STRATEGIES
from tests.stress.test_running import Broken

Run = Callable[..., tuple[int, str, str]]
PLAN = """
[request]
reference = "REQ-1"
random = 15

[data]
source = "digits"
label_noise = 0.15
train = 150
test = 80
auxiliary = 20

[model]
options = { hidden = [8] }

[training]
epochs = 5

[method]
name = "scrub"
options = { epochs = 2 }
"""
TINY = ("--seeds", 1, "--references", 3, "--parts", 0, "--workers", 1)


@pytest.fixture
def plan(tmp_path: Path) -> Path:
    path = tmp_path / "plan.toml"
    path.write_text(PLAN, encoding="utf-8")
    return path


def run(*arguments: object) -> tuple[int, str, str]:
    app = typer.Typer()
    app.command()(cli_stress.stress)
    done = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.exit_code, done.stdout, done.stderr


def test_the_plans_own_method_is_stressed_with_its_settings(plan: Path) -> None:
    code, out, err = run(plan, *TINY, "--strategies", "near_duplicates")
    assert (code, err) == (0, "")
    found = json.loads((plan.parent / "plan-stress" / "stress.json").read_text("utf-8"))
    methods = {item["name"]: item for item in found["methods"] if not item["control"]}
    assert list(methods) == ["scrub"]
    assert methods["scrub"]["settings"]["epochs"] == 2
    assert [item["name"] for item in found["sets"]] == ["random", "near_duplicates"]
    assert found["sets"][0]["size"] == {"low": 15, "high": 15}
    assert out.splitlines()[1].split() == ["set", "scrub"]
    assert len(out.splitlines()) == 9


def test_json_alone_and_a_broken_method_is_exit_code_4(
    plan: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry.methods()
    monkeypatch.setitem(registry._methods, "broken", Broken)
    out_folder = plan.parent / "out"
    names = ("--method", "scrub", "--method", "broken")
    code, out, err = run(
        plan, *TINY, *names, "--strategies", "random", "--out", out_folder, "--size", 12, "--json"
    )
    assert code == 4
    assert err == "random: broken: RuntimeError; the log says more\n"
    assert json.loads(out) == json.loads((out_folder / "stress.json").read_text("utf-8"))
    assert json.loads(out)["sets"][0]["size"] == {"low": 12, "high": 12}
    assert str(plan.parent) not in out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--method", "scrubb"), "did you mean 'scrub'"),
        (("--method", "scrub", "--method", "sdd"), "did you mean 'ssd'"),
        (("--strategies", "worstcase"), "did you mean 'worst_case'"),
    ],
)
def test_unknown_names_are_problems_with_their_place(
    plan: Path, arguments: tuple[str, ...], words: str
) -> None:
    with pytest.raises(PlanError, match=words):
        run(plan, *TINY, *arguments)


@pytest.mark.parametrize("arguments", [("--size", 9), ("--references", 2), ("--seeds", 0)])
def test_numbers_that_are_too_small_are_wrong_usage(
    plan: Path, arguments: tuple[object, ...]
) -> None:
    code, out, err = run(plan, *arguments)
    assert (code, out) == (2, "")
    assert str(arguments[0]) in err


def test_a_plan_without_a_method_asks_for_one(plan: Path) -> None:
    plan.write_text(PLAN.split("[method]")[0], encoding="utf-8")
    with pytest.raises(PlanError, match="name a method"):
        run(plan, *TINY)


def test_the_help_names_every_strategy(plan: Path) -> None:
    _, out, _ = run("--help")
    words = " ".join(out.replace("│", " ").split())
    assert not [name for name in STRATEGIES if name not in words]
