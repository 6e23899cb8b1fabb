"""Rows that are read when they are asked for: how many, how often, and in how much memory."""

import sys
import tracemalloc
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import Dataset as TorchDataset
from torch.utils.data import TensorDataset

from forget_audit.data import Request, prepare
from forget_audit.datasets import Dataset
from forget_audit.errors import CaseError
from forget_audit.sources import images
from forget_audit.sources.loading import load
from forget_audit.streaming import as_stream
from tests.fixtures import formats

ROWS = 40


class Counted(TorchDataset[tuple[Any, Any]]):
    """A map-style data set that counts its readings."""

    def __init__(self, **attributes: Any) -> None:
        self.reads: list[int] = []
        self.x = torch.arange(ROWS * 6, dtype=torch.float32).reshape(ROWS, 2, 3)
        self.y = torch.arange(ROWS) % 4
        vars(self).update(attributes)

    def __len__(self) -> int:
        return ROWS

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        self.reads.append(index)
        return self.row(index), self.y[index]

    def row(self, index: int) -> Any:
        return self.x[index]


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    made = ModuleType("streamed_rows")
    monkeypatch.setitem(sys.modules, "streamed_rows", made)
    return made


def given(module: ModuleType, items: object) -> Dataset:
    module.items = lambda: items  # type: ignore[attr-defined]
    return load("streamed_rows:items", folder=Path())


def test_rows_are_read_when_they_are_asked_for(module: ModuleType) -> None:
    items = Counted(targets=(np.arange(ROWS) % 4).tolist())
    dataset = given(module, items)
    assert sorted(set(items.reads)) == list(range(ROWS))
    assert len(items.reads) <= ROWS + 4  # each once, and the first few times for its shape
    items.reads.clear()
    stream = as_stream(dataset.rows.x)
    assert stream is not None
    assert np.array_equal(stream[[7, 3]], items.x.numpy()[[7, 3]])
    assert items.reads == [7, 3]
    part = dataset.rows.take(np.arange(10, 13))
    items.reads.clear()
    assert np.array_equal(np.asarray(part.x), items.x.numpy()[10:13])
    assert items.reads == [10, 11, 12]


def test_labels_without_targets_are_read_too(module: ModuleType) -> None:
    items = Counted()
    dataset = given(module, items)
    assert dataset.rows.y.tolist() == (np.arange(ROWS) % 4).tolist()
    assert len(items.reads) <= 2 * ROWS + 4


def test_a_case_is_made_of_streamed_rows(module: ModuleType) -> None:
    roles = np.array(["train"] * 24 + ["test"] * 8 + ["auxiliary"] * 8)
    people = np.arange(ROWS) // 2
    dataset = given(module, Counted(split=roles, units=people, classes=["a", "b", "c", "d"]))
    assert dataset.sizes == (24, 8, 8)
    case = prepare(dataset, Request(ids=("2",)), seed=0)
    assert as_stream(case.retain.x) is not None
    assert case.forget.ids.tolist() == ["4", "5"]


def test_what_torch_users_have(module: ModuleType) -> None:
    x, y = torch.rand(12, 3), torch.randint(0, 2, (12, 5))
    dataset = given(module, TensorDataset(x, y))
    assert dataset.labels == tuple(f"label {i}" for i in range(5))
    assert np.array_equal(np.asarray(dataset.rows.x), x.numpy())

    class Painted(Counted):
        def row(self, index: int) -> Any:
            return Image.new("RGB", (4, 6), (index, 0, 255))

    painted = given(module, Painted())
    assert painted.rows.x.shape == (ROWS, 3, 6, 4)
    assert painted.rows.x[5][0, 0, 0] == pytest.approx(5 / 255)
    assert painted.rows.x[5][2].min() == 1


class Random(Counted):
    def row(self, index: int) -> Any:
        return self.x[index] + torch.rand(1)


class Ragged(Counted):
    def row(self, index: int) -> Any:
        return self.x[index] if index < 9 else self.x[index, :1]


class Holed(Counted):
    def row(self, index: int) -> Any:
        return self.x[index] * (float("nan") if index == 9 else 1)


@pytest.mark.parametrize(
    ("items", "message"),
    [
        (Random(), "a row differs from reading to reading"),
        (Ragged(), r"expected rows of \(2, 3\) finite numbers, found \(1, 3\) at position 9"),
        (Holed(), "finite numbers, found .* at position 9"),
        (Counted(targets=[3] * ROWS), "the first item's label"),
        (Counted(split=np.array(["learn"] * ROWS)), "split must be one of"),
    ],
    ids=["random", "ragged", "nan", "targets", "split"],
)
def test_items_are_checked_as_they_are_read(
    module: ModuleType, items: object, message: str
) -> None:
    with pytest.raises(CaseError, match=message):
        given(module, items)


def test_only_the_wanted_pictures_are_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    formats.make_imagefolder(tmp_path, 20)
    opened: list[str] = []
    decode = images.open_picture

    def counting(folder: Path, name: str, *, grey: bool) -> Any:
        opened.append(name)
        return decode(folder, name, grey=grey)

    monkeypatch.setattr(images, "open_picture", counting)
    dataset = load(f"imagefolder:{tmp_path}", folder=Path(), options={"limit": 6})
    ids = set(dataset.rows.ids.tolist())
    assert len(ids) == 6
    assert set(opened) == ids | {"cat/0000.png"}  # the first picture sets the size
    assert len(opened) <= 6 + 4
    opened.clear()
    assert dataset.rows.x[2:4].shape == (2, 3, 24, 24)
    assert opened == dataset.rows.ids[2:4].tolist()


def peak(path: Path, **options: Any) -> int:
    """Return the most bytes that Python and numpy held while a folder was read."""
    load(f"imagefolder:{path}", folder=Path(), options={"limit": 1})  # imports
    tracemalloc.start()
    load(f"imagefolder:{path}", folder=Path(), options=options)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return most


def test_a_streamed_folder_is_never_held_whole(tmp_path: Path) -> None:
    formats.make_imagefolder(tmp_path, 40, side=64)
    whole = 3 * 40 * 3 * 64 * 64 * 4
    assert peak(tmp_path, stream=False) > whole
    assert peak(tmp_path) < whole / 5
    assert peak(tmp_path, normalise="standard") < whole / 5
