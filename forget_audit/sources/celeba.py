"""CelebA in its own format: a folder of pictures, and tables in text.

torchvision's reader refuses every copy that is not complete and unchanged, by MD5 (without
`download`, it wants five tables and the archive), and reads labels, boxes and landmarks of all
rows as tensors. The two tables that are needed are read here instead.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from forget_audit.datasets import Dataset
from forget_audit.errors import CaseError
from forget_audit.registry import unknown
from forget_audit.sources.assembling import Pictures, assemble, name_ids
from forget_audit.sources.files import find_folder, inside, must_exist, read_lines
from forget_audit.sources.images import files
from forget_audit.sources.options import ImageOptions, read_options
from forget_audit.types import Labels

ATTRIBUTES, PARTITION = "list_attr_celeba.txt", "list_eval_partition.txt"
IDENTITIES, IMAGES = "identity_CelebA.txt", "img_align_celeba"
ROLES = {"0": "train", "1": "auxiliary", "2": "test"}


class CelebaOptions(ImageOptions):
    """What the reader of CelebA may be told.

    Args:
        attributes: Columns of the label matrix; all 40 if left out.
        label: One attribute that becomes the class, 0 or 1, instead of a label matrix.
    """

    attributes: list[str] | None = None
    label: str | None = None


def celeba(path: Path, options: Mapping[str, object]) -> Dataset:
    """CelebA: 202,599 faces of celebrities with 40 yes-or-no attributes, three channels.

    The folder, or `celeba` in it, holds `img_align_celeba`, `list_attr_celeba.txt` and
    `list_eval_partition.txt`; with `identity_CelebA.txt` all pictures of a person are one unit.
    Official training rows are for training, validation rows are the auxiliary rows.
    """
    title = "CelebA (Liu et al., 2015)"
    checked = read_options(CelebaOptions, "celeba", options)
    folder = find_folder(path, ("celeba", "CelebA"), ATTRIBUTES, title)
    must_exist(folder, (ATTRIBUTES, PARTITION), title)
    names, columns, matrix = read_attributes(folder / ATTRIBUTES, wanted(checked))
    roles = read_pairs(folder / PARTITION, names)
    odd = sorted({role for role in roles if role not in ROLES})
    if odd:
        raise CaseError(f"{PARTITION}: expected the parts 0, 1 and 2, found {odd[0]!r}")
    units = None
    if (folder / IDENTITIES).is_file():
        units = np.array(read_pairs(folder / IDENTITIES, names), dtype=np.str_)
    there(folder / IMAGES, names)
    pictures = Pictures(
        items=files(folder / IMAGES, names, checked),
        y=matrix[:, 0] if checked.label else matrix,
        ids=name_ids(names),
        split=np.array([ROLES[role] for role in roles], dtype=np.str_),
        units=units,
        labels=() if checked.label else columns,
        classes=(f"not {checked.label}", checked.label) if checked.label else (),
    )
    return assemble("celeba", title, pictures, checked, stream=True)


def wanted(options: CelebaOptions) -> Sequence[str] | None:
    """Return the attributes asked for; nothing for all.

    Raises:
        CaseError: If a class and a label matrix are both asked for.
    """
    if options.label is None:
        return options.attributes
    if options.attributes is not None:
        raise CaseError("give either label, for one class a row, or attributes, for several labels")
    return [options.label]


def read_attributes(
    path: Path, chosen: Sequence[str] | None
) -> tuple[list[str], tuple[str, ...], Labels]:
    """Read a table of attributes: a count, the names, and a line of -1 and 1 a picture.

    Args:
        path: The table.
        chosen: Columns that are kept; all if left out.

    Returns:
        Names of pictures, names of columns, and the label matrix of 0 and 1.

    Raises:
        CaseError: If the table is not of this form, or lacks a column.
    """
    lines = read_lines(path)
    header = lines[1].split() if len(lines) > 2 else []
    if not header or not lines[0].strip().isdigit():
        raise CaseError(f"{path.name}: expected a count, a line of attributes, and rows")
    if len(set(header)) < len(header):
        raise CaseError(f"{path.name}: expected each attribute once in line 2")
    if lines[0].strip().lstrip("0") != str(len(lines) - 2):
        raise CaseError(
            f"{path.name}: line 1 announces {lines[0].strip()[:20]} rows, found {len(lines) - 2}; "
            "unpack it again, or correct the number if it is a part of the data"
        )
    columns = tuple(header if chosen is None else chosen)
    for name in columns:
        if name not in header:
            raise CaseError(f"{path.name}: {unknown('attribute', name, header)}")
    places = [header.index(name) + 1 for name in columns]
    names, rows = [], []
    for number, line in enumerate(lines[2:], start=3):
        cells = line.split()
        values = [cells[place] for place in places] if len(cells) == len(header) + 1 else []
        if not values or not {"-1", "1"}.issuperset(values):
            raise CaseError(
                f"{path.name}, line {number}: expected a name and {len(header)} times -1 or 1"
            )
        names.append(inside(cells[0], path.name))
        rows.append(values)
    return names, columns, (np.array(rows) == "1").astype(np.int64)


def read_pairs(path: Path, names: Sequence[str]) -> list[str]:
    """Read a table of two columns, picture and value, and return the value of each picture.

    Raises:
        CaseError: If a line is not of this form, or a picture is missing.
    """
    pairs = [line.split() for line in read_lines(path)]
    if not all(len(pair) == 2 for pair in pairs):
        raise CaseError(f"{path.name}: expected lines of a name and a number")
    values = {pair[0]: pair[1] for pair in pairs}
    if len(values) < len(pairs):
        raise CaseError(f"{path.name}: expected each picture once")
    missing = [name for name in names if name not in values]
    if missing:
        raise CaseError(f"{path.name} lacks {len(missing)} pictures (first: {missing[0]})")
    return [values[name] for name in names]


def there(folder: Path, names: Iterable[str]) -> None:
    """Refuse a table that names pictures which are not in the folder.

    Raises:
        CaseError: With the first of them.
    """
    found = {item.name for item in folder.iterdir()} if folder.is_dir() else set()
    missing = [name for name in names if name not in found]
    if missing:
        raise CaseError(
            f"{folder.name} lacks {len(missing)} pictures that the table names (first: "
            f"{missing[0]})"
        )
