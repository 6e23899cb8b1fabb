"""Makes PDF files in a process of its own: what crashes or hangs there leaves the audit standing.

One JSON object comes in on standard input, one goes out on standard output; nothing else does.
Beside WeasyPrint it needs the standard library alone. Started by `forget_audit.reports.pdf`.
"""

import base64
import contextlib
import gc
import io
import json
import logging
import os
import sys
import warnings
from datetime import datetime
from importlib import resources
from types import ModuleType
from typing import Any

FONTS = (
    ("Forget Audit Sans", "normal", "DejaVuSans.ttf"),
    ("Forget Audit Sans", "bold", "DejaVuSans-Bold.ttf"),
    ("Forget Audit Mono", "normal", "DejaVuSansMono.ttf"),
    ("DejaVu Sans", "normal", "DejaVuSans.ttf"),
)
FORM: dict[str, Any] = {"pdf_variant": "pdf/a-3u", "pdf_tags": True}
BUNDLED, PICTURE = "bundled:", "data:image/svg+xml;base64,"
PIXEL = 0.75


def main() -> None:
    """Answer the one request on standard input.

    Whatever libraries print goes to standard error: when one of its own is missing, WeasyPrint
    prints help to standard output before it raises.
    """
    gc.disable()  # the process lives for one request
    with os.fdopen(os.dup(1), "wb") as out:
        os.dup2(2, 1)
        out.write(json.dumps(answer(json.load(sys.stdin))).encode("ascii"))


def answer(request: dict[str, Any]) -> dict[str, Any]:
    """Return the PDF of every document asked for, or why there is none.

    Args:
        request: `documents`, each with `page` (HTML), `attachments` (`name`, `what`, `data` in
            base64), `moment` (ISO 8601), `identifier` (hexadecimal) and `fields` (ids of elements
            whose places are wanted).

    Returns:
        `state`, and with it: `done` the `documents` and whether fonts are cut by harfbuzz;
        `absent` the missing `package`; `missing` the system `library`; `refused` the `reason`.
    """
    try:
        weasyprint = _silently(_weasyprint)
    except ImportError as error:
        return {"state": "absent", "package": error.name or "weasyprint"}
    except OSError as error:
        return {"state": "missing", "library": str(error).split("'")[1:2]}
    from weasyprint.text import ffi
    from weasyprint.urls import FatalURLFetchingError

    try:
        made = _silently(lambda: [_made(weasyprint, item) for item in request["documents"]])
    except FatalURLFetchingError as error:  # no `Exception`, so that nothing goes on after it
        return {"state": "refused", "reason": str(error)}
    return {
        "state": "done",
        "documents": made,
        "version": weasyprint.__version__,
        "subset": bool(ffi.harfbuzz_subset),
    }


def _weasyprint() -> ModuleType:
    import weasyprint

    module: ModuleType = weasyprint
    return module


def _made(weasyprint: ModuleType, item: dict[str, Any]) -> dict[str, Any]:
    from weasyprint.text.fonts import FontConfiguration

    fetcher, fonts = _sealed(), FontConfiguration()
    sheet = weasyprint.CSS(
        string=_font_faces(), font_config=fonts, url_fetcher=fetcher, base_url=None
    )
    source = weasyprint.HTML(string=item["page"], url_fetcher=fetcher, base_url=None)
    document = source.render(stylesheets=[sheet], font_config=fonts, **FORM)
    fields = {name: _place(document, name) for name in item["fields"]}
    moment = datetime.fromisoformat(item["moment"])
    attachments = [
        weasyprint.Attachment(
            file_obj=io.BytesIO(base64.b64decode(part["data"])), name=part["name"],
            description=part["what"], created=moment, modified=moment, relationship="Data",
            url_fetcher=fetcher, base_url=None,
        )
        for part in item["attachments"]
    ]  # fmt: skip
    identifier = bytes.fromhex(item["identifier"])
    data = document.write_pdf(
        attachments=attachments, pdf_identifier=identifier, finisher=pack_once, **FORM
    )
    return {"pdf": base64.b64encode(data).decode("ascii"), "fields": fields}


def _sealed() -> Any:
    """Return a fetcher that gives out bundled fonts and pictures in data URLs, and nothing else."""
    from weasyprint.urls import FatalURLFetchingError, URLFetcher, URLFetcherResponse

    class Sealed(URLFetcher):  # type: ignore[misc]
        def fetch(self, url: str, headers: Any = None) -> Any:
            name = url.removeprefix(BUNDLED)
            if url.startswith(BUNDLED) and name in {font for _, _, font in FONTS}:
                folder = resources.files("forget_audit.reports") / "fonts"
                return URLFetcherResponse(url, (folder / name).read_bytes())
            if not url.startswith(PICTURE):
                raise FatalURLFetchingError(f"refused to fetch {url[:60]}")
            return super().fetch(url, headers)

    return Sealed(allowed_protocols={"data"}, allow_redirects=False, fail_on_errors=True)


def _font_faces() -> str:
    """Return the rules of the bundled fonts, so that no system font is needed, and none can win."""
    return "".join(
        f'@font-face {{ font-family: "{family}"; font-weight: {weight}; '
        f'src: url("{BUNDLED}{name}"); }}\n'
        for family, weight, name in FONTS
    )


def pack_once(_: Any, pdf: Any) -> None:
    """Put bytes in the place of all objects: pydyf packs each anew for the file and for its id."""
    from weasyprint.pdf import pydyf

    class Packed(pydyf.Object):  # type: ignore[misc]
        data = b""

    class PackedStream(pydyf.Stream):  # type: ignore[misc]
        data = b""

    for number, item in enumerate(pdf.objects):
        if item.free != "f":
            packed = PackedStream() if isinstance(item, pydyf.Stream) else Packed()
            packed.number, packed.generation, packed.data = number, item.generation, item.data
            pdf.objects[number] = packed


def _place(document: Any, name: str) -> list[int] | None:
    """Return page, left, bottom, right and top of an element, in points; none if it is absent."""
    for number, page in enumerate(document.pages):
        if name in page.anchors:
            left, top, right, bottom = page.anchors[name]
            edges = (left, page.height - bottom, right, page.height - top)
            return [number, *(round(edge * PIXEL) for edge in edges)]
    return None


def _silently(action: Any) -> Any:
    """Keep the font and style chatter of libraries out of the way."""
    for name in ("weasyprint", "fontTools"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    with warnings.catch_warnings(), contextlib.redirect_stdout(sys.stderr):
        warnings.simplefilter("ignore")
        return action()


if __name__ == "__main__":
    main()
