"""Checkpoints: the signed head of a ledger, a short text that anybody can keep.

The text is a C2SP checkpoint (origin, number of entries, root in base64) inside a C2SP signed note.
One key signs everything here, so a note carries an ECDSA signature: type 0x02, whose key id is the
start of the SHA-256 of the DER public key and whose signature is DER, over the text with SHA-256.
C2SP recommends Ed25519 or ML-DSA to newcomers; most PDF viewers reject the former. For RSA keys,
which C2SP does not number, the key id is made the same way, as Sigstore's Rekor does.

References:
    C2SP, https://c2sp.org/signed-note and https://c2sp.org/tlog-checkpoint, 2025.
    sigstore/rekor, pkg/util/signed_note.go.
"""

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass

from forget_audit.errors import VerificationError
from forget_audit.keys.signing import SigningKey, verify

ORIGIN = re.compile(r"forget-audit\.org/ledger/[0-9a-f]{32}")
MOST_SIGNATURES = 16
LONGEST = 64 * 1024
_NOTE = re.compile(r"([^\n]+)\n(0|[1-9][0-9]{0,14})\n([^\n]+)\n\n((?:— [^\n]+\n)+)")
_LINE = re.compile(r"— ([^\s+]+) ([A-Za-z0-9+/=]+)")


@dataclass(frozen=True, kw_only=True)
class NoteSignature:
    """One signature line of a note.

    Args:
        name: Of the key; for a ledger's own signature the origin.
        hint: First four bytes of the keyid.
        signature: As the key made it.
    """

    name: str
    hint: bytes
    signature: bytes


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A note that was read; nothing is checked but its form.

    Args:
        origin: Which ledger.
        size: Number of entries.
        root: Of the tree over them, 32 bytes.
        signatures: One or more; those of strangers, such as witnesses, are allowed.
    """

    origin: str
    size: int
    root: bytes
    signatures: tuple[NoteSignature, ...]

    @property
    def text(self) -> str:
        """What the signatures cover."""
        return f"{self.origin}\n{self.size}\n{_encoded(self.root)}\n"

    def signer(self, public_keys: Mapping[str, str]) -> str | None:
        """Return the keyid of the known key that signed for the ledger, none if none is known.

        Args:
            public_keys: PEM by keyid.

        Raises:
            VerificationError: If a signature claims to be of a known key and is not.
        """
        claimed = False
        for item in self.signatures:
            if item.name != self.origin:
                continue
            for keyid, pem in public_keys.items():
                if bytes.fromhex(keyid[:8]) != item.hint:
                    continue
                if verify(pem, self.text.encode(), item.signature):
                    return keyid
                claimed = True
        if claimed:
            raise VerificationError("checkpoint: the signature does not fit the text and its key")
        return None


def write(origin: str, size: int, root: bytes, key: SigningKey) -> str:
    """Return the signed note that the ledger `origin` has `size` entries under `root`."""
    text = Checkpoint(origin=origin, size=size, root=root, signatures=()).text
    signed = bytes.fromhex(key.keyid[:8]) + key.sign(text.encode())
    return f"{text}\n— {origin} {_encoded(signed)}\n"


def parse(text: str) -> Checkpoint:
    """Read a note in the one form that `write` gives it; further signatures may follow.

    Raises:
        VerificationError: If it has another form.
    """
    found = _NOTE.fullmatch(text) if len(text) <= LONGEST else None
    if found is None:
        raise VerificationError(
            "checkpoint: expected three lines (origin, size, root), an empty one and signatures"
        )
    origin, size, root, lines = found.groups()
    if not ORIGIN.fullmatch(origin):
        raise VerificationError("checkpoint: the first line is not the origin of such a ledger")
    decoded = _decoded(root)
    if len(decoded) != 32:
        raise VerificationError("checkpoint: the root must be a SHA-256")
    signatures = tuple(_signature(line) for line in lines[:-1].split("\n"))
    if len(signatures) > MOST_SIGNATURES:
        raise VerificationError(f"checkpoint: more than {MOST_SIGNATURES} signatures")
    return Checkpoint(origin=origin, size=int(size), root=decoded, signatures=signatures)


def _signature(line: str) -> NoteSignature:
    found = _LINE.fullmatch(line)
    if found is None:
        raise VerificationError("checkpoint: a signature line holds a dash, a name and base64")
    decoded = _decoded(found[2])
    if len(decoded) < 5:
        raise VerificationError("checkpoint: a signature is too short")
    return NoteSignature(name=found[1], hint=decoded[:4], signature=decoded[4:])


def _encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _decoded(text: str) -> bytes:
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise VerificationError("checkpoint: expected base64") from error
    if _encoded(data) != text:
        raise VerificationError("checkpoint: base64 with stray bits")
    return data
