"""Options of a reader, checked: `[data] options = {...}` of a plan."""

import difflib
from collections.abc import Mapping
from typing import Annotated, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from forget_audit.errors import CaseError

Count = Annotated[int, Field(gt=0)]
Scale = Literal["unit", "standard", "none"]


class Options(BaseModel):
    """What every reader may be told; unknown names and loose types are refused.

    Args:
        seed: Draws whatever a reader draws; the seed of the plan if left out.
    """

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    seed: Annotated[int, Field(ge=0)] = 0


class ImageOptions(Options):
    """What every reader of images may be told.

    Args:
        size: Side in pixels; pictures are cropped to a square and resized.
        limit: Most rows of each split, drawn by seed.
        stream: Read pictures when they are asked for, and keep none of them.
        normalise: `unit` for numbers from 0 to 1, `standard` for mean 0 and spread 1 of each
            channel over the training rows, `none` for 0 to 255.
    """

    size: Annotated[int, Field(ge=4, le=1024)] | None = None
    limit: Count | None = None
    stream: bool | None = None
    normalise: Scale = "unit"


class TableOptions(Options):
    """What every reader of tables may be told.

    Args:
        standardise: Bring each column to mean 0 and spread 1 over the training rows.
        sensitive: A column whose inference is tried: its name, or in an npz file its position.
    """

    standardise: bool = False
    sensitive: str | int | None = None


class ColumnNames(Options):
    """Which columns of a table play which role.

    Args:
        label: Column of the class.
        id: Column of the ids.
        unit: Column of the people.
    """

    label: str = "label"
    id: str = "id"
    unit: str = "unit"


class ColumnOptions(TableOptions, ColumnNames):
    """What readers of tables with named columns may be told."""


Kind = TypeVar("Kind", bound=Options)


def read_options(kind: type[Kind], reader: str, given: Mapping[str, object]) -> Kind:
    """Check the options of a reader.

    Raises:
        CaseError: With everything that is wrong.
    """
    try:
        return kind.model_validate(dict(given))
    except ValidationError as error:
        problems = [_problem(kind, item["loc"], item["msg"], item["input"], item["type"])
                    for item in error.errors()]  # fmt: skip
        raise CaseError(f"options of {reader}: {'; '.join(problems)}") from error


def no_options(source: str, given: Mapping[str, object]) -> None:
    """Refuse options where there are none.

    Raises:
        CaseError: If any are given.
    """
    if given:
        raise CaseError(f"{source} takes no options, found {', '.join(map(repr, given))}")


def _problem(
    kind: type[Options], place: tuple[int | str, ...], message: str, value: object, sort: str
) -> str:
    name = ".".join(map(str, place))
    if sort == "extra_forbidden":
        near = difflib.get_close_matches(name, kind.model_fields, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"it has {', '.join(kind.model_fields)}"
        return f"unknown {name!r}; {hint}"
    return f"{name}: {message}, found {value!r}"
