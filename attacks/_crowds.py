"""Copies of models that an attack trains or queries side by side, where that saves anything.

Plain perceptrons of one shape go together, with one batched matrix product a layer; any other
model makes a crowd of its own, so that an attack is written once. Nobody in a crowd depends on
the others, up to rounding.
"""

import copy
from collections.abc import Hashable, Iterator, Sequence
from typing import Protocol

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from forget_audit.targets import device_of
from forget_audit.training.loop import Index, tensors
from forget_audit.training.perceptrons import is_perceptron
from forget_audit.types import Floats, Rows

MOST, BATCH = 64, 2048


class Crowd(Protocol):
    """Models that are asked and trained at once; those that it was made of stay as they are.

    Features and labels have one part a model, `(models, rows, ...)`, or one for all of them,
    `(1, rows, ...)`.
    """

    places: tuple[int, ...]
    parameters: Sequence[torch.Tensor]
    device: torch.device

    def answer(self, x: torch.Tensor) -> torch.Tensor:
        """Return logits `(models, rows, classes)`, from which gradients by `x` can be had."""
        ...

    def loss(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """Return the mean cross-entropy of each model, added up, to be trained on."""
        ...

    def train(self, training: bool) -> None:
        """Put the models into training mode, or into evaluation mode, as they are at first."""
        ...

    def narrow(self, kept: Index, optimizer: torch.optim.Optimizer) -> None:
        """Go on training with the models at the positions `kept` in the crowd alone."""
        ...


def crowds(models: Sequence[nn.Module]) -> Iterator[Crowd]:
    """Yield copies of all models, in evaluation mode, in crowds of at most `MOST`.

    `places` are the positions of a crowd's models among those given.
    """
    groups: dict[Hashable, list[int]] = {}
    for place, model in enumerate(models):
        groups.setdefault(_kind_of(model) or place, []).append(place)
    for kind, places in groups.items():
        if isinstance(kind, int):
            yield Alone(kind, models[kind])
            continue
        for start in range(0, len(places), MOST):
            part = places[start : start + MOST]
            yield Together(tuple(part), [models[k] for k in part])


def accuracies(crowd: Crowd, rows: Rows) -> Floats:
    """Return the share of `rows` that each model of a crowd classifies as labelled `(models,)`."""
    right = []
    for start in range(0, len(rows), BATCH):
        part = slice(start, start + BATCH)
        x, y = tensors(rows.x[part], rows.y[part], crowd.device)
        with torch.no_grad():
            logits = crowd.answer(x.unsqueeze(0)).cpu().numpy()
        right.append(np.argmax(logits, axis=2) == y.cpu().numpy())
    return np.asarray(np.concatenate(right, axis=1).mean(axis=1))


class Alone:
    """A crowd of one model, of any kind.

    Args:
        place: Its position.
        model: What is copied.
    """

    def __init__(self, place: int, model: nn.Module) -> None:
        self.places: tuple[int, ...] = (place,)
        self._model = copy.deepcopy(model).eval().requires_grad_(True)
        self.parameters: Sequence[torch.Tensor] = tuple(self._model.parameters())
        self.device = device_of(self._model)

    def answer(self, x: torch.Tensor) -> torch.Tensor:
        """Ask the model; see `Crowd`."""
        logits: torch.Tensor = self._model(x[0])
        return logits.unsqueeze(0)

    def loss(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """Return the loss of the model."""
        return functional.cross_entropy(self._model(x[0]), y[0])

    def train(self, training: bool) -> None:
        """Put the model into training or evaluation mode."""
        self._model.train(training)

    def narrow(self, kept: Index, optimizer: torch.optim.Optimizer) -> None:
        """Stay as it is: nobody can leave but all."""


class Together:
    """A crowd of plain perceptrons of one shape.

    Args:
        places: Their positions.
        models: What is copied.
    """

    def __init__(self, places: tuple[int, ...], models: Sequence[nn.Module]) -> None:
        self.places = places
        self._layers = dict(models[0].named_children())
        self._weights = {
            name: torch.stack([model.get_parameter(name).detach() for model in models])
            for name, _ in models[0].named_parameters()
        }
        self.parameters: Sequence[torch.Tensor] = tuple(self._weights.values())
        for parameter in self.parameters:
            parameter.requires_grad_(True)
        self.device = device_of(models[0])

    def answer(self, x: torch.Tensor) -> torch.Tensor:
        """Ask all models; see `Crowd`."""
        hidden = x.flatten(2).expand(len(self.parameters[0]), -1, -1)
        for name, layer in self._layers.items():
            if isinstance(layer, nn.Linear):
                turned = self._weights[f"{name}.weight"].transpose(1, 2)
                bias = self._weights.get(f"{name}.bias")
                hidden = (
                    torch.bmm(hidden, turned)
                    if bias is None
                    else torch.baddbmm(bias.unsqueeze(1), hidden, turned)
                )
            elif isinstance(layer, nn.ReLU):
                hidden = hidden.relu()
        return hidden

    def loss(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """Return the losses of all models, added up: each gets its own gradient."""
        logits = self.answer(x)
        labels = y.expand(len(logits), -1).flatten()
        each = functional.cross_entropy(logits.flatten(0, 1), labels, reduction="none")
        return each.view(len(logits), -1).mean(dim=1).sum()

    def train(self, training: bool) -> None:
        """Do nothing: perceptrons answer alike in both modes."""

    def narrow(self, kept: Index, optimizer: torch.optim.Optimizer) -> None:
        """Go on with the models at the positions `kept`, and with what Adam knows of them."""
        chosen = torch.from_numpy(kept).to(self.device)
        for name, before in self._weights.items():
            after = before.detach()[chosen].requires_grad_(True)
            state = optimizer.state.pop(before, {})
            state |= {k: v[chosen] for k, v in state.items() if torch.is_tensor(v) and v.ndim}
            optimizer.state[after] = state
            self._weights[name] = after
        self.parameters = tuple(self._weights.values())
        optimizer.param_groups[0]["params"] = list(self.parameters)


def _kind_of(model: nn.Module) -> Hashable | None:
    """Return what perceptrons that can go together have in common, or nothing for others."""
    if type(model) is not nn.Sequential or not is_perceptron(model):
        return None
    if any(map(_meddled, [model, *model])):
        return None
    if {p.dtype for p in model.parameters()} != {torch.float32}:
        return None
    return tuple(map(str, model)), device_of(model)


def _meddled(part: nn.Module) -> bool:
    """Say whether more happens in a module than its class says."""
    hooks = (part._forward_hooks, part._forward_pre_hooks, part._backward_hooks)
    return any(map(len, hooks)) or "forward" in vars(part)
