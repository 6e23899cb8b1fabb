"""scikit-learn as audited models: built by a plan or fitted by a user, kept without pickles."""

import copy
import io
import json
import sys
import threading
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import xgboost
from sklearn.base import BaseEstimator
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import (
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
)
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC
from sklearn.tree import DecisionTreeClassifier

from forget_audit.errors import MissingDependency, ModelError
from forget_audit.foreign import estimator_files
from forget_audit.foreign.answering import AnswersOnly, SelfTrained, adopt
from forget_audit.foreign.estimators import Estimator
from forget_audit.model_files import load_weights, safetensors_bytes
from forget_audit.targets import Target, weights_digest
from tests.foreign.rows import FOREST, WIDTH, architecture, features, labels

pytest.importorskip("skops", reason="needs the package skops")

FITTED = {
    "forest": RandomForestClassifier(4, max_depth=3, random_state=1),
    "boosted": GradientBoostingClassifier(n_estimators=2, random_state=1),
    "histogram": HistGradientBoostingClassifier(max_iter=2, random_state=1),
    "calibrated": CalibratedClassifierCV(LogisticRegression(), cv=2),
    "network": MLPClassifier((4,), solver="lbfgs", max_iter=300, tol=0.1, random_state=1),
    "pipeline": make_pipeline(StandardScaler(), LogisticRegression()),
    "bayes": GaussianNB(),
}


def fitted(name: str, n_classes: int = 3) -> Any:
    return copy.deepcopy(FITTED[name]).fit(features(), labels(n_classes))


def fresh(name: str = FOREST, n_classes: int = 2, **options: Any) -> Estimator:
    if name == FOREST:
        options = {"n_estimators": 4, "max_depth": 3, **options}
    model = architecture(name, n_classes, **options).build()
    assert isinstance(model, Estimator)
    return model


@pytest.mark.parametrize("name", FITTED)
def test_fitted_classifiers_answer_and_come_back_from_files(tmp_path: Path, name: str) -> None:
    given = fitted(name)
    model = adopt(given)
    answers = model(torch.tensor(features()))
    assert np.allclose(np.exp(answers.numpy()), given.predict_proba(features()), atol=1e-12)
    for file in ("model.safetensors", "model.skops"):
        data = safetensors_bytes(model) if file.endswith("s") else estimator_files.dumps(given)
        (tmp_path / file).write_bytes(data)
        found = load_weights(adopt(fitted(name)), tmp_path / file)
        assert weights_digest(found) == weights_digest(model)
        assert torch.equal(found(torch.tensor(features())), answers)


@pytest.mark.parametrize("name", ["forest", "boosted", "histogram"])
def test_equal_models_are_equal_files(name: str) -> None:
    """skops itself writes addresses, times, and what lay in memory between the fields."""
    assert estimator_files.dumps(fitted(name)) == estimator_files.dumps(fitted(name))


def test_the_same_seed_gives_the_same_model_and_another_another() -> None:
    one, same, other = (fresh().fit(features(), labels(2), seed) for seed in (1, 1, 2))
    assert weights_digest(one) == weights_digest(same) != weights_digest(other)
    twin = copy.deepcopy(one)
    twin.fit(features(), labels(2), 2)
    assert weights_digest(twin) == weights_digest(other)
    assert weights_digest(one) == weights_digest(same)
    assert not one.eval().training


def test_it_only_answers_and_trains_itself() -> None:
    model = fresh().fit(features(), labels(2), 2**62)
    assert isinstance(model, AnswersOnly)
    assert isinstance(model, SelfTrained)
    assert Target(model).access == "score"
    assert model.model.n_jobs is None


def test_classes_without_rows_are_never_answered() -> None:
    model = fresh(n_classes=4).fit(features(), 2 * labels(2), 1)
    answers = model(torch.tensor(features())).numpy()
    assert answers.shape == (200, 4)
    assert np.isfinite(answers).all()
    assert answers[:, [1, 3]].max() < -36
    assert adopt(model.model, 4)(torch.tensor(features()[:3])).shape == (3, 4)
    assert adopt(model.model)(torch.tensor(features()[:3])).shape == (3, 3)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("ensemble.RandomForestClasifier", {}, "did you mean 'RandomForestClassifier'"),
        ("ensemble.RandomForestRegressor", {}, "unknown classifier of sklearn.ensemble"),
        ("forest.RandomForestClassifier", {}, "scikit-learn has no module forest"),
        ("RandomForestClassifier", {}, "expected module and class of scikit-learn"),
        ("_config.os", {}, "expected module and class"),
        ("svm.LinearSVC", {}, "has no predict_proba"),
        ("ensemble.VotingClassifier", {}, "is made of other models"),
        ("linear_model.LogisticRegression", {"random_state": 1}, "leave out random_state"),
        ("linear_model.LogisticRegression", {"n_jobs": 2}, "leave out n_jobs"),
        ("linear_model.LogisticRegression", {"Cc": 2}, "did you mean 'C'"),
        ("linear_model.LogisticRegression", {"C": -1.0}, "must be a float in the range"),
    ],
)
def test_plans_are_checked_when_it_is_built(
    name: str, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ModelError, match=message):
        architecture(f"sklearn:{name}", **options).build()


