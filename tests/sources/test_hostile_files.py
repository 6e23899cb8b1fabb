"""Files made to take all memory or time, or to be mended in silence: each is refused by name."""

import gzip
import io
import os
import shutil
import struct
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image
from scipy.io import loadmat, savemat

from forget_audit import packed
from forget_audit.errors import CaseError
from forget_audit.sources.inert_pickle import read_values
from forget_audit.sources.loading import load
from forget_audit.sources.matlab import read_matlab
from tests.fixtures import formats

ROWS = 6
X = np.arange(3 * ROWS, dtype=np.float32).reshape(ROWS, 3)
Y = np.arange(ROWS) % 2


def read(path: Path, reader: str, **options: Any) -> Any:
    dataset = load(f"{reader}:{path.name}", folder=path.parent, options=options)
    np.asarray(dataset.rows.x)
    return dataset


def refuses(path: Path, reader: str, message: str, **options: Any) -> None:
    start = time.process_time()
    with pytest.raises(CaseError, match=message):
        read(path, reader, **options)
    assert time.process_time() - start < 10


def written(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a,label\n1,0\n2\n", "row 2 has fewer cells than there are columns"),
        ("a,unit,label\n1,,0\n2,x,1\n", "row 1 has an empty id or unit"),
        ("a,label\n0_5,0\n2,1\n", "row 1, column 'a': expected a number, found '0_5'"),
        ("a,label\n1,0_1\n2,1\n", "all of them names, found '0_1' among numbers"),
        (
            ",".join(f"c{i}" for i in range(200_000)) + ",label\n" + "1\n" * 10,
            "row 1 has fewer cells",
        ),
        ("a,id,label\n1,x,0\n" + f"2,{'y' * 90_000},1\n" * 800, "'id' has a cell of 90,000"),
    ],
    ids=["short", "no unit", "underscore", "label", "columns", "long cell"],
)
def test_tables(content: str, message: str, tmp_path: Path) -> None:
    refuses(written(tmp_path / "rows.csv", content), "csv", message)


def test_long_texts_take_the_room_that_they_need(tmp_path: Path) -> None:
    lines = ["text,label", *(f"{'word ' * (20_000 if i == 3 else 1)},{i % 2}" for i in range(900))]
    path = written(tmp_path / "rows.csv", "\n".join(lines))
    assert read(path, "text", length=4).n_classes == 2


def archive(path: Path, **arrays: npt.NDArray[Any]) -> Path:
    np.savez_compressed(path, **{"x": X, "y": Y, **arrays})  # type: ignore[arg-type]
    return path


def strange(*points: int) -> npt.NDArray[np.str_]:
    """Text of numbers that stand for no character."""
    return np.array(points, dtype=np.uint32).view("<U1")


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"ids": strange(*range(97, 102), 0x7FFFFFFF)}, "'ids' holds numbers that stand for no"),
        ({"y": strange(*[0xD800] * ROWS)}, "'y' holds numbers that stand for no characters"),
        ({"ids": np.array([b"\xff", b"b", b"c", b"d", b"e", b"f"])}, "cannot read .* decode"),
        ({"ids": np.array("a")}, r"id must have one entry a row, found \(\)"),
        ({"ids": X}, r"id must have one entry a row, found \(6, 3\)"),
        ({"subclass": np.array(1)}, r"subclass must have one entry a row, found \(\)"),
        ({"unit": np.array(["a", "", "b", "c", "d", "e"])}, "row 2 has an empty id or unit"),
        ({"ids": np.zeros(ROWS, "V4")}, "expected ids of text or numbers"),
        ({"y": np.zeros(ROWS, "M8[s]")}, "labels must be whole numbers or names"),
        ({"columns": np.array(["a", "b"])}, "2 names of columns do not fit"),
        ({"classes": np.array(["a"])}, "1 names of classes, found the label 1"),
        (
            {"y": np.array(["no", "yes"])[Y], "classes": np.array(["yes", "no"])},
            "classes says otherwise",
        ),
        ({"x": np.zeros((ROWS, 0))}, "features must be finite numbers"),
        ({"x": np.zeros((2000, 100), np.float64)}, "times its size"),
    ],
    ids=["beyond", "half", "bytes", "no axis", "two axes", "one", "unit", "void", "time",
         "columns", "classes", "order", "width", "bomb"],
)  # fmt: skip
def test_archives(
    arrays: dict[str, Any], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packed, "MODEST", 2**20)
    refuses(archive(tmp_path / "rows.npz", **arrays), "npz", message)


