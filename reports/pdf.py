"""The report as an archival PDF (declares PDF/A-3u, tagged), with the evidence attached."""

import base64
import contextlib
import io
import logging
import sys
import warnings
from datetime import datetime
from functools import cache
from importlib import resources
from types import ModuleType
from typing import Any

from forget_audit.digests import canonical_json, sha256
from forget_audit.errors import MissingDependency
from forget_audit.reports import html
from forget_audit.reports.view import Place, ReportView
from forget_audit.types import Json

APT = "apt-get install --no-install-recommends libpango-1.0-0 libpangoft2-1.0-0 libharfbuzz-subset0"
FONTS = (
    ("Forget Audit Sans", "normal", "DejaVuSans.ttf"),
    ("Forget Audit Sans", "bold", "DejaVuSans-Bold.ttf"),
    ("Forget Audit Mono", "normal", "DejaVuSansMono.ttf"),
    ("DejaVu Sans", "normal", "DejaVuSans.ttf"),
)
PIXEL = 0.75
FORM: dict[str, Any] = {"pdf_variant": "pdf/a-3u", "pdf_tags": True}

log = logging.getLogger(__name__)


def render(view: ReportView, evidence: Json, attestation: bytes) -> tuple[bytes, Place]:
    """Return the unsigned PDF and where its signature belongs.

    Args:
        view: All strings.
        evidence: What they were made of; attached.
        attestation: DSSE envelope of the result; attached.

    Returns:
        The PDF, and where the seal is printed.

    Raises:
        MissingDependency: If WeasyPrint or a library it needs is missing.
    """
    weasyprint = _weasyprint()
    from weasyprint.text.fonts import FontConfiguration

    encoded = canonical_json(evidence)
    fetcher = _fetcher()
    fonts = FontConfiguration()
    page = html.page(view, medium="pdf")
    sheet = weasyprint.CSS(
        string=_font_faces(), font_config=fonts, url_fetcher=fetcher, base_url=None
    )
    at = datetime.fromisoformat(evidence["report"]["issued"])
    attachments = [
        _attachment(weasyprint, name, data, what, at, fetcher)
        for name, data, what in (
            ("evidence.json", encoded, "Everything the report shows, as canonical JSON"),
            ("audit.dsse.json", attestation, "The result as a signed in-toto statement"),
        )
    ]
    with _quiet():
        source = weasyprint.HTML(string=page.decode("utf-8"), url_fetcher=fetcher, base_url=None)
        document = source.render(stylesheets=[sheet], font_config=fonts, **FORM)
        place = _place(document)
        identifier = bytes.fromhex(sha256(encoded))[:16]
        data = document.write_pdf(attachments=attachments, pdf_identifier=identifier, **FORM)
        del document  # its open file is closed here, where the warning of it is ignored
    return bytes(data), place


def available() -> str | None:
    """Return why no PDF can be made here, or nothing if one can."""
    try:
        _weasyprint()
    except MissingDependency as error:
        return str(error)
    return None


def _weasyprint() -> ModuleType:
    """Import WeasyPrint, which prints help to standard output when a library is missing."""
    try:
        with contextlib.redirect_stdout(sys.stderr):
            import weasyprint
    except ImportError as error:
        raise MissingDependency("no PDF: WeasyPrint is missing; pip install weasyprint") from error
    except OSError as error:
        raise MissingDependency(f"no PDF: a system library is missing; {APT}") from error
    module: ModuleType = weasyprint
    return module


def _fetcher() -> Any:
    """Return a fetcher that gives out data URLs of pictures and fonts, and stops on all else."""
    from weasyprint.urls import FatalURLFetchingError, URLFetcher

    class Sealed(URLFetcher):  # type: ignore[misc]
        def fetch(self, url: str, headers: Any = None) -> Any:
            if not url.startswith(("data:image/svg+xml;base64,", "data:font/ttf;base64,")):
                raise FatalURLFetchingError(f"refused to fetch {url[:60]}")
            return super().fetch(url, headers)

    return Sealed(allowed_protocols={"data"}, allow_redirects=False, fail_on_errors=True)


@cache
def _font_faces() -> str:
    folder = resources.files("forget_audit.reports") / "fonts"
    return "".join(
        f'@font-face {{ font-family: "{family}"; font-weight: {weight}; src: url("data:font/ttf;'
        f'base64,{base64.b64encode((folder / name).read_bytes()).decode()}"); }}\n'
        for family, weight, name in FONTS
    )


def _attachment(
    weasyprint: ModuleType, name: str, data: bytes, what: str, at: datetime, fetcher: Any
) -> Any:
    return weasyprint.Attachment(
        file_obj=io.BytesIO(data), name=name, description=what, created=at, modified=at,
        relationship="Data", url_fetcher=fetcher, base_url=None,
    )  # fmt: skip


def _place(document: Any) -> Place:
    name = "signature-field"
    number, page = next((i, page) for i, page in enumerate(document.pages) if name in page.anchors)
    left, top, right, bottom = page.anchors[name]
    edges = (left, page.height - bottom, right, page.height - top)
    return Place(page=number, box=tuple(round(edge * PIXEL) for edge in edges))


@contextlib.contextmanager
def _quiet() -> Any:
    """Keep the font and style chatter of rendering out of our logs."""
    loggers = [logging.getLogger(name) for name in ("weasyprint", "fontTools")]
    levels = [item.level for item in loggers]
    for item in loggers:
        item.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for item, level in zip(loggers, levels, strict=True):
            item.setLevel(level)
