"""Ascent on the forget rows, rehearsal on adversarial examples: Learning to Unlearn."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, count, takewhile
from typing import ClassVar, Literal, get_args

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from forget_audit.contracts import MethodInfo, Unlearned
from forget_audit.methods._adversary import Attack
from forget_audit.methods._answers import answer_importance
from forget_audit.methods._importance import Tensors
from forget_audit.methods._relabel import random_labels
from forget_audit.methods._settings import flag, number, one_of, refuse_unserved, whole
from forget_audit.methods._steps import Course, Norms, Stepping, n_steps
from forget_audit.registry import method
from forget_audit.targets import Target
from forget_audit.training.loop import Index, rows_tensors
from forget_audit.types import Case

Mode = Literal["misclassify", "relabel"]

RELEASED = {
    "epochs": 1000, "adversarial_batch_size": 256, "least_steps": 1, "lr": 1e-3,
    "weight_decay": 1e-4, "radius": 4.0, "attack_steps": 100, "norms": "train",
    "lowest": 0.0, "highest": 1.0,
}  # fmt: skip
PRESETS = {
    "cifar10": {**RELEASED, "n_adversarial": 20},
    "cifar10-adv": {**RELEASED, "n_adversarial": 20, "lam": 0.0},
    "cifar100": {**RELEASED, "n_adversarial": 200},
    "imagenet": {**RELEASED, "n_adversarial": 200},
    "utkface": {**RELEASED, "n_adversarial": 300, "radius": 2.0},
}


@method
@dataclass(frozen=True, kw_only=True)
class AdversarialUnlearning(Stepping):
    """Unlearn the forget rows while rehearsing adversarial examples made of them.

    Each forget row is changed a little, several times, until the model takes it for a class drawn
    at random. These adversarial examples, labelled with what the model takes them for, stand for
    the retained rows, which are never read: while the loss of the forget rows is climbed, that of
    the examples is descended (ADV). In addition, weights that matter little for the answers to
    the forget rows are tied to where they were (+IMP).

    Args:
        epochs: Most passes over the adversarial examples, or over the forget rows if there are
            none; 0 leaves the model as it is.
        batch_size: Most forget rows in a step; a pass deals its rows into equal batches.
        least_steps: Fewest steps in a pass; few rows are dealt into smaller batches.
        optimizer: `adam`, `adamw` or `sgd`.
        lr: Learning rate.
        momentum: Of `sgd`.
        weight_decay: Of any of them.
        mode: `misclassify` climbs the loss of the forget rows, `relabel` teaches each a wrong
            label drawn once.
        n_adversarial: Adversarial examples of each forget row.
        adversarial_batch_size: Most of them in a step.
        radius: Most that an example differs from its row, as a Euclidean distance in the space
            of the features.
        step_size: Length of a step of the attack.
        attack_steps: Steps of the attack.
        random_start: Whether the attack starts at a random point within the radius.
        lowest: Least value of an example, in the space of the features; none for no bound.
        highest: Greatest value.
        lam: Strength of the tie of unimportant weights; 0 for none.
        stop_accuracy: Share of right forget rows at which to end, looked at before each step;
            none for never. For single rows 0 is further than retraining would go.
        norms: Batch norm in the steps: `train`, `eval` or `frozen`.

    Raises:
        ValueError: If a field is out of its range.
        NotApplicable: If some forget row has no other class.

    References:
        Cha et al. (2024), Learning to Unlearn: Instance-wise Unlearning for Pre-trained
        Classifiers, https://arxiv.org/abs/2301.11578; code at
        https://github.com/csm9493/L2UL.

    Departures:
        The published attack (radius 4, 100 steps, 20 to 300 examples a row) is sized for
        images; the default is smaller, and the presets give the published numbers. The class
        of an example is drawn from all but the row's own and, in a class request, the forgotten
        ones; the release draws from all and turns a hit on the row's own class into the middle
        class. Importance is the absolute gradient of the squared norm of the logits, averaged
        over rows, in evaluation mode; the release squares nothing and takes batches in training
        mode. A tensor whose entries all matter alike is free if they matter at all. The attack
        runs in evaluation mode. A description of the method as relabelling by the nearest
        adversarial class is not what its authors released; `relabel` draws the label.
        Verification: without examples and tie it is gradient ascent; a step with
        both, the attack's first step and the importance equal closed forms; loss, weights of its
        parts, tie and stop compared with the public code; published figures not reproduced.
    """

    info: ClassVar[MethodInfo] = MethodInfo(
        name="adversarial_unlearning",
        title="Learning to Unlearn (ADV, ADV+IMP)",
        card="M15",
        paper="arXiv:2301.11578",
        needs=frozenset({"forget", "labels"}),
        scopes=frozenset({"instance", "class", "subclass"}),
        guarantee="none",
        presets=PRESETS,
        cost="`attack_steps` gradients of each adversarial example, then passes over the "
        "examples with as many forget rows as they need",
        summary="Trains backwards on the rows to forget, while altered copies of them hold "
        "the model to its other answers.",
        errata=("E19", "E20"),
    )
    epochs: int = 15
    batch_size: int = 32
    weight_decay: float = 1e-4
    mode: Mode = "misclassify"
    n_adversarial: int = 5
    adversarial_batch_size: int = 64
    radius: float = 2.0
    step_size: float = 0.1
    attack_steps: int = 20
    random_start: bool = True
    lowest: float | None = None
    highest: float | None = None
    lam: float = 1.0
    stop_accuracy: float | None = 0.0
    norms: Norms = "eval"

    def __post_init__(self) -> None:
        super().__post_init__()
        one_of("mode", self.mode, get_args(Mode))
        whole("n_adversarial", self.n_adversarial, at_least=0)
        whole("adversarial_batch_size", self.adversarial_batch_size, at_least=1)
        for name in ("radius", "step_size"):
            number(name, getattr(self, name), above=0)
        whole("attack_steps", self.attack_steps, at_least=0)
        flag("random_start", self.random_start)
        for name in ("lowest", "highest"):
            if getattr(self, name) is not None:
                number(name, getattr(self, name))
        number("lam", self.lam, at_least=0)
        if self.stop_accuracy is not None:
            number("stop_accuracy", self.stop_accuracy, at_least=0)
        one_of("norms", self.norms, get_args(Norms))

    def unlearn(self, model: nn.Module, case: Case, rng: np.random.Generator) -> Unlearned:
        """Return a copy that is wrong about the forget rows."""
        refuse_unserved(self.info, case)
        course = Course(model, rng, [self.norms])
        x, y = rows_tensors(case.forget, model)
        n, sign = len(x), -1.0
        if self.mode == "relabel":
            sign, y = 1.0, _others(case, rng).to(y.device)
        ties: Tensors = {}
        if self.epochs and self.n_adversarial:
            made, taken_for = self.examples(model, case, rng)
            x, y = torch.cat([x, made]), torch.cat([y, taken_for])
            course.rows_touched += self.attack_steps * len(made)
        if self.epochs and self.lam:
            ties = {
                name: 1 - share for name, share in answer_importance(course.model, x[:n]).items()
            }
            course.rows_touched += n
        weights = dict(course.model.named_parameters())
        start = {name: weights[name].detach().clone() for name in ties}

        def error(index: Index) -> torch.Tensor:
            return functional.cross_entropy(course.model(x[index]), y[index])

        def loss(index: Index) -> torch.Tensor:
            own, made = index[index < n], index[index >= n]
            total = sign * len(own) / len(index) * error(own)
            if len(made):
                total = total + len(made) / len(index) * error(made)
            for name, tie in ties.items():
                total = total + self.lam / 2 * (tie * (weights[name] - start[name]) ** 2).sum()
            return total

        def too_right(_: Index) -> bool:
            most = self.stop_accuracy
            return most is None or Target(course.model).accuracy(case.forget) > most

        steps, batches = self._steps(n, len(x) - n, rng)
        optimizer = self.make_optimizer(course)
        course.run(loss, takewhile(too_right, batches), optimizer, norms=self.norms)
        if course.steps < steps:
            return course.finish(f"forget accuracy reached {self.stop_accuracy:g}")
        return course.finish(f"all {self.epochs} epochs done")

    def _steps(self, n: int, n_made: int, rng: np.random.Generator) -> tuple[int, Iterator[Index]]:
        """Return the number of steps, and the positions of the forget rows and examples of each."""
        if not n_made:
            passes = (self.batches(n, rng) for _ in range(self.epochs))
            return self.epochs * n_steps(n, self.batch_size, self.least_steps), chain(*passes)
        most = self.adversarial_batch_size
        own = chain.from_iterable(self.batches(n, rng) for _ in count())
        made = (b for _ in range(self.epochs) for b in self.batches(n_made, rng, most))
        steps = self.epochs * n_steps(n_made, most, self.least_steps)
        return steps, (np.concatenate([next(own), n + b]) for b in made)

    def examples(
        self, model: nn.Module, case: Case, rng: np.random.Generator
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return adversarial examples of the forget rows, all rows once, then once more, and so on.

        Args:
            model: To be deceived; stays as it is.
            case: The request.
            rng: Draws the classes and where the attacks start.

        Returns:
            Features, and the class that each example is to be taken for.
        """
        x, y = rows_tensors(case.forget, model)
        x = x.repeat(self.n_adversarial, *[1] * (x.ndim - 1))
        labels = torch.cat([_others(case, rng) for _ in range(self.n_adversarial)]).to(y.device)
        attack = Attack(
            radius=self.radius,
            step_size=self.step_size,
            steps=self.attack_steps,
            low=-math.inf if self.lowest is None else self.lowest,
            high=math.inf if self.highest is None else self.highest,
        )
        start = attack.start(x, rng) if self.random_start else torch.zeros_like(x)
        return attack.run(model, x, labels, start), labels


def _others(case: Case, rng: np.random.Generator) -> torch.Tensor:
    """Return a random class for each forget row that is neither its own nor a forgotten one."""
    return torch.from_numpy(random_labels(case, rng, exclude_true=True))
