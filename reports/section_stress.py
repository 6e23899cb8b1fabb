"""The section on the stress test: the method on other forget sets than the request's."""

from collections.abc import Sequence

from forget_audit.reports import numbers, tables
from forget_audit.reports.canvas import (
    AUDITED,
    INK,
    ORIGINAL,
    OTHER,
    RETRAINED,
    WIDE,
    canvas,
    label,
)
from forget_audit.reports.view import Cell, Fact, Facts, Figure, Row, Table, Text
from forget_audit.types import Json

NOT_THE_REQUEST = (
    "The sets below are not the records of this request. They were drawn from training rows, or "
    "made, to see how the method fares where forgetting is hard; models of their own were trained "
    "for each. No number here entered the verdict, and none is a verdict: the full rule, with all "
    "its models and conditions, was applied to none of these sets."
)
HOW = (
    "Rows were picked with models that judge nothing, and never by the attack that judges. "
    "Residual influence is a share of what training on the set did: 0 is as retrained, 1 as never "
    "unlearned. A set of which models learn little leaves little to forget; what is left in label "
    "probability says how much that is. Wrong answers on the set depend on the set as much as on "
    "the method, and retrained models give them too."
)
ABSENT = "the method of this audit is not among them"
MEASURES = {
    "influence": ("Residual influence", "share"),
    "left": ("Left in label probability", "difference"),
    "efficacy": ("Right answers kept", "rate"),
    "tow": ("Distance to retrained", "tug of war"),
}
CALLS = {"harder": "harder", "easier": "easier", "not told apart": "not told apart",
         "one seed": "one seed, no interval"}  # fmt: skip
MOST_COLUMNS, PLACES = 4, 2
LOOKS = ((AUDITED, "D", "-"), (RETRAINED, "o", "-"), (OTHER, "s", "-"), (INK, "^", ":"))


def stress(evidence: Json) -> list[Text | Facts | Table | Figure]:
    """Return the blocks of the section; none if the evidence holds no stress test."""
    found = evidence.get("stress")
    if found is None:
        return []
    names = [item["name"] for item in found["methods"] if not item["control"]]
    own = (evidence.get("method") or {}).get("name")
    blocks: list[Text | Facts | Table | Figure] = [
        Text(paragraphs=(NOT_THE_REQUEST,)),
        _facts(found, names, own),
        Text(paragraphs=(HOW,)),
    ]
    groups = [names[k : k + MOST_COLUMNS] for k in range(0, len(names), MOST_COLUMNS)]
    blocks += [_influence(found, group) for group in groups]
    blocks += [
        table
        for name in names
        if (name == own or own not in names) and (table := _harder(found, name)).rows
    ]
    drawn = _curve(found, names)
    return [*blocks, drawn] if drawn else blocks


def _facts(found: Json, names: Sequence[str], own: str | None) -> Facts:
    settings, rows = found["settings"], found["rows"]
    methods = ", ".join(names)
    absent = [item["title"] for item in found["sets"] if not item["n"] and not item["part"]]
    items = [
        Fact(label="Methods", text=methods if own in names else f"{methods}; {ABSENT}"),
        Fact(
            label="Repeated",
            text=f"{settings['seeds']} times, each with another split, other models and other "
            f"sets; intervals are {numbers.confidence(settings['level'])} over these, by the t "
            "distribution, one at a time",
        ),
        Fact(
            label="Judged by",
            text=f"{settings['references']} models retrained without each set, "
            f"{settings['originals']} originals trained with it",
        ),
        Fact(
            label="Drawn from",
            text=f"{numbers.people(rows['train'])} training records; control: "
            f"{numbers.people(rows['test'])} unseen",
        ),
        Fact(label="Plan", text=found["plan"]["digest"], code=True),
    ]
    if absent:
        items.append(Fact(label="Not possible here", text=", ".join(absent)))
    return Facts(items=tuple(items))


def _influence(found: Json, names: Sequence[str]) -> Table:
    columns = (
        Cell(text="Forget set", note="how it was drawn"),
        Cell(text="Records", kind="number"),
        Cell(text="Training adds", note="label probability", kind="number"),
        *(Cell(text=name, note="influence left", kind="number") for name in names),
    )
    rows = []
    for item in _measured(found):
        size = item["size"]
        ends = [numbers.people(size[key]) for key in ("low", "high")]
        low, high = ends
        rows.append(
            Row(
                cells=(
                    Cell(
                        text=item["title"], note=item["description"].replace("`", "") + _weak(item)
                    ),
                    Cell(text=low if low == high else f"{low} to {high}", kind="number"),
                    _cell(item["set"].get("effect")),
                    *(_cell(_result(item, name)["measures"]["influence"]) for name in names),
                )
            )
        )
    return Table(
        columns=columns,
        rows=tuple(rows),
        caption="Residual influence left on sets of different hardness",
        name="stress",
    )


