"""FMUL: UNSIR without its repair."""

from dataclasses import asdict, dataclass
from typing import ClassVar

import numpy as np
from torch import nn

from forget_audit.contracts import MethodInfo, Unlearned
from forget_audit.methods._noise import Impairing
from forget_audit.methods._settings import refuse_unserved
from forget_audit.methods.unsir import PRESETS, Unsir
from forget_audit.registry import method
from forget_audit.types import Case


@method
@dataclass(frozen=True, kw_only=True)
class Fmul(Impairing):
    """Teach the model that noise is the forgotten class, and leave it at that.

    The impair half of `unsir` alone, under the name that a later comparison gave it: noise is
    made that the model is most wrong about, and the model is trained on it, labelled with the
    forgotten class, mixed with a sample of the retained rows. What that does to the other
    classes is not repaired.

    Args:
        epochs: Rounds of impairing; 0 leaves the model as it is.
        batch_size: Most rows in a step; a pass deals its rows into equal batches.
        least_steps: Fewest steps in a pass; few rows are dealt into smaller batches.
        optimizer: `adam`, `adamw` or `sgd`; a fresh one for each round.
        lr: Learning rate of impairing; high on purpose.
        momentum: Of `sgd`.
        weight_decay: Of any of them.
        impair_passes: Impair passes in a round.
        retain_per_class: Most retained rows of each class, or for each label, drawn at random;
            the others are not used.
        noise_per_class: Inputs of noise for each forgotten class, or value of a label.
        copies: How often each of them occurs in an impair pass.
        noise_steps: Steps of Adam on the noise.
        noise_lr: Its learning rate.
        lam: Weight of the size of the noise against the model's error.
        reg: Size of an input: `sum_sq`, its summed squares, or `norm`, their root.
        bounds: Least and greatest value of the noise, in the space of the features.
        impair_norms: Batch norm in impair steps: `train`, `eval` or `frozen`.

    Raises:
        ValueError: If a field is out of its range.
        NotApplicable: If a class request names no class, or has rows of several labels.

    References:
        Tarun, Chundawat, Mandal and Kankanhalli (2023), Fast Yet Effective Machine Unlearning,
        https://arxiv.org/abs/2111.08947; code at
        https://github.com/vikram2000b/Fast-Machine-Unlearning.
        Gogineni and Nadimi (2025), Efficient Knowledge Deletion from Trained Models through
        Layer-wise Partial Machine Unlearning, https://arxiv.org/abs/2403.07611, compare with it.

    Departures:
        Those of `unsir`, whose code runs. On a small case one impair pass, a dozen steps, only
        makes the model answer the forgotten class more often; nothing repairs that here, so our
        default takes six passes, with each noise once. The comparison does not state its
        settings; the presets are the impair halves of UNSIR's. Verification: equal to `unsir`
        with no repair pass, weight for weight; published figures not reproduced.
    """

    info: ClassVar[MethodInfo] = MethodInfo(
        name="fmul",
        title="FMUL: impair with noise, no repair",
        card="M27",
        paper="arXiv:2111.08947",
        needs=frozenset({"retain", "labels"}),
        scopes=frozenset({"class", "subclass", "attribute"}),
        heads=frozenset({"single", "multi"}),
        adapted=frozenset({"attribute"}),
        guarantee="none",
        presets={
            name: {field: value for field, value in preset.items() if field != "repair_lr"}
            for name, preset in PRESETS.items()
        },
        cost="some forty gradients of the noise, then a pass over noise and a sample of the "
        "retained rows, six times",
        errata=("E24", "E25", "E26", "E27", "E28"),
        summary="Overwrites the class to forget with noise that looks least like it, "
        "and does not repair the rest.",
    )

    impair_passes: int = 6
    copies: int = 1

    def unlearn(self, model: nn.Module, case: Case, rng: np.random.Generator) -> Unlearned:
        """Return a copy that was impaired."""
        refuse_unserved(self.info, case)
        halved = Unsir(**asdict(self), repair_passes=0, repair_norms=self.impair_norms)
        return halved.unlearn(model, case, rng)
