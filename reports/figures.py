"""Pictures of the evidence, each with alternative text and its numbers."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes

from forget_audit.reports import numbers
from forget_audit.reports.canvas import (
    AUDITED,
    BAND,
    INK,
    ORIGINAL,
    OTHER,
    RETRAINED,
    canvas,
    label,
)
from forget_audit.reports.tables import title_of
from forget_audit.reports.view import Cell, Figure, Row, Table
from forget_audit.types import Json

FEWEST = 1e-3
FARTHEST = 60.0
RATES = (0.001, 0.01, 0.1, 1.0)


def influence(evidence: Json) -> Figure | None:
    """Draw the audited model's residual influence among the retrained models and originals."""
    cloud = evidence["cloud"].get("rho_p")
    main = _statistic(evidence, "rho_p")
    if cloud is None or main is None:
        return None
    groups = (
        ("Originals", "trained with the records", cloud["originals"], ORIGINAL),
        ("Retrained", "without the records", cloud["retrained"], RETRAINED),
        ("Audited", "with its interval", cloud["audited"], AUDITED),
    )
    with canvas(6.9, 1.9) as (axes, finish):
        _margins(axes, main["margin"], main["reference_mean"])
        for level, (_, _, values, colour) in enumerate(groups):
            offsets = level + 0.32 * _spread(len(values))
            size, edge = (60, 1.0) if colour == AUDITED else (16, 0.0)
            axes.scatter(values, offsets, s=size, color=colour, linewidth=edge, zorder=3,
                         alpha=1.0 if colour == AUDITED else 0.75,
                         marker="D" if colour == AUDITED else "o")  # fmt: skip
        if None not in main["interval"]:
            ends = [end + main["reference_mean"] for end in main["interval"]]
            axes.plot(ends, [2, 2], color=AUDITED, linewidth=2)
        axes.set_yticks(range(3), [f"{name}\n{note}" for name, note, _, _ in groups])
        axes.set_ylim(-0.6, 2.6)
        axes.grid(visible=False, axis="y")
        axes.set_xlabel("residual influence (0 = as retrained, 1 = as never unlearned)")
        drawing = finish()
    rows = [
        (name, count, low, mid, high)
        for name, _, values, _ in groups
        if values
        for count, low, mid, high in [(len(values), min(values), np.mean(values), max(values))]
    ]
    return Figure(
        drawing=drawing,
        alternative=f"Residual influence of the audited model, "
        f"{numbers.number(main['estimate'], 2)}, among {len(cloud['retrained'])} retrained models "
        f"around {numbers.number(main['reference_mean'], 2)} and {len(cloud['originals'])} "
        f"originals around {numbers.number(_mean(cloud['originals']), 2)}.",
        caption="Residual influence. Each dot is a model. The shaded band is the margin: an "
        "interval that lies wholly inside it passes.",
        numbers=_numbers("influence", ("Models", "Number", "Lowest", "Mean", "Highest"), rows),
    )


