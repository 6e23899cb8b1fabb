"""Small stress tests, made once: digits with planted wrong labels and planted near-copies."""

from functools import cache
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits

from forget_audit.architectures import Architecture
from forget_audit.plans.plan import Plan, check_plan
from forget_audit.seeds import derive
from forget_audit.stress.ground import Extent, Ground, Split, ground, split
from forget_audit.stress.scouts import Scouts, halves
from forget_audit.targets import Target
from forget_audit.training.loop import Recipe
from forget_audit.training.trainers import RecipeTrainer
from forget_audit.types import Ids, Rows
from forget_audit.worst_case import Surrogate

WRONG, COPIES, SIZE = 20, 15, 15
SMALL = Extent(size=15, seeds=2, references=4, originals=2, pairs=2, parts=0)


@cache
def trainer() -> RecipeTrainer:
    architecture = Architecture(name="mlp", shape=(64,), n_classes=10, options={"hidden": [64]})
    return RecipeTrainer(architecture=architecture, recipe=Recipe(epochs=60, lr=0.01))


@cache
def planted() -> tuple[Rows, Rows]:
    """Training and spare rows; the first rows bear wrong labels, the last are copies of others."""
    digits = load_digits()
    order = np.random.default_rng(3).permutation(len(digits.target))
    x, y = digits.data[order] / 16, digits.target[order].astype(np.int64)
    train, spare = slice(0, 220), slice(220, 300)
    labels = y[train].copy()
    labels[:WRONG] = (labels[:WRONG] + 1 + np.arange(WRONG) % 9) % 10
    of = slice(100, 100 + COPIES)
    factor = np.random.default_rng(4).uniform(0.9, 1.0, (COPIES, 64))
    rows = Rows(
        x=np.concatenate([x[train], x[of] * factor]),
        y=np.concatenate([labels, labels[of]]),
        ids=np.array([f"row-{k}" for k in range(220 + COPIES)]),
    )
    return rows, Rows(x=x[spare], y=y[spare], ids=np.array([f"spare-{k}" for k in range(80)]))


def wrong() -> Ids:
    return planted()[0].ids[:WRONG]


def pairs() -> list[tuple[str, str]]:
    return [(f"row-{100 + k}", f"row-{220 + k}") for k in range(COPIES)]


@cache
def scouts() -> Scouts:
    """Scouts that have seen the planted rows; sub-classes are classes by parity of position."""
    rows, spare = planted()
    members = halves(len(rows), 10, 7)
    subsets = [np.arange(len(rows)), *(np.flatnonzero(seen) for seen in members)]
    seeds = [derive(8, k) for k in range(len(subsets))]
    own, *others = (Target(m) for m in trainer().many(rows.x, rows.y, subsets, seeds))
    return Scouts(
        rows=rows,
        n_classes=10,
        surrogate=Surrogate(target=own, audited=()),
        halves=tuple(Surrogate(target=target, audited=()) for target in others),
        members=members,
        finer=2 * rows.y + np.arange(len(rows)) % 2,
        spare=spare,
    )


@cache
def plan() -> Plan:
    tables: dict[str, object] = {
        "request": {"reference": "REQ-1", "random": 15},
        "data": {"source": "digits", "label_noise": 0.15, "train": 150, "test": 80,
                 "auxiliary": 60},
        "model": {"options": {"hidden": [16]}},
        "training": {"epochs": 15, "lr": 0.01},
        "method": {"name": "scrub", "options": {"epochs": 2}},
    }  # fmt: skip
    return check_plan(tables, Path())


@cache
def prepared() -> tuple[Split, Ground]:
    own = split(plan(), SMALL, 0)
    return own, ground(own, SMALL, (), pairs=True)
