"""The PDF of a released report: what others and the linter read in it, and how it is made."""

import io
import json
import re
from pathlib import Path

import numpy as np
import pytest

from forget_audit.errors import VerificationError
from forget_audit.reports import html, linter, pdf, pdf_process, pdf_signature
from forget_audit.reports.pdf_text import pieces
from tests.fixtures.evidence import evidence
from tests.fixtures.programs import needs, say
from tests.fixtures.released import folder, key

FILES = ("report.pdf", "receipt.pdf")
each = pytest.mark.parametrize("name", FILES)
WHAT = "id of a forgotten record"
ALLOWED = ("Example Controller Ltd, dpo@controller.example", "Example Auditor")
SEALED = b"<p id='signature-field'>here"
SHORT = {"report": {"issued": "2026-11-21T10:00:00Z"}}


def path(name: str) -> Path:
    return folder() / name


@each
@needs("pdfsig", "poppler-utils")
def test_poppler_calls_the_signature_valid_and_total(name: str) -> None:
    _, said = say("pdfsig", str(path(name)))
    assert "Signature is Valid" in said
    assert "Total document signed" in said
    assert "Not total" not in said
    assert "ETSI.CAdES.detached" in said
    assert "Example Auditor" in said


@each
@needs("qpdf", "qpdf")
def test_qpdf_finds_no_error(name: str) -> None:
    code, said = say("qpdf", "--check", str(path(name)))
    assert code == 0
    assert "No syntax or stream encoding errors found" in said
    assert "PDF Version: 1.7" in said
    assert "WARNING" not in said


@each
@needs("pdffonts", "poppler-utils")
def test_every_font_is_embedded_and_ours(name: str) -> None:
    lines = say("pdffonts", str(path(name)))[1].splitlines()[2:]
    assert len(lines) >= 2
    for line in lines:
        assert re.search(r"\s(yes)\s+(yes)\s+(yes)\s", line), line
        assert re.search(r"\+(Forget-Audit|DejaVu)", line), line


@needs("pdfdetach", "poppler-utils")
def test_evidence_and_attestation_are_attached(tmp_path: Path) -> None:
    say("pdfdetach", "-saveall", "-o", str(tmp_path), str(path("report.pdf")))
    for name in ("evidence.json", "audit.dsse.json"):
        assert (tmp_path / name).read_bytes() == path(name).read_bytes()


def test_nothing_is_attached_to_the_receipt_of_the_person() -> None:
    with pytest.raises(VerificationError, match="no attachments"):
        pdf_signature.attachments(path("receipt.pdf").read_bytes())
    assert b"/EmbeddedFile" not in path("receipt.pdf").read_bytes()


@each
def test_it_declares_an_archival_form_with_fixed_dates(name: str) -> None:
    pypdf = pytest.importorskip("pypdf", reason="pypdf is missing")
    reader = pypdf.PdfReader(io.BytesIO(path(name).read_bytes()))
    about = reader.xmp_metadata.stream.get_data().decode()
    assert 'pdfaid:part="3"' in about or "<pdfaid:part>3<" in about
    assert 'pdfaid:conformance="U"' in about or "<pdfaid:conformance>U<" in about
    root = reader.trailer["/Root"]
    assert root["/MarkInfo"]["/Marked"]
    assert set(root.get("/Extensions", {})) <= {"/ESIC"}
    assert reader.metadata["/CreationDate"].startswith("D:20261121100000")
    for item in root.get("/Names", {}).get("/EmbeddedFiles", {"/Names": []})["/Names"][1::2]:
        entry = item.get_object()
        assert entry["/AFRelationship"] == "/Data"
        dates = entry["/EF"]["/F"].get_object()["/Params"]
        assert dates["/CreationDate"].startswith("D:20261121100000")


@each
def test_fields_lie_on_the_page(name: str) -> None:
    pypdf = pytest.importorskip("pypdf", reason="pypdf is missing")
    found = {}
    for number, page in enumerate(pypdf.PdfReader(io.BytesIO(path(name).read_bytes())).pages):
        for item in page.get("/Annots", []):
            widget = item.get_object()
            if widget.get("/Subtype") == "/Widget":
                left, bottom, right, top = widget["/Rect"]
                assert 0 < left < right < 596
                assert 0 < bottom < top < 842
                found[widget["/T"]] = number
    assert found.pop("ToolSignature") == 0
    assert list(found) == (["ReviewerSignature"] if name == "report.pdf" else [])


