"""What regulators and standards ask for, and where in a report something may help to show it.

Engineering readings in our own words, no legal advice. Rows are standard text of the regulation or
were read in the source named; `secondary` marks what was read in reports about it alone.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from forget_audit.reports.view import Cell, Row, Table

NOT_ADVICE = (
    "These are readings by engineers of what may help to show something. Whether a duty applies, "
    "and whether it is met, is a legal question that this table does not answer. It is not legal "
    "advice."
)
INTRODUCTION = (
    "Left: what a source asks for, in our words. Right: what in this report may help to show it. "
    "No row says that a duty is met."
)


@dataclass(frozen=True, kw_only=True)
class Obligation:
    """One row.

    Args:
        source: Where it stands.
        asks: What it asks for, in our words.
        helps: What in the report may help to show it.
        places: Anchors of sections; `page-one` is the first page.
        secondary: Whether only reports about the source were read.
    """

    source: str
    asks: str
    helps: str
    places: tuple[str, ...]
    secondary: bool = False


OBLIGATIONS = (
    Obligation(
        source="GDPR Art. 5(2)",
        asks="The controller can demonstrate that it keeps to the principles.",
        helps="Tests with a rule fixed beforehand, signed, that others can repeat.",
        places=("battery", "results", "verdict-rule", "reproducibility"),
    ),
    Obligation(
        source="GDPR Art. 17",
        asks="Personal data are erased without undue delay where a ground for it applies.",
        helps="Days of request and erasure; what is left in the model, within a bound; other "
        "artefacts and their fate.",
        places=("page-one", "lineage", "results", "limits"),
    ),
    Obligation(
        source="GDPR Art. 19",
        asks="Recipients of the data are told of the erasure, unless that is impossible or "
        "out of proportion.",
        helps="Recipients with the day on which they were told.",
        places=("lineage",),
    ),
    Obligation(
        source="GDPR Art. 12(3)",
        asks="The person is answered within one month; two more are possible with reasons.",
        helps="The clock of the request, and the receipt for the person.",
        places=("page-one",),
    ),
    Obligation(
        source="GDPR Art. 30",
        asks="Records of processing are kept.",
        helps="What was processed for the audit, by whom, and until when it is kept.",
        places=("data", "retention", "changes"),
    ),
    Obligation(
        source="EDPB Opinion 28/2024",
        asks="A model trained on personal data is not anonymous by default. That has to be judged "
        "case by case: getting the data out of it must be very unlikely. Documentation that does "
        "not convince may fail accountability.",
        helps="Who tested what, when, with which access, how strongly, and with what result.",
        places=("battery", "results", "controls", "limits"),
        secondary=True,
    ),
    Obligation(
        source="EDPB coordinated action on erasure (report of February 2026)",
        asks="Authorities found gaps in procedures, information, retention periods and backups, "
        "and weak anonymisation in the place of deletion.",
        helps="Backups and checkpoints are named, or their absence from the list is.",
        places=("lineage", "retention"),
        secondary=True,
    ),
    Obligation(
        source="CNIL sheets on AI (July 2025)",
        asks="Rights reach into the model if it is not anonymous; measures are realistic and in "
        "proportion; the person is told what was done; no data are collected only to answer.",
        helps="The receipt for the person; what the audit itself holds, and until when.",
        places=("page-one", "method", "retention"),
        secondary=True,
    ),
    Obligation(
        source="ICO guidance on AI, individual rights",
        asks="Personal data may be in training data, in use, and in the model itself. A request is "
        "not unfounded because it is hard to meet.",
        helps="What became of the records, and what a model says about them afterwards.",
        places=("data", "lineage", "results"),
    ),
    Obligation(
        source="FTC orders (2019 to 2022)",
        asks="Not only data, but models and algorithms derived from them are deleted.",
        helps="Every derived artefact with its fate.",
        places=("lineage",),
        secondary=True,
    ),
    Obligation(
        source="CCPA regulations § 7022, AB 1008 (California)",
        asks="Data are erased from systems in use, archives and backups apart; service providers, "
        "contractors and third parties are told; an AI system can hold personal information.",
        helps="Backups and recipients, each by name; the clock of the request.",
        places=("page-one", "lineage"),
        secondary=True,
    ),
    Obligation(
        source="EU AI Act Annex IV 2(g) and Art. 18",
        asks="For high-risk systems: procedures, data and metrics of testing are documented, with "
        "test reports that the persons responsible have dated and signed; documents are kept for "
        "ten years.",
        helps="A dated report with the signatures of tool and reviewer; how long it is kept.",
        places=("battery", "results", "sign-off", "retention"),
    ),
    Obligation(
        source="NIST AI RMF, Measure 1.3, 2.1, 2.13",
        asks="Assessors who did not build the system take part; test sets, metrics and tools are "
        "documented; whether the tests themselves work is evaluated.",
        helps="Independence as declared; the battery; models whose true state is known, put to the "
        "same tests.",
        places=("battery", "controls", "sign-off"),
    ),
    Obligation(
        source="ISO/IEC 17000:2020",
        asks="An attestation follows a decision and gives assurance. By the first party it is a "
        "declaration, by a third party certification.",
        helps="Who declares, in which role, and that it is no certification.",
        places=("page-one", "limits"),
    ),
    Obligation(
        source="ISO/IEC 27555:2021",
        asks="Rules and roles of deletion are documented.",
        helps="Who deletes what, and when, with an entry in the ledger.",
        places=("lineage", "retention"),
        secondary=True,
    ),
    Obligation(
        source="ISO/IEC TS 27560:2023",
        asks="A record for the file and a receipt for the person are two things with fixed parts.",
        helps="This report is the record; the receipt is a page of its own.",
        places=("page-one", "changes"),
        secondary=True,
    ),
)


def table(places: Mapping[str, str]) -> Table:
    """Return the table.

    Args:
        places: Number and title of each section by its anchor.
    """
    columns = ("Source", "What it asks for", "What may help to show it", "Where")
    rows = tuple(
        Row(
            cells=(
                Cell(text=item.source, note="read in secondary sources" * item.secondary),
                Cell(text=item.asks),
                Cell(text=item.helps),
                Cell(text="; ".join(places[place] for place in item.places)),
            )
        )
        for item in OBLIGATIONS
    )
    return Table(
        columns=tuple(Cell(text=text) for text in columns), rows=rows,
        caption="Sources of duties, and where this report may help", name="obligations",
    )  # fmt: skip
