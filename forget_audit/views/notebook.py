"""Results as short tables, for notebooks and terminals, and progress that suits either."""

from __future__ import annotations

import html as escaping
import importlib
import itertools
import sys
import textwrap
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TextIO

from forget_audit.progress import Display, Silent
from forget_audit.reports import attack_tables, headlines, numbers, plain_words, tables
from forget_audit.reports.languages import catalogue
from forget_audit.reports.view import Cell, Row, Table
from forget_audit.types import Json, Progress
from forget_audit.views.shown import Shown, evidence_of

COLOURS = {"PASS": "#15803d", "FAIL": "#dc2626", "INCONCLUSIVE": "#a16207"}
PAUSE_S, REDRAW_S = 15.0, 0.2
LINE, WIDEST = 100, 32
STYLE = """<style>
.forget-audit table { border-collapse: collapse; margin: 0.6em 0; }
.forget-audit caption, .forget-audit summary { text-align: left; font-weight: bold;
  padding: 0.2em 0; }
.forget-audit th, .forget-audit td { text-align: left; vertical-align: top;
  padding: 0.2em 0.7em 0.2em 0; border-bottom: 1px solid rgba(128, 128, 128, 0.4); }
.forget-audit .number { text-align: right; white-space: nowrap; }
.forget-audit small { display: block; opacity: 0.75; }
</style>"""


def html(shown: Shown) -> str:
    """Return verdict, reasons, measures, failed conditions and attacks as HTML, all escaped.

    Attacks are folded up.

    Args:
        shown: An audit, or its evidence.
    """
    evidence = evidence_of(shown)
    outcome = evidence["verdict"]["outcome"]
    title, *reasons = _said(evidence)
    parts = [
        f'<p><strong style="color: {COLOURS[outcome]}">{_safe(title)}</strong></p>',
        *(f"<p>{_safe(reason)}</p>" for reason in reasons),
        *(_html_table(table) for table in _tables(evidence)),
    ]
    return f'{STYLE}\n<div class="forget-audit">\n' + "\n".join(parts) + "\n</div>"


def table(shown: Shown) -> str:
    """Return the same as plain text, for `print`.

    Args:
        shown: An audit, or its evidence.
    """
    evidence = evidence_of(shown)
    said = "\n".join(textwrap.fill(text, LINE) for text in _said(evidence))
    return "\n\n".join([said, *(_text_table(table) for table in _tables(evidence))])


def watch(verbose: int = 1) -> Display:
    """Return what shows how far an audit is: nothing at 0, else a bar in notebooks, or lines.

    IPython is used if it runs already, and never imported otherwise.

    Args:
        verbose: As scikit-learn has it; 0 is silent.
    """
    if not verbose:
        return Silent()
    shell = sys.modules.get("IPython")
    running = shell.get_ipython() if shell is not None else None
    if running is None or not hasattr(running, "kernel"):
        return Lines()
    return Bar(importlib.import_module("IPython.display"))


