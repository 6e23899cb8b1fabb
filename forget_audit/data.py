"""A deletion request on a data set: which rows play which role."""

import csv
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from forget_audit.datasets import Dataset
from forget_audit.errors import CaseError
from forget_audit.questions import unlabelled
from forget_audit.seeds import generator
from forget_audit.types import Case, Scope, Trainer

ROLES = ("train", "test", "auxiliary")
LARGEST_LIST = 128 * 2**20


@dataclass(frozen=True, kw_only=True)
class Request:
    """What is to be forgotten: exactly one of the five.

    Args:
        ids: Ids of rows, or of people where people are behind the rows.
        random: So many training rows, or people, drawn at random.
        classes: All training rows of these classes.
        subclasses: All training rows of these sub-classes.
        attribute: One label of all training rows, by name.
    """

    ids: tuple[str, ...] = ()
    random: int | None = None
    classes: tuple[int, ...] = ()
    subclasses: tuple[int, ...] = ()
    attribute: str | None = None

    @property
    def scope(self) -> Scope:
        """Whether rows, whole classes, whole sub-classes or a label are forgotten."""
        if self.attribute is not None:
            return "attribute"
        if self.subclasses:
            return "subclass"
        return "class" if self.classes else "instance"


def prepare(
    dataset: Dataset,
    request: Request,
    *,
    seed: int,
    sizes: tuple[int, int, int] | None = None,
    trainer: Trainer | None = None,
) -> Case:
    """Give every row its role.

    Rows are dealt to training, test and auxiliary by `seed`, unless the owner has fixed the
    split; requested ids are always training rows. All rows of a person are dealt together. A
    request for a class or a label is about rows, whoever is behind them.

    Args:
        dataset: All rows.
        request: Who is to be forgotten.
        seed: Deals the rows and draws random requests.
        sizes: Rows to train on, to test on, to keep aside; those of the data set if left out.
        trainer: The recipe.

    Raises:
        CaseError: If the request does not fit the data.
    """
    if request.scope != "instance" and dataset.rows.units is not None:
        dataset = replace(dataset, rows=dataset.rows.replace(units=None))
    _check_request(dataset, request)
    if request.attribute is not None:
        return _attribute_case(dataset, request, seed, sizes or dealt_sizes(dataset), trainer)
    train, test, auxiliary = _deal(dataset, request, seed, sizes or dealt_sizes(dataset))
    forgotten = _choose(dataset, train, request, seed)
    names = dataset.rows.ids
    pick = {
        "retain": train[~forgotten],
        "forget": train[forgotten],
        "test": test,
        "auxiliary": auxiliary,
    }
    others = None
    if request.scope != "instance":
        inside = _named(dataset, test, request)
        pick["test"], others = test[inside], dataset.rows.take(test[~inside])
    for role in ("retain", "forget", "test"):
        if not len(pick[role]):
            raise CaseError(f"no {role} rows are left of {len(names)}; ask for fewer rows")
    rows = {role: dataset.rows.take(index) for role, index in pick.items()}
    return Case(
        name=dataset.name,
        n_classes=dataset.n_classes,
        retain=rows["retain"],
        forget=rows["forget"],
        test=rows["test"],
        auxiliary=rows["auxiliary"],
        scope=request.scope,
        classes=request.classes or request.subclasses,
        others=others,
        sensitive=dataset.sensitive,
        trainer=trainer,
    )


def dealt_sizes(dataset: Dataset) -> tuple[int, int, int]:
    """Return how many rows are trained on, tested on and kept aside if nobody says otherwise."""
    if dataset.split is None:
        return dataset.sizes
    train, test, auxiliary = (int(np.sum(dataset.split == role)) for role in ROLES)
    return train, test, auxiliary


def _attribute_case(
    dataset: Dataset,
    request: Request,
    seed: int,
    sizes: tuple[int, int, int],
    trainer: Trainer | None,
) -> Case:
    train, test, auxiliary = _deal(dataset, request, seed, sizes)
    rows = dataset.rows.take(train)
    column = dataset.labels.index(request.attribute or "")
    return Case(
        name=dataset.name,
        n_classes=dataset.n_classes,
        retain=unlabelled(rows, column),
        forget=rows,
        test=dataset.rows.take(test),
        auxiliary=dataset.rows.take(auxiliary),
        scope="attribute",
        attribute=column,
        trainer=trainer,
    )


def _check_request(dataset: Dataset, request: Request) -> None:
    named = request.classes or request.subclasses
    kinds = (bool(request.classes), bool(request.subclasses), request.attribute is not None)
    given = [bool(request.ids), request.random is not None, *kinds]
    if sum(given) != 1:
        raise CaseError(
            "a request names either ids, a random count, classes, sub-classes or a label"
        )
    if request.attribute is not None and request.attribute not in dataset.labels:
        known = ", ".join(dataset.labels) or "one class a row, no labels"
        raise CaseError(f"{dataset.name} has no label {request.attribute!r}; it has {known}")
    if dataset.rows.y.ndim == 2 and named:
        raise CaseError(
            f"rows of {dataset.name} bear several labels and no class; to forget one of them "
            f"give its name as attribute: {', '.join(dataset.labels)}"
        )
    if named:
        word, values = _kinds(dataset, request)
        known = np.unique(values).tolist()
        missing = sorted(set(named) - set(known))
        if missing:
            raise CaseError(
                f"{word} {missing[0]} does not exist; {dataset.name} has "
                f"{', '.join(map(str, known))}"
            )
    strangers = sorted(set(request.ids) - set(dataset.rows.groups.tolist()))
    if strangers:
        people = "" if dataset.rows.units is None else "; rows have people behind them: name those"
        if set(strangers) & set(dataset.dropped):
            people = "; rows of equal content are kept once, and another one of them is"
        raise CaseError(
            f"{len(strangers)} ids to forget are not in {dataset.name} "
            f"(first: {', '.join(strangers[:3])}){people}"
        )
    if dataset.split is not None and request.ids:
        held = dataset.rows.groups[dataset.split != "train"]
        shared = sorted(set(request.ids) & set(held.tolist()))
        if shared:
            raise CaseError(
                f"{len(shared)} ids to forget overlap with rows that were never trained on "
                f"(first: {', '.join(shared[:3])}); only training rows can be forgotten"
            )


