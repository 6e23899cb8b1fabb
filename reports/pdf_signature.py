"""The signature inside the PDF (PAdES B-B), and the strict check of one.

A PDF signature alone is malleable and lenient readers accept more than they should. So a file
counts as signed here only if the last signature covers it whole and nothing was changed since;
that it is the released file, byte for byte, is said by the release statement.
"""

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from forget_audit.digests import sha256
from forget_audit.errors import VerificationError
from forget_audit.reports.view import Place
from forget_audit.signing import SigningKey

FIELD = "ToolSignature"
ROOM = 12288


@dataclass(frozen=True, kw_only=True)
class PdfCheck:
    """What the check of a PDF found.

    Args:
        valid: Whether the signature is intact and covers the whole file.
        trusted: Whether its certificate leads to one of the given roots.
        reason: Why it is not valid; empty otherwise.
        keyid: Of the key that signed, if there is a signature.
    """

    valid: bool
    trusted: bool
    reason: str
    keyid: str | None


def sign(pdf: bytes, key: SigningKey, place: Place, reason: str) -> bytes:
    """Return `pdf` with a certifying signature that still allows filling in forms.

    The field lies over the seal that the page prints itself and draws nothing: readers can click
    it, and every font stays embedded.

    Args:
        pdf: Unsigned.
        key: Signs.
        place: Of the seal that the page prints.
        reason: Of signing, for readers.

    Raises:
        VerificationError: If the signature just made does not verify.
    """
    with _careful():
        from pyhanko.pdf_utils.content import RawContent
        from pyhanko.pdf_utils.incremental_writer import IncrementalPdfFileWriter
        from pyhanko.sign import fields, signers
        from pyhanko.stamp import StaticStampStyle

        class Plain(signers.PdfSigner):
            """Leaves out the extension for curves, which would take the file out of PDF 1.7."""

            def register_extensions(self, pdf_out: Any, *, md_algorithm: str) -> None:  # noqa: ARG002
                pdf_out.register_extension(signers.constants.ESIC_EXTENSION_1)

        left, bottom, right, top = place.box
        spec = fields.SigFieldSpec(FIELD, on_page=place.page, box=(left, bottom, right, top))
        metadata = signers.PdfSignatureMetadata(
            field_name=FIELD, subfilter=fields.SigSeedSubFilter.PADES, md_algorithm="sha256",
            certify=True, docmdp_permissions=fields.MDPPerm.FILL_FORMS, name=key.name,
            reason=reason,
        )  # fmt: skip
        empty = StaticStampStyle(border_width=0, background=RawContent(b"q Q"))
        signer = Plain(metadata, _signer(key), stamp_style=empty, new_field_spec=spec)
        writer = IncrementalPdfFileWriter(io.BytesIO(pdf))
        signed = signer.sign_pdf(writer, bytes_reserved=ROOM).getvalue()
    found = verify_pdf(bytes(signed), [key.chain[-1]])
    if not (found.valid and found.trusted):
        raise VerificationError(f"the PDF just signed does not verify: {found.reason}")
    return bytes(signed)


def verify_pdf(data: bytes, roots: Sequence[x509.Certificate]) -> PdfCheck:
    """Check the last signature of a PDF against `roots` alone; nothing is fetched.

    Every failure, of whatever kind, makes the file invalid with a reason.
    """
    keyid = None
    try:
        with _careful():
            from pyhanko.pdf_utils.reader import PdfFileReader
            from pyhanko.sign.diff_analysis import ModificationLevel
            from pyhanko.sign.validation.status import SignatureCoverageLevel

            reader = PdfFileReader(io.BytesIO(data), strict=True)
            signatures = list(reader.embedded_regular_signatures)
            if not signatures:
                return _invalid("the PDF carries no signature")
            if len(signatures) != 1:
                return _invalid(f"expected one signature, found {len(signatures)}")
            last = signatures[0]
            keyid = _keyid(last.signer_cert)
            last.compute_integrity_info(skip_diff=True)
            if last.coverage != SignatureCoverageLevel.ENTIRE_FILE:
                return _invalid("the signature does not cover the whole file", keyid)
            status = _status(last, roots)
            if not (status.intact and status.valid):
                return _invalid("the file was changed after signing", keyid)
            if status.modification_level != ModificationLevel.NONE:
                return _invalid("the file was modified after signing", keyid)
            return PdfCheck(valid=True, trusted=bool(status.bottom_line), reason="", keyid=keyid)
    except Exception as error:  # noqa: BLE001  hostile files raise whatever they like
        return _invalid(f"cannot be read as a signed PDF ({type(error).__name__})", keyid)


def attachments(data: bytes) -> dict[str, bytes]:
    """Return the files attached to a PDF by name.

    Raises:
        VerificationError: If it cannot be read, or a name occurs twice.
    """
    try:
        with _careful():
            from pyhanko.pdf_utils.reader import PdfFileReader

            tree = PdfFileReader(io.BytesIO(data), strict=True).root["/Names"]["/EmbeddedFiles"]
            names = tree["/Names"]
            files = [names[i + 1] for i in range(0, len(names), 2)]
            found = {str(file["/UF"]): bytes(file["/EF"]["/F"].data) for file in files}
    except Exception as error:
        raise VerificationError(f"no attachments can be read ({type(error).__name__})") from error
    if len(found) != len(files):
        raise VerificationError("two attachments share a name")
    return found


def _status(signature: Any, roots: Sequence[x509.Certificate]) -> Any:
    from asn1crypto import x509 as asn1
    from pyhanko.sign.validation import validate_pdf_signature
    from pyhanko_certvalidator import ValidationContext

    trusted = [asn1.Certificate.load(_der(root)) for root in roots]
    context = ValidationContext(trust_roots=trusted, allow_fetching=False)
    return validate_pdf_signature(signature, signer_validation_context=context)


def _signer(key: SigningKey) -> Any:
    from asn1crypto import keys
    from asn1crypto import x509 as asn1
    from pyhanko.sign.signers import SimpleSigner
    from pyhanko_certvalidator.registry import SimpleCertificateStore

    private = key.private.private_bytes(
        serialization.Encoding.DER,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    leaf, *others = (asn1.Certificate.load(_der(item)) for item in key.chain)
    store = SimpleCertificateStore()  # type: ignore[no-untyped-call]
    store.register_multiple([leaf, *others])
    return SimpleSigner(
        signing_cert=leaf, signing_key=keys.PrivateKeyInfo.load(private), cert_registry=store
    )


def _keyid(certificate: Any) -> str:
    return sha256(certificate.public_key.dump())


def _der(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.DER)


def _invalid(reason: str, keyid: str | None = None) -> PdfCheck:
    return PdfCheck(valid=False, trusted=False, reason=reason, keyid=keyid)


@contextlib.contextmanager
def _careful() -> Iterator[None]:
    """Silence the libraries' logs and warnings: what matters is said in our own words."""
    loggers = [logging.getLogger(name) for name in ("pyhanko", "pyhanko_certvalidator")]
    before = [item.disabled for item in loggers], [item.level for item in loggers]
    for item in loggers:
        item.setLevel(logging.CRITICAL + 1)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for item, level in zip(loggers, before[1], strict=True):
            item.setLevel(level)
