"""The signature blob of a PDF (CMS) in the one form in which we write it.

Readers look at some parts of such a blob only, so many of its bytes could be changed unnoticed:
further certificates, names of algorithms, padding. So we sign which certificates go with it, and
a reader here builds the blob once more from its signed parts: it must come out the same.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from forget_audit.digests import sha256
from forget_audit.errors import VerificationError
from forget_audit.keys.signing import keyid_of, verify

CERTIFICATES, DIGEST = "signing_certificate_v2", "message_digest"
STAMP = "signature_time_stamp_token"


@dataclass(frozen=True, kw_only=True)
class Blob:
    """A signature, its own bytes beyond doubt; whether it fits the document is another question.

    Args:
        keyid: Of the key that signed.
        digest: SHA-256 of the document that was signed, in hexadecimal.
        signature: Its bare value, which a timestamp is for.
        token: RFC 3161 timestamp of it, if there is one.
    """

    keyid: str
    digest: str
    signature: bytes
    token: bytes | None


def read(content: bytes) -> Blob:
    """Take a signature blob apart, with the zeros that fill its place.

    Raises:
        VerificationError: If one byte is other than we would have written it.
    """
    from asn1crypto import cms

    message = cms.ContentInfo.load(content)
    size = len(message.dump())
    if any(content[size:]):
        raise VerificationError("there is something behind the signature in the room kept for it")
    infos = message["content"]["signer_infos"]
    if len(infos) != 1:
        raise VerificationError(f"expected one signer in the signature, found {len(infos)}")
    info = infos[0]
    attributes = info["signed_attrs"].untag().dump()
    signed = cms.CMSAttributes.load(attributes)
    certificates = _named(signed, [item.chosen for item in message["content"]["certificates"]])
    signature = bytes(info["signature"].native)
    token = _token(info["unsigned_attrs"])
    leaf = x509.load_der_x509_certificate(certificates[0].dump())
    kind = "rsa" if isinstance(leaf.public_key(), rsa.RSAPublicKey) else "ecdsa"
    if _written(kind, certificates, signed, signature, token) != content[:size]:
        raise VerificationError("the signature was altered: it is not in the form we write")
    pem = leaf.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    if not verify(pem, attributes, signature):
        raise VerificationError("the signature was altered: its value is wrong")
    digest = bytes(_only(signed, DIGEST).native).hex()
    return Blob(keyid=keyid_of(pem), digest=digest, signature=signature, token=token)


def names(certificates: Sequence[x509.Certificate]) -> Any:
    """Return the attribute that names the certificates of a signature, that of its key first."""
    from asn1crypto import tsp

    digests = [bytes.fromhex(sha256(item.public_bytes(Encoding.DER))) for item in certificates]
    certs = [tsp.ESSCertIDv2({"cert_hash": digest}) for digest in digests]
    return tsp.SigningCertificateV2({"certs": certs})


def _named(signed: Any, certificates: Sequence[Any]) -> list[Any]:
    """Return the certificates in the order in which the signature names them."""
    found = {sha256(item.dump()): item for item in certificates}
    named = [bytes(item["cert_hash"].native).hex() for item in _only(signed, CERTIFICATES)["certs"]]
    if not named or sorted(named) != sorted(sha256(item.dump()) for item in certificates):
        raise VerificationError("the certificates in the signature are not those that it names")
    return [found[digest] for digest in named]


def _only(signed: Any, kind: str) -> Any:
    values = [value for item in signed if item["type"].native == kind for value in item["values"]]
    if len(values) != 1:
        raise VerificationError(f"expected one {kind} in the signature, found {len(values)}")
    return values[0]


def _token(attributes: Any) -> bytes | None:
    from asn1crypto import core

    if isinstance(attributes, core.Void):
        return None
    if len(attributes) != 1 or attributes[0]["type"].native != STAMP:
        raise VerificationError("the signature carries more than a timestamp beside itself")
    if len(attributes[0]["values"]) != 1:
        raise VerificationError("expected one timestamp in the signature")
    return bytes(attributes[0]["values"][0].dump())


def _written(
    kind: str, certificates: Sequence[Any], signed: Any, signature: bytes, token: bytes | None
) -> bytes:
    """Return the blob as it is written for these parts."""
    from asn1crypto import algos, cms

    owner = certificates[0]
    digest = algos.DigestAlgorithm({"algorithm": "sha256"})
    serial = {"issuer": owner.issuer, "serial_number": owner.serial_number}
    parts: dict[str, Any] = {
        "version": "v1",
        "sid": cms.SignerIdentifier("issuer_and_serial_number", cms.IssuerAndSerialNumber(serial)),
        "digest_algorithm": digest,
        "signature_algorithm": algos.SignedDigestAlgorithm({"algorithm": f"sha256_{kind}"}),
        "signed_attrs": signed,
        "signature": signature,
    }
    if token is not None:
        stamp = cms.CMSAttribute({"type": STAMP, "values": [cms.ContentInfo.load(token)]})
        parts["unsigned_attrs"] = cms.CMSAttributes([stamp])
    data = {
        "version": "v1",
        "digest_algorithms": cms.DigestAlgorithms([digest]),
        "encap_content_info": {"content_type": "data"},
        "certificates": [cms.CertificateChoices("certificate", item) for item in certificates],
        "signer_infos": [cms.SignerInfo(parts)],
    }
    whole = {"content_type": "signed_data", "content": cms.SignedData(data)}
    written: bytes = cms.ContentInfo(whole).dump()
    return written
