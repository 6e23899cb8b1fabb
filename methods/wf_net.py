"""WF-Net: a gate for each class and channel, learnt once; the gates of one class are applied."""

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import nn

from forget_audit.contracts import MethodInfo, Unlearned
from forget_audit.errors import NotApplicable
from forget_audit.labels import label_loss
from forget_audit.methods._layers import weight_layers
from forget_audit.methods._settings import number, refuse_unserved
from forget_audit.methods._steps import Course, Optimizer, Stepping, forget_then_retain
from forget_audit.registry import method
from forget_audit.training.loop import Index, Recipe
from forget_audit.types import Case, Features

GATED = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
Gates = dict[str, torch.Tensor]


@method
@dataclass(frozen=True, kw_only=True)
class WfNet(Stepping):
    """Learn which channels each class lives in, then close those of the forgotten class.

    Every inner linear or convolutional layer gets a matrix of gates, a row for each class and a
    column for each channel; the weights stay. The gates are trained on all rows so that a row
    loses its label under the gates of its own class, and keeps it under those of another class.
    After that any class can be forgotten by choosing its gates. Here those of the requested
    classes are multiplied into the weights, and the others are thrown away. Not to be mistaken
    for weight filtering of single weights by influence, which shares the name and little else.

    Args:
        epochs: Passes over all rows; 0 leaves the model as it is.
        batch_size: Most rows in a step; a pass deals its rows into equal batches.
        least_steps: Fewest steps in a pass; few rows are dealt into smaller batches.
        optimizer: `adam`, `adamw` or `sgd`, over the gates alone.
        lr: Learning rate.
        momentum: Of `sgd`.
        weight_decay: Of any of them.
        opening: What gates start from, before the sigmoid; 3 is 95 percent open.
        keep: Weight of the cross-entropy under the gates of another class.
        forget: Weight of the reciprocal of the cross-entropy under the gates of the own class.
        open: Weight of the mean share by which gates are closed.

    Raises:
        ValueError: If a field is out of its range.
        NotApplicable: If the request names no class, or the model has no inner layer that may be
            gated.

    References:
        Poppi, Sarto, Cornia, Baraldi and Cucchiara (2024), Multi-Class Unlearning for Image
        Classification via Weight Filtering, https://arxiv.org/abs/2304.02049.

    Departures:
        Reconstructed from the abstract and descriptions; neither full text nor code was
        compared, so loss, start and layers are ours where these do not say. Another class is
        drawn anew for each row and step. The forget loss enters by its reciprocal, which is
        bounded, instead of its negative. The output layer is not gated: closing its channel
        would only mute the class. Gates multiply outputs, bias included, so that they can be
        folded into the weights, and the unlearned model is an ordinary one; folding the gates of
        several classes multiplies them. The weights are frozen and the model is in evaluation
        mode, batch statistics included, while gates are learnt. Verification: folded gates equal
        gated outputs, and the gates of one class change nothing under those of another;
        published figures not reproduced.
    """

    info: ClassVar[MethodInfo] = MethodInfo(
        name="wf_net",
        title="WF-Net: gates for each class",
        card="M48",
        paper="arXiv:2304.02049",
        needs=frozenset({"forget", "retain", "labels", "architecture"}),
        scopes=frozenset({"class"}),
        guarantee="none",
        reconstructed="loss, initial gates and gated layers, from the abstract and descriptions",
        cost="two forward and backward passes over all rows in each epoch, for all classes at once",
        summary="Learns which parts of the model serve which class, and turns down those of the "
        "class to forget.",
    )
    epochs: int = 15
    optimizer: Optimizer = "adam"
    lr: float = 0.3
    opening: float = 3.0
    keep: float = 1.0
    forget: float = 1.0
    open: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        number("opening", self.opening)
        for name in ("keep", "forget", "open"):
            number(name, getattr(self, name), at_least=0)

    def unlearn(self, model: nn.Module, case: Case, rng: np.random.Generator) -> Unlearned:
        """Return a copy with the gates of the forgotten classes folded into its weights."""
        refuse_unserved(self.info, case)
        if not case.classes:
            raise NotApplicable(
                "wf_net needs the forgotten classes, found none in the class request; name them "
                "in case.classes"
            )
        course = Course(model, rng, ["eval"])
        if not self.epochs:
            return course.finish("all 0 epochs done")
        gates = self.learn(course, case, rng)
        closed = fold(course.model, gates, case.classes)
        return course.finish(
            f"all {self.epochs} epochs done", f"{closed:.0%} of the gates are more shut than open"
        )

    def learn(self, course: Course, case: Case, rng: np.random.Generator) -> Gates:
        """Return the logarithmic odds of the gates `(classes, channels)` of each layer."""
        judge = copy.deepcopy(course.model).eval().requires_grad_(False)
        x, y = forget_then_retain(case, judge)
        sizes = gated_layers(course.model, case.retain.x)
        gates = {
            name: torch.full((case.n_classes, size), self.opening, device=x.device).requires_grad_()
            for name, size in sizes.items()
        }

        def loss(index: Index) -> torch.Tensor:
            rows, own = x[index], y[index]
            step = torch.from_numpy(rng.integers(1, case.n_classes, len(index))).to(own.device)
            other = (own + step) % case.n_classes
            with gated(judge, gates) as choose:
                choose(own)
                lost = label_loss(judge(rows), own)
                choose(other)
                kept = label_loss(judge(rows), own)
            shut = torch.stack([1 - g.sigmoid().mean() for g in gates.values()]).mean()
            return self.keep * kept + self.forget / lost.clamp(min=1e-6) + self.open * shut

        optimizer = Recipe(
            optimizer=self.optimizer,
            lr=self.lr,
            momentum=self.momentum,
            weight_decay=self.weight_decay,
        ).make_optimizer(gates.values())
        for _ in range(self.epochs):
            course.run(loss, self.batches(len(x), rng), optimizer, norms="eval")
        return {name: gate.detach() for name, gate in gates.items()}


