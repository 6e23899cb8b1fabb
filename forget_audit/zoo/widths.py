"""Networks of other widths than those of their papers."""

from collections.abc import Callable

import torch
from torch import nn

from forget_audit.errors import ModelError

CHANNELS = 64  # all layers of the networks that are scaled here are multiples of it


def scaled(make: Callable[[], nn.Module], width: float, *, he: bool = True) -> nn.Module:
    """Return the network of `make` with the channels of all layers multiplied by `width`.

    Linear layers inside are scaled too; the channels of the image and the classes stay. Weights
    are drawn anew: those of convolutions as He et al. (2015) do, all others as torch does.

    Args:
        make: Builds the network of `nn.Conv2d`, `nn.BatchNorm2d` and `nn.Linear`; called as it is
            for a width of one, else on the device `meta`, so that no large network is made.
        width: Positive multiple of 1/64.
        he: Whether convolutions are drawn as He et al. do, without biases.

    Raises:
        ModelError: If a layer would have no whole number of channels.
    """
    if width == 1:
        return make()
    if width <= 0 or width * CHANNELS % 1:
        raise ModelError(f"width: expected a multiple of 1/{CHANNELS} above 0, found {width}")
    with torch.device("meta"):
        model = make()
        layers = [m for m in model.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
        for layer in layers:
            _resize(layer, width, first=layer is layers[0], last=layer is layers[-1])
        for parent in list(model.modules()):
            for name, child in parent.named_children():
                if isinstance(child, nn.BatchNorm2d):
                    setattr(parent, name, nn.BatchNorm2d(int(child.num_features * width)))
    made = model.to_empty(device=torch.get_default_device())
    for module in made.modules():
        if isinstance(module, nn.Conv2d | nn.Linear | nn.BatchNorm2d):
            module.reset_parameters()
        if he and isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    return made


def _resize(layer: nn.Conv2d | nn.Linear, width: float, *, first: bool, last: bool) -> None:
    names = ("in_channels", "out_channels")
    if isinstance(layer, nn.Linear):
        names = ("in_features", "out_features")
    for name, kept in zip(names, (first, last), strict=True):
        if not kept:
            setattr(layer, name, int(getattr(layer, name) * width))
    size = [getattr(layer, name) for name in reversed(names)]
    layer.weight = nn.Parameter(torch.empty(*size, *layer.weight.shape[2:]))
    if layer.bias is not None:
        layer.bias = nn.Parameter(torch.empty(size[0]))
