"""The pages on methods: a list of all, and the card of each."""

import inspect
import re
from collections.abc import Mapping

from forget_audit.contracts import MethodInfo
from scripts.card_text import (
    NOTE,
    as_json,
    entries,
    linked,
    references,
    sections,
    sentence,
    settings,
)
from scripts.tables import as_table, link

ERRATA = "docs/errata.md"
SCOPES = {
    "instance": "single rows",
    "class": "classes",
    "subclass": "sub-classes",
    "attribute": "attributes",
}
ROWS = {"forget": "forget rows", "retain": "retained rows", "labels": "labels of the rows it reads"}
FURTHER = {
    "recipe": "the training recipe",
    "log": "a log of the training",
    "initial": "the weights before training",
    "training": "a model trained by its own recipe",
    "architecture": "a model of a certain build",
}
HEADS = {"single": "one class a row", "multi": "several labels a row"}
GUARANTEES = {"none": "nothing", "exact": "exact", "certified": "certified under assumptions"}
PREFACE = """\
Every unlearning method of forget-audit, with what it reads, what it needs besides, which requests
it serves and what it promises by construction. Tests compare this with what methods do: one that
reads other rows, or serves a request that its card does not name, fails them. A promise is no
result: what a method leaves behind on your request is what an audit measures. Requests that are
hardest to serve are found by `forget_audit.worst_case`, with a model of the auditor's own. A method
of your own is one file: [add a method](add-a-method.md).

● yes, ○ yes, by our own adaptation that no paper defines, – no.
"""


def index(cards: list[MethodInfo], errata: Mapping[str, str]) -> str:
    """Return the page on all methods."""
    ordered = sorted(
        cards, key=lambda info: (int(re.sub(r"\D", " ", info.card).split()[0]), info.name)
    )
    rows = [_capabilities(info, errata) for info in ordered]
    head = ["Card", "Method", "Forget rows", "Retained rows", "Labels", "Needs besides"]
    head += ["Single rows", "Classes", "Sub-classes", "Attributes", "Several labels a row"]
    head += ["Promise", "Reconstructed", "Errata"]
    sentences = [f"- [`{info.name}`](methods/{info.name}.md): {info.summary}" for info in ordered]
    parts = [
        NOTE,
        "# Methods",
        PREFACE.strip(),
        as_table(tuple(head), rows),
        "## In a sentence",
        "\n".join(sentences),
    ]
    return "\n\n".join(parts) + "\n"


def page(kind: type, errata: Mapping[str, str]) -> str:
    """Return the page on one method.

    Raises:
        ValueError: If the docstring leaves out a field, or an erratum does not exist.
    """
    info: MethodInfo = kind.info  # type: ignore[attr-defined]
    told = sections(inspect.getdoc(kind) or "")
    departures, _, checked = told.get("Departures", "").partition("Verification:")
    parts = [
        NOTE,
        f"# {info.title}",
        info.summary,
        linked(told[""]),
        "## Card",
        _card(kind, info, errata),
        "## Settings",
        settings(kind, told.get("Args", "")),
        "## Presets",
        _presets(info),
        "## Refuses",
        *([entries(told["Raises"])] if "Raises" in told else []),
        "Requests, outputs and models that the card does not name: `NotApplicable`.",
        "## Departures",
        linked(departures.strip()),
        "## How it was checked",
        linked(sentence(checked)) or "See `tests/`.",
        "## References",
        references(told.get("References", "")),
    ]
    return "\n\n".join(parts) + "\n"


def _card(kind: type, info: MethodInfo, errata: Mapping[str, str]) -> str:
    own = [f"{SCOPES[s]} (○ our adaptation)" for s in SCOPES if s in info.adapted]
    served = [SCOPES[s] for s in SCOPES if s in info.scopes - info.adapted]
    rows = [
        ("Name", f"`{info.name}`, in Python `{kind.__module__}.{kind.__name__}`"),
        ("Card", info.card),
        ("Source", link(info.paper)),
        ("Reads", ", ".join(ROWS[need] for need in ROWS if need in info.needs) or "no rows"),
        (
            "Needs besides",
            ", ".join(FURTHER[need] for need in FURTHER if need in info.needs) or "–",
        ),
        ("Requests", ", ".join([*served, *own])),
        ("Outputs", ", ".join(HEADS[head] for head in HEADS if head in info.heads)),
        ("Promises by construction", GUARANTEES[info.guarantee]),
        ("Assumptions", info.assumptions),
        ("Reconstructed", info.reconstructed),
        ("Cost", info.cost),
        (
            "Accuracy kept",
            f"on a small problem, tests ask for {info.floor:.0%} of that on retained rows",
        ),
        ("Errata", ", ".join(_erratum(number, errata, "../errata.md") for number in info.errata)),
    ]
    return as_table(("", ""), [row for row in rows if row[1]])


def _capabilities(info: MethodInfo, errata: Mapping[str, str]) -> tuple[str, ...]:
    served = ["○" if s in info.adapted else "●" if s in info.scopes else "–" for s in SCOPES]
    numbers = [_erratum(number, errata, "errata.md", title=False) for number in info.errata]
    return (
        info.card,
        f"[`{info.name}`](methods/{info.name}.md) {info.title}",
        *("●" if need in info.needs else "–" for need in ROWS),
        ", ".join(FURTHER[need] for need in FURTHER if need in info.needs) or "–",
        *served,
        "●" if "multi" in info.heads else "–",
        GUARANTEES[info.guarantee],
        "●" if info.reconstructed else "–",
        " ".join(numbers) or "–",
    )


def _erratum(number: str, errata: Mapping[str, str], page: str, *, title: bool = True) -> str:
    if number not in errata:
        raise ValueError(f"found no entry {number} in {ERRATA}; add it or correct the card")
    heading = f"{number} {errata[number]}"
    anchor = re.sub(r"[^\w\- ]", "", heading).lower().replace(" ", "-")
    return f"[{heading if title else number}]({page}#{anchor})"


def _presets(info: MethodInfo) -> str:
    if not info.presets:
        return "None."
    rows = [
        (f"`{name}`", ", ".join(f"`{key} = {as_json(value)}`" for key, value in values.items()))
        for name, values in info.presets.items()
    ]
    return as_table(("Preset", "Settings that it changes"), rows)
