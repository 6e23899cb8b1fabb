"""The one place for digests: arrays, files, weights, and canonical JSON (RFC 8785)."""

import hashlib
import hmac
import math
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import rfc8785

from forget_audit.types import Case


def sha256(data: bytes) -> str:
    """Return the SHA-256 of `data` in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def file_digest(path: Path) -> str:
    """Return the SHA-256 of the file at `path` in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def arrays_digest(arrays: Mapping[str, npt.NDArray[Any]]) -> str:
    """Return a SHA-256 over names, types, shapes and bytes of `arrays`, in order of name."""
    digest = hashlib.sha256()
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        digest.update(f"{name}\x1f{array.dtype.str}\x1f{array.shape}\x1f".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def case_digest(case: Case) -> str:
    """Return a SHA-256 over all rows of the case by role, and the people behind them."""
    arrays: dict[str, npt.NDArray[Any]] = {}
    for role, rows in case.roles().items():
        arrays |= {f"{role}.x": rows.contents, f"{role}.y": rows.y, f"{role}.ids": rows.ids}
        if rows.units is not None:
            arrays[f"{role}.units"] = rows.units
    return arrays_digest(arrays)


def pseudonym(identifier: str, key: bytes) -> str:
    """Return the pseudonym of `identifier` under its own key, 32 hexadecimal digits."""
    return hmac.new(key, identifier.encode(), "sha256").hexdigest()[:32]


def pseudonym_key(identifier: str, secret: bytes) -> bytes:
    """Return the key of one pseudonym; to show it betrays no other pseudonym, nor the secret."""
    return hmac.new(secret, identifier.encode(), "sha256").digest()


def pseudonyms(ids: npt.NDArray[np.str_], secret: bytes) -> npt.NDArray[np.str_]:
    """Return pseudonyms of `ids`, HMAC-SHA256 each under its own key made from `secret`."""
    return np.array(
        [pseudonym(text, pseudonym_key(text, secret)) for text in ids.tolist()], dtype=np.str_
    )


def sources_digest(package: Path) -> str:
    """Return a SHA-256 over the Python sources of the installed package at `package`."""
    digest = hashlib.sha256()
    rooms = sorted(path.parent for path in package.glob("*/__init__.py"))
    for folder in (package, *rooms):
        for path in sorted(folder.glob("*.py")):
            digest.update(f"{folder.name}/{path.name}\x1f".encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()


def canonical_json(value: object) -> bytes:
    """Return `value` as canonical JSON (RFC 8785).

    Raises:
        ValueError: If it holds a number that is not finite or an integer beyond 2^53.
    """
    try:
        return rfc8785.dumps(plain(value))
    except rfc8785.CanonicalizationError as error:
        raise ValueError(f"not canonical JSON: {error}") from error


def plain(value: Any) -> Any:
    """Return `value` with records, arrays, tuples and mappings turned into plain JSON types.

    Numbers that are not finite become `None`: evidence never holds NaN.
    """
    if is_dataclass(value) and not isinstance(value, type):
        return plain({item.name: getattr(value, item.name) for item in fields(value)})
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (tuple, list, frozenset, set)):
        items = sorted(value) if isinstance(value, (frozenset, set)) else value
        return [plain(item) for item in items]
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
