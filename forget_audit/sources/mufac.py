"""MUFAC and MUCAC: faces with the people on them, made for unlearning (Choi and Na, 2023).

Layouts, file names and cuts between identities are those of the public repository
ndb796/MachineUnlearning and the archives it names.
"""

import csv
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from forget_audit.datasets import Dataset
from forget_audit.errors import CaseError
from forget_audit.sources.assembling import Pictures, assemble, name_ids
from forget_audit.sources.celeba import CelebaOptions, read_attributes, read_pairs, there, wanted
from forget_audit.sources.files import find_folder, inside, must_exist, reading
from forget_audit.sources.images import files
from forget_audit.sources.options import ImageOptions, read_options
from forget_audit.sources.tables import once

TABLES = {
    "train": ("custom_train_dataset.csv", "train_images"),
    "auxiliary": ("custom_val_dataset.csv", "val_images"),
    "test": ("custom_test_dataset.csv", "test_images"),
}
AGES = ("0-6", "7-12", "13-19", "20-30", "31-45", "46-55", "56-66", "67-80")
LETTERS = "abcdefgh"
NAME = re.compile(r"(F\d+)_[A-Z]+_([A-Z]+\d*)_\d+_[a-h]\d*\.jpe?g", re.IGNORECASE)

HQ_ATTRIBUTES, HQ_IDENTITIES = "CelebA-HQ-attribute.txt", "CelebA-HQ-identity.txt"
HQ_IMAGES = "CelebA-HQ-img"
PERSON = re.compile(r"[0-9]{1,9}")
THREE = ("Male", "Smiling", "Young")


class MufacOptions(ImageOptions):
    """What the reader of MUFAC may be told.

    Args:
        label: What the class is.
    """

    label: Literal["age"] = "age"


class MucacOptions(CelebaOptions):
    """What the reader of MUCAC may be told.

    Args:
        cuts: Identities below the first are the auxiliary rows, from the second on they are the
            test rows; those between are trained on.
    """

    cuts: Annotated[list[int], Field(min_length=2, max_length=2, default=[190, 4855])]


def mufac(path: Path, options: Mapping[str, object]) -> Dataset:
    """MUFAC: 13,068 Korean faces in eight age groups, with family and person of each.

    The folder, or `custom_korean_family_dataset_resolution_128` in it, holds
    `custom_train_dataset.csv` with `train_images`, `custom_val_dataset.csv` with `val_images`, and
    `custom_test_dataset.csv` with `test_images`. Families do not cross that split: the third part,
    on which the benchmark's authors attack, is the test rows, and the second the auxiliary rows.
    All pictures of a person are one unit.
    """
    title = "MUFAC (Choi and Na, 2023)"
    checked = read_options(MufacOptions, "mufac", options)
    copies = [f"custom_korean_family_dataset_resolution_{side}" for side in (128, 256)]
    folder = find_folder(path, copies, TABLES["train"][0], title)
    must_exist(folder, [table for table, _ in TABLES.values()], title)
    names, y, units, split = [], [], [], []
    for role, (table, images) in TABLES.items():
        rows = _annotations(folder / table)
        there(folder / images, [name for name, _, _ in rows])
        for name, age, person in rows:
            names.append(f"{images}/{name}")
            y.append(LETTERS.index(age))
            units.append(person)
            split.append(role)
    pictures = Pictures(
        items=files(folder, names, checked),
        y=np.array(y, dtype=np.int64),
        ids=name_ids(names),
        split=np.array(split, dtype=np.str_),
        units=np.array(units, dtype=np.str_),
        classes=AGES,
    )
    return assemble("mufac", title, pictures, checked, stream=True)


def mucac(path: Path, options: Mapping[str, object]) -> Dataset:
    """MUCAC: 30,000 faces of CelebA-HQ under gender, smile and youth, with their identities.

    The folder holds `CelebA-HQ-attribute.txt`, `CelebA-HQ-identity.txt` and `CelebA-HQ-img`, the
    last perhaps in `CelebAMask-HQ`. People are trained on, tested on or kept aside by number, as
    in the benchmark; all pictures of a person are one unit. Its authors call the labels gender,
    smiling and young; the names here are those of the table.
    """
    title = "MUCAC (Choi and Na, 2023), of CelebA-HQ"
    checked = read_options(MucacOptions, "mucac", options)
    folder = find_folder(path, ("CelebAMask-HQ",), HQ_ATTRIBUTES, title)
    must_exist(folder, (HQ_ATTRIBUTES, HQ_IDENTITIES), title)
    chosen = wanted(checked) or THREE
    names, columns, matrix = read_attributes(folder / HQ_ATTRIBUTES, chosen)
    people = read_pairs(folder / HQ_IDENTITIES, names)
    if not all(PERSON.fullmatch(person) for person in people):
        raise CaseError(f"{HQ_IDENTITIES}: expected a name and a whole number a line")
    images = find_folder(folder, ("CelebAMask-HQ",), HQ_IMAGES, title) / HQ_IMAGES
    there(images, names)
    numbers = np.array([int(person) for person in people])
    first, second = checked.cuts
    split = np.select([numbers < first, numbers >= second], ["auxiliary", "test"], "train")
    pictures = Pictures(
        items=files(images, names, checked),
        y=matrix[:, 0] if checked.label else matrix,
        ids=name_ids(names),
        split=split.astype(np.str_),
        units=np.array(people, dtype=np.str_),
        labels=() if checked.label else columns,
        classes=(f"not {checked.label}", checked.label) if checked.label else (),
    )
    return assemble("mucac", title, pictures, checked, stream=True)


def _annotations(path: Path) -> list[tuple[str, str, str]]:
    """Return file name, letter of the age group and person of each row of a table."""
    with (
        reading(path.name, "a table of MUFAC", csv.Error),
        path.open(newline="", encoding="utf-8") as file,
    ):
        reader = csv.DictReader(file, strict=True)
        once(path.name, list(reader.fieldnames or ()))
        rows = list(reader)
    uneven = next((i for i, row in enumerate(rows, 2) if None in row or None in row.values()), None)
    if uneven is not None:
        raise CaseError(f"{path.name}, line {uneven}: expected as many cells as columns")
    if not rows or not {"image_path", "age_class"} <= set(rows[0]):
        raise CaseError(f"{path.name}: expected the columns image_path and age_class, and rows")
    found = []
    for number, row in enumerate(rows, start=2):
        name, age = inside(row["image_path"] or "", path.name), row["age_class"]
        if age not in tuple(LETTERS):
            raise CaseError(f"{path.name}, line {number}: expected an age a to h, found {age!r}")
        match = NAME.fullmatch(name)
        family, person = row.get("family_id"), row.get("person_id")
        if match and not (family and person):
            family, person = match[1], match[2]
        if not (family and person):
            raise CaseError(
                f"{path.name}, line {number}: {name!r} does not say who it is; expected the "
                "columns family_id and person_id, or a name such as F0001_AGE_D_18_a1.jpg"
            )
        found.append((name, age, f"{family}-{person}"))
    return found
