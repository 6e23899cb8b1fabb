"""Which signatures a PDF carries, and which of its bytes each of them covers."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from forget_audit.digests import sha256
from forget_audit.errors import VerificationError
from forget_audit.reports import signature_blob

TOOL, REVIEWER = "ToolSignature", "ReviewerSignature"
RANGE = re.compile(rb"/ByteRange\s*\[\s*0\s+(\d{1,12})\s+(\d{1,12})\s+(\d{1,12})\s*\]")
BLOB = re.compile(rb"<(?:[0-9A-F]+|[0-9a-f]+)>")
LOOKED_AT = 4


@dataclass(frozen=True, kw_only=True)
class Mark:
    """A signature in its place.

    Args:
        embedded: As pyHanko sees it.
        blob: What signs.
        end: Where the bytes that it covers end.
        revision: Which state of the file it signs, counted from 0.
    """

    embedded: Any
    blob: signature_blob.Blob
    end: int
    revision: int


def look(data: bytes) -> None:
    """Refuse most changed files by their plain bytes, before anything reads them as a PDF.

    Whatever looks like a signature of the whole file is held against the file. That it is one of
    ours, and what else there is, shows only later.

    Raises:
        VerificationError: If a signature is not intact or for other bytes.
    """
    for found in list(RANGE.finditer(data))[-LOOKED_AT:]:
        before, after, length = map(int, found.groups())
        if after + length == len(data) and BLOB.fullmatch(data, before, after):
            blob = data[before + 1 : after - 1]
            if len(blob) % 2 == 0:
                _intact(bytes.fromhex(blob.decode()), data, before, after, len(data))


def marks(reader: Any, data: bytes) -> list[Mark]:
    """Return the signature of the tool, then that of the reviewer if there is one.

    Args:
        reader: pyHanko's, of `data`.
        data: The PDF.

    Raises:
        VerificationError: If there are none, more or others than these two, or something beside
            them came after the first.
    """
    from pyhanko.sign.fields import enumerate_sig_fields

    names = [str(name) for name, *_ in enumerate_sig_fields(reader, filled_status=True)]
    if not names:
        raise VerificationError("the PDF carries no signature")
    if len(names) > 2:
        raise VerificationError(f"expected at most two signatures, found {len(names)}")
    strange = [name for name in names if name not in (TOOL, REVIEWER)]
    if strange:
        raise VerificationError(
            f"there is a signature in a field of another name: {strange[0]!a:.60}"
        )
    if names in ([TOOL, TOOL], [REVIEWER, REVIEWER]):
        raise VerificationError(f"two signatures are in fields of one name: {names[0]}")
    if TOOL not in names:
        raise VerificationError("the signature of the tool is missing")
    embedded = {str(item.field_name): item for item in reader.embedded_regular_signatures}
    if len(embedded) != len(names):
        raise VerificationError("one of the signatures is of a kind that we do not make")
    ordered = [embedded[name] for name in (TOOL, REVIEWER) if name in embedded]
    covered = [_covered(item, data) for item in ordered]
    followed = what_followed(data, max(end for *_, end in covered))
    if followed:
        raise VerificationError(followed)
    found = [
        Mark(
            embedded=item, blob=_intact(item.pkcs7_content, data, *place), end=place[-1],
            revision=int(item.signed_revision),
        )
        for item, place in zip(ordered, covered, strict=True)
    ]  # fmt: skip
    _consecutive(found, reader.xrefs.total_revisions)
    return found


def what_followed(data: bytes, end: int) -> str:
    """Return what is wrong with a file whose last signature covers it up to `end`, if anything."""
    missing = end - len(data)
    if missing > 0:
        return f"the file was cut off after signing: {missing} bytes are missing"
    if b"startxref" in data[end:]:
        return "an update was appended to the file after signing"
    return f"{-missing} bytes were appended to the file after signing" if missing else ""


def unreadable(data: bytes, error: Exception) -> str:
    """Return why a PDF could not be read, as far as its plain bytes tell."""
    ends = [int(after) + int(length) for _, after, length in RANGE.findall(data)]
    kind = type(error).__name__
    if not ends:
        return f"cannot be read as a signed PDF ({kind})"
    damaged = f"the file was damaged after signing and cannot be read ({kind})"
    return what_followed(data, max(ends)) or damaged


def _covered(embedded: Any, data: bytes) -> tuple[int, int, int]:
    """Return where the covered bytes are interrupted, by the blob and nothing else, and end."""
    numbers = [int(number) for number in embedded.byte_range]
    blob = embedded.pkcs7_content.hex().encode()
    if len(numbers) == 4:
        start, before, after, rest = numbers
        place = data[before:after]
        if start == 0 and place in (b"<" + blob + b">", b"<" + blob.upper() + b">"):
            return before, after, after + rest
    raise VerificationError("the file was written anew: the signature is not where it says")


def _intact(content: bytes, data: bytes, before: int, after: int, end: int) -> signature_blob.Blob:
    blob = signature_blob.read(content)
    if sha256(data[:before] + data[after:end]) != blob.digest:
        raise VerificationError("the file was changed after signing")
    return blob


def _consecutive(found: Sequence[Mark], revisions: int) -> None:
    """Check that the signatures are the last steps of the file, in their order."""
    steps = [mark.revision for mark in found]
    ends = [mark.end for mark in found]
    if steps != list(range(revisions - len(found), revisions)) or ends != sorted(ends):
        raise VerificationError("the file was updated between or after its signatures")
