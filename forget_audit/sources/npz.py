"""Arrays from npz files that may be hostile: no pickle, and no header is believed."""

import math
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

import numpy.typing as npt
from numpy.lib import format as npy

from forget_audit.errors import CaseError
from forget_audit.sources.files import LARGEST, reading

WHAT = "npz without pickle"


def read_npz(path: Path, wanted: Sequence[str] | None = None) -> dict[str, npt.NDArray[Any]]:
    """Return arrays of an npz file by name.

    Args:
        path: The file.
        wanted: Arrays that are read if they are there; all if left out.

    Raises:
        CaseError: If the file is damaged, would need pickle, or lies about its sizes.
    """
    errors = (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, KeyError)
    with reading(path.name, WHAT, *errors), zipfile.ZipFile(path) as archive:
        members = {
            item.filename.removesuffix(".npy"): item
            for item in archive.infolist()
            if item.filename.endswith(".npy")
        }
        if wanted is not None:
            members = {name: item for name, item in members.items() if name in wanted}
        if sum(item.file_size for item in members.values()) > LARGEST:
            raise ValueError(f"it unpacks to more than {LARGEST // 2**30} GiB")
        found = {}
        for name, item in members.items():
            with archive.open(item) as file:
                _check_header(file, item.file_size, name)
            with archive.open(item) as file:
                found[name] = npy.read_array(file, allow_pickle=False)
        return found


def _check_header(file: IO[bytes], size: int, name: str) -> None:
    version = npy.read_magic(file)
    read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, _, dtype = read(file)
    if dtype.hasobject:
        raise CaseError(f"array {name!r} holds Python objects; expected an {WHAT}")
    promised = math.prod(shape) * dtype.itemsize
    if promised != size - file.tell():
        raise ValueError(
            f"the header of {name!r} gives {promised:,} bytes, found {size - file.tell():,}"
        )
