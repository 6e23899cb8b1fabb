"""Pictures of the verdict, each with what it shows in words and its numbers in a table."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from forget_audit.reports import numbers, tables
from forget_audit.reports.canvas import (
    AUDITED,
    BAND,
    HALF,
    INK,
    ORIGINAL,
    OTHER,
    RETRAINED,
    WIDE,
    canvas,
    label,
)
from forget_audit.reports.view import Figure
from forget_audit.types import Json

FARTHEST = 60.0
MOST_GROUPS = 14
PARTS = {
    "forget": (
        "deleted records",
        "Look whether the solid line follows the filled shape of retrained models, or the dashed "
        "line of models trained with these records.",
    ),
    "test": (
        "unseen records",
        "No model was trained on these, so all three lines should agree; where the audited model "
        "strays, it was changed beyond the request.",
    ),
}


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
    with canvas(WIDE, 1.9) as (axes, finish):
        _margins(axes, main["margin"], main["reference_mean"])
        for level, (_, _, values, colour) in enumerate(groups):
            offsets = level + 0.32 * _spread(len(values))
            size, edge = (60, 1.0) if colour == AUDITED else (16, 0.0)
            axes.scatter(values, offsets, s=size, color=colour, linewidth=edge, zorder=3,
                         alpha=1.0 if colour == AUDITED else 0.75,
                         marker="D" if colour == AUDITED else "o")  # fmt: skip
        ends = None
        if None not in (*main["interval"], main["reference_mean"]):
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
        alternative=f"Residual influence of the audited model: "
        f"{_short(main['estimate'])}. {len(cloud['retrained'])} retrained models lie around "
        f"{_short(main['reference_mean'])}, {len(cloud['originals'])} originals around "
        f"{_short(_mean(cloud['originals']))}. {_place(main)}",
        caption="Residual influence. Each dot is a model. Look at the shaded band, which is the "
        "margin: an interval (the line through the diamond) that lies wholly inside it passes.",
        numbers=tables.plotted(("Models", "Number", "Lowest", "Mean", "Highest"),
                               rows),
    )  # fmt: skip


def differences(evidence: Json) -> Figure | None:
    """Draw each privacy statistic's difference in units of the retrained models' spread."""
    small, scope = numbers.is_small(evidence["counts"]), evidence["request"]["scope"]
    usable = [
        item
        for item in evidence["statistics"]
        if item["role"] != "fidelity"
        and item["reference_sd"]
        and None not in (item["difference"], *item["interval"])
        and not (small and tables.counted(item["name"]))
    ]
    if not usable:
        return None
    names = [label(tables.title_of(item["name"], scope), 60) for item in usable]
    with canvas(WIDE, 0.55 + 0.23 * len(usable)) as (axes, finish):
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
            rows.append((tables.title_of(item["name"], scope), centre, low, high, margin))
        axes.set_yticks(range(len(usable)), names[::-1])
        axes.set_ylim(-0.6, len(usable) - 0.4)
        window = _window(rows)
        for level, row in enumerate(rows):
            _point_outside(axes, window, level, row[1])
        axes.set_xlim(*window)
        axes.grid(visible=False, axis="y")
        axes.set_xlabel("difference from retrained models, in their standard deviations")
        drawing = finish()
    failing = [tables.title_of(i["name"], scope).lower() for i in usable if i["outcome"] == "fail"]
    differing = f"beyond chance in: {'; '.join(failing)}" if failing else "beyond chance in none"
    decided = " ".join(_place(item, tables.title_of(item["name"], scope)) for item in usable
                       if item["margin"])  # fmt: skip
    return Figure(
        drawing=drawing,
        alternative=f"Of {len(usable)} measures the audited model differs {differing}. {decided}",
        caption="Every measure beside retrained models. A line is an interval, a diamond a "
        "difference beyond chance. Look whether the line between two green ticks, which are the "
        f"margins, stays between them. An arrow points at what lies beyond {FARTHEST:g}.",
        numbers=tables.plotted(("Measure", "Difference", "Lower", "Upper", "Margin"), rows[::-1]),
    )


def distributions(evidence: Json) -> tuple[Figure, ...]:
    """Draw how sure models are of the true label, on deleted and on unseen records."""
    found = evidence.get("distributions")
    if found is None or numbers.is_small(evidence["counts"]):
        return ()
    edges = found["edges"]
    shares = [found[part][group] for part in PARTS for group in ("audited", "retrained")]
    if any(len(values) != len(edges) - 1 for values in shares):
        return ()
    highest = max(max(values, default=0.0) for part in PARTS for values in found[part].values())
    return tuple(_distribution(part, edges, found[part], highest) for part in PARTS)


def _distribution(part: str, edges: list[float], shares: Json, highest: float) -> Figure:
    name, caption = PARTS[part]
    originals = shares["originals"] if len(shares["originals"]) == len(edges) - 1 else []
    with canvas(HALF, 2.2) as (axes, finish):
        axes.stairs(shares["retrained"], edges, fill=True, color=BAND, linewidth=0,
                    label="retrained")  # fmt: skip
        axes.stairs(shares["retrained"], edges, color=RETRAINED, linewidth=0.8)
        if originals:
            axes.stairs(originals, edges, color=ORIGINAL, linestyle="--", label="originals")
        axes.stairs(shares["audited"], edges, color=AUDITED, linewidth=1.8, label="audited")
        axes.set_ylim(0, 1.25 * highest or 1.0)
        axes.legend(loc="upper left", ncols=3, columnspacing=0.8, handletextpad=0.4,
                    borderaxespad=0.1)  # fmt: skip
        axes.set(xlabel="log-odds of the true label (right: surer)", ylabel="share of answers")
        drawing = finish()
    overlaps = [("retrained models", _overlap(shares["audited"], shares["retrained"]))]
    if originals:
        overlaps.append(("originals", _overlap(shares["audited"], originals)))
    shown = ", and ".join(f"with that of {who} by {numbers.percent(x)}" for who, x in overlaps)
    columns = ("Log-odds from", "to", "Audited", "Retrained", *(["Originals"] if originals else []))
    groups = [shares["audited"], shares["retrained"], *([originals] if originals else [])]
    rows = [
        (numbers.number(low, 2), high, *values)
        for low, high, *values in zip(edges, edges[1:], *groups, strict=False)
    ]
    return Figure(
        drawing=drawing,
        alternative=f"Scores on {name}: the distribution of the audited model overlaps {shown}.",
        caption=f"Scores on {name}. {caption}",
        numbers=tables.plotted(columns, rows),
        width="half",
    )


def by_class(evidence: Json) -> Figure | None:
    """Draw the accuracy on unseen records of each class beside that of retrained models."""
    shown = tables.classes(evidence)
    if len(shown) < 2:
        return None
    gap = [item["audited"] - item["retrained_mean"] for item in shown]
    order = sorted(range(len(shown)), key=lambda i: -abs(gap[i]))[:MOST_GROUPS]
    chosen = [shown[i] for i in sorted(order)]
    with canvas(WIDE, 0.6 + 0.23 * len(chosen)) as (axes, finish):
        for level, item in enumerate(reversed(chosen)):
            mean, sd = item["retrained_mean"], item["retrained_sd"] or 0.0
            axes.plot([mean - 2 * sd, mean + 2 * sd], [level] * 2, color=BAND, linewidth=7,
                      solid_capstyle="butt")  # fmt: skip
            axes.plot([mean] * 2, [level - 0.3, level + 0.3], color=RETRAINED)
            axes.scatter([item["audited"]], [level], color=AUDITED, s=26, marker="D", zorder=3)
        names = [label(item["name"]) for item in reversed(chosen)]
        axes.set_yticks(range(len(chosen)), names)
        axes.set_ylim(-0.6, len(chosen) - 0.4)
        axes.grid(visible=False, axis="y")
        axes.set_xlabel("accuracy on unseen records (right is better)")
        drawing = finish()
    far = order[0]
    left_out = len(shown) - len(chosen)
    note = f" The {left_out} classes with the smallest gaps are in the table only." * bool(left_out)
    return Figure(
        drawing=drawing,
        alternative=f"Accuracy on unseen records of {len(chosen)} classes. The largest gap to "
        f"retrained models is in {shown[far]['name']}: {numbers.signed(gap[far])}.",
        caption="Accuracy by class. The tick is the mean of retrained models, the band two of "
        "their standard deviations to either side, the diamond the audited model. Look for "
        f"diamonds to the left of their band: those classes lost accuracy.{note}",
        numbers=tables.plotted(
            ("Class", "Audited", "Retrained, mean", "sd"),
            [(i["name"], i["audited"], i["retrained_mean"], i["retrained_sd"]) for i in chosen],
        ),
    )


def _place(item: Json, name: str = "") -> str:
    """Say where an interval lies beside its margin."""
    if item["margin"] is None or None in item["interval"]:
        return ""
    low, high = item["interval"]
    margin = item["margin"]
    where = "lies partly outside"
    if -margin < low and high < margin:
        where = "lies wholly inside"
    elif low >= margin or high <= -margin:
        where = "lies wholly outside"
    subject = f"The interval of {name.lower()}" if name else "Its interval"
    return f"{subject} {where} the margin of ±{margin:g}."


def _short(value: float | None) -> str:
    return numbers.number(None if value is None else round(value, 2), 2)


def _overlap(one: Sequence[float], other: Sequence[float]) -> float:
    return float(np.minimum(one, other).sum())


def _window(rows: list[tuple[Any, ...]]) -> tuple[float, float]:
    """Return limits that hold all intervals but far ones, and margins that are not far outside."""
    inside = [row for row in rows if abs(row[1]) <= FARTHEST]
    low = max(min([-1.0, *(row[2] for row in inside)]), -FARTHEST)
    high = min(max([1.0, *(row[3] for row in inside)]), FARTHEST)
    reach = 3 * max(-low, high)
    near = [row[4] for row in inside if row[4] and row[4] <= min(reach, FARTHEST)]
    low, high = min([low, *(-margin for margin in near)]), max([high, *near])
    space = 0.05 * (high - low)
    return low - space, high + space


def _point_outside(axes: Axes, window: tuple[float, float], level: int, centre: float) -> None:
    """Draw an arrow at the edge if what belongs on this line lies beyond it."""
    low, high = window
    if not low <= centre <= high:
        edge, marker = (high, ">") if centre > high else (low, "<")
        axes.plot([edge], [level], color=AUDITED, marker=marker, markersize=7, clip_on=False)


def _margins(axes: Axes, margin: float | None, centre: float | None) -> None:
    if centre is None:
        return
    if margin:
        axes.axvspan(centre - margin, centre + margin, color=BAND, linewidth=0, zorder=0)
    axes.axvline(centre, color=RETRAINED, linewidth=0.8)


def _spread(count: int) -> Any:
    """Return offsets in [-1, 1] that keep dots of one row apart, the same each time."""
    return ((np.arange(count) * 0.618034) % 1) * 2 - 1 if count > 1 else np.zeros(count)


def _mean(values: list[float]) -> float | None:
    return float(np.mean(values)) if values else None


def _statistic(evidence: Json, name: str) -> Json | None:
    return next((item for item in evidence["statistics"] if item["name"] == name), None)
