"""The one place for randomness: a root seed, and generators derived from it by name.

Children are derived by name and not by order, so that adding an attack leaves the numbers of
all others as they were. Global generators are left as they were found.
"""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np


def derive(root: int, *names: str | int) -> int:
    """Return the seed of the child called `names` of `root`, uniform on 63 bits.

    Args:
        root: Root seed of the plan.
        names: Path of the child, for example `("retrained", 7)`.
    """
    text = "\x1f".join([str(root), *(f"{type(name).__name__}:{name}" for name in names)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def generator(root: int, *names: str | int) -> np.random.Generator:
    """Return the numpy generator of the child called `names` of `root`."""
    return np.random.default_rng(derive(root, *names))


def draw_seed(rng: np.random.Generator) -> int:
    """Draw a 63-bit seed from `rng`."""
    return int(rng.integers(0, 2**63 - 1))


@contextmanager
def seeded_torch(seed: int) -> Iterator[None]:
    """Run the body with torch's global generators seeded, and restore them afterwards.

    Module initialisation and dropout draw from torch's global generator; nothing else may.
    """
    import torch  # here, so that statistics and verification run without it

    with torch.random.fork_rng():
        torch.manual_seed(seed)  # noqa: TID251 the only call in the project
        yield