def differences(evidence: Json) -> Figure | None:
    """Draw each privacy statistic's difference in units of the retrained models' spread."""
    usable = [
        item
        for item in evidence["statistics"]
        if item["role"] != "fidelity" and item["reference_sd"] and None not in item["interval"]
    ]
    if not usable:
        return None
    with canvas(6.9, 0.55 + 0.23 * len(usable)) as (axes, finish):
        axes.axvline(0, color=INK, linewidth=0.8)
        rows = []
        for level, item in enumerate(reversed(usable)):
            sd = item["reference_sd"]
            centre, low, high = (v / sd for v in (item["difference"], *item["interval"]))
            colour = AUDITED if item["outcome"] == "fail" else RETRAINED
            axes.plot([low, high], [level, level], color=colour, linewidth=2)
            marker = "D" if item["outcome"] == "fail" else "o"
            axes.scatter([centre], [level], color=colour, s=22, zorder=3, marker=marker)
            margin = item["margin"] and item["margin"] / sd
            for side in (-1, 1) if margin else ():
                axes.plot([side * margin] * 2, [level - 0.38, level + 0.38], color=OTHER)
            rows.append((title_of(item["name"]), centre, low, high, margin))
        axes.set_yticks(range(len(usable)), [title_of(item["name"]) for item in reversed(usable)])
        axes.set_ylim(-0.6, len(usable) - 0.4)
        axes.set_xlim(*_window(rows))
        axes.grid(visible=False, axis="y")
        axes.set_xlabel("difference from retrained models, in their standard deviations")
        drawing = finish()
    failing = [title_of(item["name"]).lower() for item in usable if item["outcome"] == "fail"]
    return Figure(
        drawing=drawing,
        alternative=f"Intervals of {len(usable)} differences from retrained models. Found to "
        f"differ: {', '.join(failing) or 'none'}.",
        caption="Every measure beside retrained models. A line is an interval; the green ticks are "
        "the margins of the measure that decides; a diamond is a difference beyond chance. "
        f"What lies beyond {FARTHEST:g} is cut off.",
        numbers=_numbers(
            "differences", ("Measure", "Difference", "Lower", "Upper", "Margin"), rows[::-1]
        ),
    )


def roc(attack: Json) -> Figure | None:
    """Draw the attack's error rates on logarithmic axes: the corner at the lower left matters."""
    series = _curves(attack, "roc")
    if "audited" not in series:
        return None
    with canvas(3.3, 2.2) as (axes, finish):
        axes.set(xscale="log", yscale="log", xlim=(FEWEST, 1), ylim=(FEWEST, 1.2))
        axes.plot([FEWEST, 1], [FEWEST, 1], color=INK, linewidth=0.7, linestyle=":",
                  label="coin")  # fmt: skip
        if {"retrained_low", "retrained_high"} <= set(series):
            low, high = series["retrained_low"], series["retrained_high"]
            grid = np.geomspace(FEWEST, 1, 100)
            bottom, top = (np.interp(grid, line["x"], line["y"]) for line in (low, high))
            axes.fill_between(grid, np.maximum(bottom, 1e-6), np.maximum(top, 1e-6), color=BAND,
                              linewidth=0, label="retrained")  # fmt: skip
        for name, colour, dashes in (("original", ORIGINAL, "--"), ("audited", AUDITED, "-")):
            if name in series:
                x, y = (np.maximum(series[name][axis], 1e-6) for axis in ("x", "y"))
                axes.plot(x, y, color=colour, linestyle=dashes, label=name)
        axes.legend(loc="lower right", borderaxespad=0.2)
        axes.set(xlabel="false positive rate", ylabel="true positive rate")
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_ticks(RATES, ["0.1 %", "1 %", "10 %", "100 %"])
            axis.set_ticks([], minor=True)
        drawing = finish()
    rows = [
        (name.replace("_", ", "), *(_at(line, level) for level in (0.001, 0.01, 0.1)))
        for name, line in series.items()
    ]
    return Figure(
        drawing=drawing,
        alternative=f"Error rates of {attack['title']} on logarithmic axes, for the audited model, "
        "retrained models and originals.",
        caption=f"{attack['title']}. At the lower left are the members found with few false "
        "alarms. A model like retrained ones stays inside the band.",
        numbers=_numbers(f"roc-{attack['name']}", ("Model", "at 0.1 %", "at 1 %", "at 10 %"), rows),
        width="half",
    )  # fmt: skip


