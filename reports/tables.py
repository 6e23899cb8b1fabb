"""The tables of the report."""

from forget_audit.reports import numbers, words
from forget_audit.reports.view import Cell, Row, Table
from forget_audit.types import Json


def title_of(name: str) -> str:
    """Return the name of a measure for people."""
    return words.MEASURES[name].title if name in words.MEASURES else name


def results(evidence: Json) -> Table:
    """Return every measure beside the retrained models, those that decide first."""
    rows: list[Row] = []
    alpha = evidence["battery"]["settings"].get("alpha", 0.05)
    for role, heading in words.ROLES.items():
        items = [item for item in evidence["statistics"] if item["role"] == role]
        if items:
            rows.append(Row(cells=(Cell(text=heading),), heading=True))
        rows += [_statistic(item) for item in items]
    columns = (
        Cell(text="Measure"),
        Cell(text="Audited", kind="number"),
        Cell(text="Retrained", note="mean ± sd", kind="number"),
        Cell(text="Difference", kind="number"),
        Cell(text=f"{numbers.percent(1 - 2 * alpha)} interval", kind="number"),
        Cell(text="Margin", kind="number"),
        Cell(text="p", note="Holm", kind="number"),
        Cell(text="Outcome"),
    )
    return Table(
        columns=columns, rows=tuple(rows), caption="Audited model and retrained models",
        name="results",
    )  # fmt: skip


def gates(evidence: Json) -> Table:
    """Return the conditions without which a verdict would be empty."""
    rows = tuple(
        Row(
            cells=(
                Cell(text=words.GATES.get(item["code"], item["code"]), note=item["code"]),
                Cell(text=item["detail"]),
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
    return Table(columns=columns, rows=(*rows, line), caption="Conditions", name="gates")


def attacks(evidence: Json) -> Table | None:
    """Return a row for every attack that was carried out, if there is any."""
    columns = (
        Cell(text="Attack"),
        Cell(text="Headline"),
        Cell(text="Audited", kind="number"),
        Cell(text="Retrained", note="mean ± sd", kind="number"),
        Cell(text="Originals", note="mean", kind="number"),
        Cell(text="Outcome"),
    )
    carried_out = (item for item in evidence["attacks"] if item["metrics"])
    rows = tuple(_attack(item) for item in carried_out)
    return Table(columns=columns, rows=rows, caption="Attacks", name="attacks") if rows else None


def not_carried_out(evidence: Json) -> Table | None:
    """Return a row for every attack that has no result, with the reason."""
    columns = tuple(Cell(text=text) for text in ("Attack", "Why it has no result", "Outcome"))
    rows = tuple(
        Row(
            cells=(
                Cell(text=item["title"]),
                Cell(text=item["reason"] or "no measurement"),
                outcome(item["outcome"]),
            )
        )
        for item in evidence["attacks"]
        if not item["metrics"]
    )
    if not rows:
        return None
    return Table(columns=columns, rows=rows, caption="Not carried out", name="not-carried-out")


def retention(evidence: Json) -> Table:
    """Return what the audit itself holds of the deleted records."""
    columns = tuple(Cell(text=text) for text in ("What", "Where", "Until", "Fate"))
    rows = tuple(
        Row(cells=tuple(Cell(text=item[key]) for key in ("what", "where", "until", "fate")))
        for item in evidence["retention"]
    )
    return Table(columns=columns, rows=rows, caption="Kept by the audit", name="retention")


def outcome(name: str) -> Cell:
    """Return an outcome as symbol and word, with a colour that adds nothing."""
    symbol, word = words.OUTCOMES[name]
    return Cell(text=word, symbol=symbol, kind=f"outcome-{name}")


def _statistic(item: Json) -> Row:
    measure = words.MEASURES.get(item["name"])
    unit = f"{item['name']}: {measure.unit}" if measure else ""
    spread = f"{numbers.number(item['reference_mean'])} ± {numbers.number(item['reference_sd'])}"
    margin = item["margin"]
    bound = numbers.DASH if margin is None else f"±\N{NARROW NO-BREAK SPACE}{margin:g}"
    return Row(
        cells=(
            Cell(text=title_of(item["name"]), note=unit),
            Cell(text=numbers.number(item["estimate"]), kind="number"),
            Cell(text=spread, kind="number"),
            Cell(text=numbers.signed(item["difference"]), kind="number"),
            Cell(text=numbers.interval(item["interval"]), kind="number"),
            Cell(text=bound, kind="number"),
            Cell(text=numbers.probability(item["p_value"]), kind="number"),
            _finding(item),
        )
    )


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


def _attack(item: Json) -> Row:
    note = f"{item['question']} A clean model: {item['perfect']}"
    about = Cell(text=item["title"], note=note)
    metric = next((m for m in item["metrics"] if m["name"] == item["headline"]), None)
    if metric is None:
        reason = item["reason"] or "no measurement"
        return Row(cells=(about, Cell(text=reason, span=4), outcome(item["outcome"])))
    span = ""
    if metric["low"] is not None and metric["high"] is not None:
        span = f"{numbers.number(metric['low'])} to {numbers.number(metric['high'])}"
    spread = (
        f"{numbers.number(metric['retrained_mean'])} ± {numbers.number(metric['retrained_sd'])}"
    )
    return Row(
        cells=(
            about,
            Cell(text=metric["name"].replace("_", " "), note=metric["construction"]),
            Cell(text=numbers.number(metric["audited"]), note=span, kind="number"),
            Cell(text=spread, kind="number"),
            Cell(text=numbers.number(metric["original_mean"]), kind="number"),
            outcome(item["outcome"]),
        )
    )
