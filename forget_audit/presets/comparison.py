"""The reproduced table as Markdown, CSV, JSON and lines for a terminal."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from forget_audit.types import Json
from forget_audit.whole_files import write_output

COLUMNS = (
    "preset", "table", "smoke", "row", "method", "status", "reason", "metric", "unit",
    "published", "published_sd", "ours", "ours_sd", "difference", "seeds",
)  # fmt: skip


def write(result: Json, folder: Path) -> list[Path]:
    """Write the files of one table and return their paths."""
    texts = {
        ".md": markdown(result),
        ".csv": table_of_numbers(result),
        ".json": json.dumps(result, indent=1, ensure_ascii=False, allow_nan=False) + "\n",
    }
    paths = [folder / f"{result['preset']}{suffix}" for suffix in texts]
    for path, text in zip(paths, texts.values(), strict=True):
        write_output(path, text)
    return paths


def markdown(result: Json) -> str:
    """Return the page in Markdown: what was measured, a table a metric, and what is open."""
    lines = [f"# {result['title']}", ""]
    for paragraph in paragraphs(result):
        lines += [paragraph, ""]
    for name, metric in result["metrics"].items():
        lines += [f"## {name}, {metric['unit']}", "", f"{_sentence(metric['meaning'])}", ""]
        lines += [_line(cells) for cells in table(result, name)] + [""]
    kept = [f"- {row['label']}: {row['status']}: {row['reason']}" for row in _failed(result)]
    lines += ["## Not measured", "", *kept, ""] if kept else []
    lines += ["## What the paper leaves open", "", *(f"- {note}" for note in result["notes"])]
    return "\n".join(lines).rstrip() + "\n"


def text(result: Json) -> str:
    """Return the table for a terminal."""
    lines = [f"{result['preset']}: {result['title']}", *paragraphs(result)]
    for name, metric in result["metrics"].items():
        cells = [row for row in table(result, name) if set(row[0]) != {"-"}]
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        lines += ["", f"{name}, {metric['unit']}"]
        lines += [
            "  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip()
            for row in cells
        ]
    lines += [f"{row['label']}: {row['status']}: {row['reason']}" for row in _failed(result)]
    return "\n".join(lines)


def paragraphs(result: Json) -> list[str]:
    """Say which table this is, of what size ours is, and what it is worth."""
    about, recipe = result["about"], result["about"]["recipe"]
    rows = ", ".join(f"{count} {role}" for role, count in about["rows"].items())
    options = ", ".join(f"{k} {v}" for k, v in about["model"].items() if k != "name")
    network = about["model"]["name"] + (f" ({options})" if options else "")
    shape = " x ".join(map(str, about["image"]))
    found = [
        f"{result['table']} of {result['paper']}",
        f"Our setting: {network} on {about['source']} of {shape}; {rows} rows; "
        f"{recipe['epochs']} epochs of {recipe['steps_per_epoch']} steps of {recipe['optimizer']} "
        f"at {recipe['lr']:g}; seeds: {about['seeds']}, each with an original and a retrained "
        f"model of its own. {result['seconds']:.0f} s.",
    ]
    return [*found, result["warning"]] if result["warning"] else found


def table(result: Json, name: str) -> Iterator[tuple[str, ...]]:
    """Yield head, rule and rows of the table of one metric."""
    ours = "Ours (smoke size)" if result["smoke"] else "Ours"
    yield "Row", "Method", "Published", ours, "Difference"
    yield ("---",) * 5
    for row in result["rows"]:
        found = row["metrics"][name]
        if found["published"] is None and found["ours"] is None:
            continue
        difference = found["difference"]
        yield (
            row["label"],
            _short(row["method"]),
            _shown(found["published"], found["published_sd"]),
            _shown(found["ours"], found["ours_sd"]),
            "" if difference is None else f"{difference:+.2f}",
        )


def table_of_numbers(result: Json) -> str:
    """Return a line a row and metric, with every digit."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in result["rows"]:
        for name, found in row["metrics"].items():
            writer.writerow(
                [result["preset"], result["table"], result["smoke"], row["label"], row["method"],
                 row["status"], row["unmeasured"].get(name) or row["reason"], name,
                 result["metrics"][name]["unit"], found["published"], found["published_sd"],
                 found["ours"], found["ours_sd"], found["difference"], len(found["values"])]
            )  # fmt: skip
    return file.getvalue()


def _failed(result: Json) -> list[Json]:
    return [row for row in result["rows"] if row["reason"]]


def _shown(value: float | None, spread: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.2f}" + ("" if spread is None else f" ± {spread:.2f}")


def _short(method: str) -> str:
    """Return a method without its settings, which stand in the JSON file."""
    return method.partition(" ")[0] + (" ..." if " " in method else "")


def _sentence(meaning: str) -> str:
    return meaning[:1].upper() + meaning[1:] + "."


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"
