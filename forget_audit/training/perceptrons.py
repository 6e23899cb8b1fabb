"""Many perceptrons of one shape, as batched matrix products with the gradients written out.

Each model keeps its own rows, weights and gradients. A batched product gives each model the very
numbers that it gets alone, so on one thread no model depends on those beside it.
"""

import torch
from torch import nn

from forget_audit.labels import label_loss
from forget_audit.training.stacks import Stack

KINDS = (nn.Flatten, nn.Linear, nn.ReLU)


def is_perceptron(model: nn.Module) -> bool:
    """Say whether `model` is a chain of linear layers and ReLUs that share no weights."""
    if not isinstance(model, nn.Sequential) or not all(type(m) in KINDS for m in model):
        return False
    flattens = [m for m in model if isinstance(m, nn.Flatten)]
    weights = [p for m in model for p in m.parameters()]
    return (
        len(weights) == len({id(p) for p in weights}) > 0
        and all(p.ndim <= 2 for p in weights)
        and all((m.start_dim, m.end_dim) == (1, -1) for m in flattens)
    )


class Perceptrons:
    """The forward and backward pass of many perceptrons.

    Args:
        model: One of them, which all are like.
        stack: Their weights.
    """

    def __init__(self, model: nn.Sequential, stack: Stack) -> None:
        names = {id(p): name for name, p in model.named_parameters()}
        self._stack = stack
        self._layers: list[tuple[str, str | None] | None] = []
        for layer in model:
            if isinstance(layer, nn.Linear):
                bias = None if layer.bias is None else names[id(layer.bias)]
                self._layers.append((names[id(layer.weight)], bias))
            elif isinstance(layer, nn.ReLU):
                self._layers.append(None)

    @torch.no_grad()
    def answer(self, x: torch.Tensor, y: torch.Tensor) -> "Answer":
        """Return the answers to a batch, from which gradients can be had.

        Args:
            x: Rows of each model `(models, rows, ...)`.
            y: Their labels `(models, rows)`, or `(models, rows, labels)`.
        """
        weights, seen = self._stack.weights, [x.flatten(2)]
        for layer in self._layers:
            if layer is None:
                own = len(seen) > 1  # nobody else needs what a layer before it answered
                seen.append(seen[-1].relu_() if own else seen[-1].relu())
                continue
            weight, bias = layer
            turned = weights[weight].transpose(1, 2)
            seen.append(
                torch.bmm(seen[-1], turned)
                if bias is None
                else torch.baddbmm(weights[bias].unsqueeze(1), seen[-1], turned)
            )
        return Answer(self, seen, y)

    @torch.no_grad()
    def learn(self, seen: list[torch.Tensor], slope: torch.Tensor) -> None:
        """Hand the gradients to the optimiser.

        Args:
            seen: What each layer was given, and the logits at the end.
            slope: Of each model's loss by its logits `(models, rows, classes)`.
        """
        gradients, last = self._stack.gradients, len(self._layers) - 1
        first = next(k for k, layer in enumerate(self._layers) if layer is not None)
        for k in range(last, first - 1, -1):
            layer = self._layers[k]
            if layer is None:
                torch.ops.aten.threshold_backward.grad_input(
                    slope, seen[k + 1], 0, grad_input=slope
                )
                continue
            weight, bias = layer
            if weight in gradients:
                torch.bmm(slope.transpose(1, 2), seen[k], out=gradients[weight])
            if bias in gradients:
                torch.sum(slope, 1, out=gradients[bias])
            if k > first:
                slope = torch.bmm(slope, self._stack.weights[weight])
        self._stack.learn()


class Answer:
    """The answers of many perceptrons to a batch.

    Args:
        models: That answered.
        seen: What each layer was given, and the logits at the end.
        y: Labels.
    """

    def __init__(self, models: Perceptrons, seen: list[torch.Tensor], y: torch.Tensor) -> None:
        self._models, self._seen, self._y = models, seen, y

    @property
    def logits(self) -> torch.Tensor:
        """`(models, rows, classes)`."""
        return self._seen[-1]

    def backward(self) -> None:
        """Hand the gradients of each model's mean `label_loss` to the optimiser."""
        self._models.learn(self._seen, slopes(self.logits, self._y))


def slopes(logits: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Return the gradient of each model's mean `label_loss` by its logits, shaped like them.

    For classes it is the softmax less one at the label. It is taken along the middle axis, which
    is several times as fast as along a short last one.

    Args:
        logits: `(models, rows, classes)`.
        y: `(models, rows)`, or `(models, rows, labels)`.
    """
    if y.ndim == 2:
        slope = logits.transpose(1, 2).contiguous().softmax(dim=1)
        slope.scatter_add_(1, y.unsqueeze(1), slope.new_tensor(-1.0).expand(len(y), 1, y.shape[1]))
        return slope.div_(y.shape[1]).transpose(1, 2)
    leaf = logits.detach().requires_grad_()
    label_loss(leaf.flatten(0, 1), y.flatten(0, 1), "none").sum().div(y.shape[1]).backward()  # type: ignore[no-untyped-call]
    if leaf.grad is None:
        raise AssertionError("a leaf has a gradient after the backward pass")
    return leaf.grad
