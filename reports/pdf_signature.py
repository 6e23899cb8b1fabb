"""The signatures inside the PDF (PAdES B-B, or B-T with a timestamp), and the strict check of them.

There are at most two: of whoever issues the report, and of the person who reviews it. A PDF
signature alone is malleable and lenient readers accept more than they should. So a file counts as
signed here only if its last signature covers it whole, each is in the very form in which we write
it, and nothing but the reviewer's signature came after the first. That it is the released file,
byte for byte, is said by the release statement.
"""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from cryptography import x509

from forget_audit.errors import ForgetAuditError, VerificationError
from forget_audit.keys.signing import SigningKey
from forget_audit.reports import timestamps as proofs
from forget_audit.reports.pyhanko_calls import context, preload, quietly, signer
from forget_audit.reports.signature_marks import REVIEWER, TOOL, Mark, look, marks, unreadable
from forget_audit.reports.timestamps import Timestamper
from forget_audit.reports.view import Place, Places

LABELS = {TOOL: "Signature of the issuer", REVIEWER: "Signature of the reviewer"}
ROOM, ROOM_OF_STAMP = 4096, 32768
USES = {"digital_signature", "non_repudiation"}


@dataclass(frozen=True, kw_only=True)
class PdfCheck:
    """What the check of a PDF found.

    Args:
        valid: Whether the signatures are intact and the last one covers the whole file.
        trusted: Whether the certificate of the first leads to one of the given roots.
        reason: Why it is not valid, or else not trusted; empty if it is both.
        keyid: Of the key that signed first; none of a file that is not valid.
        reviewer_keyid: Of the key that signed as the reviewer, if somebody did.
        reviewer_trusted: Whether that certificate leads to one of the roots for reviewers.
        time: When the first signature existed at the latest, if an authority under the given
            roots says so; otherwise nothing but the signer's clock is known.
        reviewer_time: The same of the reviewer's signature.
    """

    valid: bool
    trusted: bool
    reason: str
    keyid: str | None
    reviewer_keyid: str | None = None
    reviewer_trusted: bool = False
    time: datetime | None = None
    reviewer_time: datetime | None = None


def sign(
    pdf: bytes,
    key: SigningKey,
    places: Places | Place,
    reason: str,
    *,
    stamp: Timestamper | None = None,
) -> bytes:
    """Return `pdf` with a certifying signature that still allows filling in forms.

    The fields lie over boxes that the page prints itself and draw nothing: readers can click
    them, and every font stays embedded. That of the reviewer stays empty; it must be there before
    the first signature.

    Args:
        pdf: Unsigned.
        key: Signs.
        places: Of the boxes that the page prints, or of the issuer's alone.
        reason: Of signing, for readers.
        stamp: Gives the proof of time, if one is wanted.

    Raises:
        VerificationError: If the signature cannot be made or does not verify.
        TimestampError: If the server gives no timestamp.
    """
    from pyhanko.sign.fields import MDPPerm

    both = Places(tool=places) if isinstance(places, Place) else places
    boxes = {TOOL: both.tool} | ({REVIEWER: both.reviewer} if both.reviewer else {})
    about = {"certify": True, "docmdp_permissions": MDPPerm.FILL_FORMS, "reason": reason}
    signed = _signed(pdf, key, TOOL, about, boxes, stamp)
    found = verify_pdf(signed, [key.chain[-1]])
    if not (found.valid and found.trusted):
        raise VerificationError(f"the PDF just signed does not verify: {found.reason}")
    return signed


