"""Recorded answers from comma-separated values, read line by line within bounds."""

from __future__ import annotations

import csv
import gzip
import zlib
from array import array
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from forget_audit.predictions.arrays import (
    MOST_BYTES,
    MOST_ROWS,
    VERSION,
    Arrays,
    check_number,
    refused,
    too_large,
)
from forget_audit.predictions.tables import (
    Table,
    check_version,
    checked,
    named,
    texts_of,
    to_arrays,
)

MARK = "# forget-audit-predictions "
LONGEST_MARK = 200
LONGEST_LINE = 1 << 22
LINES_A_LOOK = 1000


def read_csv(path: Path) -> Arrays:
    """Read a table of comma-separated values, packed by gzip if it ends in `.gz`.

    Raises:
        PredictionsError: If it is no such table, or too large.
    """
    try:
        with _lines(path) as lines:
            return to_arrays(_table(path.name, csv.reader(lines, strict=True)))
    except (OSError, EOFError, zlib.error, UnicodeDecodeError, csv.Error) as error:
        raise refused(path.name, f"cannot be read as a table: {error}") from error


@contextmanager
def _lines(path: Path) -> Iterator[Iterator[str]]:
    """Open a text and yield its lines, without a mark of the version, as long as they are few."""
    opened = gzip.open if path.suffix.lower() == ".gz" else open
    with opened(path, "rb") as file:

        def lines() -> Iterator[str]:
            total = 0
            while line := file.readline(LONGEST_LINE):
                if not total:
                    line = line.removeprefix(b"\xef\xbb\xbf")
                total += len(line)
                if total > MOST_BYTES:
                    raise refused(path.name, too_large(total))
                if len(line) == LONGEST_LINE:
                    raise refused(path.name, f"expected lines below {LONGEST_LINE >> 20} MiB")
                if total == len(line) and line.startswith(b"#"):
                    _check_mark(path.name, line)
                else:
                    yield line.decode("utf-8")

        yield lines()


def _table(name: str, reader: Iterator[list[str]]) -> Table:
    """Read lines one by one, so that no more is held than the numbers in them."""
    header = next(reader, [])
    kind, columns = checked(header)
    place_of = {column: place for place, column in enumerate(header)}
    texts = [(place_of[text], array("q"), dict[str, int]()) for text in texts_of(header)]
    places = [place_of[column] for column in ("label", *columns)]
    numbers = array("d")
    for count, line in enumerate(reader, 1):
        if not line:
            continue
        try:
            if len(line) != len(header):
                raise ValueError(f"expected {len(header)} cells, found {len(line)}")  # noqa: TRY301
            cells = [line[place] for place in places]
            if "_" in "".join(cells):  # which Python reads as nothing: 0_5 is no 5
                raise ValueError("found the sign _ in a number")  # noqa: TRY301
            numbers.extend([float(cell) for cell in cells])
        except ValueError as error:
            raise refused(name, f"line {count} below the header: {error}") from error
        for place, codes, known in texts:
            codes.append(known.setdefault(line[place], len(known)))
        if not count % LINES_A_LOOK:
            check_number(name, len(numbers))
            if max(len(known) for _, _, known in texts) > MOST_ROWS:
                raise refused(name, f"expected at most {MOST_ROWS:,} rows, found more")
    check_number(name, len(numbers))
    values = np.frombuffer(numbers, np.float64) if numbers else np.zeros(0)
    values = values.reshape(-1, len(places))
    return Table(
        kind=kind,
        texts={
            header[place]: (np.array(codes, dtype=np.int64), named(header[place], known))
            for place, codes, known in texts
        },
        labels=values[:, 0],
        answers=values[:, 1:],
    )


def _check_mark(name: str, line: bytes) -> None:
    text = line[:LONGEST_MARK].decode("utf-8", "replace").strip()
    if not text.startswith(MARK):
        raise refused(name, f"expected `{MARK}{VERSION}` or the names of the columns, found {text}")
    check_version(name, text.removeprefix(MARK))
