"""Folders of pictures, one folder a class: the user's own, VGGFace2 and Pins.

Files are listed as torchvision's `ImageFolder` does, which would follow a link to the folder that
it lies in; the pictures are decoded by Pillow when rows are asked for.
"""

import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from forget_audit.datasets import Dataset
from forget_audit.errors import CaseError
from forget_audit.sources.assembling import Pictures, assemble, name_ids
from forget_audit.sources.files import must_be_folder, reading
from forget_audit.sources.images import ENDINGS, files
from forget_audit.sources.options import Count, ImageOptions, read_options
from forget_audit.types import Ids

PARTS = {
    "train": "train", "test": "test", "val": "auxiliary", "valid": "auxiliary",
    "validation": "auxiliary", "auxiliary": "auxiliary",
}  # fmt: skip


class FolderOptions(ImageOptions):
    """What the reader of image folders may be told.

    Args:
        grey: One channel instead of three.
    """

    grey: bool = False


class FaceOptions(FolderOptions):
    """What readers of folders of faces may be told.

    Args:
        people: So many people, those with most pictures first; all if left out.
    """

    people: Count | None = None


def imagefolder(path: Path, options: Mapping[str, object]) -> Dataset:
    """Folders of pictures, one folder a class, decoded when rows are asked for.

    Classes are numbered by name. Where the folder holds `train` and `test`, each with the folders
    of classes, that is the split, and `val` or `auxiliary` holds the auxiliary rows.
    """
    checked = read_options(FolderOptions, "imagefolder", options)
    parts = [part for part in PARTS if (path / part).is_dir()]
    split = {"train", "test"} <= set(parts)
    listed = {part: _listed(path / part) for part in parts} if split else {"": _listed(path)}
    classes = tuple(sorted({kind for found in listed.values() for _, kind in found}))
    names = [f"{part}/{name}".lstrip("/") for part, found in listed.items() for name, _ in found]
    kinds = [kind for found in listed.values() for _, kind in found]
    strangers = sorted(set(classes) - {kind for _, kind in listed["train"]}) if split else []
    if strangers:
        raise CaseError(f"class {strangers[0]!r} is tested on, but train holds no picture of it")
    roles = [PARTS[part] for part, found in listed.items() for _ in found] if split else None
    return _dataset(path, f"imagefolder:{path.name}", path.name, names, kinds, roles, checked)


def vggface2(path: Path, options: Mapping[str, object]) -> Dataset:
    """VGGFace2: faces in one folder a person, the person being the class.

    The folder holds `n000002` and so on, or `train` with them. The people in the official `test`
    are others, whom no classifier of the training people can know, so that folder is not read:
    rows are dealt by seed. To forget a person is a class request.
    """
    checked = read_options(FaceOptions, "vggface2", options)
    title = "VGGFace2 (Cao et al., 2018)"
    folder = path / "train" if (path / "train").is_dir() else path
    return _faces("vggface2", title, folder, r"n\d{6}", checked)


def pins(path: Path, options: Mapping[str, object]) -> Dataset:
    """Pins: 17,534 faces of 105 celebrities in one folder a person, the person being the class.

    The folder holds `pins_Adriana Lima` and so on, or `105_classes_pins_dataset` with them. Rows
    are dealt by seed. To forget a person is a class request.
    """
    checked = read_options(FaceOptions, "pins", options)
    title = "Pins face recognition (Burak, 2020)"
    folder = path / "105_classes_pins_dataset"
    return _faces("pins", title, folder if folder.is_dir() else path, r"pins_.+", checked)


def _faces(name: str, title: str, folder: Path, pattern: str, options: FaceOptions) -> Dataset:
    found = [(file, kind) for file, kind in _listed(folder) if re.fullmatch(pattern, kind)]
    if not found:
        raise CaseError(f"{folder.name} holds no folders of people of {title}, called {pattern}")
    counts = Counter(kind for _, kind in found)
    people = sorted(sorted(counts), key=lambda kind: -counts[kind])[: options.people]
    found = [(file, kind) for file, kind in found if kind in set(people)]
    names, kinds = [file for file, _ in found], [kind for _, kind in found]
    return _dataset(folder, name, title, names, kinds, None, options)


def _dataset(
    folder: Path,
    name: str,
    title: str,
    names: list[str],
    kinds: list[str],
    roles: list[str] | None,
    options: FolderOptions,
) -> Dataset:
    classes = sorted(set(kinds))
    numbers = {kind: number for number, kind in enumerate(classes)}
    split: Ids | None = None if roles is None else np.array(roles, dtype=np.str_)
    pictures = Pictures(
        items=files(folder, names, options, grey=options.grey),
        y=np.array([numbers[kind] for kind in kinds], dtype=np.int64),
        ids=name_ids(names),
        split=split,
        classes=tuple(classes),
    )
    return assemble(name, title, pictures, options, stream=True)


def _listed(folder: Path) -> list[tuple[str, str]]:
    """Return each picture, relative to `folder`, with the name of its class."""
    must_be_folder(folder, "pictures in one folder a class")
    with reading(folder.name, "pictures in one folder a class"):
        kinds = sorted(entry.name for entry in os.scandir(folder) if entry.is_dir())
        found = {
            kind: sorted(_pictures(folder / kind), key=lambda file: (str(file.parent), file.name))
            for kind in kinds
        }
    empty = [kind for kind, files_of in found.items() if not files_of]
    if empty or not kinds:
        what = f"the folder {empty[0]!r} of {folder.name}" if empty else folder.name
        raise CaseError(f"{what} holds no pictures in one folder a class")
    return [
        (file.relative_to(folder).as_posix(), kind)
        for kind, listed in found.items()
        for file in listed
    ]


def _pictures(folder: Path) -> Iterator[Path]:
    """Yield the pictures below a folder; links are followed, but never in a circle.

    Raises:
        CaseError: If a link leads back, so that the same pictures would be read over and over.
    """
    seen = set()
    for place, below, names in os.walk(folder, followlinks=True):
        here = Path(place).stat()
        if (here.st_dev, here.st_ino) in seen:
            raise CaseError(f"{folder.name}: two ways lead to one folder; take out the links")
        seen.add((here.st_dev, here.st_ino))
        below.sort()
        yield from (Path(place, name) for name in names if name.lower().endswith(ENDINGS))
