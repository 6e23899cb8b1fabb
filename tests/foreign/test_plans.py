"""Plans that name models of other libraries: checked before anything runs, then carried out."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from forget_audit.audits.commission import Commission, from_plan
from forget_audit.errors import PlanError
from forget_audit.plans.plan import Plan, check_plan
from forget_audit.targets import weights_digest
from forget_audit.training.own_functions import FunctionTrainer
from forget_audit.training.trainers import SelfTrainer
from tests.foreign.rows import FOREST, table

OPTIONS = {"n_estimators": 3, "max_depth": 2, "subsample": 0.5}


def plan(folder: Path, training: dict[str, Any] | None = None, **model: Any) -> Plan:
    tables: dict[str, Any] = {
        "request": {"reference": "REQ-1", "random": 40},
        "data": {"source": "tests.foreign.rows:table"},
        "model": {"architecture": "xgboost", "options": OPTIONS, **model},
        "training": training or {},
    }
    if "unlearned" not in model:
        tables["method"] = {"name": "retrain"}
    return check_plan(tables, folder)


def trained(commission: Commission) -> torch.nn.Module:
    assert commission.case.trainer is not None
    return commission.case.trainer(*table(), 1)


def test_files_of_xgboost_are_handed_in(tmp_path: Path) -> None:
    model: Any = trained(from_plan(plan(tmp_path)))
    model.booster().save_model(tmp_path / "original.json")
    model.booster().save_model(tmp_path / "unlearned.ubj")
    handed = from_plan(plan(tmp_path, original="original.json", unlearned="unlearned.ubj"))
    assert isinstance(handed.case.trainer, SelfTrainer)
    assert handed.access == "score"
    assert handed.original is not None
    for found in (handed.original, *handed.unlearned):
        assert weights_digest(found) == weights_digest(model)
    assert handed.about.files["unlearned"][0][0] == "unlearned.ubj"


def test_forests_are_trained_by_plans(tmp_path: Path) -> None:
    pytest.importorskip("skops", reason="needs the package skops")
    commission = from_plan(plan(tmp_path, architecture=FOREST, options={"n_estimators": 3}))
    answers = trained(commission)(torch.tensor(table()[0][:5]))
    assert answers.shape == (5, 3)
    assert commission.access == "score"


def test_functions_return_classifiers(tmp_path: Path) -> None:
    commission = from_plan(plan(tmp_path, {"function": "tests.foreign.own:boosted"}))
    assert isinstance(commission.case.trainer, FunctionTrainer)
    assert np.isfinite(trained(commission)(torch.tensor(table()[0])).numpy()).all()


@pytest.mark.parametrize(
    ("model", "place", "message"),
    [
        ({"architecture": "xgbost"}, "model.architecture", "did you mean 'xgboost'"),
        ({"architecture": "sklearn:svm.Nothing"}, "model.architecture", "unknown classifier"),
        ({"architecture": "hf:absent", "options": {}}, "model.architecture", "no folder absent"),
        ({"options": {"device": "cuda"}}, "model.options", "unknown option of xgboost 'device'"),
        ({"unlearned": "damaged.ubj"}, "model.unlearned", "damaged.ubj: this is no sound model"),
        ({"unlearned": "absent.json"}, "model.unlearned", "absent.json"),
    ],
)
def test_problems_are_told_with_their_place(
    tmp_path: Path, model: dict[str, Any], place: str, message: str
) -> None:
    (tmp_path / "damaged.ubj").write_bytes(b"{L\x00")
    with pytest.raises(PlanError) as caught:
        plan(tmp_path, **model)
    told = {problem.place: problem.message for problem in caught.value.problems}
    assert message in told[place]
