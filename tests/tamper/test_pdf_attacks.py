"""What can be done to a signed PDF, and the reason for which each of it is refused.

These files are checked alone. A release says by digest which file it holds, so that a folder
with any of them is refused for that reason as well; see test_bits.py and test_folders.py.
"""

import io
import random
import re
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from asn1crypto import cms, core, keys
from asn1crypto import x509 as asn1
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric.utils import (
    decode_dss_signature,
    encode_dss_signature,
)
from pyhanko.pdf_utils import generic
from pyhanko.pdf_utils.incremental_writer import IncrementalPdfFileWriter
from pyhanko.sign import fields, signers
from pyhanko.stamp import NoOpStampStyle
from pyhanko_certvalidator.registry import SimpleCertificateStore

from forget_audit.keys.signing import SigningKey
from forget_audit.reports.pdf_signature import PdfCheck, countersign, sign, verify_pdf
from forget_audit.reports.pyhanko_calls import signer
from tests.fixtures.pdfs import PLACES, issuer, reviewed, reviewer, signed, unsigned
from tests.fixtures.programs import needs, say

IN_RANGES, IN_BLOB, IN_PADDING = 300, 200, 100
ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
Writer = Any


def checked(data: bytes) -> PdfCheck:
    return verify_pdf(data, [issuer().chain[-1]], reviewers=[reviewer().chain[-1]])


def gap(data: bytes) -> tuple[int, int]:
    """Where the last signature's blob begins and ends, brackets included."""
    found = re.findall(rb"/ByteRange\s*\[0 (\d+) (\d+) (\d+)\s*\]", data)
    return int(found[-1][0]), int(found[-1][1])


def blob_of(data: bytes) -> Any:
    start, end = gap(data)
    return cms.ContentInfo.load(bytes.fromhex(data[start + 1 : end - 1].decode()))


def with_blob(data: bytes, blob: bytes) -> bytes:
    start, end = gap(data)
    room = end - start - 2
    return data[: start + 1] + blob.hex().encode().ljust(room, b"0") + data[end - 1 :]


def updated(data: bytes, change: Callable[[Writer], None]) -> bytes:
    writer = IncrementalPdfFileWriter(io.BytesIO(data))
    change(writer)
    buffer = io.BytesIO()
    writer.write(buffer)  # type: ignore[no-untyped-call]
    return buffer.getvalue()


def another_language(writer: Writer) -> None:
    writer.root["/Lang"] = generic.pdf_string("xx")
    writer.update_root()


def another_attachment(writer: Writer) -> None:
    names = writer.root["/Names"]["/EmbeddedFiles"]["/Names"]
    stream = names[1]["/EF"].raw_get("/F")
    forged = generic.StreamObject(dict(stream.get_object()), stream_data=b'{"verdict":"FAIL"}')
    names[1]["/EF"]["/F"] = writer.add_object(forged)
    writer.update_container(names[1]["/EF"])


def no_signature(writer: Writer) -> None:
    field = writer.root["/AcroForm"]["/Fields"][0]
    del field["/V"]
    writer.update_container(field)


def new_page_content(writer: Writer) -> None:
    page, _ = writer.find_page_for_modification(0)
    text = generic.StreamObject(stream_data=b"BT 1 0 0 1 50 500 Tm (FAIL) Tj ET")
    page.get_object()["/Contents"] = writer.add_object(text)
    writer.update_container(page.get_object())


