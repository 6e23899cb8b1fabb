"""The PDF signatures: what programs of others say of them, and what signing refuses."""

import asyncio
import io
import os
import re
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from pyhanko.pdf_utils.generic import Reference
from pyhanko.pdf_utils.reader import PdfFileReader
from pyhanko.pdf_utils.xref import ObjStreamRef

from forget_audit.errors import VerificationError
from forget_audit.keys.signing import SigningKey
from forget_audit.reports import pdf_signature
from forget_audit.reports.pdf_signature import PdfCheck, countersign, sign, verify_pdf
from forget_audit.reports.pyhanko_calls import preload
from forget_audit.reports.view import Places
from tests.fixtures.pdfs import (
    ATTACHED,
    PLACES,
    issuer,
    report,
    reviewed,
    reviewer,
    signed,
    unsigned,
)
from tests.fixtures.programs import needs, say

Made = Callable[[], bytes]
ONCE: dict[str, Made] = {"P-256": signed, "RSA": lambda: signed(by_rsa=True)}
TWICE: dict[str, Made] = {
    "P-256, reviewed with RSA": reviewed,
    "RSA, reviewed with P-256": lambda: reviewed(by_rsa=True),
    "a real report": lambda: reviewed(real=True),
}
BOTH = [*ONCE.items(), *TWICE.items()]
each = pytest.mark.parametrize("made", [item for _, item in BOTH], ids=[name for name, _ in BOTH])


def checked(data: bytes) -> PdfCheck:
    everybody = [issuer().chain[-1], reviewer().chain[-1]]
    return verify_pdf(data, everybody, reviewers=everybody)


def ranges(data: bytes) -> list[tuple[int, int, int]]:
    """Where each signature's blob begins and ends, and where the bytes it covers end."""
    found = re.findall(rb"/ByteRange\s*\[0 (\d+) (\d+) (\d+)\s*\]", data)
    return [(int(a), int(b), int(b) + int(c)) for a, b, c in found]


@pytest.mark.parametrize("made", [*ONCE.values(), *list(TWICE.values())[:2]])
def test_it_is_valid_and_trusted(made: Made) -> None:
    found = checked(made())
    assert (found.valid, found.trusted, found.reason) == (True, True, "")
    assert found.reviewer_trusted == (found.reviewer_keyid is not None) == (made in TWICE.values())
    keyids = {found.keyid, found.reviewer_keyid} - {None}
    assert keyids <= {issuer().keyid, reviewer().keyid}
    assert len(keyids) == len(ranges(made()))
    assert found.time is found.reviewer_time is None


@needs("pdfsig", "poppler-utils")
@each
def test_poppler_calls_each_signature_valid_and_the_last_total(made: Made, tmp_path: Path) -> None:
    (tmp_path / "a.pdf").write_bytes(made())
    _, said = say("pdfsig", "-nocert", str(tmp_path / "a.pdf"))
    count = len(ranges(made()))
    assert said.count("Signature is Valid") == count
    assert len(re.findall("^ *- Total document signed", said, re.MULTILINE)) == 1
    assert said.count("Not total document signed") == count - 1
    assert said.count("ETSI.CAdES.detached") == count
    assert ("signature form field is not signed" in said) == (count == 1)


@needs("openssl", "openssl")
@each
def test_openssl_accepts_each_blob_and_no_changed_byte(made: Made, tmp_path: Path) -> None:
    data = made()
    roots = tmp_path / "roots.pem"
    roots.write_text(issuer().certificates_pem + reviewer().certificates_pem)
    for start, after, end in ranges(data):
        (tmp_path / "blob").write_bytes(bytes.fromhex(data[start + 1 : after - 1].decode()))
        covered = data[:start] + data[after:end]
        for content, wanted in ((covered, 0), (covered[:-9] + b"x" + covered[-8:], 4)):
            (tmp_path / "content").write_bytes(content)
            code, said = say(
                "openssl", "cms", "-verify", "-cades", "-binary", "-inform", "DER", "-in",
                str(tmp_path / "blob"), "-content", str(tmp_path / "content"), "-CAfile",
                str(roots), "-out", os.devnull,
            )  # fmt: skip
            assert code == wanted, said
            assert ("Verification successful" in said) == (wanted == 0)


