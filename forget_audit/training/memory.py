"""How many models fit into memory while they are trained, and what is done if they do not."""

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import nn

from forget_audit.faults import memory_error, out_of_memory
from forget_audit.training.loop import Recipe

log = logging.getLogger(__name__)

Places = Sequence[int]
Fit = Callable[[Places], list[nn.Module]]

SHARE = 0.5  # of what is free: torch's allocators keep more than is in use
UNKNOWN_FREE = 2 * 2**30
ONE = "training one model"
_STATES = {"adam": 2, "adamw": 2, "sgd": 1}
_LIMITS = (
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
    ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
)


def fitting_models(each: int, device: torch.device, side_by_side: int = 1) -> int:
    """Return how many models may be trained at once, at least one.

    Args:
        each: Bytes that one model needs in training, as `training_bytes` has it.
        device: Where they are trained.
        side_by_side: How many batches of models are trained at the same time.
    """
    return max(1, int(SHARE * free_bytes(device)) // max(1, side_by_side) // max(1, each))


def fit_smaller(fit: Fit, places: Places, *, alone: Fit | None = None) -> list[nn.Module]:
    """Return the models at `places`, trained at once, or fewer at once where memory runs out.

    What is free was measured before, but other processes take their share meanwhile.

    Args:
        fit: Trains models at once, the same ones whenever it is called.
        places: Of the models.
        alone: Trains them one after the other, where smaller batches would round otherwise;
            halves are tried if left out.

    Raises:
        MemoryShortage: If there is not even room for one.
    """
    if len(places) == 1 and alone is None:
        with told(ONE):
            return fit(places)
    try:
        return fit(places)
    except (RuntimeError, MemoryError) as error:
        if not out_of_memory(error):
            raise
    # below the handler, for what went wrong holds on to the memory that it took
    log.warning("memory ran out for %d models at once; fewer are trained at once", len(places))
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    if alone is not None:
        return alone(places)
    half = len(places) // 2
    return [*fit_smaller(fit, places[:half]), *fit_smaller(fit, places[half:])]


@contextmanager
def told(what: str) -> Iterator[None]:
    """Run the body; that memory runs out within it is told in plain words.

    Args:
        what: For which there was none.

    Raises:
        MemoryShortage: In the place of what PyTorch and Python say.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if out_of_memory(error):
            raise memory_error(what) from error
        raise


def training_bytes(model: nn.Module, rows: torch.Tensor, recipe: Recipe) -> int:
    """Return the bytes that a model takes while it is trained, the data of all rows left out.

    These are weights, gradients, the state of the optimiser, buffers, the rows of a step, and
    twice what the forward pass keeps for the backward pass, because its gradients are as large.

    Args:
        model: In training mode; running statistics are changed by the pass.
        rows: Of one step.
        recipe: How it is trained.
    """
    kept: dict[int, torch.UntypedStorage] = {}  # held, so that no two have the same address

    def pack(tensor: torch.Tensor) -> None:  # a graph that held the tensor would hold itself
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage

    with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(pack, lambda _: rows):
        model(rows)
    weights = sum(p.numel() * p.element_size() for p in model.parameters())
    buffers = sum(b.numel() * b.element_size() for b in model.buffers())
    states = 2 + _STATES[recipe.optimizer]
    return (
        weights * states
        + buffers
        + 2 * sum(storage.nbytes() for storage in kept.values())
        + 2 * rows.nbytes
    )


def free_bytes(device: torch.device) -> int:
    """Return the free memory of `device`; of a container only what its limit leaves."""
    if device.type == "cuda":
        unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(torch.cuda.mem_get_info(device)[0]) + unused
    free = _available()
    for limit, used in _LIMITS:
        try:
            free = min(free, int(Path(limit).read_text()) - int(Path(used).read_text()))
        except (OSError, ValueError):  # another kind of system, or no limit
            continue
    return max(0, free)


def _available() -> int:
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            name, _, value = line.partition(":")
            if name == "MemAvailable":
                return int(value.split()[0]) * 1024
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    except (OSError, ValueError, AttributeError):  # no Linux, or not even POSIX
        return UNKNOWN_FREE
