"""Registered architectures, the user's own, and model files that cannot run code."""

import importlib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import torch
from safetensors.torch import load_file, save
from torch import nn
from torch.nn import functional

from forget_audit.errors import ModelError
from forget_audit.registry import unknown


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """How to build a fresh, untrained model.

    Args:
        name: A registered name, or `package.module:function`.
        shape: Shape of one row of features.
        n_classes: Number of outputs.
        options: Keyword arguments of the builder, such as `hidden`.
    """

    name: str
    shape: tuple[int, ...]
    n_classes: int
    options: Mapping[str, object] = field(default_factory=dict)

    def build(self) -> nn.Module:
        """Return a new model; its weights come from torch's global generator.

        Raises:
            ModelError: If the name is unknown or the builder refuses the options.
        """
        builder = find_builder(self.name)
        try:
            model = builder(self.shape, self.n_classes, **self.options)
        except TypeError as error:
            raise ModelError(
                f"{self.name} does not accept {dict(self.options)}: {error}"
            ) from error
        if not isinstance(model, nn.Module):
            raise ModelError(f"{self.name} must return a torch.nn.Module, found {type(model)}")
        return model


def mlp(
    shape: tuple[int, ...], n_classes: int, hidden: list[int] | None = None, norm: bool = False
) -> nn.Module:
    """Build a multilayer perceptron with ReLU, two hidden layers of 64 unless told.

    `norm` puts batch normalisation before each ReLU.
    """
    width = math.prod(shape)
    layers: list[nn.Module] = [nn.Flatten()]
    for size in hidden or [64, 64]:
        layers += [nn.Linear(width, size), *([nn.BatchNorm1d(size)] if norm else []), nn.ReLU()]
        width = size
    return nn.Sequential(*layers, nn.Linear(width, n_classes))


