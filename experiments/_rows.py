"""Rows that can be exchanged between the roles of a case, which must differ in content."""

from collections.abc import Iterable

import numpy as np

from forget_audit.errors import NotApplicable
from forget_audit.types import SMALL_REQUEST, Case, Rows


def need_records(case: Case) -> None:
    """Refuse requests that are too small to measure anything on.

    Raises:
        NotApplicable: With fewer than ten forget rows.
    """
    if len(case.forget) < SMALL_REQUEST:
        raise NotApplicable(
            f"needs at least {SMALL_REQUEST} records to forget, found fewer; forget more records"
        )


def need_single_records(case: Case) -> None:
    """Refuse small requests, and requests for a class, whose labels must stay as they are.

    Raises:
        NotApplicable: For such a request.
    """
    if case.scope == "class":
        raise NotApplicable(
            "needs a request for single records, found one for a whole class, whose labels "
            "cannot be exchanged; ask for single records"
        )
    need_records(case)


def distinct(rows: Rows) -> Rows:
    """Return `rows` without those whose features occurred before."""
    first: dict[bytes, int] = {}
    for i, content in enumerate(_contents(rows)):
        first.setdefault(content, i)
    return rows.take(np.array(list(first.values()), dtype=np.int64))


def unlike(rows: Rows, others: Iterable[Rows]) -> Rows:
    """Return `rows` without those whose features occur among `others`."""
    taken = {content for part in others for content in _contents(part)}
    return rows.take(np.array([content not in taken for content in _contents(rows)], dtype=bool))


def _contents(rows: Rows) -> list[bytes]:
    return [np.ascontiguousarray(row).tobytes() for row in rows.x]
