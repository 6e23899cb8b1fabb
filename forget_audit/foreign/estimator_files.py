"""Classifiers of scikit-learn as files of skops, which name types and hold arrays, but no code.

Types outside the lists of skops are refused, with a few of scikit-learn's own added. Trees are
among those: skops leaves them out because scikit-learn follows their numbers without looking, so
that a file made for it crashes the process. Here every tree is checked before it is asked, see
`estimator_parts`.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from forget_audit.errors import MissingDependency, ModelError
from forget_audit.finite import read_json
from forget_audit.foreign.estimator_parts import GROWN, TREE, check_parts
from forget_audit.packed import check_archive, check_unpacked

TRUSTED = (
    TREE,
    GROWN,
    "sklearn.calibration._CalibratedClassifier",
    "sklearn.calibration._SigmoidCalibration",
    "sklearn.neural_network._stochastic_optimizers.AdamOptimizer",
    "sklearn.neural_network._stochastic_optimizers.SGDOptimizer",
    "sklearn.utils._bunch.Bunch",
)
SCHEMA, EPOCH = "schema.json", (1980, 1, 1, 0, 0, 0)


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
    check_parts(model)
    return model


def _unknown_types(store: Any, data: bytes) -> list[str]:
    try:
        return sorted({*store.get_untrusted_types(data=data)} - {*TRUSTED})
    except Exception:  # noqa: BLE001  damaged: the caller says so
        return []


def _check_size(data: bytes) -> None:
    """Refuse a file that unpacks to too much, also by naming one array again and again.

    Raises:
        ValueError: If it does.
    """
    check_archive(io.BytesIO(data), len(data))
    with zipfile.ZipFile(io.BytesIO(data)) as file:
        sizes = {entry.filename: entry.file_size for entry in file.infolist()}
        named = [str(name) for name in _files_named(read_json(file.read(SCHEMA)))]
        total = sum(sizes.get(name, 0) for name in named)
        check_unpacked(total, len(data))
        for name in {name for name in named if name.endswith(".npz")} & sizes.keys():
            check_archive(io.BytesIO(file.read(name)), len(data) // max(named.count(name), 1))


def _files_named(part: Any) -> Iterator[Any]:
    """Yield each name of a file in a schema, as often as it stands there."""
    waiting = [part]
    while waiting:
        part = waiting.pop()
        if isinstance(part, dict):
            if "__loader__" in part and "file" in part:
                yield part["file"]
            waiting += part.values()
        elif isinstance(part, list):
            waiting += part


def in_folder(folder: Path) -> Path:
    """Return the skops file that `config.json` of a folder of Hugging Face names.

    Raises:
        ModelError: If it names none, or a file of another kind or place.
    """
    try:
        table = read_json((folder / "config.json").read_bytes())["sklearn"]
        name, kind = table["model"]["file"], table.get("model_format", "skops")
    except (
        OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError,
    ) as error:  # fmt: skip
        raise ModelError(f"{folder.name}/config.json names no model of scikit-learn") from error
    if kind != "skops" or not isinstance(name, str) or not name.endswith(".skops"):
        raise ModelError(
            f"{folder.name} holds the model as {kind} in {name!r}; pickles can run code, so save "
            "it with skops.io.dump"
        )
    beside = {path.name for path in folder.iterdir() if path.is_file()}
    if name not in beside:  # the system is not asked about a name that it may not even take
        raise ModelError(
            f"{folder.name}/config.json names {name[:80]!r}, which is no file beside it"
        )
    return folder / name


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
