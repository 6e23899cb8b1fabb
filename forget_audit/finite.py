"""Reading JSON and TOML of others: numbers that are not finite are refused, and not let in.

Python reads `1e999` as infinity, and takes NaN and Infinity, which JSON does not know. TOML knows
them; no setting and no record of this program has a meaning with one.
"""

import json
import math
import tomllib
from typing import Any

from forget_audit.plain_text import utf8


class NotFinite(ValueError):
    """A number is infinite, or none."""


def number(text: str) -> float:
    """Return the number that a text stands for.

    Raises:
        NotFinite: If it is not finite.
    """
    if not math.isfinite(value := float(text)):
        raise NotFinite(f"{text[:20]} is not a finite number")
    return value


def read_json(data: bytes | str, **how: Any) -> Any:
    """Return what a JSON text holds.

    Args:
        data: The text.
        how: Other arguments of `json.loads`.

    Raises:
        ValueError: If it is no JSON.
        NotFinite: If it holds a number that is not finite.
        RecursionError: If it is nested too deeply.
    """
    return json.loads(data, parse_float=number, parse_constant=number, **how)


def read_toml(given: bytes | str) -> dict[str, Any]:
    """Return the tables of a TOML text, which is in UTF-8 if it is given as bytes.

    Raises:
        ValueError: If it is no TOML.
        NotFinite: If it holds a number that is not finite.
        RecursionError: If it is nested too deeply.
    """
    text = utf8(given) if isinstance(given, bytes) else given
    return tomllib.loads(text, parse_float=number)
