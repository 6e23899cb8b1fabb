"""What influence methods share: forget rows and what replaces them, as tensors."""

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import torch
from torch import nn

from forget_audit.errors import NotApplicable
from forget_audit.labels import to_forget
from forget_audit.methods._hessian import Surface
from forget_audit.methods._layers import last_layers
from forget_audit.methods._relabel import random_labels
from forget_audit.methods._settings import Presets, one_of, whole, whole_numbers
from forget_audit.methods._steps import Course
from forget_audit.targets import device_of
from forget_audit.training.loop import rows_tensors, tensors
from forget_audit.types import UNKNOWN, Case

Replacement = Literal["none", "labels", "features"]


@dataclass(frozen=True, kw_only=True)
class Influence(Presets):
    """The fields of methods that exchange rows of the data for others.

    Args:
        replacement: What stands in for the forget rows: nothing, the same rows with other
            labels, or the same rows with some features at 0.
        columns: Positions of those features in the flattened row.
        layers: Only so many last weight layers change; 0 for all.
    """

    replacement: Replacement = "none"
    columns: tuple[int, ...] = ()
    layers: int = 0

    def __post_init__(self) -> None:
        one_of("replacement", self.replacement, get_args(Replacement))
        object.__setattr__(self, "columns", whole_numbers("columns", self.columns))
        whole("layers", self.layers, at_least=0)
        if (self.replacement == "features") != bool(self.columns):
            raise ValueError(
                f"columns: expected positions with replacement 'features' and none otherwise, "
                f"found {self.columns} with {self.replacement!r}"
            )

    def surface(self, model: nn.Module, case: Case) -> Surface:
        """Return the loss over the parameters that may change."""
        if not self.layers:
            return Surface(model)
        chosen = last_layers(model, case.forget.x, self.layers)
        return Surface(model, only={name for layer in chosen for name in layer.parameters})

    def difference(
        self, surface: Surface, model: nn.Module, case: Case, rng: np.random.Generator
    ) -> tuple[torch.Tensor, int]:
        """Return by how much the exchange changes the gradient of the summed loss, and its rows."""
        x, y = rows_tensors(case.forget, model)
        gone = surface.gradient(surface.start, x, y)
        other = self.replaced(model, case, rng)
        if other is None:
            return -gone, len(x)
        return surface.gradient(surface.start, *other) - gone, 2 * len(x)

    def settle(self, surface: Surface, vector: torch.Tensor, course: Course, case: Case) -> str:
        """Write the new weights into the copy, and say what they do to the forget loss."""
        surface.put(vector, course.model)
        course.steps = 1
        x, y = rows_tensors(case.forget, course.model)
        y = to_forget(case, y)
        with torch.no_grad():
            before, after = (
                float(surface.total(at, x, y)) / len(x) for at in (surface.start, vector)
            )
        return f"mean loss of the forget rows {before:.3g} before and {after:.3g} after"

    def replaced(
        self, model: nn.Module, case: Case, rng: np.random.Generator
    ) -> tuple[torch.Tensor, torch.Tensor] | None:
        """Return what stands in for the forget rows; without a replacement, nothing.

        In an attribute request the rows stay, and their label becomes unknown or random.
        """
        x, y = case.forget.x, case.forget.y
        if self.replacement == "features":
            x = x.copy()
            width = x[:1].size
            if max(self.columns) >= width:
                raise NotApplicable(
                    f"columns: expected positions below {width}, found {max(self.columns)}"
                )
            x.reshape(len(x), -1)[:, self.columns] = 0
        elif self.replacement == "labels":
            drawn = random_labels(case, rng, exclude_true=True)
            y = np.where(drawn == UNKNOWN, y, drawn)
        elif case.attribute is not None:
            y = y.copy()
            y[:, case.attribute] = UNKNOWN
        else:
            return None
        return tensors(x, y, device_of(model))
