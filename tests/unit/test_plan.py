"""Plans: what is accepted, and that every problem is reported with its place."""

import dataclasses
import math
import sys
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from forget_audit.errors import PlanError
from forget_audit.methods.scrub import Scrub
from forget_audit.plans.plan import check_plan, read_plan, read_tables
from forget_audit.plans.sections import SECTIONS
from forget_audit.starter.writing import write_starter

GOOD: dict[str, Any] = {
    "request": {"reference": "REQ-1", "random": 100},
    "data": {"source": "digits", "label_noise": 0.15},
    "method": {"name": "finetune", "options": {"epochs": 1}},
}


RESULTS = Path(__file__).resolve().parents[2] / "benchmarks" / "results"


def problems(tables: dict[str, Any], folder: Path = Path()) -> dict[str, str]:
    with pytest.raises(PlanError) as caught:
        check_plan(tables, folder)
    return {problem.place: problem.message for problem in caught.value.problems}


def changed(**sections: Any) -> dict[str, Any]:
    return {**GOOD, **sections}


def asked(**days: date) -> dict[str, Any]:
    return changed(request={"reference": "R", "random": 5, **days})


def test_a_good_plan_resolves_every_default() -> None:
    plan = check_plan(GOOD, Path())
    resolved = plan.as_json()
    assert set(resolved) == set(SECTIONS) - {"predictions", "preset"}
    assert resolved["references"]["retrained"] == 39
    assert resolved["training"]["epochs"] == 150
    case = plan.case(plan.dataset())
    assert len(case.forget) == 100
    unlearner = plan.unlearner()
    assert unlearner is not None
    assert unlearner.info.name == "finetune"


