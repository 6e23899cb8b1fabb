"""Settings that ask for terabytes are refused in words, and nothing is allocated for them."""

import json
import resource
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from forget_audit.architectures import BUILDERS, Architecture
from forget_audit.errors import ModelError
from forget_audit.seeds import seeded_torch
from forget_audit.targets import weights_digest
from tests.fuzz.model_doors import hub_folder

pytest.importorskip("transformers", reason="needs the package transformers")
SPARE = 3 << 30


@pytest.fixture(autouse=True)
def little_memory() -> Iterator[None]:
    """Let whatever asks for gigabytes fail, so that no test here takes the machine down."""
    before = resource.getrlimit(resource.RLIMIT_DATA)
    pages = int(Path("/proc/self/statm").read_text("ascii").split()[5])
    resource.setrlimit(resource.RLIMIT_DATA, (pages * resource.getpagesize() + SPARE, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_DATA, before)


OPTIONS: dict[str, tuple[str, dict[str, Any]]] = {
    "one layer": ("mlp", {"hidden": [10**9]}),
    "two layers": ("mlp", {"hidden": [10**6, 10**6]}),
    "many layers": ("mlp", {"hidden": [30_000] * 2000}),
    "beyond what numbers count": ("mlp", {"hidden": [10**13, 10**13]}),
    "vocabulary": ("text", {"words": 10**11}),
}


@pytest.mark.parametrize("label", OPTIONS)
def test_options_of_plans(label: str) -> None:
    name, options = OPTIONS[label]
    wanted = Architecture(name=name, shape=(64,), n_classes=10, options=options)
    with pytest.raises(ModelError, match=rf"{name}: expected a network that fits .* GiB"):
        wanted.build()


SETTINGS: dict[str, dict[str, Any]] = {
    "width": {"hidden_size": 10**6, "intermediate_size": 10**6},
    "a little too wide": {"hidden_size": 20_000, "intermediate_size": 20_000},
    "depth": {"num_hidden_layers": 900, "hidden_size": 4096},
}


def folder_with(place: Path, changes: dict[str, Any]) -> Architecture:
    folder = place / "hub"
    if not folder.exists():
        shutil.copytree(hub_folder(), folder)
    table = json.loads((folder / "config.json").read_bytes())
    (folder / "config.json").write_text(json.dumps({**table, **changes}), "utf-8")
    return Architecture(name="hf:hub", shape=(1, 8, 8), n_classes=3, folder=place)


@pytest.mark.parametrize("label", SETTINGS)
def test_configurations_that_no_weights_beside_them_fit(tmp_path: Path, label: str) -> None:
    wanted = folder_with(tmp_path, SETTINGS[label])
    with pytest.raises(ModelError, match=r"config\.json: expected a network that fits the [0-9,]+"):
        wanted.build()


def test_configurations_without_weights_are_bounded_by_the_machine(tmp_path: Path) -> None:
    wanted = folder_with(tmp_path, SETTINGS["width"])
    (tmp_path / "hub" / "model.safetensors").unlink()
    with pytest.raises(ModelError, match=r"hub: expected a network that fits .* GiB"):
        wanted.build()


def test_what_is_no_parameter_counts_too(tmp_path: Path) -> None:
    """Tables of positions between the pixels of a window take the fourth power of its side."""
    transformers: Any = pytest.importorskip("transformers")
    made = {"image_size": 8, "patch_size": 1, "num_channels": 1, "embed_dim": 2, "depths": [1],
            "num_heads": [1], "num_labels": 3}  # fmt: skip
    with seeded_torch(1):
        network = transformers.AutoModelForImageClassification.from_config(
            transformers.SwinConfig(**made, window_size=2)
        )
    network.save_pretrained(tmp_path / "hub")
    wanted = folder_with(tmp_path, {})
    assert wanted.build()
    with pytest.raises(ModelError, match="expected a network that fits"):
        folder_with(tmp_path, {"window_size": 300}).build()


@pytest.mark.parametrize("name", ["mlp", "vit", "lenet"])
def test_what_is_built_is_the_same(name: str) -> None:
    shape = (64,) if name == "mlp" else (3, 32, 32)
    with seeded_torch(3):
        ours = Architecture(name=name, shape=shape, n_classes=10).build()
        after = torch.rand(2)
    with seeded_torch(3):
        plain = BUILDERS[name](shape, 10)
        assert torch.equal(after, torch.rand(2))
    assert weights_digest(ours) == weights_digest(plain)
