"""The experiments of the papers as plans: one TOML file a table, network and data set.

A file is a plan with three parts more. `[names]` says what each method of the table is called
here. `columns` names what the table measures, and `published` holds its rows as they are printed.
`[[variants]]` are the same experiment on other forget sets, each a preset of its own.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from types import MappingProxyType
from typing import Any

from forget_audit.errors import UnknownName
from forget_audit.registry import unknown

Tables = dict[str, Any]
# What the figure "> 100" of a table stands for: more than the attack counts to, which says 100.
CELL = re.compile(r"(?:> *)?(\d+(?:\.\d+)?)(?: ± (\d+(?:\.\d+)?))?")


@dataclass(frozen=True, kw_only=True)
class Preset:
    """An experiment of a paper.

    Args:
        name: Distinct.
        stem: Name of its file, shared by variants.
        title: What is forgotten of which data, by which network.
        paper: Authors, year, title, place and links.
        table: Of the paper.
        tables: The plan, with its section `preset`.
        names: What the paper calls a method, and what the plan does.
        columns: What the table measures, by the names of `paper_metrics`.
    """

    name: str
    stem: str
    title: str
    paper: str
    table: str
    tables: Mapping[str, Any]
    names: Mapping[str, str]
    columns: tuple[str, ...]

    @property
    def notes(self) -> tuple[str, ...]:
        """What the paper leaves open, and what was chosen."""
        return tuple(self.tables["preset"]["notes"])

    @property
    def architecture(self) -> str:
        """Name of the network."""
        return str(self.tables["model"]["architecture"])

    @property
    def reader(self) -> str:
        """Name of the reader of the data."""
        return str(self.tables["data"]["source"]).partition(":")[0]

    @property
    def asked(self) -> str:
        """What is forgotten, in a few words."""
        request = self.tables["request"]
        if "classes" in request:
            word = "sub-class" if request["scope"] == "subclass" else "class"
            listed = request["classes"]
            return f"{word}{'es' if len(listed) > 1 else ''} {_numbers(listed)}"
        if "attribute" in request:
            return f"label {request['attribute']}"
        if "random" in request:
            return f"{request['random']} rows"
        return f"rows of {request['forget']}"

    def card(self) -> dict[str, Any]:
        """Return what `list presets` and `show` print."""
        methods = [f"- {name}: {text}" for name, text in self.names.items()]
        notes = [f"- {note}" for note in self.notes]
        lines = [f"{self.paper}.", "", "Methods, as the paper calls them and as they are run:"]
        lines += [*methods, "", "What the paper leaves open, and what was chosen:", *notes, ""]
        return {
            "title": self.title,
            "description": "\n".join(lines),
            "table": self.table,
            "data": self.tables["data"]["source"],
            "network": self.architecture,
            "forgets": self.asked,
            "measures": list(self.columns),
            "published figures": len(self.tables["preset"]["published"]),
        }


@cache
def presets() -> Mapping[str, Preset]:
    """Return all presets by name, sorted."""
    folder = resources.files("forget_audit.presets")
    files = sorted(item.name for item in folder.iterdir() if item.name.endswith(".toml"))
    found = [
        preset
        for name in files
        for preset in _expanded(
            name.removesuffix(".toml"), tomllib.loads((folder / name).read_text("utf-8"))
        )
    ]
    return MappingProxyType({preset.name: preset for preset in sorted(found, key=_by_name)})


def get_preset(name: str) -> Preset:
    """Return the preset called `name`.

    Raises:
        UnknownName: With the nearest name.
    """
    found = presets()
    if name not in found:
        raise UnknownName(unknown("preset", name, found))
    return found[name]


def cards() -> dict[str, dict[str, Any]]:
    """Return what `list presets` and `show` print of each preset, by name."""
    return {name: preset.card() for name, preset in presets().items()}


def plan_for(preset: Preset, folder: Path) -> Tables:
    """Return the plan with the paths of its files, which lie in `folder`."""
    tables = deepcopy(dict(preset.tables))
    reader, _, path = tables["data"]["source"].partition(":")
    tables["data"]["source"] = f"{reader}:{(folder / path).as_posix()}"
    if "forget" in tables["request"]:
        tables["request"]["forget"] = (folder / tables["request"]["forget"]).as_posix()
    return tables


def _expanded(stem: str, file: Mapping[str, Any]) -> Iterator[Preset]:
    for variant in file.get("variants", [{}]):
        tables = {
            key: deepcopy(value) for key, value in file.items() if key not in ("names", "variants")
        }
        about, names = tables["preset"], file["names"]
        columns = tuple(about.pop("columns"))
        tables["request"] |= variant.get("request", {})
        about["table"] = variant.get("table", about.get("table"))
        about["notes"] = [*about["notes"], *variant.get("notes", [])]
        about["methods"] = [choice for choice in names.values() if choice != "original"]
        if "title" in variant:
            about["title"] += f": {variant['title']}"
        rows = variant.get("published", about.get("published", []))
        about["published"] = list(_figures(rows, names, columns))
        yield Preset(
            name="-".join([stem, *([variant["name"]] if variant else [])]),
            stem=stem,
            title=about["title"],
            paper=about["paper"],
            table=about["table"],
            tables=tables,
            names=names,
            columns=columns,
        )


def _figures(
    rows: Sequence[Sequence[str]], names: Mapping[str, str], columns: Sequence[str]
) -> Iterator[Tables]:
    """Yield the figures of a table, row by row; empty cells are skipped.

    Raises:
        ValueError: If a cell is no figure, or a row has not a cell a column.
    """
    for name, *cells in rows:
        for metric, cell in zip(columns, cells, strict=True):
            found = CELL.fullmatch(cell)
            if cell and found is None:
                raise ValueError(f"expected a figure such as '88.9 ± 0.2', found {cell!r}")
            if found:
                figure = {"method": names[name], "metric": metric, "value": float(found[1])}
                yield figure | ({"sd": float(found[2])} if found[2] else {})


def _numbers(listed: Sequence[int]) -> str:
    first, last = listed[0], listed[-1]
    if len(listed) > 2 and list(listed) == list(range(first, last + 1)):
        return f"{first} to {last}"
    return ", ".join(map(str, listed))


def _by_name(preset: Preset) -> tuple[tuple[int, str], ...]:
    """Sort numbers in names by their value."""
    parts = re.split(r"(\d+)", preset.name)
    return tuple((int(p), "") if p.isdigit() else (-1, p) for p in parts)
