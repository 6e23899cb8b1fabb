"""Texts as rows of word numbers."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
from pydantic import Field

from forget_audit.datasets import Dataset
from forget_audit.errors import CaseError
from forget_audit.sources.checks import Table, make_dataset
from forget_audit.sources.files import reading
from forget_audit.sources.options import ColumnNames, TableOptions, read_options
from forget_audit.sources.tables import read_csv
from forget_audit.types import Features

PADDING, OTHER, FIRST = 0, 1, 2


class TextOptions(ColumnNames):
    """What the reader of texts may be told.

    Args:
        text: Column of the texts.
        max_words: Word numbers are below it; that is option `words` of architecture `text`.
        length: Words of a text that are kept.
        lower_case: Whether capitals are the same as small letters.
    """

    text: str = "text"
    max_words: Annotated[int, Field(ge=3, le=1_000_000)] = 5000
    length: Annotated[int, Field(ge=1, le=10_000)] = 64
    lower_case: bool = True


def text(path: Path, options: Mapping[str, object]) -> Dataset:
    """Texts in a CSV or TSV file: columns text and label, perhaps id, unit, split.

    A text becomes `length` word numbers: 0 is padding, 1 a word that is not among the most
    frequent `max_words - 2`, which are counted in the training rows, or in all rows where there
    is no column `split`. Words are told apart by scikit-learn's `CountVectorizer`.
    """
    checked = read_options(TextOptions, "text", options)
    delimiter = "\t" if path.suffix.lower() in (".tsv", ".tab") else ","
    columns = read_csv(path, delimiter, checked.text)
    for name in (checked.text, checked.label):
        if name not in columns or not len(columns[name]):
            found = ", ".join(columns) or "none"
            raise CaseError(f"{path.name} needs a column {name!r} and rows, found {found}")
    texts, split = columns[checked.text], columns.get("split")
    with reading(path.name, "texts"):
        x = encoded(texts, texts if split is None else texts[split == "train"], checked)
    table = Table(
        x=x,
        y=columns[checked.label],
        ids=columns.get(checked.id),
        units=columns.get(checked.unit),
        split=split,
        subclasses=columns.get("subclass"),
    )
    return make_dataset(f"text:{path.name}", table, TableOptions(seed=checked.seed))


def encoded(texts: npt.NDArray[Any], training: npt.NDArray[Any], options: TextOptions) -> Features:
    """Return word numbers `(n, length)` of texts.

    Args:
        texts: All texts `(n,)`.
        training: Texts whose words are counted.
        options: Length and number of words.

    Raises:
        ValueError: If the training texts hold no words.
    """
    from sklearn.feature_extraction.text import CountVectorizer

    counter = CountVectorizer(lowercase=options.lower_case, max_features=options.max_words - FIRST)
    counter.fit(training.tolist())
    numbers, words = counter.vocabulary_, counter.build_analyzer()
    x = np.full((len(texts), options.length), PADDING, dtype=np.float32)
    for row, value in zip(x, texts.tolist(), strict=True):
        found = words(value)[: options.length]
        row[: len(found)] = [FIRST + numbers[word] if word in numbers else OTHER for word in found]
    return x
