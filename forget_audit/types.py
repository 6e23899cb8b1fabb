"""The words of the project: frozen records and the protocols of attacks and methods.

Imports numpy and the standard library only, so that reports and verification need no torch.
Arrays inside records are read-only.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np
import numpy.typing as npt

from forget_audit.errors import CaseError

if TYPE_CHECKING:
    from torch import nn

    from forget_audit.training_log import TrainingLog


Floats = npt.NDArray[np.float64]
Features = npt.NDArray[np.float32]
Labels = npt.NDArray[np.int64]
Ids = npt.NDArray[np.str_]
Json = dict[str, Any]
Progress = Callable[[int], None]

Access = Literal["label", "score", "gradient", "weights"]
Scope = Literal["instance", "class", "subclass", "attribute"]
Outcome = Literal[
    "pass", "fail", "inconclusive", "not-applicable", "not-run", "error", "informative"
]
Decision = Literal["PASS", "FAIL", "INCONCLUSIVE"]
Need = Literal["forget", "retain", "labels", "recipe", "log", "initial", "training", "architecture"]
Head = Literal["single", "multi"]
Role = Literal["primary", "secondary", "fidelity", "whitebox"]
Guarantee = Literal["none", "exact", "certified"]

UNKNOWN = -1  # a label of a label matrix that nobody may learn from
SMALL_REQUEST = 10  # below it sizes are not stated and no curve of single rows is drawn
ACCESS_ORDER: tuple[Access, ...] = ("label", "score", "gradient", "weights")


def read_only(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return a copy of `array` that cannot be written to; one that is read-only is kept."""
    if array.flags.writeable:
        array = array.copy()
        array.flags.writeable = False
    return array


@dataclass(frozen=True, kw_only=True, eq=False)
class Rows:
    """Labelled rows with stable ids.

    Args:
        x: Features `(n, ...)`, float32.
        y: Labels, int64: classes `(n,)`, or for heads of several labels a matrix
            `(n, labels)` of 0, 1 and `UNKNOWN`.
        ids: Distinct ids `(n,)`, text.

    Raises:
        CaseError: If lengths differ, an id occurs twice, or a matrix holds other numbers.
    """

    x: Features
    y: Labels
    ids: Ids

    def __post_init__(self) -> None:
        if not len(self.x) == len(self.y) == len(self.ids):
            raise CaseError(
                "features, labels and ids must have one entry a row, "
                f"found {len(self.x)}, {len(self.y)} and {len(self.ids)}"
            )
        if len(np.unique(self.ids)) != len(self.ids):
            values, counts = np.unique(self.ids, return_counts=True)
            raise CaseError(f"row ids must be distinct, found {str(values[counts > 1][0])!r} twice")
        for name, dtype in (("x", np.float32), ("y", np.int64), ("ids", np.str_)):
            array = np.asarray(getattr(self, name), dtype=dtype)
            object.__setattr__(self, name, read_only(array))
        if self.y.ndim > 2 or (self.y.ndim == 2 and not np.isin(self.y, (UNKNOWN, 0, 1)).all()):
            raise CaseError(
                "expected classes (n,) or a label matrix (n, labels) of 0, 1 and -1 for unknown, "
                f"found shape {self.y.shape} with values {np.unique(self.y)[:5].tolist()}"
            )

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, index: npt.NDArray[Any]) -> Rows:
        """Return the rows at `index` (positions or a mask), in that order."""
        return Rows(x=self.x[index], y=self.y[index], ids=self.ids[index])

    @staticmethod
    def concat(*parts: Rows) -> Rows:
        """Return the rows of all `parts`, one after the other."""
        return Rows(
            x=np.concatenate([part.x for part in parts]),
            y=np.concatenate([part.y for part in parts]),
            ids=np.concatenate([part.ids for part in parts]),
        )


@dataclass(frozen=True, kw_only=True)
class Sensitive:
    """An input column that an attacker may want to infer.

    Args:
        column: Position in the feature vector.
        name: What it is, for example `physical limitation`.
        values: The values it takes, as they stand in the features.
    """

    column: int
    name: str
    values: tuple[float, ...]


class Trainer(Protocol):
    """The recipe a model was made by: the same call retrains it on other rows."""

    def __call__(self, x: Features, y: Labels, seed: int) -> nn.Module:
        """Return a model trained from scratch on `x`, `y` with all randomness from `seed`."""
        ...


