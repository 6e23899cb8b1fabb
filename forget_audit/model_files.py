"""Model files that cannot run code: safetensors, state dicts of tensors, and checked trees."""

from __future__ import annotations

import logging
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from safetensors.torch import load_file, save
from torch import nn

from forget_audit.errors import ForgetAuditError, ModelError
from forget_audit.finite import read_json
from forget_audit.foreign.answering import Filed
from forget_audit.model_identity import folder_files
from forget_audit.packed import check_archive, check_pickle
from forget_audit.zoo.heads import OneOutput

log = logging.getLogger(__name__)

WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
LONGEST_REASON = 200
ARCHIVE, PICKLE = b"PK\x03\x04", b"\x80"
PICKLES_BEFORE_DATA = 5  # of a file as torch wrote them before 1.6
PREFIXES = ("module.", "_orig_mod.")
ELSEWHERE = {
    ".json": 'architecture = "xgboost"',
    ".ubj": 'architecture = "xgboost"',
    ".skops": 'architecture = "sklearn:module.Class"',
}
State = Mapping[str, Any]


@runtime_checkable
class ReadsFolders(Protocol):
    """A model that knows how to read the folder it was saved in."""

    def read_folder(self, folder: Path) -> None:
        """Take the weights in `folder`.

        Raises:
            ModelError: If they are unsafe, damaged, or of another model.
        """
        ...


def load_weights(model: nn.Module, path: Path) -> nn.Module:
    """Load weights into `model`: from a file, or from a folder as Hugging Face's libraries write.

    Files are safetensors or torch files of tensors only; for models of XGBoost also `.json` and
    `.ubj`, and for those of scikit-learn `.skops`. A checkpoint may hold the state dict as one
    of its entries, and the names that wrappers of PyTorch put before others. Nothing in a file
    is executed: other pickled content is refused.

    Raises:
        ModelError: If the file is unsafe, damaged, ambiguous, or does not fit the architecture.
    """
    inner = model.inner if isinstance(model, OneOutput) else model
    if path.exists() and not path.is_file() and not path.is_dir():
        raise ModelError(f"{path.name} is neither a file nor a folder, so it cannot hold a model")
    try:
        if path.is_dir():
            folder_files(path)
        if path.is_dir() and isinstance(inner, ReadsFolders):
            inner.read_folder(path)
        elif isinstance(inner, Filed) and path.suffix in inner.suffixes:
            inner.take(path.read_bytes())
        else:
            load_state(model, unwrapped(_read(path), model, path.name))
    except OSError as error:
        raise ModelError(f"{path.name} cannot be read: {error.strerror}") from error
    except ForgetAuditError as error:
        if isinstance(error, ModelError) and not str(error).startswith(path.name):
            raise ModelError(f"{path.name}: {error}") from error
        raise
    return model.eval()


def safetensors_bytes(model: nn.Module) -> bytes:
    """Return the weights of `model` as the content of a safetensors file."""
    return save(_tensors(model))


def _tensors(model: nn.Module) -> dict[str, torch.Tensor]:
    tensors, seen = {}, set()
    for name, tensor in model.state_dict().items():
        kept = tensor.detach().cpu().contiguous()
        place = kept.untyped_storage().data_ptr()
        tensors[name] = kept.clone() if place in seen else kept  # tied weights are written twice
        seen.add(place)
    return tensors


def unwrapped(found: object, model: nn.Module, name: str) -> State:
    """Return the state dict in a checkpoint, under the names that `model` uses.

    Args:
        found: What a file holds.
        model: Says which names are expected.
        name: Of the file, for messages.

    Raises:
        ModelError: If there is no state dict, or several.
    """
    state = _entry(found, name)
    known = model.state_dict().keys()
    while True:
        common = [p for p in PREFIXES if state and all(key.startswith(p) for key in state)]
        if not common or not state.keys() - known:
            return state
        log.info("%s: names are read without %r in front", name, common[0])
        state = {key.removeprefix(common[0]): value for key, value in state.items()}


def _entry(found: object, name: str) -> State:
    """Return the one mapping of names to tensors in a checkpoint."""
    if _is_state(found):
        return found  # type: ignore[return-value]
    if not isinstance(found, Mapping):
        raise ModelError(
            f"{name} does not fit the architecture: expected a state dict, found "
            f"{type(found).__name__}"
        )
    inside = [key for key, value in found.items() if value and _is_state(value)]
    if len(inside) != 1:
        named = ", ".join(repr(key) for key in inside) or "none"
        raise ModelError(
            f"{name} does not fit the architecture: expected one state dict in the checkpoint, "
            f"found {named} of its entries {', '.join(repr(key) for key in found)}; save the "
            "one that is audited by itself"
        )
    log.info("%s: the state dict is the entry %r", name, inside[0])
    state: State = found[inside[0]]
    return state


