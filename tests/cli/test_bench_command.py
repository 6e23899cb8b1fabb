"""`bench` as a person runs it: exit codes, files, JSON."""

import dataclasses
import json
from functools import partial
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from torch import nn

from forget_audit import registry
from forget_audit.bench import requests as bench_requests
from forget_audit.contracts import MethodInfo, Unlearned
from forget_audit.methods.finetune import Finetune
from forget_audit.training.loop import Recipe
from forget_audit.types import Case
from tests.fixtures.commands import Run

SMALL = ("--request", "instance", "--seeds", 1, "--references", 3, "--workers", 1)


class Broken(Finetune):
    info: ClassVar[MethodInfo] = dataclasses.replace(Finetune.info, name="broken")

    def unlearn(self, model: nn.Module, case: Case, rng: np.random.Generator) -> Unlearned:
        raise RuntimeError("broke half-way")


@pytest.fixture
def run(run: Run, monkeypatch: pytest.MonkeyPatch) -> Run:
    registry.methods()
    monkeypatch.setitem(registry._methods, "broken", Broken)
    asked = dataclasses.replace(
        bench_requests.REQUESTS["instance"],
        sizes=(200, 150, 50),
        hidden=(16,),
        recipe=Recipe(epochs=3),
    )
    monkeypatch.setitem(bench_requests.REQUESTS, "instance", asked)

    return partial(run, "bench")


def test_bench_writes_its_files_and_says_where(run: Run, tmp_path: Path) -> None:
    code, out, err = run(*SMALL, "--methods", "finetune", "--out", tmp_path)
    assert (code, err) == (0, "")
    assert out.splitlines()[0] == "instance: 4 measured, 0 not applicable, 0 error"
    names = [f"bench-instance{end}" for end in (".csv", ".html", ".json", ".md", ".svg")]
    assert sorted(path.name for path in tmp_path.iterdir()) == names
    assert str(tmp_path) not in (tmp_path / "bench-instance.json").read_text("utf-8")


def test_a_broken_method_has_a_row_and_exit_code_4(run: Run, tmp_path: Path) -> None:
    methods = ("--methods", "broken, finetune")
    code, out, err = run(*SMALL, *methods, "--out", tmp_path, "--json")
    assert code == 4
    assert err == "instance: broken: RuntimeError: broke half-way\n"
    rows = {row["name"]: row for row in json.loads(out)["instance"]["rows"]}
    assert rows["broken"]["status"] == "error"
    assert rows["finetune"]["status"] == "measured"
    assert json.loads((tmp_path / "bench-instance.json").read_text("utf-8"))["rows"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--methods", "finetun"), "did you mean 'finetune'?"),
        (("--request", "everything"), "everything"),
        (("--references", 1), "references"),
    ],
)
def test_wrong_usage_is_exit_code_2(
    run: Run, tmp_path: Path, arguments: tuple[object, ...], words: str
) -> None:
    code, out, err = run(*arguments, "--out", tmp_path / "out")
    assert (code, out) == (2, "")
    assert words in err
    assert not (tmp_path / "out").exists()
