"""What models are asked in an audit, and what a request to forget a label asks of rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from forget_audit.types import UNKNOWN, Case, Floats, Rows

if TYPE_CHECKING:
    from forget_audit.targets import Target


def asked(case: Case) -> dict[str, Rows]:
    """Return the rows that models are asked about: `f` forget, `t` control, `o` other classes.

    In an attribute request their class is the forgotten label, and rows whose label is unknown
    are left out, as are rows of a label matrix of which nothing is known.
    """
    roles = {"f": case.forget, "t": case.test}
    if case.others is not None:
        roles["o"] = case.others
    if case.multi_label and case.attribute is None:
        known = {part: np.any(rows.y != UNKNOWN, axis=1) for part, rows in roles.items()}
        return {part: rows.take(known[part]) for part, rows in roles.items()}
    if case.attribute is None:
        return roles
    return {part: labelled(rows, case.attribute) for part, rows in roles.items()}


def labelled(rows: Rows, column: int) -> Rows:
    """Return the rows whose label in `column` is known, with that label as their class."""
    known = rows.y[:, column] != UNKNOWN
    part = rows.take(known)
    return part.replace(y=part.y[:, column])


def answers(target: Target, rows: Rows, case: Case) -> Floats:
    """Return logits of the classes, or of no and yes to the forgotten label `(n, 2)`."""
    logits = target.logits(rows)
    if case.attribute is None:
        return logits
    yes = logits[:, case.attribute]
    return np.stack([np.zeros(len(yes)), yes], axis=1)


def kept_labels(rows: Rows, case: Case) -> Rows:
    """Return rows on which accuracy counts: in an attribute request without the forgotten label."""
    return rows if case.attribute is None else unlabelled(rows, case.attribute)


def unlabelled(rows: Rows, column: int) -> Rows:
    """Return `rows` with one column of their label matrix `UNKNOWN`."""
    y = rows.y.copy()
    y[:, column] = UNKNOWN
    return rows.replace(y=y)


def without_attribute(case: Case, column: int) -> Case:
    """Return the request to forget one label of all training rows of `case`.

    Args:
        case: With a matrix of labels.
        column: Of that matrix.

    Raises:
        CaseError: If labels are no matrix, or there is no such column.
    """
    rows = case.training
    fits = rows.y.ndim == 2 and 0 <= column < rows.y.shape[1]
    kept = unlabelled(rows, column) if fits else rows
    return case.replace(scope="attribute", attribute=column, forget=rows, retain=kept)
