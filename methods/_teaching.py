"""Teachers and students: divergences with fixed order and reduction, and a teacher's answers."""

import torch
from torch import nn
from torch.nn import functional

from forget_audit.targets import Target, device_of
from forget_audit.types import Rows


def divergence(p: torch.Tensor, log_q: torch.Tensor) -> torch.Tensor:
    """Return `KL(p || q)` summed over classes and averaged over rows, in nats.

    Args:
        p: Probabilities `(n, classes)`; where one is 0 its term is 0.
        log_q: Logarithms of probabilities `(n, classes)`.
    """
    return functional.kl_div(log_q, p, reduction="batchmean")


def distillation(
    teacher: torch.Tensor, student: torch.Tensor, temperature: float, *, several: bool = False
) -> torch.Tensor:
    """Return `T^2 KL(softmax(teacher / T) || softmax(student / T))`, in nats.

    Summed over classes and averaged over rows.

    Args:
        teacher: Logits `(n, outputs)`.
        student: Logits `(n, outputs)`.
        temperature: `T`.
        several: Whether each output is a label of its own: then the binary divergences of all
            labels are summed.
    """
    log_p, log_q = (
        log_answers(teacher / temperature, several),
        log_answers(student / temperature, several),
    )
    divergence = functional.kl_div(log_q, log_p, reduction="none", log_target=True)
    return temperature**2 * divergence.flatten(1).sum(1).mean()


def log_answers(logits: torch.Tensor, several: bool) -> torch.Tensor:
    """Return log-probabilities of the classes, or of no and yes for each label.

    Args:
        logits: `(n, outputs)`.
        several: Whether each output is a label of its own.

    Returns:
        `(n, classes)`, or `(n, labels, 2)`.
    """
    if not several:
        return functional.log_softmax(logits, dim=1)
    return torch.stack([functional.logsigmoid(-logits), functional.logsigmoid(logits)], dim=2)


def answers(model: nn.Module, rows: Rows) -> torch.Tensor:
    """Return the logits `(n, outputs)` of a teacher, in evaluation mode, float32."""
    logits = Target(model).logits(rows)
    return torch.tensor(logits, dtype=torch.float32, device=device_of(model))
