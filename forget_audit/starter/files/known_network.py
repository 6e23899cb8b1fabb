"""Your training loop around a network that comes with forget-audit."""

from torch import nn

from forget_audit.architectures import Architecture

ARCHITECTURE = "mlp"  # EDIT see `forget-audit list models`
OPTIONS: dict[str, object] = {}  # EDIT its settings, see `forget-audit show NAME`


def build(shape: tuple[int, ...], n_classes: int) -> nn.Module:
    """Return a fresh, untrained network for rows of this shape."""
    return Architecture(
        name=ARCHITECTURE, shape=shape, n_classes=n_classes, options=OPTIONS
    ).build()
