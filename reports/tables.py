"""The tables of results: measures, conditions, accuracy by class, and plotted numbers."""

from typing import Any

from forget_audit.reports import numbers, words
from forget_audit.reports.view import Cell, Row, Table
from forget_audit.types import Json

DECIDING = ("primary", "secondary", "whitebox")
WITHHELD = "not stated, as it would tell the number of records"
PLUS_MINUS = f"±{numbers.THIN}"


def title_of(name: str, scope: str = "instance") -> str:
    """Return the name of a measure for people; for labels it is a label that is looked for."""
    title = words.MEASURES[name].title if name in words.MEASURES else name
    return title.replace("Class ", "Label ") if scope == "attribute" else title


def unit_of(name: str, scope: str) -> str:
    """Return unit and direction of a measure."""
    if name not in words.MEASURES:
        return ""
    unit = words.MEASURES[name].unit
    return unit if scope == "instance" else words.WHOLE_CLASS.get(name, unit)


def counted(name: str) -> bool:
    """Say whether the value of a measure betrays the number of rows it was counted on."""
    return name in words.MEASURES and words.MEASURES[name].counted


def results(evidence: Json) -> Table:
    """Return every measure of the request beside retrained models, those that decide first."""
    alpha = evidence["battery"]["settings"].get("alpha", 0.05)
    columns = (
        Cell(text="Measure", note="unit and direction"),
        Cell(text="Audited", kind="number"),
        Cell(text="Retrained", note="mean ± sd", kind="number"),
        Cell(text="Difference", kind="number"),
        Cell(text=f"{numbers.confidence(1 - 2 * alpha)} interval", kind="number"),
        Cell(text="Margin", kind="number"),
        Cell(text="p", note="Holm", kind="number"),
        Cell(text="Outcome"),
    )
    return Table(
        columns=columns, rows=_by_role(evidence, DECIDING), name=_style(evidence),
        caption="The audited model beside models retrained without the records",
    )  # fmt: skip


def utility(evidence: Json) -> Table | None:
    """Return every measure of the model as a whole."""
    rows = _by_role(evidence, ("fidelity",))[1:]
    if not rows:
        return None
    return Table(
        columns=results(evidence).columns, rows=rows, name=_style(evidence),
        caption="What unlearning did to the model as a whole",
    )  # fmt: skip


def gates(evidence: Json) -> Table:
    """Return the conditions without which a verdict would be empty."""
    rows = tuple(
        Row(
            cells=(
                Cell(text=words.GATES.get(item["code"], item["code"]), note=item["code"]),
                Cell(text=numbers.with_minus(item["detail"])),
                outcome(item["outcome"]),
            )
        )
        for item in evidence["gates"]
    )
    fidelity = evidence["fidelity"]
    line = Row(
        cells=(
            Cell(text="The model as a whole is like a retrained one", note="does not decide"),
            Cell(text=f"{fidelity['detail']} (p = {numbers.probability(fidelity['p_value'])})"),
            _as_a_whole(fidelity["outcome"]),
        )
    )
    columns = (Cell(text="Condition"), Cell(text="Found"), Cell(text="Outcome"))
    return Table(
        columns=columns, rows=(*rows, line), name="gates",
        caption="Conditions without which a verdict would be empty",
    )  # fmt: skip


def classes(evidence: Json) -> list[Json]:
    """Return the classes whose accuracy may be shown: those with rows enough."""
    groups: list[Json] = evidence.get("side_effects", {}).get("groups", [])
    return [
        item
        for item in groups
        if item["rows"] is not None and None not in (item["audited"], item["retrained_mean"])
    ]


def by_class(evidence: Json) -> Table | None:
    """Return the accuracy on unseen records of each class; small classes without numbers."""
    groups = evidence.get("side_effects", {}).get("groups", [])
    if not groups:
        return None
    shown = classes(evidence)
    rows = []
    for item in groups:
        stated = item in shown
        mean, sd = item["retrained_mean"], item["retrained_sd"]
        gap = item["audited"] - mean if stated else None
        spread = f"{numbers.number(mean)} ± {numbers.number(sd)}" if stated else numbers.DASH
        cells = (
            Cell(text=item["name"]),
            Cell(text=numbers.people(item["rows"]), kind="number"),
            Cell(text=numbers.number(item["audited"] if stated else None), kind="number"),
            Cell(text=spread, kind="number"),
            Cell(text=numbers.signed(gap), kind="number"),
            Cell(text=numbers.signed(gap / sd if gap is not None and sd else None, 1),
                 kind="number"),
        )  # fmt: skip
        rows.append(Row(cells=cells))
    columns = (
        Cell(text="Class"),
        Cell(text="Unseen records", kind="number"),
        Cell(text="Audited", note="rate; higher is better", kind="number"),
        Cell(text="Retrained", note="mean ± sd", kind="number"),
        Cell(text="Difference", kind="number"),
        Cell(text="in sd", kind="number"),
    )
    return Table(
        columns=columns, rows=tuple(rows), name="by-class",
        caption="Accuracy on unseen records by class",
    )  # fmt: skip


