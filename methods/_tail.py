"""Methods that change the last layers only: which layers these are."""

from dataclasses import dataclass

from torch import nn

from forget_audit.errors import NotApplicable
from forget_audit.methods._layers import Layer, last_layers, ordered_layers
from forget_audit.methods._settings import whole
from forget_audit.methods._steps import Stepping
from forget_audit.types import Features


@dataclass(frozen=True, kw_only=True)
class Tail(Stepping):
    """The fields of methods that change the last layers only.

    Args:
        k: Number of weight layers, in the order in which they run, that may change.
        layers: Dotted paths of the modules that may change, in place of the last `k`.
    """

    k: int = 3
    layers: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        whole("k", self.k, at_least=1)
        if self.layers is not None:
            named = isinstance(self.layers, (list, tuple)) and len(self.layers) > 0
            if not named or not all(isinstance(name, str) for name in self.layers):
                raise ValueError(
                    f"layers: expected a list of names of modules, found {self.layers!r}; "
                    "leave it out for the last k"
                )
            object.__setattr__(self, "layers", tuple(self.layers))

    def tail(self, model: nn.Module, x: Features) -> list[Layer]:
        """Return the layers that may change, in forward order.

        Args:
            model: Asked about one row.
            x: Features of at least one row.

        Raises:
            NotApplicable: If a named module has no weights in this model.
        """
        if self.layers is None:
            return last_layers(model, x, self.k)
        found, every = [], ordered_layers(model, x)
        for name in self.layers:
            own = [layer for layer in every if f"{layer.name}.".startswith(f"{name}.")]
            if not own:
                raise NotApplicable(
                    f"layers: expected names of modules with weights, found {name!r}; this model "
                    f"has {', '.join(layer.name for layer in every)}"
                )
            found += own
        return [layer for layer in every if layer in found]


def parameter_names(layers: list[Layer]) -> list[str]:
    """Return the names of all parameters of `layers`."""
    return [name for layer in layers for name in layer.parameters]