def cnn(shape: tuple[int, ...], n_classes: int, channels: list[int] | None = None) -> nn.Module:
    """Build a small convolutional network: 3x3 convolutions, pooling by two, one linear layer.

    Rows are `(height, width)` or `(channels, height, width)`; a flat row must be a square.
    """
    depth, height, width = _as_image(shape)
    layers: list[nn.Module] = [nn.Unflatten(1, (depth, height, width))] if depth == 1 else []
    if depth == 1:
        layers.insert(0, nn.Flatten())
    for size in channels or [8, 16]:
        layers += [nn.Conv2d(depth, size, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
        depth, height, width = size, height // 2, width // 2
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(depth * height * width, n_classes))


def linear(shape: tuple[int, ...], n_classes: int) -> nn.Module:
    """Build softmax regression."""
    return nn.Sequential(nn.Flatten(), nn.Linear(math.prod(shape), n_classes))


class VisionTransformer(nn.Module):
    """A small vision transformer: patches, learnt positions, a class token, pre-norm blocks.

    Args:
        shape: Of an image, `(channels, height, width)`.
        n_classes: Number of outputs.
        patch: Side of a patch.
        width: Of a token.
        depth: Number of blocks.
        heads: Of attention.
    """

    def __init__(
        self,
        shape: tuple[int, int, int],
        n_classes: int,
        *,
        patch: int,
        width: int,
        depth: int,
        heads: int,
    ) -> None:
        super().__init__()
        channels, height, breadth = shape
        self.shape = shape
        self.patches = nn.Conv2d(channels, width, patch, stride=patch)
        tokens = (height // patch) * (breadth // patch)
        self.token = nn.Parameter(torch.zeros(1, 1, width))
        self.positions = nn.Parameter(0.02 * torch.randn(1, tokens + 1, width))
        self.blocks = nn.Sequential(*(Block(width, heads) for _ in range(depth)))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, n_classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the logits `(n, n_classes)` of images, given flat or shaped."""
        patches = self.patches(x.reshape(-1, *self.shape)).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.token.expand(len(patches), -1, -1), patches], dim=1)
        logits: torch.Tensor = self.head(self.norm(self.blocks(tokens + self.positions))[:, 0])
        return logits


class Block(nn.Module):
    """Attention and a perceptron, each after layer normalisation and added to its input.

    Args:
        width: Of a token.
        heads: Of attention.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.queries_keys_values = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.hidden, self.back = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return tokens `(n, tokens, width)`."""
        n, tokens, width = x.shape
        parts = self.queries_keys_values(self.norm1(x)).view(n, tokens, 3, self.heads, -1)
        q, k, v = parts.permute(2, 0, 3, 1, 4)
        weights = (q @ k.transpose(2, 3) / math.sqrt(width // self.heads)).softmax(dim=3)
        x = x + self.out((weights @ v).transpose(1, 2).reshape(n, tokens, width))
        moved: torch.Tensor = self.back(functional.gelu(self.hidden(self.norm2(x))))
        return x + moved


def vit(
    shape: tuple[int, ...],
    n_classes: int,
    patch: int = 2,
    width: int = 32,
    depth: int = 2,
    heads: int = 4,
) -> nn.Module:
    """Build a small vision transformer for images `(channels, height, width)` or square rows."""
    image = _as_image(shape)
    if image[1] % patch or image[2] % patch or width % heads:
        raise ModelError(
            f"vit: expected image sides that are multiples of patch {patch} and a width that is "
            f"one of heads {heads}, found sides {image[1:]} and width {width}"
        )
    return VisionTransformer(image, n_classes, patch=patch, width=width, depth=depth, heads=heads)


def _as_image(shape: tuple[int, ...]) -> tuple[int, int, int]:
    if len(shape) == 3:
        return shape[0], shape[1], shape[2]
    if len(shape) == 2:
        return 1, shape[0], shape[1]
    side = math.isqrt(shape[0])
    if side * side != shape[0]:
        raise ModelError(f"expected square images, found rows of {shape[0]} numbers")
    return 1, side, side


BUILDERS: Mapping[str, Callable[..., nn.Module]] = {
    "mlp": mlp,
    "cnn": cnn,
    "linear": linear,
    "vit": vit,
}


def find_builder(name: str) -> Callable[..., nn.Module]:
    """Return the registered builder called `name`, or import `package.module:function`.

    Raises:
        ModelError: If there is none.
    """
    if ":" in name:
        found = import_object(name)
        if not callable(found):
            raise ModelError(f"{name} is no function")
        return partial(found)
    if name not in BUILDERS:
        raise ModelError(unknown("architecture", name, BUILDERS) + ", or package.module:function")
    return BUILDERS[name]


def import_object(reference: str) -> object:
    """Import `package.module:name`.

    Raises:
        ModelError: If module or name does not exist.
    """
    module, _, name = reference.partition(":")
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ModelError(f"cannot import {reference}: {error}") from error


def load_weights(model: nn.Module, path: Path) -> nn.Module:
    """Load a state dict from safetensors, or from a torch file that holds tensors only.

    Nothing in the file is executed: other pickled content is refused.

    Raises:
        ModelError: If the file is unsafe, damaged, or does not fit the architecture.
    """
    try:
        if path.suffix == ".safetensors":
            state = load_file(path)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise ModelError(
            f"{path.name} is not a safe model file ({_first_line(error)}); nothing in it was run. "
            "Save the state dict with safetensors.torch.save_file"
        ) from error
    try:
        model.load_state_dict(state)
    except (RuntimeError, TypeError, AttributeError, KeyError, ValueError) as error:
        reason = _first_line(error)
        raise ModelError(f"{path.name} does not fit the architecture: {reason}") from error
    return model.eval()


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def safetensors_bytes(model: nn.Module) -> bytes:
    """Return the weights of `model` as the content of a safetensors file."""
    return save({name: t.detach().cpu().contiguous() for name, t in model.state_dict().items()})
