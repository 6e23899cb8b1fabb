"""Amnesiac unlearning: subtract the updates of the training steps that held a forget row."""

from dataclasses import dataclass
from typing import ClassVar

from forget_audit.contracts import MethodInfo
from forget_audit.methods._subtraction import Subtraction
from forget_audit.registry import method


@method
@dataclass(frozen=True, kw_only=True)
class Amnesiac(Subtraction):
    """Take back what the training steps changed that held a row to forget.

    While the original is trained, its log keeps what each step changed and which rows it held.
    To forget rows, the changes of all steps that held one of them are subtracted from the final
    weights. No gradient is taken and no row is read. Of `n` rows in random batches of `b`, a
    step is affected by `m` forget rows with probability of about `1 - (1 - m / n) ** b`: for a
    whole class that is nearly every step, so that the subtraction leads back to the initial
    weights. It can be selective only if the forget rows are few, or were kept together, see
    `training_log.Grouped`. What later steps learnt from affected ones, and what momentum
    carried over, stays.

    Args:
        order: `all` subtracts every affected step; `reverse_epochs` goes back epoch by epoch,
            the latest first, and stops at `target`; before each it classifies the forget rows.
        target: Share of forget rows classified as labelled at which `reverse_epochs` stops.
        buffers: Whether changes of floating-point buffers, such as batch-norm statistics, are
            subtracted too; they must be in the log.
        repair_epochs: Passes over the retained rows afterwards; only they read rows.
        repair_lr: Learning rate of Adam in them.

    Raises:
        ValueError: If a field is out of its range.
        NotApplicable: If the log is of another model, or lacks steps, rows or buffers.

    References:
        Graves, Nagisetty and Ganesh (2021), Amnesiac Machine Learning,
        https://arxiv.org/abs/2010.10981; code at https://github.com/lmgraves/AmnesiacML.

    Departures:
        Updates are summed in float64, the latest step first. Rows are looked up in each epoch,
        not in a fixed set of batches, and a missing step is refused where the public notebooks
        skip it. Going back by epochs with an end at a forget accuracy is ours, after a
        description of the method as taking two to three epochs; it decides by the forget rows.
        The notebooks repair with one epoch, `preset("repaired")`; by default nothing is
        repaired. For a class in random batches the result is close to the initial weights, so
        no accuracy on retained rows is promised. Verification: subtraction of the last step,
        of all steps, and under a loss linear in the weights equal what they must; published
        figures not reproduced.
    """

    info: ClassVar[MethodInfo] = MethodInfo(
        name="amnesiac",
        title="Amnesiac unlearning: subtract recorded updates",
        card="M19",
        paper="arXiv:2010.10981",
        needs=frozenset({"log"}),
        scopes=frozenset({"instance", "class", "subclass"}),
        heads=frozenset({"single", "multi"}),
        guarantee="none",
        presets={"repaired": {"repair_epochs": 1}},
        cost="no pass; storage of one model a recorded step",
        errata=("E39", "E40", "E47"),
        floor=0.0,
        summary="Subtracts from the weights what the training steps with the rows to forget "
        "had added.",
    )
