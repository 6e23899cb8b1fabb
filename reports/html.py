"""The report as one HTML file: no script, nothing fetched, opens offline anywhere."""

from importlib import resources
from typing import Literal

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from forget_audit.digests import canonical_json, sha256
from forget_audit.reports import html_signature, numbers, page_one, sections, words
from forget_audit.reports.view import ReportView, Signer
from forget_audit.signing import SigningKey
from forget_audit.types import Json

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


def build(evidence: Json, signer: Signer) -> ReportView:
    """Turn evidence into the strings of the page.

    Args:
        evidence: Fits the published schema.
        signer: Who signs.
    """
    report = evidence["report"]
    digest = sha256(canonical_json(evidence))
    outcome = evidence["verdict"]["outcome"]
    supersedes = f" · supersedes {report['supersedes']}" if report["supersedes"] else ""
    issued = numbers.moment(report["issued"])
    return ReportView(
        title=f"Unlearning audit report {report['id']}: {outcome}",
        identifier=report["id"],
        issued=issued,
        issued_at=report["issued"],
        status=report["status"],
        classification=report["classification"],
        subtitle=f"{report['id']} · {report['status']} {issued} · {report['classification']}"
        f"{supersedes}",
        banner=page_one.banner(evidence),
        asked=page_one.asked(evidence),
        found=page_one.found(evidence),
        not_said=page_one.not_said(evidence),
        signature=words.SIGNATURE,
        signer=page_one.signer_facts(signer),
        check=page_one.check(),
        sections=sections.body(evidence, digest),
        evidence_digest=digest,
        footer=f"{report['id']} · {report['classification']} · evidence {digest[:16]}…",
    )


def page(
    view: ReportView, *, medium: Literal["html", "pdf"], attestation: bytes | None = None
) -> bytes:
    """Return the page of `view`, unsigned.

    Args:
        view: All strings.
        medium: For browsers or for the PDF maker.
        attestation: DSSE envelope to carry along as data.
    """
    environment = Environment(
        loader=FileSystemLoader(str(TEMPLATES)), autoescape=True, undefined=StrictUndefined,
        keep_trailing_newline=True,
    )  # fmt: skip
    sheets = ("report.css", "pdf.css") if medium == "pdf" else ("report.css",)
    style = "".join((TEMPLATES / name).read_text(encoding="utf-8") for name in sheets)
    text = environment.get_template("report.html.j2").render(
        view=view,
        style=Markup(style),  # ours alone: nothing of the evidence reaches it
        medium=medium,
        attestation=Markup(html_signature.data_block(attestation)) if attestation else None,
    )
    return text.replace("\r\n", "\n").replace("\r", "\n").encode("utf-8")


def render(view: ReportView, key: SigningKey, attestation: bytes) -> bytes:
    """Return the report as a signed HTML page that carries the result as data."""
    unsigned = page(view, medium="html", attestation=attestation)
    return html_signature.sign(unsigned, key, view.identifier)
