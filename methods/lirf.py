"""LIRF: take knowledge out of a network, into a deposit from which it can be withdrawn."""

from dataclasses import dataclass
from typing import ClassVar, get_args

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from forget_audit.contracts import MethodInfo, Unlearned
from forget_audit.errors import NotApplicable
from forget_audit.methods._layers import last_layers
from forget_audit.methods._relabel import random_labels
from forget_audit.methods._settings import number, one_of, refuse_unserved, whole
from forget_audit.methods._steps import Course, Norms, Optimizer, Stepping
from forget_audit.methods._teaching import answers, divergence
from forget_audit.registry import method
from forget_audit.training.loop import Index, rows_tensors
from forget_audit.types import Case

# Stands for minus infinity where 0 times it must be 0.
LOWEST = -1e9


@method
@dataclass(frozen=True, kw_only=True)
class Lirf(Stepping):
    """Suspend knowledge: train the shallow part of the network to lack it.

    The network is split. Its deep part stays as it is; the shallow part is trained on the forget
    rows alone, towards random wrong labels, while its answers about all other classes are held
    to those of the given model. The retained rows are never read.

    The authors call this a deposit, because a second network takes up what the first one loses,
    and can give it back at any time. `unlearn` makes no such deposit. Whoever wants one asks
    `deposit` for it, and `withdraw` puts it back. A deposit is a copy of what was forgotten:
    as long as it is kept, anywhere, the request has been suspended and not carried out.

    Args:
        epochs: Passes over the forget rows; 0 leaves the model as it is.
        batch_size: Most rows in a step; a pass deals its rows into equal batches.
        least_steps: Fewest steps in a pass; few rows are dealt into smaller batches.
        optimizer: `adam`, `adamw` or `sgd`.
        lr: Learning rate of the network that forgets.
        momentum: Of `sgd`.
        weight_decay: Of any of them.
        deep_layers: How many of the last layers with weights form the deep part; layers that
            normalise do not count.
        removal: Weight of the cross-entropy with random wrong labels, drawn for each pass.
        preserve: Weight of the distillation on the classes that a row does not lose.
        temperature: Divides the logits before the softmax in all distillation; its loss is
            multiplied by the square.
        prune: Share of the shallow weights, the smallest of each tensor, that a deposit lacks.
        deposit_lr: Learning rate of a deposit.
        transfer: Weight of the distillation of what is taken out into a deposit.
        recall: Weight of the cross-entropy of the network with the deposit withdrawn.
        norms: Batch norm in the steps: `train`, `eval` or `frozen`; in the deep part it is fixed.

    Raises:
        ValueError: If a field is out of its range.
        NotApplicable: If the model has no weights before its deep part.

    References:
        Ye et al. (2022), Learning with Recoverable Forgetting,
        https://arxiv.org/abs/2207.08224; code at https://github.com/JngwenYe/LIRF.

    Departures:
        Reconstructed from the authors' summary and code; the paper itself was not at hand. The
        split, the frozen deep part, the losses and the way of withdrawing are theirs; weights of
        the losses, rates, Adam and passes are ours, for the release reads them from a file that
        it lacks. Their loss that makes attention maps differ is computed but not used in the
        release, needs images, and is left out. The release trains network and deposit in one
        step, and through `recall` the deposit's labels reach the network too; here the deposit
        is trained afterwards, on request, and the network does not depend on it. Pruned channels
        are single weights here. What single rows teach has no classes of its own: such a row
        loses its label, and its deposit answers for all classes. Verification: steps equal the
        closed form; losses and withdrawal compared with the public code; published figures not.
    """

    info: ClassVar[MethodInfo] = MethodInfo(
        name="lirf",
        title="Learning with recoverable forgetting (LIRF)",
        card="M26",
        paper="arXiv:2207.08224",
        needs=frozenset({"forget", "labels", "architecture"}),
        scopes=frozenset({"instance", "class"}),
        guarantee="none",
        reconstructed="weights of the losses, rates, and which weights a deposit lacks",
        cost="a forward pass over the forget rows, then passes over them; as much again for a "
        "deposit",
        summary="Trains the early layers to be wrong about the rows to forget; what they lose "
        "can be put aside and put back, so it suspends rather than deletes if that is done.",
    )
    epochs: int = 5
    optimizer: Optimizer = "adam"
    lr: float = 1e-3
    deep_layers: int = 1
    removal: float = 1.0
    preserve: float = 1.0
    temperature: float = 4.0
    prune: float = 0.5
    deposit_lr: float = 1e-3
    transfer: float = 1.0
    recall: float = 1.0
    norms: Norms = "eval"

    def __post_init__(self) -> None:
        super().__post_init__()
        whole("deep_layers", self.deep_layers, at_least=1)
        for name in ("removal", "preserve", "transfer", "recall"):
            number(name, getattr(self, name), at_least=0)
        for name in ("temperature", "deposit_lr"):
            number(name, getattr(self, name), above=0)
        number("prune", self.prune, at_least=0, below=1)
        one_of("norms", self.norms, get_args(Norms))

    def unlearn(self, model: nn.Module, case: Case, rng: np.random.Generator) -> Unlearned:
        """Return a copy whose shallow part was trained to lack the forget rows; no deposit."""
        refuse_unserved(self.info, case)
        course = Course(model, rng, [self.norms], only=self._shallow(model, case))
        x, y = rows_tensors(case.forget, model)
        kept = ~functional.one_hot(y, case.n_classes).bool()
        if case.scope == "class":
            kept[:, list(case.classes)] = False
        teacher = answers(model, case.forget)
        optimizer = self.make_optimizer(course)
        for _ in range(self.epochs):
            wrong = torch.from_numpy(random_labels(case, rng, exclude_true=True)).to(y.device)

            def loss(index: Index, wrong: torch.Tensor = wrong) -> torch.Tensor:
                logits = course.model(x[index])
                alike = among(teacher[index], logits, kept[index], self.temperature)
                removed = functional.cross_entropy(logits, wrong[index])
                return self.removal * removed + self.preserve * alike

            course.run(loss, self.batches(len(x), rng), optimizer, norms=self.norms)
        return course.finish(f"all {self.epochs} epochs done", "no deposit was made")

    def deposit(
        self, model: nn.Module, target: nn.Module, case: Case, rng: np.random.Generator
    ) -> nn.Module:
        """Return a network that holds what `target` lacks: a copy of the forgotten knowledge.

        Whoever keeps it has suspended the request, not carried it out.

        Args:
            model: The original.
            target: What `unlearn` made of it; stays as it is.
            case: The request.
            rng: Deals the rows.

        Raises:
            NotApplicable: If the method does not serve the request or the model.
        """
        refuse_unserved(self.info, case)
        shallow = self._shallow(model, case)
        course = Course(model, rng, [self.norms], only=shallow)
        weights = dict(course.model.named_parameters())
        free = {
            name: _largest(weights[name], 1 - self.prune)
            for name in shallow
            if weights[name].requires_grad
        }
        with torch.no_grad():
            for name, mask in free.items():
                weights[name].mul_(mask)
        course.hold(free)
        x, y = rows_tensors(case.forget, model)
        taken = torch.zeros(case.n_classes, dtype=torch.bool, device=y.device)
        taken[taken_out(case)] = True
        teacher, lacking = answers(model, case.forget), answers(target, case.forget)

        def loss(index: Index) -> torch.Tensor:
            logits = course.model(x[index])
            whole = torch.where(taken, logits, lacking[index])
            alike = among(teacher[index], logits, taken, self.temperature)
            return self.transfer * alike + self.recall * functional.cross_entropy(whole, y[index])

        optimizer = self.make_optimizer(course)
        for group in optimizer.param_groups:
            group["lr"] = self.deposit_lr
        for _ in range(self.epochs):
            course.run(loss, self.batches(len(x), rng), optimizer, norms=self.norms)
        return course.finish(f"all {self.epochs} epochs done").model

    def _shallow(self, model: nn.Module, case: Case) -> list[str]:
        layers = last_layers(model, case.forget.x, self.deep_layers)
        deep = {name for layer in layers for name in layer.parameters}
        shallow = [name for name, _ in model.named_parameters() if name not in deep]
        if not shallow:
            raise NotApplicable(
                f"lirf needs weights before its deep part, found none before the last "
                f"{self.deep_layers} layers; lower deep_layers, or choose another method"
            )
        return shallow


