"""The table of docs/architectures.md is what the code says."""

import json
import math
from pathlib import Path

import torch

from forget_audit.architectures import BUILDERS, Architecture, options_of
from scripts import tables

PAGE = Path(__file__).resolve().parents[2] / "docs/architectures.md"
FLAT = ("mlp", "linear", "text")


def weights(name: str) -> int:
    shape = (64,) if name in FLAT else (3, 32, 32)
    with torch.device("meta"):
        model = Architecture(name=name, shape=shape, n_classes=10).build()
    return sum(math.prod(parameter.shape) for parameter in model.parameters())


def table() -> str:
    """Return a row an architecture: title, weights, options with their defaults."""
    rows = []
    for name, builder in BUILDERS.items():
        title = " ".join((builder.__doc__ or "").split("\n\n")[0].split())
        options = ", ".join(
            f"`{key}`" if value is None else f"`{key} = {json.dumps(value)}`"
            for key, value in options_of(name).items()
        )
        rows.append((f"`{name}`", title, f"{weights(name):,}", options))
    return tables.as_table(("Name", "What it is", "Weights", "Options"), rows)


def test_the_table_agrees_with_the_code() -> None:
    found = tables.current(PAGE.read_text("utf-8"), "architectures")
    assert found == table(), f"write this between the marks:\n{table()}"


def test_each_network_of_the_papers_is_there() -> None:
    part = PAGE.read_text("utf-8").split("## What the papers used")[1].split("\n## ")[0]
    named = {name for name in BUILDERS if f"`{name}`" in part}
    assert named == set(BUILDERS) - {"cnn", "linear", "vit", "text"}
