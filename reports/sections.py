"""The body of the report: its sections in the order on paper."""

from collections.abc import Callable, Mapping, Sequence

from forget_audit.reports import (
    glossary,
    obligations,
    section_battery,
    section_data,
    section_governance,
    section_results,
    section_stress,
    section_verdict,
)
from forget_audit.reports.languages import SOURCE, Catalogue, catalogue
from forget_audit.reports.view import (
    Facts,
    Figure,
    Pair,
    Points,
    Section,
    SignOff,
    Table,
    Text,
)
from forget_audit.types import Json

Block = Text | Points | Facts | Table | Figure | Pair | SignOff
TITLES: Mapping[str, str] = {
    "data": "Data identity",
    "lineage": "Lineage of derived artefacts",
    "method": "Method of unlearning",
    "reference": "Reference models",
    "battery": "Test battery",
    "results": "Results",
    "controls": "Controls",
    "stress": "Stress test on other records",
    "uncertainty": "Uncertainty and multiplicity",
    "utility": "Utility and side effects",
    "limits": "Limits and disclaimer",
    "verdict-rule": "Verdict rule, decisive tests and dissent",
    "sign-off": "Reviewer sign-off",
    "reproducibility": "Reproducibility",
    "retention": "Retention and purge",
    "obligations": "Duties, and where this report may help",
    "glossary": "Glossary",
    "changes": "Change log and supersession",
}
UNSTRESSED = "No stress test of the method is part of this report."
FROM_EVIDENCE: Mapping[str, Callable[[Json], Sequence[Block]]] = {
    "data": section_data.identity,
    "lineage": section_data.lineage,
    "method": section_data.method,
    "reference": section_data.reference,
    "battery": section_battery.battery,
    "results": section_results.results,
    "controls": section_results.controls,
    "stress": lambda evidence: section_stress.stress(evidence) or [Text(paragraphs=(UNSTRESSED,))],
    "uncertainty": section_results.uncertainty,
    "utility": section_results.utility,
    "limits": section_verdict.limits,
    "verdict-rule": section_verdict.rule,
    "sign-off": section_verdict.sign_off,
    "retention": section_governance.retention,
    "changes": section_governance.changes,
}


def body(evidence: Json, digest: str, t: Catalogue | None = None) -> tuple[Section, ...]:
    """Return all sections after page one.

    Args:
        evidence: Fits the published schema.
        digest: SHA-256 of the evidence.
        t: Language of the glossary; English if left out, as all else is.
    """
    t = t or catalogue(SOURCE)
    made: dict[str, Sequence[Block]] = {
        **{anchor: make(evidence) for anchor, make in FROM_EVIDENCE.items()},
        "reproducibility": section_governance.reproducibility(evidence, digest),
        "obligations": _obligations(),
        "glossary": [Facts(items=glossary.terms(t))],
    }
    spoken = {"glossary": (t("Glossary"), t.language)}
    sections = []
    for anchor, title in TITLES.items():
        heading, language = spoken.get(anchor, (title, SOURCE))
        sections.append(
            Section(title=heading, anchor=anchor, blocks=made[anchor], language=language)
        )
    return tuple(sections)


def _obligations() -> Sequence[Block]:
    places = {
        anchor: f"{n}\N{NO-BREAK SPACE}{title}"
        for n, (anchor, title) in enumerate(TITLES.items(), 1)
    }
    return [
        Text(paragraphs=(obligations.INTRODUCTION,)),
        obligations.table({"page-one": "Page one", **places}),
        Text(paragraphs=(obligations.NOT_ADVICE,)),
    ]
