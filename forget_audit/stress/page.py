"""The page on a stress test in Markdown, all from what was measured."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from forget_audit.stress.plots import ALTERNATIVE
from forget_audit.stress.results import HARDER
from forget_audit.stress.strategies import BASELINE
from forget_audit.types import Json

MARKS = {"harder": " ▲", "easier": " ▼"}
MEANINGS = {
    "influence": "Residual influence: 0 like models retrained without the set, 1 like models that "
    "were trained with it and never unlearned, below 0 over-removed. It is a share of what "
    "training on the set did, however little that was. ° marks sets of which models learn so "
    "little that an audit could see nothing in most seeds: there the share is mostly noise.",
    "left": "Mean probability of the set's labels, less that under retrained models: what is left "
    "in absolute terms.",
    "efficacy": "Share of the set that is answered wrongly (unlearning efficacy, `1 - accuracy`). "
    "It says as much about the set as about the method: see the row of retraining.",
    "tow": "Tug of war: product of one less each distance of the accuracies on set, kept and "
    "unseen rows to those of retrained models. 1 is as retrained.",
    "mia_excess": "Area under the curve of the loss-threshold attack on the set, less that of "
    "retrained models.",
}  # fmt: skip
SHOWN = ("influence", "left", "efficacy", "tow")
WEAK = " °"
SCOPE = (
    "These are sets drawn to try methods on. They are not the records of any request, and nothing "
    "here is a verdict: that takes the full rule, with all its models and gates."
)


def markdown(result: Json) -> str:
    """Return the page in Markdown."""
    text = [f"# Stress test on {result['plan']['source']}", ""]
    for paragraph in paragraphs(result):
        text += [paragraph, ""]
    text += [f"![{ALTERNATIVE}](stress.svg)", "", "## The sets", "", *_sets(result), ""]
    for measure in SHOWN:
        text += [f"## {_title(measure)}", "", MEANINGS[measure], "", *values(result, measure), ""]
    text += ["## Harder than random sets?", "", _explained(result), ""]
    for measure in HARDER:
        text += [f"### By {_title(measure).lower()}", "", *compared(result, measure), ""]
    transfer = _transfer(result)
    if transfer:
        text += ["## Transfer of the worst case", "", *transfer, ""]
    text += ["## Where the residual influence lies", "", *_flags(result), ""]
    absent = _absent(result)
    if absent:
        text += ["## Not applicable, or broken", "", *absent, ""]
    return "\n".join(text).rstrip() + "\n"


def paragraphs(result: Json) -> list[str]:
    """Say what was measured, on what, how often, and what it is not."""
    plan, settings, rows = result["plan"], result["settings"], result["rows"]
    noise = f", {100 * plan['label_noise']:g} % of the labels random" if plan["label_noise"] else ""
    seconds, machine = result["seconds"], result["machine"]
    return [
        SCOPE,
        f"Data `{plan['source']}`{noise}: {rows['train']} training, {rows['test']} test and "
        f"{rows['auxiliary']} auxiliary rows or people; model `{plan['architecture']}`. "
        f"{settings['seeds']} seeds, from {settings['first_seed']}: each is another split, other "
        "models and other sets. "
        f"Each set is judged against {settings['references']} models retrained without it and "
        f"{settings['originals']} originals that are nobody's parent. Rows are picked with other "
        f"models: a surrogate and {settings['models_on_halves']} models on halves of the training "
        "rows.",
        f"Numbers are means over seeds, in brackets {100 * settings['level']:g} % t-intervals over "
        "seeds, one at a time. "
        f"forget-audit {result['tool']['version']}, plan {plan['digest'][:12]}…, "
        f"{machine['system']} {machine['architecture']}, workers: {machine['workers']}; "
        f"{seconds['wall']:.0f} s, of processor time {seconds['processor']:.0f} s.",
    ]


def _sets(result: Json) -> Iterator[str]:
    yield from _table(("Set", "What", "Picked with", "Rows", "Training adds", "Retrained right",
                       "Signal"))  # fmt: skip
    for item in result["sets"]:
        if item["n"]:
            size = item["size"]
            same = size["low"] == size["high"]
            cells = (
                item["name"],
                item["description"],
                ", ".join(item["looks"]),
                str(size["low"]) if same else f"{size['low']} to {size['high']}",
                shown(item["set"]["effect"]),
                shown(item["set"]["retrained_forget_accuracy"]),
                f"{item['signal']} of {item['n']}",
            )
            yield _line(cells)
    yield ""
    yield (
        "*Training adds*: mean probability of the set's labels under models trained with it, less "
        "that under models retrained without. *Retrained right*: share of the set that retrained "
        "models answer rightly. *Signal*: seeds in which an audit of the set could see anything at "
        "all, by the rule of its gate `NO_SIGNAL`."
    )


def values(result: Json, measure: str) -> Iterator[str]:
    """Yield the lines of a table: means of a measure by set and method."""
    names = [item["name"] for item in result["methods"]]
    yield from _table(("Set", *names))
    for item in result["sets"]:
        if item["n"]:
            cells = [shown(of_method(item, name)["measures"][measure]) for name in names]
            yield _line((item["name"] + weak(item, measure), *cells))


def _explained(result: Json) -> str:
    comparisons = sum(
        spread is not None
        for item in result["sets"]
        for found in item["results"]
        for spread in found["harder"].values()
    )
    return (
        "Differences to the random set of the same seed, averaged over seeds, with 95 % "
        "t-intervals; positive is harder in every table. ▲ the whole interval lies above 0, ▼ "
        f"below. There are {comparisons} comparisons in all, and one in twenty is marked by "
        "chance alone where nothing differs."
    )


def compared(result: Json, measure: str) -> Iterator[str]:
    """Yield the lines of a table: how much harder than random sets, by set and method."""
    names = [item["name"] for item in result["methods"]]
    yield from _table(("Set", *names))
    for item in result["sets"]:
        if item["n"] and item["name"] != BASELINE:
            cells = [_marked(of_method(item, name)["harder"][measure]) for name in names]
            yield _line((item["name"] + weak(item, measure), *cells))


def _transfer(result: Json) -> list[str]:
    """Return the worst case, found for one way of forgetting, beside random sets for all."""
    sets = {item["name"]: item for item in result["sets"] if item["n"]}
    if "worst_case" not in sets:
        return []
    text = (
        "The set was searched for one way of forgetting (`search`), on the surrogate. Whether it "
        "is hard for other methods and another model too is seen here: means on random sets, on "
        "worst-case sets, and the difference within seeds."
    )
    head = ["Who forgets"]
    rows = [[item["name"]] for item in result["methods"]]
    for measure in ("efficacy", "influence"):
        head += [f"{_title(measure)}, random", "worst case", "harder by"]
        for row in rows:
            each = [of_method(sets[name], row[0]) for name in (BASELINE, "worst_case")]
            row += [shown(one["measures"][measure]) for one in each]
            row.append(_marked(each[1]["harder"][measure]))
    return [text, "", *_table(head), *map(_line, rows)]


def _marked(harder: Json | None) -> str:
    return shown(harder) + (MARKS.get(harder["call"], "") if harder else "")


def _flags(result: Json) -> Iterator[str]:
    settings = result["settings"]
    level = f"{100 * (1 - 2 * settings['alpha']):g} %"
    yield (
        f"Seeds in which the interval of the residual influence ({level}, "
        f"{settings['references']} retrained models) lies wholly beyond the rule's margin of "
        f"{settings['margin']:g} ({settings['margin_class']:g} for classes), wholly within it, or "
        "neither. This is one statistic of the rule and no verdict."
    )
    yield ""
    names = [item["name"] for item in result["methods"]]
    yield from _table(("Set", *names))
    for item in result["sets"]:
        if item["n"]:
            cells = []
            for name in names:
                counts = of_method(item, name)["flags"]
                cells.append(", ".join(f"{n} {flag}" for flag, n in counts.items() if n) or "n/a")
            yield _line((item["name"], *cells))


def _absent(result: Json) -> list[str]:
    found = [
        (item["name"], "", f"{item['status']}: {item['reason']}")
        for item in result["sets"]
        if item["reason"]
    ]
    found += [
        (item["name"], one["method"], f"{one['status']}: {one['reason']}")
        for item in result["sets"]
        for one in item["results"]
        if one["reason"]
    ]
    return [*_table(("Set", "Method", "Why")), *map(_line, found)] if found else []


def weak(item: Json, measure: str = "influence") -> str:
    """Mark a set on which the residual influence says little, in most seeds."""
    return WEAK if measure == "influence" and 2 * item["signal"] < item["n"] else ""


def of_method(item: Json, method: str) -> Json:
    """Return what was found of one method on the sets of one strategy."""
    found: Json = next(one for one in item["results"] if one["method"] == method)
    return found


def shown(spread: Json | None) -> str:
    """Return mean and interval for people; the mean alone if there is no interval."""
    if spread is None:
        return "n/a"
    if spread["low"] is None:
        return f"{spread['mean']:.2f}"
    return f"{spread['mean']:.2f} ({spread['low']:.2f} to {spread['high']:.2f})"


def _title(measure: str) -> str:
    titles = {"influence": "Residual influence", "left": "Left in probability",
              "efficacy": "Wrong answers on the set", "tow": "Tug of war",
              "mia_excess": "Membership attack, beyond retrained"}  # fmt: skip
    return titles[measure]


def _table(head: Sequence[str]) -> list[str]:
    return [_line(head), _line(["---"] * len(head))]


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"