def test_rows_it_cannot_learn_from_are_refused() -> None:
    with pytest.raises(ModelError, match="found a matrix of 3 labels"):
        fresh().fit(features(), np.zeros((200, 3), dtype=np.int64), 1)
    with pytest.raises(ModelError, match=r"LogisticRegression cannot be trained: .*one class"):
        fresh("sklearn:linear_model.LogisticRegression").fit(
            features(), np.zeros(200, dtype=np.int64), 1
        )


class Home(BaseEstimator):  # type: ignore[misc]
    """A classifier that stands in no library."""

    def fit(self, x: Any, y: Any) -> "Home":
        self.classes_ = np.unique(y)
        return self

    def predict_proba(self, x: Any) -> Any:
        return np.full((len(x), len(self.classes_)), 1 / len(self.classes_))


@pytest.mark.parametrize(
    ("found", "message"),
    [
        (RandomForestClassifier(), "the RandomForestClassifier is not fitted"),
        (xgboost.XGBClassifier(), "the XGBClassifier is not fitted"),
        (RandomForestClassifier, "found the class RandomForestClassifier"),
        (LinearRegression(), "found a LinearRegression without"),
        (LinearSVC(), "found a LinearSVC without"),
        (None, "found NoneType; return the trained model"),
        ({"model": 1}, "found dict; give it back as one of these"),
        (GaussianNB().fit(features(), np.array(["a", "b"] * 100)), "expected classes_ of numbers"),
        (GaussianNB().fit(features(), labels(2) - 1), "expected classes 0 to"),
    ],
    ids=["unfitted", "unfitted XGBoost", "class", "regression", "no probabilities", "nothing",
         "table", "words", "negative"],
)  # fmt: skip
def test_other_things_are_no_models(found: object, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        adopt(found)


def test_models_of_keras_are_told_apart() -> None:
    layer = type("Sequential", (), {"__module__": "keras.src.models"})()
    with pytest.raises(ModelError, match="write its answers to a file and audit predictions"):
        adopt(layer)


def test_more_classes_than_the_data_have_are_refused() -> None:
    with pytest.raises(ModelError, match="expected classes 0 to 1, found"):
        adopt(fitted("bayes"), 2)


def test_a_fitted_model_is_copied() -> None:
    given = RandomForestClassifier(2, n_jobs=2, random_state=0).fit(features(), labels(2))
    model = adopt(given)
    before = model(torch.tensor(features()))
    given.fit(features()[::-1], labels(2))
    assert torch.equal(model(torch.tensor(features())), before)
    assert (given.n_jobs, model.model.n_jobs) == (2, 1)  # type: ignore[union-attr]


def test_names_of_columns_are_kept() -> None:
    table = pd.DataFrame(features(), columns=list("abcde"))
    given = make_pipeline(StandardScaler(), LogisticRegression()).fit(table, labels(2))
    answers = adopt(given)(torch.tensor(features())).numpy()
    assert np.allclose(np.exp(answers), given.predict_proba(table))


def test_what_cannot_be_stored_is_refused_at_once() -> None:
    given = Home().fit(features(), labels(2))
    given.lock = threading.Lock()
    with pytest.raises(ModelError, match=r"cannot be copied \(cannot pickle"):
        adopt(given)


# Files


def skops_file(folder: Path, model: object) -> Path:
    import skops.io

    path = folder / "model.skops"
    skops.io.dump(model, path)
    return path


def test_unknown_types_are_named_and_nothing_of_them_is_made(tmp_path: Path) -> None:
    given = Home().fit(features(), labels(2))
    path = skops_file(tmp_path, given)
    assert adopt(given)(torch.tensor(features()[:2])).shape == (2, 2)
    with pytest.raises(ModelError, match=r"not known to be safe: .*test_estimators\.Home"):
        load_weights(fresh(), path)


def test_search_trees_of_neighbours_are_refused(tmp_path: Path) -> None:
    given = KNeighborsClassifier(algorithm="kd_tree").fit(features(), labels(2))
    with pytest.raises(ModelError, match="KDTree"):
        load_weights(adopt(given), skops_file(tmp_path, given))


def test_other_kinds_rows_and_classes_are_refused(tmp_path: Path) -> None:
    path = skops_file(tmp_path, fitted("bayes", 2))
    with pytest.raises(ModelError, match="expected a model RandomForestClassifier, found Gauss"):
        load_weights(fresh(), path)
    narrow = RandomForestClassifier(2).fit(features()[:, :2], labels(2))
    with pytest.raises(ModelError, match="expected a model of 5 numbers a row, found 2"):
        load_weights(fresh(), skops_file(tmp_path, narrow))
    with pytest.raises(ModelError, match="expected classes 0 to 1"):
        load_weights(fresh(), skops_file(tmp_path, fitted("forest", 3)))


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04broken", b"\x80\x04K\x01."])
def test_damaged_files_are_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "model.skops"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=r"model\.skops: this is no sound skops file"):
        load_weights(fresh(), path)


