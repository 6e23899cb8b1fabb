"""What every reader of images ends in: limited, dealt, without duplicates, and scaled."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from forget_audit.datasets import ROLES, Dataset, distinct, keep_aside, role_sizes, shares
from forget_audit.seeds import generator
from forget_audit.sources.files import identifier
from forget_audit.sources.images import Scaled
from forget_audit.sources.options import ImageOptions
from forget_audit.streaming import Features, Items, Streamed, as_stream
from forget_audit.types import Ids, Labels, Rows


@dataclass(frozen=True, kw_only=True, eq=False)
class Pictures:
    """Pictures and what is known of them, as a source has them.

    Args:
        items: The pictures.
        y: Classes `(n,)` or a label matrix.
        ids: Of the pictures.
        split: Official role of each picture, if there is one.
        units: The person of each picture.
        subclasses: A finer class of each picture.
        labels: Names of the columns of a label matrix.
        classes: Names of the classes.
    """

    items: Items
    y: Labels
    ids: Ids
    split: Ids | None = None
    units: Ids | None = None
    subclasses: Labels | None = None
    labels: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()


def assemble(
    name: str, title: str, pictures: Pictures, options: ImageOptions, *, stream: bool
) -> Dataset:
    """Limit, deal and scale pictures, and drop those of equal content.

    Args:
        name: Of the data set.
        title: What it is and where it comes from.
        pictures: As the source has them.
        options: Of the reader.
        stream: Whether they are read when asked for, if no option says so.
    """
    split = pictures.split
    if split is not None:
        split = keep_aside(split, options.seed, name, pictures.units)
    index = _chosen(len(pictures.items), split, options, name)
    streamed = Streamed(pictures.items, index)
    x: Any = streamed
    if not (stream if options.stream is None else options.stream):
        x = streamed[:]
        x.flags.writeable = False  # so that rows need no copy
    kept = None if split is None else split[index]
    dataset = distinct(
        Dataset(
            name=name,
            title=title,
            rows=Rows(
                x=x,
                y=pictures.y[index],
                ids=pictures.ids[index],
                units=None if pictures.units is None else pictures.units[index],
            ),
            sizes=shares(len(index)) if kept is None else role_sizes(kept),
            split=kept,
            subclasses=None if pictures.subclasses is None else pictures.subclasses[index],
            labels=pictures.labels,
            classes=pictures.classes,
        )
    )
    return _standardised(dataset) if options.normalise == "standard" else dataset


def position_ids(prefix: str, n: int) -> Ids:
    """Return ids by position in the source."""
    return np.array([f"{prefix}-{i}" for i in range(n)], dtype=np.str_)


def name_ids(names: Sequence[str]) -> Ids:
    """Return file names as ids."""
    return np.array([identifier(name) for name in names], dtype=np.str_)


def _chosen(n: int, split: Ids | None, options: ImageOptions, name: str) -> npt.NDArray[np.int64]:
    if options.limit is None:
        return np.arange(n)
    rng = generator(options.seed, name, "limit")
    groups = [np.arange(n)] if split is None else [np.flatnonzero(split == r) for r in ROLES]
    drawn = [rng.permutation(group)[: options.limit] for group in groups]
    return np.sort(np.concatenate(drawn))


def _standardised(dataset: Dataset) -> Dataset:
    """Scale by mean and spread of each channel over the training rows, or all if undealt."""
    rows = dataset.rows
    train = range(len(rows)) if dataset.split is None else np.flatnonzero(dataset.split == "train")
    axes = tuple(range(1, rows.x.ndim - 1))
    sums = [(row.mean(axes), np.square(row).mean(axes)) for row in _each(rows.x, train)]
    means, squares = (np.mean(part, axis=0) for part in zip(*sums, strict=True))
    spread = np.sqrt(np.maximum(squares - means**2, 0))
    shape = (-1, *(1 for _ in axes))
    mean = means.reshape(shape).astype(np.float32)
    spread = np.where(spread > 1e-6, spread, 1).reshape(shape).astype(np.float32)
    stream = as_stream(rows.x)
    x: Any = (
        (rows.x - mean) / spread
        if stream is None
        else Streamed(Scaled(rows=stream, mean=mean, spread=spread))
    )
    return replace(dataset, rows=rows.replace(x=x))


def _each(x: Features, places: Sequence[int] | npt.NDArray[np.int64]) -> Any:
    return (x[int(place)].astype(np.float64) for place in places)
