"""Keys, certificates and raw signatures: ECDSA P-256 with SHA-256 and nothing else.

A key comes with a certificate so that PDF viewers can check it: a leaf under a small root of its
own, because viewers never trust a self-signed leaf. The root's private key is thrown away once
the leaf is signed, so there is one secret to keep.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import (
    decode_dss_signature,
    encode_dss_signature,
)

from forget_audit.certificates import issue
from forget_audit.digests import sha256
from forget_audit.encrypted_keys import encrypted_pem
from forget_audit.errors import KeyFileError

log = logging.getLogger(__name__)

Protection = Literal["unattended", "passphrase"]

PRIVATE, PUBLIC, CERTIFICATES = "key.pem", "public.pem", "certificates.pem"
SHORTEST_PASSPHRASE = 12
ENCRYPTED = b"ENCRYPTED"
_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
_PEM = serialization.Encoding.PEM
_DER = serialization.Encoding.DER
_PUBLIC_FORMAT = serialization.PublicFormat.SubjectPublicKeyInfo


def home() -> Path:
    """Return the folder of keys and trust: `$FORGET_AUDIT_HOME` or `~/.config/forget-audit`."""
    given = os.environ.get("FORGET_AUDIT_HOME")
    return Path(given) if given else Path.home() / ".config" / "forget-audit"


def grouped(digits: str) -> str:
    """Return hexadecimal `digits` in groups of four, for people to compare."""
    return " ".join(digits[i : i + 4] for i in range(0, len(digits), 4))


@dataclass(frozen=True, kw_only=True, eq=False)
class SigningKey:
    """A private key with its certificate and the root that signed it.

    Args:
        private: ECDSA P-256.
        chain: Certificate of the key, then its root.
        protection: `passphrase` if the file on disk is encrypted, else `unattended`.
    """

    private: ec.EllipticCurvePrivateKey
    chain: tuple[x509.Certificate, ...]
    protection: Protection = "unattended"

    @staticmethod
    def create(name: str, org: str | None = None) -> SigningKey:
        """Make a new key with a certificate for `name`, valid for ten years.

        Raises:
            KeyFileError: If the name cannot stand in a certificate.
        """
        for what, text in (("name", name), ("organisation", org or "-")):
            if not 1 <= len(text.strip()) <= 55 or not text.isprintable():
                raise KeyFileError(f"the {what} of a key must be 1 to 55 printable characters")
        private = ec.generate_private_key(ec.SECP256R1())
        return SigningKey(private=private, chain=issue(private.public_key(), name.strip(), org))

    @staticmethod
    def load(directory: Path, passphrase: str | None = None) -> SigningKey:
        """Read a key that `save` has written.

        Raises:
            KeyFileError: If it is missing, malformed, readable by others, or the passphrase is
                wrong or missing.
        """
        path = directory / PRIVATE
        try:
            _refuse_if_shared(directory)
            _refuse_if_shared(path)
            pem = path.read_bytes()
            chain = _chain((directory / CERTIFICATES).read_bytes())
        except OSError as error:
            raise KeyFileError(f"{directory}: no signing key ({error.strerror})") from error
        encrypted = ENCRYPTED in pem[:64]
        if encrypted and passphrase is None:
            raise KeyFileError(f"{path}: the key is encrypted, give its passphrase")
        secret = passphrase.encode() if encrypted and passphrase is not None else None
        try:
            private = serialization.load_pem_private_key(pem, secret)
        except (ValueError, TypeError, UnsupportedAlgorithm) as error:
            reason = "wrong passphrase, or a damaged key" if encrypted else "not a private key"
            raise KeyFileError(f"{path}: {reason}") from error
        if not isinstance(private, ec.EllipticCurvePrivateKey) or private.curve.name != "secp256r1":
            raise KeyFileError(f"{path}: expected an ECDSA key on the curve P-256")
        if chain[0].public_key() != private.public_key():
            raise KeyFileError(f"{directory}: the certificate belongs to another key")
        protection: Protection = "passphrase" if encrypted else "unattended"
        return SigningKey(private=private, chain=chain, protection=protection)

    def save(self, directory: Path, passphrase: str | None = None) -> None:
        """Write private key, public key and certificates into a folder only its owner can read.

        Args:
            directory: Must not hold a key already.
            passphrase: Encrypts the private key; without it the key is for unattended use.

        Raises:
            KeyFileError: If there is a key already, or the passphrase is too short.
        """
        if passphrase is not None and len(passphrase) < SHORTEST_PASSPHRASE:
            raise KeyFileError(f"a passphrase needs at least {SHORTEST_PASSPHRASE} characters")
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        _refuse_if_shared(directory)
        plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        if passphrase is None:
            pem = self.private.private_bytes(_PEM, *plain)
        else:
            pem = encrypted_pem(self.private.private_bytes(_DER, *plain), passphrase)
        try:
            descriptor = os.open(directory / PRIVATE, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError as error:
            raise KeyFileError(
                f"{directory}: holds a key already, choose another folder"
            ) from error
        with os.fdopen(descriptor, "wb") as file:
            file.write(pem)
        (directory / CERTIFICATES).write_text(self.certificates_pem)
        (directory / PUBLIC).write_text(self.public_pem)

    @property
    def name(self) -> str:
        """Who the certificate names."""
        return _attribute(self.chain[0], x509.NameOID.COMMON_NAME) or ""

    @property
    def org(self) -> str | None:
        """The organisation the certificate names, if any."""
        return _attribute(self.chain[0], x509.NameOID.ORGANIZATION_NAME)

    @property
    def public_pem(self) -> str:
        """The public key."""
        return self.private.public_key().public_bytes(_PEM, _PUBLIC_FORMAT).decode()

    @property
    def certificates_pem(self) -> str:
        """The certificate of the key, then its root."""
        return "".join(item.public_bytes(_PEM).decode() for item in self.chain)

    @property
    def keyid(self) -> str:
        """SHA-256 of the DER public key: the key's name in signatures and trust files."""
        return keyid_of(self.public_pem)

    @property
    def key_fingerprint(self) -> str:
        """The keyid in groups of four."""
        return grouped(self.keyid)

    @property
    def certificate_fingerprint(self) -> str:
        """SHA-256 of the certificate in groups of four, as PDF viewers show it."""
        return grouped(sha256(self.chain[0].public_bytes(_DER)))

    @property
    def not_before(self) -> datetime:
        """When the certificate starts to be valid."""
        return self.chain[0].not_valid_before_utc

    @property
    def not_after(self) -> datetime:
        """When the certificate ends."""
        return self.chain[0].not_valid_after_utc

    @property
    def usable(self) -> bool:
        """Whether the certificate is valid now."""
        return self.not_before <= datetime.now(UTC) <= self.not_after

    def sign(self, data: bytes) -> bytes:
        """Return the DER signature of `data`, the same each time, with the smaller of two `s`.

        Equal bytes for equal input keep signed reports reproducible; the smaller `s` leaves one
        valid signature instead of two.
        """
        try:
            algorithm = ec.ECDSA(hashes.SHA256(), deterministic_signing=True)
            signature = self.private.sign(data, algorithm)
        except UnsupportedAlgorithm:  # the OpenSSL that cryptography was built on is too old
            signature = self.private.sign(data, ec.ECDSA(hashes.SHA256()))
        r, s = decode_dss_signature(signature)
        return encode_dss_signature(r, min(s, _ORDER - s))


