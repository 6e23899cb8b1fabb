"""Model files made to take all memory or time, to crash the process, or to be mended in silence."""

import copy
import io
import json
import os
import time
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.ensemble import GradientBoostingClassifier
from torch import nn

from forget_audit import packed
from forget_audit.architectures import Architecture
from forget_audit.errors import ModelError
from forget_audit.foreign import estimator_files, ubjson
from forget_audit.foreign.boosted_files import read_boosted
from forget_audit.foreign.estimators import Estimator
from forget_audit.model_files import INDEX, load_weights, safetensors_bytes
from forget_audit.packed import check_pickle
from forget_audit.zoo.hub_folders import normalisation, read_config
from forget_audit.zoo.hugging_face import Networks
from tests.foreign.rows import WIDTH, classifier, features, labels

pytest.importorskip("skops", reason="needs the package skops")


def network() -> nn.Module:
    return Architecture(name="linear", shape=(WIDTH,), n_classes=3).build()


def refuses(model: nn.Module, path: Path, message: str) -> None:
    start = time.process_time()
    with pytest.raises(ModelError, match=message):
        load_weights(model, path)
    assert time.process_time() - start < 10


def saved(path: Path, state: object) -> Path:
    torch.save(state, path)
    return path


def pairs(depth: int) -> bytes:
    """Instructions for a pair of a pair twice, which is a pair of a pair twice, and so on."""
    return b"K\x01K\x01\x86" + b"".join(b"q%ch%c\x86" % (i, i) for i in range(1, depth))


def test_names_of_pairs_of_pairs(tmp_path: Path) -> None:
    """Their hash is asked for, which takes 2^40 steps."""
    path = tmp_path / "weights.pt"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("weights/data.pkl", b"\x80\x02}" + pairs(40) + b"K\x01s.")
        file.writestr("weights/version", "3\n")
    refuses(network(), path, r"weights\.pt is not a safe model file \(a tuple holds 1,0")
    path.write_bytes(b"\x80\x02}" + pairs(40) + b"K\x01s.")
    refuses(network(), path, "a tuple holds 1,0")


def test_ordinary_tuples_are_followed() -> None:
    check_pickle(io.BytesIO(b"\x80\x02" + pairs(10) + b"."))
    check_pickle(io.BytesIO(b"\x80\x02(" + b"K\x01" * 1000 + b"t."))
    with pytest.raises(ValueError, match="damaged"):
        check_pickle(io.BytesIO(b"\x80\x02h\x07."))


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "before 1.6"])
def test_ordinary_files_of_torch_are_read(zipped: bool, tmp_path: Path) -> None:
    path, model = tmp_path / "weights.pt", network()
    torch.save(model.state_dict(), path, _use_new_zipfile_serialization=zipped)
    assert load_weights(network(), path) is not None


def test_a_bomb_of_torch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packed, "MODEST", 2**20)
    plain = saved(tmp_path / "plain.pt", {"weight": torch.zeros(2**20)})
    path = tmp_path / "weights.pt"
    with (
        zipfile.ZipFile(plain) as old,
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as new,
    ):
        for name in old.namelist():
            new.writestr(name, old.read(name))
    refuses(network(), path, "times its size")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.to(torch.int64), "found torch.int64"),
        (lambda t: t.to(torch.complex64), "found torch.complex64"),
        (lambda t: t * float("nan"), "numbers that are not finite, in "),
        (lambda t: t / 0, "numbers that are not finite, in "),
    ],
    ids=["whole", "complex", "nan", "infinite"],
)
def test_numbers_of_another_kind_are_not_turned(change: Any, message: str, tmp_path: Path) -> None:
    model = network()
    state = {name: change(value) for name, value in model.state_dict().items()}
    refuses(model, saved(tmp_path / "weights.pt", state), message)


def test_half_and_double_precision_are_read(tmp_path: Path) -> None:
    for dtype in (torch.float16, torch.bfloat16, torch.float64):
        state = {name: value.to(dtype) for name, value in network().state_dict().items()}
        load_weights(network(), saved(tmp_path / "weights.pt", state))


def test_a_pipe_is_no_model(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "model.pt")
    refuses(network(), tmp_path / "model.pt", "neither a file nor a folder")


@pytest.mark.parametrize(
    "index",
    [
        b"[" * 100_000,
        b'{"weight_map": {"a": 1}}',
        b'{"weight_map": {"a": "x\\u0000.safetensors"}}',
    ],
    ids=["deep", "number", "zero byte"],
)
def test_an_index_that_is_none(index: bytes, tmp_path: Path) -> None:
    (tmp_path / INDEX).write_bytes(index)
    (tmp_path / "model.safetensors").write_bytes(safetensors_bytes(network()))
    refuses(network(), tmp_path, INDEX)


