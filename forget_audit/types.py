"""The words of the project: frozen records and the protocols of attacks and methods.

Imports numpy and the standard library only, so that reports and verification need no torch.
Arrays inside records are read-only.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from forget_audit.errors import CaseError, LeakageError

if TYPE_CHECKING:
    from torch import nn

    from forget_audit.targets import Target

Floats = npt.NDArray[np.float64]
Features = npt.NDArray[np.float32]
Labels = npt.NDArray[np.int64]
Ids = npt.NDArray[np.str_]
Json = dict[str, Any]

Access = Literal["label", "score", "gradient", "weights"]
Scope = Literal["instance", "class"]
Outcome = Literal[
    "pass", "fail", "inconclusive", "not-applicable", "not-run", "error", "informative"
]
Decision = Literal["PASS", "FAIL", "INCONCLUSIVE"]
Need = Literal["forget", "retain", "labels", "recipe"]
Role = Literal["primary", "secondary", "fidelity", "whitebox"]
Guarantee = Literal["none", "exact", "certified"]

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
        y: Labels `(n,)`, int64.
        ids: Distinct ids `(n,)`, text.

    Raises:
        CaseError: If lengths differ or an id occurs twice.
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

    The four roles are disjoint by id and by content. A case never holds a model.

    Args:
        name: Data set.
        n_classes: Number of classes.
        retain: Rows the model keeps.
        forget: Rows to forget.
        test: Rows never trained on, drawn like the forget rows; the control group.
        auxiliary: Further rows never trained on, for fitting attacks; may be empty.
        scope: `instance` or `class`.
        classes: The forgotten classes of a class request.
        others: Class requests only: never-trained rows of the other classes.
        sensitive: A column whose inference is tried, if there is one.
        trainer: The recipe, for methods and attacks that need it.

    Raises:
        CaseError: If roles overlap or a needed role is empty.
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

    def __post_init__(self) -> None:
        roles = self.roles()
        for name in ("retain", "forget", "test"):
            if not len(roles[name]):
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

    def roles(self) -> Mapping[str, Rows]:
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


@dataclass(frozen=True, kw_only=True)
class AttackInfo:
    """The identity card of an attack; docs, tests and reports read it.

    Args:
        name: Registry name, equal to the module's.
        title: For headings.
        card: Number in the catalogue, such as `A06`.
        paper: arXiv id, DOI or absolute link.
        access: The most it asks of a target.
        kind: `membership` (a score a row) or `model` (scalars about the whole model).
        question: What it asks, in plain words for a non-engineer.
        perfect: What a perfectly unlearned model gets.
        headline: Name of the metric that reports show first.
        leave_one_out: Whether it is fitted on retrained models, so that a retrained model is
            scored by a fit on the others.
        statistics: Names of the verdict's statistics that rest on it; empty if none.
    """

    name: str
    title: str
    card: str
    paper: str
    access: Access
    kind: Literal["membership", "model"]
    question: str
    perfect: str
    headline: str
    leave_one_out: bool = False
    statistics: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class MethodInfo:
    """The identity card of an unlearning method.

    Args:
        name: Registry name, equal to the module's.
        title: For headings.
        card: Number in the catalogue, such as `M23`.
        paper: arXiv id, DOI or absolute link.
        needs: What it cannot run without.
        scopes: Requests it can serve.
        guarantee: What it promises by construction.
        summary: What it does, in plain words for a non-engineer.
    """

    name: str
    title: str
    card: str
    paper: str
    needs: frozenset[Need]
    scopes: frozenset[Scope]
    guarantee: Guarantee
    summary: str


@dataclass(frozen=True, kw_only=True)
class Series:
    """A curve of an attack, for plots.

    Args:
        x_label: Name of the horizontal axis.
        y_label: Name of the vertical axis.
        x: Positions, numbers or names.
        y: Values, one a position.
    """

    x_label: str
    y_label: str
    x: tuple[float, ...] | tuple[str, ...]
    y: tuple[float, ...]


def _no_scores() -> Floats:
    return np.zeros(0)


def _no_ids() -> Ids:
    return np.zeros(0, dtype=np.str_)


@dataclass(frozen=True, kw_only=True, eq=False)
class Scores:
    """What an attack says of one target; attacks end here, statistics go on.

    Args:
        forget: One score a forget row, higher means more like a trained-on row; empty for
            attacks on the whole model.
        control: One score a never-trained row.
        forget_ids: Ids of the forget rows.
        control_ids: Ids of the never-trained rows.
        fitted_on: Ids that the attack learnt from.
        threshold: Scores at or above it are called members; set on calibration rows only.
        scalars: Measurements of the whole model by name.
        series: Curves by name.

    Raises:
        LeakageError: If a scored row is among those the attack was fitted on.
        ValueError: If lengths differ or a number is not finite.
    """

    forget: Floats = field(default_factory=_no_scores)
    control: Floats = field(default_factory=_no_scores)
    forget_ids: Ids = field(default_factory=_no_ids)
    control_ids: Ids = field(default_factory=_no_ids)
    fitted_on: frozenset[str] = frozenset()
    threshold: float | None = None
    scalars: Mapping[str, float] = field(default_factory=dict)
    series: Mapping[str, Series] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for part in ("forget", "control"):
            values, ids = getattr(self, part), getattr(self, f"{part}_ids")
            if len(values) != len(ids):
                raise ValueError(f"{part}: expected {len(ids)} scores, found {len(values)}")
            if not np.all(np.isfinite(values)):
                raise ValueError(f"{part}: scores must be finite")
            object.__setattr__(self, part, read_only(np.asarray(values, dtype=np.float64)))
        for name, value in self.scalars.items():
            if not np.isfinite(value):
                raise ValueError(f"{name}: expected a finite number, found {value}")
        scored = {*self.forget_ids.tolist(), *self.control_ids.tolist()}
        leaked = sorted(scored & self.fitted_on)
        if leaked:
            raise LeakageError(
                f"{len(leaked)} scored rows were also used to fit the attack "
                f"(first: {leaked[0]}); score only rows the attack has not seen"
            )
        object.__setattr__(self, "scalars", MappingProxyType(dict(self.scalars)))
        object.__setattr__(self, "series", MappingProxyType(dict(self.series)))


@dataclass(frozen=True, kw_only=True)
class Fitted:
    """An attack that has learnt what it may learn and can score any target.

    Args:
        score: Scores a target; a pure function of target and generator.
        fitted_on: Ids of the rows it learnt from.
    """

    score: Callable[[Target, np.random.Generator], Scores]
    fitted_on: frozenset[str] = frozenset()


@dataclass(frozen=True, kw_only=True)
class Shadow:
    """A model the auditor trained on part of the auxiliary rows.

    Args:
        target: The model.
        members: Mask over the auxiliary rows `(n,)`, true where it was trained on.
    """

    target: Target
    members: npt.NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class Pool:
    """The reference models an attack may learn from; never the audited model.

    Args:
        retrained: Trained by the recipe without the forget rows.
        originals: Trained by the recipe with the forget rows, by the auditor.
        shadows: Trained by the recipe on halves of the auxiliary rows.
        parent: The model from which the audited one was made, if it was handed in.
        twin: Retrained from the parent's own initialisation and data order, if that is known.
    """

    retrained: tuple[Target, ...] = ()
    originals: tuple[Target, ...] = ()
    shadows: tuple[Shadow, ...] = ()
    parent: Target | None = None
    twin: Target | None = None

    def without(self, index: int) -> Pool:
        """Return the pool without the retrained model at `index`."""
        kept = self.retrained[:index] + self.retrained[index + 1 :]
        return dataclasses.replace(self, retrained=kept)


@runtime_checkable
class Attack(Protocol):
    """An attack: fitted on reference material, then scores any target."""

    info: ClassVar[AttackInfo]

    def fit(self, pool: Pool, case: Case, rng: np.random.Generator) -> Fitted:
        """Learn from the pool and the auxiliary rows; never sees the audited model.

        Raises:
            NotApplicable: If the case or the pool lacks what the attack needs.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class UnlearnReport:
    """What a method did, for the auditor.

    Args:
        steps: Optimiser steps taken.
        rows_touched: Rows that went through a gradient or importance pass, with repetition.
        seconds: Wall time.
        stop_reason: Why it ended.
        notes: Departures and choices of this run.
    """

    steps: int
    rows_touched: int
    seconds: float
    stop_reason: str
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, eq=False)
class Unlearned:
    """A new model and how it was made.

    Args:
        model: In evaluation mode; the given model is untouched.
        report: What was done.
    """

    model: nn.Module
    report: UnlearnReport


