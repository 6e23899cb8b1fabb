"""What stands inside a loaded model of scikit-learn, looked into before it is asked anything.

scikit-learn follows the numbers of its trees without looking, so that a file made for it reads or
writes beyond its memory.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from forget_audit.errors import ModelError

GROWN = "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor"
TREE = "sklearn.tree._tree.Tree"
UNCHECKED = ("sklearn.ensemble._forest.", "sklearn.ensemble._gb.")  # hand rows on as they are
BOOSTING = "sklearn.ensemble._gb."
LIBSVM = ("SVC", "NuSVC", "SVR", "NuSVR", "OneClassSVM")
LEAVES = (str, bytes, int, float, complex, bool, type(None), np.generic, np.dtype, np.ufunc, type)
OPAQUE = ("sklearn._loss.", "scipy.sparse.", "numpy.random.")


def check_parts(model: object) -> None:
    """Check every tree in a loaded model, and every model that adds trees up.

    Raises:
        ModelError: If one points beyond itself, or there is something that cannot be looked into.
    """
    try:
        found = list(_trees(model))
    except RecursionError as error:
        raise ModelError("the skops file is nested too deeply") from error
    for part, width in found:
        if not _is_boosting(part):
            _check_tree(part, width)
    for part, width in found:
        if _is_boosting(part):
            _check_boosting(part, width)


def _trees(
    part: Any,
    width: object = None,
    fixed: bool = False,
    seen: set[int] | None = None,
) -> Iterator[tuple[Any, object]]:
    """Yield each tree and boosting within `part`, with the numbers in a row that it is asked about.

    Args:
        part: Anything within a loaded model.
        width: Numbers in a row, as the classifiers around `part` say.
        fixed: Whether those classifiers hand rows to their parts without a check.
        seen: What has been looked into.

    Raises:
        ModelError: If there is something that cannot be looked into.
    """
    seen = set() if seen is None else seen
    if isinstance(part, LEAVES) or id(part) in seen:
        return
    seen.add(id(part))
    kind = f"{type(part).__module__}.{type(part).__qualname__}"
    inside: Iterable[Any] = ()
    if kind in (TREE, GROWN):
        yield part, width
    elif isinstance(part, dict):
        inside = [*part.keys(), *part.values()]
    elif isinstance(part, (list, tuple, set, frozenset)):
        inside = part
    elif isinstance(part, np.ndarray):
        inside = part.ravel().tolist() if part.dtype.hasobject else ()
    elif kind.startswith("sklearn.svm.") and type(part).__name__ in LIBSVM:
        raise ModelError(f"a {type(part).__name__} cannot be checked; hand in predictions")
    elif kind.startswith("sklearn.") and hasattr(part, "__dict__"):
        width = width if fixed else vars(part).get("n_features_in_", width)
        fixed = fixed or kind.startswith(UNCHECKED)
        if kind.startswith(BOOSTING):
            yield part, width
        inside = vars(part).values()
    elif not kind.startswith(OPAQUE):
        raise ModelError(f"the skops file holds a {kind}, which cannot be looked into")
    for item in inside:
        yield from _trees(item, width, fixed, seen)


def _is_boosting(part: Any) -> bool:
    return f"{type(part).__module__}.".startswith(BOOSTING)


def _check_boosting(model: Any, width: object) -> None:
    """Check that each round has as many trees as the model has outputs.

    scikit-learn writes what further trees answer beyond the end of its memory. How many outputs
    there are follows from the model that boosting starts from, so that one is asked.

    Raises:
        ModelError: If there are others.
    """
    try:
        start = model._raw_predict_init(np.zeros((1, int(str(width))), dtype=np.float32))
        fits = np.shape(model.estimators_) == (len(model.estimators_), np.shape(start)[1])
    except Exception as error:
        raise ModelError("the skops file holds boosted trees that cannot be asked") from error
    if not fits or start.dtype != np.float64 or len(start) != 1:
        raise ModelError("the skops file holds boosted trees that do not fit their classes")


def _check_tree(tree: Any, width: object) -> None:
    """Check that nothing in a tree points beyond it, and that each path through it ends.

    Raises:
        ModelError: If something does, or the tree is for other rows than its classifier.
    """
    if type(tree).__qualname__ == "Tree":
        if not 0 < tree.node_count <= tree.capacity or (tree.n_features, tree.n_outputs) != (
            width,
            1,
        ):
            raise ModelError("the skops file holds a tree that does not fit its classifier")
        left, right, feature = tree.children_left, tree.children_right, tree.feature
    else:
        nodes = tree.nodes
        if nodes.ndim != 1 or not len(nodes) or nodes["is_categorical"].any():
            raise ModelError("the skops file holds a tree that splits by categories, or is empty")
        ends = nodes["is_leaf"] != 0
        left, right = (
            np.where(ends, -1, nodes[side].astype(np.int64)) for side in ("left", "right")
        )
        feature = nodes["feature_idx"]
    here = np.flatnonzero(left != -1)
    children = np.stack([left[here], right[here]])
    inside = np.all((children > here) & (children < len(left)))
    known = isinstance(width, int) and np.all((feature[here] >= 0) & (feature[here] < width))
    if not inside or not known or np.any(right[left == -1] != -1):
        raise ModelError("the skops file holds a tree with numbers that point beyond it")
