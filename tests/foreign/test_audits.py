"""Audits of models of other libraries, from training to verdict; remembered models come back."""

import dataclasses
from pathlib import Path

import pytest
import torch
from torch import nn

from forget_audit.audits.audit import Audit
from forget_audit.audits.direct import certify
from forget_audit.methods.retrain import Retrain
from forget_audit.model_files import load_weights
from forget_audit.seeds import derive, generator
from forget_audit.training.own_functions import FunctionTrainer
from forget_audit.training.references import Counts, Workshop, prepare_references
from forget_audit.training.trainers import FirstMade, SelfTrainer
from forget_audit.types import Case, Trainer
from tests.foreign.rows import FOREST, case_for

COUNTS = Counts(retrained=19, originals=4, identity=2, shadows=0)
BOOSTED = {"n_estimators": 15, "max_depth": 4, "subsample": 0.8, "learning_rate": 0.7}
GROWN = {"n_estimators": 5}


def trained(case: Case) -> tuple[nn.Module, nn.Module]:
    """An original and a retrained model, of seeds that the audit does not use."""
    trainer = case.trainer
    assert trainer is not None
    return (
        trainer(case.training.x, case.training.y, 1),
        trainer(case.retain.x, case.retain.y, 2),
    )


def audit(case: Case, model: nn.Module) -> Audit:
    return certify(case, unlearned=model, counts=COUNTS, attacks=["loss_threshold"])


@pytest.fixture(scope="module")
def boosted() -> Case:
    return case_for("xgboost", 3, **BOOSTED)


def test_an_original_of_xgboost_fails_and_a_retrained_one_passes(boosted: Case) -> None:
    original, retrained = trained(boosted)
    failed, passed = audit(boosted, original), audit(boosted, retrained)
    assert failed.verdict.outcome == "FAIL"
    assert passed.verdict.outcome == "PASS"
    reasons = {row.name: row.outcome for row in passed.attacks}
    assert reasons["loss_threshold"] == "informative"
    assert "answers" in passed.evidence["battery"]["access"]


def test_an_original_forest_fails() -> None:
    pytest.importorskip("skops", reason="needs the package skops")
    case = case_for(FOREST, 2, **GROWN)
    assert audit(case, trained(case)[0]).verdict.outcome == "FAIL"


def test_retraining_unlearns_xgboost(boosted: Case, tmp_path: Path) -> None:
    original, _ = trained(boosted)
    found = Retrain().unlearn(original, boosted, generator(0, "retrain"))
    booster = found.model.booster()  # type: ignore[operator]
    booster.save_model(tmp_path / "unlearned.ubj")
    again = load_weights(
        boosted.trainer.architecture.build(),  # type: ignore[union-attr]
        tmp_path / "unlearned.ubj",
    )
    x = torch.tensor(boosted.test.x)
    assert torch.equal(again(x), found.model(x))
    assert not torch.equal(original(x), found.model(x))


def digests(bench: Workshop) -> list[str]:
    found = prepare_references(bench, Counts(retrained=3, originals=2, identity=2, shadows=2))
    targets = (*found.pool.retrained, *found.pool.originals, *found.identity)
    return [target.digest() for target in (*targets, *(s.target for s in found.pool.shadows))]


@pytest.mark.parametrize("name", ["xgboost", FOREST, "own"])
def test_remembered_models_equal_trained_ones(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("skops", reason="needs the package skops")
    options = {"n_estimators": 3} if name == FOREST else {"n_estimators": 3, "subsample": 0.5}
    case = case_for("xgboost" if name == "own" else name, **options)
    trainer: Trainer = FunctionTrainer(function="tests.foreign.own:boosted", n_classes=2)
    if name != "own":
        assert case.trainer is not None
        trainer = case.trainer
    made = FirstMade(trainer, case.retain.x, case.retain.y, derive(0, "template"))
    bench = Workshop(case=case.replace(trainer=trainer), seed=0, template=made, cache=tmp_path)
    first = digests(bench)
    assert len(set(first)) == len(first) == 9
    assert len(list(tmp_path.glob("*.safetensors"))) == 9
    made()
    for kind in (FunctionTrainer, SelfTrainer):
        monkeypatch.setattr(kind, "__call__", None)
    assert digests(bench) == first
    assert digests(dataclasses.replace(bench, fresh=False)) == first
