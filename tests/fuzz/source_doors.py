"""Doors of data sets: every reader of `forget_audit.sources` that opens a file."""

from __future__ import annotations

import gzip
import io
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.io import savemat

from forget_audit.datasets import ROLES, Dataset
from forget_audit.sources.loading import load
from tests.fixtures import formats
from tests.fuzz.doors import Door
from tests.fuzz.scratch import scratch

WORDS = (
    b"label", b"label:a", b"label:b", b"id", b"unit", b"split", b"subclass", b"text", b"train",
    b"test", b"auxiliary",
)  # fmt: skip


def sound(dataset: Dataset) -> Dataset:
    """Read all rows, and see that nothing odd came through."""
    rows = dataset.rows
    x = np.asarray(rows.x)
    assert len(x) == len(rows) > 0
    assert np.isfinite(x).all()
    assert len(np.unique(rows.ids)) == len(rows)
    assert all(text.encode() for text in rows.ids.tolist())
    if rows.units is not None:
        assert all(text.encode() for text in rows.units.tolist())
    if rows.y.ndim == 1:
        assert 0 <= rows.y.min() <= rows.y.max() < dataset.n_classes
    assert dataset.split is None or set(dataset.split.tolist()) <= set(ROLES)
    assert sum(dataset.sizes) == len(rows)
    assert all(len(name.encode()) < 10**6 for name in (*dataset.classes, *dataset.labels))
    return dataset


def file_entering(reader: str, name: str, **options: object) -> Callable[[bytes, Path], object]:
    """Return what writes one file and reads it."""

    def enter(data: bytes, folder: Path) -> object:
        (folder / name).write_bytes(data)
        return sound(load(f"{reader}:{name}", folder=folder, options=options))

    return enter


@cache
def tree(maker: str, sizes: tuple[tuple[str, int], ...] = ()) -> Path:
    """Return a folder with a good copy, made once; never change it."""
    folder = Path(tempfile.mkdtemp(prefix="tree-", dir=scratch()))
    getattr(formats, f"make_{maker}")(folder / "data", **dict(sizes))
    return folder / "data"


def folder_door(
    name: str,
    reader: str,
    maker: str,
    file: str,
    *,
    sizes: Mapping[str, int] | None = None,
    suffix: str = "",
    dictionary: tuple[bytes, ...] = (),
    share: float = 1.0,
    more: Callable[[], Sequence[bytes]] = list,
    **options: object,
) -> Door:
    """Return the door of one file in a folder that is in order otherwise."""
    wanted = tuple((sizes or {}).items())

    def place(folder: Path) -> Path:
        return next(path for path in sorted(folder.rglob(file)) if path.is_file())

    def enter(data: bytes, folder: Path) -> object:
        copy = folder.with_name(f"{name}-data")  # beside the case, so that it is made once a worker
        if not copy.is_dir():
            shutil.copytree(tree(maker, wanted), copy)
        place(copy).write_bytes(data)
        return sound(load(f"{reader}:{copy.name}", folder=copy.parent, options=options))

    return Door(
        name=name,
        seeds=lambda: [place(tree(maker, wanted)).read_bytes(), *more()],
        enter=enter,
        suffix=suffix,
        dictionary=dictionary,
        share=share,
    )


def arrays() -> Sequence[bytes]:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(12, 3)).astype(np.float32), np.arange(12) % 2
    split = np.array([ROLES[i % 3] for i in range(12)])
    names = np.array([f"row-{i}" for i in range(12)])
    several = np.stack([y, 1 - y], axis=1)
    kinds: list[dict[str, np.ndarray]] = [
        {"x": x, "y": y, "ids": names, "split": split, "columns": np.array(["a", "b", "c"])},
        {"x": x, "y": several, "labels": np.array(["p", "q"]), "unit": names},
        {"x": x.reshape(12, 3, 1), "y": np.array(["no", "yes"])[y], "subclass": y},
    ]
    made = []
    for kind in kinds:
        buffer = io.BytesIO()
        np.savez_compressed(buffer, allow_pickle=False, **kind)
        made.append(buffer.getvalue())
    return made


def _table(suffix: str, maker: Callable[..., None] = formats.make_table, **sizes: int) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"table{suffix}"
        maker(path, **sizes)
        return path.read_bytes()


def matrices() -> Sequence[bytes]:
    y = np.arange(1, 5, dtype=np.uint8)[:, None]
    made = []
    for packed in (True, False):
        buffer = io.BytesIO()
        content = {"X": np.zeros((32, 32, 3, 4), np.uint8) + y[:, 0], "y": y}
        savemat(buffer, content, do_compression=packed)  # type: ignore[arg-type]
        made.append(buffer.getvalue())
    return made


def pictures() -> Sequence[bytes]:
    noise = np.random.default_rng(0).integers(0, 255, (16, 16, 3), dtype=np.uint8)
    picture, made = Image.fromarray(noise), []
    for kind, options in (
        ("PNG", {}), ("JPEG", {}), ("JPEG", {"progressive": True}), ("BMP", {}), ("PPM", {}),
        ("TIFF", {}), ("TIFF", {"compression": "tiff_lzw"}), ("WEBP", {}),
    ):  # fmt: skip
        buffer = io.BytesIO()
        picture.save(buffer, kind, **options)
        made.append(buffer.getvalue())
    for mode in ("L", "P", "1", "RGBA"):
        buffer = io.BytesIO()
        picture.convert("L").convert(mode).save(buffer, "PNG")
        made.append(buffer.getvalue())
    return made