@pytest.mark.parametrize("made", [signed, reviewed])
def test_pyhanko_judges_it_as_we_do(made: Made, tmp_path: Path) -> None:
    pytest.importorskip("pyhanko.cli", reason="pyhanko-cli is missing")
    (tmp_path / "a.pdf").write_bytes(made())
    for key in (issuer(), reviewer()):
        (tmp_path / f"{key.algorithm}.pem").write_text(key.certificates_pem)
    code, said = say(
        sys.executable, "-m", "pyhanko", "sign", "validate", "--trust", "ecdsa.pem", "--trust",
        "rsa.pem", "--trust-replace", "a.pdf", folder=tmp_path,
    )  # fmt: skip
    assert code == 0, said
    assert said.count("TRUSTED,UNTOUCHED") == 1
    assert said.count("EXTENDED_WITH_FORM_FILLING,ACCEPTABLE") == len(ranges(made())) - 1


@needs("qpdf", "qpdf")
@each
def test_qpdf_finds_no_error_and_the_version_stays(made: Made, tmp_path: Path) -> None:
    (tmp_path / "a.pdf").write_bytes(made())
    code, said = say("qpdf", "--check", str(tmp_path / "a.pdf"))
    assert code == 0, said
    assert "PDF Version: 1.7" in said
    assert "WARNING" not in said


@needs("pdffonts", "poppler-utils")
@each
def test_every_font_stays_embedded(made: Made, tmp_path: Path) -> None:
    (tmp_path / "a.pdf").write_bytes(made())
    lines = say("pdffonts", str(tmp_path / "a.pdf"))[1].splitlines()[2:]
    assert lines
    assert all(re.search(r"\syes\s+(yes|no)\s+(yes|no)\s", line) for line in lines), lines


@needs("pdfdetach", "poppler-utils")
@pytest.mark.parametrize("made", [signed, reviewed])
def test_attachments_come_back(made: Made, tmp_path: Path) -> None:
    (tmp_path / "a.pdf").write_bytes(made())
    say("pdfdetach", "-saveall", "-o", str(tmp_path), str(tmp_path / "a.pdf"))
    assert {name: (tmp_path / name).read_bytes() for name in ATTACHED} == ATTACHED
    assert pdf_signature.attachments(made()) == ATTACHED


@each
def test_fields_and_catalogue_keep_the_archival_form(made: Made) -> None:
    pypdf = pytest.importorskip("pypdf", reason="pypdf is missing")
    data = made()
    reader = pypdf.PdfReader(io.BytesIO(data))
    root = reader.trailer["/Root"]
    tool, other = (item.get_object() for item in root["/AcroForm"]["/Fields"])
    assert [tool["/T"], other["/T"]] == ["ToolSignature", "ReviewerSignature"]
    for name, item in (("tool", tool), ("reviewer", other)):
        assert item["/F"] == 132
        assert item["/TU"]
        assert set(item["/AP"]) == {"/N"}
        assert item["/AP"]["/N"].get_data().strip() == b""
        assert tuple(item["/Rect"]) == getattr(PLACES, name).box
    assert ("/V" in other) == (len(ranges(data)) == 2)
    assert set(root["/Perms"]) == {"/DocMDP"}
    reference = tool["/V"]["/Reference"][0]
    assert reference["/TransformParams"]["/P"] == 2
    assert not [name for name in reference if name.startswith("/Digest")]
    assert "/NeedAppearances" not in root["/AcroForm"]
    assert root["/AcroForm"]["/SigFlags"] == 3
    assert set(root["/Extensions"]) == {"/ESIC"}
    assert "/Version" not in root
    about = reader.xmp_metadata.stream.get_data().decode()
    assert re.search(r"pdfaid:part(=\"|>)3", about)
    assert re.search(r"pdfaid:conformance(=\"|>)U", about)
    assert data.startswith(b"%PDF-1.7")
    assert data.endswith(b"%%EOF\n")


@pytest.mark.parametrize("places", [PLACES.tool, Places(tool=PLACES.tool)])
def test_without_a_place_for_a_reviewer_there_is_no_field(places: Any) -> None:
    made = sign(unsigned(), issuer(), places, "Issues")
    assert checked(made).trusted
    assert b"ReviewerSignature" not in made
    with pytest.raises(VerificationError, match="no empty field for a reviewer"):
        countersign(made, reviewer(), "Approves")


