"""Data sets as labelled rows with stable ids: bundled ones, files, and the user's own."""

import csv
import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt

from forget_audit.architectures import import_object
from forget_audit.errors import CaseError, ModelError
from forget_audit.registry import unknown
from forget_audit.seeds import generator
from forget_audit.types import Ids, Labels, Rows, Sensitive


@dataclass(frozen=True, kw_only=True, eq=False)
class Dataset:
    """Rows before anybody has asked for deletion.

    Args:
        name: Registry name or source.
        title: What it is and where it comes from.
        rows: All rows, without duplicates.
        sizes: How many rows are trained on, tested on and kept aside.
        subclasses: A finer class of each row `(n,)`, if there is one.
        split: Role of each row (`train`, `test`, `auxiliary`) if the owner has fixed it.
        sensitive: A column whose inference is tried.
        duplicates_dropped: Rows of equal content that were left out.
        label_noise: Share of labels drawn at random.
        labels: Names of the columns of a label matrix.
    """

    name: str
    title: str
    rows: Rows
    sizes: tuple[int, int, int]
    subclasses: Labels | None = None
    split: Ids | None = None
    sensitive: Sensitive | None = None
    duplicates_dropped: int = 0
    label_noise: float = 0.0
    labels: tuple[str, ...] = ()

    @property
    def n_classes(self) -> int:
        """Number of outputs: classes, labels being 0 to this minus one, or columns of a matrix."""
        y = self.rows.y
        return int(y.max()) + 1 if y.ndim == 1 else y.shape[1]


def digits(seed: int, label_noise: float) -> Dataset:
    """Load 1,797 handwritten digits of 8 x 8 pixels (scikit-learn, from UCI).

    Args:
        seed: Draws the label noise.
        label_noise: Share of labels drawn uniformly from all classes, so that there is
            something to memorise; without it the digits carry too little signal.
    """
    from sklearn.datasets import load_digits

    bunch = load_digits()
    x, y = bunch.data / 16, np.asarray(bunch.target).copy()
    rng = generator(seed, "label noise")
    noisy = rng.random(len(y)) < label_noise
    y[noisy] = rng.integers(0, 10, int(noisy.sum()))
    title = "Optical recognition of handwritten digits (UCI), as bundled with scikit-learn"
    return replace(_distinct("digits", title, x, y), sizes=(700, 400, 697), label_noise=label_noise)


