"""Images as architectures take them: shapes, the form of a row, and the first convolution."""

import math
from typing import Any, Literal

from torch import nn

from forget_audit.errors import ModelError

Stem = Literal["auto", "cifar", "imagenet"]
Image = tuple[int, int, int]
STEMS = ("auto", "cifar", "imagenet")
SMALL = 64  # images whose shorter side is below it are small


def as_image(shape: tuple[int, ...]) -> Image:
    """Return channels, height and width of a row: `(c, h, w)`, `(h, w)`, or flat and square.

    Raises:
        ModelError: If a flat row is no square.
    """
    if len(shape) == 3:
        return shape[0], shape[1], shape[2]
    if len(shape) == 2:
        return 1, shape[0], shape[1]
    side = math.isqrt(shape[0]) if len(shape) == 1 else -1
    if side < 0:
        raise ModelError(
            f"expected rows (channels, height, width), (height, width) or flat, found {shape}"
        )
    if side * side != shape[0]:
        raise ModelError(f"expected square images, found rows of {shape[0]} numbers")
    return 1, side, side


def shaped(shape: tuple[int, ...], model: nn.Module) -> nn.Module:
    """Return `model`, which takes `(n, c, h, w)`, as a model of rows of `shape`.

    Rows that are `(c, h, w)` already need nothing, so that the names of all weights stay.
    """
    if len(shape) == 3:
        return model
    return nn.Sequential(nn.Flatten(), nn.Unflatten(1, as_image(shape)), model)


def is_small(stem: Stem, shape: tuple[int, ...]) -> bool:
    """Say whether a network gets its form for small images, as the papers used it on CIFAR.

    Args:
        stem: `cifar` or `imagenet`; `auto` chooses by the shorter side, small below 64.
        shape: Of a row.

    Raises:
        ModelError: If `stem` is another word.
    """
    if stem not in STEMS:
        raise ModelError(f"stem: expected one of {', '.join(STEMS)}, found {stem!r}")
    image = as_image(shape)
    return stem == "cifar" or (stem == "auto" and min(image[1:]) < SMALL)


def first_convolution(
    old: nn.Conv2d, channels: int, *, side: int | None = None, stride: int | None = None
) -> nn.Conv2d:
    """Return a new first convolution with the outputs of `old`, drawn as He et al. (2015) do.

    Args:
        old: The one to be replaced.
        channels: Of the images.
        side: Of the kernel, padded so that a stride of one keeps the size; that of `old` if left
            out.
        stride: That of `old` if left out.
    """
    kept: Any = old
    new = nn.Conv2d(
        channels,
        kept.out_channels,
        kept.kernel_size if side is None else side,
        kept.stride if stride is None else stride,
        kept.padding if side is None else side // 2,
        bias=kept.bias is not None,
    )
    nn.init.kaiming_normal_(new.weight, mode="fan_out", nonlinearity="relu")
    if new.bias is not None:
        nn.init.zeros_(new.bias)
    return new


def round_up_pools(model: nn.Module) -> None:
    """Let poolings round up, in place: on even sides nothing changes, small ones stay above 0."""
    for module in model.modules():
        if isinstance(module, nn.MaxPool2d):
            module.ceil_mode = True
