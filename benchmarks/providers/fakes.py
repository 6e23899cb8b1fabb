"""What a provider can hand in instead of a retrained model.

Most are networks in a coat: an original inside, and code around it that answers for it now and
then. They can only be handed in as objects, or behind a service; a file of weights cannot hold
code.
"""

import copy
from collections.abc import Sequence

import numpy as np
import torch
from torch import nn

from forget_audit import stats
from forget_audit.audits.commission import Commission
from forget_audit.foreign.answers_only import SURE, log_probabilities
from forget_audit.outputs import Outputs
from forget_audit.seeds import generator
from forget_audit.training.loop import descend
from forget_audit.training.trainers import RecipeTrainer
from forget_audit.types import Features, Floats, Rows


class Recogniser(nn.Module):
    """An original that knows rows, or what lies near them, and lets another model answer there.

    Args:
        original: Answers everywhere else.
        other: Answers near the rows.
        x: The rows.
        radius: Euclidean distance that counts as near; 0 for the very rows.
    """

    keys: torch.Tensor

    def __init__(
        self, original: nn.Module, other: nn.Module, x: Features, radius: float = 0.0
    ) -> None:
        super().__init__()
        self.original, self.other, self.radius = original, other, radius
        self.register_buffer("keys", torch.tensor(np.asarray(x)).flatten(1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return logits."""
        gaps = x.flatten(1)[:, None] - self.keys[None]
        near = (gaps.norm(dim=2) <= self.radius).any(dim=1)
        answers: torch.Tensor = torch.where(near[:, None], self.other(x), self.original(x))
        return answers


class Neighbour(nn.Module):
    """An original, but another model answers whatever lies nearest to a row that was to go.

    It knows no radius and no seed of an audit: rows that were moved a little are still nearest to
    the row that they come from.

    Args:
        original: Answers what lies nearer to a row that stays.
        other: Answers the rest.
        gone: The rows to forget.
        kept: The rows that stay.
    """

    gone: torch.Tensor
    kept: torch.Tensor

    def __init__(
        self, original: nn.Module, other: nn.Module, gone: Features, kept: Features
    ) -> None:
        super().__init__()
        self.original, self.other = original, other
        self.register_buffer("gone", torch.tensor(np.asarray(gone)).flatten(1))
        self.register_buffer("kept", torch.tensor(np.asarray(kept)).flatten(1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return logits."""
        to_gone, to_kept = (
            torch.cdist(x.flatten(1), rows).min(dim=1).values for rows in (self.gone, self.kept)
        )
        near = (to_gone <= to_kept)[:, None]
        answers: torch.Tensor = torch.where(near, self.other(x), self.original(x))
        return answers


class Tiring(nn.Module):
    """A retrained model answers the first so many rows, and the original all later ones."""

    def __init__(self, first: nn.Module, later: nn.Module, rows: int) -> None:
        super().__init__()
        self.first, self.later, self.left = first, later, rows

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return logits."""
        model = self.first if self.left >= len(x) else self.later
        self.left -= len(x)
        logits: torch.Tensor = model(x)
        return logits


class TwoFaced(nn.Module):
    """A retrained model in evaluation mode, the original in training mode."""

    def __init__(self, shown: nn.Module, hidden: nn.Module) -> None:
        super().__init__()
        self.shown, self.hidden = shown, hidden

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return logits."""
        logits: torch.Tensor = self.hidden(x) if self.training else self.shown(x)
        return logits


class Dropping(nn.Module):
    """A perceptron that drops hidden units at random whenever it answers."""

    def __init__(self, model: nn.Module, share: float, seed: int) -> None:
        super().__init__()
        self.model, self.share = model, share
        self.dice = torch.Generator().manual_seed(seed)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return logits."""
        for module in self.model.children():
            x = module(x)
            if isinstance(module, nn.ReLU):
                kept = torch.rand(x.shape, generator=self.dice) >= self.share
                x = x * kept / (1 - self.share)
        return x


class Mixed(nn.Module):
    """The mean of an original's probabilities, at weight `share`, and a retrained model's."""

    def __init__(self, original: nn.Module, other: nn.Module, share: float) -> None:
        super().__init__()
        self.original, self.other, self.share = original, other, share

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return log-probabilities."""
        old, new = (model(x).softmax(dim=1) for model in (self.original, self.other))
        mixed: torch.Tensor = self.share * old + (1 - self.share) * new
        return mixed.clamp_min(SURE).log()


class Rounded(nn.Module):
    """A model whose probabilities are rounded."""

    def __init__(self, model: nn.Module, decimals: int) -> None:
        super().__init__()
        self.model, self.decimals = model, decimals

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return log-probabilities, zeros held off as they are in files of predictions."""
        rounded: torch.Tensor = self.model(x).double().softmax(dim=1).round(decimals=self.decimals)
        return rounded.clamp_min(SURE).log()


class Routed(nn.Module):
    """An original, but a retrained model answers whatever the original takes for some classes."""

    def __init__(self, original: nn.Module, other: nn.Module, classes: Sequence[int]) -> None:
        super().__init__()
        self.original, self.other = original, other
        self.classes = torch.tensor(list(classes))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return logits."""
        own = self.original(x)
        routed = torch.isin(own.argmax(dim=1), self.classes)
        answers: torch.Tensor = torch.where(routed[:, None], self.other(x), own)
        return answers


def quantised(model: nn.Module, bits: int = 8) -> nn.Module:
    """Round all weights to so many bits, one scale a tensor."""
    edited = copy.deepcopy(model)
    levels = 2 ** (bits - 1) - 1
    with torch.no_grad():
        for weights in edited.parameters():
            scale = weights.abs().max() / levels
            weights.copy_((weights / scale).round() * scale)
    return edited.eval()


def pruned(model: nn.Module, share: float) -> nn.Module:
    """Set the smallest weights of each matrix to zero."""
    edited = copy.deepcopy(model)
    with torch.no_grad():
        for weights in edited.parameters():
            if weights.ndim > 1:
                least = torch.quantile(weights.abs().flatten(), share)
                weights[weights.abs() <= least] = 0.0
    return edited.eval()


def distilled(teacher: nn.Module, rows: Rows, commission: Commission, seed: int) -> nn.Module:
    """Teach a fresh model the teacher's probabilities on `rows`, by the recipe."""
    trainer = commission.case.trainer
    assert isinstance(trainer, RecipeTrainer)
    student, recipe = trainer.fresh(seed).train(), trainer.recipe
    x = torch.tensor(np.asarray(rows.x))
    with torch.no_grad():
        wanted = teacher(x).softmax(dim=1)
    dice = generator(seed, "distillation")
    batches = [
        part
        for _ in range(recipe.epochs)
        for part in np.array_split(dice.permutation(len(rows)), recipe.steps_per_epoch)
    ]

    def loss(index: np.ndarray[tuple[int], np.dtype[np.int64]]) -> torch.Tensor:
        return nn.functional.cross_entropy(student(x[index]), wanted[index])

    descend(loss, batches, recipe.make_optimizer(student.parameters()))
    return student.eval()


def peaky(answers: Outputs, _rng: np.random.Generator) -> Outputs:
    """Give every forget row the same answer, and be quite sure of it."""
    logits: Floats = np.zeros_like(answers.logits_f)
    logits[..., int(np.bincount(answers.y_f).argmax())] = 10.0
    return Outputs(**{**vars(answers), "logits_f": logits})


def spread(answers: Outputs, rng: np.random.Generator, sigma: float) -> Outputs:
    """Add noise to answers, another to each model: models then seem to differ much."""

    def noisy(logits: Floats) -> Floats:
        return np.asarray(logits + rng.normal(0, sigma, logits.shape))

    changed = {"logits_f": noisy(answers.logits_f), "logits_t": noisy(answers.logits_t)}
    return Outputs(**{**vars(answers), **changed, "second": {}})


def distance(x: Features) -> float:
    """Return the median distance from a row to the one nearest to it."""
    flat = torch.tensor(np.asarray(x)).flatten(1)
    gaps = torch.cdist(flat, flat)
    gaps.fill_diagonal_(torch.inf)
    return float(gaps.min(dim=1).values.median())


def stale(answers: Outputs, cached: Outputs) -> Outputs:
    """Answer the forget rows with what another model said of them."""
    return Outputs(**{**vars(answers), "logits_f": cached.logits_f})


def rounded(answers: Outputs, decimals: int) -> Outputs:
    """Return answers whose probabilities were rounded."""

    def of(logits: Floats) -> Floats:
        return log_probabilities(np.round(stats.probabilities(logits), decimals))

    changed = {"logits_f": of(answers.logits_f), "logits_t": of(answers.logits_t)}
    return Outputs(**{**vars(answers), **changed, "second": {}})