def test_the_starter_plan_is_good(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_starter(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "my_model", raising=False)
    plan = read_plan(tmp_path / "plan.toml")
    assert plan.dataset().n_classes == 2


@pytest.mark.parametrize(
    ("tables", "place", "message"),
    [
        (changed(method={"name": "scrubb"}), "method.name", "did you mean 'scrub'"),
        (
            changed(method={"name": "finetune", "options": {"epoch": 1}}),
            "method.options",
            "unknown option 'epoch'; did you mean 'epochs'? Known: ",
        ),
        (
            changed(request={"reference": "R", "forget": "no.csv"}),
            "request.forget",
            "no file no.csv",
        ),
        (changed(model={"unlearned": "no.safetensors"}), "model.unlearned", "no file"),
        (
            changed(request={"reference": "R", "classes": [11], "scope": "class"}),
            "request",
            "class 11 does not exist",
        ),
        (changed(training={"epochs": "many"}), "training.epochs", "found 'many'"),
        (changed(training={"epochs": 1.5}), "training.epochs", "found 1.5"),
        (changed(training={"epochs": 0}), "training.epochs", "greater than 0"),
        (changed(training={"epoch": 3}), "training.epoch", "did you mean 'epochs'"),
        (changed(trainning={}), "trainning", "did you mean 'training'"),
        (changed(request={"reference": "R"}), "request", "exactly one of forget, random, classes"),
        (
            changed(request={"reference": "R", "random": 5, "classes": [1]}),
            "request",
            "found random and classes",
        ),
        (
            changed(request={"reference": "R", "classes": [1]}),
            "request.scope",
            "does not go with 'classes'",
        ),
        (changed(request={"random": 5}), "request.reference", "Field required"),
        (
            changed(request={"reference": "a.person@example.org", "random": 5}),
            "request.reference",
            "looks like personal data",
        ),
        (
            changed(request={"reference": "", "random": 5}),
            "request.reference",
            "at least 1 character",
        ),
        (
            changed(request={"reference": "R" * 201, "random": 5}),
            "request.reference",
            "at most 200 characters",
        ),
        (changed(data={"source": "didgits"}), "data.source", "did you mean 'digits'"),
        (changed(data={"source": "randhie", "label_noise": 0.1}), "data.source", "digits only"),
        (changed(battery={"profile": "lax"}), "battery.profile", "unknown profile 'lax'"),
        (changed(battery={"attacks": ["lirra"]}), "battery.attacks", "did you mean 'lira'"),
        (changed(model={"architecture": "mpl"}), "model.architecture", "did you mean 'mlp'"),
        (changed(model={"options": {"depth": 2}}), "model.options", "does not accept"),
        (changed(training={"function": "no.such:fit"}), "training.function", "cannot import"),
        (
            changed(training={"function": "os.path:split"}),
            "training.function",
            r"must take (x, y, seed), found (p)",
        ),
        (changed(report={"formats": ["doc"]}), "report.formats.0", "found 'doc'"),
        (changed(request={"reference": "R", "random": 5000}), "request", "cannot forget 5000"),
        (
            asked(received=date(2026, 3, 2), due=date(2026, 3, 1)),
            "request.due",
            "expected a day from received, 2026-03-02, on, found 2026-03-01",
        ),
        (
            asked(received=date(9999, 3, 2)),
            "request.received",
            "by this machine's clock, found 9999-03-02",
        ),
        (changed(training={"lr": math.inf}), "training.lr", "finite number"),
        (changed(training={"weight_decay": math.nan}), "training.weight_decay", "finite number"),
        *(
            (
                changed(references={key: 3 * 10**11}),
                f"references.{key}",
                "less than or equal to 100000",
            )
            for key in (
                "retrained",
                "originals",
                "identity",
                "shadows",
                "candidate_shadows",
                "copies",
            )
        ),
        (changed(request="now"), "request", "found 'now'"),
    ],
)
def test_each_problem_has_its_place(tables: dict[str, Any], place: str, message: str) -> None:
    assert message in problems(tables)[place]


@pytest.mark.parametrize(
    ("builder", "message"),
    [
        ("lambda shape, n: nn.Linear(9, n)", "fails on rows of shape (64,): RuntimeError: "),
        (
            "lambda shape, n: nn.Linear(shape[0], n + 1)",
            "expected logits of shape (2, 10) for 2 rows, found (2, 11)",
        ),
        ("lambda shape, n: nn.Sequential(nn.Flatten(0))", "found (128,)"),
    ],
    ids=["too wide", "a class too many", "flat"],
)
def test_a_network_that_does_not_fit_the_rows_is_found_before_any_training(
    builder: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "misfit.py").write_text(f"from torch import nn\n\nbuild = {builder}\n", "utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "misfit", raising=False)
    found = problems(changed(model={"architecture": "misfit:build"}))
    assert list(found) == ["model.architecture"]
    assert message in found["model.architecture"]


def test_what_is_wrong_with_a_network_is_told_once() -> None:
    with pytest.raises(PlanError) as caught:
        check_plan(changed(model={"options": {"depth": 2}}), Path())
    assert [problem.place for problem in caught.value.problems] == ["model.options"]


def test_all_problems_are_reported_at_once() -> None:
    found = problems(
        {
            "request": {"reference": "R", "forget": "nowhere.csv"},
            "data": {"source": "digits", "label_noise": "much"},
            "model": {"architecture": "mpl"},
            "method": {"name": "scrubb"},
            "references": {"retrained": "39"},
            "battery": {"profile": "lax"},
        }
    )
    assert set(found) == {
        "request.forget",
        "data.label_noise",
        "model.architecture",
        "method.name",
        "references.retrained",
        "battery.profile",
    }


def test_required_sections() -> None:
    assert "missing" in problems({"data": {"source": "digits"}})["request"]
    without_method = {key: value for key, value in GOOD.items() if key != "method"}
    assert "a [method] that makes it" in problems(without_method)["model.unlearned"]


def test_overlapping_ids_are_refused(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    split = np.array(["train"] * 30 + ["test"] * 30)
    np.savez(
        tmp_path / "rows.npz", x=rng.normal(size=(60, 3)), y=rng.integers(0, 2, 60), split=split
    )
    (tmp_path / "ids.csv").write_text("3\n40\n41\n", encoding="utf-8")
    tables = changed(
        request={"reference": "R", "forget": "ids.csv"}, data={"source": "npz:rows.npz"}
    )
    assert "2 ids to forget overlap" in problems(tables, tmp_path)["request"]
    (tmp_path / "ids.csv").write_text("3\n3\n", encoding="utf-8")
    assert "lists '3' twice" in problems(tables, tmp_path)["request.forget"]


def test_names_that_a_signed_statement_cannot_hold_are_refused(tmp_path: Path) -> None:
    (tmp_path / "our model.safetensors").write_bytes(b"")
    with pytest.raises(PlanError, match=r"rename 'our model\.safetensors'"):
        check_plan(changed(model={"unlearned": "our model.safetensors"}), tmp_path)


def test_a_stress_result_must_be_one(tmp_path: Path) -> None:
    tables = changed(report={"stress": "stress.json"})
    path = tmp_path / "stress.json"
    assert "No such file" in problems(tables, tmp_path)["report.stress"]
    wrong = (
        ("{", "is not JSON"),
        ("[" * 100_000, "is not JSON"),
        ("[]", "expected a result of `forget-audit stress`"),
        ('{"schema": "forget-audit/stress/1"}', "is a required property"),
    )
    for text, message in wrong:
        path.write_text(text, encoding="utf-8")
        assert message in problems(tables, tmp_path)["report.stress"]
    path.write_bytes((RESULTS / "stress.json").read_bytes())
    assert check_plan(tables, tmp_path).report.stress == "stress.json"


def test_a_hostile_model_file_is_a_problem_of_the_plan(tmp_path: Path) -> None:
    (tmp_path / "m.pt").write_bytes(b"\x80\x04N.")
    assert (
        "not a safe model file"
        in problems(changed(model={"original": "m.pt"}), tmp_path)["model.original"]
    )


def test_a_request_may_be_due_and_received_today() -> None:
    today = date.today()  # noqa: DTZ011
    assert check_plan(asked(received=today, due=today), Path()).request.due == today


def test_a_byte_order_mark_of_utf_8_is_no_part_of_a_plan(tmp_path: Path) -> None:
    path = tmp_path / "plan.toml"
    path.write_text('[request]\nreference = "R\u00e9"', encoding="utf-8-sig")
    assert read_tables(path) == {"request": {"reference": "R\u00e9"}}


@pytest.mark.parametrize(
    ("encoding", "message"),
    [
        ("utf-16", "is not TOML: it is text in UTF-16; save it as UTF-8"),
        ("utf-16-le", "is not TOML: it is text in UTF-16; save it as UTF-8"),
        ("utf-16-be", "is not TOML: it is text in UTF-16; save it as UTF-8"),
        ("latin-1", "is not TOML: line 2 is not text in UTF-8; save it as UTF-8"),
    ],
)
def test_plans_in_other_encodings(encoding: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "plan.toml"
    path.write_bytes('[request]\nreference = "R\u00e9"'.encode(encoding))
    with pytest.raises(PlanError) as caught:
        read_plan(path)
    assert str(caught.value) == f"plan.toml: {message}"


def test_a_number_that_is_not_finite_is_named(tmp_path: Path) -> None:
    path = tmp_path / "plan.toml"
    path.write_text("training = {lr = inf}", "utf-8")
    with pytest.raises(PlanError, match=r"^plan\.toml: inf is not a finite number; no setting"):
        read_plan(path)


@pytest.mark.parametrize("content", [b"[request", b"\xff\xfe", b"a = "])
def test_not_toml(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "plan.toml"
    path.write_bytes(content)
    with pytest.raises(PlanError, match="is not TOML"):
        read_plan(path)
    with pytest.raises(PlanError, match="cannot be read: No such file"):
        read_plan(tmp_path / "absent.toml")


def test_a_preset_gives_settings_and_options_come_on_top() -> None:
    wanted = {"name": "scrub", "preset": "mia", "options": {"epochs": 2}}
    method = check_plan(changed(method=wanted), Path()).unlearner()
    published = dataclasses.asdict(Scrub.preset("mia"))
    assert dataclasses.asdict(method) == {**published, "epochs": 2}  # type: ignore[call-overload]
    unknown = changed(method={"name": "scrub", "preset": "mai"})
    assert "did you mean 'mia'?" in problems(unknown)["method.preset"]


def test_a_label_is_asked_for_by_name() -> None:
    asked = {"reference": "R", "scope": "attribute", "attribute": "prime"}
    plan = check_plan(changed(request=asked, data={"source": "digit_attributes"}), Path())
    assert plan.case(plan.dataset()).attribute == 3
    wrong = {"reference": "R", "scope": "class", "attribute": "prime"}
    assert "does not go with" in problems(changed(request=wrong))["request.scope"]
