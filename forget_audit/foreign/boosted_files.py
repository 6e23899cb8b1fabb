"""Model files of XGBoost, checked number by number before XGBoost itself sees them.

XGBoost's reader trusts its files: a truncated or altered one can crash the process, and one made
for it might do worse. So a file is read here, every index is held against what it points into,
and XGBoost is given a document made anew from what was found good.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from forget_audit.errors import ModelError
from forget_audit.finite import read_json
from forget_audit.foreign import ubjson

OBJECTIVES = ("binary:logistic", "binary:logitraw", "multi:softprob", "multi:softmax")
MULTI = "softmax_multiclass_param"
NO_NODE, NO_PARENT, DELETED = -1, 2**31 - 1, 2**31 - 1
REALS = ("base_weights", "loss_changes", "split_conditions", "sum_hessian")
CATEGORICAL = ("categories", "categories_nodes", "categories_segments", "categories_sizes")

Table = Mapping[str, Any]
Whole = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class BoostedFile:
    """A checked model.

    Args:
        data: As JSON that is safe to give to XGBoost.
        n_features: Numbers in a row.
        n_classes: Classes that it answers for.
        rounds: The rounds that count, if training stopped early and the file says so.
    """

    data: bytes
    n_features: int
    n_classes: int
    rounds: int | None


def read_boosted(data: bytes) -> BoostedFile:
    """Check the content of a `.json` or `.ubj` file of XGBoost.

    Raises:
        ModelError: If it is damaged, or not a classifier with numbers as features.
    """
    try:
        return _checked(_parsed(data))
    except (
        ValueError, TypeError, LookupError, AttributeError, RecursionError, OverflowError,
    ) as error:  # fmt: skip
        reason = f"no entry {error}" if isinstance(error, KeyError) else str(error)
        raise ModelError(
            f"this is no sound model file of XGBoost ({reason}); save the classifier with "
            "save_model('model.json')"
        ) from error


def _parsed(data: bytes) -> Any:
    if data[:1] != b"{":
        raise ValueError("it starts like neither JSON nor UBJSON")
    follows = data[1:].lstrip(b" \t\r\n")[:1]
    if follows not in (b'"', b"}"):
        return ubjson.loads(data)
    return read_json(data)


def _checked(document: Table) -> BoostedFile:
    learner = _table(document, "learner")
    shape, objective = _table(learner, "learner_model_param"), _table(learner, "objective")
    attributes = _table(learner, "attributes")
    n_features, classes = _count(shape, "num_feature", 1), _count(shape, "num_class", 0)
    name = objective["name"]
    if name not in OBJECTIVES:
        raise ValueError(f"the objective is {name!r}; expected one of {', '.join(OBJECTIVES)}")
    if _count(shape, "num_target", 1) != 1:
        raise ValueError("it answers several targets; expected one class a row")
    several = name.startswith("multi:")
    if several != (classes > 1):
        raise ValueError(f"{classes} classes do not go with the objective {name}")
    if any(kind == "c" for kind in learner.get("feature_types", [])):
        raise ValueError("it has categorical features; expected numbers")
    groups = classes if several else 1
    booster, rounds = _booster(_table(learner, "gradient_booster"), n_features, groups)
    if several:
        goal: Table = {"name": name, MULTI: {"num_class": str(classes)}}
    else:
        goal = {"name": name, "reg_loss_param": {"scale_pos_weight": "1"}}
    kept = {
        "learner": {
            "attributes": {},
            "feature_names": [],
            "feature_types": [],
            "gradient_booster": booster,
            "learner_model_param": {
                "base_score": _base_score(shape["base_score"], groups),
                "boost_from_average": "1",
                "num_class": str(classes),
                "num_feature": str(n_features),
                "num_target": "1",
            },
            "objective": goal,
        },
        "version": _version(document["version"]),
    }
    return BoostedFile(
        data=json.dumps(kept, allow_nan=False, separators=(",", ":")).encode(),
        n_features=n_features,
        n_classes=max(classes, 2),
        rounds=_stopped(attributes, rounds),
    )


def _booster(part: Table, n_features: int, groups: int) -> tuple[Table, int]:
    """Return the trees or weights, and the number of rounds."""
    name = part["name"]
    if name == "dart":
        trees = _forest(_table(_table(part, "gbtree"), "model"), n_features, groups)
        drop = _reals(part["weight_drop"], len(trees["trees"]), "weight_drop")
        inner = {"model": trees, "name": "gbtree"}
        return {"gbtree": inner, "name": name, "weight_drop": drop}, _rounds(trees, groups)
    if name == "gbtree":
        trees = _forest(_table(part, "model"), n_features, groups)
        return {"model": trees, "name": name}, _rounds(trees, groups)
    if name == "gblinear":
        model = _table(part, "model")
        weights = _reals(model["weights"], (n_features + 1) * groups, "weights")
        rounds = _whole([model["boosted_rounds"]], 1, 0, 2**31, "boosted_rounds")
        count = int(rounds[0])
        return {"model": {"boosted_rounds": count, "weights": weights}, "name": name}, count
    raise ValueError(f"the booster is {name!r}; expected gbtree, dart or gblinear")


def _rounds(forest: Table, groups: int) -> int:
    each = groups * int(forest["gbtree_model_param"]["num_parallel_tree"])
    return len(forest["trees"]) // each


def _forest(model: Table, n_features: int, groups: int) -> dict[str, Any]:
    sizes, trees = _table(model, "gbtree_model_param"), model["trees"]
    count, parallel = _count(sizes, "num_trees", 0), _count(sizes, "num_parallel_tree", 1)
    cats = model.get("cats", {})
    if any(len(value) for value in cats.values()):
        raise ValueError("it has categorical features; expected numbers")
    if len(trees) != count or count % (groups * parallel):
        raise ValueError(f"{count} trees are announced, {len(trees)} are there")
    ends = np.arange(0, count + 1, groups * parallel)
    found = model.get("iteration_indptr", ends)
    if not np.array_equal(_whole(found, len(ends), 0, count + 1, "iteration_indptr"), ends):
        raise ValueError("iteration_indptr does not count the trees of each round")
    group = np.arange(count) // parallel % groups
    if not np.array_equal(_whole(model["tree_info"], count, 0, groups, "tree_info"), group):
        raise ValueError("tree_info does not deal the trees of each round to the classes")
    kept = {
        "gbtree_model_param": {"num_parallel_tree": str(parallel), "num_trees": str(count)},
        "tree_info": group.tolist(),
        "trees": [_tree(tree, k, n_features) for k, tree in enumerate(trees)],
    }
    same = {name: model[name] for name in ("cats",) if name in model}
    if same:
        same["cats"] = {"enc": [], "feature_segments": [], "sorted_idx": []}
    if "iteration_indptr" in model:
        kept["iteration_indptr"] = ends.tolist()
    return {**same, **kept}


def _tree(tree: Table, number: int, n_features: int) -> Table:
    sizes = _table(tree, "tree_param")
    count = _count(sizes, "num_nodes", 1)
    if _count(sizes, "size_leaf_vector", 0) > 1:
        raise ValueError("a leaf holds several numbers; expected one tree a class")
    left = _whole(tree["left_children"], count, NO_NODE, count, "left_children")
    right = _whole(tree["right_children"], count, NO_NODE, count, "right_children")
    splits = left != NO_NODE
    children = np.concatenate([left[splits], right[splits]])
    if not np.array_equal(splits, right != NO_NODE):
        raise ValueError(f"tree {number} has a node with one child")
    if 0 in children or len(np.unique(children)) != len(children):
        raise ValueError(f"tree {number} has a node with two parents")
    parents = np.full(count, NO_PARENT)
    parents[children] = np.tile(np.flatnonzero(splits), 2)
    deleted = _unreachable(left, right, splits)
    feature = _whole(tree["split_indices"], count, 0, DELETED + 1, "split_indices")
    if np.any(feature[~deleted] >= n_features):
        raise ValueError(f"tree {number} asks for a feature beyond the {n_features} that it has")
    if _count(sizes, "num_deleted", 0) != deleted.sum() or np.any(feature[deleted] != DELETED):
        raise ValueError(f"tree {number} has nodes that nothing leads to")
    if np.any(_whole(tree["split_type"], count, 0, 2, "split_type")):
        raise ValueError("it has categorical features; expected numbers")
    kept: dict[str, Any] = {name: [] for name in CATEGORICAL}
    kept |= {name: _reals(tree[name], count, name) for name in REALS}
    known = _whole(tree["parents"], count, NO_NODE, NO_PARENT + 1, "parents")
    if not np.array_equal(known[~deleted][1:], parents[~deleted][1:]):
        raise ValueError(f"tree {number} names other parents than its children do")
    return kept | {
        "default_left": _whole(tree["default_left"], count, 0, 2, "default_left").tolist(),
        "id": number,
        "left_children": left.tolist(),
        "parents": known.tolist(),
        "right_children": right.tolist(),
        "split_indices": feature.tolist(),
        "split_type": [0] * count,
        "tree_param": {
            "num_deleted": str(int(deleted.sum())),
            "num_feature": str(n_features),
            "num_nodes": str(count),
            "size_leaf_vector": str(_count(sizes, "size_leaf_vector", 0)),
        },
    }


def _unreachable(left: Whole, right: Whole, splits: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Mark nodes that the root does not lead to; each node has at most one parent."""
    lost = np.ones(len(left), dtype=bool)
    level = np.zeros(1, dtype=np.int64)
    while len(level):
        lost[level] = False
        inner = level[splits[level]]
        level = np.concatenate([left[inner], right[inner]])
    return lost


