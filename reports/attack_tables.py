"""The tables of attacks: what they found, and why others have no result."""

from forget_audit.reports import body_words, numbers, tables
from forget_audit.reports.view import Cell, Row, Table
from forget_audit.types import Json


def attacks(evidence: Json) -> Table | None:
    """Return a row for every attack that was carried out, if there is any."""
    small = numbers.is_small(evidence["counts"])
    columns = (
        Cell(text="Attack", note="what a clean model shows"),
        Cell(text="Statistic"),
        Cell(text="Audited", note="interval over rows", kind="number"),
        Cell(text="Retrained", note="mean ± sd", kind="number"),
        Cell(text="Originals", note="mean", kind="number"),
        Cell(text="p", note="rank", kind="number"),
    )
    rows = [row for item in evidence["attacks"] if item["metrics"] for row in _attack(item, small)]
    if not rows:
        return None
    return Table(
        columns=columns, rows=tuple(rows), name="attacks",
        caption="Attacks on the audited model, retrained models and originals; they inform and do "
        "not decide",
    )  # fmt: skip


def not_carried_out(evidence: Json) -> Table | None:
    """Return every attack that has no result, with the reason; those with the same in one row."""
    columns = tuple(Cell(text=text) for text in ("Attacks", "Why they have no result", "Outcome"))
    reasons: dict[tuple[str, str], list[str]] = {}
    for item in evidence["attacks"]:
        if not item["metrics"]:
            key = (item["outcome"], item["reason"] or "no measurement")
            reasons.setdefault(key, []).append(item["title"])
    rows = tuple(
        Row(cells=(Cell(text="; ".join(titles)), Cell(text=reason), tables.outcome(outcome)))
        for (outcome, reason), titles in reasons.items()
    )
    if not rows:
        return None
    return Table(
        columns=columns, rows=rows, caption="Attacks of the toolkit that were not carried out",
        name="not-carried-out",
    )  # fmt: skip


def _attack(item: Json, small: bool) -> list[Row]:
    """Return the headline of an attack, and how many members it finds almost without mistakes."""
    found = {metric["name"]: metric for metric in item["metrics"]}
    wanted = [name for name in (item["headline"], "tpr_at_1_percent_fpr") if name in found]
    if item["headline"] not in found:
        about = Cell(text=item["title"], note=item["perfect"])
        return [Row(cells=(about, Cell(text=item["reason"] or "no measurement", span=5)))]
    rows = []
    for name in dict.fromkeys(wanted):
        if small and name.startswith(body_words.COUNTED_METRICS):
            continue
        note = item["perfect"] if name == item["headline"] else ""
        rows.append(_metric(Cell(text=item["title"], note=note), found[name], small))
    return rows


def _metric(about: Cell, metric: Json, small: bool) -> Row:
    write = numbers.rough if small else numbers.number
    interval = Cell(text="")
    if not small and None not in (metric["low"], metric["high"]):
        span = f"{numbers.number(metric['low'])} to {numbers.number(metric['high'])}"
        interval = Cell(text=span, note=metric["construction"])
    shown = {
        key: write(metric[key])
        for key in ("audited", "retrained_mean", "retrained_sd", "original_mean")
    }
    spread = f"{shown['retrained_mean']} ± {shown['retrained_sd']}"
    return Row(
        cells=(
            about,
            Cell(text=metric_name(metric["name"]), note=interval.note),
            Cell(text=shown["audited"], note=interval.text, kind="number"),
            Cell(text=spread, kind="number"),
            Cell(text=shown["original_mean"], kind="number"),
            Cell(text=numbers.probability(metric["p_value"]), kind="number"),
        )
    )


def metric_name(name: str) -> str:
    """Return the name of a metric of an attack for people."""
    return body_words.METRICS.get(name, name.replace("_", " "))
