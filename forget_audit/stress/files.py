"""What was found as files: Markdown, CSV, JSON, drawings, and a short table to print."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

from forget_audit.stress.page import MARKS, markdown, of_method, weak
from forget_audit.stress.plots import png, svg
from forget_audit.stress.results import MEASURES
from forget_audit.stress.rounds import ERROR
from forget_audit.types import Json
from forget_audit.whole_files import write_output

NAME = "stress"


def write(result: Json, folder: Path) -> list[Path]:
    """Write all files and return their paths."""
    texts = {
        ".json": as_text(result),
        ".md": markdown(result),
        ".csv": table_of_numbers(result),
        ".svg": svg(result),
    }
    paths = [folder / f"{NAME}{suffix}" for suffix in (*texts, ".png")]
    for path, text in zip(paths, texts.values(), strict=False):
        write_output(path, text)
    write_output(paths[-1], png(result))
    return paths


def as_text(result: Json) -> str:
    """Return the document as JSON."""
    return json.dumps(result, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def lines(result: Json) -> list[str]:
    """Return a short table for a terminal: residual influence by set and method."""
    names = [item["name"] for item in result["methods"] if not item["control"]]
    settings = result["settings"]
    strategies = [item for item in result["sets"] if not item["part"]]
    found = [
        [item["name"] + weak(item), *(_brief(item, name) for name in names)] for item in strategies
    ]
    rows = [["set", *names], *found]
    wide = [max(len(row[k]) for row in rows) for k in range(len(rows[0]))]
    head = (
        f"residual influence (0 as retrained, 1 as never unlearned), mean of {settings['seeds']} "
        f"seed(s), {settings['references']} retrained models a set; ▲ harder than random sets, "
        "▼ easier; ° too little to see in most seeds"
    )
    return [head, *("  ".join(c.ljust(w) for c, w in zip(r, wide, strict=True)) for r in rows)]


def broken(result: Json) -> list[str]:
    """Return a line on each set that could not be drawn, and on each method that broke."""
    sets = [item for item in result["sets"] if item["status"] == ERROR]
    return [f"{item['name']}: {item['reason']}" for item in sets] + [
        f"{item['name']}: {one['method']}: {one['reason']}"
        for item in result["sets"]
        for one in item["results"]
        if one["status"] == ERROR
    ]


def table_of_numbers(result: Json) -> str:
    """Return a line a set, method and measure, with every digit and every seed."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(
        ("set", "method", "measure", "n", "mean", "low", "high", "values", "harder_mean",
         "harder_low", "harder_high", "call")
    )  # fmt: skip
    for item in result["sets"]:
        for found in item["results"]:
            for measure in MEASURES:
                spread, harder = found["measures"][measure], found["harder"].get(measure)
                if spread is None:
                    continue
                own = [spread[key] for key in ("mean", "low", "high")]
                gap = [harder[key] for key in ("mean", "low", "high")] if harder else [""] * 3
                values = " ".join(map(str, spread["values"]))
                call = harder["call"] if harder else ""
                writer.writerow(
                    (item["name"], found["method"], measure, len(spread["values"]), *own, values,
                     *gap, call)
                )  # fmt: skip
    return file.getvalue()


def _brief(item: Json, method: str) -> str:
    if not item["n"]:
        return "n/a"
    found = of_method(item, method)
    spread, harder = found["measures"]["influence"], found["harder"]["influence"]
    if spread is None:
        return "n/a"
    return f"{spread['mean']:.2f}" + (MARKS.get(harder["call"], "") if harder else "")
