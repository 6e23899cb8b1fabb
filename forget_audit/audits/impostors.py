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
from forget_audit.types import Case, Floats, Scope
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
    head = _head(edited)
    with torch.no_grad():
        head.bias[list(case.classes)] += MASKED
    return edited.eval()


def fresh_head(model: nn.Module, case: Case, rng: np.random.Generator) -> nn.Module:
    """Draw the output layer anew and fine-tune for 30 epochs on the retained rows."""
    edited = copy.deepcopy(model)
    reset_head(edited, draw_seed(rng))
    finetune = registry.get_method("finetune")(epochs=30)  # type: ignore[call-arg]
    return finetune.unlearn(edited, case, rng).model


def silenced(model: nn.Module, case: Case, _rng: np.random.Generator) -> nn.Module:
    """Make the output of the forgotten label constant, and leave the features as they are."""
    edited = copy.deepcopy(model)
    head = _head(edited)
    with torch.no_grad():
        head.weight[case.attribute] = 0.0
        head.bias[case.attribute] = 0.0
    return edited.eval()


def inverted(model: nn.Module, case: Case, _rng: np.random.Generator) -> nn.Module:
    """Answer the opposite of what is known about the forgotten label."""
    edited = copy.deepcopy(model)
    head = _head(edited)
    with torch.no_grad():
        head.weight[case.attribute] *= -1
        head.bias[case.attribute] *= -1
    return edited.eval()


def _head(model: nn.Module) -> nn.Linear:
    return [module for module in model.modules() if isinstance(module, nn.Linear)][-1]


MODELS: Mapping[str, Callable[[nn.Module, Case, np.random.Generator], nn.Module]] = {
    "logit mask": masked_logits,
    "bias mask": masked_bias,
    "new head, fine-tuned 30 epochs": fresh_head,
}
LABEL_MODELS: Mapping[str, Callable[[nn.Module, Case, np.random.Generator], nn.Module]] = {
    "silenced output": silenced,
    "inverted output": inverted,
    "new head, fine-tuned 30 epochs": fresh_head,
}


def _fakes(scope: Scope) -> tuple[str, ...]:
    """Return the names of the fakes that make sense for such a request."""
    if scope == "instance":
        return tuple(ANSWERS)
    return tuple(LABEL_MODELS if scope == "attribute" else MODELS)


Steps = Sequence[tuple[str, Mapping[str, object]]]
UNLEARNERS: Mapping[str, Steps] = {
    "original": (),
    "finetune 5 epochs": (("finetune", {"epochs": 5}),),
    "finetune 50 epochs": (("finetune", {"epochs": 50}),),
    "gradient ascent": (("neggrad", {}),),
    "gradient ascent, repaired": (("neggrad", {}), ("finetune", {"epochs": 20})),
    "random labels": (("random_label", {}),),
    "unsir": (("unsir", {}),),
}

# Whether these leave a label in the features is not known beforehand.
UNSETTLED = ("random labels", "unsir")


def kinds(case: Case) -> tuple[str, ...]:
    """Return the bad unlearners that are judged for such a request."""
    serving = [
        kind
        for kind, steps in UNLEARNERS.items()
        if all(case.scope in registry.get_method(name).info.scopes for name, _ in steps)
        and not (case.scope == "attribute" and kind in UNSETTLED)
    ]
    return (*serving, *_fakes(case.scope))


def make(kind: str, parent: nn.Module, case: Case, rng: np.random.Generator) -> nn.Module:
    """Return what a bad unlearner or a fake of the model makes of an original."""
    edits = {**MODELS, **LABEL_MODELS}
    if kind in edits:
        return edits[kind](parent, case, rng)
    model = parent
    for name, options in UNLEARNERS[kind]:
        method = registry.get_method(name)(**options)
        model = method.unlearn(model, case, rng).model
    return model
