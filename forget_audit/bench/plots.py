"""The benchmark as a drawing: accuracies, gap and residual influence, one line a row."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from forget_audit.reports.canvas import styled
from forget_audit.types import Json

ALTERNATIVE = (
    "One line for each control and method, with intervals over seeds: retain and forget accuracy, "
    "average gap to retrained models, and residual influence, beside where retrained models lie. "
    "The tables hold the same numbers"
)
INK, GRID, BAND = "#1f2937", "#d1d5db", "#bfdbfe"
METHOD, CONTROL, SECOND = "#1d4ed8", "#6b7280", "#b45309"
STYLE: Any = {
    "svg.fonttype": "none", "svg.hashsalt": "forget-audit-bench", "font.size": 8.5,
    "font.family": "sans-serif", "font.sans-serif": ["DejaVu Sans"], "text.color": INK,
    "text.parse_math": False, "axes.spines.top": False, "axes.spines.right": False,
    "axes.grid": True, "axes.axisbelow": True, "grid.color": GRID, "grid.linewidth": 0.4,
}  # fmt: skip
LINE_HEIGHT, MARGIN = 0.19, 1.5
Window = tuple[float, float]


def svg(result: Json) -> str:
    """Return the drawing; the same numbers give the same bytes."""
    rows = [row for row in result["rows"] if row["n"]]
    normal = result["retrained"]["metrics"]
    with styled(STYLE):
        figure = Figure(figsize=(11, LINE_HEIGHT * len(rows) + MARGIN), layout="constrained")
        board = FigureCanvasSVG(figure)
        panels = figure.subplots(1, 3, sharey=True)
        _points(panels[0], rows, "retain_accuracy", (-0.03, 1.03), marker="o")
        _points(panels[0], rows, "forget_accuracy", (-0.03, 1.03), marker="D", colour=SECOND)
        _points(panels[1], rows, "gap", (-0.02, 0.7), normal)
        _points(panels[2], rows, "residual_influence", (-1.0, 1.6), normal)
        panels[0].set_xlabel("accuracy: retained (dot), forgotten (diamond)")
        panels[1].set_xlabel("average gap to retrained models")
        panels[2].set_xlabel("residual influence: 0 retrained, 1 original")
        panels[0].set_yticks(range(len(rows)), [_name(row) for row in rows])
        panels[0].set_ylim(len(rows) - 0.4, -0.6)
        figure.suptitle(f"{result['title']}: {result['about']['seeds']} seeds, 95 % intervals")
        file = io.StringIO()
        board.print_svg(  # type: ignore[no-untyped-call]
            file, metadata=dict.fromkeys(("Date", "Creator", "Format", "Type"))
        )
    lines = (line.rstrip() for line in file.getvalue().splitlines())
    return "\n".join(lines) + "\n"


def _name(row: Mapping[str, Any]) -> str:
    return f"control: {row['name']}" if row["kind"] == "control" else str(row["name"])


def _points(
    axes: Axes,
    rows: Sequence[Mapping[str, Any]],
    name: str,
    window: Window,
    normal: Mapping[str, Any] | None = None,
    *,
    marker: str = "o",
    colour: str = METHOD,
) -> None:
    """Draw means with intervals; what lies outside the window is named at its edge."""
    low, high = window
    axes.set_xlim(low, high)
    if normal is not None:
        axes.axvspan(normal[name]["low"], normal[name]["high"], color=BAND, linewidth=0)
        axes.axvline(normal[name]["mean"], color=METHOD, linewidth=0.6)
    for height, row in enumerate(rows):
        spread = row["metrics"][name]
        if spread is None:
            continue
        own = CONTROL if row["kind"] == "control" and colour == METHOD else colour
        mean = spread["mean"]
        if spread["low"] is not None:
            axes.plot([spread["low"], spread["high"]], [height] * 2, color=own, linewidth=1.0)
        if low <= mean <= high:
            filled = "none" if marker == "D" else own
            axes.plot([mean], [height], marker, markersize=4, color=own, markerfacecolor=filled)
        else:
            left = mean < low
            side = "left" if left else "right"
            arrow = f"◂ {mean:.2f}" if left else f"{mean:.2f} ▸"
            axes.text(low if left else high, height, arrow, ha=side, va="center", color=own)
