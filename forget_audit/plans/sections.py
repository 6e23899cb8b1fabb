"""The sections of a plan, with every key, its type and its default."""

import difflib
from collections.abc import Mapping
from datetime import date, timedelta
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import ErrorDetails

from forget_audit.errors import Problem
from forget_audit.training.counts import MOST_MODELS
from forget_audit.training.loop import Precision, Recipe
from forget_audit.types import PERSONAL, Access, Scope
from forget_audit.verdict.looks import MOST

REPORT_ID = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
Short = Annotated[str, Field(min_length=1, max_length=200)]
Long = Annotated[str, Field(max_length=600)]


class Section(BaseModel):
    """A table of the plan; unknown keys and loose types are refused."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


class RequestSection(Section):
    """`[request]`: who asked, when, and which rows are meant."""

    reference: Short
    received: date | None = None
    due: date | None = None
    erased: date | None = None
    scope: Scope = "instance"
    basis: Short = "GDPR Art. 17"
    forget: str | None = None
    random: Annotated[int, Field(gt=0)] | None = None
    classes: list[Annotated[int, Field(ge=0)]] | None = None
    attribute: str | None = None

    @field_validator("reference")
    @classmethod
    def opaque(cls, value: str) -> str:
        """Refuse references that look like an address, a telephone or an account number."""
        if PERSONAL.search(value):
            raise ValueError(
                "looks like personal data (an @ or a long number); use an opaque reference"
            )
        return value

    @field_validator("received")
    @classmethod
    def arrived(cls, value: date | None) -> date | None:
        """Refuse a day to come; where the sun rises earlier it may be tomorrow already."""
        today = date.today()  # noqa: DTZ011
        if value is not None and value > today + timedelta(days=1):
            raise ValueError(f"expected no day after today, {today} by this machine's clock")
        return value

    @field_validator("due")
    @classmethod
    def in_order(cls, value: date | None, info: ValidationInfo) -> date | None:
        """Refuse requests that are due before they arrive."""
        received = info.data.get("received")
        if value is not None and received is not None and value < received:
            raise ValueError(f"expected a day from received, {received}, on")
        return value


class DataSection(Section):
    """`[data]`: where the rows come from."""

    source: str
    label_noise: Annotated[float, Field(ge=0, lt=1)] = 0.0
    train: Annotated[int, Field(gt=0)] | None = None
    test: Annotated[int, Field(gt=0)] | None = None
    auxiliary: Annotated[int, Field(ge=0)] | None = None
    options: dict[str, Any] = {}


class PredictionsSection(Section):
    """`[predictions]`: a file of predictions instead of data and model."""

    file: str
    model: str | None = None


class PublishedNumber(Section):
    """`[[preset.published]]`: a number that a paper prints, to stand beside ours."""

    method: str
    metric: str
    value: float
    sd: float | None = None


class PresetSection(Section):
    """`[preset]`: the experiment of a paper that a plan repeats."""

    title: str
    paper: str
    table: str
    methods: list[str]
    notes: list[str] = []
    published: list[PublishedNumber] = []


class ModelSection(Section):
    """`[model]`: what is trained and audited."""

    architecture: str = "mlp"
    options: dict[str, Any] = {}
    head: Literal["classes", "binary"] = "classes"
    original: str | None = None
    unlearned: str | None = None


class TrainingSection(Section):
    """`[training]`: the recipe, or a function of the user's own."""

    epochs: Annotated[int, Field(gt=0)] = Recipe.epochs
    steps_per_epoch: Annotated[int, Field(gt=0)] = Recipe.steps_per_epoch
    optimizer: Literal["adam", "adamw", "sgd"] = Recipe.optimizer
    lr: Annotated[float, Field(gt=0)] = Recipe.lr
    momentum: Annotated[float, Field(ge=0, lt=1)] = Recipe.momentum
    weight_decay: Annotated[float, Field(ge=0)] = Recipe.weight_decay
    precision: Precision = "fp32"
    function: str | None = None


class MethodSection(Section):
    """`[method]`: the unlearning method, if the audit runs it."""

    name: str
    preset: str | None = None
    options: dict[str, Any] = {}


