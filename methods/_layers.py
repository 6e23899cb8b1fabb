"""The layers of a model in forward order: which come last, which is the head, how deep each is."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn.modules.batchnorm import _NormBase

from forget_audit.errors import ModelError
from forget_audit.targets import device_of, evaluating
from forget_audit.types import Features

NORMS = (_NormBase, nn.LayerNorm, nn.GroupNorm)


@dataclass(frozen=True)
class Layer:
    """A module with parameters of its own.

    Args:
        name: Dotted path in the model.
        parameters: Names of its own parameters in the model.
        norm: Whether it normalises; such layers do not count as depth.
    """

    name: str
    parameters: tuple[str, ...]
    norm: bool


def ordered_layers(model: nn.Module, x: Features) -> list[Layer]:
    """Return all layers with parameters in the order in which they first run.

    Layers that are used without being called, such as the output projection inside torch's
    attention, follow the module that holds them.

    Args:
        model: Asked about one row, in evaluation mode.
        x: Features of at least one row.
    """
    named = {module: name for name, module in model.named_modules()}
    ran: list[nn.Module] = []
    handles = [
        module.register_forward_pre_hook(lambda module, _: ran.append(module)) for module in named
    ]
    try:
        with evaluating(model), torch.no_grad():
            model(torch.tensor(x[:1], device=device_of(model)))
    finally:
        for handle in handles:
            handle.remove()
    seen = dict.fromkeys(ran)
    order: list[nn.Module] = []
    for module in seen:
        order.append(module)
        order += [child for child in module.children() if child not in seen]
    layers = []
    for module in dict.fromkeys(order):
        own = [name for name, _ in module.named_parameters(recurse=False)]
        prefix = f"{named[module]}." if named[module] else ""
        if own:
            parameters = tuple(prefix + name for name in own)
            layers.append(Layer(named[module], parameters, isinstance(module, NORMS)))
    return layers


def weight_layers(model: nn.Module, x: Features) -> list[Layer]:
    """Return the layers that count as depth: all with parameters but normalisations."""
    return [layer for layer in ordered_layers(model, x) if not layer.norm]


def last_layers(model: nn.Module, x: Features, k: int) -> list[Layer]:
    """Return the last `k` weight layers and the normalisations that run between or after them.

    All layers if there are no more than `k`.
    """
    layers = ordered_layers(model, x)
    depth = [i for i, layer in enumerate(layers) if not layer.norm]
    return layers if k >= len(depth) else layers[depth[-k] :] if k else []


def head(model: nn.Module, x: Features, outputs: int | None = None) -> tuple[str, nn.Linear]:
    """Return name and module of the output layer, the last layer with weights.

    Args:
        model: Asked about one row.
        x: Features of at least one row.
        outputs: How many outputs it must have; any number if left out.

    Raises:
        ModelError: If it is not linear, or has another number of outputs.
    """
    last = weight_layers(model, x)[-1]
    module = model.get_submodule(last.name)
    if not isinstance(module, nn.Linear):
        raise ModelError(f"expected a linear output layer, found {type(module)} at {last.name!r}")
    if outputs is not None and module.out_features != outputs:
        raise ModelError(
            f"expected one output a class, {outputs} in all, found {module.out_features} at "
            f"{last.name!r}; choose another method, or leave out model.head"
        )
    return last.name, module


def replace_module(model: nn.Module, name: str, module: nn.Module) -> None:
    """Put `module` in the place called `name`."""
    parent, _, child = name.rpartition(".")
    setattr(model.get_submodule(parent), child, module)


@contextmanager
def watching_input(module: nn.Module) -> Iterator[Callable[[], torch.Tensor]]:
    """Yield a function that returns what `module` was last given, with gradients.

    Around a forward pass, the input of the head is the penultimate features.
    """
    seen: list[torch.Tensor] = []

    def look(_: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        seen[:] = [inputs[0]]

    handle = module.register_forward_pre_hook(look)
    try:
        yield lambda: seen[0]
    finally:
        handle.remove()
