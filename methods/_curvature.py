"""The curvature of the loss: its diagonal by probes, influence of rows, Newton steps."""

from collections.abc import Callable
from typing import Literal

import numpy as np
import torch
from torch import nn
from torch.func import functional_call, grad, jacrev, vjp, vmap

from forget_audit.labels import label_loss
from forget_audit.methods._importance import Tensors, changeable, each_gradient, power_sums

Hessian = Literal["diag", "last_layer", "lissa"]
Pair = tuple[torch.Tensor, torch.Tensor]
Loss = Callable[[Tensors], torch.Tensor]


def sample_influence(
    model: nn.Module,
    rows: Pair,
    twins: torch.Tensor,
    every: Pair,
    *,
    layer: str,
    kind: Hessian = "diag",
    damping: float = 1e-2,
    depth: int = 50,
    scale: float = 25.0,
) -> torch.Tensor:
    """Return `-g(twin) (H + damping)^-1 g(row)` for each row `(n,)`.

    Args:
        model: In evaluation mode.
        rows: Features and labels whose loss has the gradients `g`.
        twins: Perturbed features of the same rows.
        every: Features and labels whose mean loss has the curvature `H`.
        layer: Name of the output layer.
        kind: `diag`, the diagonal empirical Fisher information; `last_layer`, the exact Hessian
            of the output layer, other weights left out; `lissa`, a series with the whole Hessian.
        damping: Added to the curvature.
        depth: Terms of the series.
        scale: Above the greatest curvature, for the series to converge.
    """
    weights = changeable(model)
    if kind == "last_layer":
        prefix = f"{layer}." if layer else ""
        weights = {n: w for n, w in weights.items() if n in (f"{prefix}weight", f"{prefix}bias")}

    def total(weights: Tensors) -> torch.Tensor:
        return label_loss(functional_call(model, weights, (every[0],)), every[1])

    def product(vector: Tensors) -> Tensors:
        moved: Tensors = vjp(grad(total), weights)[1](vector)[0]
        return moved

    if kind == "diag":
        fisher = power_sums(model, *every)
        diagonal = flat({n: fisher[n].unsqueeze(0) / len(every[0]) for n in weights})[0]
    elif kind == "last_layer":
        blocks = jacrev(jacrev(total))(weights)
        width = {n: w.numel() for n, w in weights.items()}
        matrix = torch.cat(
            [
                torch.cat([blocks[a][b].reshape(width[a], width[b]) for b in weights], dim=1)
                for a in weights
            ]
        )
        matrix = matrix.double() + damping * torch.eye(
            len(matrix), dtype=torch.float64, device=matrix.device
        )
    found = []
    pairs = zip(
        each_gradient(model, twins, rows[1], only=weights),
        each_gradient(model, *rows, only=weights),
        strict=True,
    )
    for (_, near), (_, here) in pairs:
        if kind == "diag":
            solved = flat(here) / (diagonal + damping)
        elif kind == "last_layer":
            solved = torch.linalg.solve(matrix, flat(here).T).T
        else:
            series = here
            for _ in range(depth):
                curved = vmap(product)(series)
                series = {
                    n: here[n] + v - (curved[n] + damping * v) / scale for n, v in series.items()
                }
            solved = flat(series) / scale
        found.append(-(flat(near) * solved).sum(1))
    return torch.cat(found)


def flat(each: Tensors) -> torch.Tensor:
    """Return gradients of single rows as a matrix `(n, weights)`, float64."""
    return torch.cat([g.double().flatten(1) for g in each.values()], dim=1)


def hutchinson(
    model: nn.Module,
    rows: Pair,
    names: list[str],
    rng: np.random.Generator,
    probes: int = 10,
) -> Tensors:
    """Return an estimate of the diagonal of the Hessian of the mean loss, at least 0.

    Args:
        model: In evaluation mode.
        rows: Features and labels.
        names: Of the parameters.
        rng: Draws random signs.
        probes: How many vectors of them.
    """
    weights = {name: model.get_parameter(name).detach() for name in names}

    def total(weights: Tensors) -> torch.Tensor:
        return label_loss(functional_call(model, weights, (rows[0],)), rows[1])

    sums = {name: torch.zeros_like(w, dtype=torch.float64) for name, w in weights.items()}
    for _ in range(probes):
        signs = {
            name: torch.from_numpy(rng.choice([-1.0, 1.0], size=tuple(w.shape))).to(w)
            for name, w in weights.items()
        }
        curved = vjp(grad(total), weights)[1](signs)[0]
        for name in sums:
            sums[name] += signs[name] * curved[name]
    return {name: (values / probes).clamp(min=0) for name, values in sums.items()}


def newton_step(
    rest: Loss, own: Loss, weights: Tensors, masks: Tensors, n: int, damping: float, most: int
) -> Tensors:
    """Return the step from the optimum with a row to that without it, on some weights.

    `(H + damping)^-1 g / (n - 1)` with the gradient of the row and the Hessian of the others.

    Args:
        rest: Mean loss of the other rows.
        own: Loss of the row.
        weights: Where the step starts.
        masks: Entries that may move, by name.
        n: Number of rows with the one to remove.
        damping: Added to the Hessian.
        most: Most steps of conjugate gradients.
    """
    moving = {name: weights[name] for name in masks}

    def gradient(moving: Tensors) -> Tensors:
        slopes: Tensors = grad(lambda some: rest({**weights, **some}))(moving)
        return slopes

    def flat(parts: Tensors) -> torch.Tensor:
        return torch.cat([parts[name][mask] for name, mask in masks.items()])

    def spread(vector: torch.Tensor) -> Tensors:
        sizes = [int(mask.sum()) for mask in masks.values()]
        pieces = torch.split(vector, sizes)
        return {
            name: torch.zeros_like(moving[name]).masked_scatter(mask, piece)
            for (name, mask), piece in zip(masks.items(), pieces, strict=True)
        }

    back = vjp(gradient, moving)[1]
    target = flat(grad(lambda some: own({**weights, **some}))(moving))
    found, left, way = torch.zeros_like(target), target, target
    size = left @ left
    for _ in range(most):
        curved = flat(back(spread(way), retain_graph=True)[0]) + damping * way
        bend = way @ curved
        if bend <= 0 or size <= 0:
            break
        found = found + size / bend * way
        left = left - size / bend * curved
        fresh = left @ left
        way, size = left + fresh / size * way, fresh
    return spread(found / (n - 1))
