"""Rows, labels, ids and people that are not what they should be."""

from typing import Any

import numpy as np
import torch

from forget_audit import Rows
from tests.bad_input.world import ALL, TRAINED, Trial, digits, names, of_classes, on_rows, put

X, Y = digits()
TRAIN, LABELS = X[:TRAINED], Y[:TRAINED]
UNSEEN = X[TRAINED:], Y[TRAINED:]
FINITE = "features must be finite float32 numbers"
NUMBERS = "expected features that are numbers"
WHOLE = "expected labels that are whole numbers"
SHAPE = "expected rows of one shape in all roles"


def labelled(change: Any) -> dict[str, Any]:
    """Return the arguments in which all labels are changed."""
    return {"y": change(LABELS), "test": (UNSEEN[0], change(UNSEEN[1]))}


def held_out(prefix: str) -> Rows:
    """Return the test rows, two of each person."""
    people = names(prefix, np.arange(ALL - TRAINED) // 2)
    return Rows(x=UNSEEN[0], y=UNSEEN[1], ids=names("test-", range(ALL - TRAINED)), units=people)


PEOPLE = names("p", np.arange(TRAINED) // 3)
SOME = list(dict.fromkeys(PEOPLE.tolist()))[:20]

FEATURES = [
    Trial(
        what="NaN in a training row",
        play=on_rows(x=put(TRAIN, (70, 3), np.nan)),
        ending="CaseError",
        says=FINITE,
    ),
    Trial(
        what="an infinite number in a row to forget",
        play=on_rows(x=put(TRAIN, (3, 3), np.inf)),
        ending="CaseError",
        says=FINITE,
    ),
    Trial(
        what="NaN in a test row",
        play=on_rows(test=(put(UNSEEN[0], (2, 2), np.nan), UNSEEN[1])),
        ending="CaseError",
        says=FINITE,
    ),
    Trial(
        what="NaN in an auxiliary row, which no verdict reads",
        play=on_rows(auxiliary=(np.full((9, 64), np.nan, np.float32), np.zeros(9, np.int64))),
        ending="CaseError",
        says=FINITE,
    ),
    Trial(
        what="a number beyond float32",
        play=on_rows(x=put(TRAIN.astype(float), (70, 3), 1e300)),
        ending="CaseError",
        says=FINITE,
    ),
    Trial(
        what="features of 1e30, on which training diverges",
        play=on_rows(x=TRAIN * 1e30, test=(UNSEEN[0] * 1e30, UNSEEN[1])),
        ending="ModelError",
        says="scale the features",
    ),
    Trial(what="objects", play=on_rows(x=TRAIN.astype(object)), ending="CaseError", says=NUMBERS),
    Trial(
        what="complex features",
        play=on_rows(x=TRAIN.astype(complex)),
        ending="CaseError",
        says=NUMBERS,
    ),
    Trial(
        what="numbers written as text",
        play=on_rows(x=TRAIN.astype(str)),
        ending="CaseError",
        says=NUMBERS,
    ),
    Trial(
        what="masked entries",
        play=on_rows(x=np.ma.masked_array(TRAIN, mask=TRAIN > 0.9)),
        ending="CaseError",
        says="without masked entries",
    ),
    Trial(
        what="lists of different lengths",
        play=on_rows(x=[[1.0, 2.0], [3.0]] * 150),
        ending="CaseError",
        says="features form no array",
    ),
    Trial(what="lists of numbers", play=on_rows(x=TRAIN.astype(float).tolist()), ending="PASS"),
    Trial(
        what="bytes of pictures, never scaled, in training alone",
        play=on_rows(x=(TRAIN * 16).astype(np.uint8)),
        ending="INCONCLUSIVE",
    ),
    Trial(
        what="one number a row, without an axis of features",
        play=on_rows(x=np.arange(300.0), test=(np.arange(300.0, 500.0), UNSEEN[1])),
        ending="CaseError",
        says=SHAPE,
    ),
    Trial(
        what="no features",
        play=on_rows(x=TRAIN[:, :0], test=(UNSEEN[0][:, :0], UNSEEN[1])),
        ending="CaseError",
        says=SHAPE,
    ),
    Trial(
        what="fewer features in the test rows",
        play=on_rows(test=(UNSEEN[0][:, :60], UNSEEN[1])),
        ending="CaseError",
        says="found (64,) in retain and (60,) in test",
    ),
    Trial(
        what="a constant feature",
        play=on_rows(x=put(TRAIN, (slice(None), 3), 0.5)),
        ending="PASS",
    ),
    Trial(
        what="all rows alike",
        play=on_rows(x=np.ones_like(TRAIN)),
        ending="CaseError",
        says="rows of equal content",
    ),
    Trial(
        what="a row to forget once more in training, under another id",
        play=on_rows(x=put(TRAIN, 70, TRAIN[3])),
        ending="CaseError",
        says="retain and forget hold 1 rows of equal content",
    ),
    Trial(
        what="the same, with minus zero for zero",
        play=on_rows(x=put(TRAIN, 70, np.where(TRAIN[3] == 0, -0.0, TRAIN[3]))),
        ending="CaseError",
        says="retain and forget hold 1 rows of equal content",
    ),
    Trial(
        what="a row to forget once more in the test rows",
        play=on_rows(test=(put(UNSEEN[0], 5, TRAIN[3]), UNSEEN[1])),
        ending="CaseError",
        says="forget and test hold 1 rows of equal content",
    ),
    Trial(
        what="near-duplicates of the rows to forget in training: a retrained model knows them too",
        play=on_rows(
            x=np.concatenate([TRAIN, TRAIN[:60] + 1e-6]), y=np.concatenate([LABELS, LABELS[:60]])
        ),
        ending="INCONCLUSIVE",
        says="NOT_SHOWN",
    ),
]

CLASSES = [
    Trial(what="whole labels as float", play=on_rows(y=LABELS.astype(float)), ending="PASS"),
    Trial(
        what="labels between classes", play=on_rows(y=LABELS + 0.5), ending="CaseError", says=WHOLE
    ),
    Trial(
        what="NaN as a label",
        play=on_rows(y=put(LABELS.astype(float), 70, np.nan)),
        ending="CaseError",
        says=WHOLE,
    ),
    Trial(
        what="an infinite label",
        play=on_rows(y=put(LABELS.astype(float), 70, np.inf)),
        ending="CaseError",
        says="below 2^63",
    ),
    Trial(
        what="numbers written as text",
        play=on_rows(y=LABELS.astype(str)),
        ending="CaseError",
        says="np.unique(names, return_inverse=True)[1]",
    ),
    Trial(
        what="names of classes",
        play=on_rows(y=np.array(["cat", "dog"])[LABELS % 2]),
        ending="CaseError",
        says=WHOLE,
    ),
    Trial(
        what="complex labels",
        play=on_rows(y=LABELS.astype(complex)),
        ending="CaseError",
        says=WHOLE,
    ),
    Trial(
        what="a negative label",
        play=on_rows(y=put(LABELS, 70, -1)),
        ending="CaseError",
        says="classes from 0 to 9, found -1 in retain",
    ),
    Trial(
        what="a label of 1,000,000,000",
        play=on_rows(y=put(LABELS, 70, 10**9)),
        ending="CaseError",
        says="found 1000000000",
    ),
    Trial(
        what="classes counted from 1: output 0 is never used",
        play=on_rows(of_classes(11), **labelled(lambda y: y + 1)),
        ending="PASS",
    ),
    Trial(
        what="classes with gaps, such as 0, 5 and 17: the outputs between are never used",
        play=on_rows(of_classes(28), **labelled(lambda y: 3 * y)),
        ending="PASS",
    ),
    Trial(
        what="one class in all rows",
        play=on_rows(of_classes(1), **labelled(lambda y: y * 0)),
        ending="INCONCLUSIVE",
        says="NO_SIGNAL, YARDSTICK",
    ),
    Trial(
        what="one class in training, ten in the test rows",
        play=on_rows(y=LABELS * 0),
        ending="INCONCLUSIVE",
        says="SHIFT",
    ),
    Trial(
        what="a class of one row",
        play=on_rows(of_classes(11), y=put(LABELS, 299, 10)),
        ending="PASS",
    ),
    Trial(
        what="a matrix of labels in training, classes in the test rows",
        play=on_rows(y=np.eye(10, dtype=np.int64)[LABELS]),
        ending="CaseError",
        says="expected classes (n,) in all roles, or label matrices",
    ),
    Trial(
        what="a label of a matrix that all rows bear",
        play=on_rows(
            of_classes(2), **labelled(lambda y: np.stack([y % 2, np.ones_like(y)], axis=1))
        ),
        ending="INCONCLUSIVE",
    ),
    Trial(
        what="test rows of which no label is known",
        play=on_rows(
            y=np.eye(10, dtype=np.int64)[LABELS], test=(UNSEEN[0], np.full((200, 10), -1))
        ),
        ending="CaseError",
        says="no label of the test rows is known",
    ),
    Trial(
        what="a label too few",
        play=on_rows(y=LABELS[:-1]),
        ending="CaseError",
        says="one entry a row",
    ),
]

TENSOR = torch.tensor(TRAIN, requires_grad=True)
FEATURES.append(
    Trial(
        what="a tensor with gradients",
        play=on_rows(x=TENSOR),
        ending="CaseError",
        says="features form no array",
    )
)