def gated_layers(model: nn.Module, x: Features) -> dict[str, int]:
    """Return the number of channels of each inner layer that may be gated, by name.

    Raises:
        NotApplicable: If there is none.
    """
    sizes = {}
    for layer in weight_layers(model, x)[:-1]:
        module = model.get_submodule(layer.name)
        own = module.parameters(recurse=False)
        if isinstance(module, GATED) and all(p.requires_grad for p in own):
            sizes[layer.name] = len(module.weight)
    if not sizes:
        raise NotApplicable(
            "wf_net needs a linear or convolutional layer before the output layer that may "
            "change, found none; choose another method or call requires_grad_(True)"
        )
    return sizes


@contextmanager
def gated(model: nn.Module, gates: Gates) -> Iterator[Callable[[torch.Tensor], None]]:
    """Multiply the outputs of layers by gates for the body.

    Yields a function that chooses the class whose gates each row of the next passes gets.

    Args:
        model: Gets hooks, which are removed.
        gates: Logarithmic odds `(classes, channels)` by layer.
    """
    chosen: list[torch.Tensor] = []

    def choose(classes: torch.Tensor) -> None:
        chosen[:] = [classes]

    def shut(gate: torch.Tensor) -> Callable[..., torch.Tensor]:
        def look(
            module: nn.Module, _: tuple[torch.Tensor, ...], output: torch.Tensor
        ) -> torch.Tensor:
            share = gate.sigmoid()[chosen[0]]
            axis = output.ndim - 1 if isinstance(module, nn.Linear) else 1
            shape = [len(share)] + [1] * (output.ndim - 1)
            shape[axis] = share.shape[1]
            return output * share.view(shape)

        return look

    handles = [
        model.get_submodule(name).register_forward_hook(shut(gate)) for name, gate in gates.items()
    ]
    try:
        yield choose
    finally:
        for handle in handles:
            handle.remove()


def fold(model: nn.Module, gates: Gates, classes: tuple[int, ...]) -> float:
    """Multiply the gates of `classes` into the weights in place; return the share mostly shut."""
    shares = []
    with torch.no_grad():
        for name, gate in gates.items():
            share = gate[list(classes)].sigmoid().prod(0)
            shares.append(share)
            for parameter in model.get_submodule(name).parameters(recurse=False):
                parameter.mul_(share.view(-1, *[1] * (parameter.ndim - 1)))
    return (torch.cat(shares) < 0.5).float().mean().item()