def in_a_token(key: SigningKey, digests: list[bytes]) -> SigningKey:
    """The key as a token has it: only what signs digests is left of the private half."""
    private = key.private
    assert private is not None

    def signs(digest: bytes) -> bytes:
        digests.append(digest)
        algorithm = Prehashed(hashes.SHA256())
        if isinstance(private, rsa.RSAPrivateKey):
            return private.sign(digest, padding.PKCS1v15(), algorithm)
        return private.sign(digest, ec.ECDSA(algorithm))

    return replace(key, private=None, token=signs, protection="token")


@pytest.mark.parametrize("keys", [(issuer, reviewer), (reviewer, issuer)], ids=["P-256", "RSA"])
def test_keys_in_tokens_sign_like_any_other(keys: tuple[Callable[[], SigningKey], ...]) -> None:
    digests: list[bytes] = []
    first, second = (in_a_token(key(), digests) for key in keys)
    made = sign(unsigned(), first, PLACES, "Issues")
    assert len(digests) == 1
    made = countersign(made, second, "Approves")
    assert len(digests) == 2
    assert checked(made).reviewer_keyid == second.keyid


def test_signing_adds_and_never_rewrites() -> None:
    assert signed().startswith(unsigned())
    assert reviewed().startswith(signed())
    assert signed(real=True).startswith(report())


def test_names_and_reasons_are_text_whatever_they_hold() -> None:
    key = SigningKey.create("Zoë (x) \\ <</A 1>> 作", "Ångström & Söhne")
    made = sign(unsigned(), key, PLACES, "Prüft 1) /JS <script> \\( ‮")
    assert verify_pdf(made, [key.chain[-1]]).trusted
    pypdf = pytest.importorskip("pypdf", reason="pypdf is missing")
    value = pypdf.PdfReader(io.BytesIO(made)).trailer["/Root"]["/AcroForm"]["/Fields"][0]["/V"]
    assert value["/Name"] == key.name
    assert value["/Reason"] == "Prüft 1) /JS <script> \\( ‮"


REFUSED: dict[str, tuple[Made, Callable[[], SigningKey], str]] = {
    "own report": (signed, issuer, "another key than whoever issued"),
    "reviewed": (reviewed, reviewer, "signed this PDF already"),
    "unsigned": (unsigned, reviewer, "carries no signature"),
    "changed": (lambda: signed()[:4000] + b"~" + signed()[4001:], reviewer, "cannot sign this PDF"),
    "longer": (lambda: signed() + b"\n", reviewer, "1 bytes were appended"),
    "no PDF": (lambda: b"x", reviewer, "cannot be read"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_reviewer_signs_only_what_is_valid_and_once(case: str) -> None:
    made, key, reason = REFUSED[case]
    with pytest.raises(VerificationError, match=reason) as caught:
        countersign(made(), key(), "Approves")
    assert "\n" not in str(caught.value)


def test_what_is_no_pdf_cannot_be_signed() -> None:
    for data in (b"", b"%PDF-1.7\n", b"\x00" * 999):
        with pytest.raises(VerificationError, match="cannot be signed"):
            sign(data, issuer(), PLACES, "Issues")
    with pytest.raises(VerificationError, match="cannot be signed"):
        sign(unsigned(), issuer(), replace(PLACES.tool, page=7), "Issues")
    with pytest.raises(VerificationError, match="cannot be signed"):
        sign(signed(), reviewer(), PLACES, "Issues")


def test_each_role_has_roots_of_its_own() -> None:
    mine, theirs = [issuer().chain[-1]], [reviewer().chain[-1]]
    cases = (
        (mine, theirs, True, True, ""),
        (mine, (), True, False, "certificate of the reviewer"),
        (mine, mine, True, False, "certificate of the reviewer"),
        ((), theirs, False, True, "certificate of the issuer"),
        (theirs, theirs, False, True, "certificate of the issuer"),
        ((), (), False, False, "certificate of the issuer leads to none of the given roots; the "),
        ([issuer().chain[0]], [reviewer().chain[0]], True, True, ""),
    )
    for roots, reviewers, trusted, reviewer_trusted, reason in cases:
        found = verify_pdf(reviewed(), roots, reviewers=reviewers)
        assert found.valid
        assert (found.trusted, found.reviewer_trusted) == (trusted, reviewer_trusted)
        assert (found.keyid, found.reviewer_keyid) == (issuer().keyid, reviewer().keyid)
        assert found.reason.removeprefix("the ").startswith(reason)
        assert bool(found.reason) == bool(reason)


def certificate(
    name: str, key: Any, issuer_name: str, signed_by: Any, **usage: bool
) -> x509.Certificate:
    """As an authority of others makes it: `usage` empty leaves out what the key is for."""
    start = datetime.now(UTC) - timedelta(hours=1)
    names = [x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, item)])
             for item in (name, issuer_name)]  # fmt: skip
    builder = (
        x509.CertificateBuilder().subject_name(names[0]).issuer_name(names[1])
        .public_key(key.public_key()).serial_number(x509.random_serial_number())
        .not_valid_before(start).not_valid_after(start + timedelta(days=30))
        .add_extension(x509.BasicConstraints(ca="key_cert_sign" in usage, path_length=None), True)
    )  # fmt: skip
    if usage:
        kinds = ("digital_signature", "content_commitment", "key_encipherment", "crl_sign",
                 "data_encipherment", "key_agreement", "key_cert_sign", "encipher_only",
                 "decipher_only")  # fmt: skip
        allowed = x509.KeyUsage(**{kind: usage.get(kind, False) for kind in kinds})
        builder = builder.add_extension(allowed, True)
    return builder.sign(signed_by, hashes.SHA256())


