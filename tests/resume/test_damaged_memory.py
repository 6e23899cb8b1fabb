"""What is remembered on the disk is refused by name, or made again, if it was damaged."""

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from forget_audit.architectures import Architecture
from forget_audit.attacks.lira import Lira
from forget_audit.audits import holdings
from forget_audit.audits.reissue import Run
from forget_audit.audits.results import Results
from forget_audit.audits.unfinished import FOLDER, Unfinished
from forget_audit.errors import ForgetAuditError, ModelError, VerificationError
from forget_audit.findings import AttackResult
from forget_audit.model_files import safetensors_bytes
from forget_audit.proofs import prove
from forget_audit.reports.folders import SCORES
from forget_audit.stress_file import read_stress
from forget_audit.targets import weights_digest
from forget_audit.training.remembered_models import load_remembered, remembered_bytes
from forget_audit.training.remembered_ways import remembered
from forget_audit.types import Json

RESULTS = Path(__file__).resolve().parents[2] / "benchmarks" / "results"
HEAD = {"origin": "here", "size": 3, "root": "00" * 32}
RUN = {"secret": "ab" * 32, "day": "2026-11-21"}


def begun(state: Path, **entries: Any) -> Unfinished:
    (state / FOLDER).mkdir(exist_ok=True)
    (state / FOLDER / "key.json").write_text(json.dumps({**RUN, **entries}), encoding="utf-8")
    return Unfinished.begin(state, "key")


@pytest.mark.parametrize(
    "change",
    [{"size": "3"}, {"size": -1}, {"size": True}, {"root": "zz"}, {"root": 5}, {"more": 1}],
    ids=["text", "negative", "truth", "no root", "number", "more"],
)
def test_a_place_in_the_ledger_that_is_none(change: Json, tmp_path: Path) -> None:
    run = begun(tmp_path, ledger={**HEAD, **change})
    with pytest.raises(ForgetAuditError, match="use --fresh"):
        run.place(HEAD)


def test_what_else_stands_there_is_not_written_again(tmp_path: Path) -> None:
    """A number that is none could be read, and not be written."""
    run = begun(tmp_path, more=float("nan"))
    assert run.place(HEAD) == HEAD
    assert json.loads(run.path.read_bytes()) == {**RUN, "ledger": HEAD}
    assert run.place({**HEAD, "size": 4}) == HEAD


@pytest.mark.parametrize("text", ["[" * 100_000, "{}{}", '{"secret": 1, "day": null}'])
def test_the_beginning_of_a_run_that_is_none(text: str, tmp_path: Path) -> None:
    (tmp_path / FOLDER).mkdir()
    (tmp_path / FOLDER / "key.json").write_text(text, encoding="utf-8")
    with pytest.raises(ForgetAuditError, match="use --fresh"):
        Unfinished.begin(tmp_path, "key")


def test_ways_of_training_are_measured_again(tmp_path: Path) -> None:
    file = tmp_path / "ways.json"
    assert remembered(file) == {}
    file.write_text('{"a": {"how": ["loop"]}, "b": 5}', encoding="utf-8")
    assert remembered(file) == {}
    file.unlink()
    file.mkdir()
    assert remembered(file) == {}


@pytest.mark.parametrize("number", ["NaN", "1e999", "-Infinity"])
def test_numbers_of_a_stress_test_are_finite(number: str, tmp_path: Path) -> None:
    found: Json = json.loads((RESULTS / "stress.json").read_bytes())
    found["seconds"] = dict.fromkeys(found["seconds"], 123456789)
    text = json.dumps(found)
    path = tmp_path / "stress.json"
    path.write_text(text, encoding="utf-8")
    read_stress(path)
    path.write_text(text.replace("123456789", number), encoding="utf-8")
    with pytest.raises(VerificationError, match="is not a finite number"):
        read_stress(path)


def test_a_model_with_another_bit_is_not_the_one_that_was_trained(tmp_path: Path) -> None:
    model = Architecture(name="linear", shape=(5,), n_classes=3).build()
    path = tmp_path / "kept.safetensors"
    data = remembered_bytes(model, "kept")
    path.write_bytes(data)
    assert weights_digest(load_remembered(copy.deepcopy(model), path)) == weights_digest(model)
    for place in (20, len(data) // 2, len(data) - 3):
        path.write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
        with pytest.raises(ModelError, match=r"kept\.safetensors"):
            load_remembered(copy.deepcopy(model), path)
    path.write_bytes(safetensors_bytes(model))
    with pytest.raises(ModelError, match="not hold weights that this account has written"):
        load_remembered(copy.deepcopy(model), path)


def test_a_result_with_another_digit_is_computed_again(tmp_path: Path) -> None:
    found = AttackResult(
        name="lira", outcome="informative", reason="", metrics=(), series={}, duration_s=0.125
    )
    memory = Results(folder=tmp_path, context="same")
    memory.keep(Lira, found)
    assert memory.recall(Lira) == found
    file = next(tmp_path.iterdir())
    file.write_bytes(file.read_bytes().replace(b"0.125", b"0.126"))
    assert memory.recall(Lira) is None


@pytest.mark.parametrize(
    "document",
    [
        {"secret": "\ud800", "models": []},
        {"secret": "a\0b", "models": []},
        {"secret": "/a", "models": "/b"},
        {"secret": "/a", "models": [""]},
        {"secret": 5, "models": []},
    ],
    ids=["half", "zero byte", "text", "empty", "number"],
)
def test_paths_that_are_none(
    document: Json, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORGET_AUDIT_HOME", str(tmp_path))
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "FA-1.json").write_text(json.dumps(document), encoding="utf-8")
    with pytest.raises(ForgetAuditError, match=r"FA-1\.json: cannot be read; use --state"):
        holdings.find("FA-1")


@pytest.mark.parametrize(
    "arrays",
    [
        {},
        {"id_f": np.zeros(3)},
        {"id_f": np.array("a")},
        {"id_f": np.array([0xD800], dtype=np.uint32).view("<U1")},
    ],
    ids=["none", "numbers", "one", "half"],
)
def test_scores_without_pseudonyms_prove_nothing(
    arrays: dict[str, np.ndarray], tmp_path: Path
) -> None:
    np.savez(tmp_path / SCORES, y_f=np.zeros(3), **arrays)  # type: ignore[arg-type]
    run = Run(folder=tmp_path, evidence={}, files={SCORES: tmp_path / SCORES})
    with pytest.raises(VerificationError, match="hold no pseudonyms of the forget rows"):
        prove(run, "row", bytes(32))