def plotted(columns: tuple[str, ...], rows: list[tuple[Any, ...]]) -> Table:
    """Return the numbers of a picture as a table."""
    return Table(
        columns=tuple(Cell(text=t, kind="number" if i else "text") for i, t in enumerate(columns)),
        rows=tuple(
            Row(cells=tuple(Cell(text=_shown(v), kind="number" if i else "text")
                            for i, v in enumerate(row)))
            for row in rows
        ),
        caption="The plotted numbers",
        name="numbers",
    )  # fmt: skip


def outcome(name: str) -> Cell:
    """Return an outcome as symbol and word, with a colour that adds nothing."""
    symbol, word = words.OUTCOMES[name]
    return Cell(text=word, symbol=symbol, kind=f"outcome-{name}")


def _by_role(evidence: Json, roles: tuple[str, ...]) -> tuple[Row, ...]:
    rows: list[Row] = []
    for role in roles:
        items = [item for item in evidence["statistics"] if item["role"] == role]
        if items:
            rows.append(Row(cells=(Cell(text=words.ROLES[role]),), heading=True))
        rows += [_statistic(item, evidence) for item in items]
    return tuple(rows)


def _style(evidence: Json) -> str:
    """Return the CSS classes; names that are not ours may be too long for any column.

    That they may break anywhere costs the PDF maker a tenth of its time, so ours may not.
    """
    usual = all(item["name"] in words.MEASURES for item in evidence["statistics"])
    return "results usual" if usual else "results"


def _statistic(item: Json, evidence: Json) -> Row:
    scope = evidence["request"]["scope"]
    unit = unit_of(item["name"], scope)
    note = f"{item['name']}: {unit}" if unit else ""
    title = title_of(item["name"], scope)
    p_value = Cell(text=numbers.probability(item["p_value"]), kind="number")
    if numbers.is_small(evidence["counts"]) and counted(item["name"]):
        hidden = Cell(text=WITHHELD, span=5)
        return Row(cells=(Cell(text=title, note=note), hidden, p_value, _finding(item)))
    spread = f"{numbers.number(item['reference_mean'])} ± {numbers.number(item['reference_sd'])}"
    margin = item["margin"]
    bound = f"{PLUS_MINUS}{margin:g}" if margin is not None else _loss(item["name"], evidence)
    return Row(
        cells=(
            Cell(text=title, note=note),
            Cell(text=numbers.number(item["estimate"]), kind="number"),
            Cell(text=spread, kind="number"),
            Cell(text=numbers.signed(item["difference"]), kind="number"),
            Cell(text=numbers.interval(item["interval"]), kind="number"),
            Cell(text=bound, kind="number"),
            p_value,
            _finding(item),
        )
    )


def _loss(name: str, evidence: Json) -> str:
    """Return the loss of accuracy that is allowed, for measures of it."""
    allowed = evidence["battery"]["settings"].get("utility") if "accuracy" in name else None
    return numbers.DASH if allowed is None else numbers.value(-float(allowed))


def _finding(item: Json) -> Cell:
    """Return the outcome; a measure that watches and found nothing says so."""
    if item["outcome"] == "informative" and item["role"] in ("secondary", "whitebox"):
        symbol, _ = words.OUTCOMES["informative"]
        return Cell(text="no difference", symbol=symbol, kind="outcome-informative")
    return _as_a_whole(item["outcome"]) if item["role"] == "fidelity" else outcome(item["outcome"])


def _as_a_whole(name: str) -> Cell:
    """Return the outcome of a line that does not decide, in words that do not sound like it."""
    if name != "fail":
        return outcome(name)
    symbol, _ = words.OUTCOMES["informative"]
    return Cell(text="differs", symbol=symbol, kind="outcome-informative")


def _shown(value: object) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, int):
        return numbers.count(value)
    return numbers.number(None if value is None else float(str(value)))
