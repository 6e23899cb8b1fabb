"""Boosted trees of XGBoost as an audited model."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import xgboost

from forget_audit.errors import ModelError
from forget_audit.foreign.answers_only import Filed, log_probabilities, single_labels
from forget_audit.foreign.boosted_files import read_boosted
from forget_audit.registry import unknown
from forget_audit.seeds import derive
from forget_audit.types import Features, Floats, Labels

log = logging.getLogger(__name__)

ROUNDS = 100
OPTIONS = (
    "base_score", "booster", "colsample_bylevel", "colsample_bynode", "colsample_bytree", "gamma",
    "grow_policy", "interaction_constraints", "learning_rate", "max_bin", "max_delta_step",
    "max_depth", "max_leaves", "min_child_weight", "missing", "monotone_constraints",
    "n_estimators", "num_parallel_tree", "reg_alpha", "reg_lambda", "sampling_method",
    "scale_pos_weight", "subsample", "tree_method",
)  # fmt: skip
OURS = {
    "random_state": "the audit gives each training its seed",
    "seed": "the audit gives each training its seed",
    "n_jobs": "each model is trained on one thread, so that the same seed gives the same model",
    "nthread": "each model is trained on one thread, so that the same seed gives the same model",
    "objective": "it follows from the number of classes",
    "num_class": "it follows from the data",
    "early_stopping_rounds": "there are no rows to stop by; choose n_estimators",
}


class Boosted(Filed):
    """A classifier of XGBoost, kept as its JSON.

    Answers are log-probabilities made of XGBoost's margins. Classes that no training row had,
    beyond those that the model knows, get the least probability there is.

    Args:
        n_features: Numbers in a row.
        n_classes: Number of outputs.
        options: Parameters of `XGBClassifier`; see `OPTIONS`.

    Raises:
        ModelError: If an option is unknown, not for a plan to choose, or refused by XGBoost.
    """

    kind = "xgboost"
    suffixes = (".json", ".ubj")

    def __init__(
        self, n_features: int, n_classes: int, options: Mapping[str, object] | None = None
    ) -> None:
        super().__init__()
        self.n_features, self.n_classes = n_features, n_classes
        self.options = dict(options or {})
        self._booster: xgboost.Booster | None = None
        if options is not None:
            self._check_options()

    def booster(self) -> xgboost.Booster:
        """Return the trained booster, for example to save it by itself.

        Raises:
            ModelError: If nothing was trained or loaded yet.
        """
        if self._booster is None:
            raise ModelError("xgboost: the model has not been trained; call fit first")
        return self._booster

    def fit(self, x: Features, y: Labels, seed: int) -> Boosted:
        """Train on `x`, `y`, on one thread; classes that do not occur keep their output.

        Raises:
            ModelError: If rows carry several labels, or XGBoost refuses the options.
        """
        rows = np.asarray(x, dtype=np.float32).reshape(len(x), -1)
        labels = single_labels("xgboost", y, self.n_classes)
        self._booster = self._trained(rows, labels, seed, int(self._rounds()))
        return self

    def answers(self, x: Features) -> Floats:
        """Return log-probabilities `(n, n_classes)` of rows `(n, width)`."""
        margins = np.asarray(
            self.booster().predict(self._matrix(x), output_margin=True), dtype=np.float64
        )
        if margins.ndim == 1:
            margins = np.stack([-margins / 2, margins / 2], axis=1)
        found = margins - np.logaddexp.reduce(margins, axis=1, keepdims=True)
        rest = np.zeros((len(found), self.n_classes - found.shape[1]))
        return np.concatenate([found, log_probabilities(rest)], axis=1)

    def content(self) -> bytes:
        """Return the model as JSON of XGBoost."""
        return b"" if self._booster is None else bytes(self._booster.save_raw("json"))

    def take(self, data: bytes) -> None:
        """Become the model in a `.json` or `.ubj` file; every number of it is checked first.

        Raises:
            ModelError: If it is damaged, or answers for other rows or more classes.
        """
        found = read_boosted(data)
        if found.n_features != self.n_features or found.n_classes > self.n_classes:
            raise ModelError(
                f"expected a model of {self.n_features} numbers a row and {self.n_classes} "
                f"classes, found {found.n_features} and {found.n_classes}"
            )
        if found.n_classes < self.n_classes:
            log.info("xgboost: %d of %d classes are known", found.n_classes, self.n_classes)
        booster = xgboost.Booster({"nthread": 1, "verbosity": 0})
        try:
            booster.load_model(bytearray(found.data))
            booster.predict(self._matrix(np.zeros((1, self.n_features), dtype=np.float32)))
        except xgboost.core.XGBoostError as error:
            raise ModelError(f"XGBoost refuses the model: {_reason(error)}") from error
        self._booster = booster if found.rounds is None else booster[: found.rounds]

    def _matrix(self, x: Features, y: Labels | None = None) -> xgboost.DMatrix:
        return xgboost.DMatrix(x, label=y, missing=self.options.get("missing", np.nan), nthread=1)

    def _rounds(self) -> Any:
        return self.options.get("n_estimators", ROUNDS)

    def _trained(self, rows: Features, labels: Labels, seed: int, rounds: int) -> xgboost.Booster:
        several = self.n_classes > 2
        objective = {"objective": "multi:softprob", "num_class": self.n_classes}
        goal = objective if several else {"objective": "binary:logistic"}
        drawn = derive(seed, "xgboost") % 2**31
        apart = ("n_estimators", "missing")
        chosen = {k: _written(v) for k, v in self.options.items() if k not in apart}
        rules = {**chosen, **goal, "seed": drawn, "nthread": 1, "verbosity": 0}
        try:
            return xgboost.train(rules, self._matrix(rows, labels), rounds)
        except (xgboost.core.XGBoostError, ValueError, TypeError) as error:
            raise ModelError(f"xgboost does not accept {chosen}: {_reason(error)}") from error

    def _check_options(self) -> None:
        """Check names, then train one round on made-up rows, so that XGBoost checks the values."""
        for name in self.options:
            if name in OURS:
                raise ModelError(f"xgboost: leave out {name}: {OURS[name]}")
            if name not in OPTIONS:
                raise ModelError(unknown("option of xgboost", name, OPTIONS))
        rounds = self._rounds()
        if not isinstance(rounds, int) or isinstance(rounds, bool) or rounds < 1:
            raise ModelError(f"xgboost: expected n_estimators of at least 1, found {rounds!r}")
        classes = np.tile(np.arange(self.n_classes), 2)
        rows = np.linspace(0, 1, len(classes) * self.n_features, dtype=np.float32)
        self._trained(rows.reshape(len(classes), -1), classes, 0, 1)


def xgboost_classifier(shape: tuple[int, ...], n_classes: int, **options: object) -> Boosted:
    """Boosted trees (Chen and Guestrin, 2016), by XGBoost; rows of any shape are read as numbers.

    It trains itself and is judged by its answers. Options are XGBoost's own that change what is
    learnt, such as `max_depth`, `learning_rate`, `subsample` and `n_estimators`.
    """
    return Boosted(math.prod(shape), max(n_classes, 2), options)


def adopted(found: object, n_classes: int | None) -> Boosted | None:
    """Return a trained `XGBClassifier` or `Booster` as a module, or nothing if it is neither.

    Args:
        found: What a user trained; it is copied.
        n_classes: Number of outputs; as many as the model knows if left out.

    Raises:
        ModelError: If it is no trained classifier with numbers as features.
    """
    missing: float = np.nan
    if isinstance(found, xgboost.XGBClassifier):
        missing = found.missing
        try:
            found = _answering(found)
        except (xgboost.core.XGBoostError, ValueError, LookupError, AttributeError) as error:
            raise ModelError(f"the XGBClassifier is not fitted: {_reason(error)}") from error
    if not isinstance(found, xgboost.Booster):
        return None
    data = bytes(found.save_raw("json"))
    known = read_boosted(data)
    model = Boosted(known.n_features, max(known.n_classes, n_classes or 0))
    model.options["missing"] = missing
    model.take(data)
    return model


def _answering(classifier: xgboost.XGBClassifier) -> xgboost.Booster:
    """Return the rounds that a classifier answers with: not all, if training stopped early."""
    booster = classifier.get_booster()
    if classifier.early_stopping_rounds is None:
        return booster
    return booster[: int(classifier.best_iteration) + 1]


def _written(value: object) -> object:
    """Return constraints, which XGBoost takes as text."""
    if not isinstance(value, list):
        return value
    return str(value if any(isinstance(item, list) for item in value) else tuple(value))


def _reason(error: Exception) -> str:
    """Return what XGBoost says, without time, source line and stack."""
    said = (str(error).strip() or type(error).__name__).splitlines()[0]
    return said.rpartition("] ")[2].rpartition("Check failed: ")[2]
