"""Heads of another form than one output a class."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from forget_audit.errors import ModelError

INNER = "inner."


class OneOutput(nn.Module):
    """A network with one output `z` for two classes, which answers the logits `[0, z]`.

    The sigmoid of `z` is then the probability of class 1, and the cross-entropy of the logits is
    the binary cross-entropy of `z`.

    Args:
        inner: Maps `(n, ...)` to `(n, 1)` or `(n,)`.
    """

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the logits `(n, 2)`.

        Raises:
            ModelError: If the network has another number of outputs than one.
        """
        z = self.inner(x)
        if z.shape not in ((len(x), 1), (len(x),)):
            raise ModelError(
                f"head binary: expected one output a row, found answers of shape {tuple(z.shape)} "
                f"for {len(x)} rows; leave head out for one output a class"
            )
        z = z.reshape(len(x), 1)
        return torch.cat([torch.zeros_like(z), z], dim=1)

    def load_state_dict(
        self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False
    ) -> Any:
        """Load weights under the names they have here, or in the network alone."""
        if not any(name.startswith(INNER) for name in state_dict):
            state_dict = {INNER + name: value for name, value in state_dict.items()}
        return super().load_state_dict(state_dict, strict, assign)
