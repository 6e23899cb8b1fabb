"""Files of a signing key: readable by their owner alone, encrypted under a passphrase if wished."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from forget_audit.errors import KeyFileError, StorageError
from forget_audit.faults import named
from forget_audit.keys.certificates import in_order, owner_key, read_chain, supported
from forget_audit.keys.encrypted import encrypted_pem, refuse_slow_pem
from forget_audit.whole_files import write_output

PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey

PRIVATE, PUBLIC, CERTIFICATES = "key.pem", "public.pem", "certificates.pem"
TOKEN = "token.uri"  # noqa: S105  the name of a file
SHORTEST_PASSPHRASE = 12
LARGEST = 1024 * 1024
_ENCRYPTED = b"-----BEGIN ENCRYPTED PRIVATE KEY-----"


def home() -> Path:
    """Return the folder of keys and trust: `$FORGET_AUDIT_HOME` or `~/.config/forget-audit`.

    Raises:
        KeyFileError: If there is neither.
    """
    given = os.environ.get("FORGET_AUDIT_HOME")
    if given:
        return Path(given)
    try:
        return Path.home() / ".config" / "forget-audit"
    except RuntimeError as error:  # such as in a container, under a number without a name
        raise KeyFileError(
            "this account has no home folder for keys and ledger: set FORGET_AUDIT_HOME to one"
        ) from error


def staging() -> Path:
    """Make an empty folder beside the keys of this account, where a new one is written first."""
    place = home() / "keys"
    with named(place):
        home().mkdir(mode=0o700, parents=True, exist_ok=True)
        place.mkdir(mode=0o700, exist_ok=True)
        return Path(tempfile.mkdtemp(dir=place, prefix=".new-"))


def read_owned(path: Path) -> bytes:
    """Return the content of a file that only its owner may read.

    Raises:
        KeyFileError: If others may read it, or it is too large for a key.
        OSError: If it cannot be read.
    """
    with path.open("rb") as file:
        _refuse_if_shared(path, os.fstat(file.fileno()).st_mode)
        content = file.read(LARGEST + 1)
    if len(content) > LARGEST:
        raise KeyFileError(f"{path}: too large for a key")
    return content


def read_certificates(directory: Path) -> tuple[x509.Certificate, ...]:
    """Return the certificates of a key folder, that of the key first.

    Raises:
        KeyFileError: If they are missing, malformed, or the folder is open to others.
    """
    try:
        _refuse_if_shared(directory, directory.stat().st_mode)
        return read_chain((directory / CERTIFICATES).read_bytes())
    except OSError as error:
        raise KeyFileError(f"{directory}: no signing key ({error.strerror})") from error


def read_private(directory: Path) -> bytes:
    """Return the private key file of a key folder as it stands there.

    Raises:
        KeyFileError: If it is missing or others may read it.
    """
    try:
        return read_owned(directory / PRIVATE)
    except OSError as error:
        raise KeyFileError(f"{directory}: no signing key ({error.strerror})") from error


def token_uri(directory: Path) -> str | None:
    """Return the URI of the token a key folder points to, if its key lies in one.

    Raises:
        KeyFileError: If others may read it.
    """
    try:
        return read_owned(directory / TOKEN).decode("utf-8", "replace").strip()
    except OSError:
        return None


def is_encrypted(pem: bytes) -> bool:
    """Say whether a private key file needs a passphrase."""
    return pem.lstrip().startswith(_ENCRYPTED)


def private_key(pem: bytes, passphrase: str | None, path: Path) -> PrivateKey:
    """Return the private key in a PEM file.

    Args:
        pem: The file.
        passphrase: Left unused if the file is not encrypted.
        path: For messages.

    Raises:
        KeyFileError: If the passphrase is wrong or missing, or the kind of key cannot sign.
    """
    encrypted = is_encrypted(pem)
    if encrypted and passphrase is None:
        raise KeyFileError(f"{path}: the key is encrypted, give its passphrase")
    secret = as_bytes(passphrase) if encrypted and passphrase is not None else None
    try:
        refuse_slow_pem(pem)
    except KeyFileError as error:
        raise KeyFileError(f"{path}: {error}") from error
    try:
        found = serialization.load_pem_private_key(pem, secret)
    except Exception as error:
        reason = "wrong passphrase, or a damaged key" if encrypted else "not a private key"
        raise KeyFileError(f"{path}: {reason}") from error
    return usable(found, path)


def usable(key: object, path: Path) -> PrivateKey:
    """Return a private key if reports can be signed with it.

    Raises:
        KeyFileError: If it is of another kind or too short.
    """
    public = getattr(key, "public_key", lambda: key)()
    try:
        supported(public)
    except KeyFileError as error:
        raise KeyFileError(f"{path}: {error}") from error
    if not isinstance(key, (ec.EllipticCurvePrivateKey, rsa.RSAPrivateKey)):
        raise KeyFileError(f"{path}: not a private key")
    return key


def matching(
    chain: tuple[x509.Certificate, ...], key: object, directory: Path
) -> tuple[x509.Certificate, ...]:
    """Return the certificates of a folder if they are those of its key.

    Raises:
        KeyFileError: If the first is of another key.
    """
    if owner_key(chain[0]) != key:
        raise KeyFileError(f"{directory}: the certificate belongs to another key")
    return in_order(chain, key)


def write(
    directory: Path, private: PrivateKey, passphrase: str | None, certificates: str, public: str
) -> None:
    """Write a key folder: private key 0600 in a folder 0700.

    Raises:
        KeyFileError: If there is a key already, others may enter the folder, or the passphrase
            is too short.
    """
    if passphrase is not None:
        refuse_short(passphrase)
    plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    if passphrase is None:
        pem = private.private_bytes(serialization.Encoding.PEM, *plain)
    else:
        der = private.private_bytes(serialization.Encoding.DER, *plain)
        pem = encrypted_pem(der, as_bytes(passphrase))
    _write(directory, PRIVATE, pem, certificates, public)


def write_token(directory: Path, uri: str, certificates: str, public: str) -> None:
    """Write a key folder whose private half lies in a token.

    Raises:
        KeyFileError: If there is a key already, or others may enter the folder.
    """
    _write(directory, TOKEN, f"{uri}\n".encode(), certificates, public)


def refuse_short(passphrase: str) -> None:
    """Refuse a passphrase that is too short for a new key.

    Raises:
        KeyFileError: If it has fewer than 12 characters.
    """
    if len(passphrase) < SHORTEST_PASSPHRASE:
        raise KeyFileError(
            f"expected a passphrase of at least {SHORTEST_PASSPHRASE} characters, found "
            f"{len(passphrase)}"
        )


def as_bytes(passphrase: str) -> bytes:
    """Return the bytes openssl would see, also of what is not valid UTF-8 in the environment.

    Raises:
        KeyFileError: If it holds a null character, with which a passphrase ends elsewhere.
    """
    if "\0" in passphrase:
        raise KeyFileError("expected a passphrase without a null character")
    return passphrase.encode("utf-8", "surrogateescape")


def _write(directory: Path, name: str, secret: bytes, certificates: str, public: str) -> None:
    with named(directory):
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    _refuse_if_shared(directory, directory.stat().st_mode)
    if any((directory / other).exists() for other in (PRIVATE, TOKEN)):
        raise KeyFileError(f"{directory}: holds a key already, choose another folder")
    # O_EXCL: of two processes that got here one fails, and neither overwrites the other's key
    place = directory / name
    with named(place):
        descriptor = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with named(place), os.fdopen(descriptor, "wb") as file:
            file.write(secret)
        write_output(directory / CERTIFICATES, certificates)
        write_output(directory / PUBLIC, public)
    except StorageError:  # half a key would stand in the way of the next try
        for part in (place, directory / CERTIFICATES, directory / PUBLIC):
            part.unlink(missing_ok=True)
        raise


def _refuse_if_shared(path: Path, mode: int) -> None:
    if mode & 0o077:
        wanted = "700" if path.is_dir() else "600"
        raise KeyFileError(
            f"{path}: open to other users (mode {mode & 0o777:03o}); run chmod {wanted} {path}"
        )
