"""The drawing board: one style for all pictures, SVG as data URLs, the same bytes each time.

Data URLs keep one picture's names and styles apart from another's. Text stays text, in the
bundled family; salt and dates are fixed.
"""

import base64
import io
import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from forget_audit.reports.view import Drawing

AUDITED, RETRAINED, ORIGINAL, OTHER = "#b45309", "#1d4ed8", "#6b7280", "#0f766e"
INK, GRID, BAND = "#1f2937", "#d1d5db", "#bfdbfe"
DARK = {
    INK: "#e5e7eb", GRID: "#374151", AUDITED: "#fbbf24", RETRAINED: "#93c5fd",
    ORIGINAL: "#9ca3af", OTHER: "#5eead4", BAND: "#1e3a8a",
}  # fmt: skip
DARK_RULES = "@media screen and (prefers-color-scheme:dark){{{}}}".format(
    "".join(
        f'[style*="{part}: {light}"]{{{part}:{dark}!important}}'
        for light, dark in DARK.items()
        for part in ("fill", "stroke")
    )
)
STYLE: Any = {
    "svg.fonttype": "none", "svg.hashsalt": "forget-audit", "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"], "font.size": 8.5, "text.color": INK,
    "axes.edgecolor": GRID, "axes.labelcolor": INK, "axes.linewidth": 0.8, "axes.grid": True,
    "axes.axisbelow": True, "grid.color": GRID, "grid.linewidth": 0.4, "xtick.color": INK,
    "ytick.color": INK, "xtick.major.size": 0, "ytick.major.size": 0, "xtick.minor.size": 0,
    "ytick.minor.size": 0, "axes.spines.top": False, "axes.spines.right": False,
    "legend.frameon": False, "legend.fontsize": 8, "lines.linewidth": 1.4,
    "axes.unicode_minus": True,
    "text.parse_math": False, "figure.facecolor": "none", "axes.facecolor": "none",
    "savefig.facecolor": "none", "legend.handlelength": 1.6,
}  # fmt: skip


WIDE, HALF = 6.9, 3.3  # inches, as printed: letters keep their size on paper
DOCTYPE = re.compile(r"<!DOCTYPE[^>]*>\s*")
GEOMETRY = re.compile(r'(?<= )(?:d|x|y|width|height|transform|points)="[^"]*"')
LONG_NUMBER = re.compile(r"-?\d+\.\d{3,}")
UNTURNED = re.compile(r' transform="rotate\(-0 [^)]*\)"')
JOINTS = '<style type="text/css">*{stroke-linejoin: round; stroke-linecap: butt}</style>\n'
GROUP = re.compile(r'</g>\n|<g(?:(?P<name> id="[^"]*")|[^>]*?)(?P<empty>/?)>\n')


class Plot(Figure):
    """A figure that notebooks show by themselves, without pyplot."""

    def _repr_png_(self) -> bytes:
        buffer = io.BytesIO()
        self.savefig(buffer, format="png", dpi=150)
        return buffer.getvalue()


_kept: ContextVar[list[Plot] | None] = ContextVar("kept", default=None)


@contextmanager
def keeping() -> Iterator[list[Plot]]:
    """Yield a list that fills with the figures that are drawn in the body, on white."""
    drawn: list[Plot] = []
    token = _kept.set(drawn)
    try:
        yield drawn
    finally:
        _kept.reset(token)


@contextmanager
def styled(style: Any) -> Iterator[None]:
    """Draw by `style` alone in the body: matplotlib heeds a file of settings in any folder."""
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(style)
        yield


@contextmanager
def canvas(width: float, height: float) -> Iterator[tuple[Axes, Callable[[], Drawing]]]:
    """Yield axes to draw on, and a function that ends the drawing and returns it."""
    with styled(STYLE), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a letter the font lacks, a label too wide: still drawn
        figure = Plot(figsize=(width, height), layout="constrained")
        board = FigureCanvasSVG(figure)
        axes = figure.add_subplot()

        def finish() -> Drawing:
            buffer = io.StringIO()
            nothing: dict[str, Any] = dict.fromkeys(("Date", "Creator", "Format", "Type"))
            board.print_svg(buffer, metadata=nothing)  # type: ignore[no-untyped-call]
            text = _lighter(buffer.getvalue())
            return Drawing(
                light=_data_url(text),
                adaptive=_data_url(text.replace("<defs>", f"<style>{DARK_RULES}</style><defs>", 1)),
            )

        yield axes, finish
        drawn = _kept.get()
        if drawn is not None:
            figure.set_facecolor("white")
            drawn.append(figure)


def _lighter(svg: str) -> str:
    """Round coordinates to hundredths of a point, and leave out what nobody reads."""

    def rounded(number: re.Match[str]) -> str:
        return f"{float(number[0]):.2f}".rstrip("0").rstrip(".")

    svg = GEOMETRY.sub(lambda part: LONG_NUMBER.sub(rounded, part[0]), DOCTYPE.sub("", svg))
    svg = UNTURNED.sub("", re.sub(r"\s*\n\s*", "\n", svg))
    if JOINTS in svg:  # said once at the top, it need not be looked up for every line
        joints = 'stroke-linejoin="round" stroke-linecap="butt"'
        svg = svg.replace(JOINTS, "", 1).replace("<svg ", f"<svg {joints} ", 1)
    return _flat(svg)


def _flat(svg: str) -> str:
    """Leave out groups that carry a name alone, which half of all elements are."""
    kept: list[bool] = []

    def judged(tag: re.Match[str]) -> str:
        if tag[0].startswith("</"):
            return tag[0] if kept.pop() else ""
        needed = tag["name"] is None
        if not tag["empty"]:
            kept.append(needed)
        return tag[0] if needed else ""

    return GROUP.sub(judged, svg)


def _data_url(svg: str) -> str:
    return "data:image/svg+xml;base64," + base64.b64encode(svg.encode()).decode()


def label(text: str, most: int = 40) -> str:
    """Return `text` as it may stand in a drawing: printable and short."""
    shown = "".join(letter if letter.isprintable() else " " for letter in text)
    return shown if len(shown) <= most else shown[: most - 1] + "…"
