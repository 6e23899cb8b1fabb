"""Copies that are damaged, incomplete, of another kind, or made to do harm."""

import gzip
import io
import shutil
import struct
import zipfile
import zlib
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.lib import format as npy
from PIL import ImageFile
from scipy.io import savemat

from forget_audit.errors import CaseError
from forget_audit.sources.loading import load
from tests.fixtures import formats

Damage = Callable[[Path], object]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    folder = tmp_path_factory.mktemp("whole")

    @cache
    def made(name: str) -> Path:
        getattr(formats, f"make_{name}")(folder / name)
        return folder / name

    return made


def read_all(reader: str, path: Path, options: Mapping[str, object]) -> None:
    np.asarray(load(f"{reader}:{path.name}", folder=path.parent, options=options).rows.x)


def reading(reader: str, path: Path, message: str, **options: Any) -> None:
    with pytest.raises(CaseError, match=message):
        read_all(reader, path, options)


def cut(name: str, length: int = 100) -> Damage:
    """Take bytes from the end of a file."""

    def damage(folder: Path) -> None:
        path = next(folder.rglob(name))
        path.write_bytes(path.read_bytes()[:-length])

    return damage


def put(name: str, content: bytes | str) -> Damage:
    """Replace a file by other content."""
    data = content.encode() if isinstance(content, str) else content
    return lambda folder: next(folder.rglob(name)).write_bytes(data)


def gone(name: str) -> Damage:
    """Remove a file."""
    return lambda folder: next(folder.rglob(name)).unlink()


def edit(name: str, old: str, new: str) -> Damage:
    """Replace text in a file."""

    def damage(folder: Path) -> None:
        path = next(folder.rglob(name))
        text = path.read_text("utf-8")
        assert old in text
        path.write_text(text.replace(old, new, 1), encoding="utf-8")

    return damage


def mat(**content: Any) -> bytes:
    file = io.BytesIO()
    savemat(file, content)  # type: ignore[arg-type]
    return file.getvalue()


