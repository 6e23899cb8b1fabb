"""Classifiers of scikit-learn as audited models."""

from __future__ import annotations

import copy
import functools
import importlib
import inspect
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped]

from forget_audit.errors import ModelError
from forget_audit.foreign import estimator_files
from forget_audit.foreign.answers_only import Filed, log_probabilities, single_labels
from forget_audit.registry import unknown
from forget_audit.seeds import derive
from forget_audit.types import Features, Floats, Labels

NAME = re.compile(r"(?P<module>[a-z]\w*(?:\.[a-z]\w*)*)\.(?P<kind>[A-Z]\w*)")
OURS = {
    "random_state": "the audit gives each training its seed",
    "n_jobs": "each model is trained on one thread",
    "verbose": "training runs in silence",
    "warm_start": "each training starts from scratch",
}


class Estimator(Filed):
    """A classifier of scikit-learn, or a pipeline that ends in one, kept as a skops file.

    Answers are logarithms of `predict_proba`; classes that no training row had get the least
    probability there is.

    Args:
        model: Trained or not; it is not copied.
        n_features: Numbers in a row; not checked if left out.
        n_classes: Number of outputs.
    """

    kind = "skops"
    suffixes = (".skops",)

    def __init__(self, model: Any, n_features: int | None, n_classes: int) -> None:
        super().__init__()
        estimator_files.need_skops()
        self.model, self.n_features, self.n_classes = model, n_features, n_classes

    def fit(self, x: Features, y: Labels, seed: int) -> Estimator:
        """Train from scratch on `x`, `y`, on one thread.

        Raises:
            ModelError: If rows carry several labels, or scikit-learn refuses rows or options.
        """
        name = type(self.model).__name__
        rows = np.asarray(x, dtype=np.float32).reshape(len(x), -1)
        labels = single_labels(name, y, self.n_classes)
        model = clone(self.model)
        drawn = {
            key: derive(seed, "sklearn", key) % 2**32
            for key in model.get_params()
            if key.rpartition("__")[2] == "random_state"
        }
        try:
            with _threads().limit(limits=1):
                model.set_params(**drawn).fit(rows, labels)
        except (ValueError, TypeError, ArithmeticError) as error:
            raise ModelError(f"{name} cannot be trained: {_first_line(error)}") from error
        self.model = model
        return self

    def answers(self, x: Features) -> Floats:
        """Return log-probabilities `(n, n_classes)` of rows `(n, width)`."""
        known = _classes(self.model, self.n_classes)
        with _threads().limit(limits=1):
            found = np.asarray(self.model.predict_proba(self._table(x)), dtype=np.float64)
        if found.shape != (len(x), len(known)):
            raise ModelError(f"expected probabilities {(len(x), len(known))}, found {found.shape}")
        probabilities = np.zeros((len(x), self.n_classes))
        probabilities[:, known] = found
        return log_probabilities(probabilities)

    def _table(self, x: Features) -> Any:
        """Return rows as the model has learnt from them: with names if it knows any."""
        names = getattr(self.model, "feature_names_in_", None)
        if names is None:
            return x
        import pandas as pd

        return pd.DataFrame(x, columns=names)

    def content(self) -> bytes:
        """Return the model as a skops file.

        Raises:
            ModelError: If it holds something that skops cannot store.
        """
        return estimator_files.dumps(self.model) if hasattr(self.model, "classes_") else b""

    def take(self, data: bytes) -> None:
        """Become the model in a skops file.

        Raises:
            ModelError: If it is unsafe or damaged, or another kind of model.
        """
        before, found = self.model, estimator_files.loads(data)
        try:
            self.adopt(found)
            self.answers(np.zeros((1, self.n_features or 1), dtype=np.float32))
        except ModelError:
            self.model = before
            raise
        except Exception as error:
            self.model = before
            raise ModelError(f"the model does not answer: {_first_line(error)}") from error

    def read_folder(self, folder: Path) -> None:
        """Become the model in a folder of Hugging Face that holds a skops file.

        Raises:
            ModelError: If there is none, it is unsafe or damaged, or another kind of model.
        """
        self.take(estimator_files.in_folder(folder).read_bytes())

    def untrained(self) -> Estimator:
        """Return the same kind of model with the same settings, from which training starts.

        Raises:
            ModelError: If the model is for other rows or classes.
        """
        self.adopt(self.model)
        return Estimator(clone(self.model), self.n_features, self.n_classes)

    def adopt(self, model: Any) -> None:
        """Take over a trained model of the same kind.

        Raises:
            ModelError: If it is of another kind, or for other rows or classes.
        """
        expected, found = _kinds(self.model), _kinds(model)
        if expected != found:
            raise ModelError(f"expected a model {' + '.join(expected)}, found {' + '.join(found)}")
        _classes(model, self.n_classes)
        width = getattr(model, "n_features_in_", self.n_features)
        if self.n_features not in (None, width):
            raise ModelError(f"expected a model of {self.n_features} numbers a row, found {width}")
        self.model = model


