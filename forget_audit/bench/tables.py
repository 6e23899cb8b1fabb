"""The benchmark as pages: Markdown, HTML, CSV and JSON, all from what was measured."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from forget_audit.bench.columns import GROUPS, LABEL_OUTPUT
from forget_audit.bench.plots import ALTERNATIVE, svg
from forget_audit.types import Json
from forget_audit.whole_files import write_output

TEMPLATES = resources.files("forget_audit.reports") / "templates"
ROW_COLUMNS = ("request", "name", "kind", "method", "settings", "status", "reason", "n")
LAST_COLUMNS = ("head_call", "notes")


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table with its heading and a sentence on how to read it.

    Args:
        title: Heading.
        text: Below the heading; may be empty.
        head: Names of the columns.
        rows: Cells, the first of each row naming it.
    """

    title: str
    text: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def write(result: Json, folder: Path) -> list[Path]:
    """Write all files of one request and return their paths."""
    name = f"bench-{result['request']}"
    texts = {
        ".md": markdown(result),
        ".csv": table_of_numbers(result),
        ".html": html(result),
        ".svg": svg(result),
        ".json": json.dumps(result, indent=1, ensure_ascii=False, allow_nan=False) + "\n",
    }
    paths = [folder / f"{name}{suffix}" for suffix in texts]
    for path, text in zip(paths, texts.values(), strict=True):
        write_output(path, text)
    return paths


def table_of_numbers(result: Json) -> str:
    """Return a line a row, with every digit; empty cells where nothing was measured."""
    names = list(result["metrics"])
    columns = [f"{name}{end}" for name in names for end in ("", "_low", "_high")]
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow([*ROW_COLUMNS, *columns, *LAST_COLUMNS])
    for row in result["rows"]:
        about = {**row, "request": result["request"], "settings": json.dumps(row["settings"])}
        spreads = [row["metrics"][name] or {} for name in names]
        numbers = [spread.get(key) for spread in spreads for key in ("mean", "low", "high")]
        call, notes = row.get("head", {}).get("call", ""), "; ".join(row["notes"])
        writer.writerow([*(about[key] for key in ROW_COLUMNS), *numbers, call, notes])
    return file.getvalue()


def markdown(result: Json) -> str:
    """Return the page in Markdown."""
    lines = [f"# Benchmark: {result['title']}", ""]
    for paragraph in paragraphs(result):
        lines += [paragraph, ""]
    lines += [f"![{ALTERNATIVE}](bench-{result['request']}.svg)", ""]
    for table in tables(result):
        lines += [f"## {table.title}", ""]
        lines += [table.text, ""] if table.text else []
        lines += [_line(table.head), _line(["---"] * len(table.head)), *map(_line, table.rows), ""]
    return "\n".join(lines).rstrip() + "\n"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(' '.join(c.split()).replace('|', chr(92) + '|') for c in cells)} |"


def html(result: Json) -> str:
    """Return the page in HTML: no script, nothing fetched but the drawing beside it."""
    environment = Environment(
        loader=FileSystemLoader(str(TEMPLATES)), autoescape=True, undefined=StrictUndefined,
        keep_trailing_newline=True,
    )  # fmt: skip
    return environment.get_template("bench.html.j2").render(
        title=f"Benchmark: {result['title']}",
        paragraphs=[text.replace("`", "") for text in paragraphs(result)],
        drawing=f"bench-{result['request']}.svg",
        alternative=ALTERNATIVE,
        tables=tables(result),
    )


def paragraphs(result: Json) -> list[str]:
    """Say what was measured, how often, on what and by which command."""
    about, machine, seconds = result["about"], result["machine"], result["seconds"]
    rows = ", ".join(f"{count} {role}" for role, count in about["rows"].items())
    model = ", ".join(f"{key} {value}" for key, value in about["model"].items() if key != "name")
    label = about["scope"] == "attribute"
    same = "; the retained ones are those to forget, without the label" if label else ""
    noise = (
        f", {100 * about['label_noise']:g} % of the labels random" if about["label_noise"] else ""
    )
    versions = ", ".join(f"{key} {machine[key]}" for key in ("python", "torch", "numpy"))
    return [
        f"Data `{about['source']}`{noise}: {rows} rows{same}. "
        f"Model: {about['model']['name']}, {model}; "
        f"{about['recipe']['epochs']} epochs of {about['recipe']['steps_per_epoch']} steps. "
        f"Measured against {about['references']} models retrained without what is to be forgotten "
        f"and {about['originals']} originals that are nobody's parent.",
        f"Each number is the mean over {about['seeds']} seeds (a seed is another original and "
        f"other randomness of the method; data, request and retrained models stay the same), in "
        f"brackets its {100 * about['level']:g} % t-interval over seeds, which is not cut off at 0 "
        "or 1 and says nothing about other data. Rows measured with fewer seeds say so. "
        "Methods run with their default settings unless the row says otherwise; nothing was tuned "
        "for this request. Controls are no methods: their result is known beforehand.",
        f"Command: `{result['command']}`. forget-audit {machine['forget_audit']}, {versions}, "
        f"{machine['system']} {machine['architecture']}, {machine['usable_cores']} usable cores, "
        f"workers: {machine['workers']}, of one thread each; "
        f"{seconds['references']:.0f} s for the models all rows share, {seconds['rows']:.0f} s for "
        "the rows. Costs depend on the machine. Every digit and every seed: the CSV and JSON "
        "files beside this page.",
    ]


