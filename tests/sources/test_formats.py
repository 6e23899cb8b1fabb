"""Published data sets, read from small copies in their real formats."""

import shutil
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.io import loadmat

from forget_audit.data import Request, prepare
from forget_audit.datasets import Dataset, keep_aside
from forget_audit.errors import CaseError
from forget_audit.sources.loading import READERS, load
from forget_audit.streaming import as_stream
from tests.fixtures import formats

Maker = Callable[[Path], None]

# reader, maker, shape of a row, classes or labels, sizes of the roles
KNOWN: Mapping[str, tuple[str, Maker, tuple[int, ...], int, tuple[int, int, int]]] = {
    "cifar10": ("cifar10", formats.make_cifar10, (3, 32, 32), 10, (60, 20, 20)),
    "cifar10-python": ("cifar10", formats.make_cifar10_python, (3, 32, 32), 10, (60, 20, 20)),
    "cifar100": ("cifar100", formats.make_cifar100, (3, 32, 32), 100, (200, 50, 50)),
    "cifar100-python": ("cifar100", formats.make_cifar100_python, (3, 32, 32), 100, (200, 50, 50)),
    "cifar20": ("cifar20", formats.make_cifar100, (3, 32, 32), 20, (200, 50, 50)),
    "mnist": ("mnist", formats.make_mnist, (1, 28, 28), 10, (60, 20, 20)),
    "fashion_mnist": ("fashion_mnist", formats.make_fashion_mnist, (1, 28, 28), 10, (60, 20, 20)),
    "svhn": ("svhn", formats.make_svhn, (3, 32, 32), 10, (60, 20, 20)),
    "medmnist": ("medmnist", formats.make_medmnist, (1, 28, 28), 11, (66, 44, 22)),
    "imagefolder": ("imagefolder", formats.make_imagefolder, (3, 24, 24), 3, (12, 6, 6)),
    "vggface2": ("vggface2", formats.make_vggface2, (3, 48, 48), 6, (30, 15, 15)),
    "pins": ("pins", formats.make_pins, (3, 48, 48), 5, (25, 12, 13)),
    "utkface": ("utkface", formats.make_utkface, (3, 48, 48), 9, (30, 15, 15)),
    "celeba": ("celeba", formats.make_celeba, (3, 54, 44), 40, (60, 40, 40)),
    "mufac": ("mufac", formats.make_mufac, (3, 64, 64), 8, (64, 32, 32)),
    "mucac": ("mucac", formats.make_mucac, (3, 48, 48), 3, (60, 40, 40)),
}


