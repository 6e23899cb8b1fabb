"""MNIST and Fashion-MNIST in their own format (idx), packed or not, read by torchvision.

torchvision's reader of the format takes plain files only, so packed ones are unpacked into a
temporary folder first, no further than their own header says.
"""

import gzip
import tempfile
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from forget_audit.datasets import Dataset
from forget_audit.errors import CaseError
from forget_audit.packed import LARGEST, check_unpacked
from forget_audit.sources.assembling import Pictures, assemble, position_ids
from forget_audit.sources.files import reading
from forget_audit.sources.images import Bytes, pixels
from forget_audit.sources.options import ImageOptions, read_options
from forget_audit.types import Labels

FASHION = (
    "T-shirt/top", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag",
    "ankle boot",
)  # fmt: skip


def mnist(path: Path, options: Mapping[str, object]) -> Dataset:
    """MNIST: 70,000 handwritten digits, 28 x 28 pixels, one channel.

    The folder holds `train-images-idx3-ubyte` and its three companions, packed (`.gz`) or not, or
    holds them in `MNIST/raw`. The official 60,000 rows are for training; half of the official
    test rows are kept aside as auxiliary rows, drawn by seed.
    """
    digits = tuple(str(digit) for digit in range(10))
    return _load("mnist", "MNIST (LeCun et al., 1998)", "MNIST", path, options, digits)


def fashion_mnist(path: Path, options: Mapping[str, object]) -> Dataset:
    """Fashion-MNIST: 70,000 pictures of clothes in ten classes, laid out as MNIST is.

    The files lie in the folder itself or in `FashionMNIST/raw`.
    """
    title = "Fashion-MNIST (Xiao et al., 2017)"
    return _load("fashion_mnist", title, "FashionMNIST", path, options, FASHION)


def _load(
    name: str,
    title: str,
    folder: str,
    path: Path,
    given: Mapping[str, object],
    classes: tuple[str, ...],
) -> Dataset:
    options = read_options(ImageOptions, name, given)
    images, labels, ids, split = [], [], [], []
    for part, role in (("train", "train"), ("t10k", "test")):
        found = _read(_find(path, folder, f"{part}-images", "idx3", title), 3)
        y = _read(_find(path, folder, f"{part}-labels", "idx1", title), 1).astype(np.int64)
        _check(found, y, part, title)
        images.append(found[:, None])
        labels.append(y)
        ids.append(position_ids(f"{name}-{role}", len(y)))
        split += [role] * len(y)
    pictures = Pictures(
        items=pixels(np.concatenate(images), options),
        y=np.concatenate(labels),
        ids=np.concatenate(ids),
        split=np.array(split, dtype=np.str_),
        classes=classes,
    )
    return assemble(name, title, pictures, options, stream=False)


def _find(path: Path, folder: str, stem: str, kind: str, title: str) -> Path:
    for place in (path, path / "raw", path / folder / "raw", path / folder):
        for separator in ("-", "."):
            for ending in ("", ".gz"):
                file = place / f"{stem}{separator}{kind}-ubyte{ending}"
                if file.is_file():
                    return file
    raise CaseError(
        f"{path.name} holds no {stem}-{kind}-ubyte or {stem}-{kind}-ubyte.gz of {title}, nor "
        f"does {folder}/raw in it"
    )


def _read(path: Path, axes: int) -> Bytes:
    from torchvision.datasets import mnist as idx

    errors = (AssertionError, RuntimeError, KeyError, TypeError, IndexError, zlib.error)
    with reading(path.name, "an idx file", *errors), tempfile.TemporaryDirectory() as scratch:
        plain = path
        if path.suffix == ".gz":
            plain = Path(scratch) / "plain"
            plain.write_bytes(_unpacked(path, axes))
        with plain.open("rb") as file:
            _check_header(file.read(4 + 4 * axes), plain.stat().st_size, axes)
        tensor = idx.read_image_file(str(plain)) if axes == 3 else idx.read_label_file(str(plain))
        return np.asarray(tensor, dtype=np.uint8)


def _unpacked(path: Path, axes: int) -> bytes:
    """Unpack a file, no further than one byte beyond the size that its header gives."""
    with gzip.open(path, "rb") as packed:
        header = packed.read(4 + 4 * axes)
        promised = _promised(header, axes)
        check_unpacked(promised, path.stat().st_size)
        return header + packed.read(promised + 1)


def _promised(header: bytes, axes: int) -> int:
    """Return how many bytes follow the header of an idx file."""
    if header[:4] != bytes([0, 0, 8, axes]) or len(header) < 4 + 4 * axes:
        raise ValueError(f"expected the mark 00 00 08 {axes:02x}, found {header[:4].hex(' ')}")
    size = 1
    for axis in range(axes):
        size *= int.from_bytes(header[4 + 4 * axis : 8 + 4 * axis], "big")
    if not 0 < size <= LARGEST:
        raise ValueError(f"its header gives {size:,} bytes")
    return size


def _check_header(header: bytes, size: int, axes: int) -> None:
    promised = len(header) + _promised(header, axes)
    if promised != size:
        raise ValueError(f"its header gives {promised:,} bytes, found {size:,}")


def _check(images: Bytes, labels: Labels, part: str, title: str) -> None:
    if len(images) != len(labels):
        raise CaseError(f"{title}: {len(images)} {part} pictures, but {len(labels)} labels")
    if labels.max() > 9:
        raise CaseError(f"{title}: expected labels from 0 to 9, found {labels.max()}")
