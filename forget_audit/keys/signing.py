"""Keys and raw signatures: ECDSA P-256 or RSA of 2048 bits and more, both with SHA-256.

A key comes with a certificate so that PDF viewers can check it. One made here has a leaf under a
small root of its own, because viewers never trust a self-signed leaf. The root's private key is
thrown away once the leaf is signed, so there is one secret to keep. A key in a token never leaves
it: the token signs a digest.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import (
    decode_dss_signature,
    encode_dss_signature,
)

from forget_audit.digests import sha256
from forget_audit.errors import KeyFileError
from forget_audit.keys import folders as key_folders
from forget_audit.keys.certificates import (
    PublicKey,
    issue,
    owner_key,
    public_key,
    read_chain,
    subject,
    supported,
)
from forget_audit.keys.folders import PrivateKey
from forget_audit.keys.folders import home as home

log = logging.getLogger(__name__)

Protection = Literal["unattended", "passphrase", "token"]
Algorithm = Literal["ecdsa", "rsa"]

_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
_PEM = serialization.Encoding.PEM
_DER = serialization.Encoding.DER
_PUBLIC_FORMAT = serialization.PublicFormat.SubjectPublicKeyInfo


def grouped(digits: str) -> str:
    """Return hexadecimal `digits` in groups of four, for people to compare."""
    return " ".join(digits[i : i + 4] for i in range(0, len(digits), 4))


@dataclass(frozen=True, kw_only=True, eq=False)
class SigningKey:
    """A key with its certificate and who issued that.

    Args:
        chain: Certificate of the key, then its issuer, and so on.
        private: Absent if a token holds it, or if only the public half was read.
        protection: How the private half is kept: in the clear for `unattended` use, in a file
            under a `passphrase`, or in a `token`.
        token: Signs a SHA-256 digest where the private half never leaves a token. Returns DER
            for ECDSA, the bare signature for RSA.
    """

    chain: tuple[x509.Certificate, ...]
    private: PrivateKey | None = field(default=None, repr=False)
    protection: Protection = "unattended"
    token: Callable[[bytes], bytes] | None = field(default=None, repr=False)

    @staticmethod
    def create(name: str, org: str | None = None) -> SigningKey:
        """Make a new key with a certificate for `name`, valid for ten years.

        Raises:
            KeyFileError: If the name cannot stand in a certificate.
        """
        private = ec.generate_private_key(ec.SECP256R1())
        return SigningKey(private=private, chain=issue(private.public_key(), name, org))

    @staticmethod
    def load(directory: Path, passphrase: str | None = None) -> SigningKey:
        """Read a key that `save` has written.

        Raises:
            KeyFileError: If it is missing, malformed, readable by others, or the passphrase is
                wrong or missing.
        """
        chain = key_folders.read_certificates(directory)
        pem = key_folders.read_private(directory)
        private = key_folders.private_key(pem, passphrase, directory / key_folders.PRIVATE)
        chain = key_folders.matching(chain, private.public_key(), directory)
        encrypted = key_folders.is_encrypted(pem)
        protection: Protection = "passphrase" if encrypted else "unattended"
        return SigningKey(private=private, chain=chain, protection=protection)

    def save(self, directory: Path, passphrase: str | None = None) -> None:
        """Write private key, public key and certificates into a folder only its owner can read.

        Args:
            directory: Must not hold a key already.
            passphrase: Encrypts the private key; without it the key is for unattended use.

        Raises:
            KeyFileError: If there is a key already, the passphrase is too short, or the private
                half is not here.
        """
        if self.private is None:
            raise KeyFileError("the private half of this key is not here, so it cannot be written")
        key_folders.write(
            directory, self.private, passphrase, self.certificates_pem, self.public_pem
        )

    def save_token(self, directory: Path, uri: str) -> None:
        """Write public key and certificates, and where the token with the private half is.

        Raises:
            KeyFileError: If there is a key already.
        """
        key_folders.write_token(directory, uri, self.certificates_pem, self.public_pem)

    @property
    def name(self) -> str:
        """Who the certificate names."""
        leaf = self.chain[0]
        return subject(leaf, x509.NameOID.COMMON_NAME) or self.org or ""

    @property
    def org(self) -> str | None:
        """The organisation the certificate names, if any."""
        return subject(self.chain[0], x509.NameOID.ORGANIZATION_NAME)

    @property
    def algorithm(self) -> Algorithm:
        """The kind of key."""
        return "rsa" if isinstance(self._public, rsa.RSAPublicKey) else "ecdsa"

    @property
    def public_pem(self) -> str:
        """The public key."""
        return self._public.public_bytes(_PEM, _PUBLIC_FORMAT).decode()

    @property
    def certificates_pem(self) -> str:
        """The certificate of the key, then its issuers."""
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

    def refuse_unusable(self) -> None:
        """Refuse to sign outside of the days of the certificate.

        Raises:
            KeyFileError: If they are over or have not begun, as after a clock was set back.
        """
        now = datetime.now(UTC)
        if now < self.not_before:
            raise KeyFileError(
                f"the certificate of the key begins on {self.not_before:%Y-%m-%d %H:%M} UTC, and "
                f"the clock of this machine says {now:%Y-%m-%d %H:%M} UTC: set the clock right"
            )
        if now > self.not_after:
            raise KeyFileError(
                f"the certificate of the key ended on {self.not_after.date()}; make another with "
                "`forget-audit keys new`, or look at the clock of this machine"
            )

    @property
    def _public(self) -> PublicKey:
        return supported(owner_key(self.chain[0]))

    def sign(self, data: bytes) -> bytes:
        """Return the signature of `data`: DER with the smaller of two `s`, or PKCS#1 v1.5 for RSA.

        The smaller `s` leaves one valid signature instead of two. A key that is here gives equal
        bytes for equal input, which keeps signed reports reproducible; a token need not. A key
        that does not fit its certificate is noticed here, not by the reader of the report.

        Raises:
            KeyFileError: If the private half is not here, or the token refuses.
        """
        if self.token is not None:
            signature = self.token(hashlib.sha256(data).digest())
        elif isinstance(self.private, rsa.RSAPrivateKey):
            signature = self.private.sign(data, padding.PKCS1v15(), hashes.SHA256())
        elif self.private is not None:
            signature = _ecdsa(self.private, data)
        else:
            raise KeyFileError("only the public half of this key is here, so it cannot sign")
        if self.algorithm == "ecdsa":
            signature = _with_smaller_s(signature)
        if not verify(self.public_pem, data, signature):
            raise KeyFileError("the key made a signature that its certificate does not fit")
        return signature


def verify(public_pem: str, data: bytes, signature: bytes) -> bool:
    """Say whether `signature` is the one valid form of a signature of `data` by this key.

    Raises:
        KeyFileError: If `public_pem` is no P-256 or RSA public key.
    """
    key = supported(public_key(public_pem))
    try:
        if isinstance(key, rsa.RSAPublicKey):
            key.verify(signature, data, padding.PKCS1v15(), hashes.SHA256())
            return True
        r, s = decode_dss_signature(signature)
        key.verify(signature, data, ec.ECDSA(hashes.SHA256()))
    except (InvalidSignature, ValueError):
        return False
    return s <= _ORDER // 2 and encode_dss_signature(r, s) == signature


def keyid_of(public_pem: str) -> str:
    """Return the SHA-256 of the DER public key in hexadecimal.

    Raises:
        KeyFileError: If `public_pem` is no P-256 or RSA public key.
    """
    return sha256(supported(public_key(public_pem)).public_bytes(_DER, _PUBLIC_FORMAT))


def default_folder() -> Path:
    """Return the folder of the key of this account, making one for unattended use at first."""
    directory = home() / "keys" / "default"
    if not directory.exists():
        log.info("making a first signing key in %s", directory)
        staging = key_folders.staging()
        try:
            SigningKey.create("forget-audit local key").save(staging)
            with contextlib.suppress(OSError):  # another process was first: its key is used
                staging.rename(directory)
        finally:
            shutil.rmtree(staging, ignore_errors=True)
    return directory


def certificates_of(pem: str) -> tuple[x509.Certificate, ...]:
    """Return the certificates in `pem`, that of the key first.

    Raises:
        KeyFileError: If there are none or they are malformed.
    """
    return read_chain(pem.encode("utf-8", "replace"))


def _ecdsa(private: ec.EllipticCurvePrivateKey, data: bytes) -> bytes:
    try:
        return private.sign(data, ec.ECDSA(hashes.SHA256(), deterministic_signing=True))
    except UnsupportedAlgorithm:  # the OpenSSL that cryptography was built on is too old
        return private.sign(data, ec.ECDSA(hashes.SHA256()))


def _with_smaller_s(signature: bytes) -> bytes:
    try:
        r, s = decode_dss_signature(signature)
    except ValueError as error:
        raise KeyFileError("the token returned something that is no signature") from error
    return encode_dss_signature(r, min(s, _ORDER - s))
