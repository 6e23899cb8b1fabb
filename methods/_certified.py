"""Linear heads whose training hides the rows in noise, and what may be removed from them."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn
from torch.nn import functional

from forget_audit.errors import ModelError, NotApplicable
from forget_audit.methods._layers import head, replace_module, watching_input
from forget_audit.seeds import derive, seeded_torch
from forget_audit.targets import evaluating
from forget_audit.training.loop import tensors
from forget_audit.training.trainers import RecipeTrainer
from forget_audit.types import UNKNOWN, Features, Labels, Trainer

Loss = Literal["logistic", "squared"]
LOSSES: tuple[Loss, ...] = ("logistic", "squared")
LIPSCHITZ = {"logistic": 0.25, "squared": 0.0}  # of the second derivative
NEWTON_STEPS = 200


class CertifiedHead(nn.Linear):
    """A linear layer on rows of norm 1, float64, that knows what removals have spent.

    A constant is added to the features in place of a bias, and each row is divided by its norm.

    Args:
        width: Number of features.
        outputs: Number of logits.
        lam: Weight of the penalty it is trained with.
        sigma: Standard deviation of the noise it is trained with.
        loss: What it is trained with.
    """

    def __init__(self, width: int, outputs: int, lam: float, sigma: float, loss: Loss) -> None:
        super().__init__(width + 1, outputs, bias=False, dtype=torch.float64)
        recipe = torch.tensor([lam, sigma, LOSSES.index(loss)], dtype=torch.float64)
        self.register_buffer("recipe", recipe)
        self.register_buffer("spent", torch.zeros(outputs, dtype=torch.float64))
        self.register_buffer("removed", torch.zeros((), dtype=torch.int64))
        self.spent: torch.Tensor
        self.recipe: torch.Tensor
        self.removed: torch.Tensor

    def rows(self, features: torch.Tensor) -> torch.Tensor:
        """Return what is multiplied with the weights, rows of norm 1, float64."""
        return functional.normalize(functional.pad(features.double(), (0, 1), value=1.0))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Return the logits in the precision of the features."""
        return super().forward(self.rows(features)).to(features.dtype)


@dataclass(frozen=True, kw_only=True)
class CertifiedTrainer:
    """A `Trainer` of a `CertifiedHead` on the untrained body of an architecture.

    Args:
        base: Builds the body; the same for every seed.
        lam: Weight of the penalty, per row.
        sigma: Standard deviation of the noise.
        loss: `logistic` or `squared`.
    """

    base: Trainer
    lam: float
    sigma: float
    loss: Loss

    def __call__(self, x: Features, y: Labels, seed: int) -> nn.Module:
        """Return a model whose output layer is trained, in evaluation mode.

        Raises:
            NotApplicable: If the base builds no untrained model, or one without a linear head.
        """
        if not isinstance(self.base, RecipeTrainer):
            raise NotApplicable(
                "certified_removal needs a RecipeTrainer, whose untrained model gives the fixed "
                f"features, found {type(self.base).__name__}"
            )
        model = self.base.fresh(0).requires_grad_(requires_grad=False).eval()
        try:
            name, old = head(model, x, self.base.architecture.n_classes)
        except ModelError as error:
            raise NotApplicable(f"certified_removal: {error}") from error
        new = CertifiedHead(old.in_features, old.out_features, self.lam, self.sigma, self.loss)
        replace_module(model, name, new)
        inputs, labels = tensors(x, y, old.weight.device)
        train_head(new.to(inputs.device), features(model, new, inputs), labels, seed)
        return model.eval()


def certified_head(model: nn.Module) -> CertifiedHead:
    """Return the output layer that removals are defined for.

    Raises:
        NotApplicable: If there is none.
    """
    found = next((m for m in model.modules() if isinstance(m, CertifiedHead)), None)
    if found is None:
        raise NotApplicable(
            "certified_removal needs an original that was trained for it, found none; "
            "train it with CertifiedRemoval().trainer(base)"
        )
    return found


def features(model: nn.Module, layer: CertifiedHead, x: torch.Tensor) -> torch.Tensor:
    """Return what the output layer multiplies with its weights for each row."""
    with evaluating(model), torch.no_grad(), watching_input(layer) as seen:
        model(x)
        return layer.rows(seen())


def signs(y: torch.Tensor, outputs: int) -> torch.Tensor:
    """Return 1, -1, or 0 for unknown, for each row and output: one class against the rest."""
    if y.ndim == 1:
        return 2.0 * functional.one_hot(y, outputs).double() - 1.0
    return torch.where(y == UNKNOWN, 0, 2 * y - 1).double()