class ReferencesSection(Section):
    """`[references]`: how many models the audit trains."""

    retrained: Annotated[int, Field(ge=3, le=MOST_MODELS)] = 39
    originals: Annotated[int, Field(ge=1, le=MOST_MODELS)] = 8
    identity: Annotated[int, Field(ge=2, le=MOST_MODELS)] = 2
    shadows: Annotated[int, Field(ge=0, le=MOST_MODELS)] = 8
    candidate_shadows: Annotated[int, Field(ge=0, le=MOST_MODELS, multiple_of=3)] = 0
    copies: Annotated[int, Field(ge=1, le=MOST_MODELS)] = 1
    seed: Annotated[int, Field(ge=0)] = 0
    sequential: bool = False

    @model_validator(mode="before")
    @classmethod
    def _most_of_several_looks(cls, given: Any) -> Any:
        """With several looks, `retrained` is the most of them, and another number by default."""
        if isinstance(given, dict) and given.get("sequential") is True:
            return {"retrained": MOST, **given}
        return given


class BatterySection(Section):
    """`[battery]`: the rule of the verdict and the attacks."""

    profile: str = "standard"
    attacks: list[str] | None = None
    access: Access = "weights"
    experiments: bool = False
    canary: bool = False


class Person(Section):
    """Who audits or reviews: a name, in what role, and how independent of those who trained."""

    name: Short
    role: Short = "not stated"
    independence: Short = "not stated"


class Derived(Section):
    """`[[report.lineage]]`: something derived from the model or the rows, and what became of it."""

    kind: Literal[
        "checkpoint", "ema", "adapter", "distilled", "fine-tuned", "cache", "embedding",
        "backup", "copy", "other",
    ]  # fmt: skip
    name: Short
    fate: Literal["unlearned", "deleted", "kept", "unknown"]
    detail: Long = ""


class Recipient(Section):
    """`[[report.recipients]]`: who had received the data, and when they were told."""

    name: Short
    informed: date | None = None
    detail: Long = ""


class ReportSection(Section):
    """`[report]`: who answers, who signs, who may read it, and what is written."""

    controller: Short = "not stated"
    processor: Short | None = None
    auditor: Person | None = None
    reviewer: Person | None = None
    contact: Short | None = None
    authority: Short | None = None
    decision: Short | None = None
    classification: Short = "restricted"
    distribution: list[Short] = []
    lineage: list[Derived] = []
    recipients: list[Recipient] = []
    retain_until: date | None = None
    supersedes: Annotated[str, Field(pattern=REPORT_ID)] | None = None
    change: Long | None = None
    language: Literal["en", "de", "fr"] = "en"
    formats: list[Literal["html", "pdf"]] = ["html", "pdf"]
    timestamp: Annotated[str, Field(pattern=r"^https?://")] | None = None
    stress: str | None = None

    @model_validator(mode="after")
    def explained(self) -> Self:
        """Ask why an earlier report is superseded."""
        if (self.supersedes is None) != (self.change is None):
            raise ValueError("supersedes and change belong together: which report, and why")
        return self


SECTIONS: Mapping[str, type[Section]] = {
    "request": RequestSection,
    "data": DataSection,
    "model": ModelSection,
    "training": TrainingSection,
    "method": MethodSection,
    "references": ReferencesSection,
    "battery": BatterySection,
    "report": ReportSection,
    "predictions": PredictionsSection,
    "preset": PresetSection,
}
REQUIRED = frozenset({"request", "data"})
OPTIONAL = frozenset({"method", "predictions", "preset"})


def left_to_function(model: ModelSection, training: TrainingSection) -> bool:
    """Say whether nothing but the training function tells what is built."""
    said = model.model_fields_set & {"architecture", "options"}
    return training.function is not None and not said


def read_section(name: str, table: object) -> tuple[Section | None, list[Problem]]:
    """Return a section of a plan, or nothing and its problems with their places.

    Args:
        name: Of the section.
        table: As read from TOML; nothing if it is left out.
    """
    if table is None and name in REQUIRED:
        return None, [Problem(name, f"the section [{name}] is missing")]
    kind = SECTIONS[name]
    try:
        return kind.model_validate({} if table is None else table), []
    except ValidationError as error:
        return None, [_problem(name, kind, item) for item in error.errors()]


def _problem(name: str, kind: type[Section], item: ErrorDetails) -> Problem:
    message = item["msg"].removeprefix("Value error, ")
    if item["type"] == "extra_forbidden":
        near = difflib.get_close_matches(str(item["loc"][-1]), kind.model_fields, n=1)
        message = "unknown key" + (f"; did you mean {near[0]!r}?" if near else "")
    elif item["type"] != "missing":
        found = item["input"]
        message += f", found {found if isinstance(found, date) else repr(found)}"
    return Problem(".".join([name, *(str(part) for part in item["loc"])]), message)
