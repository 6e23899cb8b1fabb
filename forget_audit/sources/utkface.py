"""UTKFace: what is known of a face stands in the name of its file."""

import re
from bisect import bisect_right
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from forget_audit.datasets import Dataset
from forget_audit.errors import CaseError
from forget_audit.sources.assembling import Pictures, assemble, name_ids
from forget_audit.sources.files import must_be_folder
from forget_audit.sources.images import ENDINGS, files
from forget_audit.sources.options import ImageOptions, read_options

NAME = re.compile(r"(\d{1,3})_([01])_([0-4])_(\d+)\.jpg(\.chip\.jpg)?")
NAMES = {
    "gender": ("male", "female"),
    "race": ("White", "Black", "Asian", "Indian", "others"),
}
PLACES = {"age": 1, "gender": 2, "race": 3}


class UtkfaceOptions(ImageOptions):
    """What the reader of UTKFace may be told.

    Args:
        label: What the class is.
        edges: Ages at which the next class begins.
    """

    label: Literal["age", "gender", "race"] = "age"
    edges: Annotated[list[int], Field(min_length=1, default=[10, 20, 30, 40, 50, 60, 70, 80])]


def utkface(path: Path, options: Mapping[str, object]) -> Dataset:
    """UTKFace: 23,708 faces with age, gender and race in the file name, three channels.

    Files are called `age_gender_race_date.jpg` or `...jpg.chip.jpg`, in the folder or below it.
    The few published files whose names lack a part are left out, and the title counts them. There
    is no official split, and no telling who is on two pictures: each counts as a person.
    """
    checked = read_options(UtkfaceOptions, "utkface", options)
    edges = checked.edges
    if any(second <= first for first, second in pairwise(edges)):
        raise CaseError(f"expected edges that rise, found {edges}")
    must_be_folder(path, "the pictures of UTKFace")
    every = sorted(
        file.relative_to(path).as_posix()
        for file in path.rglob("*")
        if file.name.lower().endswith(ENDINGS)
    )
    found = [(name, match) for name in every if (match := NAME.fullmatch(Path(name).name))]
    if not found:
        raise CaseError(
            f"expected files called age_gender_race_date.jpg in {path.name}, found none among "
            f"{len(every)} pictures"
        )
    values = [int(match[PLACES[checked.label]]) for _, match in found]
    title = "UTKFace (Zhang et al., 2017)"
    if len(found) < len(every):
        title += f", without {len(every) - len(found)} files of incomplete names"
    names = [name for name, _ in found]
    pictures = Pictures(
        items=files(path, names, checked),
        y=np.array(
            [bisect_right(edges, v) if checked.label == "age" else v for v in values],
            dtype=np.int64,
        ),
        ids=name_ids(names),
        classes=_ages(edges) if checked.label == "age" else NAMES[checked.label],
    )
    return assemble("utkface", title, pictures, checked, stream=True)


def _ages(edges: list[int]) -> tuple[str, ...]:
    middle = [f"{first} to {second - 1}" for first, second in pairwise(edges)]
    return (f"under {edges[0]}", *middle, f"{edges[-1]} and more")
