"""Untrained networks of the same kind as a given one."""

import copy

import torch
from torch import nn

from forget_audit.errors import NotApplicable
from forget_audit.seeds import derive, seeded_torch
from forget_audit.targets import device_of
from forget_audit.training.trainers import RecipeTrainer
from forget_audit.types import Trainer


def fresh_network(name: str, model: nn.Module, trainer: Trainer | None, seed: int) -> nn.Module:
    """Return an untrained network on the device of `model`, in evaluation mode.

    A recipe that can build one does; otherwise a copy of `model` is drawn anew, every parameter
    and buffer of it.

    Args:
        name: Of the method that asks.
        model: Stays as it is.
        trainer: The recipe.
        seed: Of the initialisation.

    Raises:
        NotApplicable: If the recipe builds none, and parts of `model` cannot be drawn anew.
    """
    if isinstance(trainer, RecipeTrainer):
        return trainer.fresh(seed).to(device_of(model)).eval()
    built, other = (_drawn_anew(model, seed, filling) for filling in (0, 1))
    pairs = zip(_entries(built), _entries(other), strict=True)
    missed = [entry for (entry, first), (_, second) in pairs if not torch.equal(first, second)]
    if missed:
        raise NotApplicable(
            f"{name} needs an untrained network, found no way to draw {', '.join(missed[:3])} "
            "anew; give the case a RecipeTrainer, or the modules a reset_parameters method"
        )
    return built.eval()


def _drawn_anew(model: nn.Module, seed: int, filling: int) -> nn.Module:
    """Return a copy filled with a number and then drawn anew; what was missed is that number."""
    built = copy.deepcopy(model)
    with torch.no_grad():
        for _, tensor in _entries(built):
            tensor.fill_(filling)
    with seeded_torch(derive(seed, "init")):
        for module in reversed([*built.modules()]):
            reset = getattr(module, "reset_parameters", getattr(module, "_reset_parameters", None))
            if reset is not None:
                reset()
    return built


def _entries(model: nn.Module) -> list[tuple[str, torch.Tensor]]:
    return [*model.named_parameters(), *model.named_buffers()]
