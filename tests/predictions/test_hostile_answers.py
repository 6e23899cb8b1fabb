"""Files of predictions made to take all memory or time, or to be mended in silence."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from scipy.special import softmax

from forget_audit.predictions.arrays import MOST_ROWS, PredictionsError
from forget_audit.predictions.content import from_arrays, read
from forget_audit.predictions.models import model_problems
from forget_audit.predictions.tables import LONGEST_TEXT
from tests.predictions.recorded import lines, tiny, write_csv, write_npz


def refuses(path: Path, message: str) -> None:
    start = time.process_time()
    with pytest.raises(PredictionsError, match=message):
        read(path)
    assert time.process_time() - start < 10


def beyond(names: npt.NDArray[Any], point: int) -> npt.NDArray[Any]:
    """Names of which the first ends in a number that stands for no character."""
    changed = names.astype(f"<U{names.dtype.itemsize // 4 + 1}")
    changed.view(np.uint32).reshape(len(names), -1)[0, -1] = point
    return changed


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": np.zeros(1 << 20, np.int8)}, r"version: .* found int8 \(1048576,\)"),
        ({"y_f": np.array(1)}, r"y_f: expected one label a row, found shape \(\)"),
        ({"y_t": np.zeros((9, 1), int)}, r"y_t: expected one label a row, found shape \(9, 1\)"),
        ({"id_f": beyond(tiny()["id_f"], 0x110000)}, "'id_f' holds numbers that stand for no"),
        ({"id_f": beyond(tiny()["id_f"], 0xDFFF)}, "'id_f' holds numbers that stand for no"),
        ({"id_f": np.array([b"\xff%d" % i for i in range(8)])}, "cannot read .* decode"),
        (
            {"prob_A_f": tiny()["prob_A_f"].astype(np.longdouble)},
            "prob_A_f: expected numbers .* found float128",
        ),
        ({"y_f": np.zeros(MOST_ROWS + 1, np.int8)}, "rows: expected at most"),
    ],
    ids=["version", "no axis", "two axes", "beyond", "half", "bytes", "wide", "rows"],
)
def test_arrays(change: Mapping[str, npt.NDArray[Any]], message: str, tmp_path: Path) -> None:
    refuses(write_npz(tmp_path / "answers.npz", {**tiny(), **change}), message)


@pytest.mark.parametrize("names", [b"\xff", b"\xed\xa0\x80"])
def test_bytes_that_are_no_text_are_not_replaced(names: bytes) -> None:
    arrays = {**tiny(), "id_f": np.array([names + b"%d" % i for i in range(8)])}
    with pytest.raises(PredictionsError, match="id_f: expected text in UTF-8"):
        from_arrays(arrays, name="answers.npz", digest="0" * 64)


def table(path: Path, **cells: str) -> Path:
    """A table whose first line has other cells."""
    rows = lines(tiny(f=3, t=3, r=3))
    rows[0] |= cells
    return write_csv(path, rows)


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        ({"p0": "0_5"}, "line 1 below the header: found the sign _"),
        ({"id": "x" * (LONGEST_TEXT + 1)}, "column id: expected texts of at most 500"),
    ],
    ids=["underscore", "long"],
)
def test_cells(cells: dict[str, str], message: str, tmp_path: Path) -> None:
    refuses(table(tmp_path / "answers.csv", **cells), message)


@pytest.mark.parametrize(
    ("count", "message"), [(60_000, "y_f: expected forget rows"), (120_000, "at most 100,000")]
)
def test_more_columns_than_classes(count: int, message: str, tmp_path: Path) -> None:
    """Each name was compared with all others."""
    path = tmp_path / "answers.csv"
    names = ",".join(f"p{i}" for i in range(count))
    path.write_text(f"group,model,part,id,label,{names}\n", encoding="utf-8")
    refuses(path, message)


def test_models_and_rows_that_never_meet(tmp_path: Path) -> None:
    """As many models as lines, and as many rows: their product fits into no memory."""
    count = 100_000
    cells = "\n".join(f"retrained,{i},forget,r{i},0,.5" for i in range(count))
    path = tmp_path / "answers.csv"
    path.write_text(f"group,model,part,id,label,p1\n{cells}\n", encoding="utf-8")
    refuses(path, r"no answer at 9999900000 places \(first: model '0', row 'r1'\)")


def test_the_first_of_several_answers_is_named(tmp_path: Path) -> None:
    rows = lines(tiny(f=3, t=3, r=3))
    path = write_csv(tmp_path / "answers.csv", [rows[0], *rows])
    refuses(path, r"several answers at 1 places \(first: model '1', row 'forget-0'\)")


def test_an_order_of_twenty_thousand_classes_is_found_in_little_memory() -> None:
    """Pairs of classes that nobody names were counted too: 3.2 GB for 50 rows."""
    arrays = tiny(classes=2, r=50)
    wide, rng = 20_000, np.random.default_rng(0)
    for name in [name for name in arrays if name.startswith("prob")]:
        arrays[name] = np.concatenate(
            [arrays[name], np.zeros((*arrays[name].shape[:2], wide - 2))], axis=2
        )
    labels = rng.integers(0, wide, 50)
    for group, models in (("R", 6), ("O", 2)):
        sure = np.zeros((models, 50, wide))
        sure[:, np.arange(50), (labels + 1) % wide] = 9 + rng.random((models, 50))
        arrays[f"prob_{group}_r"] = softmax(sure, axis=-1)
    arrays["y_r"] = labels
    found = [str(problem) for problem in model_problems(arrays)]
    assert sum("another order" in text for text in found) == 2
