"""Vision transformers: a small one of our own, and torchvision's in the sizes of the papers.

References:
    Dosovitskiy et al., An image is worth 16x16 words: transformers for image recognition at
        scale, ICLR 2021, arXiv:2010.11929.
    Touvron et al., Training data-efficient image transformers, ICML 2021, arXiv:2012.12877: the
        small size.
"""

import math
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from forget_audit.errors import ModelError
from forget_audit.zoo.images import Image, as_image, shaped

LARGEST_PATCH = 16


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
        shape: Image,
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
        x = x + self.out(attended(self.queries_keys_values(self.norm1(x)), self.heads))
        moved: torch.Tensor = self.back(functional.gelu(self.hidden(self.norm2(x))))
        return x + moved


def attended(parts: torch.Tensor, heads: int) -> torch.Tensor:
    """Return what tokens `(n, tokens, width)` read of each other.

    Written out, because torch's own kernels have neither second derivatives nor a form for many
    models at once, which methods need.

    Args:
        parts: Queries, keys and values of the tokens `(n, tokens, 3 width)`.
        heads: Of attention.
    """
    n, tokens, width = parts.shape[0], parts.shape[1], parts.shape[2] // 3
    q, k, v = parts.view(n, tokens, 3, heads, -1).permute(2, 0, 3, 1, 4)
    weights = (q @ k.transpose(2, 3) / math.sqrt(width // heads)).softmax(dim=3)
    found: torch.Tensor = (weights @ v).transpose(1, 2).reshape(n, tokens, width)
    return found


class Attention(nn.MultiheadAttention):
    """Torch's attention of tokens to each other, written out; names and weights are the same."""

    def forward(self, query: torch.Tensor, *_: object, **__: object) -> tuple[torch.Tensor, None]:
        """Return tokens `(n, tokens, width)`, and no weights."""
        parts = functional.linear(query, self.in_proj_weight, self.in_proj_bias)
        return self.out_proj(attended(parts, self.num_heads)), None


def vit(
    shape: tuple[int, ...],
    n_classes: int,
    patch: int = 2,
    width: int = 32,
    depth: int = 2,
    heads: int = 4,
) -> nn.Module:
    """Small vision transformer for images `(channels, height, width)` or square rows."""
    image = as_image(shape)
    if image[1] % patch or image[2] % patch or width % heads:
        raise ModelError(
            f"vit: expected image sides that are multiples of patch {patch} and a width that is "
            f"one of heads {heads}, found sides {image[1:]} and width {width}"
        )
    return VisionTransformer(image, n_classes, patch=patch, width=width, depth=depth, heads=heads)


def vit_small(
    shape: tuple[int, ...],
    n_classes: int,
    patch: int | None = None,
    width: int = 384,
    depth: int = 12,
    heads: int = 6,
    dropout: float = 0.0,
) -> nn.Module:
    """ViT-S (Dosovitskiy et al., 2021): 12 blocks of six heads, torchvision's.

    Images are square. `patch` is an eighth of their side, rounded up to a power of two and at
    most 16, unless told: 4 at 32x32 and 28x28, 16 at 224x224. `width = 768, heads = 12` is ViT-B.
    """
    return _transformer("vit_small", shape, n_classes, (patch, width, depth, heads), dropout)


def vit_large(
    shape: tuple[int, ...],
    n_classes: int,
    patch: int | None = None,
    width: int = 1024,
    depth: int = 24,
    heads: int = 16,
    dropout: float = 0.0,
) -> nn.Module:
    """ViT-L (Dosovitskiy et al., 2021): 24 blocks of 16 heads; options as for `vit_small`."""
    return _transformer("vit_large", shape, n_classes, (patch, width, depth, heads), dropout)


def _transformer(
    name: str,
    shape: tuple[int, ...],
    n_classes: int,
    size: tuple[int | None, int, int, int],
    dropout: float,
) -> nn.Module:
    from torchvision.models import VisionTransformer as Transformer

    channels, side, breadth = as_image(shape)
    patch, width, depth, heads = size
    patch = _patch(side) if patch is None else patch
    if side != breadth or side % patch or width % heads:
        raise ModelError(
            f"{name}: expected square images with sides that are multiples of patch {patch} and a "
            f"width that is one of heads {heads}, found sides {(side, breadth)} and width {width}"
        )
    model: Any = Transformer(
        image_size=side,
        patch_size=patch,
        num_layers=depth,
        num_heads=heads,
        hidden_dim=width,
        mlp_dim=4 * width,
        dropout=dropout,
        num_classes=n_classes,
    )
    if channels != 3:
        model.conv_proj = nn.Conv2d(channels, width, patch, stride=patch)
        nn.init.trunc_normal_(model.conv_proj.weight, std=(channels * patch**2) ** -0.5)
        nn.init.zeros_(model.conv_proj.bias)
    for block in model.encoder.layers:
        given = block.self_attention.state_dict()
        block.self_attention = Attention(width, heads, batch_first=True)
        block.self_attention.load_state_dict(given)
    if not dropout:
        _leave_out_idle_dropout(model)
    return shaped(shape, model)


def _patch(side: int) -> int:
    """Return the default side of a patch."""
    patch = 2
    while patch < min(side / 8, LARGEST_PATCH):
        patch *= 2
    while side % patch:
        patch //= 2
    return patch


def _leave_out_idle_dropout(model: nn.Module) -> None:
    """Take out dropout that drops nothing, so that many models can be trained at once."""
    for parent in list(model.modules()):
        for name, child in parent.named_children():
            if isinstance(child, nn.Dropout):
                setattr(parent, name, nn.Identity())