def verify(public_pem: str, data: bytes, signature: bytes) -> bool:
    """Say whether `signature` is the one valid form of a signature of `data` by this key.

    Raises:
        KeyFileError: If `public_pem` is no P-256 public key.
    """
    key = _public(public_pem)
    try:
        r, s = decode_dss_signature(signature)
        key.verify(signature, data, ec.ECDSA(hashes.SHA256()))
    except (InvalidSignature, ValueError):
        return False
    return s <= _ORDER // 2 and encode_dss_signature(r, s) == signature


def keyid_of(public_pem: str) -> str:
    """Return the SHA-256 of the DER public key in hexadecimal.

    Raises:
        KeyFileError: If `public_pem` is no P-256 public key.
    """
    return sha256(_public(public_pem).public_bytes(_DER, _PUBLIC_FORMAT))


def default_key(ask: Callable[[], str] | None = None) -> SigningKey:
    """Return the key of this account, making one for unattended use the first time.

    Args:
        ask: Called for the passphrase if the key is protected by one.
    """
    directory = home() / "keys" / "default"
    if not directory.exists():
        log.info("making a first signing key in %s", directory)
        directory.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(dir=directory.parent, prefix=".new-"))
        try:
            SigningKey.create("forget-audit local key").save(staging)
            with contextlib.suppress(OSError):  # another process was first: its key is used
                staging.rename(directory)
        finally:
            shutil.rmtree(staging, ignore_errors=True)
    private = directory / PRIVATE
    locked = private.is_file() and ENCRYPTED in private.read_bytes()[:64]
    return SigningKey.load(directory, ask() if ask and locked else None)


def certificates_of(pem: str) -> tuple[x509.Certificate, ...]:
    """Return the certificates in `pem`, that of the key first.

    Raises:
        KeyFileError: If there are none or they are malformed.
    """
    return _chain(pem.encode())


def _chain(pem: bytes) -> tuple[x509.Certificate, ...]:
    try:
        return tuple(x509.load_pem_x509_certificates(pem))
    except ValueError as error:
        raise KeyFileError(f"expected PEM certificates: {error}") from error


def _public(pem: str) -> ec.EllipticCurvePublicKey:
    try:
        key = serialization.load_pem_public_key(pem.encode())
    except (ValueError, UnsupportedAlgorithm) as error:
        raise KeyFileError("expected a PEM public key") from error
    if not isinstance(key, ec.EllipticCurvePublicKey) or key.curve.name != "secp256r1":
        raise KeyFileError("expected an ECDSA public key on the curve P-256")
    return key


def _attribute(certificate: x509.Certificate, oid: x509.ObjectIdentifier) -> str | None:
    values: Sequence[x509.NameAttribute[str | bytes]]
    values = certificate.subject.get_attributes_for_oid(oid)
    return str(values[0].value) if values else None


def _refuse_if_shared(path: Path) -> None:
    mode = path.stat().st_mode & 0o777
    if mode & 0o077:
        wanted = "700" if path.is_dir() else "600"
        raise KeyFileError(
            f"{path}: open to other users (mode {mode:03o}); run chmod {wanted} {path}"
        )