def countersign(
    pdf: bytes, key: SigningKey, reason: str, *, stamp: Timestamper | None = None
) -> bytes:
    """Return a signed PDF with the signature of its reviewer, who has a key of their own.

    Args:
        pdf: As `sign` made it, with an empty field for the reviewer.
        key: Signs.
        reason: Of signing, for readers.
        stamp: Gives the proof of time, if one is wanted.

    Raises:
        VerificationError: If the first signature is not valid, the field is missing or filled,
            the key is that of the first signature, or the result does not verify.
        TimestampError: If the server gives no timestamp.
    """
    before = verify_pdf(pdf, [])
    if not before.valid:
        raise VerificationError(f"a reviewer cannot sign this PDF: {before.reason}")
    if before.reviewer_keyid is not None:
        raise VerificationError("a reviewer has signed this PDF already")
    if before.keyid == key.keyid:
        raise VerificationError("a reviewer signs with another key than whoever issued the report")
    if REVIEWER not in quietly(lambda: _empty_fields(pdf)):
        raise VerificationError("the PDF holds no empty field for a reviewer")
    signed = _signed(pdf, key, REVIEWER, {"reason": reason}, {}, stamp)
    found = verify_pdf(signed, [], reviewers=[key.chain[-1]])
    if not (found.valid and found.reviewer_trusted and found.keyid == before.keyid):
        raise VerificationError(f"the PDF just signed does not verify: {found.reason}")
    return signed


def verify_pdf(
    data: bytes,
    roots: Sequence[x509.Certificate],
    *,
    reviewers: Sequence[x509.Certificate] = (),
    timestamps: Sequence[x509.Certificate] = (),
) -> PdfCheck:
    """Check the signatures of a PDF against the given roots alone; nothing is fetched.

    Every failure, of whatever kind, makes the file invalid with a reason. Certificates are judged
    at the proven time, or now if none is.

    Args:
        data: The PDF.
        roots: Believed for the first signature.
        reviewers: Believed for that of a reviewer.
        timestamps: Believed for proofs of time.
    """
    try:
        return quietly(lambda: _checked(data, (roots, reviewers, timestamps)))
    except VerificationError as error:
        reason = str(error)
    except Exception as error:  # noqa: BLE001  hostile files raise whatever they like
        reason = unreadable(data, error)
    return PdfCheck(valid=False, trusted=False, reason=reason, keyid=None)


def attachments(data: bytes) -> dict[str, bytes]:
    """Return the files attached to a PDF by name.

    Raises:
        VerificationError: If it cannot be read, or a name occurs twice.
    """
    try:
        files = quietly(lambda: _attached(data))
    except Exception as error:
        raise VerificationError(f"no attachments can be read ({type(error).__name__})") from error
    if len(dict(files)) != len(files):
        raise VerificationError("two attachments share a name")
    return dict(files)


def _signed(
    pdf: bytes,
    key: SigningKey,
    field: str,
    about: dict[str, Any],
    boxes: dict[str, Place],
    stamp: Timestamper | None,
) -> bytes:
    """Return `pdf` with new, empty fields in `boxes`, and with `field` signed."""
    from pyhanko.pdf_utils.incremental_writer import IncrementalPdfFileWriter
    from pyhanko.sign import fields, signers
    from pyhanko.stamp import NoOpStampStyle

    class Plain(signers.PdfSigner):
        """Leaves out the extension for curves, which would take the file out of PDF 1.7."""

        def register_extensions(self, pdf_out: Any, *, md_algorithm: str) -> None:  # noqa: ARG002
            pdf_out.register_extension(signers.constants.ESIC_EXTENSION_1)

    def write() -> bytes:
        writer = IncrementalPdfFileWriter(io.BytesIO(pdf))
        for name, place in boxes.items():
            left, bottom, right, top = place.box
            fields.append_signature_field(writer, fields.SigFieldSpec(
                name, on_page=place.page, box=(left, bottom, right, top),
                readable_field_name=LABELS[name]))  # fmt: skip
        metadata = signers.PdfSignatureMetadata(
            field_name=field, subfilter=fields.SigSeedSubFilter.PADES, md_algorithm="sha256",
            name=key.name, **about)  # fmt: skip
        maker = Plain(metadata, signer(key), stamp_style=NoOpStampStyle(),
                      timestamper=stamp.client() if stamp else None)  # fmt: skip
        room = ROOM + 2 * len(key.certificates_pem) + (ROOM_OF_STAMP if stamp else 0)
        out = maker.sign_pdf(writer, existing_fields_only=True, bytes_reserved=room)
        return bytes(out.getvalue())

    try:
        return quietly(write)
    except ForgetAuditError:
        raise
    except Exception as error:
        raise VerificationError(f"the PDF cannot be signed: {error}") from error


