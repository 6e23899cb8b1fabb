"""One key of a trust file: what is kept of it, and what is refused."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from forget_audit.digests import sha256
from forget_audit.errors import KeyFileError
from forget_audit.keys.certificates import in_order, public_key, supported
from forget_audit.keys.signing import certificates_of, grouped

Role = Literal["tool", "reviewer", "timestamp"]

ROLES: tuple[str, ...] = get_args(Role)
LONGEST_TEXT = 200
_PEM = serialization.Encoding.PEM
_DER = serialization.Encoding.DER


@dataclass(frozen=True, kw_only=True)
class Revocation:
    """From when on a key is no longer believed.

    Args:
        since: Day in UTC, such as `2026-11-21`.
        reason: For people.
    """

    since: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class TrustedKey:
    """A key that is believed, or was.

    Args:
        keyid: SHA-256 of the DER public key.
        name: Whose it is.
        roles: What its signatures stand for: the `tool` that made a report, a `reviewer` who
            agreed, or a `timestamp` authority that says when.
        public_key: PEM.
        certificates: PEM, that of the key first, then who issued it.
        added: Day in UTC.
        revoked: Set once it is no longer believed.
    """

    keyid: str
    name: str
    roles: tuple[str, ...]
    public_key: str
    certificates: str
    added: str
    revoked: Revocation | None = None

    @property
    def chain(self) -> tuple[x509.Certificate, ...]:
        """The certificate of the key, then who issued it."""
        return certificates_of(self.certificates)

    @property
    def certificate_fingerprint(self) -> str:
        """SHA-256 of the certificate in groups of four, as PDF viewers show it."""
        return grouped(sha256(self.chain[0].public_bytes(_DER)))


def refuse_wrong(key: TrustedKey) -> None:
    """Refuse a key whose parts do not belong together, or that cannot have its roles.

    Only the keys of timestamp authorities may be of any kind: reports are signed with P-256 or
    RSA.

    Raises:
        KeyFileError: If something is wrong.
    """
    keyid = any_keyid(key.public_key)
    place = f"key {keyid[:16]}…"
    if key.keyid != keyid:
        raise KeyFileError(f"{place}: the keyid is not that of the public key")
    unknown = [role for role in key.roles if role not in ROLES]
    if unknown or not key.roles:
        found = ", ".join(map(ascii, unknown))[:LONGEST_TEXT] or "none"
        raise KeyFileError(f"{place}: roles are {', '.join(ROLES)}, found {found}")
    if set(key.roles) != {"timestamp"}:
        supported(public_key(key.public_key))
    if in_order(key.chain, public_key(key.public_key)) != key.chain:
        raise KeyFileError(f"{place}: expected its certificate, then who issued that, and no other")
    reason = key.revoked.reason if key.revoked else ""
    for what, text, least in (("name", key.name, 1), ("reason", reason, 0)):
        if not least <= len(text) <= LONGEST_TEXT or not text.isprintable():
            raise KeyFileError(
                f"{place}: expected a {what} of {least} to {LONGEST_TEXT} printable characters"
            )


def any_keyid(public_pem: str) -> str:
    """Return the SHA-256 of the DER public key, of whatever kind.

    Raises:
        KeyFileError: If there is no public key.
    """
    key: Any = public_key(public_pem)
    return sha256(key.public_bytes(_DER, serialization.PublicFormat.SubjectPublicKeyInfo))


def ordered(certificates_pem: str, public_pem: str) -> str:
    """Return the certificates of a key in order, in PEM, without those of others.

    Raises:
        KeyFileError: If none is for this key.
    """
    chain = in_order(certificates_of(certificates_pem), public_key(public_pem))
    return "".join(item.public_bytes(_PEM).decode() for item in chain)