@pytest.fixture(scope="module")
def copies(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    folder = tmp_path_factory.mktemp("copies")

    @cache
    def made(name: str) -> Path:
        KNOWN[name][1](folder / name)
        return folder / name

    return made


def read(path: Path, reader: str, **options: Any) -> Dataset:
    return load(f"{reader}:{path}", folder=Path(), options=options)


def test_every_reader_is_tested() -> None:
    others = {"npz", "csv", "parquet", "text"}
    assert set(READERS) == {known[0] for known in KNOWN.values()} | others


@pytest.mark.parametrize("name", KNOWN)
def test_copies_are_read(name: str, copies: Callable[[str], Path]) -> None:
    reader, _, shape, outputs, sizes = KNOWN[name]
    dataset = read(copies(name), reader)
    x = np.asarray(dataset.rows.x)
    assert x.shape == (sum(sizes), *shape)
    assert x.dtype == np.float32
    assert 0 <= x.min() < 0.3 < 0.7 < x.max() <= 1
    assert dataset.n_classes == outputs == len(dataset.classes or dataset.labels)
    assert dataset.sizes == sizes
    assert dataset.duplicates_dropped == 0
    again = read(copies(name), reader)
    assert np.array_equal(x, np.asarray(again.rows.x))
    assert again.rows.ids.tolist() == dataset.rows.ids.tolist()


@pytest.mark.parametrize("name", KNOWN)
def test_rows_play_their_roles(name: str, copies: Callable[[str], Path]) -> None:
    reader, _, _, _, sizes = KNOWN[name]
    dataset = read(copies(name), reader)
    request = Request(attribute=dataset.labels[0]) if dataset.labels else Request(random=4)
    case = prepare(dataset, request, seed=0)
    assert (len(case.training), len(case.test), len(case.auxiliary)) == sizes


@pytest.mark.parametrize("name", KNOWN)
def test_streamed_rows_are_those_in_memory(name: str, copies: Callable[[str], Path]) -> None:
    reader = KNOWN[name][0]
    for options in ({}, {"size": 16, "normalise": "standard"}):
        streamed = read(copies(name), reader, stream=True, **options)
        held = read(copies(name), reader, stream=False, **options)
        assert as_stream(streamed.rows.x) is not None
        assert as_stream(held.rows.x) is None
        assert np.array_equal(np.asarray(streamed.rows.x), held.rows.x)
        assert streamed.rows.ids.tolist() == held.rows.ids.tolist()
    assert held.rows.x.shape[-2:] == (16, 16)
    train = held.rows.x if held.split is None else held.rows.x[held.split == "train"]
    assert train.mean(axis=(0, 2, 3)) == pytest.approx(0, abs=1e-4)
    assert train.std(axis=(0, 2, 3)) == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("name", KNOWN)
def test_a_limit_draws_rows_of_each_split(name: str, copies: Callable[[str], Path]) -> None:
    reader, _, _, outputs, _ = KNOWN[name]
    few = read(copies(name), reader, limit=7)
    every = read(copies(name), reader)
    assert len(few.rows) == (7 if every.split is None else 21)
    assert few.n_classes == outputs
    assert set(few.rows.ids.tolist()) < set(every.rows.ids.tolist())
    other = read(copies(name), reader, limit=7, seed=1)
    assert set(few.rows.ids.tolist()) != set(other.rows.ids.tolist())


def test_both_versions_of_cifar_hold_the_same_rows(copies: Callable[[str], Path]) -> None:
    for first, second in (("cifar10", "cifar10-python"), ("cifar100", "cifar100-python")):
        one, two = (read(copies(name), KNOWN[name][0]) for name in (first, second))
        assert np.array_equal(one.rows.x, two.rows.x)
        assert np.array_equal(one.rows.y, two.rows.y)
        assert one.rows.ids.tolist() == two.rows.ids.tolist()


def test_bytes_of_cifar_stand_where_they_should(copies: Callable[[str], Path]) -> None:
    path = copies("cifar10") / "cifar-10-batches-bin" / "data_batch_2.bin"
    dataset = read(path.parent, "cifar10", normalise="none")
    record = np.frombuffer(path.read_bytes(), dtype=np.uint8)[3073 : 2 * 3073]
    place = dataset.rows.ids.tolist().index("cifar10-train-13")
    assert dataset.rows.y[place] == record[0]
    assert np.array_equal(dataset.rows.x[place].ravel(), record[1:])
    assert dataset.classes[:3] == ("airplane", "automobile", "bird")


def test_coarse_classes_of_cifar_know_their_fine_ones(copies: Callable[[str], Path]) -> None:
    coarse = read(copies("cifar20"), "cifar20")
    fine = read(copies("cifar100"), "cifar100")
    assert coarse.subclasses is not None
    assert np.array_equal(coarse.subclasses, fine.rows.y)
    assert np.array_equal(coarse.rows.y, fine.rows.y // 5)
    assert coarse.rows.ids.tolist() == fine.rows.ids.tolist()
    test = coarse.subclasses[coarse.split == "test"]
    wanted = int(test[np.isin(test, coarse.subclasses[coarse.split == "train"])][0])
    case = prepare(coarse, Request(subclasses=(wanted,)), seed=0)
    assert set(case.forget.y.tolist()) == {wanted // 5}


def test_torchvision_reads_the_same_clothes(copies: Callable[[str], Path]) -> None:
    from torchvision.datasets import FashionMNIST

    root = copies("fashion_mnist")
    dataset = read(root, "fashion_mnist", normalise="none")
    theirs = FashionMNIST(str(root), train=True, download=False)
    train = dataset.split == "train"
    assert np.array_equal(dataset.rows.x[train][:, 0], theirs.data.numpy())
    assert np.array_equal(dataset.rows.y[train], theirs.targets.numpy())


def test_the_digit_zero_of_svhn_is_labelled_ten(copies: Callable[[str], Path]) -> None:
    dataset = read(copies("svhn"), "svhn", normalise="none")
    content = loadmat(str(copies("svhn") / "train_32x32.mat"))
    assert dataset.split is not None
    train = dataset.rows.take(dataset.split == "train")
    assert np.array_equal(train.y, content["y"].ravel() % 10)
    assert np.array_equal(train.x[5], content["X"][:, :, :, 5].transpose(2, 0, 1))
    assert 0 in train.y
    assert train.y.max() == 9


def test_larger_medical_pictures_are_preferred_to_resizing(tmp_path: Path) -> None:
    formats.make_medmnist(tmp_path, 22, 22)
    formats.make_medmnist(tmp_path, 33, 22, side=64)
    assert read(tmp_path, "medmnist", size=64).sizes == (33, 22, 11)
    small = read(tmp_path, "medmnist", size=32)
    assert small.sizes == (22, 22, 11)
    assert small.rows.x.shape[1:] == (1, 32, 32)
    assert small.classes[3] == "heart"
    assert read(tmp_path / "organamnist_64.npz", "medmnist").rows.x.shape[1:] == (1, 64, 64)


def test_several_medical_labels_are_a_matrix(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    arrays: dict[str, Any] = {}
    for part in ("train", "val", "test"):
        arrays[f"{part}_images"] = rng.integers(0, 256, (8, 28, 28, 3), dtype=np.uint8)
        arrays[f"{part}_labels"] = rng.integers(0, 2, (8, 14))
    np.savez(tmp_path / "chestmnist.npz", **arrays)
    dataset = read(tmp_path, "medmnist", flag="chestmnist")
    assert dataset.rows.y.shape == (24, 14)
    assert dataset.rows.x.shape[1:] == (3, 28, 28)
    assert dataset.labels[13] == "label 13"


def test_folders_with_a_split_keep_it(tmp_path: Path) -> None:
    formats.make_imagefolder(tmp_path, 4, parts=("train", "val", "test"))
    dataset = read(tmp_path, "imagefolder", grey=True)
    assert dataset.sizes == (12, 12, 12)
    assert dataset.classes == ("cat", "dog", "owl")
    assert dataset.rows.x.shape[1:] == (1, 24, 24)
    assert dataset.split is not None
    roles = dict(zip(dataset.rows.ids.tolist(), dataset.split.tolist(), strict=True))
    assert roles["val/dog/0001.png"] == "auxiliary"
    assert dataset.rows.y[dataset.rows.ids.tolist().index("test/owl/0000.png")] == 2
    formats.make_imagefolder(tmp_path, 1, classes=("ant",), parts=("test",))
    with pytest.raises(CaseError, match="class 'ant' is tested on, but train holds no picture"):
        read(tmp_path, "imagefolder")


def test_folders_of_people_are_classes(copies: Callable[[str], Path]) -> None:
    faces = read(copies("vggface2"), "vggface2", people=3)
    assert faces.classes == ("n000002", "n000009", "n000016")
    assert len(faces.rows) == 30
    case = prepare(faces, Request(classes=(1,)), seed=0)
    assert {name.split("/")[0] for name in case.forget.ids.tolist()} == {"n000009"}
    assert {name.split("/")[0] for name in case.test.ids.tolist()} == {"n000009"}
    pins = read(copies("pins"), "pins")
    assert pins.classes[0] == "pins_Person A"


def test_what_utkface_knows_stands_in_the_name(copies: Callable[[str], Path]) -> None:
    for place, label in enumerate(("age", "gender", "race")):
        faces = read(copies("utkface"), "utkface", label=label, edges=[30, 60])
        told = np.array([int(name.split("_")[place]) for name in faces.rows.ids.tolist()])
        expected = np.digitize(told, [30, 60]) if label == "age" else told
        assert np.array_equal(faces.rows.y, expected)
    assert "without 1 files of incomplete names" in faces.title
    assert read(copies("utkface"), "utkface", edges=[30, 60]).classes == (
        "under 30",
        "30 to 59",
        "60 and more",
    )


def test_attributes_of_celebrities(copies: Callable[[str], Path]) -> None:
    path = copies("celeba")
    every = read(path, "celeba")
    lines = (path / "list_attr_celeba.txt").read_text("utf-8").splitlines()
    header = lines[1].split()
    table = {cells[0]: cells[1:] for cells in (line.split() for line in lines[2:])}
    for name, y in zip(every.rows.ids.tolist(), every.rows.y, strict=True):
        assert ["1" if value else "-1" for value in y] == table[name]
    assert every.labels == tuple(header)
    chosen = read(path, "celeba", attributes=["Young", "Bald"])
    columns = [header.index("Young"), header.index("Bald")]
    assert np.array_equal(chosen.rows.y, every.rows.y[:, columns])
    single = read(path, "celeba", label="Male")
    assert np.array_equal(single.rows.y, every.rows.y[:, header.index("Male")])
    assert single.classes == ("not Male", "Male")
    prepare(single, Request(random=5), seed=0)


def test_pictures_of_a_person_are_one_unit(copies: Callable[[str], Path]) -> None:
    celeba = read(copies("celeba"), "celeba").rows.units
    assert celeba is not None
    assert len(set(celeba.tolist())) == 70
    dataset = read(copies("mufac"), "mufac")
    assert dataset.rows.units is not None
    for name, unit, y in zip(
        dataset.rows.ids.tolist(), dataset.rows.units.tolist(), dataset.rows.y, strict=True
    ):
        family, _, member, _, letter = Path(name).name.split("_")
        assert unit == f"{family}-{member}"
        assert "abcdefgh"[y] == letter[0]
    mucac = read(copies("mucac"), "mucac", cuts=[195, 4855])
    assert mucac.labels == ("Male", "Smiling", "Young")
    assert mucac.sizes == (50, 40, 50)


def test_celebrities_without_identities(tmp_path: Path) -> None:
    formats.make_celeba(tmp_path / "celeba", 6, 6, valid=6, identities=False)
    assert read(tmp_path, "celeba").rows.units is None


def test_who_is_on_a_picture_may_stand_in_its_name_alone(tmp_path: Path) -> None:
    formats.make_mufac(tmp_path, 8, 8)
    before = read(tmp_path, "mufac").rows.units
    for table in tmp_path.rglob("*.csv"):
        lines = [",".join(line.split(",")[3:]) for line in table.read_text("utf-8").splitlines()]
        table.write_text("\n".join(lines), encoding="utf-8")
    after = read(tmp_path, "mufac").rows.units
    assert before is not None
    assert after is not None
    assert after.tolist() == before.tolist()


def test_a_test_picture_that_was_trained_on_goes(tmp_path: Path) -> None:
    formats.make_imagefolder(tmp_path, 4, parts=("test", "train"))
    shutil.copy(tmp_path / "train/dog/0002.png", tmp_path / "test/dog/copy.png")
    shutil.copy(tmp_path / "train/cat/0001.png", tmp_path / "train/cat/0009.png")
    dataset = read(tmp_path, "imagefolder")
    assert dataset.duplicates_dropped == 2
    assert set(dataset.dropped) == {"test/dog/copy.png", "train/cat/0009.png"}
    assert sum(dataset.sizes) == len(dataset.rows) == 24
    assert dataset.sizes[0] == 12


def test_half_of_the_tested_people_are_kept_aside() -> None:
    split = np.array(["train"] * 10 + ["test"] * 40)
    people = np.repeat(np.arange(10), 5).astype(np.str_)
    roles = keep_aside(split, 0, "faces", people)
    assert np.sum(roles == "test") == np.sum(roles == "auxiliary") == 20
    assert not set(people[roles == "test"]) & set(people[roles == "auxiliary"])
    assert np.array_equal(keep_aside(roles, 1, "faces", people), roles)
    assert not np.array_equal(keep_aside(split, 1, "faces", people), roles)
