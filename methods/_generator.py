"""A network that makes inputs out of noise, and maps of where a network looks."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import nn
from torch.nn import functional


class Scaled(nn.Module):
    """Squeezes numbers into limits by a sigmoid.

    Args:
        low: Least value.
        high: Greatest value.
    """

    def __init__(self, low: float, high: float) -> None:
        super().__init__()
        self.low, self.high = low, high

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return `x` between the limits."""
        return self.low + (self.high - self.low) * x.sigmoid()


def generator(
    shape: tuple[int, ...], seeds: int, width: int, bounds: tuple[float, float] | None
) -> nn.Module:
    """Build a network from noise `(n, seeds)` to inputs `(n, *shape)`.

    Images `(channels, height, width)` whose sides are multiples of four are made at a quarter of
    the side and enlarged twice, each time with a convolution and batch norm; other inputs by a
    perceptron with one hidden layer.

    Args:
        shape: Of an input.
        seeds: Numbers of noise for an input.
        width: Channels, or hidden units.
        bounds: Least and greatest value of an input; if none, the inputs of a batch have mean
            zero and deviation one before a learnt scale.
    """
    if len(shape) == 3 and shape[1] % 4 == shape[2] % 4 == 0:
        channels, height, breadth = shape[0], shape[1] // 4, shape[2] // 4
        layers: list[nn.Module] = [
            nn.Linear(seeds, width * height * breadth),
            nn.Unflatten(1, (width, height, breadth)),
            nn.BatchNorm2d(width),
        ]
        for before, after in ((width, width), (width, max(1, width // 2))):
            layers += [
                nn.Upsample(scale_factor=2),
                nn.Conv2d(before, after, 3, padding=1),
                nn.BatchNorm2d(after),
                nn.LeakyReLU(0.2),
            ]
        layers += [nn.Conv2d(max(1, width // 2), channels, 3, padding=1), nn.BatchNorm2d(channels)]
    else:
        size = math.prod(shape)
        layers = [
            nn.Linear(seeds, width),
            nn.BatchNorm1d(width),
            nn.LeakyReLU(0.2),
            nn.Linear(width, size),
            nn.BatchNorm1d(size),
            nn.Unflatten(1, shape),
        ]
    return nn.Sequential(*layers, *([Scaled(*bounds)] if bounds else []))


@contextmanager
def watching_maps(model: nn.Module) -> Iterator[Callable[[], list[torch.Tensor]]]:
    """Yield a function that returns the attention maps of the last forward pass.

    One `(n, places)` for each convolution: the mean over channels of the squared activations,
    of length one for each input. What follows a convolution gets a copy of its answer, so that
    nobody changes the one looked at in place.
    """
    seen: dict[nn.Module, torch.Tensor] = {}

    def look(module: nn.Module, _: tuple[torch.Tensor, ...], output: torch.Tensor) -> torch.Tensor:
        seen[module] = functional.normalize(output.square().mean(1).flatten(1))
        return output.clone()

    layers = [module for module in model.modules() if isinstance(module, nn.Conv2d)]
    handles = [layer.register_forward_hook(look) for layer in layers]
    try:
        yield lambda: [seen[layer] for layer in layers if layer in seen]
    finally:
        for handle in handles:
            handle.remove()


def map_distance(one: list[torch.Tensor], other: list[torch.Tensor]) -> torch.Tensor:
    """Return the mean squared distance of attention maps, summed over layers; 0 without any."""
    distances = [functional.mse_loss(a, b) for a, b in zip(one, other, strict=True)]
    return torch.stack(distances).sum() if distances else torch.zeros(())
