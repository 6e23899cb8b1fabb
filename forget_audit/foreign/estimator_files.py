"""Classifiers of scikit-learn as files of skops, which name types and hold arrays, but no code.

Types outside the lists of skops are refused, with a few of scikit-learn's own added. Trees are
among those: skops leaves them out because scikit-learn follows their numbers without looking, so
that a file made for it crashes the process. Here every tree is checked before it is asked.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from forget_audit.errors import MissingDependency, ModelError

TREE = "sklearn.tree._tree.Tree"
GROWN = "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor"
TRUSTED = (
    TREE,
    GROWN,
    "sklearn.calibration._CalibratedClassifier",
    "sklearn.calibration._SigmoidCalibration",
    "sklearn.neural_network._stochastic_optimizers.AdamOptimizer",
    "sklearn.neural_network._stochastic_optimizers.SGDOptimizer",
    "sklearn.utils._bunch.Bunch",
)
UNCHECKED = ("sklearn.ensemble._forest.", "sklearn.ensemble._gb.")  # hand rows on as they are
LIBSVM = ("SVC", "NuSVC", "SVR", "NuSVR", "OneClassSVM")
LEAVES = (str, bytes, int, float, complex, bool, type(None), np.generic, np.dtype, np.ufunc, type)
OPAQUE = ("sklearn._loss.", "scipy.sparse.", "numpy.random.")
SCHEMA, EPOCH = "schema.json", (1980, 1, 1, 0, 0, 0)
LARGEST = 4 * 2**30


def need_skops() -> Any:
    """Return `skops.io`.

    Raises:
        MissingDependency: If skops is not installed.
    """
    try:
        import skops.io
    except ImportError as error:
        raise MissingDependency(
            "models of scikit-learn are stored by skops, since pickles can run code: "
            'pip install "forget-audit[hf]"'
        ) from error
    return skops.io


def dumps(model: object) -> bytes:
    """Return `model` as the content of a `.skops` file, equal for equal models.

    Raises:
        MissingDependency: If skops is not installed.
        ModelError: If it holds something that skops cannot store.
    """
    store = need_skops()
    try:
        return _settled(store.dumps(model))
    except Exception as error:
        raise ModelError(
            f"this {type(model).__name__} cannot be stored without pickling it "
            f"({type(error).__name__}: {error}); take parts of scikit-learn and functions that "
            "stand in a module"
        ) from error


def loads(data: bytes) -> Any:
    """Return the model in a `.skops` file; nothing in it is run.

    Raises:
        MissingDependency: If skops is not installed.
        ModelError: If it is damaged or holds other types than scikit-learn's and numpy's.
    """
    store = need_skops()
    try:
        _check_size(data)
        model = store.loads(data, trusted=list(TRUSTED))
    except Exception as error:
        unknown = _unknown_types(store, data)
        if unknown:
            raise ModelError(
                f"the skops file holds types that are not known to be safe: {', '.join(unknown)}; "
                "use those of scikit-learn, or hand in predictions"
            ) from error
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        raise ModelError(f"this is no sound skops file ({reason})") from error
    for tree, width in _trees(model):
        _check_tree(tree, width)
    return model


def _unknown_types(store: Any, data: bytes) -> list[str]:
    try:
        return sorted({*store.get_untrusted_types(data=data)} - {*TRUSTED})
    except Exception:  # noqa: BLE001  damaged: the caller says so
        return []


def _check_size(data: bytes) -> None:
    with zipfile.ZipFile(io.BytesIO(data)) as file:
        if sum(entry.file_size for entry in file.infolist()) > LARGEST:
            raise ModelError(f"the skops file unpacks to more than {LARGEST // 2**30} GiB")


def in_folder(folder: Path) -> Path:
    """Return the skops file that `config.json` of a folder of Hugging Face names.

    Raises:
        ModelError: If it names none, or a file of another kind or place.
    """
    try:
        table = json.loads((folder / "config.json").read_bytes())["sklearn"]
        name, kind = table["model"]["file"], table.get("model_format", "skops")
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise ModelError(f"{folder.name}/config.json names no model of scikit-learn") from error
    if kind != "skops" or not isinstance(name, str) or not name.endswith(".skops"):
        raise ModelError(
            f"{folder.name} holds the model as {kind} in {name!r}; pickles can run code, so save "
            "it with skops.io.dump"
        )
    if Path(name).name != name or not (folder / name).is_file():
        raise ModelError(f"{folder.name}/config.json names {name!r}, which is no file beside it")
    return folder / name


def _trees(
    part: Any,
    width: object = None,
    fixed: bool = False,
    seen: set[int] | None = None,
) -> Iterator[tuple[Any, object]]:
    """Yield each tree within `part`, with the numbers in a row that it will be asked about.

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
        inside = vars(part).values()
    elif not kind.startswith(OPAQUE):
        raise ModelError(f"the skops file holds a {kind}, which cannot be looked into")
    for item in inside:
        yield from _trees(item, width, fixed, seen)


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


def _settled(data: bytes) -> bytes:
    """Return a skops file without what differs between runs: addresses, times, unused bytes."""
    numbers: dict[Any, int] = {}
    names: dict[str, str] = {}

    def settle(part: Any) -> Any:
        if isinstance(part, list):
            return [settle(item) for item in part]
        if not isinstance(part, dict):
            return part
        kept = {name: settle(value) for name, value in part.items()}
        if isinstance(kept.get("__id__"), int):
            kept["__id__"] = numbers.setdefault(kept["__id__"], len(numbers) + 1)
        if "__loader__" in kept and isinstance(kept.get("file"), str):
            suffix = kept["file"].rpartition(".")[2]
            kept["file"] = names.setdefault(kept["file"], f"{len(names) + 1}.{suffix}")
        return kept

    target = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(target, "w") as new:
        schema = json.dumps(settle(json.loads(old.read(SCHEMA))), indent=1).encode()
        for was, now in names.items():
            content = old.read(was)
            new.writestr(_entry(now), _without_gaps(content) if now.endswith(".npy") else content)
        new.writestr(_entry(SCHEMA), schema)
    return target.getvalue()


def _entry(name: str) -> zipfile.ZipInfo:
    return zipfile.ZipInfo(name, date_time=EPOCH)


def _without_gaps(content: bytes) -> bytes:
    """Return an array file whose records have zeros between their fields, not what lay there."""
    array = np.load(io.BytesIO(content), allow_pickle=False)
    if array.dtype.names is None:
        return content
    clean = np.zeros(array.shape, dtype=array.dtype)
    for name in array.dtype.names:
        clean[name] = array[name]
    target = io.BytesIO()
    np.save(target, clean, allow_pickle=False)
    return target.getvalue()
