"""XGBoost as an audited model: its answers, the same model for a seed, files of several forms."""

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import xgboost

from forget_audit.errors import ModelError
from forget_audit.foreign.answering import AnswersOnly, SelfTrained, adopt
from forget_audit.foreign.boosted import Boosted
from forget_audit.foreign.boosted_files import read_boosted
from forget_audit.model_files import load_weights, safetensors_bytes
from forget_audit.targets import Target, weights_digest
from forget_audit.types import Rows
from tests.foreign.rows import WIDTH, architecture, classifier, features, labels

KINDS: dict[str, dict[str, Any]] = {
    "trees": {},
    "pruned": {"tree_method": "exact", "gamma": 1.0},
    "several": {"num_parallel_tree": 2, "subsample": 0.5},
    "dropped": {"booster": "dart", "rate_drop": 0.5},
    "linear": {"booster": "gblinear"},
}
every_kind = pytest.mark.parametrize("kind", KINDS)


def fresh(n_classes: int = 2, **options: Any) -> Boosted:
    model = architecture("xgboost", n_classes, n_estimators=4, max_depth=3, **options).build()
    assert isinstance(model, Boosted)
    return model


def softmax(logits: np.ndarray) -> np.ndarray:
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(shifted / shifted.sum(axis=1, keepdims=True))


@every_kind
@pytest.mark.parametrize("n_classes", [2, 3])
def test_answers_are_those_of_the_classifier(kind: str, n_classes: int) -> None:
    given = classifier(n_classes, **KINDS[kind])
    found = Target(adopt(given)).logits(
        Rows(x=features(), y=labels(n_classes), ids=np.arange(200).astype(np.str_))
    )
    assert np.allclose(np.exp(found), given.predict_proba(features()), atol=1e-6)
    assert np.allclose(softmax(found), np.exp(found))


@every_kind
@pytest.mark.parametrize("suffix", [".json", ".ubj", ".safetensors"])
def test_files_bring_the_same_model_back(tmp_path: Path, kind: str, suffix: str) -> None:
    given, path = classifier(3, **KINDS[kind]), tmp_path / f"model{suffix}"
    model = adopt(given)
    if suffix == ".safetensors":
        path.write_bytes(safetensors_bytes(model))
    else:
        given.save_model(path)
    found = load_weights(fresh(3), path)
    assert weights_digest(found) == weights_digest(model)
    assert torch.equal(found(torch.tensor(features())), model(torch.tensor(features())))
    assert not found.training


def test_the_same_seed_gives_the_same_model_and_another_another() -> None:
    one, same, other = (fresh(subsample=0.5).fit(features(), labels(2), s) for s in (1, 1, 2))
    assert weights_digest(one) == weights_digest(same) != weights_digest(other)
    twin = copy.deepcopy(one)
    assert weights_digest(twin) == weights_digest(one)
    twin.fit(features()[:50], labels(2)[:50], 1)
    assert weights_digest(twin) != weights_digest(one) == weights_digest(same)


def test_training_is_that_of_the_classifier() -> None:
    found = fresh(3, reg_lambda=2.0).fit(features(), labels(3), 1)
    given = classifier(3, reg_lambda=2.0)
    assert np.allclose(
        np.exp(found.answers(features())), given.predict_proba(features()), atol=1e-6
    )


def test_rows_of_any_shape_and_classes_without_rows() -> None:
    y = labels(2) * 2
    model = fresh(4).fit(features().reshape(200, 5, 1), y, 1)
    answers = model(torch.tensor(features().reshape(200, 1, 5))).numpy()
    assert answers.shape == (200, 4)
    assert set(answers.argmax(axis=1)) == {0, 2}
    alone = fresh().fit(features(), np.zeros(200, dtype=np.int64), 1)
    assert (alone.answers(features()).argmax(axis=1) == 0).all()


def test_classes_beyond_those_that_a_classifier_knows_are_never_answered() -> None:
    model = adopt(classifier(3), 5)
    answers = model(torch.tensor(features())).numpy()
    assert answers.shape == (200, 5)
    assert np.isfinite(answers).all()
    assert answers[:, 3:].max() < -36 < answers[:, :3].min()


