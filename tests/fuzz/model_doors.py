"""Doors of models: safetensors, state dicts, XGBoost, skops, folders of Hugging Face."""

from __future__ import annotations

import copy
import io
import json
import shutil
import tempfile
import warnings
import zipfile
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import (
    ExtraTreesClassifier,
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
)
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import GaussianNB
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from forget_audit.architectures import Architecture
from forget_audit.foreign import estimator_files
from forget_audit.foreign.boosted import Boosted
from forget_audit.foreign.estimators import Estimator
from forget_audit.model_files import load_weights, safetensors_bytes
from forget_audit.seeds import seeded_torch
from forget_audit.targets import Target
from forget_audit.types import Features, Rows
from tests.foreign.rows import WIDTH, classifier, features, labels
from tests.fuzz.doors import Door
from tests.fuzz.scratch import scratch

CLASSES = 3
FEATURES = features(8)
TREES = {"max_depth": 2, "random_state": 1}
FITTED: Mapping[str, Any] = {
    "RandomForestClassifier": RandomForestClassifier(2, **TREES),
    "ExtraTreesClassifier": ExtraTreesClassifier(1, **TREES),
    "GradientBoostingClassifier": GradientBoostingClassifier(n_estimators=1, **TREES),
    "HistGradientBoostingClassifier": HistGradientBoostingClassifier(max_iter=1, **TREES),
    "CalibratedClassifierCV": CalibratedClassifierCV(LogisticRegression(), cv=2),
    "MLPClassifier": MLPClassifier((3,), solver="lbfgs", max_iter=300, tol=0.1, random_state=1),
    "Pipeline": make_pipeline(StandardScaler(), LogisticRegression()),
    "LogisticRegression": LogisticRegression(),
    "GaussianNB": GaussianNB(),
}


def network() -> torch.nn.Module:
    with seeded_torch(0):
        return Architecture(
            name="mlp", shape=(WIDTH,), n_classes=CLASSES, options={"hidden": [4]}
        ).build()


def asked(model: torch.nn.Module, x: Features = FEATURES) -> torch.nn.Module:
    """Ask a loaded model, and see that its answers are numbers."""
    rows = Rows(x=x, y=np.zeros(len(x), dtype=np.int64), ids=np.arange(len(x)).astype(np.str_))
    answers = Target(model).logits(rows)
    assert answers.shape == (len(x), CLASSES)
    assert np.isfinite(answers).all()
    return model


def enter_safetensors(data: bytes, folder: Path) -> object:
    path = folder / "model.safetensors"
    path.write_bytes(data)
    return asked(load_weights(network(), path))


def enter_torch(data: bytes, folder: Path) -> object:
    path = folder / "model.pt"
    path.write_bytes(data)
    return asked(load_weights(network(), path))


def state_dicts() -> Sequence[bytes]:
    state = network().state_dict()
    made = []
    kinds: tuple[tuple[object, bool], ...] = (
        (state, True), ({"state_dict": state, "epoch": 3}, True), (state, False),
        ({f"module.{name}": value.half() for name, value in state.items()}, True),
    )  # fmt: skip
    for content, zipped in kinds:
        buffer = io.BytesIO()
        torch.save(content, buffer, _use_new_zipfile_serialization=zipped)
        made.append(buffer.getvalue())
    return made


def _sharded() -> bytes:
    """Two ends in one input: an index, a zero byte, a file of weights."""
    places = dict.fromkeys(network().state_dict(), "model-1.safetensors")
    index = {"metadata": {"total_size": 1}, "weight_map": places}
    return json.dumps(index).encode()


def enter_index(data: bytes, folder: Path) -> object:
    """Read a folder of parts whose index is the given one."""
    parts = folder / "parts"
    parts.mkdir()
    (parts / "model.safetensors.index.json").write_bytes(data)
    (parts / "model-1.safetensors").write_bytes(safetensors_bytes(network()))
    return asked(load_weights(network(), parts))


def boosters() -> Sequence[bytes]:
    found = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what the library says of its linear boosters
        for form in ("json", "ubj"):
            for kind in ("gbtree", "dart", "gblinear"):
                booster = classifier(CLASSES, booster=kind).get_booster()
                kept = booster if kind == "gblinear" else booster[:1]
                found.append(bytes(kept.save_raw(form)))
    return found


def enter_boosted(data: bytes, folder: Path) -> object:
    path = folder / ("model.json" if data[1:2] in (b'"', b"\n", b" ") else "model.ubj")
    path.write_bytes(data)
    return asked(load_weights(Boosted(WIDTH, CLASSES), path))


@cache
def fitted(name: str) -> Any:
    """Return a fitted classifier; never change it."""
    return copy.deepcopy(FITTED[name]).fit(features(60), labels(CLASSES, 60))


