"""Fine-tuning on the forget rows with random labels."""

from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

import numpy as np
from torch import nn

from forget_audit.contracts import MethodInfo, Unlearned
from forget_audit.methods._relabel import Relabelling
from forget_audit.methods._settings import one_of, refuse_unserved
from forget_audit.methods._steps import Course, forget_then_retain
from forget_audit.registry import method
from forget_audit.training.loop import rows_tensors
from forget_audit.types import Case

Policy = Literal["forget_only", "sequential", "mixed"]

RELEASED = {
    "batch_size": 256, "forget_batch_size": 256, "least_steps": 1, "lr": 0.01,
    "exclude_true": False, "exclude_classes": (), "forget_norms": "train",
}  # fmt: skip
PRESETS = {
    "salun": RELEASED,
    "salun-mixed": {**RELEASED, "policy": "mixed"},
}


@method
@dataclass(frozen=True, kw_only=True)
class RandomLabel(Relabelling):
    """Teach the model random labels for the forget rows.

    Each forget row gets a label drawn uniformly from the classes allowed for it, and the
    cross-entropy with these labels is minimised. The retained rows, with their own labels,
    repair the damage. For single rows this forgets too much: their loss ends above that of a
    retrained model, which an attack can tell.

    Args:
        epochs: Passes over the rows; 0 leaves the model as it is.
        batch_size: Most rows in a step on retained or mixed rows.
        least_steps: Fewest steps in a pass; few rows are dealt into smaller batches.
        optimizer: `adam`, `adamw` or `sgd`.
        lr: Learning rate.
        momentum: Of `sgd`.
        weight_decay: Of any of them.
        policy: `forget_only` (retained rows are not read), `sequential` (in each epoch a pass
            over the forget rows, then one over the retained ones) or `mixed` (one shuffled
            pass over both).
        forget_batch_size: Most rows in a step on forget rows alone.
        exclude_true: Whether a row's own class is never drawn for it.
        exclude_classes: Classes that are never drawn; by default the forgotten classes of a
            class request, none of an instance request.
        per_epoch: Whether labels are drawn anew in each epoch, or once.
        forget_norms: Batch norm in steps on forget rows alone: `train`, `eval` or `frozen`.
        retain_norms: Batch norm in the other steps; `frozen` in either fixes scale and shift in
            both.

    Raises:
        ValueError: If a field is out of its range.
        NotApplicable: If some forget row is left without an allowed class.

    References:
        Golatkar, Achille and Soatto (2020), Eternal Sunshine of the Spotless Net,
        https://arxiv.org/abs/1911.04933.
        Graves, Nagisetty and Ganesh (2021), Amnesiac Machine Learning,
        https://arxiv.org/abs/2010.10981.
        Fan et al. (2024), SalUn, https://arxiv.org/abs/2310.12508; code at
        https://github.com/OPTML-Group/Unlearn-Saliency.

    Departures:
        Public code draws from all classes, the true one included, in batches of 256: on small
        images in two passes (`salun`), on data with a hundred classes and more in one
        (`salun-mixed`). It searches rates from 1e-3 to .1; the presets take .01. Smaller forget
        batches suit small requests. Batch norm in forget passes is in evaluation mode, elsewhere
        it follows the release. Labels of a matrix are drawn with their own prevalence and may
        come out as they were: the opposite label would tell as much. An attribute request draws
        that label alone, and its retained rows are the same rows with their other labels (our
        adaptation). Verification: the steps of all three policies equal the closed form on
        softmax regression; policies, draws and order compared with the public code; published
        figures not reproduced.
    """

    info: ClassVar[MethodInfo] = MethodInfo(
        name="random_label",
        title="Random labels for the forget rows",
        card="M08",
        paper="arXiv:1911.04933",
        needs=frozenset({"forget", "retain", "labels"}),
        scopes=frozenset({"instance", "class", "subclass", "attribute"}),
        heads=frozenset({"single", "multi"}),
        adapted=frozenset({"attribute"}),
        guarantee="none",
        presets=PRESETS,
        cost="a pass over the forget rows per epoch, and over the retained ones unless the policy "
        "is forget_only; nothing is stored",
        summary="Teaches the model wrong answers for the rows to forget, right ones for the rest.",
    )
    lr: float = 5e-3
    weight_decay: float = 5e-4
    policy: Policy = "sequential"

    def __post_init__(self) -> None:
        super().__post_init__()
        one_of("policy", self.policy, get_args(Policy))

    def unlearn(self, model: nn.Module, case: Case, rng: np.random.Generator) -> Unlearned:
        """Return a copy that was taught random labels for the forget rows."""
        refuse_unserved(self.info, case)
        passes = [self.forget_pass(case)]
        if self.policy == "forget_only":
            rows = rows_tensors(case.forget, model)
        else:
            rows = forget_then_retain(case, model)
            if self.policy == "sequential":
                passes.append(self.retain_pass(case))
            else:
                passes = [(0, len(rows[0]), self.batch_size, self.retain_norms)]
        course = Course(model, rng, [norms for *_, norms in passes])
        self.teach(course, case, rows, passes, rng)
        return course.finish(f"all {self.epochs} epochs done")