def test_training_that_stopped_early_answers_with_its_best_rounds(tmp_path: Path) -> None:
    x, y = features(), labels(2)
    given = xgboost.XGBClassifier(n_estimators=30, early_stopping_rounds=2, n_jobs=1)
    given.fit(x, y, eval_set=[(x[::-1], y)], verbose=False)
    assert given.best_iteration < given.get_booster().num_boosted_rounds() - 1
    given.save_model(tmp_path / "model.json")
    for model in (adopt(given), load_weights(fresh(), tmp_path / "model.json")):
        answers = model(torch.tensor(x)).numpy()
        assert np.allclose(np.exp(answers), given.predict_proba(x), atol=1e-6)


def test_it_only_answers() -> None:
    model = fresh().fit(features(), labels(2), 1)
    assert isinstance(model, AnswersOnly)
    assert isinstance(model, SelfTrained)
    assert Target(model).access == "score"
    assert not list(model.parameters())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_depht": 3}, "did you mean 'max_depth'"),
        ({"device": "cuda"}, "unknown option of xgboost 'device'"),
        ({"n_jobs": 2}, "leave out n_jobs: each model is trained on one thread"),
        ({"random_state": 1}, "leave out random_state: the audit gives each training its seed"),
        ({"max_depth": -1}, "max_depth should be greater equal to 0"),
        ({"max_depth": "deep"}, "max_depth expect int"),
        ({"subsample": 3.0}, "subsample exceed bound"),
        ({"base_score": 7.0}, "base_score must be in"),
        ({"n_estimators": 0}, "n_estimators of at least 1, found 0"),
        ({"missing": "none"}, "could not convert"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else None,
)
def test_options_are_checked_when_it_is_built(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        architecture("xgboost", **options).build()


def test_constraints_reach_xgboost() -> None:
    options: dict[str, Any] = {
        "monotone_constraints": [1, 0, 0, 0, 0],
        "interaction_constraints": [[0, 1], [2, 3]],
    }
    model = fresh(**options).fit(features(), labels(2), 1)
    steps = np.zeros((50, WIDTH), dtype=np.float32)
    steps[:, 0] = np.linspace(-3, 3, 50)
    assert (np.diff(model.answers(steps)[:, 1]) >= 0).all()


def test_rows_it_cannot_learn_from_are_refused() -> None:
    with pytest.raises(ModelError, match="found a matrix of 3 labels"):
        fresh().fit(features(), np.zeros((200, 3), dtype=np.int64), 1)
    with pytest.raises(ModelError, match="expected classes 0 to 1, found 0 to 4"):
        fresh().fit(features(), labels(5), 1)
    with pytest.raises(ModelError, match="has not been trained"):
        fresh().answers(features())


def test_models_for_other_rows_or_classes_are_refused(tmp_path: Path) -> None:
    classifier(3).save_model(tmp_path / "three.json")
    with pytest.raises(ModelError, match=r"three\.json: expected a model of 5 numbers a row and 2"):
        load_weights(fresh(2), tmp_path / "three.json")
    narrow = xgboost.XGBClassifier(n_estimators=1).fit(features()[:, :3], labels(2))
    narrow.save_model(tmp_path / "narrow.json")
    with pytest.raises(ModelError, match="found 3 and 2"):
        load_weights(fresh(2), tmp_path / "narrow.json")
    with pytest.raises(ModelError, match='such files go with architecture = "xgboost"'):
        load_weights(architecture("linear").build(), tmp_path / "narrow.json")
    (tmp_path / "mlp.safetensors").write_bytes(safetensors_bytes(architecture("mlp").build()))
    with pytest.raises(ModelError, match=r'Missing key\(s\) in state_dict: "xgboost"'):
        load_weights(fresh(2), tmp_path / "mlp.safetensors")


def test_regressions_and_categories_are_refused() -> None:
    ranker = xgboost.XGBRegressor(n_estimators=1).fit(features(), labels(2))
    with pytest.raises(ModelError, match=r"the objective is 'reg:squarederror'"):
        adopt(ranker.get_booster())
    data = xgboost.DMatrix(
        labels(3).reshape(-1, 1), label=labels(2), feature_types=["c"], enable_categorical=True
    )
    booster = xgboost.train({"objective": "binary:logistic"}, data, 1)
    with pytest.raises(ModelError, match="categorical features"):
        read_boosted(bytes(booster.save_raw("json")))