def estimators() -> Sequence[bytes]:
    return [estimator_files.dumps(fitted(name)) for name in FITTED]


def enter_skops(data: bytes, folder: Path) -> object:
    """Load a file into a model of the kind that it says to hold."""
    path = folder / "model.skops"
    path.write_bytes(data)
    try:
        with zipfile.ZipFile(path) as archive:
            name = str(json.loads(archive.read("schema.json"))["__class__"])
    except Exception:  # noqa: BLE001 damaged: any template will do
        name = ""
    template = FITTED.get(name, FITTED["RandomForestClassifier"])
    return asked(load_weights(Estimator(copy.deepcopy(template), WIDTH, CLASSES), path))


@cache
def hub_folder() -> Path:
    """Return a folder that transformers wrote; never change it."""
    transformers: Any = import_module("transformers")
    config = transformers.ViTConfig(
        hidden_size=8, image_size=8, patch_size=4, num_channels=1, num_labels=CLASSES,
        num_hidden_layers=1, num_attention_heads=2, intermediate_size=8,
    )  # fmt: skip
    folder = Path(tempfile.mkdtemp(prefix="hub-", dir=scratch())) / "hub"
    with seeded_torch(1):
        made = transformers.AutoModelForImageClassification.from_config(config)
    made.save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(
        json.dumps({"do_normalize": True, "image_mean": [0.5], "image_std": [0.5]}), "utf-8"
    )
    return folder


def hub_door(name: str, file: str, suffix: str) -> Door:
    """Return the door of one file of a folder of transformers."""

    def enter(data: bytes, folder: Path) -> object:
        place = folder.with_name(
            f"{name}-data"
        )  # beside the case, so that it is made once a worker
        if not place.is_dir():
            shutil.copytree(hub_folder(), place)
        (place / file).write_bytes(data)
        shape = (1, 8, 8)
        made = Architecture(
            name=f"hf:{place.name}", shape=shape, n_classes=CLASSES, folder=place.parent
        )
        with seeded_torch(0):
            model = load_weights(made.build(), place)
        return asked(model, np.zeros((2, *shape), dtype=np.float32))

    return Door(
        name=name,
        seeds=lambda: [(hub_folder() / file).read_bytes()],
        enter=enter,
        suffix=suffix,
        share=0.1,
    )


def enter_hub_sklearn(data: bytes, folder: Path) -> object:
    """Read a folder of scikit-learn whose `config.json` is the given one."""
    place = folder / "hub"
    place.mkdir()
    (place / "config.json").write_bytes(data)
    (place / "model.skops").write_bytes(estimator_files.dumps(fitted("GaussianNB")))
    made = Architecture(name="hf:hub", shape=(WIDTH,), n_classes=CLASSES, folder=folder)
    return asked(load_weights(made.build(), place))


SKLEARN = {"sklearn": {"model": {"file": "model.skops"}, "model_format": "skops"}}
DOORS: tuple[Door, ...] = (
    Door(
        name="weights-safetensors",
        seeds=lambda: [safetensors_bytes(network())],
        enter=enter_safetensors,
        suffix=".safetensors",
        dictionary=(b'"F32"', b'"F64"', b'"I64"', b'"BF16"', b'"BOOL"', b'"C64"', b'"F8_E4M3"'),
    ),
    Door(
        name="weights-torch", seeds=state_dicts, enter=enter_torch, suffix=".pt", share=0.5,
        dictionary=(b"\x86", b"q\x01", b"h\x01", b"cos\nsystem\n", b"ctorch\nFloatStorage\n",
                    b"ctorch\nLongStorage\n", b"ctorch._utils\n_rebuild_tensor_v2\n", b"R", b"t"),
    ),
    Door(
        name="weights-index", seeds=lambda: [_sharded()], enter=enter_index, suffix=".json",
        share=0.5,
    ),
    Door(name="xgboost-json", seeds=lambda: boosters()[:3], enter=enter_boosted, suffix=".json"),
    Door(
        name="xgboost-ubjson", seeds=lambda: boosters()[3:], enter=enter_boosted,
        dictionary=(b"[$U#L", b"[$Z#l\x00\x00\x10\x00", b"[$d#l", b"{", b"}", b"[", b"]", b"S"),
    ),
    Door(name="skops", seeds=estimators, enter=enter_skops, suffix=".skops", share=0.2),
    hub_door("hub-config", "config.json", ".json"),
    hub_door("hub-weights", "model.safetensors", ".safetensors"),
    hub_door("hub-preprocessor", "preprocessor_config.json", ".json"),
    Door(
        name="hub-sklearn",
        seeds=lambda: [json.dumps(SKLEARN).encode()],
        enter=enter_hub_sklearn,
        suffix=".json",
        share=0.3,
    ),
)  # fmt: skip