def find(name: str) -> Any:
    """Return the builder of a classifier of scikit-learn.

    Args:
        name: Module and class within scikit-learn, such as `ensemble.RandomForestClassifier`.

    Raises:
        ModelError: If there is no such classifier.
    """
    match = NAME.fullmatch(name)
    if match is None:
        raise ModelError(
            f"sklearn:{name}: expected module and class of scikit-learn, such as "
            "sklearn:ensemble.RandomForestClassifier"
        )
    try:
        module = importlib.import_module(f"sklearn.{match['module']}")
    except ImportError as error:
        raise ModelError(f"scikit-learn has no module {match['module']}: {error}") from error
    kinds = {key: value for key, value in vars(module).items() if _is_classifier(value)}
    if match["kind"] not in kinds:
        raise ModelError(unknown(f"classifier of sklearn.{match['module']}", match["kind"], kinds))
    return functools.partial(_build, kinds[match["kind"]])


def _is_classifier(value: object) -> bool:
    return (
        isinstance(value, type)
        and issubclass(value, ClassifierMixin)
        and issubclass(value, BaseEstimator)
        and value.__module__.startswith("sklearn.")
        and not inspect.isabstract(value)
    )


def _build(kind: Any, shape: tuple[int, ...], n_classes: int, **options: Any) -> Estimator:
    """Build an untrained classifier; rows of any shape are read as numbers.

    Raises:
        ModelError: If an option is unknown, wrong, or not for a plan to choose.
    """
    known = inspect.signature(kind).parameters
    for name in options:
        if name in OURS:
            raise ModelError(f"{kind.__name__}: leave out {name}: {OURS[name]}")
        if name not in known:
            raise ModelError(unknown(f"option of {kind.__name__}", name, {*known} - {*OURS}))
    needed = [
        n for n, p in known.items() if p.default is inspect.Parameter.empty and n not in options
    ]
    if needed:
        raise ModelError(
            f"{kind.__name__} is made of other models ({', '.join(needed)}); write a function "
            "fit(x, y, seed) of your own"
        )
    model = kind(**options)
    try:
        model._validate_params()
    except ValueError as error:
        raise ModelError(_first_line(error)) from error
    if not hasattr(model, "predict_proba"):
        raise ModelError(
            f"{kind.__name__} has no predict_proba with {options}; take a classifier that gives "
            "probabilities"
        )
    return Estimator(model, math.prod(shape), max(n_classes, 2))


def adopted(found: object, n_classes: int | None) -> Estimator | None:
    """Return a trained classifier as a module, or nothing if it is none.

    Args:
        found: What a user trained; it is copied.
        n_classes: Number of outputs; as many as the model knows if left out.

    Raises:
        ModelError: If it is not trained, its labels are no numbers from 0, or it cannot be stored.
        MissingDependency: If skops is not installed.
    """
    if not isinstance(found, BaseEstimator):
        return None
    name = type(found).__name__
    if not hasattr(found, "predict_proba"):
        raise ModelError(f"expected a classifier with predict_proba, found a {name} without")
    if not hasattr(found, "classes_"):
        raise ModelError(f"the {name} is not fitted; return it after fit")
    outputs = n_classes or int(np.max(_classes(found, 2**31))) + 1
    _classes(found, outputs)
    try:
        model: Any = copy.deepcopy(found)
    except Exception as error:
        raise ModelError(f"the {name} cannot be copied ({_first_line(error)})") from error
    model.set_params(
        **{key: 1 for key in model.get_params() if key.rpartition("__")[2] == "n_jobs"}
    )
    _can_be_stored(model)
    return Estimator(model, getattr(model, "n_features_in_", None), max(outputs, 2))


_stored: set[tuple[type, ...]] = set()


def _can_be_stored(model: Any) -> None:
    """Check that skops can store a model, once for each make of models: storing takes time."""
    make = (type(model), *(type(part) for part in model.get_params().values()))
    if make not in _stored:
        estimator_files.dumps(model)
        _stored.add(make)


def _classes(model: Any, n_classes: int) -> Labels:
    """Return the classes that the columns of `predict_proba` stand for.

    Raises:
        ModelError: If they are no distinct numbers from 0 to below `n_classes`.
    """
    classes = np.asarray(getattr(model, "classes_", ()))
    sound = classes.ndim == 1 and len(classes) > 0 and classes.dtype.kind in "iufb"
    labels = classes.astype(np.int64) if sound else np.zeros(0, dtype=np.int64)
    if not sound or np.any(labels != classes) or len(np.unique(labels)) != len(labels):
        raise ModelError(
            f"expected classes_ of numbers from 0, found {classes.tolist()[:5]}; fit on the labels "
            "as they are given"
        )
    if labels.min() < 0 or labels.max() >= n_classes:
        raise ModelError(f"expected classes 0 to {n_classes - 1}, found {labels.tolist()[-5:]}")
    return labels


def _kinds(model: Any) -> list[str]:
    steps = getattr(model, "steps", None)
    parts = [model] if steps is None else [part for _, part in steps]
    return [type(part).__name__ for part in parts]


@functools.cache
def _threads() -> ThreadpoolController:
    return ThreadpoolController()


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