class Lines:
    """Shows a line at the end of each stage, and one in between where it takes long.

    Args:
        stream: Where lines go; standard output if left out.
        clock: Seconds that only grow.
    """

    def __init__(
        self, stream: TextIO | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._stream, self._clock = stream, clock

    @contextmanager
    def stage(self, name: str, total: int) -> Iterator[Progress]:
        """Show a stage of `total` steps; yields a function called with finished steps."""
        start = said = self._clock()
        done = 0

        def step(steps: int) -> None:
            nonlocal done, said
            done += steps
            now = self._clock()
            if now - said >= PAUSE_S and done < total:
                said = now
                left = numbers.seconds((now - start) * (total - done) / done) if done else "?"
                self._write(f"{name}: {done} of {total}, about {left} left")

        yield step
        self._write(_ended(name, self._clock() - start))

    def _write(self, line: str) -> None:
        stream = self._stream or sys.stdout
        stream.write(f"{line}\n")
        stream.flush()


class Bar:
    """Shows a bar for each stage in a notebook, which becomes a line when it is done.

    Args:
        display: The module `IPython.display`.
        clock: Seconds that only grow.
    """

    def __init__(self, display: Any, clock: Callable[[], float] = time.monotonic) -> None:
        self._display, self._clock = display, clock

    @contextmanager
    def stage(self, name: str, total: int) -> Iterator[Progress]:
        """Show a stage of `total` steps; yields a function called with finished steps."""
        start = drawn = self._clock()
        done = 0
        handle = self._display.display(self._bar(name, 0, total), display_id=True)

        def step(steps: int) -> None:
            nonlocal done, drawn
            done += steps
            if self._clock() - drawn >= REDRAW_S:
                drawn = self._clock()
                handle.update(self._bar(name, done, total))

        yield step
        handle.update(self._display.HTML(_safe(_ended(name, self._clock() - start))))

    def _bar(self, name: str, done: int, total: int) -> Any:
        return self._display.HTML(
            f'{_safe(name)} <progress value="{done}" max="{max(total, 1)}"></progress> '
            f"{done} of {total}"
        )


def _ended(name: str, seconds: float) -> str:
    return f"{name}: done in {numbers.seconds(seconds)}"


def _said(evidence: Json) -> list[str]:
    """Return the outcome with its sentence, and the headline and reasons in plain words."""
    english, outcome = catalogue("en"), evidence["verdict"]["outcome"]
    first = f"{plain_words.SYMBOLS[outcome]} {outcome}: {headlines.sentence(evidence, english)}"
    found = headlines.found(evidence, english)
    return [first, *(text.replace("\N{NO-BREAK SPACE}", " ") for text in found)]


def _tables(evidence: Json) -> list[Table]:
    """Return the measures that decide or failed, failed conditions, and what attacks found."""
    deciding = [
        item
        for item in evidence["statistics"]
        if item["role"] == "primary"
        or (item["outcome"] == "fail" and item["role"] in tables.DECIDING)
    ]
    found = [tables.results({**evidence, "statistics": deciding})]
    failed = [gate for gate in evidence["gates"] if gate["outcome"] == "fail"]
    if failed:
        gates = tables.gates({**evidence, "gates": failed})
        caption = "Conditions that are not met"
        found.append(Table(
            columns=gates.columns, rows=gates.rows[: len(failed)], caption=caption, name="gates",
        ))  # fmt: skip
    attacks = attack_tables.attacks(
        {**evidence, "attacks": [_headline(attack) for attack in evidence["attacks"]]}
    )
    return [*found, attacks] if attacks else found


def _headline(attack: Json) -> Json:
    kept = [metric for metric in attack["metrics"] if metric["name"] == attack["headline"]]
    return {**attack, "metrics": kept, "perfect": ""}


def _safe(text: str) -> str:
    return escaping.escape(text)


def _shown(cell: Cell) -> str:
    return f"{cell.symbol} {cell.text}".strip()


def _html_table(found: Table) -> str:
    head = "".join(_html_cell(cell, "th") for cell in found.columns)
    rows = "".join(f"<tr>{_html_row(row, len(found.columns))}</tr>" for row in found.rows)
    body = f"<thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"
    title = _safe(found.caption)
    if found.name == "attacks":
        return f"<details><summary>{title}</summary><table>{body}</details>"
    return f"<table><caption>{title}</caption>{body}"


def _html_row(row: Row, width: int) -> str:
    if row.heading:
        return f'<td colspan="{width}"><em>{_safe(_shown(row.cells[0]))}</em></td>'
    return "".join(_html_cell(cell, "td") for cell in row.cells)


def _html_cell(cell: Cell, tag: str) -> str:
    kind = ' class="number"' if cell.kind == "number" else ""
    span = f' colspan="{cell.span}"' if cell.span > 1 else ""
    note = f"<small>{_safe(cell.note)}</small>" if cell.note else ""
    return f"<{tag}{kind}{span}>{_safe(_shown(cell))}{note}</{tag}>"


def _text_table(found: Table) -> str:
    """Return the rows below each other in columns, with long texts on several lines."""
    rows = [[_shown(cell) for cell in row.cells] for row in found.rows if not row.heading]
    wide = [[_shown(cell) for cell in found.columns], *rows]
    whole = [row for row in wide if len(row) == len(found.columns)]  # no cell spans several
    widths = [min(max(map(len, column)), WIDEST) for column in zip(*whole, strict=True)]
    right = [cell.kind == "number" for cell in found.columns]
    head, *body = (_aligned(row, widths, right) for row in wide)
    rule = "-" * (sum(widths) + 2 * len(widths) - 2)
    return "\n".join([found.caption, rule, head, rule, *body])


def _aligned(row: Sequence[str], widths: Sequence[int], right: Sequence[bool]) -> str:
    cells = [textwrap.wrap(text, width) or [""] for text, width in zip(row, widths, strict=False)]
    lines = []
    for line in itertools.zip_longest(*cells, fillvalue=""):
        places = zip(line, widths, right, strict=False)
        shown = [text.rjust(width) if to_right else text.ljust(width)
                 for text, width, to_right in places]  # fmt: skip
        lines.append("  ".join(shown).rstrip())
    return "\n".join(lines)
