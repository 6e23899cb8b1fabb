"""Seals on what an audit remembers: only this account makes them, each for one place.

Whoever hands over a folder can write anything into it and name it as they like. What was kept by
another account is therefore not taken for what this one trained.
"""

from __future__ import annotations

import hmac
import secrets
from pathlib import Path

from forget_audit.errors import KeyFileError
from forget_audit.faults import named
from forget_audit.keys.folders import home, read_owned
from forget_audit.whole_files import write_whole

SECRET, SECRET_BYTES = "remembered.secret", 32


def sealed(data: bytes, name: str) -> bytes:
    """Return bytes with their seal in a line before them.

    Args:
        data: What is remembered.
        name: Of what: the digest of all that it follows from.

    Raises:
        KeyFileError: If the secret of this account cannot be used.
        StorageError: If the system refuses to read or write it.
    """
    return seal_of(data, name).encode() + b"\n" + data


def unsealed(data: bytes, name: str) -> bytes:
    """Return the bytes that this account sealed under this name.

    Raises:
        ValueError: If they are others, or another account sealed them.
        KeyFileError: If the secret of this account cannot be used.
        StorageError: If the system refuses to read or write it.
    """
    seal, _, kept = data.partition(b"\n")
    if not hmac.compare_digest(seal, seal_of(kept, name).encode()):
        raise ValueError("its content is not what this account has written")
    return kept


def seal_of(data: bytes, name: str) -> str:
    """Return HMAC-SHA256 over a name and what it stands for, in hexadecimal.

    Raises:
        KeyFileError: If the secret of this account cannot be used.
        StorageError: If the system refuses to read or write it.
    """
    seal = hmac.new(_secret(), name.encode() + b"\x1f", "sha256")
    seal.update(data)  # which may be large, and is not copied
    return seal.hexdigest()


def _secret() -> bytes:
    """Return the secret of this account, made when it is first needed.

    Of two processes that make one at the same time the later one's stays: what the other sealed
    until then is made again some day.
    """
    place = home() / SECRET
    with named(place):
        try:
            return _read(place)
        except FileNotFoundError:
            write_whole(place, secrets.token_bytes(SECRET_BYTES), shared=True)
        return _read(place)


def _read(place: Path) -> bytes:
    secret = read_owned(place)
    if len(secret) != SECRET_BYTES:
        raise KeyFileError(
            f"{place}: expected {SECRET_BYTES} bytes, by which what was remembered is known again, "
            f"found {len(secret)}; delete it, and everything is trained again"
        )
    return secret
