"""Keys and certificates for tests, made once a test run."""

import atexit
import shutil
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import pkcs12

from forget_audit.keys.signing import SigningKey

Private = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey
PASSPHRASE = "correct horse battery"
MAKERS: dict[str, Callable[[], Private]] = {
    "p256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "p384": lambda: ec.generate_private_key(ec.SECP384R1()),
    "rsa": lambda: rsa.generate_private_key(65537, 2048),
    "rsa1024": lambda: rsa.generate_private_key(65537, 1024),  # noqa: S505  to be refused
    "rsa3": lambda: rsa.generate_private_key(3, 2048),
    "ed25519": ed25519.Ed25519PrivateKey.generate,
}


@cache
def own() -> SigningKey:
    """A key as the program makes them."""
    return SigningKey.create("Example Auditor", "Example Controller Ltd")


@cache
def locked() -> Path:
    """A folder with that key under a passphrase; never change it. Locking one takes long."""
    parent = Path(tempfile.mkdtemp(prefix="forget-audit-"))
    atexit.register(shutil.rmtree, parent, ignore_errors=True)
    own().save(parent / "key", PASSPHRASE)
    return parent / "key"


@cache
def private(kind: str) -> Private:
    return MAKERS[kind]()


@cache
def authority() -> tuple[tuple[ec.EllipticCurvePrivateKey, ...], tuple[x509.Certificate, ...]]:
    """An issuing authority under a root, as companies have them: issuing one first."""
    keys = (ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1()))
    root = certificate("Root", keys[1].public_key(), "Root", keys[1], ca=True)
    middle = certificate("Issuing", keys[0].public_key(), "Root", keys[1], ca=True)
    return keys, (middle, root)


def certificate(
    name: str,
    public: ec.EllipticCurvePublicKey | rsa.RSAPublicKey | ed25519.Ed25519PublicKey,
    issuer: str,
    by: Private,
    *,
    ca: bool = False,
    signs: bool | None = True,
    days: tuple[int, int] = (-1, 300),
) -> x509.Certificate:
    """A certificate that is valid from and to a number of days from now.

    `signs` of None leaves out what the key is for.
    """
    now = datetime.now(UTC).replace(microsecond=0)
    usage = x509.KeyUsage(
        digital_signature=bool(signs), content_commitment=bool(signs), key_encipherment=not signs,
        data_encipherment=False, key_agreement=False, key_cert_sign=ca, crl_sign=ca,
        encipher_only=False, decipher_only=False,
    )  # fmt: skip
    builder = (
        x509.CertificateBuilder()
        .subject_name(_named(name))
        .issuer_name(_named(issuer))
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + timedelta(days=days[0]))
        .not_valid_after(now + timedelta(days=days[1]))
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
    )
    if signs is not None:
        builder = builder.add_extension(usage, critical=True)
    return builder.sign(by, None if isinstance(by, ed25519.Ed25519PrivateKey) else hashes.SHA256())


@cache
def issued(kind: str = "p256") -> tuple[x509.Certificate, ...]:
    """A certificate by the issuing authority, that authority, its root."""
    keys, above = authority()
    leaf = certificate("Jane Doe", private(kind).public_key(), "Issuing", keys[0])
    return (leaf, *above)


def pem(*certificates: x509.Certificate) -> str:
    return "".join(i.public_bytes(serialization.Encoding.PEM).decode() for i in certificates)


def public_pem(key: Private) -> str:
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return key.public_key().public_bytes(serialization.Encoding.PEM, form).decode()


def p12(
    path: Path,
    kind: str = "p256",
    passphrase: str | None = PASSPHRASE,
    chain: tuple[x509.Certificate, ...] | None = None,
) -> Path:
    """Write a PKCS#12 file with its certificates in no helpful order."""
    leaf, *others = issued(kind) if chain is None else chain or (None,)
    protection: serialization.KeySerializationEncryption = serialization.NoEncryption()
    if passphrase is not None:
        protection = serialization.BestAvailableEncryption(passphrase.encode())
    content = pkcs12.serialize_key_and_certificates(
        b"mine", private(kind), leaf, others[::-1] or None, protection
    )
    path.write_bytes(content)
    path.chmod(0o600)
    return path


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
