"""CIFAR-10 and CIFAR-100, binary or Python version.

torchvision's reader unpickles, which runs whatever a file holds, so it is not used: the binary
version is plain records, and the Python version is read without running anything, see
`inert_pickle`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from forget_audit.datasets import Dataset
from forget_audit.errors import CaseError
from forget_audit.sources.assembling import Pictures, assemble, position_ids
from forget_audit.sources.files import must_exist, read_lines, reading
from forget_audit.sources.images import Bytes, pixels
from forget_audit.sources.inert_pickle import flat, read_values
from forget_audit.sources.options import ImageOptions, read_options
from forget_audit.types import Labels

PICTURE = 3 * 32 * 32


@dataclass(frozen=True, kw_only=True)
class Version:
    """How one version of a CIFAR lies on disk.

    Args:
        folder: Of its archive.
        train: Files of training rows.
        test: File of test rows.
        labels: What each row is labelled with, in this order; the last is the finest.
        names: Files of class names, in the same order, and for pickled ones the key.
        pickled: Whether it is the Python version.
    """

    folder: str
    train: tuple[str, ...]
    test: str
    labels: tuple[str, ...]
    names: tuple[tuple[str, str], ...]
    pickled: bool


TEN = (
    Version(
        folder="cifar-10-batches-bin",
        train=tuple(f"data_batch_{i}.bin" for i in range(1, 6)),
        test="test_batch.bin",
        labels=("labels",),
        names=(("batches.meta.txt", ""),),
        pickled=False,
    ),
    Version(
        folder="cifar-10-batches-py",
        train=tuple(f"data_batch_{i}" for i in range(1, 6)),
        test="test_batch",
        labels=("labels",),
        names=(("batches.meta", "label_names"),),
        pickled=True,
    ),
)
HUNDRED = (
    Version(
        folder="cifar-100-binary",
        train=("train.bin",),
        test="test.bin",
        labels=("coarse_labels", "fine_labels"),
        names=(("coarse_label_names.txt", ""), ("fine_label_names.txt", "")),
        pickled=False,
    ),
    Version(
        folder="cifar-100-python",
        train=("train",),
        test="test",
        labels=("coarse_labels", "fine_labels"),
        names=(("meta", "coarse_label_names"), ("meta", "fine_label_names")),
        pickled=True,
    ),
)
CLASSES = {"labels": 10, "coarse_labels": 20, "fine_labels": 100}


def cifar10(path: Path, options: Mapping[str, object]) -> Dataset:
    """CIFAR-10: 60,000 small photographs in ten classes, 32 x 32 pixels, three channels.

    The folder holds `cifar-10-batches-bin` or `cifar-10-batches-py`, or is one of them. The
    official 50,000 rows are for training; half of the official test rows are kept aside as
    auxiliary rows, drawn by seed.
    """
    title = "CIFAR-10 (Krizhevsky, 2009)"
    return _load("cifar10", title, path, options, TEN, "labels")


def cifar100(path: Path, options: Mapping[str, object]) -> Dataset:
    """CIFAR-100: 60,000 small photographs in a hundred classes, 32 x 32 pixels, three channels.

    The folder holds `cifar-100-binary` or `cifar-100-python`, or is one of them. Split as
    CIFAR-10 is.
    """
    title = "CIFAR-100 (Krizhevsky, 2009)"
    return _load("cifar100", title, path, options, HUNDRED, "fine_labels")


def cifar20(path: Path, options: Mapping[str, object]) -> Dataset:
    """CIFAR-20: the rows of CIFAR-100 in its 20 coarse classes, the fine ones as sub-classes."""
    title = "CIFAR-100 (Krizhevsky, 2009) under its 20 coarse classes"
    return _load("cifar20", title, path, options, HUNDRED, "coarse_labels")


def _load(
    name: str,
    title: str,
    path: Path,
    given: Mapping[str, object],
    versions: Sequence[Version],
    label: str,
) -> Dataset:
    options = read_options(ImageOptions, name, given)
    version, folder = _find(path, versions, title)
    must_exist(folder, (*version.train, version.test), title)
    parts = [_read(folder / file, version) for file in (*version.train, version.test)]
    n_train = sum(len(images) for images, _ in parts[:-1])
    n_test = len(parts[-1][0])
    labels = {key: np.concatenate([found[key] for _, found in parts]) for key in version.labels}
    prefix = "cifar100" if versions is HUNDRED else "cifar10"
    pictures = Pictures(
        items=pixels(np.concatenate([images for images, _ in parts]), options),
        y=labels[label],
        ids=np.concatenate(
            [position_ids(f"{prefix}-train", n_train), position_ids(f"{prefix}-test", n_test)]
        ),
        split=np.array(["train"] * n_train + ["test"] * n_test, dtype=np.str_),
        subclasses=labels["fine_labels"] if label == "coarse_labels" else None,
        classes=_names(folder, version, label),
    )
    return assemble(name, title, pictures, options, stream=False)


def _find(path: Path, versions: Sequence[Version], title: str) -> tuple[Version, Path]:
    for version in versions:
        for folder in (path / version.folder, path):
            if (folder / version.train[0]).is_file():
                return version, folder
    wanted = " or ".join(version.folder for version in versions)
    raise CaseError(f"expected {wanted} of {title} in {path.name}; unpack the archive there first")


def _read(path: Path, version: Version) -> tuple[Bytes, Mapping[str, Labels]]:
    with reading(path.name, "a batch of CIFAR", TypeError):
        images, labels = (_pickled if version.pickled else _records)(path, version)
    for key, values in labels.items():
        if len(values) != len(images) or not len(values):
            raise CaseError(f"{path.name}: {len(images)} pictures, but {len(values)} {key}")
        if values.min() < 0 or values.max() >= CLASSES[key]:
            raise CaseError(
                f"{path.name}: expected {key} from 0 to {CLASSES[key] - 1}, found {values.max()}; "
                "the file is damaged or of another data set"
            )
    return images.reshape(-1, 3, 32, 32), labels


def _records(path: Path, version: Version) -> tuple[Bytes, Mapping[str, Labels]]:
    content = np.fromfile(path, dtype=np.uint8)
    width = len(version.labels) + PICTURE
    if not len(content) or len(content) % width:
        raise ValueError(f"expected records of {width} bytes, found {len(content)} bytes in all")
    rows = content.reshape(-1, width)
    labels = {key: rows[:, i].astype(np.int64) for i, key in enumerate(version.labels)}
    return rows[:, len(version.labels) :], labels


def _pickled(path: Path, version: Version) -> tuple[Bytes, Mapping[str, Labels]]:
    values: dict[str, Any] = read_values(path.read_bytes())
    lacking = [key for key in ("data", *version.labels) if key not in values]
    if lacking:
        raise ValueError(f"it holds no {lacking[0]}")
    images: Any = values["data"]
    if not isinstance(images, np.ndarray):
        raise ValueError(  # noqa: TRY004 the file is at fault
            f"expected rows of {PICTURE} bytes, found {type(images).__name__}"
        )
    if images.dtype != np.uint8 or images.ndim != 2 or images.shape[1] != PICTURE:
        raise ValueError(f"expected rows of {PICTURE} bytes, found {images.dtype} {images.shape}")
    return images, {key: np.array(flat(values[key], int), dtype=np.int64) for key in version.labels}


def _listed(path: Path, key: str) -> list[str]:
    """Return a list of texts in a pickled file."""
    values = read_values(path.read_bytes()).get(key)
    if not isinstance(values, list):
        raise ValueError(f"it holds no list {key}")  # noqa: TRY004 the file is at fault
    kind = bytes if values and isinstance(values[0], bytes) else str
    names = flat(values, kind)
    return [name.decode("latin-1") if isinstance(name, bytes) else name for name in names]


def _names(folder: Path, version: Version, label: str) -> tuple[str, ...]:
    """Return the names of the classes, or their numbers if there is no list of them."""
    file, key = version.names[version.labels.index(label)]
    path, count = folder / file, CLASSES[label]
    if path.is_file():
        with reading(path.name, "the names of classes"):
            found = _listed(path, key) if version.pickled else read_lines(path)
            if len(found) != count:
                raise ValueError(f"expected {count} names, found {len(found)}")
        return tuple(found)
    return tuple(str(number) for number in range(count))
