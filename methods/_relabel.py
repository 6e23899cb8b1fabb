"""Other labels for the forget rows, drawn from what each row may get."""

from collections.abc import Collection

import numpy as np

from forget_audit.errors import NotApplicable
from forget_audit.types import UNKNOWN, Case, Labels


def random_labels(
    case: Case,
    rng: np.random.Generator,
    *,
    exclude_true: bool,
    exclude_classes: Collection[int] | None = None,
) -> Labels:
    """Return random labels for the forget rows, shaped like theirs.

    One class a row: uniform over the classes allowed for it. Several labels: each known label
    that is to be forgotten is drawn anew, yes with the share that the forget rows have, whatever
    it was, for its opposite would tell as much; labels that stay are `UNKNOWN`.

    Args:
        case: The request.
        rng: Draws.
        exclude_true: Whether a row's own class is never drawn for it.
        exclude_classes: Classes that are never drawn; those of a class request if left out.

    Raises:
        NotApplicable: If some forget row is left without an allowed class.
    """
    if case.multi_label:
        return _several(case, rng)
    n = len(case.forget)
    gone = case.classes if case.scope == "class" else ()
    excluded = gone if exclude_classes is None else exclude_classes
    allowed = np.ones((n, case.n_classes), dtype=bool)
    allowed[:, [c for c in excluded if c < case.n_classes]] = False
    if exclude_true:
        allowed[np.arange(n), case.forget.y] = False
    if not allowed.any(axis=1).all():
        raise NotApplicable(
            f"expected a class to draw for each forget row, found none of {case.n_classes} "
            "left for some; exclude fewer classes"
        )
    tickets = np.where(allowed, rng.random(allowed.shape), -1.0)
    return np.asarray(np.argmax(tickets, axis=1), dtype=np.int64)


def _several(case: Case, rng: np.random.Generator) -> Labels:
    y = case.forget.y
    wanted = y != UNKNOWN
    if case.attribute is not None:
        wanted &= np.arange(y.shape[1]) == case.attribute
    drawn = np.full_like(y, UNKNOWN)
    for column in np.flatnonzero(wanted.any(axis=0)):
        rows = wanted[:, column]
        drawn[rows, column] = rng.random(rows.sum()) < y[rows, column].mean()
    return drawn