def tables(result: Json) -> list[Table]:
    """Return all tables of a page."""
    found = [_controls(result)]
    for title, names in GROUPS.items():
        shown = [name for name in names if name in result["metrics"]]
        if shown:
            found.append(_numbers(result, title, shown))
    refused = [(_named(r), f"{r['status']}: {r['reason']}") for r in result["rows"] if r["reason"]]
    if refused:
        head, title = ("Row", "Why"), "Not applicable, or broken"
        found.append(Table(title=title, text="", head=head, rows=tuple(refused)))
    notes = [(_named(row), "; ".join(row["notes"])) for row in result["rows"] if row["notes"]]
    if notes:
        text = "As the method reports them, of all seeds."
        found.append(Table(title="Notes", text=text, head=("Row", "Notes"), rows=tuple(notes)))
    return [*found, _meanings(result)]


def _controls(result: Json) -> Table:
    rows = []
    for row in result["rows"]:
        if row["kind"] == "control":
            said = [
                f"{result['metrics'][name]['title']} {shown(row['metrics'][name])}"
                for name in row["shows"]
            ]
            call = [f"call of the output: {row['head']['call']}"] if "head" in row else []
            rows.append((row["name"], row["expected"], "; ".join([*said, *call])))
    text = "Models whose state is known, made to see whether the audits say so."
    head = ("Control", "Must show", "Found")
    return Table(title="Controls", text=text, head=head, rows=tuple(rows))


def _numbers(result: Json, title: str, names: Sequence[str]) -> Table:
    reference, calls = result["retrained"], title == LABEL_OUTPUT
    head = ("Row", *(result["metrics"][name]["title"] for name in names))
    rows: list[tuple[str, ...]] = []
    text = ""
    if any(name in reference["metrics"] for name in names):
        cells = [shown(reference["metrics"].get(name)) for name in names]
        rows.append((f"*retrained models* ({reference['n']})", *cells, *([""] if calls else [])))
        text = (
            "Retrained models: each measured by all the others; mean, and in brackets where 95 % "
            "of them lie."
        )
    for row in result["rows"]:
        if row["n"]:
            cells = [shown(row["metrics"][name]) for name in names]
            call = [row["head"]["call"]] if calls else []
            rows.append((_named(row, result["about"]["seeds"]), *cells, *call))
    if calls:
        head = (*head, "Call")
        text += " " + _call_text(reference)
    return Table(title=title, text=text, head=head, rows=tuple(rows))


def _call_text(reference: Mapping[str, Any]) -> str:
    return (
        "INVERTED is maximal leakage, not forgetting: flip the answer and the label is back. "
        f"Of the {reference['n']} retrained models, whose output was never taught the label, "
        f"{reference['heads_below']} rank the rows significantly the wrong way round and "
        f"{reference['heads_above']} significantly the right way, by chance; a call therefore asks "
        "all seeds, each with its interval over rows, to lie on one side, and their mean too. "
        "An output at .5 with features that keep the label has been silenced, and nothing more."
    )


def _meanings(result: Json) -> Table:
    rows = [(metric["title"], metric["meaning"]) for metric in result["metrics"].values()]
    rows += [
        (metric["title"], f"not applicable: {metric['reason']}")
        for metric in result["not_measured"].values()
    ]
    head = ("Column", "Meaning")
    return Table(title="What the columns mean", text="", head=head, rows=tuple(rows))


def _named(row: Mapping[str, Any], seeds: int | None = None) -> str:
    """Name a row, marking controls, requests that no paper defines, and missing seeds."""
    name = f"control: {row['name']}" if row["kind"] == "control" else str(row["name"])
    name += " (our extension)" if row["adapted"] else ""
    return name if seeds is None or row["n"] == seeds else f"{name} ({row['n']} of {seeds} seeds)"


def shown(spread: Mapping[str, Any] | None) -> str:
    """Return mean and interval for people; the mean alone if there is no interval."""
    if spread is None:
        return "n/a"
    if spread["low"] is None:
        return _digits(spread["mean"])
    low, high = _digits(spread["low"]), _digits(spread["high"])
    return f"{_digits(spread['mean'])} ({low} to {high})"


def _digits(value: float) -> str:
    """Return three decimals, and more where they would hide a difference from 0 or 1."""
    text = f"{value:.3f}"
    if float(text) not in (-1.0, 0.0, 1.0) or value == float(text):
        return text
    return f"{value:.2g}" if float(text) == 0.0 else f"{value:.6g}"
