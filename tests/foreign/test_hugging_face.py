"""Folders of Hugging Face's libraries: networks of transformers, the user's own, scikit-learn."""

import json
import os
import shutil
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from forget_audit.architectures import Architecture
from forget_audit.errors import MissingDependency, ModelError
from forget_audit.foreign import estimator_files
from forget_audit.model_files import load_weights, safetensors_bytes
from forget_audit.seeds import seeded_torch
from forget_audit.targets import Target, weights_digest
from forget_audit.zoo import foreign_names
from forget_audit.zoo.hub_folders import OFFLINE, offline
from tests.foreign.rows import features, labels

transformers: Any = pytest.importorskip("transformers", reason="needs the package transformers")
SHAPES: dict[str, tuple[int, ...]] = {"vit": (1, 8, 8), "resnet": (3, 8, 8), "bert": (12,)}


def configs() -> dict[str, Any]:
    small = {"num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    return {
        "vit": transformers.ViTConfig(
            hidden_size=16, image_size=8, patch_size=4, num_channels=1, num_labels=3, **small
        ),
        "resnet": transformers.ResNetConfig(
            num_channels=3, embedding_size=4, hidden_sizes=[4], depths=[1], num_labels=3
        ),
        "bert": transformers.BertConfig(
            hidden_size=16, vocab_size=50, max_position_embeddings=12, num_labels=3, **small
        ),
    }


