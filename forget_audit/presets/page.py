"""The tables of the page on the papers: presets, metrics, and where data come from."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from itertools import groupby
from typing import Any

from forget_audit.presets.catalogue import presets
from forget_audit.presets.choices import choice
from forget_audit.presets.paper_metrics import FIGURES, PATTERNS
from forget_audit.presets.supplies import SUPPLIES

HEAD = ("Presets", "Table", "Data", "Network", "Forgets", "Methods")
PAPERS: Mapping[str, str] = {
    "jit": "An information theoretic approach to machine unlearning (JiT)",
    "lpu": "Layer-wise partial machine unlearning",
    "mlu": "Multi-label unlearning by weight filtering and weight pruning",
    "suli": "Self-unlearning with layered iteration (SULI)",
    "unsir": "Fast yet effective machine unlearning (UNSIR)",
}


def experiments() -> str:
    """Return the presets as Markdown: a heading a paper, a line an experiment."""
    lines: list[str] = []
    for key, title in PAPERS.items():
        found = [preset for name, preset in presets().items() if name.startswith(f"{key}-")]
        lines += [f"### {title}", "", _links(found[0].paper), ""]
        lines += [_line(HEAD), _line(("---",) * len(HEAD))]
        for _, group in groupby(found, key=lambda preset: preset.stem):
            same = list(group)
            first = same[0]
            names = dict.fromkeys(choice(text).method for text in first.names.values())
            lines.append(
                _line(
                    (
                        ", ".join(f"`{preset.name}`" for preset in same),
                        ", ".join(dict.fromkeys(preset.table for preset in same)),
                        SUPPLIES[first.reader].title,
                        f"`{first.architecture}`{_shown(first.tables['model'])}",
                        "; ".join(dict.fromkeys(preset.asked for preset in same)),
                        ", ".join(f"`{name}`" for name in names if name),
                    )
                )
            )
        lines.append("")
    return "\n".join(lines).rstrip()


def metrics() -> str:
    """Return the vocabulary of metrics as Markdown."""
    every = {**FIGURES, **PATTERNS}
    rows = [(f"`{name}`", figure.unit, figure.meaning) for name, figure in every.items()]
    return "\n".join(map(_line, (("Metric", "Unit", "Meaning"), ("---",) * 3, *rows)))


def sources() -> str:
    """Return what must lie where, and who gives it out, as Markdown."""
    places: dict[str, str] = {}
    for preset in presets().values():
        places.setdefault(preset.reader, preset.tables["data"]["source"].partition(":")[2])
    rows = [
        (supply.title, f"`{places[reader]}`", f"`{reader}`", supply.files, supply.keeper)
        for reader, supply in SUPPLIES.items()
    ]
    head = ("Data", "Folder or file", "Reader", "What lies there", "Who gives it out")
    return "\n".join(map(_line, (head, ("---",) * len(head), *rows)))


TABLES: Mapping[str, Callable[[], str]] = {
    "metrics": metrics,
    "sources": sources,
    "experiments": experiments,
}


def _links(paper: str) -> str:
    """Return a citation with its addresses as links."""
    return re.sub(r"https://[^\s,]+", lambda found: f"<{found[0]}>", paper) + "."


def _shown(model: Mapping[str, Any]) -> str:
    options = ", ".join(f"{key} {value}" for key, value in model.get("options", {}).items())
    return f" ({options})" if options else ""


def _line(cells: tuple[str, ...]) -> str:
    return f"| {' | '.join(cells)} |"