def with_array(data: bytes, field: str, value: int) -> bytes:
    """Change one number of the first array of records with that field in a skops file."""
    target, changed = io.BytesIO(), False
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(target, "w") as new:
        for name in old.namelist():
            content = old.read(name)
            if name.endswith(".npy") and not changed:
                array = np.load(io.BytesIO(content))
                if field in (array.dtype.names or ()):
                    array[field][0], changed = value, True
                    buffer = io.BytesIO()
                    np.save(buffer, array)
                    content = buffer.getvalue()
            new.writestr(name, content)
    assert changed
    return target.getvalue()


@pytest.mark.parametrize(
    ("name", "field", "value"),
    [
        ("forest", "left_child", 10**9),
        ("forest", "right_child", 0),
        ("forest", "feature", WIDTH),
        ("forest", "feature", -3),
        ("boosted", "left_child", 10**9),
        ("histogram", "left", 10**9),
        ("histogram", "right", 0),
        ("histogram", "feature_idx", WIDTH),
        ("histogram", "is_categorical", 1),
    ],
)
def test_trees_that_point_elsewhere_are_refused(name: str, field: str, value: int) -> None:
    """scikit-learn follows such numbers without a look, and crashes the process."""
    with pytest.raises(ModelError, match="holds a tree"):
        estimator_files.loads(with_array(estimator_files.dumps(fitted(name)), field, value))


def with_number(data: bytes, place: tuple[str | int, ...], value: int) -> bytes:
    """Change a number in the schema of a skops file."""
    target = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as source, zipfile.ZipFile(target, "w") as file:
        schema: Any = json.loads(source.read("schema.json"))
        node: Any = schema["content"]["content"]
        for part in place:
            node = node[part]
        node |= {"content": str(value), "__id__": 10**9}
        for name in source.namelist():
            changed = json.dumps(schema).encode() if name == "schema.json" else source.read(name)
            file.writestr(name, changed)
    return target.getvalue()


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        (("tree_", "content", "content", "node_count"), 1, "point beyond it"),
        (("tree_", "content", "content", "node_count"), 0, "does not fit its classifier"),
        (("tree_", "__reduce__", "args", "content", 0), 10**6, "does not fit its classifier"),
        (("tree_", "__reduce__", "args", "content", 2), 2, "no sound skops file"),
        (("n_features_in_",), 10**6, "does not fit its classifier"),
    ],
    ids=["fewer nodes", "no nodes", "features of the tree", "outputs", "features"],
)
def test_sizes_that_do_not_agree_are_refused(
    place: tuple[str | int, ...], value: int, message: str
) -> None:
    given = DecisionTreeClassifier(max_depth=2, random_state=0).fit(features(), labels(2))
    with pytest.raises(ModelError, match=message):
        estimator_files.loads(with_number(estimator_files.dumps(given), place, value))


def test_a_model_that_cannot_answer_is_refused(tmp_path: Path) -> None:
    given = fitted("bayes", 2)
    given.theta_ = given.theta_[:, :3]
    model = fresh("sklearn:naive_bayes.GaussianNB")
    with pytest.raises(ModelError, match="the model does not answer"):
        load_weights(model, skops_file(tmp_path, given))
    assert model.content() == b""


def test_without_skops_the_line_that_installs_it_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "skops", None)
    monkeypatch.setitem(sys.modules, "skops.io", None)
    with pytest.raises(MissingDependency, match=r'pip install "forget-audit\[hf\]"'):
        fresh()
    with pytest.raises(MissingDependency, match=r'pip install "forget-audit\[hf\]"'):
        adopt(fitted("bayes"))
