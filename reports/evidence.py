"""Does evidence fit the published schema? Understands the keywords that the schema uses.

Verification runs where no schema library is installed; a test holds this against one.
"""

import json
import re
from functools import cache
from importlib import resources
from typing import Any

from forget_audit.errors import VerificationError
from forget_audit.reports import strict_json
from forget_audit.types import Json

_TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,), "array": (list,), "string": (str,), "integer": (int,),
    "number": (int, float), "null": (type(None),),
}  # fmt: skip
MOST = 20


@cache
def schema() -> Json:
    """Return the published schema of `evidence.json`."""
    folder = resources.files("forget_audit.reports") / "schemas"
    document: Json = json.loads((folder / "evidence-1.json").read_text(encoding="utf-8"))
    return document


def read(data: bytes) -> Json:
    """Return the evidence in `data`, which must be canonical and fit the schema.

    Raises:
        VerificationError: If it does not.
    """
    evidence = strict_json.canonical(data, "evidence")
    wrong = problems(evidence)
    if wrong:
        raise VerificationError(f"does not fit its schema: {wrong[0]}")
    return evidence


def problems(evidence: object) -> list[str]:
    """Say what does not fit, each with its place; empty if all does.

    Beyond the schema: required tests must be among the statistics, no list of named things may
    hold a name twice, and a curve has as many positions as values, all of one kind.
    """
    found = _check(evidence, schema(), "evidence")
    if found or not isinstance(evidence, dict):
        return found[:MOST]
    names = [item["name"] for item in evidence["statistics"]]
    found += [
        f"evidence.battery.required: {name} is not among the statistics"
        for name in evidence["battery"]["required"]
        if name not in names
    ]
    lists = {
        "statistics": names,
        "attacks": [item["name"] for item in evidence["attacks"]],
        "model.audited": [item["name"] for item in evidence["model"]["audited"]],
    }
    found += [
        f"evidence.{place}: a name occurs twice"
        for place, entries in lists.items()
        if len(set(entries)) != len(entries)
    ]
    found += [
        f"evidence.attacks: {attack['name']} has a malformed curve {name}"
        for attack in evidence["attacks"]
        for name, lines in attack["series"].items()
        if not all(_is_curve(line, numeric=name == "roc") for line in lines.values())
    ]
    return found[:MOST]


def _is_curve(line: Json, *, numeric: bool) -> bool:
    named = [isinstance(x, str) for x in line["x"]]
    alike = not any(named) or (all(named) and not numeric)
    return alike and len(line["x"]) == len(line["y"])


def _check(value: Any, rule: Json, place: str) -> list[str]:
    if "$ref" in rule:
        return _check(value, schema()["$defs"][rule["$ref"].rpartition("/")[2]], place)
    if "anyOf" in rule:
        attempts = [_check(value, option, place) for option in rule["anyOf"]]
        return [] if not all(attempts) else max(attempts, key=len)
    if "const" in rule and value != rule["const"]:
        return [f"{place}: expected {rule['const']!r}"]
    if "enum" in rule and value not in rule["enum"]:
        return [f"{place}: expected one of {', '.join(map(str, rule['enum']))}"]
    if "type" in rule and not _fits(value, rule["type"]):
        return [f"{place}: expected {rule['type']}, found {type(value).__name__}"]
    if "minimum" in rule and value is not None and value < rule["minimum"]:
        return [f"{place}: expected at least {rule['minimum']}"]
    if "pattern" in rule and not re.search(rule["pattern"].replace("$", r"\Z"), value):
        return [f"{place}: expected text like {rule['pattern']}"]
    if isinstance(value, dict):
        return _check_object(value, rule, place)
    if isinstance(value, list):
        return _check_array(value, rule, place)
    return []


def _check_object(value: Json, rule: Json, place: str) -> list[str]:
    known, rest = rule.get("properties", {}), rule.get("additionalProperties", True)
    found = [f"{place}.{name}: missing" for name in rule.get("required", ()) if name not in value]
    for name, item in value.items():
        where = f"{place}.{name}"
        if name in known:
            found += _check(item, known[name], where)
        elif rest is False:
            found.append(f"{where}: unknown")
        elif isinstance(rest, dict):
            found += _check(item, rest, where)
    return found


def _check_array(value: list[Any], rule: Json, place: str) -> list[str]:
    if len(value) < rule.get("minItems", 0) or len(value) > rule.get("maxItems", len(value)):
        return [f"{place}: has {len(value)} items"]
    found: list[str] = []
    if "items" in rule:
        for i, item in enumerate(value):
            found += _check(item, rule["items"], f"{place}[{i}]")
    return found


def _fits(value: Any, types: str | list[str]) -> bool:
    names = [types] if isinstance(types, str) else types
    if isinstance(value, bool):
        return "boolean" in names
    return any(isinstance(value, _TYPES[name]) for name in names)