def enter_picture(data: bytes, folder: Path) -> object:
    """Read a folder of one class in which one picture is the given one."""
    kind = folder / "data" / "one"
    kind.mkdir(parents=True)
    (kind / "a.png").write_bytes(data)
    Image.new("RGB", (16, 16), (1, 2, 3)).save(kind / "b.png")
    return sound(load("imagefolder:data", folder=folder, options={"size": 16}))


def enter_names(data: bytes, folder: Path) -> object:
    """Make pictures of the names that stand in the lines, and read them as UTKFace."""
    picture = pictures()[0]
    for name in data.split(b"\n")[:40]:
        path = folder.joinpath("data", *name.decode("utf-8", "surrogateescape").split("/"))
        if ".." in path.parts or folder not in path.parents or b"\0" in name:
            continue
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(picture)
        except OSError:  # the disk takes no such name
            continue
    return sound(load("utkface:data", folder=folder, options={"size": 8}))


SMALL = {"train": 10, "test": 4}
FACES = {"train": 4, "test": 2, "valid": 2}
DOORS: tuple[Door, ...] = (
    Door(
        name="source-npz", seeds=arrays, enter=file_entering("npz", "a.npz"), suffix=".npz",
        share=0.4,
    ),
    Door(
        name="source-csv",
        seeds=lambda: [_table(".csv", n=12), _table(".csv", n=12, units=4)],
        enter=file_entering("csv", "a.csv", standardise=True),
        suffix=".csv",
        dictionary=WORDS,
    ),
    Door(
        name="source-parquet",
        seeds=lambda: [_table(".parquet", n=12), _table(".parquet", n=12, units=4)],
        enter=file_entering("parquet", "a.parquet"),
        dictionary=WORDS,
    ),
    Door(
        name="source-text",
        seeds=lambda: [
            _table(".csv", formats.make_texts, n=12),
            _table(".csv", partial(formats.make_texts, split=True), n=12),
        ],
        enter=file_entering("text", "a.csv", max_words=50, length=8),
        suffix=".csv",
        dictionary=WORDS,
    ),
    folder_door(
        "source-idx", "mnist", "mnist", "train-images*", sizes={**SMALL, "zipped": False},
        share=0.4,
    ),
    folder_door("source-idx-gz", "mnist", "mnist", "train-images*", sizes=SMALL, share=0.2),
    folder_door(
        "source-idx-labels", "fashion_mnist", "mnist", "train-labels*", sizes=SMALL, share=0.2,
        more=lambda: [gzip.compress(bytes([0, 0, 8, 1, 0, 0, 0, 10, *range(10)]), mtime=0)],
    ),
    folder_door(
        "source-cifar-binary", "cifar100", "cifar100", "test.bin", sizes={"train": 4, "test": 2},
        share=0.5,
    ),
    folder_door(
        "source-cifar-pickle", "cifar10", "cifar10_python", "test_batch",
        sizes={"train": 5, "test": 2},
        dictionary=(
            b"U\x06labels", b"U\x04data", b"](", b"e", b"}", b"u.", b"q\x01", b"h\x01", b"0", b"2",
            b"\x86", b"\x85", b"cos\nsystem\n", b"cnumpy\ndtype\n", b"R", b"b", b"K\x00", b"t",
            b"(", b"\x8a\xff", b"I99999999999\n", b"N", b"s", b"a",
        ),
        share=0.8,
    ),
    folder_door(
        "source-cifar-names", "cifar20", "cifar100", "coarse_label_names.txt",
        sizes={"train": 4, "test": 2}, share=0.3,
    ),
    folder_door(
        "source-svhn", "svhn", "svhn", "test_32x32.mat", sizes={"train": 4, "test": 2},
        more=matrices, dictionary=(b"X", b"y", b"\x0e\x00\x00\x00", b"\x0f\x00\x00\x00"),
    ),
    folder_door(
        "source-celeba", "celeba", "celeba", "list_attr_celeba.txt", sizes=FACES, size=8,
        dictionary=(b"-1", b" 1", b"\n", b"000001.jpg", b"/", b".."),
    ),
    folder_door(
        "source-celeba-people", "celeba", "celeba", "identity_CelebA.txt", sizes=FACES, size=8,
        share=0.5,
    ),
    folder_door(
        "source-mucac", "mucac", "mucac", "CelebA-HQ-identity.txt",
        sizes={"train": 4, "test": 2}, size=8, share=0.5,
    ),
    folder_door(
        "source-mufac", "mufac", "mufac", "custom_test_dataset.csv",
        sizes={"train": 8, "test": 8}, suffix=".csv", size=8, share=0.5,
    ),
    folder_door(
        "source-medmnist", "medmnist", "medmnist", "*.npz", sizes={"train": 11, "test": 11},
        suffix=".npz", share=0.2,
    ),
    Door(name="source-picture", seeds=pictures, enter=enter_picture, share=1.5),
    Door(
        name="source-utkface",
        seeds=lambda: [b"1_0_0_1.jpg\n50_1_2_20170109150557335.jpg.chip.jpg\n20_0_3_5.jpg"],
        enter=enter_names,
        share=0.5,
    ),
)  # fmt: skip
