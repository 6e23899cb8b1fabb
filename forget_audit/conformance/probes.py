"""Models and rows that notice what is done to them, and what must stay as it was."""

from typing import Any, ClassVar

import torch
from torch import nn

from forget_audit.digests import arrays_digest
from forget_audit.targets import weights_digest
from forget_audit.types import Case, Rows


class Fragile(nn.Module):
    """Answers once, then breaks; copies share the count."""

    answers: ClassVar[int] = 0

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Answer the first time only."""
        Fragile.answers += 1
        if Fragile.answers > 1:
            raise RuntimeError("broke half-way")
        answer: torch.Tensor = self.inner(x)
        return answer


class Watched(Rows):
    """Rows that note when features or labels are read."""

    seen: ClassVar[set[tuple[str, str]]] = set()

    @staticmethod
    def over(role: str, rows: Rows) -> "Watched":
        """Return the rows of a role, watched."""
        watched = Watched(x=rows.x, y=rows.y, ids=rows.ids)
        object.__setattr__(watched, "role", role)
        return watched

    def __getattribute__(self, name: str) -> Any:
        if name in ("x", "y") and "role" in object.__getattribute__(self, "__dict__"):
            Watched.seen.add((object.__getattribute__(self, "role"), name))
        return object.__getattribute__(self, name)


def awkward(model: nn.Module) -> nn.Module:
    """Put a model partly into training mode, with one gradient left over."""
    model.eval()
    list(model.modules())[-1].train()
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.grad = torch.ones_like(parameter)
    return model


def state_of(model: nn.Module) -> object:
    """Return everything of a model that nobody but its owner may change."""
    return (
        weights_digest(model),
        [module.training for module in model.modules()],
        [len(module._forward_hooks) + len(module._backward_hooks) for module in model.modules()],
        [(p.requires_grad, None if p.grad is None else p.grad.sum().item(), p.data_ptr())
         for p in model.parameters()],
    )  # fmt: skip


def rows_digest(case: Case) -> str:
    """Return a digest of all rows of a request."""
    arrays = {f"{role}.{part}": getattr(rows, part)
              for role, rows in case.roles().items() for part in ("x", "y", "ids")}  # fmt: skip
    return arrays_digest(arrays)
