"""Tables and texts of the user's own, and what a function of theirs returns."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from forget_audit.attributes import look_inside
from forget_audit.data import Request, prepare
from forget_audit.datasets import Dataset
from forget_audit.errors import CaseError, MissingDependency
from forget_audit.sources.loading import load
from tests.fixtures import formats


def read(path: Path, **options: Any) -> Dataset:
    kind = path.suffix[1:] if path.suffix != ".tsv" else "text"
    return load(f"{kind}:{path.name}", folder=path.parent, options=options)


def written(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_tables_with_people(ending: str, tmp_path: Path) -> None:
    path = tmp_path / f"rows.{ending}"
    formats.make_table(path, 60, units=12)
    dataset = read(path, sensitive="smoker", standardise=True)
    assert dataset.rows.x.shape == (60, 3)
    assert dataset.rows.x.mean(axis=0) == pytest.approx(0, abs=1e-5)
    assert dataset.rows.x.std(axis=0) == pytest.approx(1, abs=1e-4)
    assert dataset.rows.units is not None
    assert len(set(dataset.rows.units.tolist())) == 12
    assert dataset.sensitive is not None
    assert (dataset.sensitive.column, dataset.sensitive.name) == (2, "smoker")
    assert set(dataset.rows.x[:, 2].tolist()) == set(dataset.sensitive.values)
    case = prepare(dataset, Request(ids=("unit-3",)), seed=0)
    assert case.sensitive == dataset.sensitive
    assert case.forget.ids.tolist() == [f"person-{3 + 12 * i}" for i in range(5)]


def test_csv_and_parquet_hold_the_same_rows(tmp_path: Path) -> None:
    tables = []
    for name in ("a.csv", "a.parquet"):
        formats.make_table(tmp_path / name)
        tables.append(read(tmp_path / name))
    assert np.array_equal(tables[0].rows.x, tables[1].rows.x)
    assert np.array_equal(tables[0].rows.y, tables[1].rows.y)
    assert tables[0].rows.ids.tolist() == tables[1].rows.ids.tolist()


def test_equal_rows_are_kept_once_and_named(tmp_path: Path) -> None:
    lines = ["id,a,label,split", "u,1,0,test", "v,1,0,train", "w,1,1,train", "x,2,1,train"]
    dataset = read(written(tmp_path / "rows.csv", *lines, "y,3,0,test"))
    assert dataset.rows.ids.tolist() == ["v", "x", "y"]
    assert dataset.dropped == ("u", "w")
    assert dataset.duplicates_dropped == 2
    assert dataset.sizes == (2, 1, 0)


def test_columns_may_have_other_names(tmp_path: Path) -> None:
    path = written(tmp_path / "rows.csv", "patient,a,ill", "p,1,0", "q,2,1", "q,3,1")
    dataset = read(path, label="ill", unit="patient")
    assert dataset.rows.y.tolist() == [0, 1, 1]
    assert dataset.rows.groups.tolist() == ["p", "q", "q"]
    assert dataset.rows.ids.tolist() == ["0", "1", "2"]


def test_names_of_classes_are_numbered_in_order(tmp_path: Path) -> None:
    dataset = read(written(tmp_path / "rows.csv", "a,label", "1,owl", "2,cat", "3,owl"))
    assert dataset.rows.y.tolist() == [1, 0, 1]
    assert dataset.classes == ("cat", "owl")
    assert dataset.n_classes == 2


def test_several_labels_make_a_matrix(tmp_path: Path) -> None:
    path = written(tmp_path / "rows.csv", "a,label:ill,label:old", "1,1,0", "2,0,1", "3,-1,1")
    dataset = read(path)
    assert dataset.rows.y.tolist() == [[1, 0], [0, 1], [-1, 1]]
    assert dataset.labels == ("ill", "old")
    assert dataset.n_classes == 2
    x, y = np.arange(6.0).reshape(3, 2), np.array([[1, 0, 1]] * 3)
    np.savez(tmp_path / "rows.npz", x=x, y=y, labels=np.array(["a", "b", "c"]))
    assert read(tmp_path / "rows.npz").labels == ("a", "b", "c")


def test_arrays_with_everything(tmp_path: Path) -> None:
    x = np.stack([np.arange(20), np.arange(20) % 2], axis=1)
    more: dict[str, Any] = {
        "columns": np.array(["age", "smoker"]),
        "ids": np.array([f"p{i}" for i in range(20)]),
        "unit": np.arange(20) // 2,
        "subclass": np.arange(20) % 4,
        "split": np.array(["train"] * 10 + ["test"] * 10),
        "classes": np.array(["no", "yes"]),
    }
    np.savez(tmp_path / "rows.npz", x=x, y=np.arange(20) % 2, **more)
    dataset = read(tmp_path / "rows.npz", sensitive="smoker", standardise=True)
    assert dataset.rows.units is not None
    assert dataset.rows.units[:3].tolist() == ["0", "0", "1"]
    assert dataset.subclasses is not None
    assert dataset.subclasses[:5].tolist() == [0, 1, 2, 3, 0]
    assert dataset.classes == ("no", "yes")
    train = dataset.rows.x[:10, 0]
    assert (train.mean(), train.std()) == pytest.approx((0, 1), abs=1e-6)
    assert dataset.rows.x[10:, 0].min() > 1
    assert dataset.sensitive == read(tmp_path / "rows.npz", sensitive=1, standardise=True).sensitive


@pytest.mark.parametrize(
    ("lines", "options", "message"),
    [
        (["a,a,label", "1,2,0"], {}, "has two columns called 'a'"),
        (["a,label", "1,0,7"], {}, "row 1 has more cells than there are columns"),
        (["a,label", "1,0", "2,cat"], {}, "or all of them names, found 'cat' among numbers"),
        (["a,label", "1,0", "2,100000"], {}, "number the classes anew"),
        (["a,label", "1,-1"], {}, "labels must be whole numbers from 0"),
        (["a,label", "1e39,0"], {}, "features must be finite"),
        (["id,label", "a,1"], {}, "no column is left for features"),
        (["a,label,label:b", "1,0,1"], {}, "needs a column 'label', or columns such as"),
        (["a,label:b", "1,2"], {}, "a label matrix .* of 0, 1 and -1"),
        (["a,b,label", "1,2,0", "1,x,0"], {}, "row 2, column 'b': expected a number, found 'x'"),
        (["a,b,label", "1,2,0", "1,,0"], {}, "row 2, column 'b' is empty; fill it or drop"),
        (["a,b,label", "1,2_3,0"], {}, "row 1, column 'b': expected a number, found '2_3'"),
        (["a,label", "1,0", "2,"], {}, "labels must not be empty, found none in row 2"),
        (["a,label", "1,cat", "2,"], {}, "labels must not be empty, found none in row 2"),
        (["a,label:b", "1,0", "2,"], {}, "row 2, column 'label:b' is empty"),
        (["a,label", "1,0"], {"sensitive": "b"}, "unknown sensitive column 'b'"),
        (["a,label", "1,0"], {"sensitive": "a"}, "takes 2 to 10 values, 'a' takes 1"),
        (["a,label", "1,0"], {"sensitive": 4}, "there is no column 4"),
        (["a,label", "1,0"], {"label": "ill"}, "needs a column 'ill'"),
        (["id,a,label", "x,1,0", "x,2,1"], {}, "row ids must be distinct, found 'x' twice"),
    ],
)
def test_bad_tables_say_what_is_wrong(
    lines: list[str], options: dict[str, Any], message: str, tmp_path: Path
) -> None:
    path = written(tmp_path / "rows.csv", *lines)
    with pytest.raises(CaseError, match=message):
        read(path, **options)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            "a,name,label\n1,x,0\n2,é,1\n".encode("latin-1"),
            "as a table of numbers: line 3 is not text in UTF-8; save it as UTF-8",
        ),
        (
            "a,label\n1,0\n".encode("utf-16"),
            "as a table of numbers: it is text in UTF-16; save it as UTF-8",
        ),
        (
            b"PK\x03\x04\x14\x00\x06\x00" + b"xl/workbook.xml" * 9,
            "as a table of numbers: it is an Excel file or another archive, whatever its name; "
            "save the sheet as CSV, in UTF-8",
        ),
        (
            b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" * 9,
            "as a table of numbers: it is an Excel file",
        ),
    ],
    ids=["latin-1", "utf-16", "xlsx", "xls"],
)
def test_tables_that_are_no_text_in_utf_8(content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_bytes(content)
    with pytest.raises(CaseError) as caught:
        read(tmp_path / "rows.csv")
    assert str(caught.value).startswith(f"cannot read rows.csv {message}")


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"a": [1.0, None], "label": [0, 1]}, "column 'a' has 1 empty cells"),
        ({"a": [[1], [2]], "label": [0, 1]}, "column 'a' holds lists or records"),
        ({"a": ["x", "y"], "label": [0, 1]}, "row 1, column 'a': expected a number, found 'x'"),
        ({"a": [1, 2]}, "needs a column 'label'"),
    ],
    ids=["null", "nested", "text", "label"],
)
def test_bad_parquet_says_what_is_wrong(
    columns: dict[str, Any], message: str, tmp_path: Path
) -> None:
    pa = pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed")
    parquet.write_table(pa.table(columns), tmp_path / "rows.parquet")
    with pytest.raises(CaseError, match=message):
        read(tmp_path / "rows.parquet")


def test_categories_of_parquet_are_names(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed")
    label = pa.array(["owl", "cat"]).dictionary_encode()
    table = pa.table({"a": [True, False], "b": [1, 2], "label": label})
    parquet.write_table(table, tmp_path / "rows.parquet")
    dataset = read(tmp_path / "rows.parquet")
    assert dataset.classes == ("cat", "owl")
    assert dataset.rows.x.tolist() == [[1, 1], [0, 2]]


def test_without_pyarrow_the_line_that_installs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingDependency, match=r'pip install "forget-audit\[parquet\]"'):
        read(tmp_path / "rows.parquet")


# Texts


def test_texts_become_word_numbers(tmp_path: Path) -> None:
    lines = ["text\tlabel\tsplit", "the good the cat\t1\ttrain", "The bad\t0\ttrain"]
    path = written(tmp_path / "rows.tsv", *lines, "a new good\t1\ttest")
    dataset = read(path, length=5)
    number = {"bad": 2, "cat": 3, "good": 4, "the": 5}
    assert dataset.rows.x.tolist() == [
        [number["the"], number["good"], number["the"], number["cat"], 0],
        [number["the"], number["bad"], 0, 0, 0],
        [1, number["good"], 0, 0, 0],  # `new` is known from no training row
    ]
    few = read(path, length=2, max_words=3)
    assert few.rows.x.tolist() == [[2, 1], [1, 2], [1, 1]][:1] + [[2, 1], [1, 1]][1:]
    assert few.dropped == ("1",)  # of the same words as the first, as far as they are known
    cased = read(path, length=5, lower_case=False)
    assert cased.rows.x[0, 0] != cased.rows.x[1, 0]


def test_word_numbers_stay_below_the_most(tmp_path: Path) -> None:
    formats.make_texts(tmp_path / "rows.tsv", 80, split=True)
    dataset = read(tmp_path / "rows.tsv", max_words=12)
    assert dataset.rows.x.max() == 11
    assert dataset.rows.x.shape[1:] == (64,)
    assert dataset.sizes == (40, 20, 20)
    assert dataset.rows.ids[0] == "text-0"


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["words\tlabel", "a b\t0"], "needs a column 'text' and rows, found words, label"),
        (["text\tlabel", "a\t0"], "empty vocabulary"),
        (["text\tlabel", f"{'x' * 200_000}\t0"], "field larger than field limit"),
    ],
    ids=["column", "words", "long"],
)
def test_bad_texts_say_what_is_wrong(lines: list[str], message: str, tmp_path: Path) -> None:
    with pytest.raises(CaseError, match=message):
        read(written(tmp_path / "rows.tsv", *lines))


# Class imbalance


def rare_class(path: Path, rare: int) -> Dataset:
    rng = np.random.default_rng(0)
    y = np.where(np.arange(100) < rare, 1, 0)
    np.savez(path, x=rng.normal(size=(100, 3)), y=y)
    return read(path)


def test_a_rare_class_can_be_forgotten_only_where_it_is_tested_on(tmp_path: Path) -> None:
    dataset = rare_class(tmp_path / "rows.npz", 2)
    found = set()
    for seed in range(12):
        try:
            case = prepare(dataset, Request(classes=(1,)), seed=seed)
            assert len(case.forget) == len(case.test) == 1
            found.add("ok")
        except CaseError as error:
            found.add(str(error).split(" are left")[0])
    assert found == {"ok", "no test rows", "no forget rows"}
    single = prepare(dataset, Request(ids=("0",)), seed=0)
    assert single.forget.y.tolist() == [1]
    assert look_inside([], single, 0, "score") == {}


# Functions of the user's own


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    written(
        tmp_path / "my_rows.py",
        "import numpy as np",
        "def pair(n=4): return np.arange(n * 2.0).reshape(n, 2), np.arange(n) % 2",
        "def matrix(): return np.eye(3), np.eye(3, dtype=int)",
        "def nothing(): return None",
        "def strange(): return [1, 2]",
        "def none(): return []",
        "number = 3",
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "my_rows", raising=False)
    return "my_rows"


def test_functions_take_the_options(module: str) -> None:
    assert len(load(f"{module}:pair", folder=Path()).rows) == 4
    assert len(load(f"{module}:pair", folder=Path(), options={"n": 6}).rows) == 6
    assert load(f"{module}:matrix", folder=Path()).labels == ("label 0", "label 1", "label 2")


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("pair", {"m": 1}, "does not accept the options"),
        ("nothing", {}, "must return a Dataset, the pair"),
        ("strange", {}, "its first item is <class 'int'>"),
        ("none", {}, "returned no rows"),
        ("number", {}, "is no function"),
        ("missing", {}, "cannot import my_rows:missing"),
    ],
)
def test_functions_that_do_not_fit(
    module: str, name: str, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(CaseError, match=message):
        load(f"{module}:{name}", folder=Path(), options=options)
