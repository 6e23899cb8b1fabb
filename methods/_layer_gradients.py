"""Gradients of single rows by hand: from what a layer was given and the gradient of its answer.

Autograd sums the gradients of a batch; the layers here give them row by row without a backward
pass for each.
"""

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import torch
from torch import nn
from torch.nn import functional

Power = Literal[1, 2]

LARGEST = 1e15


@dataclass(frozen=True, eq=False)
class Call:
    """One use of a layer in a forward pass.

    Args:
        layer: The layer.
        given: Its input `(n, ...)`.
        answer: Its output `(n, ...)`, as it left the layer.
    """

    layer: nn.Module
    given: torch.Tensor
    answer: torch.Tensor


class Factors(NamedTuple):
    """The gradients of a matrix for each row, as sums over places of outer products.

    Args:
        left: Gradients of the answer `(n, groups, places, outputs)`.
        right: What they are multiplied with `(n, groups, places, inputs)`.
    """

    left: torch.Tensor
    right: torch.Tensor

    def each(self) -> torch.Tensor:
        """Return the gradients `(n, groups, outputs, inputs)`."""
        return self.left.transpose(2, 3) @ self.right

    def power_sum(self, power: Power) -> torch.Tensor:
        """Return the sum over rows of the absolute gradients to a power, float64.

        With one place a gradient is a product, and so is its power. Otherwise row by row: the
        gradients of one row stay in the processor's cache, those of a batch do not. They are
        scaled so that no square is lost in single precision.
        """
        left, right = self.left.transpose(2, 3), self.right
        if right.shape[2] == 1:
            left, right = left[..., 0].double(), right[:, :, 0].double()
            return _power(left, power).permute(1, 2, 0) @ _power(right, power).transpose(0, 1)
        largest = float(left.abs().max()) * float(right.abs().max()) * right.shape[2]
        scale = LARGEST / max(largest, 1 / LARGEST)
        total = left.new_zeros(*left.shape[1:3], right.shape[3])
        each = torch.empty_like(total)
        for one, other in zip(left * scale, right, strict=True):
            torch.bmm(one, other, out=each)
            if power == 1:
                total += each.abs_()
            else:
                total.addcmul_(each, each)
        return total.double() / scale**power


RowGradient = Factors | torch.Tensor
Formula = Callable[[Any, torch.Tensor, torch.Tensor], tuple[RowGradient, torch.Tensor]]


def _linear(_: nn.Linear, x: torch.Tensor, g: torch.Tensor) -> tuple[RowGradient, torch.Tensor]:
    left, right = (part.reshape(len(part), 1, -1, part.shape[-1]) for part in (g, x))
    return Factors(left, right), left.sum((1, 2))


def _conv2d(layer: nn.Conv2d, x: torch.Tensor, g: torch.Tensor) -> tuple[RowGradient, torch.Tensor]:
    padding: Any = layer.padding
    windows = functional.unfold(x, layer.kernel_size, layer.dilation, padding, layer.stride)
    left, right = (
        part.reshape(len(part), layer.groups, -1, windows.shape[2]).transpose(2, 3)
        for part in (g, windows)
    )
    return Factors(left, right), g.sum((2, 3))


def _batch_norm(
    layer: nn.BatchNorm2d, x: torch.Tensor, g: torch.Tensor
) -> tuple[RowGradient, torch.Tensor]:
    scaled = functional.batch_norm(x, layer.running_mean, layer.running_var, eps=layer.eps)
    return _by_channel(g * scaled), _by_channel(g)


def _group_norm(
    layer: nn.GroupNorm, x: torch.Tensor, g: torch.Tensor
) -> tuple[RowGradient, torch.Tensor]:
    scaled = functional.group_norm(x, layer.num_groups, eps=layer.eps)
    return _by_channel(g * scaled), _by_channel(g)


def _layer_norm(
    layer: nn.LayerNorm, x: torch.Tensor, g: torch.Tensor
) -> tuple[RowGradient, torch.Tensor]:
    shape = layer.normalized_shape
    scaled = functional.layer_norm(x, shape, eps=layer.eps)
    each, shift = (part.reshape(len(x), -1, *shape).sum(1) for part in (g * scaled, g))
    return each, shift


def _by_channel(values: torch.Tensor) -> torch.Tensor:
    return values.flatten(2).sum(2) if values.ndim > 2 else values


FORMULAS: Mapping[type[nn.Module], Formula] = {
    nn.Linear: _linear,
    nn.Conv2d: _conv2d,
    nn.BatchNorm1d: _batch_norm,
    nn.BatchNorm2d: _batch_norm,
    nn.GroupNorm: _group_norm,
    nn.LayerNorm: _layer_norm,
}


def has_formula(layer: nn.Module) -> bool:
    """Return whether the gradients of single rows are known by hand, in evaluation mode."""
    if isinstance(layer, nn.Conv2d):
        plain = layer.padding_mode == "zeros" and not isinstance(layer.padding, str)
    else:
        plain = getattr(layer, "running_mean", layer) is not None
    return type(layer) in FORMULAS and plain


def row_gradients(call: Call, gradient: torch.Tensor) -> dict[str, RowGradient]:
    """Return the gradients of single rows by name of the layer's own parameter.

    Args:
        call: How the layer was used.
        gradient: Of the sum of all rows' losses by its answer.
    """
    formula = FORMULAS[type(call.layer)]
    found = dict(zip(("weight", "bias"), formula(call.layer, call.given, gradient), strict=True))
    return {name: found[name] for name, _ in call.layer.named_parameters(recurse=False)}


def power_sum(gradients: RowGradient, power: Power) -> torch.Tensor:
    """Return the sum over rows of the absolute gradients to a power, float64."""
    if isinstance(gradients, Factors):
        return gradients.power_sum(power)
    return _power(gradients.double(), power).sum(0)


def _power(values: torch.Tensor, power: Power) -> torch.Tensor:
    return values.square() if power == 2 else values.abs()


@contextmanager
def watching_calls(layers: Collection[nn.Module]) -> Iterator[list[Call]]:
    """Yield a list that fills with the calls of `layers` while the body runs.

    What follows a layer gets a copy of its answer, so that nobody changes the noted one in place.
    """
    calls: list[Call] = []

    def note(layer: nn.Module, given: tuple[torch.Tensor, ...], answer: torch.Tensor) -> Any:
        calls.append(Call(layer, given[0].detach(), answer))
        return answer.clone()

    handles = [layer.register_forward_hook(note) for layer in layers]
    try:
        yield calls
    finally:
        for handle in handles:
            handle.remove()