@cache
def network(name: str) -> Any:
    """A network with weights of its own; never change it."""
    kind = "SequenceClassification" if name == "bert" else "ImageClassification"
    with seeded_torch(1):
        return getattr(transformers, f"AutoModelFor{kind}").from_config(configs()[name]).eval()


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of model folders; never change it."""
    folder = tmp_path_factory.mktemp("models")
    for name in SHAPES:
        network(name).save_pretrained(folder / name)
    return folder


def architecture(saved: Path, name: str, **changes: Any) -> Architecture:
    wanted = {"name": f"hf:{name}", "shape": SHAPES.get(name, (5,)), "n_classes": 3}
    return Architecture(**{**wanted, "folder": saved, **changes})


def batch(name: str) -> torch.Tensor:
    rng = torch.Generator().manual_seed(0)
    if name == "bert":
        return torch.randint(0, 50, (4, 12), generator=rng).float()
    return torch.rand((4, *SHAPES[name]), generator=rng)


def answers(name: str, x: torch.Tensor) -> torch.Tensor:
    if name == "bert":
        ids = x.long()
        out = network(name)(input_ids=ids, attention_mask=(ids != 0).long())
    else:
        out = network(name)(pixel_values=x)
    logits: torch.Tensor = out.logits
    return logits


@pytest.mark.parametrize("name", SHAPES)
def test_saved_networks_answer_as_they_did(saved: Path, name: str) -> None:
    model = load_weights(architecture(saved, name).build(), saved / name)
    assert torch.allclose(model(batch(name)), answers(name, batch(name)), atol=1e-6)
    assert not model.training
    assert Target(model).access == "weights"


@pytest.mark.parametrize("name", SHAPES)
def test_fresh_networks_come_from_the_seed(saved: Path, name: str, tmp_path: Path) -> None:
    built = []
    for seed in (2, 2, 3):
        with seeded_torch(seed):
            built.append(architecture(saved, name).build())
    one, same, other = built
    assert weights_digest(one) == weights_digest(same) != weights_digest(other)
    loaded = load_weights(architecture(saved, name).build(), saved / name)
    assert weights_digest(loaded) != weights_digest(one)
    one(batch(name)).sum().backward()
    assert all(p.grad is not None for p in one.parameters() if p.requires_grad)
    (tmp_path / "own.safetensors").write_bytes(safetensors_bytes(one))
    again = load_weights(other, tmp_path / "own.safetensors")
    assert weights_digest(again) == weights_digest(one)


def test_padding_is_not_looked_at(saved: Path) -> None:
    model = load_weights(architecture(saved, "bert").build(), saved / "bert")
    x = batch("bert")
    x[:, 6:] = 0
    short = network("bert")(input_ids=x[:, :6].long()).logits
    assert torch.allclose(model(x), short, atol=1e-5)
    with pytest.raises(ModelError, match="expected token ids from 0 to 49, found 0 to 50"):
        model(torch.tensor([[0.0] * 11 + [50.0]]))


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("vit", {"n_classes": 4}, r"vit answers for 3 classes \(id2label\), the data have 4"),
        ("vit", {"shape": (64,)}, "vit takes images of 1 channels and 8 x 8 pixels, found rows"),
        ("vit", {"shape": (1, 9, 9)}, "read the images at that size"),
        ("resnet", {"shape": (1, 8, 8)}, "resnet takes images of 3 channels and any size"),
        ("bert", {"shape": (13,)}, "bert takes up to 12 token ids"),
        ("bert", {"shape": (1, 12)}, "bert takes up to 12 token ids"),
        ("absent", {}, "there is no folder absent; models are read from the disk alone"),
        ("vit", {"options": {"hidden": 2}}, "does not accept"),
    ],
)
def test_rows_that_do_not_fit_are_refused(
    saved: Path, name: str, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ModelError, match=message):
        architecture(saved, name, **changes).build()


def changed(folder: Path, target: Path, change: Callable[[dict[str, Any]], object]) -> Path:
    shutil.copytree(folder, target)
    table = json.loads((target / "config.json").read_text())
    change(table)
    (target / "config.json").write_text(json.dumps(table))
    return target


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.update(auto_map={"AutoModel": "code.Net"}), "'auto_map'; models with code of"),
        (lambda t: t.update(quantization_config={}), "'quantization_config'"),
        (lambda t: t.update(architectures=["ViTModel"]), r"names the architecture \['ViTModel'\]"),
        (lambda t: t.update(model_type="unheard"), "transformers refuses it"),
        (lambda t: t.pop("model_type"), r'expected options \{class = "package.module:Class"\}'),
    ],
    ids=["code", "quantised", "no classifier", "unknown", "no type"],
)
def test_other_folders_are_refused(
    saved: Path, tmp_path: Path, change: Callable[[dict[str, Any]], object], message: str
) -> None:
    changed(saved / "vit", tmp_path / "vit", change)
    with pytest.raises(ModelError, match=message):
        architecture(tmp_path, "vit").build()


def test_adapters_links_and_lists_are_refused(saved: Path, tmp_path: Path) -> None:
    shutil.copytree(saved / "vit", tmp_path / "vit")
    (tmp_path / "vit/adapter_config.json").write_text("{}")
    with pytest.raises(ModelError, match="holds an adapter"):
        architecture(tmp_path, "vit").build()
    (tmp_path / "vit/adapter_config.json").unlink()
    (tmp_path / "vit/weights.safetensors").symlink_to(saved / "vit/model.safetensors")
    with pytest.raises(ModelError, match=r"holds the link weights\.safetensors"):
        architecture(tmp_path, "vit").build()
    (tmp_path / "vit/weights.safetensors").unlink()
    (tmp_path / "vit/config.json").write_text("[]")
    with pytest.raises(ModelError, match=r"vit/config\.json is no table"):
        architecture(tmp_path, "vit").build()


def test_weights_of_another_network_are_refused(saved: Path, tmp_path: Path) -> None:
    model = architecture(saved, "vit").build()
    with pytest.raises(ModelError, match=r"bert: it is another network, config\.json differs in"):
        load_weights(model, saved / "bert")
    relu = changed(saved / "vit", tmp_path / "relu", lambda t: t.update(hidden_act="relu"))
    with pytest.raises(ModelError, match=r"config\.json differs in hidden_act"):
        load_weights(model, relu)
    named = changed(
        saved / "vit", tmp_path / "named", lambda t: t.update(id2label=dict.fromkeys("012", "x"))
    )
    load_weights(model, named)


def test_incomplete_and_damaged_weights_are_refused(saved: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    model = architecture(saved, "vit").build()
    before = weights_digest(model)
    folder = shutil.copytree(saved / "vit", tmp_path / "vit")
    state = load_file(folder / "model.safetensors")
    save_file(
        {k: v for k, v in state.items() if k != "classifier.bias"}, folder / "model.safetensors"
    )
    with pytest.raises(ModelError, match=r"missing_keys: classifier\.bias"):
        load_weights(model, folder)
    (folder / "model.safetensors").write_bytes(b"damaged")
    with pytest.raises(ModelError, match="vit: transformers refuses it"):
        load_weights(model, folder)
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(b"\x80\x04N.")
    with pytest.raises(ModelError, match="vit: transformers refuses it"):
        load_weights(model, folder)
    assert weights_digest(model) == before


def test_a_single_file_of_a_folder_asks_for_the_folder(saved: Path) -> None:
    with pytest.raises(ModelError, match="give the folder that it was saved in"):
        load_weights(architecture(saved, "bert").build(), saved / "vit/model.safetensors")


def test_pixels_are_normalised_as_the_folder_says(saved: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(saved / "vit", tmp_path / "vit")
    table = {"do_normalize": True, "image_mean": [0.5], "image_std": [0.25]}
    (folder / "preprocessor_config.json").write_text(json.dumps(table))
    x, expected = batch("vit"), answers("vit", (batch("vit") - 0.5) / 0.25)
    model = load_weights(architecture(tmp_path, "vit").build(), folder)
    assert torch.allclose(model(x), expected, atol=1e-5)
    already = architecture(tmp_path, "vit", options={"normalised": True}).build()
    assert torch.allclose(load_weights(already, folder)(x), answers("vit", x), atol=1e-5)
    (folder / "preprocessor_config.json").write_text(json.dumps({**table, "image_std": [0.0]}))
    with pytest.raises(ModelError, match="expected a mean and a std a channel"):
        architecture(tmp_path, "vit").build()


def test_the_network_cannot_be_reached_meanwhile() -> None:
    import huggingface_hub.constants as hub

    before = {name: os.environ.get(name) for name in OFFLINE}
    reachable = hub.HF_HUB_OFFLINE
    with offline() as library:
        assert hub.HF_HUB_OFFLINE
        assert os.environ["HF_HUB_OFFLINE"] == "1"
        assert library.__name__ == "transformers"
    assert {name: os.environ.get(name) for name in OFFLINE} == before
    assert hub.HF_HUB_OFFLINE is reachable


def test_without_transformers_the_line_that_installs_it_is_named(
    saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(MissingDependency, match=r'pip install "forget-audit\[hf\]"'):
        architecture(saved, "vit").build()


# Folders of other libraries


class Tabular(nn.Module):
    """A network of a user's own, saved with `PyTorchModelHubMixin`."""

    def __init__(self, width: int, hidden: int, n_classes: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(width, hidden), nn.ReLU(), nn.Linear(hidden, n_classes)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.layers(x)
        return found


def test_networks_of_the_users_own(tmp_path: Path) -> None:
    import huggingface_hub

    kind = type("Saved", (Tabular, huggingface_hub.PyTorchModelHubMixin), {})
    model = kind(width=5, hidden=4, n_classes=3)
    model.save_pretrained(tmp_path / "net")
    options = {"class": f"{__name__}:Tabular"}
    found = load_weights(architecture(tmp_path, "net", options=options).build(), tmp_path / "net")
    assert isinstance(found, Tabular)
    assert weights_digest(found) == weights_digest(model)
    changed(tmp_path / "net", tmp_path / "other", lambda t: [t.pop("hidden"), t.pop("n_classes")])
    other = {"class": f"{__name__}:not_a_network"}
    with pytest.raises(ModelError, match=r"must be a torch\.nn\.Module, found slice"):
        architecture(tmp_path, "other", options=other).build()


def not_a_network(width: int) -> object:
    return slice(width)


def forest_folder(folder: Path, model_format: str = "skops", file: str = "model.skops") -> Path:
    from sklearn.ensemble import RandomForestClassifier

    model = RandomForestClassifier(3, max_depth=2, random_state=1).fit(features(), labels(3))
    folder.mkdir()
    (folder / "model.skops").write_bytes(estimator_files.dumps(model))
    table = {"sklearn": {"model": {"file": file}, "model_format": model_format}}
    (folder / "config.json").write_text(json.dumps(table))
    return folder


def test_folders_of_skops(tmp_path: Path) -> None:
    pytest.importorskip("skops", reason="needs the package skops")
    folder = forest_folder(tmp_path / "forest")
    fresh = architecture(tmp_path, "forest").build()
    assert fresh.content() == b""  # type: ignore[operator]
    model = load_weights(fresh, folder)
    assert model.content() == (folder / "model.skops").read_bytes()  # type: ignore[operator]
    again: Any = architecture(tmp_path, "forest").build()
    again.fit(features(), labels(3), 5)
    assert again.model.get_params()["max_depth"] == 2
    assert np.isfinite(again.answers(features())).all()
    with pytest.raises(ModelError, match="expected a model of 4 numbers a row, found 5"):
        architecture(tmp_path, "forest", shape=(4,)).build()
    with pytest.raises(ModelError, match="expected classes 0 to 1"):
        architecture(tmp_path, "forest", n_classes=2).build()


@pytest.mark.parametrize(
    ("model_format", "file", "message"),
    [
        ("pickle", "model.pkl", "pickles can run code"),
        ("skops", "model.pkl", "pickles can run code"),
        ("skops", "../model.skops", "which is no file beside it"),
        ("skops", "absent.skops", "which is no file beside it"),
        ("skops", 9000 * "a" + ".skops", "which is no file beside it"),
    ],
)
def test_other_files_of_scikit_learn_are_refused(
    tmp_path: Path, model_format: str, file: str, message: str
) -> None:
    forest_folder(tmp_path / "forest", model_format, file)
    with pytest.raises(ModelError, match=message):
        architecture(tmp_path, "forest").build()


def test_what_a_model_depends_on_follows_its_folder(saved: Path, tmp_path: Path) -> None:
    first = foreign_names.content("hf:vit", saved)
    folder = changed(saved / "vit", tmp_path / "vit", lambda t: t.update(hidden_act="relu"))
    assert foreign_names.content("hf:vit", tmp_path) != first
    assert foreign_names.content("hf:vit", folder.parent) == foreign_names.content(
        "hf:vit", tmp_path
    )
    assert foreign_names.content("xgboost", saved).startswith("xgboost ")
    assert foreign_names.content("mlp", saved) == ""
