"""Plans that hand in predictions: what is accepted, and every command on what comes of it."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from forget_audit.audits import predicted
from forget_audit.errors import CaseError, PlanError
from forget_audit.model_identity import model_digest
from forget_audit.plans.plan import check_plan
from tests.fixtures.commands import Run
from tests.predictions.recorded import (
    lines,
    plan_of,
    probabilities,
    tiny,
    write_csv,
    write_npz,
)

PLAN = """\
[request]
reference = "REQ-7"
[predictions]
file = "answers/{file}"
model = "model.bin"
[battery]
attacks = ["loss_threshold", "label_only"]
[report]
controller = "Test Ltd"
formats = ["html"]
"""


@pytest.fixture(autouse=True)
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("FORGET_AUDIT_HOME", str(tmp_path / "home"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a plan, a model of another framework, and what 19 others and it answered."""
    work = tmp_path / "work"
    (work / "answers").mkdir(parents=True)
    write_npz(work / "answers" / "good.npz", probabilities())
    (work / "model.bin").write_bytes(b"a model of another framework")
    (work / "plan.toml").write_text(PLAN.format(file="good.npz"), encoding="utf-8")
    return work


# From certify to purge


def test_every_command_works_on_an_audit_of_predictions(run: Run, folder: Path) -> None:
    plan, out = folder / "plan.toml", folder / "audit"
    code, said, err = run("certify", plan, "--out", out, "--json")
    assert (code, err) == (0, "")
    assert json.loads(said)["verdict"]["outcome"] == "PASS"
    evidence = json.loads((out / "evidence.json").read_bytes())
    assert str(folder) not in json.dumps(evidence)
    assert "answers/" not in json.dumps(evidence)
    assert {a["name"] for a in evidence["attacks"] if a["outcome"] == "informative"} == {
        "loss_threshold"
    }

    assert run("keys", "export", "--out", folder / "public")[0] == 0
    trust = folder / "public" / "trust.json"
    assert run("verify", out, "--trust", trust)[0] == 0
    gate = ("--attestation", out, "--trust", trust)
    assert run("gate", folder / "model.bin", *gate)[0] == 0
    assert run("gate", folder / "answers" / "good.npz", *gate)[0] == 1
    (folder / "model.bin").write_bytes(b"another model")
    assert run("gate", folder / "model.bin", *gate)[0] == 1

    assert run("report", out, "--format", "html")[0] == 0
    assert run("verify", out, "--trust", trust)[0] == 0
    identifier = evidence["report"]["id"]
    some_row = str(probabilities()["id_f"][0])
    assert some_row not in (out / "report.html").read_text("utf-8")
    assert run("proof", "make", out, some_row, "--out", folder / "proof.json")[0] == 0
    assert run("proof", "check", folder / "proof.json", some_row, "--run", out)[0] == 0
    assert run("purge", out, "--yes")[0] == 0
    assert run("verify", out, "--trust", trust)[0] == 0
    assert not (out / "scores.npz").exists()
    assert identifier in run("ledger", "list")[1]

    # Other answers to the same request are another attempt at it, whatever rows they are about.
    arrays = {name: v[:, 1:] if v.ndim == 3 else v[1:] for name, v in probabilities().items()}
    for part in "ftra":
        arrays[f"prob_A_{part}"] = 0.999 * arrays[f"prob_O_{part}"][:1] + 0.0001
    write_csv(folder / "answers" / "bad.csv.gz", lines(arrays))
    plan.write_text(PLAN.format(file="bad.csv.gz"), encoding="utf-8")
    code, said, err = run("certify", plan, "--out", folder / "again", "--json")
    assert (code, err) == (3, "")
    assert json.loads(said)["verdict"]["reasons"] == ["YARDSTICK"]  # half the level needs more
    evidence = json.loads((folder / "again" / "evidence.json").read_bytes())
    assert evidence["battery"]["attempt"] == 2
    assert evidence["battery"]["settings"]["alpha"] == 0.025


def test_a_dry_run_computes_nothing(run: Run, folder: Path) -> None:
    code, said, err = run("certify", folder / "plan.toml", "--dry-run")
    assert (code, err) == (0, "")
    assert "stages: read predictions, attack, weigh, report and sign" in said
    assert "models handed in: 1 audited, 19 retrained, 4 originals, 2 identity" in said
    found = json.loads(run("certify", folder / "plan.toml", "--dry-run", "--json")[1])
    assert found["trainings"] == {}
    assert found["rows"] == {"retain": 240, "forget": 60, "test": 150, "auxiliary": 100}
    assert found["notes"] == []
    assert not (folder / "plan-audit").exists()


def test_power_is_told_without_training(run: Run, folder: Path) -> None:
    code, said, _ = run("power", folder / "plan.toml")
    assert code == 0
    assert "19 references, 1 audited" in said


def test_nothing_is_unlearned_without_a_model(run: Run, folder: Path) -> None:
    code, _, err = run("unlearn", folder / "plan.toml", "--method", "scrub")
    assert code == 2
    assert "method: does not go with [predictions]" in err


def test_a_broken_file_is_a_problem_of_the_plan(run: Run, folder: Path) -> None:
    arrays = probabilities()
    write_npz(folder / "answers" / "good.npz", {**arrays, "prob_A_f": arrays["prob_A_f"] / 2})
    code, _, err = run("certify", folder / "plan.toml")
    assert code == 2
    assert "predictions.file: prob_A_f: expected sums of one within 1e-05" in err


# Plans


