"""Models that only look unlearned: what a verdict must not be deceived by.

The first group edits the answers of a model, the second the model itself. None of them removes
anything. They serve calibration and tests.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from torch import nn

from forget_audit import registry, stats
from forget_audit.outputs import Outputs
from forget_audit.seeds import draw_seed
from forget_audit.types import Case, Floats
from forget_audit.whitebox import reset_head

MASKED = -50.0


def noisy(answers: Outputs, rng: np.random.Generator, *, sigma: float) -> Outputs:
    """Add Gaussian noise of `sigma` logits to all answers."""
    return dataclasses.replace(
        answers,
        logits_f=answers.logits_f + rng.normal(0, sigma, answers.logits_f.shape),
        logits_t=answers.logits_t + rng.normal(0, sigma, answers.logits_t.shape),
    )


def damped(answers: Outputs, _rng: np.random.Generator, *, factor: float) -> Outputs:
    """Divide the logits of the forget rows by `factor`, so that the model seems less sure."""
    return dataclasses.replace(answers, logits_f=answers.logits_f / factor)


def adapted(answers: Outputs, rng: np.random.Generator) -> Outputs:
    """Shift each forget row's label logit until its log-odds are those of some control row.

    Attacks that compare the two groups as a whole see nothing.
    """
    wanted = stats.log_odds(answers.logits_t, answers.y_t)
    found = stats.log_odds(answers.logits_f, answers.y_f)
    drawn = rng.integers(0, wanted.shape[1], found.shape)
    shift = np.take_along_axis(wanted, drawn, axis=1) - found
    own = np.eye(answers.logits_f.shape[2])[answers.y_f]
    return dataclasses.replace(answers, logits_f=answers.logits_f + shift[..., None] * own)


def constant(answers: Outputs, _rng: np.random.Generator) -> Outputs:
    """Give every forget row the same flat answer."""
    flat: Floats = np.zeros_like(answers.logits_f)
    return dataclasses.replace(answers, logits_f=flat)


ANSWERS: Mapping[str, Callable[[Outputs, np.random.Generator], Outputs]] = {
    "output noise 1": lambda answers, rng: noisy(answers, rng, sigma=1.0),
    "output noise 3": lambda answers, rng: noisy(answers, rng, sigma=3.0),
    "temperature suppression": lambda answers, rng: damped(answers, rng, factor=4.0),
    "adaptive suppression": adapted,
    "constant answers": constant,
}


class Masked(nn.Module):
    """A model whose logits of some classes are replaced by a very small number."""

    def __init__(self, model: nn.Module, classes: Sequence[int]) -> None:
        super().__init__()
        self.model = copy.deepcopy(model)
        self.classes = list(classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the logits, masked."""
        logits: torch.Tensor = self.model(x)
        hidden = torch.zeros_like(logits, dtype=torch.bool)
        hidden[:, self.classes] = True
        return logits.masked_fill(hidden, MASKED)


def masked_logits(model: nn.Module, case: Case, _rng: np.random.Generator) -> nn.Module:
    """Never answer with a forgotten class again."""
    return Masked(model, case.classes).eval()


def masked_bias(model: nn.Module, case: Case, _rng: np.random.Generator) -> nn.Module:
    """Take 50 off the output bias of the forgotten classes."""
    edited = copy.deepcopy(model)
    head = [module for module in edited.modules() if isinstance(module, nn.Linear)][-1]
    with torch.no_grad():
        head.bias[list(case.classes)] += MASKED
    return edited.eval()


def fresh_head(model: nn.Module, case: Case, rng: np.random.Generator) -> nn.Module:
    """Draw the output layer anew and fine-tune for 30 epochs on the retained rows."""
    edited = copy.deepcopy(model)
    reset_head(edited, draw_seed(rng))
    finetune = registry.get_method("finetune")(epochs=30)  # type: ignore[call-arg]
    return finetune.unlearn(edited, case, rng).model


MODELS: Mapping[str, Callable[[nn.Module, Case, np.random.Generator], nn.Module]] = {
    "logit mask": masked_logits,
    "bias mask": masked_bias,
    "new head, fine-tuned 30 epochs": fresh_head,
}
