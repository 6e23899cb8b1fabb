"""Write the pages on methods, docs/methods.md and docs/methods/, from what the code says itself.

Usage: python -m scripts.cards            says which pages are out of date
       python -m scripts.cards --write    writes them, and removes pages of no method
"""

import dataclasses
import inspect
import json
import re
import sys
import textwrap
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from forget_audit import registry
from forget_audit.contracts import MethodInfo
from forget_audit.digests import plain
from scripts.tables import ROOT, as_table, link, ours

INDEX, FOLDER, ERRATA = "docs/methods.md", "docs/methods", "docs/errata.md"
SCOPES = {
    "instance": "single rows",
    "class": "classes",
    "subclass": "sub-classes",
    "attribute": "attributes",
}
ROWS = {"forget": "forget rows", "retain": "retained rows", "labels": "labels of the rows it reads"}
FURTHER = {
    "recipe": "the training recipe",
    "log": "a log of the training",
    "initial": "the weights before training",
    "training": "a model trained by its own recipe",
    "architecture": "a model of a certain build",
}
WORDS = {bool: "true or false", int: "whole number", float: "number", str: "text"}
WORDS[type(None)] = "none"
HEADS = {"single": "one class a row", "multi": "several labels a row"}
GUARANTEES = {"none": "nothing", "exact": "exact", "certified": "certified under assumptions"}
NOTE = "<!-- Written by `python -m scripts.cards --write`: change the code, not this page. -->"
PREFACE = """\
Every unlearning method of forget-audit, with what it reads, what it needs besides, which requests
it serves and what it promises by construction. Tests compare this with what methods do: one that
reads other rows, or serves a request that its card does not name, fails them. A promise is no
result: what a method leaves behind on your request is what an audit measures. Requests that are
hardest to serve are found by `forget_audit.worst_case`, with a model of the auditor's own.

● yes, ○ yes, by our own adaptation that no paper defines, – no.
"""


def pages(root: Path = ROOT) -> dict[str, str]:
    """Return the text of every page by its path from the root.

    Args:
        root: Of the repository; its errata are linked to.
    """
    kinds = [kind for kind in registry.methods().values() if ours(kind)]
    errata = headings((root / ERRATA).read_text("utf-8"))
    made = {f"{FOLDER}/{kind.info.name}.md": page(kind, errata) for kind in kinds}
    return {INDEX: index([kind.info for kind in kinds], errata), **made}


def stale(root: Path = ROOT, *, write: bool = False) -> list[str]:
    """Return what is missing, out of date or too much; afterwards nothing is, if `write`."""
    made = pages(root)
    there = {path.relative_to(root).as_posix() for path in (root / FOLDER).glob("*")}
    found = sorted(there - set(made))
    for name in found if write else ():
        (root / name).unlink()
    for name, text in made.items():
        path = root / name
        if not path.exists() or path.read_text("utf-8") != text:
            found.append(name)
            if write:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text, encoding="utf-8")
    return found


def headings(text: str) -> dict[str, str]:
    """Return the titles of the entries of the page of errata, by number."""
    return dict(re.findall(r"^### (E\d+) (.+)$", text, re.MULTILINE))


def index(cards: list[MethodInfo], errata: Mapping[str, str]) -> str:
    """Return the page on all methods."""
    ordered = sorted(
        cards, key=lambda info: (int(re.sub(r"\D", " ", info.card).split()[0]), info.name)
    )
    rows = [_capabilities(info, errata) for info in ordered]
    head = ["Card", "Method", "Forget rows", "Retained rows", "Labels", "Needs besides"]
    head += ["Single rows", "Classes", "Sub-classes", "Attributes", "Several labels a row"]
    head += ["Promise", "Reconstructed", "Errata"]
    sentences = [f"- [`{info.name}`](methods/{info.name}.md): {info.summary}" for info in ordered]
    parts = [
        NOTE,
        "# Methods",
        PREFACE.strip(),
        as_table(tuple(head), rows),
        "## In a sentence",
        "\n".join(sentences),
    ]
    return "\n\n".join(parts) + "\n"


def page(kind: type, errata: Mapping[str, str]) -> str:
    """Return the page on one method.

    Raises:
        ValueError: If the docstring leaves out a field, or an erratum does not exist.
    """
    info: MethodInfo = kind.info  # type: ignore[attr-defined]
    told = sections(inspect.getdoc(kind) or "")
    departures, _, checked = told.get("Departures", "").partition("Verification:")
    parts = [
        NOTE,
        f"# {info.title}",
        info.summary,
        _linked(told[""]),
        "## Card",
        _card(kind, info, errata),
        "## Settings",
        settings(kind, told.get("Args", "")),
        "## Presets",
        _presets(info),
        "## Refuses",
        *[_entries(told["Raises"])] * ("Raises" in told),
        "Requests, outputs and models that the card does not name: `NotApplicable`.",
        "## Departures",
        _linked(departures.strip()),
        "## How it was checked",
        _linked(_sentence(checked)) or "See `tests/`.",
        "## References",
        _references(told.get("References", "")),
    ]
    return "\n\n".join(parts) + "\n"