def _harder(found: Json, name: str) -> Table:
    columns = (
        Cell(text="Forget set"),
        *(Cell(text=title, note=unit, kind="number") for title, unit in MEASURES.values()),
    )
    rows = []
    for item in _measured(found):
        spreads = [_result(item, name)["harder"][measure] for measure in MEASURES]
        if any(spreads):
            rows.append(Row(cells=(Cell(text=item["title"]), *map(_difference, spreads))))
    return Table(
        columns=columns,
        rows=tuple(rows),
        caption=f"How much harder than random sets, for {name}: differences within each "
        "repetition; above 0 is harder in every column",
        name="stress-harder",
    )


def _curve(found: Json, names: Sequence[str]) -> Figure | None:
    """Draw what is left of sets by how much their rows are memorised."""
    parts = sorted((item for item in found["sets"] if item["n"] and item["part"]),
                   key=lambda item: int(item["part"]))  # fmt: skip
    shown = names[: len(LOOKS)]
    if len(parts) < 2:
        return None
    places = [int(item["part"]) for item in parts]
    columns = ("original", *shown)
    means = {
        name: [(_result(item, name)["measures"]["left"] or {}).get("mean") for item in parts]
        for name in columns
    }
    with canvas(WIDE, 2.4) as (axes, finish):
        axes.axhline(0, color=INK, linewidth=0.8)
        axes.plot(places, [_drawn(v) for v in means["original"]], color=ORIGINAL, linestyle="--",
                  label="nothing forgotten")  # fmt: skip
        for name, (colour, marker, dashes) in zip(shown, LOOKS, strict=False):
            axes.plot(places, [_drawn(v) for v in means[name]], color=colour, marker=marker,
                      linestyle=dashes, markersize=4, label=label(name))  # fmt: skip
            for place, item in zip(places, parts, strict=True):
                spread = _result(item, name)["measures"]["left"]
                if spread is not None and spread["low"] is not None:
                    ends = [spread["low"], spread["high"]]
                    axes.plot([place, place], ends, color=colour, linewidth=0.9)
        axes.set_xticks(places)
        axes.set(xlabel="part of the rows, least to most memorised", ylabel="label probability")
        axes.legend(loc="upper left")
        drawing = finish()
    rows = [
        (f"part {place}", *(means[name][k] for name in columns)) for k, place in enumerate(places)
    ]
    last = parts[-1]
    most = ", ".join(
        f"{name} {numbers.number((_result(last, name)['measures']['left'] or {}).get('mean'), 2)}"
        for name in shown
    )
    return Figure(
        drawing=drawing,
        alternative="Label probability left beyond retrained models, by part of the rows from the "
        f"least to the most memorised. Of the most memorised part is left: {most}.",
        caption="What is left of sets, by how much their rows are memorised. Look for lines that "
        "rise with the dashed one: such a method leaves what models have learnt by heart.",
        numbers=tables.plotted(("Rows", "Nothing forgotten", *shown), rows),
    )


def _drawn(value: float | None) -> float:
    return float("nan") if value is None else value


def _measured(found: Json) -> list[Json]:
    return [item for item in found["sets"] if item["n"] and not item["part"]]


def _result(item: Json, name: str) -> Json:
    result: Json = next(one for one in item["results"] if one["method"] == name)
    return result


def _weak(item: Json) -> str:
    """Say of sets that most repetitions could see nothing: there a share is mostly noise."""
    return "; too little to see in most repetitions" if 2 * item["signal"] < item["n"] else ""


def _cell(spread: Json | None) -> Cell:
    if spread is None:
        return Cell(text="not measured")
    mean, ends = _rounded(spread)
    return Cell(text=numbers.number(mean, PLACES), note=_within(ends), kind="number")


def _difference(spread: Json | None) -> Cell:
    if spread is None:
        return Cell(text="not measured")
    mean, ends = _rounded(spread)
    note = f"{_within(ends)} {CALLS[spread['call']]}".lstrip()
    return Cell(text=numbers.signed(mean, PLACES), note=note, kind="number")


def _rounded(spread: Json) -> tuple[float, list[float] | None]:
    """Return mean and ends to the places shown: finer differences are noise between seeds."""
    known = spread["low"] is not None
    ends = [round(spread[key], PLACES) for key in ("low", "high")] if known else None
    return round(spread["mean"], PLACES), ends


def _within(ends: list[float] | None) -> str:
    return numbers.interval([*ends], PLACES) if ends else ""
