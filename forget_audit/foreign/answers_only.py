"""Models that can only be asked: the base classes for those of other libraries."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Protocol, runtime_checkable

import numpy as np
import torch
from torch import nn

from forget_audit.errors import ModelError
from forget_audit.types import Features, Floats, Labels

SURE = float(np.finfo(np.float64).eps)


class AnswersOnly(nn.Module):
    """A model that answers, and that nobody can look into or train by gradients.

    Its `forward` maps float32 features `(n, ...)` to log-probabilities or logits
    `(n, n_classes)`. A `Target` of it never allows more access than `score`.
    """


class Filed(AnswersOnly):
    """A model whose state dict is one entry: the bytes of a file, as a vector of uint8.

    So weights are saved, loaded and digested like those of a network. The entry is named after
    the format, and is empty for a model that has not learnt.
    """

    kind: ClassVar[str]
    suffixes: ClassVar[tuple[str, ...]]

    def content(self) -> bytes:
        """Return the model as the bytes of a file, the same for the same model.

        Raises:
            ModelError: If it holds something that cannot be stored safely.
        """
        raise NotImplementedError

    def take(self, data: bytes) -> None:
        """Become the model in the bytes of a file, of which nothing is run.

        Raises:
            ModelError: If they are damaged, unsafe, or of another model.
        """
        raise NotImplementedError

    def answers(self, x: Features) -> Floats:
        """Return logits or log-probabilities `(n, n_classes)` of rows `(n, width)`."""
        raise NotImplementedError

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return logits or log-probabilities `(n, n_classes)`, float64."""
        flat = x.detach().cpu().numpy().reshape(len(x), -1)
        return torch.tensor(self.answers(flat), device=x.device)

    def _save_to_state_dict(
        self, destination: dict[str, Any], prefix: str, keep_vars: bool
    ) -> None:
        super()._save_to_state_dict(destination, prefix, keep_vars)
        data = np.frombuffer(self.content(), dtype=np.uint8)
        destination[prefix + self.kind] = torch.tensor(data, dtype=torch.uint8)

    def _load_from_state_dict(
        self,
        state_dict: Mapping[str, Any],
        prefix: str,
        local_metadata: dict[str, Any],  # noqa: ARG002 the signature is torch's
        strict: bool,  # noqa: ARG002
        missing_keys: list[str],
        unexpected_keys: list[str],
        error_msgs: list[str],
    ) -> None:
        key = prefix + self.kind
        found = state_dict.get(key)
        unexpected_keys += [name for name in state_dict if name.startswith(prefix) and name != key]
        if not isinstance(found, torch.Tensor):
            missing_keys.append(key)
        elif found.dtype != torch.uint8 or found.ndim != 1:
            error_msgs.append(f"expected bytes in {key}, found {found.dtype} of {found.shape}")
        else:
            try:
                self.take(found.cpu().numpy().tobytes())
            except ModelError as error:
                error_msgs.append(str(error))


@runtime_checkable
class SelfTrained(Protocol):
    """A freshly built module that brings its own training, such as boosted trees."""

    def fit(self, x: Features, y: Labels, seed: int) -> nn.Module:
        """Train on `x`, `y` with all randomness from `seed`; return the trained module."""
        ...


def single_labels(name: str, y: Labels, n_classes: int) -> Labels:
    """Return `y` if each row has one class of those that there are.

    Raises:
        ModelError: If rows have several labels, or there are other classes.
    """
    if y.ndim != 1:
        raise ModelError(
            f"{name}: expected one class a row, found a matrix of {y.shape[1]} labels; take an "
            "architecture of PyTorch"
        )
    if len(y) and not 0 <= int(y.min()) <= int(y.max()) < n_classes:
        found = f"{int(y.min())} to {int(y.max())}"
        raise ModelError(f"{name}: expected classes 0 to {n_classes - 1}, found {found}")
    return y


def log_probabilities(probabilities: Floats) -> Floats:
    """Return logarithms that are finite: probabilities are held off zero by the float64 epsilon.

    scikit-learn's `log_loss` does the same.
    """
    kept: Floats = np.log(np.clip(np.asarray(probabilities, dtype=np.float64), SURE, 1.0))
    return kept
