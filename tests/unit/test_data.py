"""Data sets, files that may be hostile, and the roles of a request."""

import io
import time
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from forget_audit.data import Request, prepare, read_ids
from forget_audit.errors import CaseError
from forget_audit.sources import loading as datasets
from forget_audit.types import Case, Rows


def test_digits_noise_is_what_was_asked_for() -> None:
    clean = datasets.load("digits", folder=Path())
    noisy = datasets.load("digits", folder=Path(), seed=1, label_noise=0.15)
    changed = np.mean(clean.rows.y != noisy.rows.y)
    assert changed == pytest.approx(0.15 * 0.9, abs=0.03)
    assert np.array_equal(clean.rows.x, noisy.rows.x)
    again = datasets.load("digits", folder=Path(), seed=1, label_noise=0.15)
    assert np.array_equal(noisy.rows.y, again.rows.y)


def test_randhie_is_distinct_people_in_three_groups() -> None:
    people = datasets.load("randhie", folder=Path())
    assert people.n_classes == 3
    assert len(np.unique(people.rows.x, axis=0)) == len(people.rows)
    assert people.duplicates_dropped > 10_000
    assert people.sensitive is not None
    found = np.unique(people.rows.x[:, people.sensitive.column])
    assert found.tolist() == pytest.approx(sorted(people.sensitive.values))
    assert sum(people.sizes) == len(people.rows)


@pytest.mark.parametrize("source", ["digits", "randhie"])
def test_roles_partition_the_rows(source: str) -> None:
    dataset = datasets.load(source, folder=Path())
    case = prepare(dataset, Request(random=100), seed=3)
    ids = np.concatenate([rows.ids for rows in case.roles().values()])
    assert len(np.unique(ids)) == len(ids) == sum(dataset.sizes)
    assert len(case.forget) == 100
    assert len(case.retain) == 600
    again = prepare(dataset, Request(random=100), seed=3)
    other = prepare(dataset, Request(random=100), seed=4)
    assert np.array_equal(case.forget.ids, again.forget.ids)
    assert not np.array_equal(case.forget.ids, other.forget.ids)


def test_class_request_controls_are_of_the_class() -> None:
    case = prepare(datasets.load("digits", folder=Path()), Request(classes=(3,)), seed=0)
    assert case.scope == "class"
    assert set(case.forget.y) == set(case.test.y) == {3}
    assert case.others is not None
    assert 3 not in case.others.y
    assert 3 not in case.retain.y
    assert len(case.never_trained) == 400


def test_requested_ids_become_training_rows_whatever_the_seed() -> None:
    dataset = datasets.load("digits", folder=Path())
    wanted = tuple(dataset.rows.ids[[1, 900, 1796]].tolist())
    for seed in range(3):
        case = prepare(dataset, Request(ids=wanted), seed=seed)
        assert set(case.forget.ids.tolist()) == set(wanted)


NAMES_ONE = "either ids, a random count, classes, sub-classes or a label"


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (Request(), NAMES_ONE),
        (Request(random=3, classes=(1,)), NAMES_ONE),
        (Request(classes=(11,)), "class 11 does not exist; digits has 0, 1"),
        (Request(ids=("nobody",)), r"1 ids to forget are not in digits \(first: nobody\)"),
        (Request(random=700), "cannot forget 700 of 700 training rows; ask for 1 to 699"),
    ],
)
def test_requests_that_do_not_fit_say_why(request_: Request, message: str) -> None:
    with pytest.raises(CaseError, match=message):
        prepare(datasets.load("digits", folder=Path()), request_, seed=0)


def write_npz(path: Path, **arrays: np.ndarray) -> str:
    np.savez(path, allow_pickle=True, **arrays)
    return f"npz:{path.name}"


def test_npz_with_a_fixed_split_keeps_it(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    split = np.array(["train"] * 30 + ["test"] * 20 + ["auxiliary"] * 10)
    ids = np.array([f"p{i}" for i in range(60)])
    x, y = rng.normal(size=(60, 4)), rng.integers(0, 2, 60)
    source = write_npz(tmp_path / "rows.npz", x=x, y=y, ids=ids, split=split)
    dataset = datasets.load(source, folder=tmp_path)
    case = prepare(dataset, Request(ids=("p3", "p7")), seed=0)
    assert case.retain.ids.tolist() == [i for i in ids[:30].tolist() if i not in ("p3", "p7")]
    assert case.test.ids.tolist() == ids[30:50].tolist()
    with pytest.raises(CaseError, match=r"overlap with rows that were never trained on .*p30"):
        prepare(dataset, Request(ids=("p3", "p30")), seed=0)


def test_pickled_arrays_are_refused(tmp_path: Path) -> None:
    objects = np.array([{"a": 1}, None], dtype=object)
    source = write_npz(tmp_path / "bad.npz", x=objects, y=np.arange(2))
    with pytest.raises(CaseError, match="without pickle"):
        datasets.load(source, folder=tmp_path)


@pytest.mark.parametrize(
    "content", [b"", b"nonsense", b"PK\x03\x04" + bytes(30)], ids=["empty", "text", "zip"]
)
def test_damaged_npz_is_a_clear_error(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.npz").write_bytes(content)
    with pytest.raises(CaseError, match=r"cannot read x\.npz"):
        datasets.load("npz:x.npz", folder=tmp_path)


def test_npz_without_labels_names_what_it_holds(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as file:
        buffer = io.BytesIO()
        np.save(buffer, np.zeros((3, 2)))
        file.writestr("x.npy", buffer.getvalue())
    with pytest.raises(CaseError, match="holds no array 'y'; found x"):
        datasets.load("npz:x.npz", folder=tmp_path)


def test_csv_rows(tmp_path: Path) -> None:
    lines = ["id,a,b,label,split", "u,1,2,0,train", "v,3,4,1,test", "w,5,6,1,auxiliary"]
    (tmp_path / "rows.csv").write_text("\n".join(lines), encoding="utf-8")
    dataset = datasets.load("csv:rows.csv", folder=tmp_path)
    assert dataset.rows.x.tolist() == [[1, 2], [3, 4], [5, 6]]
    assert dataset.rows.ids.tolist() == ["u", "v", "w"]
    assert dataset.split is not None
    assert dataset.split.tolist() == ["train", "test", "auxiliary"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b\n1,2\n", "needs a column 'label'"),
        ("a,label\nx,1\n", "as a table of numbers"),
        ("a,label\n1,0.5\n", "labels must be whole numbers"),
        ("a,label\nnan,1\n", "features must be finite"),
        ("a,label\n1\n", "row 1 has fewer cells than there are columns"),
        ("a,label,split\n1,0,teach\n", "split must be one of"),
    ],
)
def test_bad_csv_says_what_is_wrong(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "rows.csv").write_text(text, encoding="utf-8")
    with pytest.raises(CaseError, match=message):
        datasets.load("csv:rows.csv", folder=tmp_path)


def test_unknown_source_suggests_the_nearest() -> None:
    with pytest.raises(CaseError, match="did you mean 'digits'"):
        datasets.load("digit", folder=Path())
    with pytest.raises(CaseError, match="label noise is for digits only"):
        datasets.load("randhie", folder=Path(), label_noise=0.1)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("a\nb\n", ("a", "b")), ("id\na\nb\n", ("a", "b")), ("name,id\nx,a\ny,b\n", ("a", "b"))],
)
def test_id_files(tmp_path: Path, text: str, expected: tuple[str, ...]) -> None:
    path = tmp_path / "ids.csv"
    path.write_text(text, encoding="utf-8")
    assert read_ids(path) == expected


