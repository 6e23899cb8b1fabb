"""Encrypted private key files: PKCS#8 with PBES2 at 600,000 rounds.

The usual writers fix the rounds at 2,048, which is too few for a passphrase. The structure is the
standard one (RFC 8018), so openssl and every common library read it.
"""

import secrets

from asn1crypto import algos, keys, pem
from cryptography.hazmat.primitives import hashes, padding
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.kdf.pbkdf2 import PBKDF2HMAC

ROUNDS = 600_000


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