def test_text_stored_as_bytes_is_utf8(tmp_path: Path) -> None:
    names = np.array([f"é{i}".encode() for i in range(ROWS)])
    assert read(archive(tmp_path / "rows.npz", ids=names), "npz").rows.ids[0] == "é0"


@pytest.mark.parametrize(
    "header", ["{'descr': '<f8', (((((((", "{'descr': '<f8', 'shape': (-" + "-" * 5000 + "1,)}"]
)
def test_headers_of_arrays_are_not_run(header: str, tmp_path: Path) -> None:
    content = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode()
    path = tmp_path / "rows.npz"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("x.npy", content)
    refuses(path, "npz", r"cannot read rows\.npz")


def test_what_is_no_array_is_not_left_out(tmp_path: Path) -> None:
    path = archive(tmp_path / "rows.npz")
    with zipfile.ZipFile(path, "a") as file:
        file.writestr("unit", b"")
    refuses(path, "npz", "holds 'unit', which is no array")


def test_columns_of_one_name_and_bombs_of_parquet(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    path = tmp_path / "rows.parquet"
    one = pa.array([1.0, 2.0])
    parquet.write_table(pa.table([one, one, pa.array([0, 1])], ["a", "a", "label"]), path)
    refuses(path, "parquet", "two columns called 'a'")
    n = 1 << 20
    text = pa.array(["a" * 1000]).dictionary_encode().take(pa.array(np.zeros(n, np.int32)))
    parquet.write_table(pa.table({"id": text, "label": pa.array(np.zeros(n, np.int8))}), path)
    refuses(path, "parquet", "times its size")


@pytest.mark.parametrize("reader", ["csv", "npz", "parquet", "text"])
def test_pipes_and_folders_are_no_files(reader: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "rows")
    refuses(tmp_path / "rows", reader, "rows is no regular file")


# Pictures


def folder_of(tmp_path: Path, **pictures: bytes) -> Path:
    folder = tmp_path / "data"
    for name, content in {"a": png(), **pictures}.items():
        (folder / "one").mkdir(parents=True, exist_ok=True)
        (folder / "one" / f"{name}.png").write_bytes(content)
    return folder


def png(pixels: npt.NDArray[Any] | None = None, form: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    shown = np.zeros((8, 8, 3), np.uint8) if pixels is None else pixels
    Image.fromarray(shown).save(buffer, form, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("form", ["PNG", "TIFF"])
def test_sixteen_bits_are_not_cut_off(form: str, tmp_path: Path) -> None:
    deep = np.linspace(0, 65535, 64).astype(np.uint16).reshape(8, 8)
    refuses(folder_of(tmp_path, b=png(deep, form)), "imagefolder", "expected 8 bits a channel")


def test_a_file_of_two_pictures_is_not_read_as_one(tmp_path: Path) -> None:
    more = [Image.fromarray(np.full((8, 8, 3), 9, np.uint8))]
    two = png(form="TIFF", save_all=True, append_images=more)
    refuses(folder_of(tmp_path, b=two), "imagefolder", "expected one picture, found 2")


def test_a_picture_with_a_thousand_passes(tmp_path: Path) -> None:
    """Each pass of a progressive JPEG costs its file a few bytes, and its reader all pixels."""
    data = png(np.zeros((2000, 2000), np.uint8), "JPEG", progressive=True)
    last = data[data.rindex(b"\xff\xda") : -2]
    long = data[:-2] + last * 1000 + data[-2:]
    refuses(folder_of(tmp_path, b=long), "imagefolder", "at most 100 passes", size=8)


def test_whatever_pillow_raises(tmp_path: Path) -> None:
    """A TIFF without its width ends in a TypeError there."""
    data = bytearray(png(form="TIFF"))
    width = next(i for i in range(8, len(data)) if data[i : i + 2] == b"\x00\x01")
    data[width] = 9
    refuses(
        folder_of(tmp_path, b=bytes(data)), "imagefolder", r"cannot read one/b\.png as a picture"
    )


def test_a_pipe_is_no_picture(tmp_path: Path) -> None:
    folder = folder_of(tmp_path)
    os.mkfifo(folder / "one" / "b.png")
    refuses(folder, "imagefolder", r"one/b\.png|b\.png is no regular file")


def test_links_in_a_circle(tmp_path: Path) -> None:
    folder = folder_of(tmp_path)
    for name in ("x", "y"):
        (folder / "one" / name).symlink_to(folder / "one", target_is_directory=True)
    refuses(folder, "imagefolder", "two ways lead to one folder")


# Published formats


def changed(maker: str, tmp_path: Path, file: str, change: Callable[[bytes], bytes]) -> Path:
    folder = tmp_path / "data"
    getattr(formats, f"make_{maker}")(folder)
    path = next(folder.rglob(file))
    path.write_bytes(change(path.read_bytes()))
    return folder


def nested(depth: int = 40) -> bytes:
    """Instructions for a list of a list twice, which is a list of a list twice, and so on."""
    made = b"](K\x01K\x01e"
    for place in range(2, depth):
        made = b"](" + made + b"q%ch%ce" % (place, place)
    return made


def test_lists_in_lists_and_tuples_in_tuples() -> None:
    """A hundred bytes that describe a value of 2^40 parts."""
    found = read_values(b"\x80\x02}U\x06labels" + nested() + b"s.")
    assert isinstance(found["labels"], list)
    pairs = b"K\x01K\x01\x86" + b"".join(b"q%ch%c\x86" % (i, i) for i in range(1, 40))
    start = time.process_time()
    with pytest.raises(ValueError, match="expected text, found tuple"):
        read_values(b"\x80\x02}" + pairs + b"K\x01s.")
    assert time.process_time() - start < 5


def test_labels_of_cifar_are_a_flat_list(tmp_path: Path) -> None:
    mark = b"U\x06labels]("
    folder = changed(
        "cifar10_python", tmp_path, "test_batch", lambda data: data.replace(mark, mark + nested())
    )
    refuses(folder, "cifar10", "expected a list of int")
    path = next(folder.rglob("test_batch"))
    path.write_bytes(path.read_bytes()[:-2] + b"U\x06labels](K\x01eu.")
    refuses(folder, "cifar10", "a name occurs twice in one table")


@pytest.mark.parametrize("content", [b"\x80\x02}U\x0blabel_namesK\x05s.", b"\x80\x02}."])
def test_names_of_classes_that_are_none(content: bytes, tmp_path: Path) -> None:
    folder = changed("cifar10_python", tmp_path, "test_batch", lambda data: data)
    (folder / "cifar-10-batches-py" / "batches.meta").write_bytes(content)
    refuses(folder, "cifar10", "holds no list label_names")
    shutil.rmtree(folder)
    short = changed("cifar10", tmp_path, "batches.meta.txt", lambda data: data[10:])
    refuses(short, "cifar10", "expected 10 names, found 9")


@pytest.mark.parametrize(
    ("maker", "file", "change", "message"),
    [
        ("celeba", "list_attr*", lambda d: d[: d.rindex(b"\n", 0, -1) + 1], "announces 140 rows"),
        ("celeba", "list_attr*", lambda d: d.replace(b"Bald", b"Bangs", 1), "each attribute once"),
        ("celeba", "identity*", lambda d: d + b"000001.jpg 7\n", "expected each picture once"),
        ("mucac", "*identity*", lambda d: d.replace(b" ", b" " + b"1" * 5000, 1), "a whole number"),
        ("mufac", "custom_val*", lambda d: d.replace(b"\n1,", b"\n1,x,", 1), "as many cells as"),
        ("mufac", "custom_val*", lambda d: d.replace(b"family_id", b"age_class", 1), "two columns"),
    ],
    ids=["cut off", "attribute", "person", "number", "cells", "columns"],
)
def test_tables_of_faces(
    maker: str, file: str, change: Callable[[bytes], bytes], message: str, tmp_path: Path
) -> None:
    refuses(changed(maker, tmp_path, file, change), maker, message)


def mat(**content: Any) -> bytes:
    buffer = io.BytesIO()
    savemat(buffer, content)  # type: ignore[arg-type]
    return buffer.getvalue()


def test_cells_and_doubles_in_matlab_files(tmp_path: Path) -> None:
    """scipy's reader follows cells within cells without end, and breaks."""
    cell: Any = np.zeros((1, 1))
    for _ in range(50):
        outer = np.empty((1, 1), dtype=object)
        outer[0, 0] = cell
        cell = outer
    y = np.ones((2, 1), np.uint8)
    nested = mat(X=cell, y=y)
    folder = changed("svhn", tmp_path, "test_32x32.mat", lambda _: nested)
    refuses(folder, "svhn", "expected X of numbers, found cells")
    good = mat(X=np.zeros((32, 32, 3, 2), np.uint8), y=y)
    (folder / "test_32x32.mat").write_bytes(good + good[128:])
    refuses(folder, "svhn", "each variable once, found 'X' twice")


@pytest.mark.parametrize("packed_by", ["<", ">"], ids=["little", "big"])
@pytest.mark.parametrize("kind", [0, 8, 14, 21, 200, 65_000])
def test_types_that_there_are_not(kind: int, packed_by: str, tmp_path: Path) -> None:
    """scipy looks them up in a list without a look at its length, and the process ends."""
    good = mat(X=np.zeros((32, 32, 3, 2), np.uint8), y=np.ones((2, 1), np.uint8))
    place = 128 + 8 + 16 + 24 + 8  # the type of the numbers, behind flags, shape and name
    assert good[place : place + 4] == struct.pack("<I", 2)
    data = good[:place] + struct.pack(f"{packed_by}I", kind) + good[place + 4 :]
    refuses(changed("svhn", tmp_path, "test_32x32.mat", lambda _: data), "svhn", "test_32x32")


@pytest.mark.parametrize("packing", [True, False], ids=["packed", "plain"])
@pytest.mark.parametrize("dtype", ["u1", "i2", "u4", "f4", "f8", "i8"])
def test_arrays_are_those_that_scipy_reads(dtype: str, packing: bool, tmp_path: Path) -> None:
    x = np.arange(24).reshape(2, 3, 4).astype(dtype)
    savemat(tmp_path / "a.mat", {"x": x, "y": x[0], "other": "text"}, do_compression=packing)
    found = read_matlab(tmp_path / "a.mat", ("x", "y"))
    known = loadmat(tmp_path / "a.mat")
    for name in ("x", "y"):
        assert found[name].dtype == known[name].dtype
        assert np.array_equal(found[name], known[name])


def test_packed_pictures_that_are_all_zero(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packed, "MODEST", 2**20)
    zeros = gzip.compress(struct.pack(">4I", 0x803, 2000, 28, 28) + bytes(2000 * 28**2))
    folder = changed("mnist", tmp_path, "train-images*", lambda _: zeros)
    refuses(folder, "mnist", "times its size")
