"""Models that are remembered: safetensors files that bear the seal of this account."""

from __future__ import annotations

import json
from pathlib import Path

from safetensors.torch import load
from torch import nn

from forget_audit.digests import canonical_json
from forget_audit.errors import ModelError
from forget_audit.model_files import load_state, safetensors_bytes
from forget_audit.seals import seal_of
from forget_audit.types import Json

ABOUT, SEAL = "__metadata__", "forget-audit-seal"
ALIGNED = 8


def remembered_bytes(model: nn.Module, name: str) -> bytes:
    """Return the weights of a model under the seal of this account.

    Args:
        model: What is remembered.
        name: Of the file, without its suffix.

    Raises:
        KeyFileError: If the secret of this account cannot be used.
        StorageError: If the system refuses to read or write it.
    """
    header, weights = _parts(safetensors_bytes(model))
    seal = seal_of(_packed(header, weights), name)
    return _packed({ABOUT: {SEAL: seal}, **header}, weights)


def load_remembered(model: nn.Module, path: Path) -> nn.Module:
    """Load weights that `remembered_bytes` wrote.

    Raises:
        ModelError: If they are others, of another account, damaged, or do not fit the
            architecture.
        KeyFileError: If the secret of this account cannot be used.
        StorageError: If the system refuses to read or write it.
    """
    try:
        header, weights = _parts(path.read_bytes())
        stated = header.pop(ABOUT, {}).get(SEAL)
        content = _packed(header, weights)
    except (OSError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise ModelError(f"{path.name} cannot be read: {error}") from error
    if stated != seal_of(content, path.stem):
        raise ModelError(f"{path.name} does not hold weights that this account has written")
    try:
        load_state(model, load(content))
    except ModelError as error:
        raise ModelError(f"{path.name}: {error}") from error
    return model.eval()


def _parts(data: bytes) -> tuple[Json, bytes]:
    """Return header and tensors of a safetensors file."""
    start = 8 + int.from_bytes(data[:8], "little")
    header: Json = json.loads(data[8:start])
    return header, data[start:]


def _packed(header: Json, weights: bytes) -> bytes:
    """Return a safetensors file."""
    text = canonical_json(header)
    text += b" " * (-len(text) % ALIGNED)
    return len(text).to_bytes(8, "little") + text + weights