def simple(key: SigningKey) -> Any:
    """Signs as any other program does: with certificates that the signature does not name."""
    der = serialization.Encoding.DER
    assert key.private is not None
    private = key.private.private_bytes(
        der, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    leaf, root = (asn1.Certificate.load(item.public_bytes(der)) for item in key.chain)
    store = SimpleCertificateStore()  # type: ignore[no-untyped-call]
    store.register(root)
    loaded = keys.PrivateKeyInfo.load(private)
    return signers.SimpleSigner(signing_cert=leaf, signing_key=loaded, cert_registry=store)


def ours(key: SigningKey) -> Any:
    """Signs in our form, as a hostile copy of our own program can."""
    return signer(key)


def also_signed(
    data: bytes, maker: Any, field: str, change: Callable[[Writer], None] | None = None
) -> bytes:
    """Signed by a program that does not ask whether it should."""
    writer = IncrementalPdfFileWriter(io.BytesIO(data))
    if change is not None:
        change(writer)
    about = signers.PdfSignatureMetadata(
        field_name=field, subfilter=fields.SigSeedSubFilter.PADES, md_algorithm="sha256"
    )
    done = signers.PdfSigner(about, maker, stamp_style=NoOpStampStyle()).sign_pdf(writer)
    return bytes(done.getvalue())


def rewritten(data: bytes) -> bytes:
    """As pypdf writes it anew."""
    pypdf = pytest.importorskip("pypdf", reason="pypdf is missing")
    buffer = io.BytesIO()
    pypdf.PdfWriter(clone_from=io.BytesIO(data)).write(buffer)
    return buffer.getvalue()


def noted(data: bytes) -> bytes:
    """With metadata that pypdf appended."""
    pypdf = pytest.importorskip("pypdf", reason="pypdf is missing")
    writer = pypdf.PdfWriter(io.BytesIO(data), incremental=True)
    writer.add_metadata({"/Title": "FAIL"})
    buffer = io.BytesIO()
    writer.write(buffer)
    return buffer.getvalue()


def swapped_in_place(data: bytes) -> bytes:
    """With one byte of the first attachment's stream changed."""
    start = data.index(b"stream", data.index(b"/EmbeddedFile")) + 12
    return data[:start] + bytes([data[start] ^ 1]) + data[start + 1 :]


def resigned_blob(data: bytes, key: SigningKey) -> bytes:
    """The same bytes, signed by another key in the place of the first one."""
    other = sign(unsigned(), key, PLACES, "Issues")
    forged = blob_of(other)
    start, end = gap(data)
    digest = hashes.Hash(hashes.SHA256())
    digest.update(data[:start] + data[end:])
    info = forged["content"]["signer_infos"][0]
    attributes = cms.CMSAttributes.load(info["signed_attrs"].untag().dump())
    made = [
        cms.CMSAttribute({"type": "message_digest", "values": [digest.finalize()]})
        if item["type"].native == "message_digest" else item
        for item in attributes
    ]  # fmt: skip
    attributes = cms.CMSAttributes(made)
    info["signed_attrs"] = attributes
    info["signature"] = key.sign(attributes.dump())
    return with_blob(data, forged.dump(force=True))


def other_half(data: bytes) -> bytes:
    """The second valid value of the same ECDSA signature."""
    blob = blob_of(data)
    info = blob["content"]["signer_infos"][0]
    r, s = decode_dss_signature(info["signature"].native)
    info["signature"] = encode_dss_signature(r, ORDER - s)
    return with_blob(data, blob.dump(force=True))


def one_more_certificate(data: bytes) -> bytes:
    blob = blob_of(data)
    more = asn1.Certificate.load(reviewer().chain[0].public_bytes(serialization.Encoding.DER))
    blob["content"]["certificates"].append(cms.CertificateChoices("certificate", more))
    return with_blob(data, blob.dump(force=True))


def another_version(data: bytes) -> bytes:
    """A blob that differs where no reader looks."""
    blob = blob_of(data)
    blob["content"]["version"] = "v3"
    return with_blob(data, blob.dump(force=True))


def unsigned_attribute(data: bytes) -> bytes:
    blob = blob_of(data)
    value = cms.Time("utc_time", core.UTCTime("261121000000Z"))
    note = cms.CMSAttribute({"type": "signing_time", "values": [value]})
    blob["content"]["signer_infos"][0]["unsigned_attrs"] = cms.CMSAttributes([note])
    return with_blob(data, blob.dump(force=True))


def padded(data: bytes) -> bytes:
    end = gap(data)[1]
    return data[: end - 3] + b"1" + data[end - 2 :]


def lower_case(data: bytes) -> bytes:
    start, end = gap(data)
    blob = data[start:end]
    changed = blob.lower() if blob != blob.lower() else blob.upper()
    return data[: start + 200] + changed[200:] + data[end:]


APPENDED, UPDATED = r"bytes were appended to the file after", "an update was appended to the file"
REFUSED: dict[str, tuple[Callable[[], bytes], str]] = {
    "one byte of junk": (lambda: signed() + b"x", APPENDED),
    "a line of junk": (lambda: signed() + b"\n", APPENDED),
    "a second end": (lambda: signed() + b"\n%%EOF\n", APPENDED),
    "zeros": (lambda: reviewed() + b"\x00" * 5000, APPENDED),
    "an update": (lambda: updated(signed(), another_language), UPDATED),
    "an update by pypdf": (lambda: noted(signed()), UPDATED),
    "an update after the review": (lambda: updated(reviewed(), another_language), UPDATED),
    "new text": (lambda: updated(signed(), new_page_content), UPDATED),
    "a swapped attachment": (lambda: updated(signed(), another_attachment), UPDATED),
    "a swapped attachment in place": (lambda: swapped_in_place(signed()), "changed after signing"),
    "the same after the review": (lambda: swapped_in_place(reviewed()), "changed after signing"),
    "an update below the review": (
        lambda: also_signed(updated(signed(), another_language), ours(reviewer()),
                            "ReviewerSignature"), "updated between or after its signatures"),
    "a change in the review": (
        lambda: also_signed(signed(), ours(reviewer()), "ReviewerSignature", new_page_content),
        "more than the reviewer's signature"),
    "written anew by pypdf": (lambda: rewritten(signed()), "written anew"),
    "cut off": (lambda: signed()[:-1], "was cut off after signing: 1 bytes are missing"),
    "half": (lambda: signed()[: len(signed()) // 2], "cannot be read|cut off|no signature"),
    "signature cut off": (lambda: signed()[: len(unsigned())], "the PDF carries no signature"),
    "signature taken out": (lambda: updated(signed(), no_signature), "carries no signature"),
    "first signature taken out": (
        lambda: updated(reviewed(), no_signature), "signature of the tool is missing"),
    "a second tool signature": (
        lambda: also_signed(signed(), ours(issuer()), "Signature2"), "a field of another name"),
    "a third signature": (
        lambda: also_signed(reviewed(), ours(issuer()), "Signature3"), "at most two .* found 3"),
    "the tool as reviewer": (
        lambda: also_signed(signed(), ours(issuer()), "ReviewerSignature"), "by the same key"),
    "a reviewer alone": (
        lambda: also_signed(unsigned(), ours(reviewer()), "ReviewerSignature"),
        "signature of the tool is missing"),
    "a reviewer with another program": (
        lambda: also_signed(signed(), simple(reviewer()), "ReviewerSignature"),
        "certificates in the signature are not those that it names"),
    "a blob of another file": (
        lambda: with_blob(signed(), blob_of(sign(unsigned(), issuer(), PLACES, "y")).dump()),
        "changed after signing"),
    "the other half": (lambda: other_half(signed()), "altered: its value is wrong"),
    "one more certificate": (lambda: one_more_certificate(signed()), "not those that it names"),
    "another version": (lambda: another_version(signed()), "not in the form we write"),
    "an unsigned attribute": (lambda: unsigned_attribute(signed()), "more than a timestamp"),
    "something in the padding": (lambda: padded(signed()), "something behind the signature"),
    "other letters": (lambda: lower_case(signed()), "not where it says"),
}  # fmt: skip


@pytest.mark.parametrize("attack", REFUSED)
def test_it_is_refused_for_its_own_reason(attack: str) -> None:
    made, reason = REFUSED[attack]
    data = made()
    assert data not in (signed(), reviewed())
    found = checked(data)
    assert not found.valid
    assert not found.trusted
    assert re.search(reason, found.reason), found.reason
    assert found.reason.isprintable()
    assert (found.time, found.keyid, found.reviewer_keyid) == (None, None, None)


@needs("qpdf", "qpdf")
@pytest.mark.parametrize("options", [(), ("--object-streams=disable",), ("--linearize",)])
@pytest.mark.parametrize("made", [signed, reviewed])
def test_a_file_that_qpdf_wrote_anew_is_refused(
    made: Callable[[], bytes], options: tuple[str, ...], tmp_path: Path
) -> None:
    (tmp_path / "a.pdf").write_bytes(made())
    say("qpdf", *options, "a.pdf", "b.pdf", folder=tmp_path)
    found = checked((tmp_path / "b.pdf").read_bytes())
    assert not found.valid
    assert re.search("written anew|cut off|appended", found.reason), found.reason


def other() -> SigningKey:
    return SigningKey.create("Example Auditor", "Example Ltd")


def test_a_signature_by_another_key_is_nobodys() -> None:
    key = other()
    for data in (sign(unsigned(), key, PLACES, "Issues"), resigned_blob(signed(), key)):
        found = checked(data)
        assert (found.valid, found.trusted, found.keyid) == (True, False, key.keyid)
        assert found.reason == "the certificate of the issuer leads to none of the given roots"


def test_a_reviewer_whom_nobody_knows_is_named_as_such() -> None:
    key = other()
    found = checked(countersign(signed(), key, "Approves"))
    assert (found.valid, found.trusted, found.reviewer_trusted) == (True, True, False)
    assert found.reviewer_keyid == key.keyid
    assert found.reason == "the certificate of the reviewer leads to none of the given roots"


def test_a_review_that_was_cut_off_leaves_what_was_there_before() -> None:
    """Only the new release statement tells that there was one."""
    found = checked(reviewed()[: len(signed())])
    assert found.valid
    assert found.reviewer_keyid is None


def flipped(data: bytes, seed: str) -> Iterator[bytes]:
    """One changed bit each, outside the last blob."""
    source = random.Random(seed)
    start, end = gap(data)
    for _ in range(IN_RANGES // 2):
        place = source.randrange(len(data) - (end - start))
        changed = bytearray(data)
        changed[place if place < start else place + end - start] ^= 1 << source.randrange(8)
        yield bytes(changed)


def altered(data: bytes, seed: str, *, padding: bool) -> Iterator[bytes]:
    """One changed digit each, in the last blob or in the zeros behind it."""
    source = random.Random(seed)
    start, end = gap(data)
    size = 2 * len(blob_of(data).dump())
    low, high = (start + 1 + size, end - 1) if padding else (start + 1, start + 1 + size)
    for _ in range((IN_PADDING if padding else IN_BLOB) // 2):
        changed = bytearray(data)
        place = source.randrange(low, high)
        changed[place] = source.choice([x for x in b"0123456789ABCDEF" if x != changed[place]])
        yield bytes(changed)


@pytest.mark.parametrize("made", [signed, reviewed])
def test_no_random_change_is_accepted(
    made: Callable[[], bytes], record_property: Callable[[str, object], None]
) -> None:
    data = made()
    assert checked(data).valid
    kinds = {
        "bits in the signed ranges": flipped(data, "ranges"),
        "digits in the blob": altered(data, "blob", padding=False),
        "digits in the padding": altered(data, "padding", padding=True),
    }
    for kind, changes in kinds.items():
        accepted = Counter(checked(changed).valid for changed in changes)
        record_property(kind, f"{accepted[True]} of {accepted.total()} accepted")
        assert accepted[True] == 0, kind
