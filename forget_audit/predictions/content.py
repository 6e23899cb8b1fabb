"""Audits from recorded answers alone: a file of predictions, written by any language.

Version 1 of the format, told in full in the documentation. Groups of models `R` (retrained
without the forget rows), `O` (originals, trained with them), `A` (audited) and perhaps `I`
(identity) answer the parts `f` (forget), `t` (test, never trained on), `r` (retain, a sample of
kept rows) and perhaps `o` (test rows of other classes) and `a` (auxiliary). An NPZ file holds
`prob_W_P` or `logit_W_P` (models x rows x classes), `y_P`, `id_P` and perhaps `unit_P`, the
person of each row. A long table (CSV, perhaps packed by gzip, or Parquet) holds the same, one
line a model and row.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

import numpy as np

from forget_audit.digests import file_digest
from forget_audit.errors import Problem
from forget_audit.predictions.arrays import (
    LETTERS,
    PARTS,
    Arrays,
    both_classes,
    groups_in,
    kind_of,
    parts_in,
    read_arrays,
    refused,
)
from forget_audit.predictions.checks import check, text_of
from forget_audit.predictions.csv_files import read_csv
from forget_audit.predictions.models import FEWEST_IDENTITY, remarks
from forget_audit.predictions.parquet_files import read_parquet
from forget_audit.rows import read_only
from forget_audit.types import Floats, Ids, Labels, Scope
from forget_audit.verdict.weighing import Group

READERS = {
    ".npz": read_arrays,
    ".csv": read_csv,
    ".csv.gz": read_csv,
    ".parquet": read_parquet,
}
SMALLEST = 1e-45  # what a float32 softmax can still tell from 0
SET_ASIDE = "no identity models were handed in: the last two retrained models were set aside"


@dataclass(frozen=True, kw_only=True, eq=False)
class Part:
    """Rows that all models were asked about.

    Args:
        labels: Classes `(n,)`.
        ids: Distinct ids `(n,)`.
        units: The person of each row `(n,)`, if people have several rows.
    """

    labels: Labels
    ids: Ids
    units: Ids | None

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True, kw_only=True, eq=False)
class Predictions:
    """The content of a file of predictions, checked.

    Args:
        name: Of the file, without folder.
        digest: SHA-256 of the file.
        kind: What the file holds.
        parts: Rows by part: `forget`, `test`, `retain` and perhaps `other`, `auxiliary`.
        answers: Logits, or logarithms of the probabilities, of each group of models on each part
            `(models, rows, classes)`, float64.
        notes: What is no error and worth knowing.
    """

    name: str
    digest: str
    kind: Literal["probabilities", "logits"]
    parts: Mapping[str, Part]
    answers: Mapping[Group, Mapping[str, Floats]]
    notes: tuple[str, ...]

    @property
    def n_classes(self) -> int:
        """Number of classes."""
        return int(self.answers["audited"]["forget"].shape[2])

    @property
    def counts(self) -> Mapping[Group, int]:
        """Number of models of each group."""
        return {group: len(found["forget"]) for group, found in self.answers.items()}

    def against(
        self, scope: Scope, classes: Collection[int], ids: Collection[str] | None
    ) -> list[Problem]:
        """Return how the rows do not fit a request for single rows or classes.

        Args:
            scope: Of the request.
            classes: To be forgotten, in a request for classes.
            ids: Of the rows to be forgotten, or of the people behind them, if they are listed.
        """
        problems: list[Problem] = []
        if scope not in ("instance", "class"):
            return problems
        if ids is not None:
            forget = self.parts["forget"]
            names = forget.ids if forget.units is None else forget.units
            listed, held = set(ids), set(names.tolist())
            if listed != held:
                who = "rows" if forget.units is None else "people"
                problems.append(
                    Problem(
                        "request.forget",
                        f"expected the {len(held)} {who} to be forgotten in {self.name}, found "
                        f"{len(listed)}: {len(listed - held)} unknown there, "
                        f"{len(held - listed)} not listed",
                    )
                )
        return problems + self._against_classes(scope, classes)

    def _against_classes(self, scope: Scope, classes: Collection[int]) -> list[Problem]:
        if scope == "instance":
            extra = "other" in self.parts
            message = "test rows of other classes belong to requests for a class; call them test"
            return [Problem("predictions.file", message)] if extra else []
        problems = []
        for part, inside in (("forget", True), ("test", True), ("retain", False), ("other", False)):
            if part in self.parts:
                found = np.isin(self.parts[part].labels, list(classes))
                odd = int(np.sum(found != inside))
                if odd:
                    which = "of the forgotten classes alone" if inside else "of other classes alone"
                    message = f"expected {part} rows {which}, found {odd} others"
                    problems.append(Problem("predictions.file", message))
        return problems


def read(path: Path) -> Predictions:
    """Read and check a file of predictions; one that was just read is not read again.

    Args:
        path: Ends in `.npz`, `.csv`, `.csv.gz` or `.parquet`.

    Raises:
        PredictionsError: With what was expected and found.
        MissingDependency: For Parquet without pyarrow.
    """
    try:
        stamp = path.stat()
    except OSError as error:
        raise refused(path.name, f"cannot be read: {error.strerror}") from error
    return _read(path.resolve(), stamp.st_mtime_ns, stamp.st_size)


@lru_cache(maxsize=1)
def _read(path: Path, _changed: int, _size: int) -> Predictions:
    reader = next((READERS[end] for end in READERS if path.name.lower().endswith(end)), None)
    if reader is None or not path.is_file():
        raise refused(path.name, f"expected a file that ends in {', '.join(READERS)}")
    return from_arrays(reader(path), name=path.name, digest=file_digest(path))


def from_arrays(arrays: Arrays, *, name: str, digest: str) -> Predictions:
    """Check the arrays of an NPZ file and return what they say.

    Args:
        arrays: By name.
        name: Of the file.
        digest: SHA-256 of the file.

    Raises:
        PredictionsError: With what was expected and found.
    """
    check(arrays)
    kind, parts = kind_of(arrays), parts_in(arrays)
    answers = {
        group: {
            part: _logits(arrays, f"{kind}_{LETTERS[group]}_{PARTS[part]}", kind) for part in parts
        }
        for group in groups_in(arrays)
    }
    notes = remarks(arrays)
    if "identity" not in answers:
        retrained = answers["retrained"]
        answers["retrained"] = {p: found[:-FEWEST_IDENTITY] for p, found in retrained.items()}
        answers["identity"] = {p: found[-FEWEST_IDENTITY:] for p, found in retrained.items()}
        notes.append(SET_ASIDE)
    return Predictions(
        name=name,
        digest=digest,
        kind="probabilities" if kind == "prob" else "logits",
        parts={part: _part(arrays, PARTS[part]) for part in parts},
        answers=answers,
        notes=tuple(notes),
    )


def _logits(arrays: Arrays, name: str, kind: str) -> Floats:
    values = both_classes(arrays[name], kind)
    logits = np.log(np.maximum(values, SMALLEST)) if kind == "prob" else values
    return read_only(logits)


def _part(arrays: Arrays, letter: str) -> Part:
    units = arrays.get(f"unit_{letter}")
    return Part(
        labels=read_only(arrays[f"y_{letter}"].astype(np.int64)),
        ids=read_only(text_of(arrays[f"id_{letter}"])),
        units=None if units is None else read_only(text_of(units)),
    )
