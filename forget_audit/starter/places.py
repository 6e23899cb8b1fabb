"""What a user points at: where files are named from, and the rows or predictions in them."""

from __future__ import annotations

import csv
import os
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from forget_audit import predictions
from forget_audit.datasets import Dataset
from forget_audit.errors import CaseError
from forget_audit.predictions import Predictions
from forget_audit.predictions.content import READERS as ENDINGS
from forget_audit.sources.loading import READERS, load
from forget_audit.starter.writing import ADAPTER, OURS, WRITER

EXAMPLES = ("load", "stream")
TABLES = ("npz", "csv", "parquet")
LACKS = "needs a column 'label'"


@dataclass(frozen=True, kw_only=True)
class Located:
    """A file or folder that exists.

    Args:
        path: From where the user types.
        named: From where the plan stands, which may not be there yet.
    """

    path: Path
    named: str


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where files are named from, and where the plan will stand.

    Args:
        here: Folder in which the user types.
        folder: Of the plan; paths in it start there.
    """

    here: Path
    folder: Path

    def locate(self, name: str, what: str) -> Located:
        """Return something that exists, as the user sees it and as the plan has to name it.

        Raises:
            CaseError: If it is neither here nor in the folder of the plan.
        """
        path = Path(name).expanduser()
        if path.is_absolute() and path.exists():
            return Located(path=path, named=path.as_posix())
        if (self.here / path).exists():
            named = Path(os.path.relpath(self.here / path, self.folder)).as_posix()
            return Located(path=self.here / path, named=named)
        if (self.folder / path).exists():
            return Located(path=self.folder / path, named=path.as_posix())
        raise CaseError(f"there is no {what} {name} in {self.here.resolve()}")

    def can_import(self) -> None:
        """Let modules beside the plan be imported, as they can when the plan is read."""
        folder = str(self.folder.resolve())
        if folder not in sys.path:
            sys.path.insert(0, folder)


@dataclass(frozen=True, kw_only=True, eq=False)
class Found:
    """Rows that a source gives, or will give once its example is written.

    Args:
        source: As the plan has to name it.
        options: Of its reader.
        dataset: The rows; none before the example is written.
    """

    source: str
    options: Mapping[str, object]
    dataset: Dataset | None

    @property
    def images(self) -> bool:
        """Whether a reader of images gives them."""
        kind = self.source.partition(":")[0]
        return kind in READERS and kind not in (*TABLES, "text")

    def sentence(self) -> str:
        """Say what was found."""
        if self.dataset is None:
            return f"{self.source} will be an example in {ADAPTER}"
        rows, labels = self.dataset.rows, self.dataset.labels
        said = [f"{len(rows):,} rows"]
        if labels:
            said.append(f"{len(labels)} labels ({', '.join(labels)})")
        else:
            said.append(f"{self.dataset.n_classes} classes")
        if rows.units is not None:
            said.append(f"{len(np.unique(rows.units)):,} people")
        if self.dataset.duplicates_dropped:
            said.append(f"{self.dataset.duplicates_dropped:,} more of equal content left out")
        return f"found {', '.join(said)}"


def columns_of(text: str, place: Place) -> list[str]:
    """Return the names of the columns of a csv source; none if it is something else."""
    kind, _, rest = _source(text).partition(":")
    with suppress(CaseError, OSError, UnicodeDecodeError, csv.Error):
        if kind == "csv":
            path = place.locate(rest, "file").path
            with path.open(newline="", encoding="utf-8-sig") as file:
                return next(csv.reader(file, strict=True), [])
    return []


def find_rows(text: str, options: Mapping[str, object], place: Place) -> Found:
    """Load the rows of a source.

    Args:
        text: `csv:PATH`, `digits`, `package.module:function` and so on; paths start here.
        options: Of the reader.
        place: Where files are named from.

    Raises:
        CaseError: If there are none, or they cannot be read.
    """
    source = _source(text)
    kind, _, rest = source.partition(":")
    if kind in READERS and rest:
        there = place.locate(rest, "file or folder")
        try:
            dataset = load(f"{kind}:{there.path}", folder=place.here, options=options)
        except CaseError as error:
            hint = "; is it another one, add --option label=NAME" if LACKS in str(error) else ""
            raise CaseError(f"{error}{hint}") from error
        return Found(source=f"{kind}:{there.named}", options=options, dataset=dataset)
    if text in (f"{OURS}{name}" for name in EXAMPLES) and not (place.folder / ADAPTER).exists():
        return Found(source=text, options=options, dataset=None)
    place.can_import()
    dataset = load(source, folder=place.folder, options=options)
    return Found(source=source, options=options, dataset=dataset)


@dataclass(frozen=True, kw_only=True)
class Answered:
    """A file of predictions, or where one will be.

    Args:
        name: As the plan has to name it.
        content: What it holds; nothing before it is written.
    """

    name: str
    content: Predictions | None

    def sentence(self) -> str:
        """Say what was found."""
        if self.content is None:
            return f"{self.name} is not there yet; {WRITER} writes one"
        models = ", ".join(f"{count} {group}" for group, count in self.content.counts.items())
        rows = ", ".join(f"{len(part)} {name}" for name, part in self.content.parts.items())
        return f"found {self.content.n_classes} classes; models: {models}; rows: {rows}"


def find_predictions(name: str, place: Place) -> Answered:
    """Read a file of predictions if it is there.

    Raises:
        PredictionsError: If it is not in order.
        CaseError: If there is none, and its ending is none that is read.
    """
    if not (place.here / name).exists() and not (place.folder / name).exists():
        if not name.endswith(tuple(ENDINGS)) or Path(name).name != name:
            raise CaseError(
                f"there is no file {name}; expected one that ends in {', '.join(ENDINGS)}"
            )
        return Answered(name=name, content=None)
    there = place.locate(name, "file")
    return Answered(name=there.named, content=predictions.read(there.path))


def _source(text: str) -> str:
    """Return a source; the ending of a file says how to read it if nothing else does."""
    ending = next((end for end in TABLES if text.endswith(f".{end}")), None)
    return f"{ending}:{text}" if ending and ":" not in text else text
