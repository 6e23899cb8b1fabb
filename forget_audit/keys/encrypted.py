"""Encrypted private key files: PKCS#8 with PBES2 at 600,000 rounds.

The usual writers fix the rounds at 2,048, which is too few for a passphrase. The structure is the
standard one (RFC 8018), so openssl and every common library read it.
"""

import secrets
from collections.abc import Iterator, Mapping
from typing import Any

from asn1crypto import algos, keys, pem
from cryptography.hazmat.primitives import hashes, padding
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.kdf.pbkdf2 import PBKDF2HMAC

from forget_audit.errors import KeyFileError

ROUNDS = 600_000
MOST_ROUNDS = 3_000_000  # beyond it opening a file takes longer than anybody waits
_COUNTS = ("iteration_count", "iterations", "cost_parameter")


def encrypted_pem(pkcs8: bytes, passphrase: bytes) -> bytes:
    """Return the DER private key `pkcs8` as a PEM file that the bytes of a passphrase open."""
    salt, start = secrets.token_bytes(16), secrets.token_bytes(16)
    secret = PBKDF2HMAC(hashes.SHA256(), 32, salt, ROUNDS).derive(passphrase)
    pad = padding.PKCS7(128).padder()
    encryptor = Cipher(algorithms.AES(secret), modes.CBC(start)).encryptor()
    content = encryptor.update(pad.update(pkcs8) + pad.finalize()) + encryptor.finalize()
    derivation = algos.Pbkdf2Params(
        {
            "salt": algos.Pbkdf2Salt(name="specified", value=salt),
            "iteration_count": ROUNDS,
            "prf": {"algorithm": "sha256"},
        }
    )
    scheme = algos.Pbes2Params(
        {
            "key_derivation_func": {"algorithm": "pbkdf2", "parameters": derivation},
            "encryption_scheme": {"algorithm": "aes256_cbc", "parameters": start},
        }
    )
    info = keys.EncryptedPrivateKeyInfo(
        {
            "encryption_algorithm": {"algorithm": "pbes2", "parameters": scheme},
            "encrypted_data": content,
        }
    )
    return bytes(pem.armor("ENCRYPTED PRIVATE KEY", info.dump()))


def refuse_slow(structure: Any) -> None:
    """Refuse what would take minutes to open, since a file can ask for any number of rounds.

    Args:
        structure: What asn1crypto has read of a file, as plain lists and tables.

    Raises:
        KeyFileError: If a passphrase goes through more than three million rounds.
    """
    most = max(_rounds(structure), default=0)
    if most > MOST_ROUNDS:
        raise KeyFileError(
            f"asks for {most:,} rounds of its passphrase, the most is {MOST_ROUNDS:,}; write it "
            f"anew with fewer, such as {ROUNDS:,}"
        )


def refuse_slow_pem(content: bytes) -> None:
    """Refuse an encrypted PKCS#8 file that would take minutes to open; others are left alone.

    Raises:
        KeyFileError: As by `refuse_slow`.
    """
    try:
        der = pem.unarmor(content)[2]
        found = keys.EncryptedPrivateKeyInfo.load(der)["encryption_algorithm"].native
    except (ValueError, TypeError, KeyError):
        return
    refuse_slow(found)


def _rounds(value: Any) -> Iterator[int]:
    if isinstance(value, Mapping):
        for name, item in value.items():
            if name in _COUNTS and isinstance(item, int):
                yield item
            yield from _rounds(item)
    elif isinstance(value, list):
        for item in value:
            yield from _rounds(item)
