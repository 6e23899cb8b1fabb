"""The curves as a drawing that reads on light and on dark paper."""

import io
from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from benchmarks.speed.clock import Json

ALTERNATIVE = (
    "Processor seconds of training and attacks against models, rows, parameters and references, "
    "on logarithmic axes, with fitted exponents. The tables hold the same numbers"
)
INK, GRID = "#1f2937", "#d1d5db"
COLOURS = ("#1d4ed8", "#b45309")
DARK = {INK: "#e5e7eb", GRID: "#374151", COLOURS[0]: "#93c5fd", COLOURS[1]: "#fbbf24"}
RULES = "".join(
    f'[style*="{part}: {light}"]{{{part}:{dark}!important}}'
    for light, dark in DARK.items()
    for part in ("fill", "stroke")
)
SHEET = f"<style>@media (prefers-color-scheme:dark){{{RULES}}}</style>"
STYLE: Any = {
    "svg.fonttype": "none", "svg.hashsalt": "forget-audit-speed", "font.size": 8.5,
    "font.family": "sans-serif", "font.sans-serif": ["DejaVu Sans"], "text.color": INK,
    "text.parse_math": False, "axes.edgecolor": GRID, "axes.labelcolor": INK,
    "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True,
    "axes.axisbelow": True, "grid.color": GRID, "grid.linewidth": 0.4, "xtick.color": INK,
    "ytick.color": INK, "figure.facecolor": "none", "axes.facecolor": "none",
    "savefig.facecolor": "none", "legend.frameon": False, "axes.titlesize": 9,
}  # fmt: skip
MARKERS = ("o", "D")


def svg(curves: Json) -> str:
    """Return the drawing; the same numbers give the same bytes."""
    with mpl.rc_context(STYLE):
        columns = min(3, len(curves))
        rows = -(-len(curves) // columns)
        figure = Figure(figsize=(3.3 * columns, 3.0 * rows), layout="constrained")
        board = FigureCanvasSVG(figure)
        panels = figure.subplots(rows, columns, squeeze=False).ravel()
        for axes in panels[len(curves) :]:
            axes.set_visible(False)
        for axes, curve in zip(panels, curves.values(), strict=False):
            for k, line in enumerate(curve["lines"]):
                name = f"{line['path'] or 'all attacks'}: {line['exponent']:.2f}"
                axes.loglog(
                    line["x"], line["cpu"], color=COLOURS[k], marker=MARKERS[k], markersize=4,
                    linewidth=1.2, label=name,
                )  # fmt: skip
            axes.set_title(curve["title"])
            axes.set_xlabel(curve["label"])
            axes.set_xticks(line["x"], [_short(x) for x in line["x"]])
            axes.minorticks_off()
            ticks = _ticks([cpu for line in curve["lines"] for cpu in line["cpu"]])
            axes.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
            axes.set_ylim(ticks[0], ticks[-1])
            axes.set_ylabel("processor seconds")
            axes.legend(title="exponent", loc="upper left", fontsize=7.5)
        file = io.StringIO()
        board.print_svg(  # type: ignore[no-untyped-call]
            file, metadata=dict.fromkeys(("Date", "Creator", "Format", "Type"))
        )
    text = file.getvalue().replace("<defs>", SHEET + "\n <defs>", 1)
    return "\n".join(line.rstrip() for line in text.splitlines()) + "\n"


def _ticks(values: Sequence[float]) -> list[float]:
    """Return steps of 1, 2 and 5 that enclose all values, with room above for the legend."""
    steps = [digit * 10.0**power for power in range(-4, 5) for digit in (1, 2, 5)]
    below = max(k for k, step in enumerate(steps) if step <= min(values))
    above = min(k for k, step in enumerate(steps) if step >= max(values))
    return steps[below : above + 3]


def _short(x: float) -> str:
    return f"{x / 1000:.3g}k" if x >= 1000 else f"{x:g}"
