"""Where models are trained, and how many beside each other."""

import os
from collections.abc import Iterator, Sequence

import torch
from joblib import cpu_count

from forget_audit.errors import ModelError

LONGEST_NUMBER = 10


def usable_threads() -> int:
    """Return how many threads may train side by side: `OMP_NUM_THREADS`, or one a core."""
    given = os.environ.get("OMP_NUM_THREADS", "")
    number = int(given) if given.isdecimal() and len(given) < LONGEST_NUMBER else 0
    return number or cpu_count()


def usable_device(name: str) -> torch.device:
    """Return the device called `name`, as torch has it.

    Raises:
        ModelError: If there is none.
    """
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ModelError(f"device {name!r}: expected such as cpu, cuda or cuda:1") from error
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        found = torch.cuda.device_count() or "none"
        raise ModelError(
            f"device {name}: expected a GPU that torch can use, found {found}; take cpu"
        )
    return device


def equal_groups(sizes: Sequence[int], most: int, workers: int = 1) -> Iterator[list[int]]:
    """Yield positions of up to `most` models with equally many rows, so that all workers get some.

    Args:
        sizes: Number of rows of each model.
        most: Models in a group.
        workers: How many groups are trained side by side.
    """
    for size in sorted(set(sizes)):
        same = [i for i, n in enumerate(sizes) if n == size]
        length = min(most, -(-len(same) // workers))
        for start in range(0, len(same), length):
            yield same[start : start + length]