def digit_groups(seed: int, label_noise: float) -> Dataset:
    """Load the digits under five labels, {0, 1}, {2, 3}, ..., with the digits as sub-classes."""
    _refuse_noise("digit_groups", label_noise)
    fine = digits(seed, 0.0)
    rows = fine.rows
    return replace(
        fine,
        name="digit_groups",
        title=f"{fine.title}, in five groups of two",
        rows=Rows(x=rows.x, y=rows.y // 2, ids=rows.ids),
        subclasses=rows.y,
    )


def digit_attributes(seed: int, label_noise: float) -> Dataset:
    """Load the digits under four yes-or-no labels: even, at least five, has a loop, prime."""
    _refuse_noise("digit_attributes", label_noise)
    fine = digits(seed, 0.0)
    rows, y = fine.rows, fine.rows.y
    columns = [y % 2 == 0, y >= 5, np.isin(y, (0, 6, 8, 9)), np.isin(y, (2, 3, 5, 7))]
    return replace(
        fine,
        name="digit_attributes",
        title=f"{fine.title}, under four labels",
        rows=Rows(x=rows.x, y=np.stack(columns, axis=1).astype(np.int64), ids=rows.ids),
        labels=("even", "at least five", "has a loop", "prime"),
    )


def randhie(_seed: int, label_noise: float) -> Dataset:
    """Load people of the RAND Health Insurance Experiment (statsmodels, public domain).

    The label is the number of outpatient visits in three groups: none, one to three, four or
    more. People of equal records are kept once; records whose physical limitation the study had
    to impute are left out, because that is the sensitive column.
    """
    import statsmodels.api as sm

    _refuse_noise("randhie", label_noise)
    frame = sm.datasets.randhie.load_pandas().data
    frame = frame[frame["physlm"].isin([0, 1])]
    y = np.digitize(frame["mdvis"], [1, 4])
    table = frame.drop(columns="mdvis")
    x = table.to_numpy(dtype=np.float64)
    column = int(table.columns.get_loc("physlm"))
    mean, spread = x.mean(axis=0), x.std(axis=0)
    values = tuple(float(np.float32((v - mean[column]) / spread[column])) for v in (0.0, 1.0))
    title = (
        "RAND Health Insurance Experiment: outpatient visits in three groups, as bundled with "
        "statsmodels"
    )
    dataset = _distinct("randhie", title, (x - mean) / spread, y)
    return replace(
        dataset,
        sizes=(700, 400, len(dataset.rows) - 1100),
        sensitive=Sensitive(column=column, name="physical limitation", values=values),
    )


def fair(_seed: int, label_noise: float) -> Dataset:
    """Load 6,366 women of a magazine's survey of 1974 on marriage (statsmodels, public domain).

    The label is whether the woman had an affair. Equal records are kept once.
    """
    import statsmodels.api as sm

    _refuse_noise("fair", label_noise)
    frame = sm.datasets.fair.load_pandas().data
    title = "Redbook survey on marriage of 1974 (Fair, 1978), as bundled with statsmodels"
    table = frame.drop(columns="affairs").to_numpy(dtype=np.float64)
    return _standardised("fair", title, table, frame["affairs"] > 0, sizes=(1100, 400))


def anes96(_seed: int, label_noise: float) -> Dataset:
    """Load 944 voters of the American election study of 1996 (statsmodels, public domain).

    The label is the party in three groups: Democrats, independents and leaners, Republicans.
    """
    import statsmodels.api as sm

    _refuse_noise("anes96", label_noise)
    frame = sm.datasets.anes96.load_pandas().data
    title = "American National Election Study of 1996, as bundled with statsmodels"
    table = frame.drop(columns="PID").to_numpy(dtype=np.float64)
    return _standardised("anes96", title, table, np.digitize(frame["PID"], [2, 5]), (500, 240))


def _standardised(
    name: str, title: str, x: npt.NDArray[np.float64], y: npt.ArrayLike, sizes: tuple[int, int]
) -> Dataset:
    x = (x - x.mean(axis=0)) / x.std(axis=0)
    dataset = _distinct(name, title, x, np.asarray(y, dtype=np.int64))
    return replace(dataset, sizes=(*sizes, len(dataset.rows) - sum(sizes)))


LOADERS: Mapping[str, Callable[[int, float], Dataset]] = {
    "digits": digits,
    "digit_groups": digit_groups,
    "digit_attributes": digit_attributes,
    "fair": fair,
    "anes96": anes96,
    "randhie": randhie,
}


def load(source: str, *, folder: Path, seed: int = 0, label_noise: float = 0.0) -> Dataset:
    """Load a registered data set, `package.module:function`, `npz:path` or `csv:path`.

    An npz file holds `x`, `y` and optionally `ids` and `split`; a csv file has a column
    `label`, optionally `id` and `split`, and numbers in all others. A function returns a
    `Dataset` or the pair `(x, y)`.

    Args:
        source: What to load.
        folder: Where relative paths start.
        seed: Draws label noise.
        label_noise: Of `digits` only.

    Raises:
        CaseError: If the source is unknown or its content does not fit.
    """
    if source in LOADERS:
        return LOADERS[source](seed, label_noise)
    _refuse_noise(source, label_noise)
    kind, _, rest = source.partition(":")
    if kind == "npz" and rest:
        return _from_npz(source, folder / rest)
    if kind == "csv" and rest:
        return _from_csv(source, folder / rest)
    if rest:
        return _from_function(source)
    raise CaseError(
        unknown("data set", source, LOADERS) + ", package.module:function, npz:PATH, csv:PATH"
    )


def _refuse_noise(source: str, label_noise: float) -> None:
    if label_noise:
        raise CaseError(f"label noise is for digits only, found {label_noise:g} for {source}")


def _distinct(
    name: str, title: str, x: npt.NDArray[np.float64], y: npt.NDArray[np.int64]
) -> Dataset:
    """Keep the first of rows with equal content; ids are positions in the source."""
    features = x.astype(np.float32)
    _, first = np.unique(features, axis=0, return_index=True)
    kept = np.sort(first)
    ids = np.array([f"{name}-{i}" for i in kept], dtype=np.str_)
    rows = Rows(x=features[kept], y=y[kept].astype(np.int64), ids=ids)
    return Dataset(
        name=name, title=title, rows=rows, sizes=_shares(len(rows)),
        duplicates_dropped=len(x) - len(rows),
    )  # fmt: skip


def _shares(n: int) -> tuple[int, int, int]:
    return n // 2, n // 4, n - n // 2 - n // 4


def _from_arrays(source: str, arrays: Mapping[str, npt.NDArray[np.generic]]) -> Dataset:
    for name in ("x", "y"):
        if name not in arrays:
            raise CaseError(
                f"{source} holds no array {name!r}; found {', '.join(arrays) or 'none'}"
            )
    x, y = arrays["x"], arrays["y"]
    if not np.issubdtype(x.dtype, np.number) or not np.all(np.isfinite(x.astype(np.float64))):
        raise CaseError(f"{source}: features must be finite numbers, found type {x.dtype}")
    with np.errstate(invalid="ignore"):
        labels = y.astype(np.int64)
    if not np.array_equal(labels, y) or labels.min(initial=0) < 0:
        raise CaseError(f"{source}: labels must be whole numbers from 0, found {y[:3].tolist()}")
    ids = arrays.get("ids", np.arange(len(x))).astype(np.str_)
    split: Ids | None = None
    if "split" in arrays:
        split = arrays["split"].astype(np.str_)
        roles = {"train", "test", "auxiliary"}
        odd = sorted(set(split.tolist()) - roles)
        if odd:
            raise CaseError(f"{source}: split must be one of {sorted(roles)}, found {odd[0]!r}")
    rows = Rows(x=x.astype(np.float32), y=labels, ids=ids)
    return Dataset(name=source, title=source, rows=rows, sizes=_shares(len(rows)), split=split)


def _from_npz(source: str, path: Path) -> Dataset:
    try:
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except (OSError, ValueError, KeyError, EOFError, BadZipFile) as error:
        raise CaseError(f"cannot read {path.name} as npz without pickle: {error}") from error
    return _from_arrays(source, arrays)


def _from_csv(source: str, path: Path) -> Dataset:
    try:
        with path.open(newline="", encoding="utf-8") as file:
            table = list(csv.DictReader(file, strict=True))
        columns = {name: [row[name] for row in table] for name in (table[0] if table else {})}
        labels = np.array(columns.pop("label"), dtype=np.float64)
        arrays: dict[str, npt.NDArray[np.generic]] = {"y": labels}
        for name, key in (("ids", "id"), ("split", "split")):
            if key in columns:
                arrays[name] = np.array(columns.pop(key), dtype=np.str_)
        arrays["x"] = np.array(list(columns.values()), dtype=np.float64).T
    except KeyError as error:
        raise CaseError(f"{path.name} needs a column 'label', found no rows or no label") from error
    except (OSError, UnicodeDecodeError, csv.Error, ValueError, TypeError) as error:
        raise CaseError(f"cannot read {path.name} as a table of numbers: {error}") from error
    return _from_arrays(source, arrays)


def _from_function(source: str) -> Dataset:
    try:
        function = import_object(source)
    except ModelError as error:
        raise CaseError(str(error)) from error
    if not callable(function):
        raise CaseError(f"{source} is no function")
    made = function()
    if isinstance(made, Dataset):
        return made
    if isinstance(made, tuple) and len(made) == 2:
        return _from_arrays(source, {"x": np.asarray(made[0]), "y": np.asarray(made[1])})
    raise CaseError(f"{source} must return a Dataset or the pair (x, y), found {type(made)}")
