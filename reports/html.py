"""The report as one HTML file: no script, nothing fetched, opens offline anywhere."""

from dataclasses import replace
from functools import cache
from importlib import resources
from typing import Literal

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from forget_audit.digests import canonical_json, sha256
from forget_audit.keys.signing import SigningKey
from forget_audit.reports import (
    headlines,
    html_signature,
    page_one,
    plain_text,
    plain_words,
    sections,
)
from forget_audit.reports.languages import SOURCE, Catalogue, catalogue
from forget_audit.reports.page_one import Signer
from forget_audit.reports.view import ReportView
from forget_audit.types import Json

ROOMY = 36  # lines that page one holds in large print on paper, headings and banner aside
LINE, NARROW = 100, 40  # characters of a line, and of one in two columns
TEMPLATES = resources.files("forget_audit.reports") / "templates"


def signer_of(key: SigningKey) -> Signer:
    """Return what the report says of the key that signs it."""
    return Signer(
        name=key.name,
        org=key.org,
        protection=key.protection,
        key=key.key_fingerprint,
        certificate=key.certificate_fingerprint,
        until=key.not_after.date().isoformat(),
    )


def language_of(evidence: Json, language: str | None = None) -> str:
    """Return the language of page one: the one the evidence names if none is given."""
    return language or evidence["report"].get("language") or SOURCE


def build(evidence: Json, signer: Signer | None, language: str | None = None) -> ReportView:
    """Turn evidence into the strings of the page.

    Args:
        evidence: Fits the published schema.
        signer: Who signs; nobody signs a draft.
        language: Of page one and the glossary; the one the evidence names if none is given.
    """
    report = evidence["report"]
    t = catalogue(language_of(evidence, language))
    digest = sha256(canonical_json(evidence))
    banner, draft = page_one.banner(evidence, t), report["status"] == "draft"
    labels = _labels(t)
    level = t.known(report["classification"])
    mark = f"{labels['draft']} · " if draft else ""
    view = ReportView(
        language=t.language,
        draft=draft,
        labels=labels,
        title=f"{labels['report']} {report['id']}: {banner.word} {banner.code}".strip(),
        identifier=report["id"],
        issued_at=report["issued"],
        status_word=page_one.status(evidence, t),
        subtitle=page_one.kind(evidence, t),
        header=page_one.header(evidence, t),
        banner=banner,
        found=headlines.found(evidence, t),
        not_said=page_one.not_said(evidence, t),
        asked=page_one.asked(evidence, t),
        clock=page_one.clock(evidence, t),
        parties=page_one.parties(evidence, t),
        signature=tuple(map(t, plain_words.SIGNATURE)),
        signer=page_one.signer_facts(signer, t),
        check=page_one.check(evidence, t),
        sections=sections.body(evidence, digest, t),
        footer=f"{mark}{report['id']} · {level} · {labels['evidence']} {digest[:16]}…",
    )
    return replace(view, roomy=_lines(view) <= ROOMY)


def _lines(view: ReportView) -> int:
    """Return about how many lines page one has to hold; a header of facts runs on."""
    facts = (view.asked, view.signer, view.check)
    texts = [fact.text for part in facts for fact in part.items]
    run_on = " ".join(fact.text for fact in view.header.items)
    note = view.labels["draft_note"] if view.draft else ""
    said = (*view.found, *view.not_said, " ".join(view.signature), run_on, note, *texts)
    columns = (
        sum(-(-len(fact.text) // NARROW) for fact in part.items)
        for part in (view.clock, view.parties)
    )
    return max(columns) + sum(-(-len(text) // LINE) for text in said)


def _labels(t: Catalogue) -> dict[str, str]:
    """Return the template's own words."""
    return {
        "report": t("Unlearning audit report"),
        "verdict": t("Verdict"),
        "found": t("What was found"),
        "not_said": t("What this does not say"),
        "asked": t("What was asked"),
        "check": t("How to check it"),
        "check_note": t(
            "A page can claim anything about itself: check it with these commands, the last two "
            "of which need none of our tools, and compare the key with one you got another way."
        ),
        "draft": t("DRAFT"),
        "draft_note": t(
            "Not issued: nothing here may be relied on, it may still change, and no check accepts "
            "it."
        ),
        "skip": t("Skip to the details"),
        "evidence": t("evidence"),
    }


@cache
def environment() -> Environment:
    """Return what fills in our templates: everything is escaped, and what steers is shown.

    Kept, as it holds the compiled templates.
    """
    return Environment(
        loader=FileSystemLoader(str(TEMPLATES)), autoescape=True, undefined=StrictUndefined,
        keep_trailing_newline=True, finalize=plain_text.finalized,
    )  # fmt: skip


def encoded(text: str) -> bytes:
    """Return a page as bytes; its lines end alike wherever its texts came from."""
    return text.replace("\r\n", "\n").replace("\r", "\n").encode("utf-8")


def style(*names: str) -> Markup:
    """Return our own style sheets, one after the other: nothing of the evidence reaches them."""
    sheets = "".join((TEMPLATES / name).read_text(encoding="utf-8") for name in names)
    return Markup(sheets)  # noqa: S704  files of our own


def page(
    view: ReportView, *, medium: Literal["html", "pdf"], attestation: bytes | None = None
) -> bytes:
    """Return the page of `view`, unsigned.

    Args:
        view: All strings.
        medium: For browsers or for the PDF maker.
        attestation: DSSE envelope to carry along as data.
    """
    sheets = (
        ("report.css", "pdf.css", "front.css") if medium == "pdf" else ("report.css", "front.css")
    )
    carried = None
    if attestation:
        carried = Markup(html_signature.data_block(attestation))  # noqa: S704  no angle brackets
    text = (
        environment()
        .get_template("report.html.j2")
        .render(
            view=view,
            style=style(*sheets),
            medium=medium,
            attestation=carried,
        )
    )
    return encoded(text)


def render(view: ReportView, key: SigningKey, attestation: bytes) -> bytes:
    """Return the report as a signed HTML page that carries the result as data."""
    unsigned = page(view, medium="html", attestation=attestation)
    return html_signature.sign(unsigned, key, view.identifier)