def _stopped(attributes: Table, rounds: int) -> int | None:
    """Return the rounds that scikit-learn's interface of XGBoost answers with."""
    if "scikit_learn" not in attributes or "best_iteration" not in attributes:
        return None
    best = int(attributes["best_iteration"])
    if not 0 <= best < rounds:
        raise ValueError(f"best_iteration is {best}, and there are {rounds} rounds")
    return best + 1


def _table(part: Table, name: str) -> Table:
    found = part[name]
    if not isinstance(found, dict):
        raise TypeError(f"{name} is no table")
    return found


def _count(part: Table, name: str, least: int) -> int:
    """Return a number that XGBoost writes as text."""
    text = part[name]
    if not isinstance(text, str) or not text.isascii() or not text.isdigit() or len(text) > 9:
        raise ValueError(f"{name}: expected a whole number as text, found {text!r}")
    if int(text) < least:
        raise ValueError(f"{name}: expected at least {least}, found {text}")
    return int(text)


def _whole(values: Any, count: int, low: int, high: int, name: str) -> Whole:
    """Return whole numbers from `low` to below `high`."""
    found = np.asarray(values)
    if found.shape != (count,) or (count and found.dtype.kind not in "iub"):
        raise ValueError(f"{name}: expected {count} whole numbers")
    if count and not low <= int(found.min()) <= int(found.max()) < high:
        raise ValueError(f"{name}: expected numbers from {low} to {high - 1}")
    return found.astype(np.int64)


def _reals(values: Any, count: int, name: str) -> list[float]:
    found = np.asarray(values)
    if found.shape != (count,) or (count and found.dtype.kind not in "iuf"):
        raise ValueError(f"{name}: expected {count} numbers")
    with np.errstate(over="ignore"):
        single = found.astype(np.float32)
    if not np.all(np.isfinite(single)):
        raise ValueError(f"{name}: expected finite numbers")
    kept: list[float] = single.astype(np.float64).tolist()
    return kept


def _base_score(text: Any, groups: int) -> str:
    inside = str(text).removeprefix("[").removesuffix("]")
    values = _reals(
        [float(part) for part in inside.split(",")], inside.count(",") + 1, "base_score"
    )
    if len(values) not in (1, groups):
        raise ValueError(f"base_score holds {len(values)} numbers for {groups} outputs")
    words = ",".join(f"{value:.9g}" for value in values)
    return f"[{words}]" if str(text).startswith("[") else words


def _version(values: Any) -> list[int]:
    return [int(part) for part in _whole(values, 3, 0, 10_000, "version")]