def _deal(
    dataset: Dataset, request: Request, seed: int, sizes: tuple[int, int, int]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    if dataset.split is not None:
        return _fewer(dataset, request, seed, sizes)
    groups = dataset.rows.groups
    people, unit = np.unique(groups, return_inverse=True)
    if dataset.rows.units is None:
        people, unit = groups, np.arange(len(groups))
    order = generator(seed, "split").permutation(len(people))
    asked = np.isin(people[order], np.array(request.ids, dtype=np.str_))
    order = np.concatenate([order[asked], order[~asked]])
    n_train, n_test, n_auxiliary = sizes
    if n_train + n_test > len(groups):
        raise CaseError(
            f"{dataset.name} has {len(groups)} rows, which does not reach for {n_train} training "
            f"and {n_test} test rows"
        )
    wanted = np.isin(groups, np.array(request.ids, dtype=np.str_))
    if wanted.sum() > n_train:
        raise CaseError(f"{int(wanted.sum())} rows to forget, but only {n_train} training rows")
    ends = np.cumsum(np.bincount(unit)[order])
    role = np.searchsorted(np.cumsum([n_train, n_test, n_auxiliary]), ends)
    of_row = np.empty(len(people), dtype=np.int64)
    of_row[order] = role
    train, test, auxiliary = (np.flatnonzero(of_row[unit] == k) for k in range(3))
    return train, test, auxiliary


def _fewer(
    dataset: Dataset, request: Request, seed: int, sizes: tuple[int, int, int]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return the rows of each role as the owner has split them, at most so many of each."""
    found = []
    for role, size in zip(ROLES, sizes, strict=True):
        index = np.flatnonzero(dataset.split == role)
        people, unit = dataset.rows.take(index).numbered()
        asked = np.isin(dataset.rows.groups[index], np.array(request.ids, dtype=np.str_))
        order = generator(seed, "split", role).permutation(people)
        first = np.isin(order, unit[asked])
        order = np.concatenate([order[first], order[~first]])
        ends = np.cumsum(np.bincount(unit, minlength=people)[order])
        found.append(index[np.isin(unit, order[ends <= size])])
        if asked.sum() > size:
            raise CaseError(f"{int(asked.sum())} rows to forget, but only {size} training rows")
    return found[0], found[1], found[2]


def _choose(
    dataset: Dataset, train: npt.NDArray[np.int64], request: Request, seed: int
) -> npt.NDArray[np.bool_]:
    if request.scope != "instance":
        return _named(dataset, train, request)
    groups = dataset.rows.groups[train]
    if request.random is None:
        return np.isin(groups, request.ids)
    people = groups if dataset.rows.units is None else np.unique(groups)
    if not 0 < request.random < len(people):
        kind = "rows" if dataset.rows.units is None else "people"
        raise CaseError(
            f"cannot forget {request.random} of {len(people)} training {kind}; ask for 1 to "
            f"{len(people) - 1}"
        )
    chosen = generator(seed, "request").choice(len(people), request.random, replace=False)
    return np.isin(groups, people[chosen])


def _kinds(dataset: Dataset, request: Request) -> tuple[str, npt.NDArray[np.int64]]:
    """Return what the request calls by name, classes or sub-classes, and that of each row."""
    if request.scope == "class":
        return "class", dataset.rows.y
    if dataset.subclasses is None:
        raise CaseError(f"{dataset.name} does not say which sub-class its rows are of")
    return "sub-class", dataset.subclasses


def _named(
    dataset: Dataset, index: npt.NDArray[np.int64], request: Request
) -> npt.NDArray[np.bool_]:
    return np.isin(_kinds(dataset, request)[1][index], request.classes or request.subclasses)


def read_ids(path: Path) -> tuple[str, ...]:
    """Read row ids: one a line, or the column `id` of a csv file.

    Raises:
        CaseError: If it cannot be read, a line has no id, or one occurs twice.
    """
    try:
        if path.stat().st_size > LARGEST_LIST:
            raise CaseError(
                f"{path.name} is larger than {LARGEST_LIST // 2**20} MiB, a list of ids"
            )
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file, strict=True)
            lines = [(reader.line_num, line) for line in reader if line]
    except (OSError, ValueError, csv.Error) as error:
        raise CaseError(
            f"{path.name} cannot be read as a list of ids ({error}); expected text in UTF-8, one "
            "id a line, or a column called id"
        ) from error
    named = bool(lines) and "id" in lines[0][1]
    column = lines[0][1].index("id") if named else 0
    ids = [line[column].strip() if len(line) > column else "" for _, line in lines[named:]]
    if not ids:
        raise CaseError(f"{path.name} holds no ids; expected one a line, or a column called id")
    if "" in ids:
        number = lines[named:][ids.index("")][0]
        raise CaseError(f"{path.name} has no id in line {number}; nobody is left out unseen")
    twice = sorted(name for name, n in Counter(ids).items() if n > 1)
    if twice:
        raise CaseError(f"{path.name} lists {twice[0]!r} twice")
    return tuple(ids)
