"""The views of the evidence for people: page, PDF and receipt, each signed."""

from collections.abc import Sequence

from forget_audit.errors import MissingDependency
from forget_audit.keys.signing import SigningKey
from forget_audit.reports import html, html_signature, receipt
from forget_audit.reports.folders import PAGE, PDF, RECEIPT, RECEIPT_PAGE
from forget_audit.reports.view import ReportView
from forget_audit.types import Json


def render(
    evidence: Json,
    audit: bytes,
    key: SigningKey,
    formats: Sequence[str],
    *,
    language: str | None = None,
    timestamp: str | None = None,
) -> tuple[dict[str, bytes], str | None]:
    """Return the signed views by name, and why a PDF that was asked for is not among them.

    Args:
        evidence: What is shown.
        audit: The result as a signed statement, which page and PDF carry along.
        key: Signs.
        formats: `html`, `pdf` or both; the receipt is a page if there is no PDF.
        language: Of page one and receipt; as in the evidence if left out.
        timestamp: Address of a time stamping authority; none is asked if left out.
    """
    note = receipt.page(evidence, html.language_of(evidence, language))
    views, missing = {}, None
    if not formats:
        return {RECEIPT_PAGE: html_signature.sign(note, key, evidence["report"]["id"])}, None
    view = html.build(evidence, html.signer_of(key), language)
    if "html" in formats:
        views[PAGE] = html.render(view, key, audit)
    if "pdf" in formats:
        try:
            return {**views, **_pdfs(view, evidence, key, audit, note, timestamp)}, None
        except MissingDependency as error:
            missing = str(error)
    views[RECEIPT_PAGE] = html_signature.sign(note, key, view.identifier)
    return views, missing


def draft(evidence: Json) -> bytes:
    """Return the unsigned page of a draft, which says on every page what it is."""
    return html.page(html.build(evidence, None), medium="html")


def _pdfs(
    view: ReportView,
    evidence: Json,
    key: SigningKey,
    audit: bytes,
    note: bytes,
    timestamp: str | None,
) -> dict[str, bytes]:
    from forget_audit.reports import pdf, pdf_signature, timestamps

    stamp = timestamps.Timestamper(timestamp) if timestamp else None
    papers = pdf.render_papers(view, evidence, audit, note)
    why = f"the audit report {view.identifier}"
    report = pdf_signature.sign(papers.report, key, papers.places, f"Issues {why}", stamp=stamp)
    slip = pdf_signature.sign(papers.receipt, key, papers.place, f"Receipt for {why}", stamp=stamp)
    return {PDF: report, RECEIPT: slip}
