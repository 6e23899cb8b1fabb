"""SVHN in its own format: MATLAB files of cropped digits.

torchvision's reader refuses every file but the published ones, by their MD5, so that neither a
part of the data nor a corrected copy can be read.
"""

import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from forget_audit.datasets import Dataset
from forget_audit.sources.assembling import Pictures, assemble, position_ids
from forget_audit.sources.files import find_folder, must_exist, reading
from forget_audit.sources.images import Bytes, pixels
from forget_audit.sources.matlab import read_matlab
from forget_audit.sources.options import ImageOptions, read_options
from forget_audit.types import Labels

FILES = {"train": "train_32x32.mat", "test": "test_32x32.mat"}


def svhn(path: Path, options: Mapping[str, object]) -> Dataset:
    """SVHN: 99,289 house numbers, cropped to single digits of 32 x 32 pixels, three channels.

    The folder holds `train_32x32.mat` and `test_32x32.mat`. The label 10, which stands for the
    digit 0 in the files, becomes 0. The official training rows are for training; half of the
    official test rows are kept aside as auxiliary rows, drawn by seed.
    """
    title = "Street View House Numbers (Netzer et al., 2011)"
    checked = read_options(ImageOptions, "svhn", options)
    folder = find_folder(path, ("svhn", "SVHN"), FILES["train"], title)
    must_exist(folder, tuple(FILES.values()), title)
    parts = {role: _read(folder / name) for role, name in FILES.items()}
    sizes = {role: len(y) for role, (_, y) in parts.items()}
    pictures = Pictures(
        items=pixels(np.concatenate([images for images, _ in parts.values()]), checked),
        y=np.concatenate([y for _, y in parts.values()]),
        ids=np.concatenate([position_ids(f"svhn-{role}", n) for role, n in sizes.items()]),
        split=np.concatenate([np.full(n, role) for role, n in sizes.items()]),
        classes=tuple(str(digit) for digit in range(10)),
    )
    return assemble("svhn", title, pictures, checked, stream=False)


def _read(path: Path) -> tuple[Bytes, Labels]:
    with reading(path.name, "a MATLAB file of SVHN", zlib.error):
        content = read_matlab(path, ("X", "y"))
        images, y = content["X"], content["y"].ravel()
        if images.dtype != np.uint8 or images.ndim != 4 or images.shape[:3] != (32, 32, 3):
            raise ValueError(
                f"expected X of bytes (32, 32, 3, n), found {images.dtype} {images.shape}"
            )
        if len(y) != images.shape[3] or not len(y) or not np.isin(y, np.arange(1, 11)).all():
            raise ValueError(f"expected y of {images.shape[3]} labels 1 to 10, found {len(y)}")
    return np.ascontiguousarray(images.transpose(3, 2, 0, 1)), y.astype(np.int64) % 10