def png(width: int, height: int) -> bytes:
    """A PNG file that promises so many pixels and holds none."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def idx(mark: int, *sizes: int) -> bytes:
    return struct.pack(f">{1 + len(sizes)}I", mark, *sizes)


PIXEL = np.zeros((32, 32, 3, 2), dtype=np.uint8)
LYING = idx(0x803, 2**32 - 1, 2**32 - 1, 2**32 - 1)

# maker, reader, damage, message
CASES: Mapping[str, tuple[str, str, Damage, str]] = {
    "cifar truncated": (
        "cifar10", "cifar10", cut("data_batch_1.bin"),
        r"cannot read data_batch_1\.bin as a batch of CIFAR: expected records of 3073 bytes",
    ),
    "cifar empty": ("cifar10", "cifar10", put("test_batch.bin", b""), "found 0 bytes in all"),
    "cifar label": (
        "cifar10", "cifar10", put("data_batch_3.bin", bytes([10]) + bytes(3072)),
        "expected labels from 0 to 9, found 10",
    ),
    "cifar missing": (
        "cifar10", "cifar10", gone("data_batch_4.bin"),
        r"lacks 1 of 6 files of CIFAR-10 .*data_batch_4\.bin",
    ),
    "cifar coarse label": (
        "cifar100", "cifar20", put("test.bin", bytes([20, 0]) + bytes(3072)),
        "expected coarse_labels from 0 to 19, found 20",
    ),
    "other cifar": ("cifar10", "cifar100", lambda _: None, "expected cifar-100-binary or"),
    "pickle truncated": (
        "cifar10_python", "cifar10", cut("data_batch_1"), "cannot read data_batch_1 as a batch",
    ),
    "pickle of nothing": (
        "cifar10_python", "cifar10", put("test_batch", b"\x80\x02]."), "test_batch .*damaged",
    ),
    "pickle without labels": (
        "cifar10_python", "cifar10", put("test_batch", b"\x80\x02}U\x04dataK\x00s."),
        "it holds no labels",
    ),
    "pickle of words": (
        "cifar10_python", "cifar10",
        put("test_batch", b"\x80\x02}(U\x04data](K\x00eU\x06labels](K\x00eu."),
        "expected rows of 3072 bytes",
    ),
    "mnist mark": (
        "mnist", "mnist", put("train-images-idx3-ubyte.gz", gzip.compress(idx(0x901, 1, 28, 28))),
        r"expected the mark 00 00 08 03, found 00 00 09 01",
    ),
    "mnist lying": (
        "mnist", "mnist", put("train-images-idx3-ubyte.gz", gzip.compress(LYING)),
        "its header gives [0-9,]+ bytes",
    ),
    "mnist short": (
        "mnist", "mnist",
        put("t10k-labels-idx1-ubyte.gz", gzip.compress(idx(0x801, 40) + bytes(39))),
        "gives 48 bytes, found 47",
    ),
    "mnist long": (
        "mnist", "mnist",
        put("t10k-labels-idx1-ubyte.gz", gzip.compress(idx(0x801, 40) + bytes(10**6))),
        "gives 48 bytes, found 49",
    ),
    "mnist packed badly": (
        "mnist", "mnist", cut("train-images-idx3-ubyte.gz", 2000), "cannot read train-images",
    ),
    "mnist not packed": (
        "mnist", "mnist", put("train-images-idx3-ubyte.gz", b"text"), "cannot read train-images",
    ),
    "mnist missing": (
        "mnist", "mnist", gone("t10k-labels-idx1-ubyte.gz"), "holds no t10k-labels-idx1-ubyte",
    ),
    "mnist unequal": (
        "mnist", "mnist",
        put("t10k-labels-idx1-ubyte.gz", gzip.compress(idx(0x801, 39) + bytes(39))),
        "40 t10k pictures, but 39 labels",
    ),
    "mnist label": (
        "mnist", "mnist",
        put("t10k-labels-idx1-ubyte.gz", gzip.compress(idx(0x801, 40) + bytes([10] * 40))),
        "expected labels from 0 to 9, found 10",
    ),
    "svhn damaged": ("svhn", "svhn", cut("train_32x32.mat", 5000), "cannot read train_32x32.mat"),
    "svhn text": ("svhn", "svhn", put("train_32x32.mat", "x" * 300), "as a MATLAB file of SVHN"),
    "svhn without pictures": (
        "svhn", "svhn", put("test_32x32.mat", mat(y=np.ones(2))), "test_32x32.mat .*'X'",
    ),
    "svhn shape": (
        "svhn", "svhn", put("test_32x32.mat", mat(X=PIXEL[:, :, :1], y=[1, 2])),
        r"expected X of bytes \(32, 32, 3, n\)",
    ),
    "svhn labels": (
        "svhn", "svhn", put("test_32x32.mat", mat(X=PIXEL, y=[0, 2])), "labels 1 to 10, found 2",
    ),
    "svhn missing": ("svhn", "svhn", gone("test_32x32.mat"), "lacks 1 of 2 files"),
    "celeba missing": (
        "celeba", "celeba", gone("list_eval_partition.txt"), "list_eval_partition",
    ),
    "celeba short line": (
        "celeba", "celeba", edit("list_attr_celeba.txt", "000003.jpg -1", "000003.jpg"),
        r"list_attr_celeba\.txt, line 5: expected a name and 40 times -1 or 1",
    ),
    "celeba climbing": (
        "celeba", "celeba", edit("list_attr_celeba.txt", "000002.jpg", "../../secret.jpg"),
        r"'\.\./\.\./secret\.jpg' leads out of the folder",
    ),
    "celeba absolute": (
        "celeba", "celeba", edit("list_attr_celeba.txt", "000002.jpg", "/etc/passwd"),
        "expected names of files inside the folder, found '/etc/passwd'",
    ),
    "celeba part": (
        "celeba", "celeba", edit("list_eval_partition.txt", "000002.jpg 0", "000002.jpg 3"),
        "expected the parts 0, 1 and 2, found '3'",
    ),
    "celeba unpaired": (
        "celeba", "celeba", edit("identity_CelebA.txt", "000002.jpg", "000002.jpg x"),
        "expected lines of a name and a number",
    ),
    "celeba no such picture": (
        "celeba", "celeba", gone("000009.jpg"), r"lacks 1 pictures .*000009\.jpg",
    ),
    "celeba unknown person": (
        "celeba", "celeba", edit("identity_CelebA.txt", "000002.jpg 0\n", ""),
        "lacks 1 pictures .first: 000002.jpg",
    ),
    "celeba not UTF-8": (
        "celeba", "celeba", put("list_attr_celeba.txt", b"\xff\xfe\x00"), "as text",
    ),
    "picture truncated": ("celeba", "celeba", cut("000031.jpg", 400), "cannot read 000031.jpg"),
    "utkface names": (
        "pins", "utkface", lambda _: None, r"expected files called age_gender_race_date\.jpg",
    ),
    "imagefolder text": (
        "imagefolder", "imagefolder", put("0003.png", "no picture"), "cannot read .*0003.png",
    ),
    "imagefolder script": (
        "imagefolder", "imagefolder", put("0003.png", "%!PS-Adobe-3.0 EPSF-3.0\n"),
        "cannot read .*0003.png as a picture",
    ),
    "imagefolder large": (
        "imagefolder", "imagefolder", put("0004.png", png(8000, 8000)), "more than 50,000,000",
    ),
    "imagefolder enormous": (
        "imagefolder", "imagefolder", put("0004.png", png(60000, 60000)), "cannot read .*0004.png",
    ),
    "imagefolder sizes": (
        "imagefolder", "imagefolder",
        lambda folder: formats.save_picture(folder / "dog/a.png", np.zeros((3, 9, 9), np.uint8)),
        r"pictures differ in size: dog/a.png has \(9, 9\), others \(24, 24\)",
    ),
    "imagefolder empty class": (
        "imagefolder", "imagefolder", lambda folder: (folder / "empty").mkdir(),
        "the folder .empty. of copy holds no pictures",
    ),
    "vggface2 elsewhere": ("pins", "vggface2", lambda _: None, "holds no folders of people"),
    "mufac climbing": (
        "mufac", "mufac", edit("custom_val_dataset.csv", ",F0801_AGE_D", ",../F0801_AGE_D"),
        "leads out of the folder",
    ),
    "mufac age": (
        "mufac", "mufac", edit("custom_val_dataset.csv", "F0801,D,", "F0801,D,z"),
        r"line 2: expected an age a to h, found 'z.'",
    ),
    "mufac columns": (
        "mufac", "mufac", put("custom_test_dataset.csv", "a,b\n1,2\n"), "expected the columns",
    ),
    "mufac nobody": (
        "mufac", "mufac", put("custom_test_dataset.csv", "image_path,age_class\nx.jpg,a\n"),
        "'x.jpg' does not say who it is",
    ),
    "mufac missing": ("mufac", "mufac", gone("custom_val_dataset.csv"), "lacks 1 of 3 files"),
    "mucac person": (
        "mucac", "mucac", edit("CelebA-HQ-identity.txt", "5.jpg ", "5.jpg x"),
        "expected a name and a whole number a line",
    ),
    "medmnist text": ("medmnist", "medmnist", put("organamnist.npz", "x"), "as npz without pickle"),
    "medmnist missing": ("medmnist", "medmnist", gone("organamnist.npz"), "lacks 1 of 1 files"),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_damage_is_a_clear_error(name: str, whole: Callable[[str], Path], tmp_path: Path) -> None:
    maker, reader, damage, message = CASES[name]
    folder = tmp_path / "copy"
    shutil.copytree(whole(maker), folder)
    damage(folder)
    reading(reader, folder, message)


FOLDERS = (
    "cifar10", "cifar100", "cifar20", "mnist", "fashion_mnist", "svhn", "celeba", "utkface",
    "vggface2", "pins", "mufac", "mucac", "medmnist", "imagefolder",
)  # fmt: skip


@pytest.mark.parametrize("reader", FOLDERS)
def test_empty_and_missing_folders(reader: str, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    reading(reader, tmp_path / "empty", "empty")
    reading(reader, tmp_path / "nowhere", "nowhere")


@pytest.mark.parametrize("reader", ["npz", "csv", "parquet", "text"])
@pytest.mark.parametrize("content", [b"", b"\x00\xff\xfe" * 30], ids=["empty", "bytes"])
def test_files_that_are_no_tables(reader: str, content: bytes, tmp_path: Path) -> None:
    (tmp_path / "rows").write_bytes(content)
    reading(reader, tmp_path / "rows", "rows")
    reading(reader, tmp_path / "nowhere", "nowhere")


def harmful(marker: Path) -> bytes:
    """A pickle that makes a file when it is unpickled."""
    return f"cbuiltins\nopen\n(S'{marker}'\nS'w'\ntR.".encode()


def test_pickles_are_not_run(whole: Callable[[str], Path], tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    folder = tmp_path / "cifar"
    shutil.copytree(whole("cifar10_python"), folder)
    put("data_batch_1", harmful(marker))(folder)
    reading("cifar10", folder, "the file asks for 'GLOBAL builtins open'")
    stolen = b"\x80\x02cnumpy.core.multiarray\n_reconstruct\n\x81."
    put("data_batch_1", stolen)(folder)
    reading("cifar10", folder, "the file asks for 'NEWOBJ'")
    np.savez(tmp_path / "rows.npz", x=np.array([{}], dtype=object), y=np.arange(1))
    reading("npz", tmp_path / "rows.npz", "'x' holds Python objects")
    (tmp_path / "rows.npz").write_bytes(harmful(marker))
    reading("npz", tmp_path / "rows.npz", "without pickle")
    assert not marker.exists()


def lying_npz(path: Path, shape: tuple[int, ...]) -> None:
    """An npz file whose arrays promise more than the file holds."""
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("x", "y"):
            buffer = io.BytesIO()
            npy.write_array_header_1_0(
                buffer, {"descr": "<f8", "fortran_order": False, "shape": shape}
            )
            archive.writestr(f"{name}.npy", buffer.getvalue() + bytes(64))


def test_headers_are_not_believed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lying_npz(tmp_path / "lie.npz", (10**12, 4))
    reading("npz", tmp_path / "lie.npz", "gives 32,000,000,000,000 bytes, found 64")
    with zipfile.ZipFile(tmp_path / "long.npz", "w") as archive:
        archive.writestr("x.npy", b"\x93NUMPY\x02\x00" + struct.pack("<I", 2**31) + b" " * 50)
    reading("npz", tmp_path / "long.npz", "cannot read long.npz")
    np.savez_compressed(tmp_path / "bomb.npz", x=np.zeros((4096, 64)), y=np.zeros(4096))
    monkeypatch.setattr("forget_audit.packed.LARGEST", 2**20)
    reading("npz", tmp_path / "bomb.npz", "it unpacks to more than")


@pytest.mark.parametrize(
    ("source", "options", "message"),
    [
        ("digits", {"size": 8}, "digits takes no options, found 'size'"),
        ("cifar10:x", {"sise": 8}, "options of cifar10: unknown 'sise'; did you mean 'size'?"),
        ("cifar10:x", {"colour": 1}, "unknown 'colour'; it has seed, size, limit, stream"),
        ("cifar10:x", {"size": "8", "limit": 0}, "size: .*found '8'; limit: .*found 0"),
        ("mnist:x", {"normalise": "both"}, "normalise: .*'unit', 'standard' or 'none'"),
        ("utkface:x", {"edges": [30, 20]}, "expected edges that rise"),
        ("mufac:x", {"label": "name"}, "label: "),
        ("medmnist:x", {"flag": "../../etc/passwd"}, "flag: "),
        ("cifar10", {}, "cifar10 needs a path: cifar10:PATH"),
        ("cifar1O:x", {}, "cannot import cifar1O:x"),
    ],
)
def test_bad_options_are_named(source: str, options: Mapping[str, object], message: str) -> None:
    with pytest.raises(CaseError, match=message):
        load(source, folder=Path(), options=options)


def test_attributes_are_checked(whole: Callable[[str], Path]) -> None:
    reading("celeba", whole("celeba"), "did you mean 'Smiling'", attributes=["Smilling"])
    reading("celeba", whole("celeba"), "either label", label="Male", attributes=["Bald"])
    reading("medmnist", whole("medmnist"), "lacks 1 of 1", flag="chestmnist")


def medical(path: Path, **changes: Any) -> None:
    arrays: dict[str, Any] = {}
    for part in ("train", "val", "test"):
        arrays[f"{part}_images"] = np.zeros((4, 28, 28), dtype=np.uint8)
        arrays[f"{part}_labels"] = np.zeros((4, 1), dtype=np.uint8)
    arrays |= changes
    np.savez(path, **{name: array for name, array in arrays.items() if array is not None})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"val_labels": None}, "holds no array 'val_labels'"),
        ({"val_images": np.zeros((4, 28, 28))}, "expected pictures of bytes, found float64"),
        ({"val_images": np.zeros((4, 30, 30), dtype=np.uint8)}, "differ in shape"),
        ({"test_labels": np.zeros((3, 1), dtype=np.uint8)}, "4 pictures, but labels of shape"),
        ({"test_labels": np.full((4, 1), -1)}, "expected labels from 0"),
    ],
    ids=["missing", "numbers", "shapes", "count", "negative"],
)
def test_medical_arrays_are_checked(
    changes: Mapping[str, Any], message: str, tmp_path: Path
) -> None:
    medical(tmp_path / "x.npz", **changes)
    reading("medmnist", tmp_path / "x.npz", message)


def test_a_file_name_that_is_no_text(tmp_path: Path) -> None:
    formats.make_imagefolder(tmp_path / "pictures", 2)
    picture = tmp_path / "pictures" / "cat" / "0000.png"
    try:
        shutil.copy(picture, picture.with_name("caf\udce9.png"))
    except (OSError, UnicodeEncodeError):
        pytest.skip("this disk takes no such names")
    reading("imagefolder", tmp_path / "pictures", "is not UTF-8; rename the file")


def test_volumes_are_not_resized(tmp_path: Path) -> None:
    volumes = {
        f"{part}_images": np.zeros((4, 6, 6, 6), np.uint8) for part in ("train", "val", "test")
    }
    medical(tmp_path / "x.npz", **volumes)
    reading("medmnist", tmp_path / "x.npz", "only flat pictures", size=8)


def test_promises_of_matlab_files_are_limited(
    whole: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("forget_audit.packed.LARGEST", 1000)
    reading("svhn", whole("svhn"), "it unpacks to more than")


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": np.zeros((3, 2)), "y": np.zeros(2, dtype=int)}, "3 rows of features, but 2 labels"),
        ({"x": np.zeros(3), "y": np.zeros(3, dtype=int)}, r"finite numbers \(n, ...\)"),
        ({"x": np.array([["a"]]), "y": np.zeros(1, dtype=int)}, "found type <U1"),
        ({"x": np.zeros((3, 2)), "y": np.zeros((3, 2, 2))}, "or a label matrix"),
        (
            {"x": np.eye(2), "y": np.eye(2, dtype=int), "labels": np.array(["a", "a"])},
            "expected 2 names of labels, found 1",
        ),
        (
            {"x": np.eye(2), "y": np.zeros(2, dtype=int), "unit": np.zeros(3)},
            "unit must have one entry a row",
        ),
        (
            {"x": np.eye(2), "y": np.zeros(2, dtype=int), "split": np.array(["a", "b"])},
            "split must be one of",
        ),
        (
            {"x": np.eye(3), "y": np.eye(3, dtype=int)},
            "one of each row's 3 labels is 1: .* y.argmax",
        ),
        (
            {"x": np.eye(2), "y": np.arange(2), "ids": np.arange(2.0)},
            "ids of text or whole numbers, found float64",
        ),
    ],
    ids=["count", "flat", "text", "labels", "names", "units", "split", "one-hot", "float ids"],
)
def test_arrays_are_checked(arrays: Mapping[str, Any], message: str, tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", **arrays)
    reading("npz", tmp_path / "x.npz", message)


def test_labels_of_which_each_row_bears_one_are_a_matrix_if_they_have_names(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", x=np.eye(3), y=np.eye(3, dtype=int), labels=np.array([*"abc"]))
    assert load("npz:x.npz", folder=tmp_path).labels == ("a", "b", "c")


def test_a_picture_that_is_cut_off_is_refused_whatever_other_libraries_want(
    whole: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("PIL.ImageFile.LOAD_TRUNCATED_IMAGES", True)
    maker, reader, damage, message = CASES["picture truncated"]
    folder = tmp_path / "copy"
    shutil.copytree(whole(maker), folder)
    damage(folder)
    reading(reader, folder, message)
    assert ImageFile.LOAD_TRUNCATED_IMAGES