@dataclass(frozen=True, kw_only=True, eq=False)
class Case:
    """A deletion request on real rows: who is forgotten, who stays, who was never seen.

    The four roles are disjoint by id and by content. A case never holds a model. In an
    attribute request all rows stay and one column of their label matrix is forgotten: `forget`
    then holds the training rows with all labels, and `retain` the same rows with that column
    `UNKNOWN`.

    Args:
        name: Data set.
        n_classes: Number of outputs: classes, or labels of a label matrix.
        retain: Rows the model keeps.
        forget: Rows to forget.
        test: Rows never trained on, drawn like the forget rows; the control group.
        auxiliary: Further rows never trained on, for fitting attacks; may be empty.
        scope: `instance`, `class`, `subclass` or `attribute`.
        classes: The forgotten classes of a class request.
        others: Class requests only: never-trained rows of the other classes.
        sensitive: A column whose inference is tried, if there is one.
        trainer: The recipe, for methods and attacks that need it.
        attribute: Attribute requests only: the forgotten column of the label matrix.
        log: What was recorded while the original was trained, for methods that need it.
        multi_label: Whether rows carry a matrix of labels instead of one class; follows from
            the rows.

    Raises:
        CaseError: If roles overlap, a needed role is empty, or an attribute request does not
            name a column.
    """

    name: str
    n_classes: int
    retain: Rows
    forget: Rows
    test: Rows
    auxiliary: Rows
    scope: Scope = "instance"
    classes: tuple[int, ...] = ()
    others: Rows | None = None
    sensitive: Sensitive | None = None
    trainer: Trainer | None = None
    attribute: int | None = None
    log: TrainingLog | None = None
    multi_label: bool = field(init=False)

    def __post_init__(self) -> None:
        roles = self.roles()
        object.__setattr__(self, "multi_label", self.forget.y.ndim == 2)
        if self.scope == "attribute":
            self._check_attribute()
            del roles["retain"]
        for name in ("retain", "forget", "test"):
            if not len(getattr(self, name)):
                raise CaseError(f"the {name} rows must not be empty")
        keys = {name: set(rows.ids.tolist()) for name, rows in roles.items()}
        contents = {name: {_content(x) for x in rows.x} for name, rows in roles.items()}
        names = list(roles)
        for i, first in enumerate(names):
            for second in names[i + 1 :]:
                shared = sorted(keys[first] & keys[second])
                if shared:
                    raise CaseError(
                        f"{first} and {second} share {len(shared)} rows (first: "
                        f"{', '.join(shared[:3])}); the roles must be disjoint"
                    )
                same = len(contents[first] & contents[second])
                if same:
                    raise CaseError(
                        f"{first} and {second} hold {same} rows of equal content under "
                        "different ids; drop the duplicates, or forget all of them"
                    )

    def _check_attribute(self) -> None:
        kept, every, column = self.retain.y, self.forget.y, self.attribute
        if every.ndim == 2 and column is not None and 0 <= column < every.shape[1]:
            others = np.arange(every.shape[1]) != column
            same = np.array_equal(self.retain.ids, self.forget.ids)
            same = same and np.array_equal(kept[:, others], every[:, others])
            if same and np.all(kept[:, column] == UNKNOWN):
                return
        raise CaseError(
            "an attribute request keeps all rows but one column of their label matrix, see "
            f"questions.without_attribute; found column {column}, {every.shape} and {kept.shape}"
        )

    def roles(self) -> dict[str, Rows]:
        """Return the rows by role, without roles that were not given."""
        roles = {
            "retain": self.retain,
            "forget": self.forget,
            "test": self.test,
            "auxiliary": self.auxiliary,
        }
        return roles if self.others is None else {**roles, "others": self.others}

    @property
    def training(self) -> Rows:
        """The rows the original model was trained on: retain and forget rows."""
        if self.scope == "attribute":
            return self.forget
        return Rows.concat(self.retain, self.forget)

    @property
    def never_trained(self) -> Rows:
        """All held-out test rows, of every class."""
        return self.test if self.others is None else Rows.concat(self.test, self.others)

    def replace(self, **changes: Any) -> Case:
        """Return a copy with some fields changed."""
        return dataclasses.replace(self, **changes)

    @staticmethod
    def from_arrays(
        x: Features,
        y: Labels,
        *,
        forget: npt.ArrayLike,
        test: tuple[Features, Labels],
        auxiliary: tuple[Features, Labels] | None = None,
        ids: npt.ArrayLike | None = None,
        trainer: Trainer | None = None,
        name: str = "arrays",
    ) -> Case:
        """Build a case from arrays in memory.

        Args:
            x: Training features `(n, ...)`.
            y: Training labels `(n,)`.
            forget: Ids of the training rows to forget.
            test: Features and labels never trained on.
            auxiliary: Further features and labels never trained on, for fitting attacks.
            ids: Ids `(n,)` of the training rows; their positions if left out.
            trainer: The recipe, `(x, y, seed) -> model`.
            name: What to call the data.

        Raises:
            CaseError: If an id to forget is not among the training rows, or roles overlap.
        """
        names = np.arange(len(x)) if ids is None else np.asarray(ids)
        train = Rows(x=x, y=y, ids=names.astype(np.str_))
        wanted = np.asarray(forget).astype(np.str_)
        missing = np.setdiff1d(wanted, train.ids)
        if len(missing):
            raise CaseError(
                f"{len(missing)} ids to forget are not among the training rows "
                f"(first: {', '.join(missing[:3].tolist())})"
            )
        mask = np.isin(train.ids, wanted)
        n_classes = int(max(np.max(y), np.max(test[1]))) + 1
        return Case(
            name=name,
            n_classes=n_classes,
            retain=train.take(~mask),
            forget=train.take(mask),
            test=_numbered(test, "test"),
            auxiliary=_numbered(auxiliary or (x[:0], y[:0]), "auxiliary"),
            trainer=trainer,
        )


def _content(row: Features) -> bytes:
    return np.ascontiguousarray(row).tobytes()


def _numbered(pair: tuple[Features, Labels], prefix: str) -> Rows:
    x, y = pair
    return Rows(x=x, y=y, ids=np.array([f"{prefix}-{i}" for i in range(len(x))], dtype=np.str_))
