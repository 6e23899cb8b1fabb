"""Changes that know the form of trees: JSON and TOML."""

from __future__ import annotations

import base64
import json
import random
import tomllib
from collections.abc import Sequence
from copy import deepcopy
from typing import Any

from tests.fuzz import mutations

# Written by hand into the text, since `json` would not write them so.
RAW = (
    "NaN", "Infinity", "-Infinity", "1e999", "-0.0", "1e-999", "9" * 400, "9" * 5000,
    "0.1e1", "[" * 3000, '{"a":' * 3000 + "1" + "}" * 3000, "[" * 900 + "]" * 900,
    '"\\ud800"', '"\\u0000"', "tru", "'x'", "{}{}", "",
)  # fmt: skip
STRANGE: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 2**31, 2**63, 2**64, -(2**63), 10**40, 0.5, -1e308, 1e308, 5e-324,
    "", "x", " ", "\x00", "\ud800", "a" * 20_000, "../../x", "é", "e\u0301", "NaN", "0", "1",
    [], {}, [[]], [None], [0] * 1000, {"": None}, [["a", 1]], ["a"], [1, "a"], {"name": "x"},
)  # fmt: skip


DEEPEST = 12  # places below are changed by bytes alone


def _places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [path]
    items: Any = ()
    if len(path) == DEEPEST:
        return found
    if isinstance(value, dict):
        items = value.items()
    elif isinstance(value, list):
        items = enumerate(value[:20])
    for key, child in items:
        found += _places(child, (*path, key))
    return found


def _strange(rng: random.Random) -> Any:
    return deepcopy(rng.choice(STRANGE))


def _leaf(value: Any, rng: random.Random) -> Any:
    """A near neighbour of a value."""
    if isinstance(value, bool):
        return rng.choice((not value, int(value), str(value)))
    if isinstance(value, int | float) and abs(value) < 2**64:
        return rng.choice((-value, value + 1, value * 10, str(value), float(value), 0, value / 7))
    if isinstance(value, str):
        return rng.choice(
            (value + " ", value.upper(), value[:-1], value * 2, value[::-1], value + "\x00",
             [value], _recoded(value))
        )  # fmt: skip
    return _strange(rng)


def _recoded(value: str) -> str:
    """Flip a bit inside of Base64 and encode it again."""
    try:
        inside = bytearray(base64.b64decode(value, validate=True))
    except ValueError:
        return value + "="
    if inside:
        inside[len(inside) // 2] ^= 1
    return base64.b64encode(bytes(inside)).decode()


def changed_value(value: Any, rng: random.Random) -> Any:
    """Change one place of a tree of lists and tables."""
    path = rng.choice(_places(value))
    if not path:
        return _strange(rng) if rng.random() < 0.2 else changed_child(value, (), rng)
    return changed_child(value, path, rng)


def changed_child(value: Any, path: tuple[Any, ...], rng: random.Random) -> Any:
    """Change the place at `path`: another value, gone, said twice, renamed or moved."""
    if not path:
        if isinstance(value, dict):
            return {
                **value,
                rng.choice(("x", "", "name", "\x00", "__class__")): _strange(rng),
            }
        return _strange(rng)
    above = value
    for key in path[:-1]:
        above = above[key]
    key, kind = path[-1], rng.randrange(6)
    if kind == 0:
        above[key] = _strange(rng)
    elif kind == 1:
        above[key] = _leaf(above[key], rng)
    elif kind == 2:
        del above[key]
    elif kind == 3 and isinstance(above, list):
        above.insert(key, above[key])
    elif kind == 3:
        above[f"{key}{rng.choice(('', ' ', 'x'))}x"] = above.pop(key)
    elif kind == 4:
        for _ in range(rng.choice((1, 50, 500))):
            above[key] = [above[key]] if rng.random() < 0.5 else {"a": above[key]}
    else:
        other = rng.choice(list(above)) if isinstance(above, dict) else rng.randrange(len(above))
        above[key], above[other] = above[other], above[key]
    return value


def change_json(data: bytes, rng: random.Random, seeds: Sequence[bytes]) -> bytes:
    """Change JSON as a tree, or one value of it into text that no tree has."""
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        return mutations.token(data, rng, seeds)
    if rng.random() < 0.2:
        return _raw(value, rng)
    if rng.random() < 0.1 and isinstance(value, dict) and value:
        name = rng.choice(list(value))
        again = f"{json.dumps(name)}:{json.dumps(_strange(rng))}"
        return b"{" + again.encode() + b"," + json.dumps(value).encode()[1:]
    for _ in range(rng.choice((1, 1, 2, 4))):
        value = changed_value(value, rng)
    try:
        return json.dumps(value, ensure_ascii=rng.random() < 0.7).encode("utf-8", "surrogatepass")
    except (ValueError, RecursionError):
        return data


def _raw(value: Any, rng: random.Random) -> bytes:
    mark = "raw text goes here"
    path = rng.choice(_places(value))
    if not path:
        return rng.choice(RAW).encode()
    above = value
    for key in path[:-1]:
        above = above[key]
    above[path[-1]] = mark
    return json.dumps(value).replace(json.dumps(mark), rng.choice(RAW)).encode()


def toml_text(tables: dict[str, Any]) -> str:
    """Write tables as TOML, each value inline."""

    def inline(value: Any) -> str:
        if isinstance(value, dict):
            return "{" + ", ".join(f"{json.dumps(k)} = {inline(v)}" for k, v in value.items()) + "}"
        if isinstance(value, list):
            return "[" + ", ".join(inline(item) for item in value) + "]"
        if value is None:
            return '"None"'
        if isinstance(value, str | bool | int | float):
            return json.dumps(value)
        return json.dumps(str(value))

    lines = []
    for name, value in tables.items():
        if isinstance(value, dict):
            lines += [
                f"[{json.dumps(name)}]",
                *(f"{json.dumps(k)} = {inline(v)}" for k, v in value.items()),
            ]
        else:
            lines.insert(0, f"{json.dumps(name)} = {inline(value)}")
    return "\n".join(lines) + "\n"


def change_toml(data: bytes, rng: random.Random, seeds: Sequence[bytes]) -> bytes:
    """Change TOML as a tree."""
    try:
        tables = tomllib.loads(data.decode("utf-8"))
    except (ValueError, RecursionError):
        return mutations.token(data, rng, seeds)
    value: Any = tables
    for _ in range(rng.choice((1, 1, 2, 4))):
        value = changed_value(value, rng)
    if not isinstance(value, dict):
        return data
    try:
        text = toml_text(value)
    except (ValueError, RecursionError):
        return data
    if rng.random() < 0.1:
        text = text.replace(
            " = ", f" = {rng.choice(('nan', 'inf', '0x1', '1979-05-27', '[' * 2000))}#", 1
        )
    return text.encode("utf-8", "surrogatepass")
