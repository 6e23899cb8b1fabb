"""Pictures of attacks: error rates on logarithmic axes, and curves over steps or layers."""

import numpy as np
from matplotlib.axes import Axes

from forget_audit.reports import body_words, numbers, tables
from forget_audit.reports.canvas import (
    AUDITED,
    BAND,
    HALF,
    INK,
    ORIGINAL,
    OTHER,
    RETRAINED,
    canvas,
    label,
)
from forget_audit.reports.view import Figure
from forget_audit.types import Json

FEWEST = 1e-3
RATES = (0.001, 0.01, 0.1, 1.0)
LOOKS = {"audited": (AUDITED, "-", "D"), "retrained": (RETRAINED, "-", "o"),
         "original": (ORIGINAL, "--", "o"), "twin": (OTHER, ":", "s")}  # fmt: skip
MOST_LETTERS = 10
MOST_UPRIGHT = 26


def roc(attack: Json) -> Figure | None:
    """Draw the attack's error rates on logarithmic axes: the corner at the lower left matters."""
    series = usable(attack, "roc")
    if "audited" not in series:
        return None
    with canvas(HALF, 2.2) as (axes, finish):
        axes.set(xscale="log", yscale="log", xlim=(FEWEST, 1), ylim=(FEWEST, 1.2))
        axes.plot([FEWEST, 1], [FEWEST, 1], color=INK, linewidth=0.7, linestyle=":",
                  label="coin")  # fmt: skip
        if {"retrained_low", "retrained_high"} <= set(series):
            low, high = series["retrained_low"], series["retrained_high"]
            grid = np.geomspace(FEWEST, 1, 60)
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
        axes.yaxis.set_ticklabels(["", "1 %", "10 %", "100 %"])  # the corner is labelled once
        drawing = finish()
    rows = [
        (name.replace("_", ", "), *(_at(line, level) for level in (0.001, 0.01, 0.1)))
        for name, line in series.items()
    ]
    return Figure(
        drawing=drawing,
        alternative=_found(attack["title"], series),
        caption=f"{attack['title']}. At the lower left are the members found with few false "
        "alarms. A model like retrained ones stays inside the band.",
        numbers=tables.plotted(("Members found", "at 0.1 %", "at 1 %", "at 10 %"), rows),
        width="half",
    )


def lines(attack: Json, name: str) -> Figure | None:
    """Draw curves of an attack, one a group of models."""
    series = usable(attack, name)
    if not series:
        return None
    if name == "layers" and "audited" in (twin := usable(attack, "layers_twin")):
        series = {**series, "twin": twin["audited"]}
    first = next(iter(series.values()))
    named = any(isinstance(x, str) for x in first["x"])
    positions = [label(x) if isinstance(x, str) else numbers.value(float(x)) for x in first["x"]]
    with canvas(HALF, 2.2) as (axes, finish):
        for group, line in series.items():
            colour, dashes, marker = LOOKS.get(group, (OTHER, "-.", "^"))
            marks = max(1, len(line["x"]) // 12)
            axes.plot(range(len(line["x"])) if named else line["x"], line["y"],
                      color=colour, linestyle=dashes, marker=marker, markersize=3.5,
                      markevery=marks, label=label(group))  # fmt: skip
        axes.legend(loc="best")
        axes.set(xlabel=label(first["x_label"]), ylabel=label(first["y_label"], MOST_UPRIGHT))
        if named:
            _name_positions(axes, positions)
        drawing = finish()
    steps = _thinned(len(positions))
    columns = (first["x_label"], *(positions[i] for i in steps))
    rows = [(group, *(_item(line["y"], i) for i in steps)) for group, line in series.items()]
    which = body_words.CURVE_TITLES.get(name)
    title = f"{attack['title']}, {which}" if which else attack["title"]
    caption = body_words.CURVES.get(name, f"{first['y_label']} by {first['x_label']}.")
    if "twin" in series:
        caption += " The twin was trained on like the audited model, but without forgetting."
    return Figure(
        drawing=drawing,
        alternative=f"{title}: {first['y_label']} by {first['x_label']}. On average "
        f"{', '.join(f'{group} {numbers.number(_mean(line))}' for group, line in series.items())}"
        f"{_nearer(series)}.",
        caption=f"{title}. {caption}",
        numbers=tables.plotted(columns, rows),
        width="half",
    )


def usable(attack: Json, name: str) -> Json:
    """Return the curves of that name that have points to draw."""
    curves = attack["series"].get(name, {})
    return {group: line for group, line in curves.items() if line["x"] and line["y"]}


def betrays(attack: Json, name: str) -> bool:
    """Say whether curves of so few rows would betray single scores or the number of rows."""
    marks = ("accuracy", "rate", "share")
    labels = [line["y_label"].lower() for line in attack["series"].get(name, {}).values()]
    return name == "roc" or any(mark in text for mark in marks for text in labels)


def _name_positions(axes: Axes, positions: list[str]) -> None:
    shown = _thinned(len(positions), 16)
    longest = max(len(positions[i]) for i in shown)
    turned = 40 if longest > 3 and len(shown) * longest > 40 else 0
    places = [label(positions[i], MOST_LETTERS if turned else 40) for i in shown]
    axes.set_xticks(
        shown, places, rotation=turned, ha="right" if turned else "center",
        rotation_mode="anchor" if turned else "default",
    )  # fmt: skip


def _found(title: str, series: Json) -> str:
    """Say how many members are found at 1 % false alarms, beside retrained models and originals."""
    found = {name: _at(line, 0.01) for name, line in series.items()}
    text = f"{title}: at 1 % false alarms {numbers.percent(found['audited'])} of the deleted "
    text += "records are found in the audited model"
    if {"retrained_low", "retrained_high"} <= set(found):
        low, high = found["retrained_low"], found["retrained_high"]
        where = "inside" if low <= found["audited"] <= high else "above"
        where = "below" if found["audited"] < low else where
        band = f"{numbers.percent(low)} to {numbers.percent(high)}"
        text += f", {where} what retrained models show ({band})"
    if "original" in found:
        text += f"; in originals {numbers.percent(found['original'])}"
    return f"{text}."


def _nearer(series: Json) -> str:
    """Say which of retrained models and originals the audited curve lies nearer to."""
    if not {"audited", "retrained", "original"} <= set(series):
        return ""
    gaps = {name: _gap(series["audited"], series[name]) for name in ("retrained", "original")}
    if np.isclose(gaps["retrained"], gaps["original"], rtol=0.05, atol=1e-9):
        return "; as far from retrained models as from originals"
    near = min(gaps, key=lambda name: gaps[name])
    return f"; nearer to {'retrained models' if near == 'retrained' else 'originals'}"


def _gap(one: Json, other: Json) -> float:
    pairs = list(zip(one["y"], other["y"], strict=False))
    return float(np.mean([abs(a - b) for a, b in pairs]))


def _mean(line: Json) -> float:
    return float(np.mean(line["y"]))


def _thinned(count: int, most: int = 7) -> list[int]:
    return sorted({round(i) for i in np.linspace(0, count - 1, min(count, most))})


def _item(values: list[float], index: int) -> float | None:
    return values[index] if index < len(values) else None


def _at(line: Json, level: float) -> float:
    reached = [y for x, y in zip(line["x"], line["y"], strict=True) if x <= level]
    return max(reached, default=0.0)
