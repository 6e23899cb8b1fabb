"""One changed input of another, by all changes that fit its form."""

from __future__ import annotations

import random
from collections.abc import Sequence

from tests.fuzz import mutations
from tests.fuzz.archives import change_csv, change_safetensors, change_zip
from tests.fuzz.mutations import Mutation
from tests.fuzz.trees import change_json, change_toml

KNOWING: dict[str, Mutation] = {
    ".json": change_json, ".ipynb": change_json, ".toml": change_toml, ".csv": change_csv,
    ".npz": change_zip, ".zip": change_zip, ".skops": change_zip, ".pt": change_zip,
    ".safetensors": change_safetensors,
}  # fmt: skip


def mutated(
    data: bytes,
    rng: random.Random,
    seeds: Sequence[bytes],
    suffix: str = "",
    dictionary: Sequence[bytes] = (),
) -> bytes:
    """Return an input after one to a few changes, at most about `LARGEST` bytes more."""
    ways = list(mutations.PLAIN)
    if dictionary:
        ways += [mutations.from_dictionary(dictionary)] * 3
    if suffix in KNOWING:
        ways += [KNOWING[suffix]] * len(ways)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        data = rng.choice(ways)(data, rng, seeds)[: 8 * mutations.LARGEST]
    return data