def _checked(data: bytes, roots: tuple[Sequence[x509.Certificate], ...]) -> PdfCheck:
    from pyhanko.pdf_utils.reader import PdfFileReader
    from pyhanko.sign.diff_analysis import ModificationLevel

    look(data)
    reader = PdfFileReader(io.BytesIO(data), strict=True)
    found = marks(reader, data)
    keyids = [mark.blob.keyid for mark in found]
    if len(set(keyids)) != len(keyids):
        raise VerificationError("both signatures are by the same key")
    if len(found) == 2:
        preload(reader)
    times = [_time(mark, roots[2]) for mark in found]
    proven = [time for time in times if time is not None]
    moments = [min(proven, default=None), times[-1]]
    levels = [ModificationLevel.FORM_FILLING, ModificationLevel.NONE][-len(found) :]
    doubts = [
        _doubt(mark, believed, moment, level)
        for mark, believed, moment, level in zip(found, roots, moments, levels, strict=False)
    ]
    told = [
        f"the certificate of the {who} {doubt}"
        for who, doubt in zip(("issuer", "reviewer"), doubts, strict=False)
        if doubt
    ]
    twice = len(found) == 2
    return PdfCheck(
        valid=True, trusted=not doubts[0], reason="; ".join(told), keyid=keyids[0],
        reviewer_keyid=keyids[1] if twice else None, reviewer_trusted=twice and not doubts[1],
        time=moments[0], reviewer_time=moments[1] if twice else None,
    )  # fmt: skip


def _time(mark: Mark, roots: Sequence[x509.Certificate]) -> datetime | None:
    if mark.blob.token is None:
        return None
    proof = proofs.read(mark.blob.token, mark.blob.signature, roots)
    return proof.time if proof.trusted else None


def _doubt(
    mark: Mark, roots: Sequence[x509.Certificate], moment: datetime | None, level: Any
) -> str:
    """Check one signature; return why its certificate is not believed, if so."""
    from pyhanko.sign.validation import validate_pdf_signature
    from pyhanko.sign.validation.settings import KeyUsageConstraints
    from pyhanko.sign.validation.status import SignatureCoverageLevel

    leaf = mark.embedded.signer_cert
    uses = USES if leaf.key_usage_value is not None else set()
    status = validate_pdf_signature(
        mark.embedded, signer_validation_context=context(roots, moment),
        ts_validation_context=context(()), key_usage_settings=KeyUsageConstraints(key_usage=uses),
    )  # fmt: skip
    if not (status.intact and status.valid):
        raise VerificationError("the signature does not fit the file")
    whole = level.name == "NONE"
    wanted = SignatureCoverageLevel.ENTIRE_FILE if whole else SignatureCoverageLevel.ENTIRE_REVISION
    if status.coverage != wanted:
        raise VerificationError("the signature does not cover the whole file")
    if status.modification_level != level or not status.docmdp_ok or not status.seed_value_ok:
        raise VerificationError("more than the reviewer's signature was added after signing")
    if status.trusted:
        return ""
    if not leaf.not_valid_before <= (moment or datetime.now(UTC)) <= leaf.not_valid_after:
        return "is not valid at that time"
    return "leads to none of the given roots"


def _empty_fields(data: bytes) -> list[str]:
    from pyhanko.pdf_utils.reader import PdfFileReader
    from pyhanko.sign.fields import enumerate_sig_fields

    reader = PdfFileReader(io.BytesIO(data), strict=True)
    return [str(name) for name, *_ in enumerate_sig_fields(reader, filled_status=False)]


def _attached(data: bytes) -> list[tuple[str, bytes]]:
    from pyhanko.pdf_utils.reader import PdfFileReader

    tree = PdfFileReader(io.BytesIO(data), strict=True).root["/Names"]["/EmbeddedFiles"]["/Names"]
    files = [tree[i + 1] for i in range(0, len(tree), 2)]
    return [(str(file["/UF"]), bytes(file["/EF"]["/F"].data)) for file in files]
