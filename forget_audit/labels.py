"""One class or several labels a row: the one loss of both."""

from typing import Literal

import torch
from torch.nn import functional

from forget_audit.types import UNKNOWN, Case


def label_loss(
    logits: torch.Tensor, y: torch.Tensor, reduction: Literal["mean", "none"] = "mean"
) -> torch.Tensor:
    """Return the cross-entropy of classes, or the mean binary cross-entropy of known labels.

    Args:
        logits: `(n, outputs)`.
        y: Classes `(n,)`, or a label matrix `(n, outputs)` of 0, 1 and `UNKNOWN`; unknown
            labels have no say, and a row without any known label has loss 0.
        reduction: `mean` over rows, or `none` for one number a row `(n,)`.
    """
    if y.ndim == 1:
        each = functional.cross_entropy(logits, y, reduction="none")
    else:
        known = (y != UNKNOWN).to(logits.dtype)
        every = functional.binary_cross_entropy_with_logits(
            logits, y.to(logits.dtype).clamp(min=0), reduction="none"
        )
        each = (every * known).sum(1) / known.sum(1).clamp(min=1)
    return each.mean() if reduction == "mean" else each


def to_forget(case: Case, y: torch.Tensor) -> torch.Tensor:
    """Return the labels whose loss measures what `case` wants forgotten.

    All labels of forget rows, or in an attribute request the forgotten column alone, the others
    being `UNKNOWN`.

    Args:
        case: The request.
        y: Labels of forget rows.
    """
    if case.attribute is None or y.ndim == 1:
        return y
    alone = torch.full_like(y, UNKNOWN)
    alone[:, case.attribute] = y[:, case.attribute]
    return alone