@needs("pdftotext", "poppler-utils")
def test_page_one_says_all_and_the_receipt_is_one_page() -> None:
    pages = say("pdftotext", "-layout", str(path("report.pdf")), "-")[1].split("\f")[:-1]
    assert all(len(page.strip()) > 300 for page in pages)
    for words in ("PASS", "What was asked", "What was found", "What this does not say",
                  "How to check it", "sha256sum"):  # fmt: skip
        assert words in pages[0]
    assert say("pdftotext", str(path("receipt.pdf")), "-")[1].count("\f") == 1


def test_equal_input_gives_equal_bytes_alone_or_together(monkeypatch: pytest.MonkeyPatch) -> None:
    document = evidence("INCONCLUSIVE")
    view = html.build(document, html.signer_of(key()))
    monkeypatch.setattr(html, "page", lambda *_, **__: SEALED)
    alone, places = pdf.render(view, document, b"{}")
    both = pdf.render_papers(view, document, b"{}", SEALED)
    assert (both.report, both.places) == (alone, places)
    assert both.place == places.tool
    assert places.reviewer is None
    assert set(pdf_signature.attachments(alone)) == {"evidence.json", "audit.dsse.json"}


def test_equal_evidence_gives_equal_bytes_before_signing() -> None:
    document = json.loads(path("evidence.json").read_bytes())
    view = html.build(document, html.signer_of(key()))
    unsigned, _ = pdf.render(view, document, path("audit.dsse.json").read_bytes())
    assert path("report.pdf").read_bytes().startswith(unsigned)


def test_a_page_without_a_place_for_the_signature_is_refused() -> None:
    with pytest.raises(VerificationError, match="no place for the signature"):
        pdf.render_receipt(b"<p>nothing", SHORT)


OUTSIDE = (
    "<link rel=attachment href='file:///etc/passwd'>",
    "<img src='file:///etc/passwd'>",
    "<img src='http://127.0.0.1:9/x.png'>",
    "<img src='bundled:../pdf.py'>",
    "<img src='bundled:LICENSE_DEJAVU'>",
    "<style>@import 'data:text/css,p{color:red}';</style>",
    "<style>@font-face { font-family: x; src: url('file:///etc/passwd') }</style>",
    "<style>p { background: url('ftp://127.0.0.1:9/x') }</style>",
    "<img src='data:image/png;base64,AAAA'>",
)


@pytest.mark.parametrize("page", OUTSIDE)
def test_whatever_is_outside_is_not_fetched(page: str) -> None:
    item = {**pdf.SAMPLE, "page": page + SEALED.decode()}
    said = pdf_process.answer({"documents": [item]})
    assert (said["state"], said["reason"][:16]) == ("refused", "refused to fetch")


def test_a_page_that_asks_for_anything_outside_is_refused() -> None:
    with pytest.raises(VerificationError, match="asks for something outside: refused to fetch"):
        pdf.render_receipt(OUTSIDE[0].encode() + SEALED, SHORT)


def test_words_of_a_page_are_read_through_its_fonts() -> None:
    text = "Unlearning audit report"
    data = (folder() / "report.pdf").read_bytes()
    shown = [piece for piece in pieces(data, lambda _: 10**9) if piece.kind == "words"]
    assert any(text.encode() in piece.data for piece in shown)
    found = linter.scan({"report.pdf": data}, {"Unlearningaudit report": WHAT}, ALLOWED)
    assert [leak.what for leak in found] == [WHAT]


def test_every_word_that_another_reader_finds_on_a_page_is_read() -> None:
    pypdf = pytest.importorskip("pypdf", reason="pypdf is missing")
    data = (folder() / "report.pdf").read_bytes()
    shown = b"".join(p.data for p in pieces(data, lambda _: 10**9) if p.kind == "words")
    joined = "".join(shown.decode().split())
    pages = pypdf.PdfReader(io.BytesIO(data)).pages
    words = [word for page in pages[:3] for word in page.extract_text().split()]
    assert len(words) > 500
    assert [word for word in words if word not in joined] == []


def test_real_reports_raise_no_alarm() -> None:
    files = {path.name: path.read_bytes() for path in folder().iterdir()}
    ids = {f"randhie-{number}": WHAT for number in range(0, 20000, 3)}
    assert linter.scan(files, ids, ALLOWED) == []


@pytest.mark.parametrize("seed", range(3))
def test_damaged_files_end_in_a_find_or_in_none_but_never_in_an_exception(seed: int) -> None:
    rng = np.random.default_rng(seed)
    for name in ("report.pdf", "scores.npz", "report.html", "audit.dsse.json"):
        data = bytearray((folder() / name).read_bytes())
        for place in rng.integers(0, len(data), 20):
            data[place] ^= int(rng.integers(1, 256))
        linter.scan({name: bytes(data)}, {"a secret": WHAT})
        linter.scan({name: bytes(data[: len(data) // 2])}, {"a secret": WHAT})