@runtime_checkable
class Method(Protocol):
    """An unlearning method: model in, new model out."""

    info: ClassVar[MethodInfo]

    def unlearn(self, model: nn.Module, case: Case, rng: np.random.Generator) -> Unlearned:
        """Return a new model; the given one is untouched, also on error.

        Raises:
            NotApplicable: If the scope is not served or a needed input is missing.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class Statistic:
    """One number of the verdict, with its yardstick, interval and outcome.

    Args:
        name: Such as `rho_p`.
        role: Why it is there: `primary` (must be shown equivalent), `secondary` (must not
            differ) or `fidelity` (printed on its own line).
        estimate: Value for the audited model (mean over copies).
        reference_mean: Mean over the retrained models, each scored by the others.
        reference_sd: Standard deviation over them.
        difference: Estimate minus reference mean.
        standard_error: Of the difference.
        interval: Of the difference; 90 % two-sided at level .05.
        margin: The difference that would still pass; none for secondary statistics.
        p_value: Holm-adjusted p-value of no difference.
        outcome: `pass`, `fail` or `inconclusive`.
    """

    name: str
    role: Role
    estimate: float
    reference_mean: float
    reference_sd: float
    difference: float
    standard_error: float
    interval: tuple[float, float]
    margin: float | None
    p_value: float
    outcome: Outcome


@dataclass(frozen=True, kw_only=True)
class Gate:
    """A condition without which a verdict would be empty.

    Args:
        code: Such as `NO_SIGNAL`.
        outcome: `pass`, `fail` or `informative`.
        detail: What was found against what was required.
    """

    code: str
    outcome: Outcome
    detail: str


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """The answer, and what it rests on.

    Args:
        outcome: `PASS`, `FAIL` or `INCONCLUSIVE`.
        reasons: Codes of the failed gates or the kind of failure.
        profile: Name of the profile that was applied.
        p_value: Of the exact test that the audited model is one more retrained model.
        attained_bound: Smallest margin at which equivalence would still have been shown.
        detectable_share: Smallest share of the influence that would have been told apart from
            nothing with probability .8.
        scope: The sentence that bounds what the verdict says.
    """

    outcome: Decision
    reasons: tuple[str, ...]
    profile: str
    p_value: float
    attained_bound: float
    detectable_share: float
    scope: str


@dataclass(frozen=True, kw_only=True)
class Metric:
    """One metric of an attack, for the audited model and for the yardsticks.

    Args:
        name: Such as `auc`.
        audited: Value for the audited model (first copy).
        low: Lower end of its interval over rows, if there is one.
        high: Upper end.
        construction: How the interval was made, such as `DeLong 95 %`; empty if there is none.
        retrained_mean: Mean over the retrained models.
        retrained_sd: Standard deviation over them.
        original_mean: Mean over the originals trained by the auditor.
        p_value: Two-sided rank of the audited model among the retrained ones.
    """

    name: str
    audited: float
    low: float | None
    high: float | None
    construction: str
    retrained_mean: float
    retrained_sd: float
    original_mean: float | None
    p_value: float | None


@dataclass(frozen=True, kw_only=True)
class AttackResult:
    """A row of the evidence for every attack, also for those that were not run.

    Args:
        name: Registry name.
        outcome: `informative`, `not-applicable`, `not-run` or `error`.
        reason: Why it was not run, or what went wrong; empty otherwise.
        metrics: What was measured.
        series: Curves by name and by model group (`audited`, `retrained`, `original`).
        duration_s: Wall time.
    """

    name: str
    outcome: Outcome
    reason: str
    metrics: tuple[Metric, ...]
    series: Mapping[str, Mapping[str, Series]]
    duration_s: float
