"""A loss as a function of one flat vector of weights: gradients, curvature, inverse curvature.

All in float64 and evaluation mode, on a private copy of the model. Sums over rows, not means.
"""

import copy
import math
from collections.abc import Callable, Collection

import numpy as np
import torch
from torch import nn
from torch.func import functional_call, grad, jacrev, vjp, vmap

from forget_audit.errors import ModelError
from forget_audit.labels import label_loss

RowsLoss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
Product = Callable[[torch.Tensor], torch.Tensor]

CHUNK = 1024  # rows in one pass
BLOCK = 128  # rows or vectors whose gradients are held side by side


def row_losses(logits: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Return the loss of each row `(n,)`."""
    return label_loss(logits, y, "none")


class Surface:
    """The loss of a model over some of its parameters, laid out as one float64 vector.

    Args:
        model: Copied.
        loss: Of logits `(n, outputs)` and labels, one number a row.
        only: Names of the parameters; those that require a gradient if left out.
    """

    def __init__(
        self, model: nn.Module, loss: RowsLoss = row_losses, only: Collection[str] | None = None
    ) -> None:
        self._model = copy.deepcopy(model).double().eval()
        self._loss = loss
        self._shapes = {
            name: p.shape
            for name, p in self._model.named_parameters()
            if p.requires_grad and (only is None or name in only)
        }
        if not self._shapes:
            raise ModelError("expected weights that require a gradient, found none; unfreeze some")
        self._model.requires_grad_(requires_grad=False)
        self.start = self.flat(self._model.state_dict())

    def flat(self, tensors: dict[str, torch.Tensor]) -> torch.Tensor:
        """Return the named tensors as one vector, float64."""
        return torch.cat([tensors[name].detach().double().flatten() for name in self._shapes])

    def put(self, vector: torch.Tensor, model: nn.Module) -> None:
        """Write a vector into the parameters of `model`."""
        weights = dict(model.named_parameters())
        with torch.no_grad():
            for name, part in self._unflat(vector).items():
                weights[name].copy_(part)

    def logits(self, at: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        """Return the logits with the weights `at`."""
        answer: torch.Tensor = functional_call(self._model, self._unflat(at), (x.double(),))
        return answer

    def total(self, at: torch.Tensor, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """Return the loss summed over rows."""
        return self._loss(self.logits(at, x), y).sum()

    def gradient(self, at: torch.Tensor, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """Return the gradient of the summed loss."""
        parts = [grad(self.total)(at, *part) for part in _parts(CHUNK, x, y)]
        return torch.stack(parts).sum(0)

    def row_gradients(self, at: torch.Tensor, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """Return the gradient of each row `(n, weights)`."""

        def of_row(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
            slope: torch.Tensor = grad(self.total)(at, x.unsqueeze(0), y.unsqueeze(0))
            return slope

        return torch.cat([vmap(of_row)(*part) for part in _parts(BLOCK, x, y)])

    def jacobians(self, at: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        """Return the derivative of each logit of each row `(n, outputs, weights)`."""

        def of_row(at: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
            return self.logits(at, x.unsqueeze(0))[0]

        one = vmap(jacrev(of_row), in_dims=(None, 0))
        return torch.cat([one(at, part) for (part,) in _parts(BLOCK, x)])

    def hessian_product(self, at: torch.Tensor, x: torch.Tensor, y: torch.Tensor) -> Product:
        """Return the product of the Hessian of the summed loss with a vector."""

        def of_part(vector: torch.Tensor, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
            bent: torch.Tensor = vjp(lambda w: grad(self.total)(w, x, y), at)[1](vector)[0]
            return bent

        def product(vector: torch.Tensor) -> torch.Tensor:
            return torch.stack([of_part(vector, *part) for part in _parts(CHUNK, x, y)]).sum(0)

        return product

    def gauss_newton_product(self, at: torch.Tensor, x: torch.Tensor, y: torch.Tensor) -> Product:
        """Return the product of the Gauss-Newton matrix of the summed loss with a vector.

        The Hessian without the curvature of the model itself; never negative.
        """

        def of_part(vector: torch.Tensor, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
            def logits(at: torch.Tensor) -> torch.Tensor:
                return self.logits(at, x)

            answers, pull = vjp(logits, at)[:2]

            def transposed(bend: torch.Tensor) -> torch.Tensor:
                slope: torch.Tensor = pull(bend)[0]
                return slope

            def loss(answers: torch.Tensor) -> torch.Tensor:
                return self._loss(answers, y).sum()

            pushed = vjp(transposed, torch.zeros_like(answers))[1](vector)[0]
            bent = vjp(grad(loss), answers)[1](pushed)[0]
            pulled: torch.Tensor = pull(bent)[0]
            return pulled

        def product(vector: torch.Tensor) -> torch.Tensor:
            return torch.stack([of_part(vector, *part) for part in _parts(CHUNK, x, y)]).sum(0)

        return product

    def gauss_newton(self, at: torch.Tensor, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """Return the Gauss-Newton matrix of the summed loss."""

        def of_row(z: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
            return self._loss(z.unsqueeze(0), y.unsqueeze(0)).sum()

        whole = torch.zeros(len(at), len(at), dtype=at.dtype, device=at.device)
        for part_x, part_y in _parts(BLOCK, x, y):
            bend = vmap(jacrev(grad(of_row)))(self.logits(at, part_x), part_y)
            slopes = self.jacobians(at, part_x)
            whole += slopes.flatten(0, 1).T @ (bend @ slopes).flatten(0, 1)
        return whole

    def _unflat(self, vector: torch.Tensor) -> dict[str, torch.Tensor]:
        parts = torch.split(vector, [shape.numel() for shape in self._shapes.values()])
        return {
            name: part.view(shape)
            for (name, shape), part in zip(self._shapes.items(), parts, strict=True)
        }


def matrix(product: Product, like: torch.Tensor) -> torch.Tensor:
    """Return the matrix behind a product, for a few thousand weights at most."""
    unit = torch.eye(len(like), dtype=like.dtype, device=like.device)
    columns: torch.Tensor = vmap(product, chunk_size=BLOCK)(unit)
    return columns.T


def conjugate_gradients(
    product: Product, right: torch.Tensor, steps: int, tolerance: float
) -> tuple[torch.Tensor, float]:
    """Return the solution of a positive definite system and the relative residual left.

    Args:
        product: Of the matrix with a vector.
        right: Right-hand side.
        steps: Most products.
        tolerance: Relative residual at which to end.
    """
    solution, rest = torch.zeros_like(right), right.clone()
    way = rest.clone()
    start = size = float(rest @ rest)
    for _ in range(steps):
        if size <= tolerance**2 * start:
            break
        bent = product(way)
        curvature = float(way @ bent)
        if curvature <= 0:
            raise ModelError(
                f"expected positive curvature, found {curvature:.3g} along a direction; raise the "
                "damping or take the Gauss-Newton matrix"
            )
        solution += size / curvature * way
        rest -= size / curvature * bent
        size, before = float(rest @ rest), size
        way = rest + size / before * way
    return solution, math.sqrt(size / start) if start else 0.0


def lissa(
    draw: Callable[[], Product], right: torch.Tensor, scale: float, steps: int
) -> torch.Tensor:
    """Return the solution of a system by a truncated Neumann series.

    Args:
        draw: Returns the product of the matrix with a vector, estimated on some rows.
        right: Right-hand side.
        scale: Greater than the greatest eigenvalue, or the series diverges.
        steps: Terms of the series.
    """
    solution = right.clone()
    for _ in range(steps):
        solution = right + solution - draw()(solution) / scale
    if not torch.isfinite(solution).all() or solution.norm() > 1e12 * right.norm():
        raise ModelError(f"the series diverged with scale {scale:.3g}; raise scale or damping")
    return solution / scale


def greatest_eigenvalue(
    product: Product, like: torch.Tensor, rng: np.random.Generator, steps: int = 20
) -> float:
    """Return an estimate from below of the greatest eigenvalue, by power iteration."""
    vector = torch.from_numpy(rng.standard_normal(len(like))).to(like)
    size = 0.0
    for _ in range(steps):
        vector = product(vector / vector.norm())
        size = float(vector.norm())
    return size


def woodfisher(gradients: torch.Tensor, right: torch.Tensor, prior: float) -> torch.Tensor:
    """Return the solution for `prior + mean of g gᵀ`, by one rank-one update of a gradient each.

    Args:
        gradients: Of single rows `(n, weights)`.
        right: Right-hand side.
        prior: Multiple of the identity that the recursion starts from.
    """
    count = len(gradients)
    solved = torch.empty_like(gradients)
    sizes = torch.empty(count, dtype=right.dtype, device=right.device)
    solution = right / prior
    for i, gradient in enumerate(gradients):
        before = solved[:i]
        solved[i] = gradient / prior - before.T @ (before @ gradient / sizes[:i])
        sizes[i] = count + gradient @ solved[i]
        solution = solution - solved[i] * (gradient @ solution) / sizes[i]
    return solution


def _parts(size: int, *tensors: torch.Tensor) -> list[tuple[torch.Tensor, ...]]:
    return list(zip(*(torch.split(tensor, size) for tensor in tensors), strict=True))
