"""Answers to what `init` asks, checked at once: files, rows, requests and names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from forget_audit import registry
from forget_audit.architectures import find_builder
from forget_audit.data import Request, prepare, read_ids
from forget_audit.errors import CaseError, ModelError, NotApplicable
from forget_audit.finite import NotFinite, read_toml
from forget_audit.named_objects import import_object
from forget_audit.starter.places import Found, Place
from forget_audit.starter.writing import ADAPTER, OURS
from forget_audit.types import Scope

FEWEST, USUAL = 20, 100
LONGEST = 12  # digits of a whole number


def find_request(text: str, found: Found, scope: Scope | None, place: Place) -> Mapping[str, Any]:
    """Return the keys of `[request]` that say what is to be forgotten.

    Args:
        text: A number of rows, `classes 3,5`, `attribute NAME`, or a file of ids.
        found: The rows.
        scope: If it is not to follow from the rest.
        place: Where files are named from.

    Raises:
        CaseError: If it does not fit the rows.
    """
    word, _, rest = text.strip().partition(" ")
    if word == "classes" and rest:
        numbers = whole_numbers(rest)
        said: dict[str, Any] = {"classes": numbers, "scope": scope or "class"}
        asked = Request(classes=numbers)
        if scope == "subclass":
            asked = Request(subclasses=numbers)
    elif word == "attribute" and rest:
        said = {"attribute": rest.strip(), "scope": "attribute"}
        asked = Request(attribute=rest.strip())
    elif text.strip().isdecimal() and len(text.strip()) <= LONGEST:
        said = {"random": int(text), "scope": "instance"}
        asked = Request(random=int(text))
    else:
        file = place.locate(text.strip(), "file of ids")
        said = {"forget": file.named, "scope": "instance"}
        asked = Request(ids=read_ids(file.path))
    if scope not in (None, said["scope"]):
        raise CaseError(f"scope {scope!r} does not go with {text!r}")
    if found.dataset is not None:
        prepare(found.dataset, asked, seed=0)
    return said


def usual_request(found: Found) -> str:
    """Return the request that is tried out if nobody names one."""
    dataset = found.dataset
    if dataset is None:
        return str(USUAL)
    if dataset.labels:
        return f"attribute {dataset.labels[-1]}"
    people = len(np.unique(dataset.rows.groups)) * dataset.sizes[0] // len(dataset.rows)
    return str(min(USUAL, max(FEWEST, people // 4), max(people - 1, 1)))


def whole_numbers(text: str) -> tuple[int, ...]:
    """Read whole numbers with commas between.

    Raises:
        CaseError: If it is something else.
    """
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() and len(part) <= LONGEST for part in parts):
        raise CaseError(f"expected numbers of classes such as 3,5, found {text!r}")
    return tuple(int(part) for part in parts)


def find_architecture(name: str, place: Place) -> str:
    """Return the name of an architecture as the plan has to name it.

    Raises:
        ModelError: If there is none.
        CaseError: If its folder is missing.
    """
    kind, _, rest = name.partition(":")
    if kind == "hf" and rest:
        return f"hf:{place.locate(rest, 'folder').named}"
    if name == f"{OURS}build" and not (place.folder / ADAPTER).exists():
        return name
    place.can_import()
    find_builder(name)
    return name


def find_method(name: str, scope: Scope, *, trains_itself: bool) -> str:
    """Return the name of a method that serves such a request.

    Raises:
        UnknownName: If there is no such method.
        NotApplicable: If it does not serve the request, or the model.
    """
    info = registry.get_method(name).info
    if scope not in info.scopes:
        serve = [other for other, kind in registry.methods().items() if scope in kind.info.scopes]
        raise NotApplicable(f"{name} does not serve {scope} requests; these do: {', '.join(serve)}")
    if trains_itself and name != "retrain":
        raise NotApplicable(
            f"{name} changes the weights of a network; a model that trains itself can be "
            "retrained: take retrain, or hand in the unlearned model"
        )
    return name


def usual_method(scope: Scope, *, trains_itself: bool) -> str:
    """Return the method that is tried out if nobody names one."""
    if trains_itself:
        return "retrain"
    return "weight_filtering" if scope == "attribute" else "scrub"


def read_setting(pair: str) -> tuple[str, object]:
    """Read `KEY=VALUE`; a value that is none of TOML is a text.

    Raises:
        CaseError: If there is no `=`, or a number that is not finite.
    """
    key, sign, text = pair.partition("=")
    if not sign or not key.strip():
        raise CaseError(f"expected KEY=VALUE, such as size=32, found {pair!r}")
    try:
        read = read_toml(f"value = {text}")
    except NotFinite as error:
        raise CaseError(f"{pair}: {error}") from error
    except (ValueError, RecursionError):
        read = {}
    return key.strip(), read["value"] if len(read) == 1 else text


def named_classes(text: str) -> tuple[int, ...]:
    """Return the classes of a request `classes 3,5`.

    Raises:
        CaseError: If it names anything else.
    """
    word, _, rest = text.partition(" ")
    if word != "classes":
        raise CaseError("the file of predictions says which rows are forgotten; name classes alone")
    return whole_numbers(rest)


def imported(name: str, place: Place) -> str:
    """Return `package.module:function` if there is such a function.

    Raises:
        ModelError: If there is none.
    """
    place.can_import()
    if not callable(import_object(name)):
        raise ModelError(f"{name} is no function")
    return name