@pytest.mark.parametrize("usage", ["digital_signature", ""])
def test_certificates_of_other_authorities_serve_in_any_length(usage: str) -> None:
    own, middle, above = (ec.generate_private_key(ec.SECP256R1()) for _ in range(3))
    root = certificate("Root", above, "Root", above, key_cert_sign=True)
    between = certificate("Between", middle, "Root", above, key_cert_sign=True)
    leaf = certificate("Reviewer", own, "Between", middle, **({usage: True} if usage else {}))
    for chain in ((leaf, between, root), (leaf, between)):
        made = countersign(signed(), SigningKey(private=own, chain=chain), "Approves")
        for believed in ([chain[-1]], [between], [leaf]):
            assert verify_pdf(made, [], reviewers=believed).reviewer_trusted
    alone = certificate("Reviewer", own, "Reviewer", own, **({usage: True} if usage else {}))
    made = countersign(signed(), SigningKey(private=own, chain=(alone,)), "Approves")
    assert verify_pdf(made, [], reviewers=[alone]).reviewer_trusted
    assert not verify_pdf(made, [], reviewers=[root]).reviewer_trusted


def test_certificates_for_another_purpose_or_time_do_not_serve() -> None:
    own, above = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    root = certificate("Root", above, "Root", above, key_cert_sign=True)
    leaf = certificate("Web server", own, "Root", above, key_agreement=True)
    with pytest.raises(VerificationError, match="leads to none of the given roots"):
        sign(unsigned(), SigningKey(private=own, chain=(leaf, root)), PLACES, "Issues")


def test_objects_read_in_one_go_are_those_that_the_library_reads() -> None:
    plain: Any = PdfFileReader(io.BytesIO(reviewed()))
    quick: Any = PdfFileReader(io.BytesIO(reviewed()))
    preload(quick)
    (stream,) = plain.xrefs.object_streams_used_in(0)
    header = plain.get_object(stream)
    numbers = [int(number) for number in header.data[: header["/First"]].split()[::2]]
    current = [number for number in numbers
               if isinstance(plain.xrefs[Reference(number, 0, plain)], ObjStreamRef)]  # fmt: skip
    assert len(current) > len(numbers) / 2
    for number in numbers:
        found = quick.cache_get_indirect_object(0, number)
        assert (found is not None) == (number in current)
        if found is not None:
            assert repr(found) == repr(plain.get_object(Reference(number, 0, plain)))


def test_it_works_where_an_event_loop_runs() -> None:
    async def inside() -> PdfCheck:
        return checked(countersign(sign(unsigned(), issuer(), PLACES, "x"), reviewer(), "y"))

    assert asyncio.run(inside()).reviewer_trusted


def test_checking_says_nothing_on_its_own(
    caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    verify_pdf(reviewed(), [])
    verify_pdf(reviewed()[:-99], [])
    verify_pdf(b"%PDF-1.7 nothing", [])
    assert not caplog.records
    assert tuple(capfd.readouterr()) == ("", "")
