"""The PDF: what independent programs say of it, and what our own check refuses."""

import io
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from forget_audit.errors import MissingDependency
from forget_audit.reports import html, pdf, pdf_signature
from forget_audit.reports.attestation import audit_statement, seal
from forget_audit.signing import SigningKey
from tests.fixtures.evidence import evidence, without_figures
from tests.fixtures.released import folder, key
from tests.reports.test_page import injected

REPORT = "report.pdf"


def needs(program: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(not shutil.which(program), reason=f"{program} is not installed")


def say(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    return done.stdout + done.stderr


def report() -> bytes:
    return (folder() / REPORT).read_bytes()


@needs("pdfsig")
def test_poppler_calls_the_signature_valid_and_total() -> None:
    said = say("pdfsig", str(folder() / REPORT))
    assert "Signature is Valid" in said
    assert "Total document signed" in said
    assert "Not total" not in said
    assert "ETSI.CAdES.detached" in said
    assert "Example Auditor" in said


@needs("qpdf")
def test_qpdf_finds_no_error() -> None:
    said = say("qpdf", "--check", str(folder() / REPORT))
    assert "No syntax or stream encoding errors found" in said
    assert "PDF Version: 1.7" in said
    assert "WARNING" not in said


@needs("openssl")
def test_openssl_accepts_the_signature_blob(tmp_path: Path) -> None:
    data = report()
    numbers = re.search(rb"/ByteRange\s*\[([\d ]+)\]", data)
    assert numbers
    start, first, second, rest = map(int, numbers.group(1).split())
    blob = bytes.fromhex(data[start + first + 1 : second - 1].decode())
    (tmp_path / "blob").write_bytes(blob)
    (tmp_path / "root.pem").write_text(key().certificates_pem)
    signed = data[start : start + first] + data[second : second + rest]
    for content, wanted in ((signed, "successful"), (b"x" + signed[1:], "failure")):
        (tmp_path / "content").write_bytes(content)
        said = say(
            "openssl", "cms", "-verify", "-binary", "-inform", "DER", "-in", str(tmp_path / "blob"),
            "-content", str(tmp_path / "content"), "-CAfile", str(tmp_path / "root.pem"),
            "-out", os.devnull,
        )  # fmt: skip
        assert wanted in said


@needs("pdffonts")
def test_every_font_is_embedded_and_ours() -> None:
    lines = say("pdffonts", str(folder() / REPORT)).splitlines()[2:]
    assert len(lines) >= 3
    for line in lines:
        assert re.search(r"\s(yes)\s+(yes)\s+(yes)\s", line), line
        assert re.search(r"\+(Forget-Audit|DejaVu)", line), line


@needs("pdfdetach")
def test_evidence_and_attestation_are_attached(tmp_path: Path) -> None:
    say("pdfdetach", "-saveall", "-o", str(tmp_path), str(folder() / REPORT))
    for name in ("evidence.json", "audit.dsse.json"):
        assert (tmp_path / name).read_bytes() == (folder() / name).read_bytes()


def test_it_declares_an_archival_form_with_fixed_dates() -> None:
    pypdf = pytest.importorskip("pypdf", reason="pypdf is missing")
    reader = pypdf.PdfReader(io.BytesIO(report()))
    about = reader.xmp_metadata.stream.get_data().decode()
    assert 'pdfaid:part="3"' in about or "<pdfaid:part>3<" in about
    assert 'pdfaid:conformance="U"' in about or "<pdfaid:conformance>U<" in about
    assert reader.trailer["/Root"]["/MarkInfo"]["/Marked"]
    assert "Catalog" in reader.trailer["/Root"]["/Type"]
    assert set(reader.trailer["/Root"].get("/Extensions", {})) <= {"/ESIC"}
    files = reader.trailer["/Root"]["/Names"]["/EmbeddedFiles"]["/Names"]
    for item in files[1::2]:
        entry = item.get_object()
        assert entry["/AFRelationship"] == "/Data"
        dates = entry["/EF"]["/F"].get_object()["/Params"]
        assert dates["/CreationDate"].startswith("D:20261121100000")
    field = reader.trailer["/Root"]["/AcroForm"]["/Fields"][0].get_object()
    assert field["/T"] == "ToolSignature"
    assert field["/F"] == 132
    reference = field["/V"]["/Reference"][0]
    assert reference["/TransformParams"]["/P"] == 2


@needs("pdftotext")
@pytest.mark.parametrize("outcome", ["PASS", "FAIL"])
def test_no_page_is_blank_and_page_one_says_all(outcome: str) -> None:
    pages = say("pdftotext", "-layout", str(folder(outcome) / REPORT), "-").split("\f")[:-1]
    assert len(pages) <= 9
    assert all(len(page.strip()) > 300 for page in pages)
    for words in (outcome, "What was asked", "What was found", "What this does not say",
                  "How to check it", "sha256sum"):  # fmt: skip
        assert words in pages[0]


@pytest.fixture(scope="module")
def unsigned() -> bytes:
    document = evidence()
    view = html.build(document, html.signer_of(key()))
    return pdf.render(view, document, seal(audit_statement(document), key()))[0]


def test_equal_evidence_gives_equal_bytes_before_signing(unsigned: bytes) -> None:
    assert report().startswith(unsigned)


def test_an_unsigned_file_is_refused(unsigned: bytes) -> None:
    found = pdf_signature.verify_pdf(unsigned, [key().chain[-1]])
    assert (found.valid, found.reason) == (False, "the PDF carries no signature")


def test_trust_needs_the_root() -> None:
    assert pdf_signature.verify_pdf(report(), [key().chain[-1]]).trusted
    for roots in ([], [SigningKey.create("Other").chain[-1]]):
        found = pdf_signature.verify_pdf(report(), roots)
        assert found.valid
        assert not found.trusted
        assert found.keyid == key().keyid


def test_appended_junk_is_refused() -> None:
    for junk in (b"x", b"\n", b"\n%%EOF\n", b"\x00" * 100):
        found = pdf_signature.verify_pdf(report() + junk, [key().chain[-1]])
        assert not found.valid


def test_an_incremental_update_is_refused() -> None:
    from pyhanko.pdf_utils import generic
    from pyhanko.pdf_utils.incremental_writer import IncrementalPdfFileWriter

    writer = IncrementalPdfFileWriter(io.BytesIO(report()))
    writer.root["/Lang"] = generic.pdf_string("xx")
    writer.update_root()  # type: ignore[no-untyped-call]
    buffer = io.BytesIO()
    writer.write(buffer)  # type: ignore[no-untyped-call]
    found = pdf_signature.verify_pdf(buffer.getvalue(), [key().chain[-1]])
    assert not found.valid
    assert "whole file" in found.reason or "modified" in found.reason


@needs("qpdf")
def test_a_rewritten_file_is_refused(tmp_path: Path) -> None:
    say("qpdf", str(folder() / REPORT), str(tmp_path / "new.pdf"))
    found = pdf_signature.verify_pdf((tmp_path / "new.pdf").read_bytes(), [key().chain[-1]])
    assert not found.valid


@pytest.mark.parametrize(
    "data",
    [b"", b"%PDF-1.7", b"%PDF-1.7\n" + b"\x00\xff" * 500, b"x" * 5000, b"%PDF-" + b"<<" * 9999],
)
def test_garbage_is_refused_with_a_reason(data: bytes) -> None:
    found = pdf_signature.verify_pdf(data, [])
    assert not found.valid
    assert found.reason


def test_truncated_files_are_refused() -> None:
    data = report()
    for share in range(1, 10):
        assert not pdf_signature.verify_pdf(data[: len(data) * share // 10], []).valid


def test_hostile_text_neither_fetches_nor_attaches() -> None:
    document = without_figures(injected(0))
    view = html.build(document, html.signer_of(key()))
    data, place = pdf.render(view, document, b"{}")
    signed = pdf_signature.sign(data, key(), place, "test")
    assert set(pdf_signature.attachments(signed)) == {"evidence.json", "audit.dsse.json"}
    assert b"root:x:0" not in signed


def test_a_missing_library_is_named_with_the_line_that_installs_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Broken:
        def find_spec(self, name: str, *_: object) -> None:
            if name == "weasyprint":
                sys.stdout.write("a block of help")
                raise OSError("cannot load library 'libpango-1.0-0'")

    monkeypatch.delitem(sys.modules, "weasyprint", raising=False)
    monkeypatch.setattr(sys, "meta_path", [Broken(), *sys.meta_path])
    line = (
        "apt-get install --no-install-recommends libpango-1.0-0 libpangoft2-1.0-0 "
        "libharfbuzz-subset0"
    )
    with pytest.raises(MissingDependency, match=re.escape(line)):
        pdf.render(html.build(evidence(), html.signer_of(key())), evidence(), b"{}")
    assert line in (pdf.available() or "")
    assert capsys.readouterr().out == ""