def lines(attack: Json, name: str, caption: str) -> Figure | None:
    """Draw curves of an attack, one a group of models."""
    series = _curves(attack, name)
    if not series:
        return None
    looks = {"audited": (AUDITED, "-", "D"), "retrained": (RETRAINED, "-", "o"),
             "original": (ORIGINAL, "--", "o"), "twin": (OTHER, ":", "s")}  # fmt: skip
    first = next(iter(series.values()))
    named = any(isinstance(x, str) for x in first["x"])
    positions = [label(x) if isinstance(x, str) else numbers.value(float(x)) for x in first["x"]]
    with canvas(3.3, 2.2) as (axes, finish):
        for group, line in series.items():
            colour, dashes, marker = looks.get(group, (OTHER, "-.", "^"))
            axes.plot(range(len(line["x"])) if named else line["x"], line["y"],
                      color=colour, linestyle=dashes, marker=marker, markersize=3.5,
                      label=label(group))  # fmt: skip
        axes.legend(loc="best")
        axes.set(xlabel=label(first["x_label"]), ylabel=label(first["y_label"]))
        if named:
            turned = 40 if len(positions) > 4 else 0
            axes.set_xticks(range(len(positions)), positions, rotation=turned)
        drawing = finish()
    steps = _thinned(len(positions))
    columns = (first["x_label"], *(positions[i] for i in steps))
    rows = [(group, *(_item(line["y"], i) for i in steps)) for group, line in series.items()]
    return Figure(
        drawing=drawing,
        alternative=f"{attack['title']}: {first['y_label']} by {first['x_label']} for "
        f"{', '.join(series)}.",
        caption=f"{attack['title']}. {caption}",
        numbers=_numbers(f"lines-{name}", columns, rows),
        width="half",
    )


def _curves(attack: Json, name: str) -> Json:
    """Return the curves of that name that have points to draw."""
    curves = attack["series"].get(name, {})
    return {group: line for group, line in curves.items() if line["x"] and line["y"]}


def _numbers(name: str, columns: tuple[str, ...], rows: list[tuple[Any, ...]]) -> Table:
    return Table(
        columns=tuple(Cell(text=t, kind="number" if i else "text") for i, t in enumerate(columns)),
        rows=tuple(
            Row(cells=tuple(Cell(text=_shown(v), kind="number" if i else "text")
                            for i, v in enumerate(row)))
            for row in rows
        ),
        caption="The plotted numbers",
        name=f"numbers {name}" if name.isascii() else "numbers",
    )  # fmt: skip


def _shown(value: object) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, int):
        return numbers.count(value)
    return numbers.number(None if value is None else float(str(value)))


def _window(rows: list[tuple[Any, ...]]) -> tuple[float, float]:
    """Return limits that hold all intervals, and margins only if they are not far outside."""
    low, high = min(0.0, *(row[2] for row in rows)), max(0.0, *(row[3] for row in rows))
    reach = 3 * max(-low, high, 1.0)
    near = [row[4] for row in rows if row[4] and row[4] <= reach]
    low, high = min([low, *(-margin for margin in near)]), max([high, *near])
    low, high = max(low, -FARTHEST), min(high, FARTHEST)
    space = 0.05 * (high - low)
    return low - space, high + space


def _margins(axes: Axes, margin: float | None, centre: float) -> None:
    if margin:
        axes.axvspan(centre - margin, centre + margin, color=BAND, linewidth=0, zorder=0)
    axes.axvline(centre, color=RETRAINED, linewidth=0.8)


def _spread(count: int) -> Any:
    """Return offsets in [-1, 1] that keep dots of one row apart, the same each time."""
    return ((np.arange(count) * 0.618034) % 1) * 2 - 1 if count > 1 else np.zeros(count)


def _thinned(count: int, most: int = 7) -> list[int]:
    return sorted({round(i) for i in np.linspace(0, count - 1, min(count, most))})


def _item(values: list[float], index: int) -> float | None:
    return values[index] if index < len(values) else None


def _at(line: Json, level: float) -> float:
    reached = [y for x, y in zip(line["x"], line["y"], strict=True) if x <= level]
    return max(reached, default=0.0)


def _mean(values: list[float]) -> float | None:
    return float(np.mean(values)) if values else None


def _statistic(evidence: Json, name: str) -> Json | None:
    return next((item for item in evidence["statistics"] if item["name"] == name), None)