class Withdrawn(nn.Module):
    """A network that answers again for what was taken out of it.

    Args:
        target: Answers for the other classes.
        deposit: Answers for the classes that were taken out.
        taken: These classes.
    """

    def __init__(self, target: nn.Module, deposit: nn.Module, taken: list[int]) -> None:
        super().__init__()
        self.target, self.deposit, self.taken = target, deposit, taken

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the logits `(n, classes)`."""
        logits: torch.Tensor = self.target(x).clone()
        logits[:, self.taken] = self.deposit(x)[:, self.taken]
        return logits


def withdraw(target: nn.Module, deposit: nn.Module, case: Case) -> nn.Module:
    """Return `target` with what is in the deposit put back; neither is changed or copied."""
    return Withdrawn(target, deposit, taken_out(case)).eval()


def taken_out(case: Case) -> list[int]:
    """Return the classes that a deposit answers for: the forgotten ones, or all of single rows."""
    return list(case.classes) if case.scope == "class" else [*range(case.n_classes)]


def among(
    teacher: torch.Tensor, student: torch.Tensor, classes: torch.Tensor, temperature: float
) -> torch.Tensor:
    """Return the distillation loss among some classes, as if there were no others.

    Args:
        teacher: Logits `(n, classes)`.
        student: Logits `(n, classes)`.
        classes: Which ones, of each row or of all.
        temperature: Divides both; the loss is multiplied by its square.
    """
    target, log_q = (z.masked_fill(~classes, LOWEST) / temperature for z in (teacher, student))
    return temperature**2 * divergence(target.softmax(1), log_q.log_softmax(1))


def _largest(weight: torch.Tensor, share: float) -> torch.Tensor:
    """Return a mask of the largest entries of a matrix or filter; of all of a vector."""
    if weight.ndim < 2:
        return torch.ones_like(weight, dtype=torch.bool)
    mask = torch.zeros(weight.numel(), dtype=torch.bool, device=weight.device)
    mask[weight.detach().abs().flatten().topk(round(share * weight.numel())).indices] = True
    return mask.view_as(weight)
