"""A data set: labelled rows before anybody has asked for deletion."""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from forget_audit.seeds import generator
from forget_audit.types import Ids, Labels, Rows, Sensitive

ROLES = ("train", "test", "auxiliary")


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
        classes: Names of the classes, if they have names.
        dropped: Ids of the rows of equal content that were left out.
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
    classes: tuple[str, ...] = ()
    dropped: tuple[str, ...] = ()

    @property
    def n_classes(self) -> int:
        """Number of outputs: classes, labels being 0 to this minus one, or columns of a matrix."""
        y = self.rows.y
        return max(int(y.max()) + 1, len(self.classes)) if y.ndim == 1 else y.shape[1]


def distinct(dataset: Dataset) -> Dataset:
    """Keep the first of rows with equal content, training rows first, and size the roles anew.

    Every row is read once, one at a time, and remembered by its digest. A test row that equals a
    training row is no control, so it is the one that goes.
    """
    rows, split = dataset.rows, dataset.split
    contents = rows.contents.tolist()
    order = range(len(rows)) if split is None else np.argsort(split != "train", kind="stable")
    first: dict[bytes, int] = {}
    for place in order:
        first.setdefault(contents[place], int(place))
    kept = np.array(sorted(first.values()), dtype=np.int64)
    split = None if split is None else split[kept]
    left_out = np.delete(rows.ids, kept)
    return replace(
        dataset,
        rows=rows if len(kept) == len(rows) else rows.take(kept),
        split=split,
        subclasses=None if dataset.subclasses is None else dataset.subclasses[kept],
        sizes=shares(len(kept)) if split is None else role_sizes(split),
        duplicates_dropped=dataset.duplicates_dropped + len(left_out),
        dropped=(*dataset.dropped, *left_out.tolist()),
    )


def positioned(
    name: str, title: str, x: npt.NDArray[np.float64], y: npt.NDArray[np.int64]
) -> Dataset:
    """Return rows whose ids are their positions in the source, the first of equal ones."""
    ids = np.array([f"{name}-{i}" for i in range(len(x))], dtype=np.str_)
    rows = Rows(x=x.astype(np.float32) + np.float32(0), y=y.astype(np.int64), ids=ids)
    return distinct(Dataset(name=name, title=title, rows=rows, sizes=shares(len(rows))))


def shares(n: int) -> tuple[int, int, int]:
    """Return how many of `n` rows are trained on, tested on and kept aside, if nobody says."""
    return n // 2, n // 4, n - n // 2 - n // 4


def role_sizes(split: Ids) -> tuple[int, int, int]:
    """Return how many rows are trained on, tested on and kept aside in a fixed split."""
    train, test, auxiliary = (int(np.sum(split == role)) for role in ROLES)
    return train, test, auxiliary


def keep_aside(split: Ids, seed: int, name: str, groups: Ids | None = None) -> Ids:
    """Turn half of the test rows into auxiliary rows, where a source has none of them.

    Attacks are fitted on auxiliary rows; published data sets often have only training and test
    rows. The half is drawn by `seed`, by person where rows have persons.

    Args:
        split: Role of each row `(n,)`.
        seed: Draws the half.
        name: Of the source, so that the halves of two sources differ.
        groups: The person of each row `(n,)`; every row is its own if left out.
    """
    if np.any(split == "auxiliary"):
        return split
    people = np.arange(len(split)) if groups is None else groups
    held = np.unique(people[split == "test"])
    aside = generator(seed, name, "auxiliary").permutation(held)[: len(held) // 2]
    return np.where((split == "test") & np.isin(people, aside), "auxiliary", split).astype(np.str_)
