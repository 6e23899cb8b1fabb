"""Networks whose settings ask for more memory than there can be, refused before it is asked for.

A line such as `hidden = [1000000000]` in a plan, or `"hidden_size": 1000000` in a folder of
somebody else, takes some bytes to write and terabytes to build.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

from forget_audit.errors import ForgetAuditError, ModelError

TIMES, SPARE = 8, 256 * 2**20  # the file may hold bytes where the network has numbers of 4 or 8
SMALL = 2**20  # bytes of tensors that are really made in a rehearsal, since code may look at them
UNKNOWN = 2**40  # bytes that a machine has at most, if it does not say
META = torch.device("meta")
Built = TypeVar("Built")


def check_fits_machine(name: str, build: Callable[[], nn.Module]) -> None:
    """Refuse a network that takes more memory than this machine has, without making it.

    Args:
        name: Of the architecture.
        build: Makes it; random numbers that it draws are not used up.

    Raises:
        ModelError: If it does.
    """
    with torch.random.fork_rng(devices=[]), META, _Unfilled():
        try:
            size = sum(_bytes(part) for part in build().parameters())
        except RuntimeError as error:
            if "overflow" not in str(error):
                return  # it is met again, and told, when the network is made
            size = UNKNOWN
    if size > _machine():
        raise ModelError(_beyond_machine(name))


def fitting(folder: Path, build: Callable[[], Built]) -> Built:
    """Return a network whose size is that of the weights in a folder, or a little more.

    Args:
        folder: Where `config.json` and weights lie; without weights the machine is the bound.
        build: Makes it.

    Raises:
        ModelError: If it would be far larger.
    """
    weights = sum(path.stat().st_size for path in folder.glob("*.safetensors") if path.is_file())
    most, why = _machine(), _beyond_machine(folder.name)
    if weights and TIMES * weights + SPARE < most:
        most = TIMES * weights + SPARE
        why = (
            f"{folder.name}/config.json: expected a network that fits the {weights:,} bytes of "
            "weights beside it, found a far larger one; copy the whole folder again"
        )
    _rehearse(build, most, why)
    with _Bounded(most, why):
        return build()


def _rehearse(build: Callable[[], object], most: int, why: str) -> None:
    with torch.random.fork_rng(devices=[]), _Bounded(most, why, rehearsal=True):
        try:
            build()
        except ForgetAuditError:
            raise
        except Exception:  # noqa: BLE001  it is met again, and told, when the network is made
            return


def _beyond_machine(name: str) -> str:
    return (
        f"{name}: expected a network that fits the {_machine() / 2**30:,.0f} GiB of memory of this "
        "machine, found a larger one; make the numbers in its options smaller"
    )


def _machine() -> int:
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return UNKNOWN


class _Unfilled(TorchFunctionMode):
    """Leaves tensors that have a shape alone as they are: what fills them takes seconds to load."""

    def __torch_function__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        named = kwargs or {}
        name = getattr(func, "__name__", "")
        first = next(iter((*args, *named.values())), None)
        fills = name.endswith("_") and not name.endswith("__")
        if fills and isinstance(first, torch.Tensor) and first.is_meta:
            return first
        return func(*args, **named)


class _Bounded(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch has no types here
    """Adds up the bytes of tensors before they are made.

    Args:
        most: How many there may be.
        why: What to say if there are more.
        rehearsal: Whether tensors that are not small get a shape, and no memory.
    """

    def __init__(self, most: int, why: str, *, rehearsal: bool = False) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.left, self.why, self.rehearsal = most, why, rehearsal

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        named = dict(kwargs or {})
        size = _made(func, args, named)
        self.left -= size
        if self.left < 0:
            raise ModelError(self.why)
        if not self.rehearsal:
            return func(*args, **named)
        shadows = any(
            isinstance(part, torch.Tensor) and part.is_meta for part in tree_leaves((args, named))
        )
        if shadows and func._schema.is_mutable:
            return args[0]
        return _shadow(func, args, named) if shadows or size > SMALL else func(*args, **named)


def _made(func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> int:
    """Return how many bytes a call of torch is about to take."""
    schema = func._schema
    if schema.is_mutable or any(found.alias_info is not None for found in schema.returns):
        return 0
    if args and isinstance(args[0], list | tuple) and all(type(n) is int for n in args[0]):
        kind = kwargs.get("dtype") or torch.get_default_dtype()
        return math.prod(args[0]) * int(kind.itemsize)
    with suppress(Exception):  # its size follows from numbers, or it is no sound call
        return sum(_bytes(part) for part in tree_leaves(_shadow(func, args, kwargs)))
    return 0


def _shadow(func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
    """Return the shape of what a call of torch makes, with nothing behind it."""
    named = {name: _shape_alone(value) for name, value in kwargs.items()}
    if any(argument.name == "device" for argument in func._schema.arguments):
        named["device"] = META
    return func(*_shape_alone(args), **named)


def _shape_alone(value: Any) -> Any:
    return tree_map(
        lambda part: (
            torch.empty_strided(part.size(), part.stride(), dtype=part.dtype, device=META)
            if isinstance(part, torch.Tensor)
            else part
        ),
        value,
    )


def _bytes(value: Any) -> int:
    return value.numel() * value.element_size() if isinstance(value, torch.Tensor) else 0
