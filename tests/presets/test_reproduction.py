"""Every preset, end to end on small files in the real formats: dry run, and its table."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from forget_audit import stats
from forget_audit.audits import commission, forecasts
from forget_audit.audits.audit import carry_out
from forget_audit.errors import PlanError
from forget_audit.methods.ssd import Ssd
from forget_audit.presets.catalogue import Preset, get_preset, presets
from forget_audit.presets.comparison import COLUMNS, markdown, table_of_numbers, text, write
from forget_audit.presets.paper_metrics import Measuring, Parts
from forget_audit.presets.reproduction import compared, reproduce
from forget_audit.presets.smoke_size import smoke
from forget_audit.presets.supplies import checked
from forget_audit.targets import Target
from forget_audit.types import Json
from tests.presets import copies

SHARES = copies.shares(presets())
EVERY = [pytest.param(preset, id=name) for name, preset in presets().items()]


def run(preset: Preset, data: Path, methods: tuple[str, ...], seeds: int = 1, **more: Any) -> Json:
    plan = checked(preset, smoke(preset.tables), data)
    return reproduce(preset, plan, seeds=seeds, methods=methods, quick=True, **more)


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("preset", EVERY)
def test_a_preset_runs_from_its_files_to_its_table(preset: Preset, data: Path) -> None:
    plan = checked(preset, smoke(preset.tables), data)
    forecast = forecasts.forecast(plan, commission.from_plan(plan))
    assert forecast["trainings"]["retrained"] == {"models": 3, "remembered": 0}
    result = reproduce(preset, plan, seeds=1, methods=SHARES[preset.name], quick=True)
    assert result["smoke"]
    assert result["warning"]
    wanted = {"original", "retrain", *SHARES[preset.name]}
    assert {row["method"] for row in result["rows"]} == wanted
    for row in result["rows"]:
        assert (row["status"], row["reason"], row["unmeasured"]) == ("measured", "", {})
        for name in preset.columns:
            found = row["metrics"][name]
            assert math.isfinite(found["ours"]), name
            if found["published"] is not None:
                assert found["difference"] == found["ours"] - found["published"]


def test_every_method_of_every_table_is_tried() -> None:
    tried = {(get_preset(n).tables["request"]["scope"], m) for n, ms in SHARES.items() for m in ms}
    for preset in presets().values():
        for method in preset.names.values():
            if method not in ("original", "retrain"):
                assert (preset.tables["request"]["scope"], method) in tried


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("name", ["suli-utkface-allcnn-rows-64", "jit-cifar10-vit-rows"])
def test_a_preset_can_be_audited(name: str, data: Path) -> None:
    plan = checked(get_preset(name), smoke(get_preset(name).tables), data)
    audit = carry_out(commission.from_plan(plan))
    assert audit.verdict.outcome == "INCONCLUSIVE"
    assert audit.evidence["plan"]["preset"]["table"] == get_preset(name).table


@pytest.mark.usefixtures("quick")
def test_metrics_are_those_of_their_definitions(data: Path) -> None:
    preset = get_preset("jit-cifar20-vgg11-subclass-rocket")
    plan = checked(preset, smoke(preset.tables), data)
    dataset = plan.dataset()
    case = plan.case(dataset)
    parts = Parts.of(case, dataset, preset.columns)
    fine = dict(zip(dataset.rows.ids, dataset.subclasses, strict=True))  # type: ignore[arg-type]
    official = dataset.rows.ids[dataset.split != "train"].tolist()
    assert sorted(parts.test.ids.tolist()) == sorted(official)
    assert parts.forget_test is not None
    assert {fine[i] for i in parts.forget_test.ids} == {69}
    assert len(parts.forget_test) + len(parts.retain_test) == len(parts.test)
    assert case.trainer is not None
    model = case.trainer(case.training.x, case.training.y, 3)
    target = Target(model)
    measure = Measuring(parts=parts, parent=target, seed=0)
    right = target.labels(parts.forget_test) == parts.forget_test.y
    assert measure("forget_test_accuracy", target) == 100 * right.mean()
    entropies = [
        stats.entropy(stats.probabilities(target.logits(rows)))
        for rows in (case.retain, parts.test, case.forget)
    ]
    judge = LogisticRegression(class_weight="balanced").fit(
        np.concatenate(entropies[:2])[:, None],
        [1] * len(case.retain) + [0] * len(parts.test),
    )
    members = judge.predict(entropies[2][:, None]).mean()
    assert measure("mia_entropy", target) == pytest.approx(100 * members)


@pytest.mark.usefixtures("quick")
def test_losses_are_compared_with_all_test_rows_of_the_class(data: Path) -> None:
    preset = get_preset("suli-cifar10-resnet18-class")
    plan = checked(preset, smoke(preset.tables), data)
    dataset = plan.dataset()
    case = plan.case(dataset)
    parts = Parts.of(case, dataset, preset.columns)
    official = (dataset.split != "train") & (dataset.rows.y == 1)
    assert set(parts.controlled.test.ids) == set(dataset.rows.ids[official])
    assert case.trainer is not None
    target = Target(case.trainer(case.training.x, case.training.y, 3))
    shares = [Measuring(parts=parts, parent=target, seed=0)("mia_loss", target) for _ in range(2)]
    assert shares[0] == shares[1]
    assert 0 <= shares[0] <= 1


@pytest.mark.usefixtures("quick")
def test_validation_rows_are_no_test_rows_where_the_paper_has_both(data: Path) -> None:
    preset = get_preset("mlu-cifar10-resnet50")
    plan = checked(preset, smoke(preset.tables), data)
    dataset = plan.dataset()
    case = plan.case(dataset)
    parts = Parts.of(case, dataset, preset.columns)
    assert parts.validation is not None
    assert not set(parts.validation.ids) & set(parts.test.ids)
    assert 9 not in parts.validation.y
    assert set(parts.validation.ids) < set(case.auxiliary.ids)


@pytest.mark.usefixtures("quick")
def test_seeds_are_summed_up_and_models_remembered(data: Path, tmp_path: Path) -> None:
    preset = get_preset("lpu-mnist-mlp")
    first = run(preset, data, ("lpu_flip",), seeds=2, cache=tmp_path)
    assert len(list(tmp_path.iterdir())) == 4
    again = run(preset, data, ("lpu_flip",), seeds=2, cache=tmp_path)
    assert [row["metrics"] for row in again["rows"]] == [row["metrics"] for row in first["rows"]]
    row = next(row for row in first["rows"] if row["method"] == "lpu_flip")
    found = row["metrics"]["retain_test_accuracy"]
    assert len(found["values"]) == 2
    assert found["ours"] == np.mean(found["values"])
    assert found["ours_sd"] == pytest.approx(np.std(found["values"], ddof=1))


def test_a_difference_needs_both_sides() -> None:
    assert compared([2.0, 4.0], {"value": 1.0, "sd": 0.5})["difference"] == 2.0
    assert compared([], {"value": 1.0})["difference"] is None
    assert compared([2.0], None)["difference"] is None
    assert compared([2.0], None)["ours_sd"] is None


@pytest.mark.usefixtures("quick")
def test_the_table_is_written_in_three_forms(data: Path, tmp_path: Path) -> None:
    result = run(get_preset("unsir-cifar10-allcnn-1-class"), data, ("unsir",))
    paths = write(result, tmp_path)
    assert [path.suffix for path in paths] == [".md", ".csv", ".json"]
    page, shown = markdown(result), text(result)
    for words in (page, shown):
        assert "say nothing about the paper" in words
        assert "Table II" in words
        assert "73.90" in words
        assert "1 epochs of 1 steps" in words
    lines = table_of_numbers(result).splitlines()
    assert lines[0].split(",") == list(COLUMNS)
    assert len(lines) == 1 + 3 * len(result["rows"])
    assert str(data) not in page + lines[1] + paths[2].read_text("utf-8")


@pytest.mark.usefixtures("quick")
def test_what_breaks_and_what_does_not_apply_keeps_its_row(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("broke half-way")

    monkeypatch.setattr(Ssd, "unlearn", broken)
    result = run(get_preset("suli-utkface-allcnn-rows-64"), data, ("ssd", "unsir"))
    rows = {row["method"]: row for row in result["rows"]}
    assert (rows["ssd"]["status"], rows["ssd"]["reason"]) == (
        "error",
        "RuntimeError: broke half-way",
    )
    assert rows["unsir"]["status"] == "not applicable"
    assert rows["original"]["status"] == "measured"
    assert "## Not measured" in markdown(result)


def test_missing_data_are_named_with_their_keeper(tmp_path: Path) -> None:
    preset = get_preset("jit-cifar100-vgg11-worst50")
    with pytest.raises(PlanError) as caught:
        checked(preset, preset.tables, tmp_path)
    said = "\n".join(map(str, caught.value.problems))
    assert "cifar-100-binary or cifar-100-python" in said
    assert "University of Toronto" in said
    assert "rocket-worst-50.csv" in said
    assert "there is no folder" in said or "there is no file" in said


def test_other_mistakes_are_not_taken_for_missing_data(tmp_path: Path) -> None:
    preset = get_preset("lpu-mnist-mlp")
    with pytest.raises(PlanError) as caught:
        checked(preset, {**preset.tables, "method": {"name": "scrubb"}}, tmp_path)
    assert any(problem.place == "method.name" for problem in caught.value.problems)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        "jit-pins-vgg11-face-1",
        "lpu-svhn-vgg19",
        "lpu-organamnist-alexnet",
        "lpu-cifar10-resnet18",
        "mlu-svhn-resnet50",
        "unsir-cifar100-mobilenet-1-class",
    ],
)
def test_wide_networks_run_too(name: str, data: Path) -> None:
    result = run(get_preset(name), data, SHARES[name][-1:])
    assert {row["status"] for row in result["rows"]} == {"measured"}