def problems(folder: Path, **sections: Any) -> dict[str, str]:
    tables: dict[str, Any] = {"request": {"reference": "R"}, "predictions": {"file": "p.npz"}}
    with pytest.raises(PlanError) as caught:
        check_plan({**tables, **sections}, folder)
    return {problem.place: problem.message for problem in caught.value.problems}


@pytest.fixture
def place(tmp_path: Path) -> Path:
    write_npz(tmp_path / "p.npz", tiny())
    for name in ("a name.bin", "model.bin"):
        (tmp_path / name).write_bytes(b"x")
    return tmp_path


@pytest.mark.parametrize(
    ("sections", "at", "message"),
    [
        ({"model": {}}, "model", "models are known by their answers alone; leave [model] out"),
        ({"data": {"source": "digits"}}, "data", "the rows are those of the file"),
        ({"training": {"epochs": 3}}, "training", "nothing is trained"),
        ({"method": {"name": "scrub"}}, "method", "a method changes a model"),
        ({"references": {}}, "references", "the models for comparison are those of the file"),
        ({"predictions": {}}, "predictions.file", "Field required"),
        ({"predictions": {"file": "no.npz"}}, "predictions.file", "there is no file no.npz"),
        (
            {"predictions": {"file": "p.npz", "model": "no.bin"}},
            "predictions.model",
            "there is no file no.bin",
        ),
        (
            {"predictions": {"file": "p.npz", "model": "a name.bin"}},
            "predictions.model",
            "rename 'a name.bin'",
        ),
        ({"predictions": {"file": "p.npz", "modell": "x"}}, "predictions.modell", "mean 'model'"),
        (
            {"request": {"reference": "R", "random": 5}},
            "request",
            "those that the file of predictions calls so, and may be listed in forget; found",
        ),
        (
            {"request": {"reference": "R", "scope": "class"}},
            "request",
            "a request for classes names classes; found none of them",
        ),
        (
            {"request": {"reference": "R", "scope": "attribute", "attribute": "x"}},
            "request.scope",
            "audited for instance or class requests, found 'attribute'",
        ),
        (
            {"request": {"reference": "R", "scope": "class", "classes": [1]}},
            "predictions.file",
            "others",
        ),
        ({"battery": {"canary": True}}, "battery", "experiments test a method"),
    ],
)
def test_each_problem_has_its_place(
    sections: dict[str, Any], at: str, message: str, place: Path
) -> None:
    assert message in problems(place, **sections)[at]


def test_all_problems_come_together(place: Path) -> None:
    found = problems(
        place,
        request={"reference": "a@b.org"},
        model={},
        method={"name": "scrub"},
        predictions={"file": "no.npz"},
        battery={"profile": "lax"},
    )
    assert set(found) == {
        "model", "method", "request.reference", "predictions.file", "battery.profile"
    }  # fmt: skip


def test_a_list_of_ids_must_be_that_of_the_file(place: Path) -> None:
    request = {"reference": "R", "forget": "ids.csv"}
    ids = tiny()["id_f"].tolist()
    (place / "ids.csv").write_text("\n".join(["id", *reversed(ids)]) + "\n", encoding="utf-8")
    assert plan_of(place / "p.npz", request=request).request.forget == "ids.csv"
    (place / "ids.csv").write_text("\n".join([*ids[1:], "stranger"]) + "\n", encoding="utf-8")
    message = "expected the 8 rows to be forgotten in p.npz, found 8: 1 unknown there, 1 not listed"
    assert message in problems(place, request=request)["request.forget"]


def test_people_are_listed_where_people_are_behind_the_rows(place: Path) -> None:
    arrays = tiny()
    for part in "ftr":
        rows = len(arrays[f"y_{part}"])
        arrays[f"unit_{part}"] = np.array([f"{part}{i // 4}" for i in range(rows)])
    write_npz(place / "p.npz", arrays)
    (place / "ids.csv").write_text("f0\nf1\n", encoding="utf-8")
    plan = plan_of(place / "p.npz", request={"reference": "R", "forget": "ids.csv"})
    assert plan.deletion().ids == ("f0", "f1")
    (place / "ids.csv").write_text("f0\n", encoding="utf-8")
    found = problems(place, request={"reference": "R", "forget": "ids.csv"})
    assert "expected the 2 people to be forgotten" in found["request.forget"]


def test_a_model_may_be_a_folder_and_no_link(place: Path) -> None:
    (place / "folder").mkdir()
    given = {"file": "p.npz", "model": "folder"}
    assert "is empty" in problems(place, predictions=given)["predictions.model"]
    (place / "folder" / "weights.h5").write_bytes(b"x")
    named = predicted.from_plan(plan_of(place / "p.npz", predictions=given)).about.files
    (subject,) = named["unlearned"]
    assert subject == ("folder", model_digest(place / "folder"))
    (place / "link").symlink_to(place / "model.bin")
    found = problems(place, predictions={"file": "p.npz", "model": "link"})
    assert "is a link" in found["predictions.model"]


def test_test_rows_of_other_classes_belong_to_requests_for_a_class(place: Path) -> None:
    write_npz(place / "p.npz", tiny(o=5))
    assert "call them test" in problems(place)["predictions.file"]


def test_the_resolved_plan_says_what_was_handed_in(place: Path) -> None:
    plan = plan_of(place / "p.npz")
    resolved = plan.as_json()
    assert set(resolved) == {"request", "data", "battery", "report", "predictions"}
    assert resolved["data"]["source"] == "predictions:p.npz"
    with pytest.raises(CaseError, match="hands in predictions alone"):
        plan.dataset()
