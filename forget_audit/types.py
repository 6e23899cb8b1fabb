"""The words of the project: frozen records and the protocols of attacks and methods.

Imports numpy and the standard library only, so that reports and verification need no torch.
Arrays inside records are read-only.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np
import numpy.typing as npt

from forget_audit.errors import CaseError
from forget_audit.row_forms import as_names, check_roles
from forget_audit.rows import UNKNOWN as UNKNOWN
from forget_audit.rows import Floats as Floats
from forget_audit.rows import Ids as Ids
from forget_audit.rows import Labels as Labels
from forget_audit.rows import Rows as Rows
from forget_audit.rows import read_only as read_only
from forget_audit.streaming import Features as Features

if TYPE_CHECKING:
    from torch import nn

    from forget_audit.training.log import TrainingLog


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

SMALL_REQUEST = 10  # below it sizes are not stated and no curve of single rows is drawn
PERSONAL = re.compile(r"@|\d{7,}|\+\d[\d ()/-]{6,}")  # an address, a long number, a telephone
ACCESS_ORDER: tuple[Access, ...] = ("label", "score", "gradient", "weights")


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

    The four roles are disjoint by id, by unit and by content. A case never holds a model. In an
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
                advice = {
                    "retain": "keep some: if all training rows go, delete the model instead",
                    "forget": "name the rows to forget",
                    "test": "hold out rows that no model was trained on, at least as many as "
                    "are forgotten",
                }
                raise CaseError(f"the {name} rows must not be empty; {advice[name]}")
        check_roles(roles, self.n_classes)
        keys = {name: set(rows.ids.tolist()) for name, rows in roles.items()}
        units = {name: set(rows.groups.tolist()) for name, rows in roles.items()}
        contents = {name: set(rows.contents.tolist()) for name, rows in roles.items()}
        names = list(roles)
        for i, first in enumerate(names):
            for second in names[i + 1 :]:
                shared = sorted(keys[first] & keys[second])
                if shared:
                    raise CaseError(
                        f"{first} and {second} share {len(shared)} rows (first: "
                        f"{', '.join(shared[:3])}); the roles must be disjoint"
                    )
                people = sorted(units[first] & units[second])
                if people:
                    raise CaseError(
                        f"{first} and {second} share {len(people)} people, each with rows in "
                        "both; all rows of a person must play the same role"
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
            if not np.any(every[:, others] != UNKNOWN):
                raise CaseError(
                    "the rows bear no known label but the one to be forgotten, so nothing is left "
                    "to learn; delete the model instead"
                )
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

    def __repr__(self) -> str:
        sizes = ", ".join(f"{len(rows)} {name}" for name, rows in self.roles().items())
        return f"Case({self.name!r}, {self.scope} request: {sizes})"

    def replace(self, **changes: Any) -> Case:
        """Return a copy with some fields changed."""
        return dataclasses.replace(self, **changes)

    @staticmethod
    def from_arrays(
        x: Features,
        y: Labels,
        *,
        forget: npt.ArrayLike,
        test: tuple[Features, Labels] | Rows,
        auxiliary: tuple[Features, Labels] | Rows | None = None,
        ids: npt.ArrayLike | None = None,
        units: npt.ArrayLike | None = None,
        trainer: Trainer | None = None,
        name: str = "arrays",
    ) -> Case:
        """Build a case from arrays in memory.

        Args:
            x: Training features `(n, ...)`.
            y: Training labels `(n,)`, or a label matrix `(n, labels)`.
            forget: Ids of the training rows to forget `(n_f,)`; of people, if rows have people.
            test: Features and labels never trained on; `Rows` if people are behind them, too.
            auxiliary: Further rows never trained on, for fitting attacks, in the same form.
            ids: Ids `(n,)` of the training rows; their positions if left out.
            units: The person behind each training row `(n,)`; each row for itself if left out.
            trainer: The recipe, `(x, y, seed) -> model`.
            name: What to call the data.

        Raises:
            CaseError: If an id to forget is not among the training rows, or roles overlap.
        """
        names = np.arange(len(x)) if ids is None else ids
        train = Rows(x=x, y=y, ids=names, units=units)  # type: ignore[arg-type]
        unseen = _numbered(test, "test")
        nobody = train.take(np.zeros(0, dtype=np.int64))
        kept = nobody if auxiliary is None else _numbered(auxiliary, "auxiliary")
        wanted = as_names(forget, "ids to forget")
        missing = np.setdiff1d(wanted, train.groups)
        if len(missing):
            raise CaseError(
                f"{len(missing)} ids to forget are not among the training rows "
                f"(first: {', '.join(missing[:3].tolist())})"
            )
        if wanted.ndim != 1:
            raise CaseError(f"expected ids to forget of shape (n,), found {wanted.shape}")
        if train.units is None and len(np.unique(wanted)) < len(wanted):
            raise CaseError("an id to forget is listed twice; give each once: np.unique(ids)")
        mask = np.isin(train.groups, wanted)
        several = train.y.ndim == 2
        highest = max(int(rows.y.max(initial=-1)) for rows in (train, unseen, kept))
        n_classes = train.y.shape[1] if several else highest + 1
        return Case(
            name=name,
            n_classes=n_classes,
            retain=train.take(~mask),
            forget=train.take(mask),
            test=unseen,
            auxiliary=kept,
            trainer=trainer,
        )


def _numbered(given: tuple[Features, Labels] | Rows, prefix: str) -> Rows:
    if isinstance(given, Rows):
        return given
    x, y = given
    return Rows(x=x, y=y, ids=np.array([f"{prefix}-{i}" for i in range(len(x))], dtype=np.str_))
