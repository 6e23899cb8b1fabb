"""Targets, architectures, and model files that try to run code."""

import os
import pickle  # noqa: TID251 the hostile file is made here
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from forget_audit.architectures import Architecture
from forget_audit.errors import AccessError, ModelError
from forget_audit.model_files import load_weights, safetensors_bytes
from forget_audit.seeds import seeded_torch
from forget_audit.targets import Target, weights_digest
from forget_audit.types import Rows

ROWS = Rows(
    x=np.linspace(-1, 1, 30, dtype=np.float32).reshape(10, 3),
    y=np.arange(10) % 2,
    ids=np.array([f"r{i}" for i in range(10)]),
)


def mlp() -> nn.Module:
    with seeded_torch(0):
        return Architecture(name="mlp", shape=(3,), n_classes=2).build()


class Bomb:
    """Runs a command when unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (f"touch {self.marker}",)


@pytest.mark.parametrize("name", ["model.pt", "model.pth", "model.bin", "model.safetensors"])
@pytest.mark.parametrize("form", ["zip", "legacy", "plain"])
def test_a_pickle_with_a_planted_command_is_refused_and_nothing_runs(
    tmp_path: Path, name: str, form: str
) -> None:
    marker, path = tmp_path / "it-ran", tmp_path / name
    bomb = {"1.weight": Bomb(marker)}
    if form == "plain":
        path.write_bytes(pickle.dumps(bomb))
    else:
        torch.save(bomb, path, _use_new_zipfile_serialization=form == "zip")
    if form == "zip":
        assert zipfile.is_zipfile(path)
    with pytest.raises(ModelError, match="is not a safe model file"):
        load_weights(mlp(), path)
    assert not marker.exists()


@pytest.mark.parametrize(
    "content",
    [b"", b"a,label\n1,0\n", b'{"a": 1}', b"\x89PNG\r\n\x1a\n", b"\xff\xfea\x00"],
    ids=["empty", "table", "json", "picture", "utf-16"],
)
def test_a_file_that_is_no_model_is_called_none(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "model.pt").write_bytes(content)
    with pytest.raises(ModelError, match="it is no model that torch or safetensors has w"):
        load_weights(mlp(), tmp_path / "model.pt")


def test_the_bomb_is_live(tmp_path: Path) -> None:
    marker = tmp_path / "it-ran"
    pickle.loads(pickle.dumps(Bomb(marker)))  # noqa: S301  to show that it does run
    assert marker.exists()


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_saved_weights_come_back(tmp_path: Path, suffix: str) -> None:
    model, path = mlp(), tmp_path / f"m{suffix}"
    if suffix == ".pt":
        torch.save(model.state_dict(), path)
    else:
        path.write_bytes(safetensors_bytes(model))
    other = load_weights(Architecture(name="mlp", shape=(3,), n_classes=2).build(), path)
    assert weights_digest(model) == weights_digest(other)
    assert not other.training


@pytest.mark.parametrize("content", [b"", b"x", b"\xff" * 100, b"PK\x03\x04broken"])
@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_damaged_files_are_refused(tmp_path: Path, content: bytes, suffix: str) -> None:
    path = tmp_path / f"m{suffix}"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=f"m{suffix}"):
        load_weights(mlp(), path)


def test_weights_of_another_architecture_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    save_file({"other": torch.zeros(2)}, path)
    with pytest.raises(ModelError, match="does not fit the architecture"):
        load_weights(mlp(), path)
    torch.save([1, 2], tmp_path / "m.pt")
    with pytest.raises(ModelError, match="does not fit the architecture"):
        load_weights(mlp(), tmp_path / "m.pt")


def test_unknown_architectures_and_options() -> None:
    with pytest.raises(ModelError, match="did you mean 'mlp'"):
        Architecture(name="mpl", shape=(3,), n_classes=2).build()
    with pytest.raises(ModelError, match="mlp does not accept"):
        Architecture(name="mlp", shape=(3,), n_classes=2, options={"depth": 3}).build()
    with pytest.raises(ModelError, match=r"cannot import no\.such:thing"):
        Architecture(name="no.such:thing", shape=(3,), n_classes=2).build()
    with pytest.raises(ModelError, match=r"must return a torch\.nn\.Module"):
        Architecture(name="builtins:slice", shape=(3,), n_classes=2).build()
    with pytest.raises(ModelError, match="square images"):
        Architecture(name="cnn", shape=(3,), n_classes=2).build()


@pytest.mark.parametrize("shape", [(64,), (8, 8), (3, 8, 8)])
def test_cnn_takes_flat_grey_and_coloured_images(shape: tuple[int, ...]) -> None:
    model = Architecture(name="cnn", shape=shape, n_classes=5).build()
    assert model(torch.zeros(2, *shape)).shape == (2, 5)


def test_access_is_enforced_in_order() -> None:
    target = Target(mlp())
    label = target.restricted("label")
    assert label.labels(ROWS).shape == (10,)
    with pytest.raises(
        AccessError, match="logits needs access 'score', this target allows 'label'"
    ):
        label.logits(ROWS)
    score = target.restricted("score")
    assert score.logits(ROWS).shape == (10, 2)
    for ask in (score.weights, score.model_copy, score.parameter_names):
        with pytest.raises(AccessError, match="needs access 'weights'"):
            ask()
    assert len(target.weights()) == 6


def test_queries_leave_mode_and_weights_as_they_were() -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(0.5), nn.Linear(4, 2))
    model.train()
    model[1].eval()
    before = weights_digest(model)
    first, second = Target(model).logits(ROWS), Target(model, batch_size=3).logits(ROWS)
    assert np.allclose(first, second, atol=1e-6)
    assert weights_digest(model) == before
    assert [m.training for m in model] == [True, False, True, True]


def test_models_that_answer_oddly_are_refused() -> None:
    with pytest.raises(ModelError, match=r"expected logits of shape \(10, classes\)"):
        Target(nn.Flatten(0)).logits(ROWS)
    broken = mlp()
    with torch.no_grad():
        next(broken.parameters()).fill_(float("nan"))
    with pytest.raises(ModelError, match="not finite"):
        Target(broken).logits(ROWS)


def test_answers_are_asked_once_for_the_same_rows() -> None:
    calls = []

    class Counting(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            calls.append(len(x))
            return torch.stack([x[:, 0], -x[:, 0]], dim=1)

    target = Target(Counting())
    target.logits(ROWS)
    target.restricted("score").labels(ROWS)
    assert calls == [10]