def test_a_byte_order_mark_is_no_part_of_the_first_id(tmp_path: Path) -> None:
    path = tmp_path / "ids.csv"
    path.write_text("id\na\nb\n", encoding="utf-8-sig")
    assert read_ids(path) == ("a", "b")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "holds no ids"),
        ("a\na\n", "lists 'a' twice"),
        ("a" * 200_000, "cannot be read as a list of ids"),
        ('"a\nb\nc\n', "cannot be read as a list of ids"),
        ("name,id\nx,a\ny\n", "no id in line 3"),
        ("a\n \nb\n", "no id in line 2"),
    ],
    ids=["empty", "twice", "long", "unclosed", "short", "blank"],
)
def test_bad_id_files(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "ids.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(CaseError, match=message):
        read_ids(path)


def test_id_files_in_another_encoding_or_missing_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "ids.csv"
    path.write_text("id\nä\n", encoding="utf-16")
    for wrong in (path, tmp_path / "absent", tmp_path):
        with pytest.raises(CaseError, match="cannot be read as a list of ids"):
            read_ids(wrong)


def test_a_long_list_with_an_id_twice_is_refused_at_once(tmp_path: Path) -> None:
    path = tmp_path / "ids.csv"
    path.write_text("\n".join([*(f"row-{i}" for i in range(50_000)), "row-7"]), encoding="utf-8")
    start = time.process_time()
    with pytest.raises(CaseError, match="lists 'row-7' twice"):
        read_ids(path)
    assert time.process_time() - start < 5


def some_rows(prefix: str, start: float, n: int = 3) -> Rows:
    x = np.arange(start, start + n, dtype=np.float32)[:, None]
    ids = np.array([f"{prefix}{i}" for i in range(n)])
    return Rows(x=x, y=np.zeros(n, dtype=np.int64), ids=ids)


def test_roles_must_not_share_content_or_ids() -> None:
    parts: dict[str, Any] = {
        "retain": some_rows("r", 0),
        "forget": some_rows("f", 10),
        "test": some_rows("t", 20),
        "auxiliary": some_rows("a", 30),
    }
    Case(name="x", n_classes=1, **parts)
    with pytest.raises(CaseError, match="retain and forget hold 1 rows of equal content"):
        Case(name="x", n_classes=1, **{**parts, "forget": some_rows("f", 2)})
    with pytest.raises(CaseError, match=r"forget and test share 3 rows \(first: f0, f1, f2\)"):
        Case(name="x", n_classes=1, **{**parts, "test": some_rows("f", 20)})
    with pytest.raises(CaseError, match="the test rows must not be empty"):
        Case(name="x", n_classes=1, **{**parts, "test": some_rows("t", 20, 0)})


def test_rows_are_read_only_and_ids_distinct() -> None:
    rows = some_rows("r", 0)
    with pytest.raises(ValueError, match="read-only"):
        rows.x[0] = 5
    with pytest.raises(CaseError, match="found 'a' twice"):
        Rows(x=rows.x, y=rows.y, ids=np.array(["a", "a", "b"]))
    with pytest.raises(CaseError, match="one entry a row"):
        Rows(x=rows.x, y=rows.y, ids=np.array(["a"]))


def test_case_from_arrays() -> None:
    x = np.arange(8, dtype=np.float32)[:, None]
    y = np.array([0, 1] * 4)
    case = Case.from_arrays(x, y, forget=[1, 2], test=(x + 100, y))
    assert case.forget.ids.tolist() == ["1", "2"]
    assert len(case.retain) == 6
    assert case.n_classes == 2
    with pytest.raises(CaseError, match=r"1 ids to forget are not among .*first: 99"):
        Case.from_arrays(x, y, forget=[1, 99], test=(x + 100, y))
