"""Reading what others hand over to be trusted: a trust file, or certificates.

All of it is hostile until a person has compared the fingerprints. What a file says of roles is
shown and never followed.
"""

from __future__ import annotations

from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from forget_audit import trust
from forget_audit.errors import KeyFileError
from forget_audit.keys.certificates import in_order, owner_key, read_chain, subject
from forget_audit.keys.folders import CERTIFICATES
from forget_audit.keys.trusted import LONGEST_TEXT, TrustedKey

_PEM = serialization.Encoding.PEM
_DER = serialization.Encoding.DER


def keys_of(file: Path, roles: tuple[str, ...]) -> tuple[TrustedKey, ...]:
    """Return the keys a person was handed.

    Args:
        file: A trust file, a folder that holds one, or certificates of one key (PEM or DER).
        roles: What the reader means to trust them for.

    Raises:
        KeyFileError: If nothing usable is there, or a private key is.
    """
    path = file
    if file.is_dir():
        path = next(
            (file / name for name in ("trust.json", CERTIFICATES) if (file / name).is_file()), file
        )
    try:
        with path.open("rb") as opened:
            content = opened.read(trust.LARGEST + 1)
    except OSError as error:
        raise KeyFileError(
            f"{file}: expected a trust file, certificates, or a folder from `keys export` "
            f"({error.strerror})"
        ) from error
    try:
        if content.lstrip().startswith((b"{", b"[")):
            keys = trust.parse(content).keys
            if not keys:
                raise KeyFileError("a trust file without keys")  # noqa: TRY301  gets the path below
            return keys
        return (_of_certificates(content, roles),)
    except KeyFileError as error:
        raise KeyFileError(f"{path}: {error}") from error


def is_authority(key: TrustedKey) -> bool:
    """Say whether a certificate is there to issue others."""
    try:
        found = key.chain[0].extensions.get_extension_for_class(x509.BasicConstraints)
    except (ValueError, x509.ExtensionNotFound, x509.DuplicateExtension):
        return False
    return found.value.ca


def _of_certificates(content: bytes, roles: tuple[str, ...]) -> TrustedKey:
    if b"PRIVATE KEY-----" in content:
        raise KeyFileError("holds a private key, which its owner must never hand out")
    if content.startswith(b"\x30"):
        content = _from_der(content)
    elif b"-----BEGIN" not in content:
        raise KeyFileError("expected a trust file or certificates in PEM or DER")
    elif b"CERTIFICATE-----" not in content:
        raise KeyFileError("holds no certificate; ask for the folder that `keys export` writes")
    leaf = _leaf(read_chain(content))
    public: object = owner_key(leaf)
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    pem = public.public_bytes(_PEM, form).decode()  # type: ignore[attr-defined]
    name = next(
        filter(None, (subject(leaf, x509.NameOID.COMMON_NAME),
                      subject(leaf, x509.NameOID.ORGANIZATION_NAME), "no name")),
    )  # fmt: skip
    text = content.decode("ascii", "replace")
    return trust.Trust().add(pem, text, name[:LONGEST_TEXT], roles).keys[0]


def _leaf(certificates: tuple[x509.Certificate, ...]) -> x509.Certificate:
    """Return the certificate that leads to all the others."""
    for first in certificates:
        chain = in_order(certificates, owner_key(first))
        if {item.public_bytes(_DER) for item in chain} >= {
            item.public_bytes(_DER) for item in certificates
        }:
            return chain[0]
    raise KeyFileError(
        f"expected the certificates of one key and its issuers, found {len(certificates)} that do "
        "not belong together"
    )


def _from_der(content: bytes) -> bytes:
    try:
        return x509.load_der_x509_certificate(content).public_bytes(_PEM)
    except (ValueError, TypeError, x509.InvalidVersion) as error:
        raise KeyFileError("expected a certificate in DER") from error
