"""What docstrings and settings of methods and attacks say, as text of a page."""

import dataclasses
import json
import re
import textwrap
import types
import typing
from typing import Any, Literal

from forget_audit.digests import plain
from scripts.tables import as_table

NOTE = "<!-- Written by `python -m scripts.cards --write`: change the code, not this page. -->"
WORDS = {bool: "true or false", int: "whole number", float: "number", str: "text"}
WORDS[type(None)] = "none"
HEADINGS = ("Args", "Raises", "References", "Departures")


def sections(doc: str) -> dict[str, str]:
    """Return the sections of a Google docstring by heading; the text above them under ``."""
    parts = re.split(rf"^({'|'.join(HEADINGS)}):\n", doc, flags=re.MULTILINE)
    found = {"": parts[0].strip()}
    for heading, text in zip(parts[1::2], parts[2::2], strict=True):
        found[heading] = textwrap.dedent(text).strip()
    return found


def settings(kind: type, told: str) -> str:
    """Return the table of settings of a method or an attack.

    Args:
        kind: Its class.
        told: What its docstring says of them.

    Raises:
        ValueError: If the docstring leaves out a field.
    """
    known = meanings(told)
    hints = typing.get_type_hints(kind)
    rows = []
    for field in dataclasses.fields(kind):
        if field.name not in known:
            raise ValueError(f"{kind.__name__}: the docstring does not say what {field.name} means")
        value = getattr(kind(), field.name)
        default = "none" if value is None else f"`{as_json(value)}`"
        rows.append((f"`{field.name}`", words(hints[field.name]), default, known[field.name]))
    return as_table(("Setting", "Type", "Default", "Meaning"), rows) if rows else "None."


def words(kind: Any) -> str:
    """Say in words which values a setting takes.

    Raises:
        ValueError: If there are no words for it.
    """
    origin, parts = typing.get_origin(kind), typing.get_args(kind)
    if origin in (types.UnionType, typing.Union):
        return " or ".join(words(part) for part in parts)
    if origin is Literal:
        named = [f"`{part}`" for part in parts]
        return " or ".join([*filter(None, [", ".join(named[:-1])]), named[-1]])
    if origin is tuple:
        several = words(parts[0]) + "s" * (not words(parts[0]).endswith("`"))
        return f"list of {several}" if parts[1:] == (...,) else f"list of {len(parts)} {several}"
    if kind not in WORDS:
        raise ValueError(
            f"found no words for settings of type {kind}; add them to scripts/card_text"
        )
    return WORDS[kind]


def references(text: str) -> str:
    """Return the sources of a docstring as a list."""
    lines: list[str] = []
    for line in text.splitlines():
        new = not lines or (lines[-1].endswith(".") and not lines[-1].endswith("al."))
        lines.append(f"- {line}" if new else f"  {line}")
    return linked("\n".join(lines))


def entries(text: str) -> str:
    """Return the entries of a section of a docstring as a list."""
    return "\n".join(f"- `{name}`: {meaning}" for name, meaning in meanings(text).items())


def meanings(text: str) -> dict[str, str]:
    """Return what a section of a docstring says of each name."""
    found = re.findall(r"^(\w+): (.+(?:\n +.+)*)", text, re.MULTILINE)
    return {name: " ".join(meaning.split()) for name, meaning in found}


def linked(text: str) -> str:
    """Make addresses and arXiv ids of a text into links."""
    text = re.sub(r"(?<![<(])https://[^\s,;)>]*[^\s,;)>.]", r"<\g<0>>", text)
    return re.sub(r"arXiv:(\d{4}\.\d{4,5})", r"[\g<0>](https://arxiv.org/abs/\1)", text)


def sentence(text: str) -> str:
    """Return a text with a capital letter."""
    text = text.strip()
    return text[:1].upper() + text[1:]


def as_json(value: Any) -> str:
    """Return a value as JSON, as a plan would have it."""
    return json.dumps(plain(value), ensure_ascii=False)