def gradient(
    w: torch.Tensor, x: torch.Tensor, s: torch.Tensor, lam: float, loss: Loss
) -> torch.Tensor:
    """Return the gradient of the summed loss and penalty of one output, without the noise."""
    z = x @ w
    slope = -s * torch.sigmoid(-s * z) if loss == "logistic" else z - s
    return x.T @ slope + len(x) * lam * w


def curvature(w: torch.Tensor, x: torch.Tensor, lam: float, loss: Loss) -> torch.Tensor:
    """Return the Hessian of the summed loss and penalty of one output."""
    p = torch.sigmoid(x @ w)
    bend = p * (1 - p) if loss == "logistic" else torch.ones_like(p)
    ridge = len(x) * lam * torch.eye(len(w), dtype=w.dtype, device=w.device)
    return x.T @ (bend[:, None] * x) + ridge


def objective(
    x: torch.Tensor, s: torch.Tensor, lam: float, noise: torch.Tensor, loss: Loss
) -> Callable[[torch.Tensor], torch.Tensor]:
    """Return the perturbed training loss of one output."""

    def value(w: torch.Tensor) -> torch.Tensor:
        z = x @ w
        each = functional.softplus(-s * z) if loss == "logistic" else (z - s).square() / 2
        return each.sum() + len(x) * lam / 2 * (w @ w) + noise @ w

    return value


def minimise(
    x: torch.Tensor, s: torch.Tensor, lam: float, noise: torch.Tensor, loss: Loss
) -> tuple[torch.Tensor, float]:
    """Return the minimum of the perturbed loss of one output and the norm of its gradient there.

    Newton's method with halved steps.
    """
    w, value = torch.zeros_like(noise), objective(x, s, lam, noise, loss)
    slope = gradient(w, x, s, lam, loss) + noise
    for _ in range(NEWTON_STEPS):
        if slope.norm() <= 1e-12 * max(1.0, float(noise.norm())):
            break
        way = torch.linalg.solve(curvature(w, x, lam, loss), slope)
        length, here = 1.0, float(value(w))
        while length > 1e-6 and float(value(w - length * way)) > here:
            length /= 2
        w = w - length * way
        slope = gradient(w, x, s, lam, loss) + noise
    return w, float(slope.norm())


def train_head(layer: CertifiedHead, x: torch.Tensor, y: torch.Tensor, seed: int) -> None:
    """Train every output on its own with fresh noise; what the solver leaves is spent at once.

    An output without a known label gets weights 0. The noise is thrown away: whoever knows it
    could subtract it.
    """
    lam, sigma, loss = recipe_of(layer)
    every = signs(y, layer.out_features)
    with seeded_torch(derive(seed, "noise")), torch.no_grad():
        noise = sigma * torch.randn(layer.weight.shape, dtype=torch.float64)
        noise = noise.to(layer.weight.device)
        for k in range(layer.out_features):
            known = every[:, k] != 0
            layer.weight[k] = 0.0
            layer.spent[k] = 0.0
            if known.any():
                part = x[known], every[known, k]
                layer.weight[k], layer.spent[k] = minimise(*part, lam, noise[k], loss)
        layer.removed.zero_()


def recipe_of(layer: CertifiedHead) -> tuple[float, float, Loss]:
    """Return penalty, noise and loss that a head was trained with."""
    lam, sigma, kind = layer.recipe.tolist()
    return lam, sigma, LOSSES[int(kind)]


def remove(
    w: torch.Tensor,
    gone: tuple[torch.Tensor, torch.Tensor],
    kept: tuple[torch.Tensor, torch.Tensor],
    lam: float,
    loss: Loss,
    group: int,
) -> tuple[torch.Tensor, float]:
    """Return the weights of one output after the removal, and what its steps leave at most.

    Args:
        w: Weights before.
        gone: Features and signs of the removed rows.
        kept: Features and signs of the remaining rows.
        lam: Weight of the penalty, per row.
        loss: `logistic` or `squared`.
        group: Rows removed in one Newton step.
    """
    total = 0.0
    for start in range(0, len(gone[0]), group):
        now = slice(start, start + group)
        x = torch.cat([kept[0], gone[0][start + group :]])
        change = gradient(w, gone[0][now], gone[1][now], lam, loss)
        step = torch.linalg.solve(curvature(w, x, lam, loss), change)
        widest = torch.linalg.eigvalsh(x.T @ x)[-1].sqrt()
        total += float(LIPSCHITZ[loss] * widest * step.norm() * (x @ step).norm())
        w = w + step
    return w, total


def allowed(epsilon: float, delta: float, sigma: float) -> float:
    """Return the norm of gradient that the noise hides within `epsilon` and `delta`."""
    return sigma * epsilon / math.sqrt(2 * math.log(1.5 / delta))
