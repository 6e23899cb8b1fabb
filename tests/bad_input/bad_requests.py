"""Requests for rows that are not there, for all rows or none, and people half known."""

import numpy as np

from forget_audit import Rows
from tests.bad_input.bad_rows import LABELS, PEOPLE, SOME, TRAIN, UNSEEN, held_out
from tests.bad_input.world import Trial, names, on_rows, put

PRESENT = "are not among the training rows"

REQUESTS = [
    Trial(
        what="nothing to forget",
        play=on_rows(forget=[]),
        ending="CaseError",
        says="the forget rows must not be empty",
    ),
    Trial(
        what="all training rows",
        play=on_rows(forget=np.arange(300)),
        ending="CaseError",
        says="the retain rows must not be empty",
    ),
    Trial(
        what="all training rows but one",
        play=on_rows(forget=np.arange(299)),
        ending="INCONCLUSIVE",
        says="UNDERPOWERED",
    ),
    Trial(what="one row", play=on_rows(forget=[3]), ending="INCONCLUSIVE", says="UNDERPOWERED"),
    Trial(
        what="a row that is not there",
        play=on_rows(forget=["nobody"]),
        ending="CaseError",
        says=PRESENT,
    ),
    Trial(what="a test row", play=on_rows(forget=["test-3"]), ending="CaseError", says=PRESENT),
    Trial(
        what="a row twice",
        play=on_rows(forget=[3, *range(60)]),
        ending="CaseError",
        says="listed twice",
    ),
    Trial(
        what="a mask in the place of ids",
        play=on_rows(forget=np.arange(300) < 60),
        ending="CaseError",
        says="of a mask: ids[mask]",
    ),
    Trial(
        what="ids as float",
        play=on_rows(forget=np.arange(60.0)),
        ending="CaseError",
        says="text or whole numbers, found type float64",
    ),
    Trial(
        what="a table of ids",
        play=on_rows(forget=np.arange(60).reshape(6, 10)),
        ending="CaseError",
        says="of shape (n,), found (6, 10)",
    ),
    Trial(
        what="lists in a list",
        play=on_rows(forget=[[1, 2], [3]]),
        ending="CaseError",
        says="ids to forget form no array",
    ),
    Trial(
        what="rows of one class, among test rows of all",
        play=on_rows(forget=np.flatnonzero(LABELS == 3)),
        ending="INCONCLUSIVE",
        says="SHIFT",
    ),
    Trial(
        what="no test rows",
        play=on_rows(test=(UNSEEN[0][:0], UNSEEN[1][:0])),
        ending="CaseError",
        says="hold out rows that no model was trained on",
    ),
    Trial(
        what="one test row",
        play=on_rows(test=(UNSEEN[0][:1], UNSEEN[1][:1])),
        ending="INCONCLUSIVE",
        says="UNDERPOWERED",
    ),
    Trial(
        what="no training rows",
        play=on_rows(x=TRAIN[:0], y=LABELS[:0], forget=[]),
        ending="CaseError",
        says="must not be empty",
    ),
    Trial(
        what="two training rows",
        play=on_rows(x=TRAIN[:2], y=LABELS[:2], forget=[0]),
        ending="INCONCLUSIVE",
        says="UNDERPOWERED",
    ),
    Trial(
        what="an id twice",
        play=on_rows(ids=[*range(299), 3]),
        ending="CaseError",
        says="row ids must be distinct, found '3' twice",
    ),
    Trial(
        what="an id too few",
        play=on_rows(ids=range(299)),
        ending="CaseError",
        says="one entry a row",
    ),
    Trial(
        what="ids that are missing",
        play=on_rows(ids=[None, *range(1, 300)]),
        ending="CaseError",
        says="found None and 1 such entries",
    ),
    Trial(
        what="an empty id",
        play=on_rows(ids=put(names("row-", range(300)), 0, "")),
        ending="CaseError",
        says="expected ids, found 1 empty",
    ),
]

UNITS = [
    Trial(
        what="people missing for some rows",
        play=on_rows(
            units=[None if k % 7 == 0 else unit for k, unit in enumerate(PEOPLE.tolist())],
            forget=SOME,
            test=held_out("q"),
        ),
        ending="CaseError",
        says="found None and 43 such entries",
    ),
    Trial(
        what="people as float, NaN for some rows",
        play=on_rows(
            units=put(np.arange(300.0) // 3, slice(0, 300, 7), np.nan), test=held_out("q")
        ),
        ending="CaseError",
        says="expected units that are text or whole numbers",
    ),
    Trial(
        what="people without a name",
        play=on_rows(units=[""] * 300, test=held_out("q")),
        ending="CaseError",
        says="expected units, found 300 empty",
    ),
    Trial(
        what="people of the training rows, and nobody behind the test rows",
        play=on_rows(units=PEOPLE, forget=SOME),
        ending="CaseError",
        says="people are known of the retain rows and not of the test rows",
    ),
    Trial(
        what="people with rows in training and test",
        play=on_rows(units=PEOPLE, forget=SOME, test=held_out("p")),
        ending="CaseError",
        says="share 80 people",
    ),
    Trial(
        what="one person behind all training rows",
        play=on_rows(units=["p"] * 300, forget=["p"], test=held_out("q")),
        ending="CaseError",
        says="the retain rows must not be empty",
    ),
    Trial(
        what="one person to forget, who has sixty rows",
        play=on_rows(units=["p"] * 60 + ["r"] * 240, forget=["p"], test=held_out("q")),
        ending="INCONCLUSIVE",
        says="UNDERPOWERED",
    ),
    Trial(
        what="a person too few",
        play=on_rows(units=["p"] * 3, forget=["p"], test=held_out("q")),
        ending="CaseError",
        says="expected the unit of 300 rows, found 3",
    ),
    Trial(
        what="nobody behind some test rows",
        play=lambda: Rows(
            x=TRAIN[:2], y=LABELS[:2], ids=names("r", range(2)), units=np.array(["", ""])
        ),
        ending="CaseError",
        says="expected units, found 2 empty",
    ),
]