def _is_state(value: object) -> bool:
    return isinstance(value, Mapping) and all(
        isinstance(key, str) and isinstance(part, torch.Tensor) for key, part in value.items()
    )


def _read(path: Path) -> object:
    if path.is_dir():
        return _read_folder(path)
    if path.suffix in ELSEWHERE:
        raise ModelError(
            f"{path.name} does not fit the architecture; such files go with "
            f"{ELSEWHERE[path.suffix]}"
        )
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        _check_torch_file(path)
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise ModelError(
            f"{path.name} is not a safe model file ({_first_line(error)}); nothing in it was run. "
            "Save the state dict with safetensors.torch.save_file"
        ) from error


def _check_torch_file(path: Path) -> None:
    """Refuse a file that torch would unpack, or follow, without end.

    Raises:
        ValueError: If it is one, or is damaged.
    """
    with path.open("rb") as file:
        head = file.read(len(ARCHIVE))
        if head != ARCHIVE:  # as torch tells them apart
            if not head.startswith(PICKLE):
                raise ValueError("it is no model that torch or safetensors has written")
            file.seek(0)
            for _ in range(PICKLES_BEFORE_DATA):
                check_pickle(file)
            return
        check_archive(file, path.stat().st_size)
    with zipfile.ZipFile(path) as archive:
        for item in archive.infolist():
            if item.filename.endswith("/data.pkl"):
                with archive.open(item) as inside:
                    check_pickle(inside)


def _read_folder(folder: Path) -> object:
    """Return the weights in a folder: of one file, or of the parts that an index names."""
    if not (folder / INDEX).is_file():
        if not (folder / WEIGHTS).is_file():
            raise ModelError(f"expected {WEIGHTS} or {INDEX} in the folder")
        return _read(folder / WEIGHTS)
    try:
        places: dict[str, str] = read_json((folder / INDEX).read_bytes())["weight_map"]
        parts = sorted(set(places.values()))
    except (
        OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError,
    ) as error:  # fmt: skip
        raise ModelError(f"{INDEX} is not sound: {_first_line(error)}") from error
    strange = [part for part in parts if not _is_beside(part)]
    if strange:
        raise ModelError(f"{INDEX} names {strange[0]!r}, which is no safetensors file beside it")
    state: dict[str, Any] = {}
    for part in parts:
        found: Any = _read(folder / part)
        if {name for name, place in places.items() if place == part} != found.keys():
            raise ModelError(f"{INDEX} does not name the tensors that {part} holds")
        state |= found
    return state


def _is_beside(part: object) -> bool:
    """Say whether this is the name of a safetensors file in the same folder."""
    return (
        isinstance(part, str)
        and part.endswith(".safetensors")
        and part.isprintable()
        and Path(part).name == part
    )


def load_state(model: nn.Module, state: State) -> None:
    """Load a state dict into `model`.

    Raises:
        ModelError: If it does not fit, or holds numbers of another kind or that are not finite.
    """
    _check_numbers(model, state)
    try:
        model.load_state_dict(state)
    except (RuntimeError, TypeError, AttributeError, KeyError, ValueError) as error:
        said = [line.strip() for line in str(error).splitlines() if line.strip()]
        reason = "; ".join(_short(line) for line in said[1:3] or said) or type(error).__name__
        hint = "; give the folder that it was saved in" if isinstance(model, ReadsFolders) else ""
        raise ModelError(f"the file does not fit the architecture: {reason}{hint}") from error


def _check_numbers(model: nn.Module, state: State) -> None:
    """Refuse numbers of another kind, which torch would quietly turn into those of the model.

    Raises:
        ModelError: If weights are not finite, or are whole numbers or complex ones where the
            architecture has others.
    """
    for name, own in model.state_dict().items():
        found = state.get(name)
        if not isinstance(found, torch.Tensor) or not isinstance(own, torch.Tensor):
            continue
        if found.shape == own.shape and _kind(found) != _kind(own):
            raise ModelError(
                f"the file does not fit the architecture: expected {name} of {own.dtype}, found "
                f"{found.dtype}"
            )
        if found.is_floating_point() and not found.is_meta and not torch.isfinite(found).all():
            raise ModelError(
                f"the file holds numbers that are not finite, in {name}: training has failed, or "
                "the file is damaged"
            )


def _kind(tensor: torch.Tensor) -> tuple[bool, ...]:
    return tensor.is_floating_point(), tensor.is_complex(), tensor.is_quantized, tensor.is_sparse


def _short(line: str) -> str:
    return line if len(line) <= LONGEST_REASON else f"{line[:LONGEST_REASON]} ..."


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
