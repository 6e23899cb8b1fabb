"""Certificates and public keys: making, reading, putting in order, refusing what cannot sign.

A certificate of our own is a leaf under a small root that can sign nothing else. Those of others
are hostile input: whatever a parser raises becomes a `KeyFileError`.
"""

import warnings
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from forget_audit.errors import KeyFileError

PublicKey = ec.EllipticCurvePublicKey | rsa.RSAPublicKey
Read = TypeVar("Read")

LIFE = timedelta(days=3652)
LONGEST_NAME = 55
LONGEST_CHAIN = 10
RSA_BITS = (2048, 8192)
DOCUMENT_SIGNING = x509.ObjectIdentifier("1.3.6.1.5.5.7.3.36")


def public_key(pem: str) -> object:
    """Return the public key in `pem`, of whatever kind.

    Raises:
        KeyFileError: If there is none.
    """
    return _read("expected a PEM public key", lambda: load_pem_public_key(pem.encode()))


def supported(key: object) -> PublicKey:
    """Return `key` if reports can be signed with it.

    Raises:
        KeyFileError: If it is neither ECDSA P-256 nor RSA of a proper size.
    """
    wanted = "expected an ECDSA key on the curve P-256, or RSA of 2048 bits or more"
    if isinstance(key, ec.EllipticCurvePublicKey):
        if key.curve.name == "secp256r1":
            return key
        raise KeyFileError(f"{wanted}; found the curve {key.curve.name}, make a P-256 key")
    if isinstance(key, rsa.RSAPublicKey):
        if not RSA_BITS[0] <= key.key_size <= RSA_BITS[1]:
            raise KeyFileError(f"{wanted} (up to {RSA_BITS[1]}); found RSA of {key.key_size} bits")
        if key.public_numbers().e < 65537:
            raise KeyFileError(f"{wanted}; found RSA with a public exponent below 65537")
        return key
    if isinstance(key, (ed25519.Ed25519PublicKey, ed448.Ed448PublicKey)):
        raise KeyFileError(
            f"{wanted}; found an Edwards-curve key, whose signatures PDF viewers call broken: "
            "make a P-256 key"
        )
    raise KeyFileError(f"{wanted}; found {type(key).__name__}")


def read_chain(pem: bytes) -> tuple[x509.Certificate, ...]:
    """Return the certificates in `pem` in the order of the file.

    Raises:
        KeyFileError: If there are none, too many, or one is malformed.
    """
    chain = _read("expected PEM certificates", lambda: x509.load_pem_x509_certificates(pem))
    if len(chain) > LONGEST_CHAIN:
        raise KeyFileError(f"expected at most {LONGEST_CHAIN} certificates, found {len(chain)}")
    for certificate in chain:
        owner_key(certificate)
    return tuple(chain)


def owner_key(certificate: x509.Certificate) -> object:
    """Return the public key a certificate is for.

    Raises:
        KeyFileError: If it cannot be read.
    """
    return _read("expected a certificate with a public key", certificate.public_key)


def in_order(certificates: Iterable[x509.Certificate], key: object) -> tuple[x509.Certificate, ...]:
    """Return the certificate of `key`, then who issued it, and so on; others are left out.

    Of two certificates of one key the one that ends later counts.

    Raises:
        KeyFileError: If none is for this key.
    """
    left = sorted(certificates, key=lambda item: item.not_valid_after_utc, reverse=True)
    found = next((item for item in left if owner_key(item) == key), None)
    if found is None:
        raise KeyFileError("expected a certificate of the key, found none")
    chain = [found]
    while not _issued(chain[-1], chain[-1]):
        above = next((i for i in left if i not in chain and _issued(chain[-1], i)), None)
        if above is None:
            break
        chain.append(above)
    return tuple(chain)


def refuse_unfit(chain: tuple[x509.Certificate, ...]) -> None:
    """Refuse the certificate of a key that is not for signatures on documents.

    A certificate that says nothing of its use is only good by itself: under an authority,
    validators of PDF signatures take the silence for a no, after an audit of hours.

    Args:
        chain: The certificate of the key, then who issued it.

    Raises:
        KeyFileError: If its key usage leaves out signatures.
    """
    extensions = _read("expected readable extensions", lambda: chain[0].extensions)
    usage = [item.value for item in extensions if isinstance(item.value, x509.KeyUsage)]
    if usage and not (usage[0].digital_signature or usage[0].content_commitment):
        raise KeyFileError("the certificate does not allow digital signatures")
    if not usage and len(chain) > 1:
        raise KeyFileError(
            "the certificate does not say that it is for digital signatures (key usage)"
        )


def subject(certificate: x509.Certificate, oid: x509.ObjectIdentifier) -> str | None:
    """Return one part of the name of the owner, with U+FFFD for what cannot be printed."""
    values = _read(
        "expected a certificate with a name",
        lambda: certificate.subject.get_attributes_for_oid(oid),
    )
    if not values:
        return None
    value = values[0].value
    text = value if isinstance(value, str) else bytes(value).decode("utf-8", "replace")
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in text)


def _read(wanted: str, action: Callable[[], Read]) -> Read:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return action()
    except Exception as error:
        raise KeyFileError(f"{wanted}, found none that can be read ({error})") from error


def _issued(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
    except Exception:  # noqa: BLE001  whatever is wrong with it, it is not the issuer
        return False
    return True


def issue(
    public: PublicKey, name: str, org: str | None
) -> tuple[x509.Certificate, x509.Certificate]:
    """Return a certificate for `public` and the root that signed it, valid for ten years.

    The root's private key exists only inside this call. Viewers accept the leaf once its root is
    trusted: document signing alone is not enough for some, so mail protection stands beside it.

    Raises:
        KeyFileError: If the name cannot stand in a certificate.
    """
    for what, text in (("name", name), ("organisation", org or "-")):
        if not 1 <= len(text.strip()) <= LONGEST_NAME or not text.isprintable():
            raise KeyFileError(
                f"the {what} of a key must be 1 to {LONGEST_NAME} printable characters"
            )
    name, org = name.strip(), org.strip() if org else None
    private = ec.generate_private_key(ec.SECP256R1())
    start = datetime.now(UTC).replace(microsecond=0) - timedelta(minutes=5)
    root_name, leaf_name = _name(f"{name} root", org), _name(name, org)
    root_id = x509.SubjectKeyIdentifier.from_public_key(private.public_key())
    root = (
        _builder(root_name, root_name, private.public_key(), start)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .add_extension(root_id, critical=False)
        .sign(private, hashes.SHA256())
    )
    purposes = [ExtendedKeyUsageOID.EMAIL_PROTECTION, DOCUMENT_SIGNING]
    leaf = (
        _builder(leaf_name, root_name, public, start)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(root_id), critical=False
        )
        .sign(private, hashes.SHA256())
    )
    return leaf, root


def _name(common: str, org: str | None) -> x509.Name:
    parts = [x509.NameAttribute(NameOID.COMMON_NAME, common)]
    if org:
        parts.append(x509.NameAttribute(NameOID.ORGANIZATION_NAME, org))
    return x509.Name(parts)


def _builder(
    subject: x509.Name, issuer: x509.Name, public: PublicKey, start: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + LIFE)
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=not signs_certificates,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )
