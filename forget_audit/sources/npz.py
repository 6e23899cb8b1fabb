"""Arrays from npz files that may be hostile: no pickle, and no header is believed."""

import math
import tokenize
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt
from numpy.lib import format as npy

from forget_audit.errors import CaseError
from forget_audit.packed import check_unpacked
from forget_audit.rows import is_text
from forget_audit.sources.files import reading, regular

WHAT = "npz without pickle"
ERRORS = (
    zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, KeyError,
    tokenize.TokenError, SyntaxError, TypeError,
)  # fmt: skip
ENDING = ".npy"


def read_npz(path: Path, wanted: Sequence[str] | None = None) -> dict[str, npt.NDArray[Any]]:
    """Return arrays of an npz file by name; text that is stored as bytes is read as UTF-8.

    Args:
        path: The file.
        wanted: Arrays that are read if they are there; all if left out.

    Raises:
        CaseError: If the file is damaged, would need pickle, lies about its sizes, or holds
            something besides arrays or one of them twice.
    """
    regular(path, WHAT)
    with reading(path.name, WHAT, *ERRORS), zipfile.ZipFile(path) as archive:
        listed = archive.infolist()
        names = [item.filename for item in listed]
        odd = next((name for name in names if not name.endswith(ENDING)), None)
        if odd is not None:
            raise ValueError(f"it holds {odd!r}, which is no array")
        if len(set(names)) < len(names):
            raise ValueError("expected each array once, found two of one name")
        members = {
            name.removesuffix(ENDING): item for name, item in zip(names, listed, strict=True)
        }
        if wanted is not None:
            members = {name: item for name, item in members.items() if name in wanted}
        check_unpacked(sum(item.file_size for item in members.values()), path.stat().st_size)
        return {name: _array(archive, name, item) for name, item in members.items()}


def _array(archive: zipfile.ZipFile, name: str, item: zipfile.ZipInfo) -> npt.NDArray[Any]:
    with archive.open(item) as file:
        _check_header(file, item.file_size, name)
    with archive.open(item) as file:
        found: npt.NDArray[Any] = npy.read_array(file, allow_pickle=False)
    if found.dtype.kind == "S":
        found = np.char.decode(found, "utf-8")
    if found.dtype.kind == "U" and not is_text(found):
        raise ValueError(f"array {name!r} holds numbers that stand for no characters")
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
