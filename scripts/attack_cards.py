"""The pages on attacks and experiments: a list of all, and the card of each."""

import inspect
import re

from forget_audit.contracts import AttackInfo
from scripts.card_text import NOTE, entries, linked, references, sections, settings
from scripts.method_cards import SCOPES
from scripts.tables import as_table, link

ACCESS = {
    "label": "predicted labels",
    "score": "probabilities",
    "gradient": "gradients",
    "weights": "weights",
}
KINDS = {
    "membership": "a score for each record",
    "model": "measurements of the whole model",
    "method": "an experiment on the unlearning method, with models of its own",
}
SHORT = {"membership": "records", "model": "model", "method": "method"}
PREFACE = """\
Every attack of forget-audit, and every experiment, with what it asks, what it must be able to see
and what it returns. **Attacks inform; they do not decide.** The verdict rests on the statistics of
[the verdict](verdict.md); the last column names those that come from an attack. Tests compare a
card with what the attack does: one that asks a model for more than its card says fails them. An
attack of your own is one file: [add an attack](add-an-attack.md).

*Records* are attacks that score single records, *model* those that measure a model as a whole, and
*method* are experiments: they train, unlearn and compare models of their own, run only if the plan
asks for them (`battery.experiments`), and say something of the method, not of one model.

● yes, – no.
"""


def index(cards: list[AttackInfo]) -> str:
    """Return the page on all attacks and experiments."""
    ordered = sorted(cards, key=_place)
    head = ["Card", "Attack", "Says something of", "Needs", *map(str.capitalize, SCOPES.values())]
    head += ["Learns from retrained models", "Learns from unlearned models", "Statistics"]
    sentences = [f"- [`{info.name}`](attacks/{info.name}.md): {info.question}" for info in ordered]
    parts = [
        NOTE,
        "# Attacks",
        PREFACE.strip(),
        as_table(tuple(head), [_capabilities(info) for info in ordered]),
        "## What each asks",
        "\n".join(sentences),
    ]
    return "\n\n".join(parts) + "\n"


def page(kind: type) -> str:
    """Return the page on one attack or experiment.

    Raises:
        ValueError: If the docstring leaves out a field.
    """
    info: AttackInfo = kind.info  # type: ignore[attr-defined]
    told = sections(inspect.getdoc(kind) or "")
    parts = [
        NOTE,
        f"# {info.title}",
        info.question,
        linked(told[""]),
        "## Card",
        _card(kind, info),
        "## Settings",
        settings(kind, told.get("Args", "")),
        "## Refuses",
        *([entries(told["Raises"])] if "Raises" in told else []),
        "Requests that the card does not name, and cases that lack what it needs: `NotApplicable`; "
        "the report prints the reason.",
        "## Departures",
        linked(told.get("Departures", "")),
        "## References",
        references(told.get("References", "")),
    ]
    return "\n\n".join(parts) + "\n"


def _card(kind: type, info: AttackInfo) -> str:
    learns = []
    if info.leave_one_out:
        learns.append("retrained models; a retrained model is scored by a fit on the others")
    if info.practises:
        learns.append("models of the auditor that went through the audited method")
    rows = [
        ("Name", f"`{info.name}`, in Python `{kind.__module__}.{kind.__name__}`"),
        ("Card", info.card),
        ("Source", link(info.paper)),
        ("Returns", KINDS[info.kind]),
        ("Needs to see", ACCESS[info.access]),
        ("Requests", ", ".join(SCOPES[s] for s in SCOPES if s in info.scopes)),
        ("Learns from", "; ".join(learns)),
        ("Shown first", f"`{info.headline}`"),
        ("A perfectly unlearned model gets", info.perfect),
        (
            "Statistics of [the verdict](../verdict.md#statistics)",
            ", ".join(f"`{name}`" for name in info.statistics) or "none: it informs",
        ),
    ]
    return as_table(("", ""), [row for row in rows if row[1]])


def _capabilities(info: AttackInfo) -> tuple[str, ...]:
    return (
        info.card,
        f"[`{info.name}`](attacks/{info.name}.md) {info.title}",
        SHORT[info.kind],
        ACCESS[info.access],
        *("●" if scope in info.scopes else "–" for scope in SCOPES),
        "●" if info.leave_one_out else "–",
        "●" if info.practises else "–",
        ", ".join(f"`{name}`" for name in info.statistics) or "–",
    )


def _place(info: AttackInfo) -> tuple[str, int, str]:
    letter, number = re.findall(r"\D+|\d+", info.card)[:2]
    return letter, int(number), info.name
