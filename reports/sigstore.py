"""An envelope in the wrapping that Sigstore's tools read: a bundle, derived and never kept apart.

Two readers want two key ids. in-toto's Python library takes a signature only if its keyid is that
of the key; cosign takes a bundle only if the keyid is empty. The keyid is not signed, so the
envelope keeps it and the bundle goes without. What is signed is the same, byte for byte.

A bundle holds one signature and names the key by a hint: the SHA-256 of the DER public key in
base64, as cosign writes it. There is no certificate, timestamp or log entry in it, so a verifier
must be told the public key, and not to expect an entry in a transparency log.

References:
    sigstore/protobuf-specs, sigstore_bundle.proto, v0.3; sigstore/cosign, issue 4549.
"""

import base64

from forget_audit.digests import canonical_json
from forget_audit.reports import envelope
from forget_audit.reports.attestation import open_self_signed

MEDIA_TYPE = "application/vnd.dev.sigstore.bundle.v0.3+json"


def bundle(data: bytes) -> bytes:
    """Return the bundle of an envelope, canonical JSON.

    Raises:
        VerificationError: If the envelope is not intact.
    """
    keyid = open_self_signed(data).keyid
    payload, _, signature = envelope.parts(data)
    return canonical_json(
        {
            "mediaType": MEDIA_TYPE,
            "verificationMaterial": {
                "publicKey": {"hint": _encoded(bytes.fromhex(keyid))},
                "tlogEntries": [],
            },
            "dsseEnvelope": {
                "payload": _encoded(payload),
                "payloadType": envelope.PAYLOAD_TYPE,
                "signatures": [{"keyid": "", "sig": _encoded(signature)}],
            },
        }
    )


def _encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()
