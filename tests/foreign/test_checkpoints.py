"""State dicts as people save them: in checkpoints, under wrappers' names, in several parts."""

import json
import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from forget_audit.errors import ModelError
from forget_audit.model_files import load_weights, safetensors_bytes
from forget_audit.seeds import seeded_torch
from forget_audit.targets import weights_digest
from tests.foreign.rows import architecture

INDEX = "model.safetensors.index.json"


def network(seed: int = 0, **options: Any) -> nn.Module:
    with seeded_torch(seed):
        return architecture("mlp", hidden=[4], **options).build()


def state(prefix: str = "") -> dict[str, torch.Tensor]:
    return {prefix + name: tensor for name, tensor in network().state_dict().items()}


CHECKPOINTS: dict[str, tuple[object, str]] = {
    "state_dict": ({"state_dict": state(), "epoch": 3, "name": "mlp"}, "entry 'state_dict'"),
    "model": ({"model": state(), "optimizer": {"state": {}, "lr": 0.1}}, "entry 'model'"),
    "own name": ({"weights": state(), "args": {}}, "entry 'weights'"),
    "parallel": (state("module."), "without 'module.'"),
    "compiled": (state("_orig_mod."), "without '_orig_mod.'"),
    "both": (state("module._orig_mod."), "without '_orig_mod.'"),
    "all": ({"state_dict": state("module."), "step": torch.tensor(3)}, "without 'module.'"),
}


@pytest.mark.parametrize("kind", CHECKPOINTS)
def test_checkpoints_are_unwrapped_with_a_word(
    tmp_path: Path, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "forget_audit")
    content, words = CHECKPOINTS[kind]
    torch.save(content, tmp_path / "checkpoint.pt")
    found = load_weights(network(1), tmp_path / "checkpoint.pt")
    assert weights_digest(found) == weights_digest(network())
    assert words.replace("entry", "the entry").split()[-1] in caplog.text


def test_wrapped_names_in_safetensors(tmp_path: Path) -> None:
    save_file(state("module."), tmp_path / "m.safetensors")
    found = load_weights(network(1), tmp_path / "m.safetensors")
    assert weights_digest(found) == weights_digest(network())


def test_names_that_the_model_uses_are_left_alone(tmp_path: Path) -> None:
    wrapped = nn.Module()
    wrapped.module = network()
    torch.save(wrapped.state_dict(), tmp_path / "m.pt")
    other = nn.Module()
    other.module = network(1)
    assert weights_digest(load_weights(other, tmp_path / "m.pt")) == weights_digest(wrapped)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"model": state(), "ema": state()}, "found 'model', 'ema' of its entries 'model', 'ema'"),
        ({"epoch": 3, "loss": 0.5}, "found none of its entries 'epoch', 'loss'"),
        ({"optimizer": {"state": {}}}, "found none of its entries 'optimizer'"),
        ([state()], "expected a state dict, found list"),
        ({**state("module."), "n_averaged": torch.tensor(1)}, r"Unexpected key\(s\)"),
        ({"state_dict": {**state(), "other": torch.zeros(1)}}, r'Unexpected key\(s\).*"other"'),
    ],
    ids=["two", "none", "optimiser", "list", "averaged", "further tensors"],
)
def test_ambiguous_checkpoints_are_refused(tmp_path: Path, content: object, message: str) -> None:
    torch.save(content, tmp_path / "checkpoint.pt")
    with pytest.raises(ModelError, match=rf"checkpoint\.pt.*{message}"):
        load_weights(network(1), tmp_path / "checkpoint.pt")


def test_messages_stay_short(tmp_path: Path) -> None:
    save_file({f"{i}" * 50: torch.zeros(1) for i in range(9)}, tmp_path / "m.safetensors")
    with pytest.raises(ModelError) as caught:
        load_weights(network(), tmp_path / "m.safetensors")
    assert len(str(caught.value)) < 600


# Folders


def sharded(folder: Path, **places: str) -> Path:
    """Write weights in two parts, as Hugging Face's libraries do."""
    folder.mkdir()
    found = state()
    names = sorted(found)
    parts = {"model-1-of-2.safetensors": names[:2], "model-2-of-2.safetensors": names[2:]}
    for part, inside in parts.items():
        save_file({name: found[name] for name in inside}, folder / part)
    index = {name: part for part, inside in parts.items() for name in inside} | places
    (folder / INDEX).write_text(json.dumps({"metadata": {}, "weight_map": index}))
    return folder


def test_parts_are_put_together(tmp_path: Path) -> None:
    found = load_weights(network(1), sharded(tmp_path / "net"))
    assert weights_digest(found) == weights_digest(network())


def test_a_folder_with_one_file(tmp_path: Path) -> None:
    (tmp_path / "net").mkdir()
    (tmp_path / "net/model.safetensors").write_bytes(safetensors_bytes(network()))
    (tmp_path / "net/config.json").write_text("{}")
    assert weights_digest(load_weights(network(1), tmp_path / "net")) == weights_digest(network())


@pytest.mark.parametrize(
    ("name", "part", "message"),
    [
        ("1.bias", "../model.safetensors", "is no safetensors file beside it"),
        ("1.bias", "weights.bin", "is no safetensors file beside it"),
        ("1.bias", "model-2-of-2.safetensors", "does not name the tensors"),
        ("further", "model-1-of-2.safetensors", "does not name the tensors"),
        ("further", "absent.safetensors", "is not a safe model file"),
    ],
)
def test_an_index_that_lies_is_refused(tmp_path: Path, name: str, part: str, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        load_weights(network(1), sharded(tmp_path / "net", **{name: part}))


def test_folders_without_weights_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="is empty"):
        load_weights(network(), tmp_path)
    (tmp_path / "pytorch_model.bin").write_bytes(b"x")
    with pytest.raises(ModelError, match=r"expected model\.safetensors or model\.safetensors\.ind"):
        load_weights(network(), tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"damaged")
    with pytest.raises(ModelError, match="is not a safe model file"):
        load_weights(network(), tmp_path)
    (tmp_path / INDEX).write_text("[]")
    with pytest.raises(ModelError, match="is not sound"):
        load_weights(network(), tmp_path)
    (tmp_path / "link.safetensors").symlink_to("model.safetensors")
    with pytest.raises(ModelError, match=r"holds the link link\.safetensors"):
        load_weights(network(), tmp_path)


def test_tied_weights_are_saved_and_loaded(tmp_path: Path) -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.two = nn.Linear(3, 3), nn.Linear(3, 3)
            self.two.weight = self.one.weight

    model, path = Tied(), tmp_path / "m.safetensors"
    path.write_bytes(safetensors_bytes(model))
    assert weights_digest(load_weights(Tied(), path)) == weights_digest(model)