def sections(doc: str) -> dict[str, str]:
    """Return the sections of a Google docstring by heading; the text above them under ``."""
    parts = re.split(r"^(Args|Raises|References|Departures):\n", doc, flags=re.MULTILINE)
    found = {"": parts[0].strip()}
    for heading, text in zip(parts[1::2], parts[2::2], strict=True):
        found[heading] = textwrap.dedent(text).strip()
    return found


def settings(kind: type, told: str) -> str:
    """Return the table of settings of a method.

    Args:
        kind: The method.
        told: What its docstring says of them.
    """
    meanings = _meanings(told)
    hints = typing.get_type_hints(kind)
    rows = []
    for field in dataclasses.fields(kind):
        if field.name not in meanings:
            raise ValueError(f"{kind.__name__}: the docstring does not say what {field.name} means")
        value = getattr(kind(), field.name)
        default = "none" if value is None else f"`{_json(value)}`"
        rows.append((f"`{field.name}`", words(hints[field.name]), default, meanings[field.name]))
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
        raise ValueError(f"found no words for settings of type {kind}; add them to scripts/cards")
    return WORDS[kind]


def _card(kind: type, info: MethodInfo, errata: Mapping[str, str]) -> str:
    own = [f"{SCOPES[s]} (○ our adaptation)" for s in SCOPES if s in info.adapted]
    served = [SCOPES[s] for s in SCOPES if s in info.scopes - info.adapted]
    rows = [
        ("Name", f"`{info.name}`, in Python `{kind.__module__}.{kind.__name__}`"),
        ("Card", info.card),
        ("Source", link(info.paper)),
        ("Reads", ", ".join(ROWS[need] for need in ROWS if need in info.needs) or "no rows"),
        (
            "Needs besides",
            ", ".join(FURTHER[need] for need in FURTHER if need in info.needs) or "–",
        ),
        ("Requests", ", ".join([*served, *own])),
        ("Outputs", ", ".join(HEADS[head] for head in HEADS if head in info.heads)),
        ("Promises by construction", GUARANTEES[info.guarantee]),
        ("Assumptions", info.assumptions),
        ("Reconstructed", info.reconstructed),
        ("Cost", info.cost),
        (
            "Accuracy kept",
            f"on a small problem, tests ask for {info.floor:.0%} of that on retained rows",
        ),
        ("Errata", ", ".join(_erratum(number, errata, "../errata.md") for number in info.errata)),
    ]
    return as_table(("", ""), [row for row in rows if row[1]])


def _capabilities(info: MethodInfo, errata: Mapping[str, str]) -> tuple[str, ...]:
    served = ["○" if s in info.adapted else "●" if s in info.scopes else "–" for s in SCOPES]
    numbers = [_erratum(number, errata, "errata.md", title=False) for number in info.errata]
    return (
        info.card,
        f"[`{info.name}`](methods/{info.name}.md) {info.title}",
        *("●" if need in info.needs else "–" for need in ROWS),
        ", ".join(FURTHER[need] for need in FURTHER if need in info.needs) or "–",
        *served,
        "●" if "multi" in info.heads else "–",
        GUARANTEES[info.guarantee],
        "●" if info.reconstructed else "–",
        " ".join(numbers) or "–",
    )


def _erratum(number: str, errata: Mapping[str, str], page: str, *, title: bool = True) -> str:
    if number not in errata:
        raise ValueError(f"found no entry {number} in {ERRATA}; add it or correct the card")
    heading = f"{number} {errata[number]}"
    anchor = re.sub(r"[^\w\- ]", "", heading).lower().replace(" ", "-")
    return f"[{heading if title else number}]({page}#{anchor})"


def _presets(info: MethodInfo) -> str:
    if not info.presets:
        return "None."
    rows = [
        (f"`{name}`", ", ".join(f"`{key} = {_json(value)}`" for key, value in values.items()))
        for name, values in info.presets.items()
    ]
    return as_table(("Preset", "Settings that it changes"), rows)


def _references(text: str) -> str:
    lines: list[str] = []
    for line in text.splitlines():
        new = not lines or (lines[-1].endswith(".") and not lines[-1].endswith("al."))
        lines.append(f"- {line}" if new else f"  {line}")
    return _linked("\n".join(lines))


def _entries(text: str) -> str:
    return "\n".join(f"- `{name}`: {meaning}" for name, meaning in _meanings(text).items())


def _meanings(text: str) -> dict[str, str]:
    found = re.findall(r"^(\w+): (.+(?:\n +.+)*)", text, re.MULTILINE)
    return {name: " ".join(meaning.split()) for name, meaning in found}


def _linked(text: str) -> str:
    text = re.sub(r"(?<![<(])https://[^\s,;)>]*[^\s,;)>.]", r"<\g<0>>", text)
    return re.sub(r"arXiv:(\d{4}\.\d{4,5})", r"[\g<0>](https://arxiv.org/abs/\1)", text)


def _sentence(text: str) -> str:
    text = text.strip()
    return text[:1].upper() + text[1:]


def _json(value: Any) -> str:
    return json.dumps(plain(value), ensure_ascii=False)


def main() -> int:
    """Write or compare all pages."""
    write = "--write" in sys.argv[1:]
    found = stale(write=write)
    verb = "written or removed" if write else "out of date, run `make tables`"
    sys.stdout.write("".join(f"{name} {verb}\n" for name in found))
    return 1 if found and not write else 0


if __name__ == "__main__":
    sys.exit(main())
