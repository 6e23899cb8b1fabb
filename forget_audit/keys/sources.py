"""Where a signing key comes from: a folder, a PKCS#12 file, or a token."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from functools import cache
from pathlib import Path

from asn1crypto import pkcs12 as structure
from cryptography.hazmat.primitives.serialization import pkcs12

from forget_audit.errors import KeyFileError
from forget_audit.keys import folders as key_folders
from forget_audit.keys import tokens
from forget_audit.keys.certificates import in_order, refuse_unfit
from forget_audit.keys.encrypted import refuse_slow
from forget_audit.keys.signing import SigningKey, default_folder
from forget_audit.keys.token_uris import SCHEME

Ask = Callable[[], str]

SUFFIXES = (".p12", ".pfx")
LONGEST_SECRET = 4096
_KEY_BAGS = ("key_bag", "pkcs8_shrouded_key_bag")


def find_key(spec: str | None = None, ask: Ask | None = None) -> SigningKey:
    """Return the signing key that `spec` names.

    Args:
        spec: A key folder, a PKCS#12 file, or a `pkcs11:` URI; the key of this account if left
            out, made for unattended use the first time.
        ask: Called for passphrase or PIN if one is needed.

    Raises:
        KeyFileError: If there is no such key or it cannot be used.
        MissingDependency: If a token is asked for and python-pkcs11 is not installed.
    """
    if spec is None:
        return open_folder(default_folder(), ask)
    if spec.startswith(SCHEME):
        key = tokens.find(spec, ask)
        return _of_token(key, SigningKey(chain=key.chain))
    path = Path(spec)
    if path.is_dir():
        return open_folder(path, ask)
    if path.suffix.lower() in SUFFIXES:
        return _from_pkcs12(path, ask)
    raise KeyFileError(
        f"{spec}: expected a folder written by `keys new`, a PKCS#12 file ({' or '.join(SUFFIXES)})"
        f", or a {SCHEME} URI; found "
        + ("another kind of file" if path.exists() else "nothing of that name")
    )


def open_folder(directory: Path, ask: Ask | None = None) -> SigningKey:
    """Return the key of a folder, which may point to a token.

    Raises:
        KeyFileError: If there is none, or passphrase or PIN are wrong.
    """
    uri = key_folders.token_uri(directory)
    if uri is not None:
        return _of_token(tokens.find(uri, ask), public_half(directory))
    locked = key_folders.is_encrypted(key_folders.read_private(directory))
    return SigningKey.load(directory, ask() if ask and locked else None)


def public_half(directory: Path) -> SigningKey:
    """Return what anybody may know of the key in a folder: it shows itself but cannot sign.

    Raises:
        KeyFileError: If there is no key.
    """
    chain = key_folders.read_certificates(directory)
    if key_folders.token_uri(directory) is not None:
        return SigningKey(chain=chain, protection="token")
    locked = key_folders.is_encrypted(key_folders.read_private(directory))
    return SigningKey(chain=chain, protection="passphrase" if locked else "unattended")


def asker(variable: str | None, descriptor: int | None, otherwise: Ask) -> Ask:
    """Return how to come by a passphrase: from a variable, a file descriptor, or a question.

    Args:
        variable: Name of an environment variable.
        descriptor: Number of an open file; its first line counts.
        otherwise: Used if neither is given.

    Raises:
        KeyFileError: If both are given. What is returned raises it if nothing can be read.
    """
    if variable is not None and descriptor is not None:
        raise KeyFileError("give either a variable or a file descriptor with the passphrase")
    if variable is not None:
        return lambda: _from_variable(variable)
    if descriptor is not None:
        return cache(lambda: _from_descriptor(descriptor))
    return otherwise


def _from_variable(name: str) -> str:
    value = os.environ.get(name)
    if not value:
        raise KeyFileError(f"expected a passphrase in the variable {name}, found nothing")
    return value


def _from_descriptor(number: int) -> str:
    try:
        with os.fdopen(number, "rb", closefd=False) as file:
            content = file.readline(LONGEST_SECRET)
    except (OSError, ValueError) as error:
        raise KeyFileError(f"file descriptor {number} cannot be read, is it open?") from error
    value = content.rstrip(b"\r\n")
    if not value:
        raise KeyFileError(f"expected a passphrase from file descriptor {number}, found nothing")
    return value.decode("utf-8", "surrogateescape")


def _of_token(key: tokens.TokenKey, public: SigningKey) -> SigningKey:
    try:
        chain = in_order(public.chain, key.public)
    except KeyFileError as error:
        raise KeyFileError("the token holds another key than the certificates say") from error
    refuse_unfit(chain)
    return SigningKey(chain=chain, protection="token", token=key.sign)


def _from_pkcs12(path: Path, ask: Ask | None) -> SigningKey:
    try:
        content = key_folders.read_owned(path)
    except OSError as error:
        raise KeyFileError(f"{path}: cannot be read ({error.strerror})") from error
    _refuse_several(content, path)
    locked = False
    loaded = _without_passphrase(content, path)
    if loaded is None:
        if ask is None:
            raise KeyFileError(f"{path}: give its passphrase")
        locked, loaded = True, _opened(content, ask(), path)
    if loaded.key is None:
        raise KeyFileError(f"{path}: holds no private key")
    private = key_folders.usable(loaded.key, path)
    held = [item for item in (loaded.cert, *loaded.additional_certs) if item is not None]
    if not held:
        raise KeyFileError(
            f"{path}: holds no certificate; put key and certificate together with: openssl pkcs12 "
            "-export -inkey key.pem -in certificates.pem -out both.p12"
        )
    try:
        chain = in_order((item.certificate for item in held), private.public_key())
        refuse_unfit(chain)
    except KeyFileError as error:
        raise KeyFileError(f"{path}: {error}") from error
    return SigningKey(
        private=private, chain=chain, protection="passphrase" if locked else "unattended"
    )


def _without_passphrase(content: bytes, path: Path) -> pkcs12.PKCS12KeyAndCertificates | None:
    for nothing in (None, ""):  # writers differ in what an empty passphrase is
        with contextlib.suppress(KeyFileError):
            return _opened(content, nothing, path)
    return None


def _opened(content: bytes, passphrase: str | None, path: Path) -> pkcs12.PKCS12KeyAndCertificates:
    secret = None if passphrase is None else key_folders.as_bytes(passphrase)
    try:
        return pkcs12.load_pkcs12(content, secret)
    except Exception as error:
        raise KeyFileError(
            f"{path}: wrong passphrase, or an encryption that is too old; a file by an old program "
            "is written anew with openssl pkcs12 -legacy"
        ) from error


def _refuse_several(content: bytes, path: Path) -> None:
    """Refuse what is no PKCS#12 file, slow to open, or holds several keys: readers take any."""
    protections: list[object] = []
    try:
        file = structure.Pfx.load(content, strict=True)
        plain = [
            structure.SafeContents.load(part["content"].native)
            for part in file.authenticated_safe
            if part["content_type"].native == "data"
        ]
        n_keys = sum(bag["bag_id"].native in _KEY_BAGS for bags in plain for bag in bags)
        protections += [file["mac_data"].native, *(bags.native for bags in plain)]
        protections += [
            part["content"]["encrypted_content_info"]["content_encryption_algorithm"].native
            for part in file.authenticated_safe
            if part["content_type"].native == "encrypted_data"
        ]
    except Exception as error:
        raise KeyFileError(f"{path}: not a PKCS#12 file") from error
    try:
        refuse_slow(protections)
    except KeyFileError as error:
        raise KeyFileError(f"{path}: {error}") from error
    if n_keys > 1:
        raise KeyFileError(f"{path}: holds {n_keys} private keys; export the one that signs alone")
