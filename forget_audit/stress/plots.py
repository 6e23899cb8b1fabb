"""What was found as a drawing: what is left by how much is memorised, and by strategy."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from forget_audit.reports.canvas import styled
from forget_audit.stress.rounds import ORIGINAL
from forget_audit.types import Json

ALTERNATIVE = (
    "Left: what is left of the sets in probability, by part of the rows ordered by memorisation, "
    "one line a method, beside what is left when nothing is forgotten. Right: residual influence "
    "by strategy, with intervals over seeds. The tables hold the same numbers"
)
INK, GRID, PALE = "#1f2937", "#d1d5db", "#6b7280"
COLOURS = ("#1d4ed8", "#b45309", "#0f766e", "#be185d", "#6d28d9", "#4d7c0f")
MARKERS = ("o", "D", "s", "^", "v", "P")
STYLE: Any = {
    "svg.fonttype": "none", "svg.hashsalt": "forget-audit-stress", "font.size": 8.5,
    "font.family": "sans-serif", "font.sans-serif": ["DejaVu Sans"], "text.color": INK,
    "text.parse_math": False, "axes.spines.top": False, "axes.spines.right": False,
    "axes.grid": True, "axes.axisbelow": True, "grid.color": GRID, "grid.linewidth": 0.4,
    "legend.frameon": False,
}  # fmt: skip
WINDOW = (-0.6, 1.6)
DOTS_PER_INCH = 160


def figure(result: Json) -> Figure:
    """Return the drawing, for example to show it in a notebook."""
    sets = [item for item in result["sets"] if item["n"] and not item["part"]]
    parts = sorted((item for item in result["sets"] if item["n"] and item["part"]),
                   key=lambda item: int(item["part"]))  # fmt: skip
    names = [item["name"] for item in result["methods"] if not item["control"]]
    with styled(STYLE):
        drawing = Figure(figsize=(11, max(3.4, 0.42 * len(sets) + 1.2)), layout="constrained")
        FigureCanvasAgg(drawing)
        left, right = drawing.subplots(1, 2, width_ratios=(2, 3))
        _curve(left, parts, names)
        _by_strategy(right, sets, names)
        drawing.suptitle(f"{result['settings']['seeds']} seeds, 95 % intervals")
    return drawing


def svg(result: Json) -> str:
    """Return the drawing as SVG; the same numbers give the same bytes."""
    with styled(STYLE):
        file = io.StringIO()
        board = FigureCanvasSVG(figure(result))
        board.print_svg(  # type: ignore[no-untyped-call]
            file, metadata=dict.fromkeys(("Date", "Creator", "Format", "Type"))
        )
    return "\n".join(line.rstrip() for line in file.getvalue().splitlines()) + "\n"


def png(result: Json) -> bytes:
    """Return the drawing as PNG."""
    with styled(STYLE):
        file = io.BytesIO()
        figure(result).savefig(file, format="png", dpi=DOTS_PER_INCH, metadata={"Software": None})
    return file.getvalue()


def _curve(axes: Axes, parts: Sequence[Json], names: Sequence[str]) -> None:
    places = [item["part"] for item in parts]
    for k, name in enumerate((ORIGINAL, *names)):
        spreads = [_spread(item, name, "left") for item in parts]
        known = [(x, one) for x, one in zip(places, spreads, strict=True) if one is not None]
        control = name == ORIGINAL
        looks: Any = {"color": PALE, "linestyle": "--", "marker": ""}
        if not control:
            looks = {"color": COLOURS[(k - 1) % 6], "marker": MARKERS[(k - 1) % 6], "markersize": 4}
        label = "nothing forgotten" if control else name
        shift = 0.0 if control else 0.06 * (k - 1 - (len(names) - 1) / 2)
        means = [one["mean"] for _, one in known]
        axes.plot([x + shift for x, _ in known], means, label=label, **looks)
        for x, one in known:
            if one["low"] is not None and not control:
                ends = [one["low"], one["high"]]
                axes.plot([x + shift] * 2, ends, color=looks["color"], linewidth=1)
    axes.axhline(0, color=INK, linewidth=0.8)
    axes.set_xticks(places)
    axes.set_xlabel("part of the rows, least to most memorised")
    axes.set_ylabel("left: label probability beyond retrained")
    if parts:
        axes.legend(loc="upper left")


def _by_strategy(axes: Axes, sets: Sequence[Json], names: Sequence[str]) -> None:
    low, high = WINDOW
    for k, name in enumerate(names):
        colour, shift = COLOURS[k % 6], 0.16 * (k - (len(names) - 1) / 2)
        for height, item in enumerate(sets):
            one = _spread(item, name, "influence")
            if one is None:
                continue
            if one["low"] is not None:
                ends = [min(max(end, low), high) for end in (one["low"], one["high"])]
                axes.plot(ends, [height + shift] * 2, color=colour, linewidth=1)
            mean = min(max(one["mean"], low), high)
            label = name if height == 0 else None
            axes.plot([mean], [height + shift], MARKERS[k % 6], color=colour, markersize=4,
                      label=label)  # fmt: skip
    axes.axvline(0, color=INK, linewidth=0.8)
    axes.axvline(1, color=PALE, linewidth=0.8, linestyle="--")
    axes.set_xlim(low - 0.05, high + 0.05)
    axes.set_yticks(range(len(sets)), [item["title"] for item in sets])
    axes.set_ylim(len(sets) - 0.4, -0.6)
    axes.set_xlabel("residual influence: 0 as retrained, 1 as never unlearned")
    axes.legend(loc="upper left", fontsize=7.5)


def _spread(item: Json, method: str, measure: str) -> Mapping[str, Any] | None:
    found = next((one for one in item["results"] if one["method"] == method), None)
    return None if found is None else found["measures"][measure]