# Folders of Hugging Face


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ("[" * 100_000, "cannot be read"),
        ('{"num_labels": 1000000000}', "num_labels of at most 100,000"),
        ('{"num_hidden_layers": 1000000}', "num_hidden_layers of at most 1,000"),
        ('{"text_config": {"depths": [2, 100000]}}', "depths of at most 1,000"),
        (f'{{"num_layers": {"9" * 4000}}}', "num_layers of at most 1,000"),
        (f'{{"depths": {"[" * 950}2000{"]" * 950}}}', "depths of at most 1,000|cannot be read"),
    ],
    ids=["deep", "classes", "layers", "inside", "digits", "lists"],
)
def test_counts_that_never_end(config: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(config, encoding="utf-8")
    with pytest.raises(ModelError, match=message):
        read_config(tmp_path)


@pytest.mark.parametrize("listed", [[1.5], 5, "ViTForImageClassification", [None]])
def test_architectures_that_are_no_names(listed: object, tmp_path: Path) -> None:
    pytest.importorskip("transformers", reason="needs the package transformers")
    config = {"model_type": "vit", "architectures": listed}
    (tmp_path / "config.json").write_text(json.dumps(config), encoding="utf-8")
    with pytest.raises(ModelError, match=r"names the architecture|transformers refuses"):
        Networks(tmp_path)


@pytest.mark.parametrize(
    "table",
    ['{"do_normalize": true, "image_mean": [NaN], "image_std": [1]}',
     '{"do_normalize": true, "image_mean": [0], "image_std": [Infinity]}',
     '{"do_normalize": true, "image_mean": [0], "image_std": [' + "9" * 400 + "]}", "[" * 100_000],
    ids=["nan", "infinite", "digits", "deep"],
)  # fmt: skip
def test_means_that_are_no_numbers(table: str, tmp_path: Path) -> None:
    (tmp_path / "preprocessor_config.json").write_text(table, encoding="utf-8")
    with pytest.raises(ModelError, match="preprocessor_config"):
        normalisation(tmp_path)


# XGBoost


def boosted() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(classifier(3).get_booster().save_raw("json"))
    return found


def test_a_billion_classes_without_a_tree() -> None:
    document = boosted()
    document["learner"]["learner_model_param"] |= {"num_class": "999999999", "base_score": "0"}
    model = document["learner"]["gradient_booster"]["model"]
    model["gbtree_model_param"]["num_trees"] = "0"
    model |= {"trees": [], "tree_info": [], "iteration_indptr": [0]}
    assert read_boosted(json.dumps(document).encode()).n_classes == 999_999_999


def test_categories_that_are_a_list() -> None:
    document = boosted()
    document["learner"]["gradient_booster"]["model"]["cats"] = [1]
    with pytest.raises(ModelError, match="no sound model file of XGBoost"):
        read_boosted(json.dumps(document).encode())


def test_values_of_nothing_in_lists_of_lists() -> None:
    """Each eight bytes announce as many values as there are bytes left."""
    some = b"[$Z#l\x00\x00\xff\xff" * 30_000
    with pytest.raises(ValueError, match="a type of their own"):
        ubjson.loads(b"[" + some)


# scikit-learn


def fitted() -> GradientBoostingClassifier:
    made = GradientBoostingClassifier(n_estimators=1, max_depth=1, random_state=1)
    return made.fit(features(60), labels(3, 60))


def fresh(model: Any) -> Estimator:
    return Estimator(copy.deepcopy(model), WIDTH, 3)


def skops(path: Path, model: object) -> Path:
    path.write_bytes(estimator_files.dumps(model))
    return path


def test_more_trees_than_classes_write_beyond_memory(tmp_path: Path) -> None:
    """scikit-learn 1.5 and later: heap corruption, and the file was taken for a good one."""
    model = fitted()
    model.estimators_ = np.repeat(model.estimators_, 3, axis=1)
    path = skops(tmp_path / "model.skops", model)
    refuses(fresh(fitted()), path, "boosted trees that do not fit their classes")
    load_weights(fresh(fitted()), skops(path, fitted()))


def test_an_array_that_is_named_again_and_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packed, "MODEST", 2**24)
    array: Any = {
        "__class__": "ndarray", "__module__": "numpy", "__loader__": "NdArrayNode",
        "type": "numpy", "file": "1.npy",
    }  # fmt: skip
    schema = {
        "__class__": "list", "__module__": "builtins", "__loader__": "ListNode",
        "content": [array] * 200, "protocol": 2,
    }  # fmt: skip
    buffer = io.BytesIO()
    np.save(buffer, np.zeros(2**17))
    path = tmp_path / "model.skops"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("schema.json", json.dumps(schema))
        file.writestr("1.npy", buffer.getvalue())
    refuses(fresh(fitted()), path, "times its size")


@pytest.mark.parametrize("steps", [[1, 2], [], 5], ids=["numbers", "none", "one"])
def test_steps_that_are_none(steps: object, tmp_path: Path) -> None:
    model: Any = fitted()
    model.steps = steps
    refuses(fresh(fitted()), skops(tmp_path / "model.skops", model), r"model\.skops")
