"""A page that carries its own signature: a statement about the page without the signature.

Two marker lines directly before `</body>` hold one data block and nothing else, so that deleting
them with `sed` gives the signed bytes, and nothing visible fits between them.
"""

import re

from forget_audit.digests import sha256
from forget_audit.errors import VerificationError
from forget_audit.keys.signing import SigningKey
from forget_audit.reports.attestation import document_statement, seal

BEGIN = b"<!-- forget-audit signature begin -->"
END = b"<!-- forget-audit signature end -->"
BODY_END = b"\n</body>\n"
_WORD, _TAG = b"forget-audit signature", b'<script type="application/vnd.dsse+json" id="signature">'
_ENVELOPE = (
    rb'\{"payload":"[A-Za-z0-9+/=]*","payloadType":"[a-z./+-]*","signatures":\[[^<>\[\]]*\]\}'
)
_SIGNED = re.compile(
    rb"\n" + BEGIN + rb"\n" + re.escape(_TAG) + rb"(" + _ENVELOPE + rb")</script>\n" + END
    + re.escape(BODY_END) + rb"</html>\n"
)  # fmt: skip
_ATTESTATION = re.compile(
    rb'<script type="application/vnd\.dsse\+json" id="audit-dsse">(' + _ENVELOPE + rb")</script>"
)


def data_block(envelope: bytes) -> str:
    """Return an envelope as it may stand inside a data block: base64 leaves nothing to escape.

    Raises:
        ValueError: If it holds a character that could end the block.
    """
    if b"<" in envelope or b">" in envelope:
        raise ValueError("an envelope with angle brackets cannot be embedded")
    return envelope.decode("ascii")


def sign(page: bytes, key: SigningKey, report_id: str) -> bytes:
    """Return `page` with its signature block."""
    if page.count(BODY_END) != 1:
        raise ValueError("expected one </body> on a line of its own")
    envelope = seal(document_statement(sha256(page), report_id), key)
    block = b"\n".join([b"", BEGIN, _TAG + data_block(envelope).encode() + b"</script>", END])
    return page.replace(BODY_END, block + BODY_END)


def split(page: bytes) -> tuple[bytes, bytes]:
    """Return a signed page's signed bytes and its envelope.

    Raises:
        VerificationError: If the markers are missing, repeated, or hold anything but one envelope.
    """
    shown = _visible_markers(page)
    if page.count(BEGIN) != 1 or page.count(END) != 1 or shown != 2:
        raise VerificationError("expected exactly one signature block")
    match = _SIGNED.search(page)
    if match is None or match.end() != len(page):
        raise VerificationError("the signature block holds more than a signature, or is misplaced")
    lines = page[match.start() + 1 : match.end() - len(BODY_END) - len(b"</html>\n") + 1]
    return page.replace(lines, b"", 1), match.group(1)


def attestation_of(page: bytes) -> bytes:
    """Return the audit's envelope that a page carries.

    Raises:
        VerificationError: If there is none, or more than one.
    """
    found = _ATTESTATION.findall(page)
    if len(found) != 1:
        raise VerificationError("expected exactly one attestation in the page")
    return bytes(found[0])


def _visible_markers(page: bytes) -> int:
    return len(re.findall(rb"<!--\s*" + _WORD, page, flags=re.IGNORECASE))
