"""Labels of an untrained network for the forget rows."""

import copy
from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

import numpy as np
import torch
from torch import nn
from torch.nn import functional
from torch.nn.modules.batchnorm import _NormBase

from forget_audit.contracts import MethodInfo, Unlearned
from forget_audit.errors import NotApplicable
from forget_audit.methods._fresh import fresh_network
from forget_audit.methods._settings import flag, one_of, refuse_unserved
from forget_audit.methods._steps import Course, Norms, Stepping
from forget_audit.registry import method
from forget_audit.seeds import draw_seed
from forget_audit.targets import device_of
from forget_audit.training.loop import Index
from forget_audit.types import Case

LabelSource = Literal["fresh", "theta_init"]


@method
@dataclass(frozen=True, kw_only=True)
class InitialLabel(Stepping):
    """Teach the model what an untrained network would answer for the forget rows.

    A network of the same architecture with random weights classifies the forget rows, and the
    cross-entropy with its answers is minimised on them alone. Such a network names one or two
    classes for nearly everything, so that this is close to giving all forget rows one arbitrary
    label; the model as a whole suffers. An answer may be right by chance and then teaches what
    should be forgotten.

    Args:
        epochs: Passes over the forget rows; 0 leaves the model as it is.
        batch_size: Most rows in a step; a pass deals its rows into equal batches.
        least_steps: Fewest steps in a pass; few rows are dealt into smaller batches.
        optimizer: `adam`, `adamw` or `sgd`.
        lr: Learning rate.
        momentum: Of `sgd`; none by default.
        weight_decay: Of any of them.
        label_source: Who answers: a `fresh` network, or the weights that the original's
            training started from (`theta_init`), which need a record of it.
        exclude_true: Whether the answer is the likeliest class other than a row's own; only
            then are the labels of the forget rows read.
        norms: Batch norm in the steps: `train`, `eval` or `frozen`; on forget rows alone
            `train` would spoil the statistics.

    Raises:
        ValueError: If a field is out of its range.
        NotApplicable: If no untrained network can be made, or the record that `theta_init`
            needs is missing or of another model.

    References:
        Lyu et al. (2025), Fine-Grained and Efficient Self-Unlearning with Layered Iteration,
        https://openreview.net/forum?id=GDE2aAW3Z6, which runs it as a baseline; the released
        code, https://github.com/Hongyi-Lyu-MQ/SULI, holds no baselines.

    Departures:
        Reconstructed from a description of one sentence; source of the initial weights, rates
        and epochs are ours, mild enough to leave something of a small model, and no published
        setting is known. Before it answers, the untrained
        network sets its batch-norm statistics by one pass over the forget rows, without which
        all answers would be the same. Verification: answers and one step checked against their
        definition; published figures not reproduced.
    """

    info: ClassVar[MethodInfo] = MethodInfo(
        name="initial_label",
        title="Labels of an untrained network",
        card="M09",
        paper="https://openreview.net/forum?id=GDE2aAW3Z6",
        needs=frozenset({"forget"}),
        scopes=frozenset({"instance", "class"}),
        guarantee="none",
        cost="a pass over the forget rows an epoch, and one more",
        reconstructed="everything but the idea: initial weights, batch norm, rate, epochs",
        errata=("E21",),
        summary="Teaches the model the answers of an untrained network for the rows to forget.",
    )
    batch_size: int = 32
    lr: float = 1e-3
    momentum: float = 0.0
    label_source: LabelSource = "fresh"
    exclude_true: bool = False
    norms: Norms = "eval"

    def __post_init__(self) -> None:
        super().__post_init__()
        one_of("label_source", self.label_source, get_args(LabelSource))
        flag("exclude_true", self.exclude_true)
        one_of("norms", self.norms, get_args(Norms))

    def unlearn(self, model: nn.Module, case: Case, rng: np.random.Generator) -> Unlearned:
        """Return a copy that was taught the answers of an untrained network."""
        refuse_unserved(self.info, case)
        course = Course(model, rng, [self.norms])
        x = torch.tensor(np.asarray(case.forget.x), device=device_of(model))
        labels = self.answers(self.untrained(model, case, rng), x, case)
        course.rows_touched += len(x)
        optimizer = self.make_optimizer(course)

        def loss(index: Index) -> torch.Tensor:
            return functional.cross_entropy(course.model(x[index]), labels[index])

        for _ in range(self.epochs):
            course.run(loss, self.batches(len(x), rng), optimizer, norms=self.norms)
        counts = np.unique(labels.cpu().numpy(), return_counts=True)[1]
        note = f"{len(counts)} classes named, {counts.max()} of {len(x)} rows get one"
        return course.finish(f"all {self.epochs} epochs done", note)

    def untrained(self, model: nn.Module, case: Case, rng: np.random.Generator) -> nn.Module:
        """Return the network that answers.

        Raises:
            NotApplicable: If it cannot be made.
        """
        if self.label_source == "fresh":
            return fresh_network(self.info.name, model, case.trainer, draw_seed(rng))
        if case.log is None:
            raise NotApplicable(
                f"{self.info.name} with label_source theta_init needs a record of the original's "
                "training, found case.log empty; give the case one, or choose fresh"
            )
        network = copy.deepcopy(model)
        try:
            network.load_state_dict(dict(case.log.initial))
        except RuntimeError as error:
            raise NotApplicable(
                f"{self.info.name} expected the record of this model's training, found initial "
                "weights of another shape; give the case the log that was kept with this model"
            ) from error
        return network.eval()

    def answers(self, network: nn.Module, x: torch.Tensor, case: Case) -> torch.Tensor:
        """Return the classes `(n,)` that `network` names, its batch-norm statistics set before."""
        norms = [layer for layer in network.modules() if isinstance(layer, _NormBase)]
        with torch.no_grad():
            if norms and len(x) > 1:
                for layer in norms:
                    layer.momentum = None
                    layer.reset_running_stats()
                    layer.train()
                network(x)
            logits: torch.Tensor = network.eval()(x)
        if self.exclude_true:
            own = torch.tensor(case.forget.y, device=x.device).unsqueeze(1)
            logits = logits.scatter(1, own, -torch.inf)
        return logits.argmax(1)
