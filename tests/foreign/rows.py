"""Small rows, and models of other libraries trained on them."""

from functools import cache
from typing import Any

import numpy as np
import xgboost

from forget_audit.architectures import Architecture
from forget_audit.training.trainers import SelfTrainer
from forget_audit.types import Case, Features, Labels, Rows

WIDTH = 5
FOREST = "sklearn:ensemble.RandomForestClassifier"


def features(count: int = 200) -> Features:
    rng = np.random.default_rng(0)
    return rng.normal(size=(count, WIDTH)).astype(np.float32)


def labels(n_classes: int, count: int = 200) -> Labels:
    rng = np.random.default_rng(n_classes)
    return rng.integers(0, n_classes, count)


def table() -> tuple[Features, Labels]:
    """A data set as a plan can name it."""
    return features(600), labels(3, 600)


def architecture(name: str, n_classes: int = 2, **options: Any) -> Architecture:
    return Architecture(name=name, shape=(WIDTH,), n_classes=n_classes, options=options)


@cache
def classifier(n_classes: int, **options: Any) -> xgboost.XGBClassifier:
    """A classifier that a user trained; never change it."""
    model = xgboost.XGBClassifier(n_estimators=4, max_depth=3, n_jobs=1, **options)
    return model.fit(features(), labels(n_classes))


def case_for(name: str, n_classes: int = 2, **options: Any) -> Case:
    """100 retained rows, 20 to forget, and a recipe of the architecture."""
    x, y = features(300), labels(n_classes, 300)
    rows = Rows(x=x, y=y, ids=np.array([f"row-{i}" for i in range(300)]))
    places = {"retain": (0, 100), "forget": (100, 125), "test": (125, 240)}
    retain, forget, test = (rows.take(np.arange(*ends)) for ends in places.values())
    return Case(
        name="small",
        n_classes=n_classes,
        retain=retain,
        forget=forget,
        test=test,
        auxiliary=rows.take(np.arange(240, 300)),
        trainer=SelfTrainer(architecture=architecture(name, n_classes, **options)),
    )
