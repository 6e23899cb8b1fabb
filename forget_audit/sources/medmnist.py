"""MedMNIST: medical pictures, one npz file a data set."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import Field

from forget_audit.datasets import Dataset
from forget_audit.errors import CaseError
from forget_audit.sources.assembling import Pictures, assemble, position_ids
from forget_audit.sources.checks import MOST_CLASSES
from forget_audit.sources.files import must_exist
from forget_audit.sources.images import Bytes, pixels
from forget_audit.sources.npz import read_npz
from forget_audit.sources.options import ImageOptions, read_options
from forget_audit.types import Labels

PARTS = {"train": "train", "val": "auxiliary", "test": "test"}
ORGANS = (
    "bladder", "femur-left", "femur-right", "heart", "kidney-left", "kidney-right", "liver",
    "lung-left", "lung-right", "pancreas", "spleen",
)  # fmt: skip


class MedmnistOptions(ImageOptions):
    """What the reader of MedMNIST may be told.

    Args:
        flag: Name of the data set.
    """

    flag: Annotated[str, Field(pattern=r"^[a-z0-9]+$")] = "organamnist"


def medmnist(path: Path, options: Mapping[str, object]) -> Dataset:
    """MedMNIST: medical pictures of 28 x 28 pixels, OrganAMNIST unless told otherwise.

    The folder holds `organamnist.npz`, or the path is that file. With `size = 64` the file
    `organamnist_64.npz` is read if it is there. Official training rows are for training,
    validation rows are the auxiliary rows. Several labels a row become a label matrix.
    """
    checked = read_options(MedmnistOptions, "medmnist", options)
    file = path
    if path.suffix != ".npz":
        larger = path / f"{checked.flag}_{checked.size}.npz"
        file = larger if larger.is_file() else path / f"{checked.flag}.npz"
    must_exist(file.parent, (file.name,), "MedMNIST")
    flag = re.sub(r"_\d+$", "", file.stem)
    wanted = [f"{part}_{what}" for part in PARTS for what in ("images", "labels")]
    arrays = read_npz(file, wanted)
    lacking = [name for name in wanted if name not in arrays]
    if lacking:
        raise CaseError(f"{file.name} holds no array {lacking[0]!r}; found {', '.join(arrays)}")
    parts = [
        _part(arrays[f"{p}_images"], arrays[f"{p}_labels"], f"{p} of {file.name}") for p in PARTS
    ]
    if len({(images.shape[1:], labels.shape[1:]) for images, labels in parts}) > 1:
        raise CaseError(f"{file.name}: pictures or labels of its three parts differ in shape")
    y = np.concatenate([labels for _, labels in parts])
    sizes = {part: len(labels) for part, (_, labels) in zip(PARTS, parts, strict=True)}
    several = y.shape[1] > 1
    pictures = Pictures(
        items=pixels(np.concatenate([images for images, _ in parts]), checked),
        y=y if several else y[:, 0],
        ids=np.concatenate([position_ids(f"{flag}-{part}", n) for part, n in sizes.items()]),
        split=np.concatenate([np.full(n, PARTS[part]) for part, n in sizes.items()]),
        labels=tuple(f"label {i}" for i in range(y.shape[1])) if several else (),
        classes=_classes(flag, y) if not several else (),
    )
    title = f"MedMNIST v2, {flag} (Yang et al., 2023)"
    return assemble(flag, title, pictures, checked, stream=False)


def _part(images: np.ndarray, labels: np.ndarray, where: str) -> tuple[Bytes, Labels]:
    if images.dtype != np.uint8 or images.ndim not in (3, 4):
        raise CaseError(f"{where}: expected pictures of bytes, found {images.dtype} {images.shape}")
    if labels.ndim != 2 or len(labels) != len(images) or not len(labels):
        raise CaseError(f"{where}: {len(images)} pictures, but labels of shape {labels.shape}")
    whole = np.issubdtype(labels.dtype, np.integer) and labels.size
    if not whole or not 0 <= labels.min() <= labels.max() < MOST_CLASSES:
        raise CaseError(f"{where}: expected labels from 0, found {labels.dtype} {labels.shape}")
    if 0 in images.shape:
        raise CaseError(f"{where}: expected pictures, found {images.shape}")
    colour = images.ndim == 4 and images.shape[3] == 3
    shaped = images.transpose(0, 3, 1, 2) if colour else images[:, None]
    return np.ascontiguousarray(shaped), labels.astype(np.int64)


def _classes(flag: str, y: Labels) -> tuple[str, ...]:
    if flag in ("organamnist", "organcmnist", "organsmnist") and y.max() < len(ORGANS):
        return ORGANS
    return tuple(str(number) for number in range(int(y.max()) + 1))
