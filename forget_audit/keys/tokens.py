"""Keys that never leave a token: smart cards and hardware modules, spoken to over PKCS#11.

The token gets a SHA-256 digest and signs it with its bare mechanism, which every token has; the
combined ones are missing on some.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.serialization import load_der_public_key

from forget_audit.errors import KeyFileError, MissingDependency
from forget_audit.keys.certificates import PublicKey, in_order, owner_key, supported
from forget_audit.keys.token_uris import OF_TOKEN, PIN, TokenUri

INSTALL = "keys in tokens need python-pkcs11: python -m pip install 'forget-audit[hsm]'"

_DIGEST_INFO = bytes.fromhex("3031300d060960864801650304020105000420")


@dataclass(frozen=True, kw_only=True)
class TokenKey:
    """A private key in a token.

    Each signature logs in anew: an audit takes hours, and tokens are pulled out and sessions end.

    Args:
        uri: Where it is.
        pin: Of the token.
        public: Its public half.
        certificates: All that lie in the token, in no order.
    """

    uri: TokenUri
    pin: str = field(repr=False)
    public: PublicKey
    certificates: tuple[x509.Certificate, ...]

    @property
    def chain(self) -> tuple[x509.Certificate, ...]:
        """The certificate of the key, then who issued it.

        Raises:
            KeyFileError: If the token holds none for this key.
        """
        try:
            return in_order(self.certificates, self.public)
        except KeyFileError as error:
            raise KeyFileError(
                "the token holds no certificate of this key; make one with: forget-audit keys new "
                f"--name NAME --token '{self.uri.text}'"
            ) from error

    def sign(self, digest: bytes) -> bytes:
        """Return the signature of a SHA-256 digest: DER for ECDSA, bare for RSA.

        Raises:
            KeyFileError: If the token is gone or refuses.
        """
        from pkcs11 import Attribute, KeyType, Mechanism

        with _session(self.uri, self.pin) as session:
            key = _private_key(session, self.uri)
            if key[Attribute.KEY_TYPE] == KeyType.RSA:
                return bytes(key.sign(_DIGEST_INFO + digest, mechanism=Mechanism.RSA_PKCS))
            both = bytes(key.sign(digest, mechanism=Mechanism.ECDSA))
        half = len(both) // 2
        return encode_dss_signature(int.from_bytes(both[:half]), int.from_bytes(both[half:]))


def find(text: str, ask: Callable[[], str] | None) -> TokenKey:
    """Return the key a URI names.

    Args:
        text: The URI.
        ask: Called for the PIN if the environment does not hold it.

    Raises:
        KeyFileError: If there is no such key, there are several, or the PIN is wrong.
        MissingDependency: If python-pkcs11 is not installed.
    """
    uri = TokenUri.parse(text)
    with _words(uri):
        _token(uri)  # a wrong name should be noticed before a PIN is asked for
    pin = os.environ.get(PIN)
    if pin is None:
        if ask is None:
            raise KeyFileError(f"expected the PIN of the token in the variable {PIN}")
        pin = ask()
    with _session(uri, pin) as session:
        private = _private_key(session, uri)
        certificates = _certificates(session)
        public = _public_key(session, private, certificates)
        known = tuple(certificate for _, certificate in certificates)
        return TokenKey(uri=uri, pin=pin, public=public, certificates=known)


@contextmanager
def _session(uri: TokenUri, pin: str) -> Iterator[Any]:
    """Log in, and turn what the module raises into a `KeyFileError`."""
    with _words(uri), _token(uri).open(user_pin=pin) as session:
        yield session


@contextmanager
def _words(uri: TokenUri) -> Iterator[None]:
    try:
        import pkcs11
    except ImportError as error:
        raise MissingDependency(INSTALL) from error
    known = (
        (pkcs11.PinIncorrect, "wrong PIN; most tokens lock after three"),
        (pkcs11.PinLenRange, "wrong PIN; most tokens lock after three"),
        (pkcs11.PinLocked, "the PIN is locked; unlock it with the token's own program"),
        (pkcs11.UserPinNotInitialized, "the token has no user PIN yet"),
        (pkcs11.UserAlreadyLoggedIn, "another part of this process is logged in to the token"),
        ((pkcs11.MechanismInvalid, pkcs11.KeyTypeInconsistent), "this key cannot sign"),
        (pkcs11.TokenNotPresent, "the token was taken out"),
    )
    try:
        yield
    except pkcs11.PKCS11Error as error:
        reason = next((words for kind, words in known if isinstance(error, kind)), None)
        if reason is None:
            detail = " ".join(filter(None, (type(error).__name__, str(error))))
            reason = f"the module {uri.module} says {detail}"
        raise KeyFileError(f"{uri.text}: {reason}") from error


def _token(uri: TokenUri) -> Any:
    import pkcs11

    def names(token: Any) -> dict[str, bytes]:
        return {
            "token": token.label.encode(),
            "serial": bytes(token.serial),
            "manufacturer": token.manufacturer_id.encode(),
            "model": token.model.encode(),
            "slot-id": str(token.slot.slot_id).encode(),
        }

    tokens = [
        token
        for token in pkcs11.lib(uri.module).get_tokens()
        if token.flags & pkcs11.TokenFlag.TOKEN_INITIALIZED
    ]
    wanted = {name: value for name, value in uri.wanted.items() if name in OF_TOKEN}
    found = [token for token in tokens if wanted.items() <= names(token).items()]
    if len(found) != 1:
        labels = ", ".join(ascii(token.label) for token in tokens) or "none"
        raise KeyFileError(
            f"expected one token that fits {uri.text}, found {len(found)}; there are: {labels}"
        )
    return found[0]


def _private_key(session: Any, uri: TokenUri) -> Any:
    from pkcs11 import Attribute, ObjectClass

    keys = list(session.get_objects({Attribute.CLASS: ObjectClass.PRIVATE_KEY}))
    found = [
        key
        for key in keys
        if uri.wanted.get("object", key[Attribute.LABEL].encode()) == key[Attribute.LABEL].encode()
        and uri.wanted.get("id", key[Attribute.ID]) == key[Attribute.ID]
    ]
    if len(found) != 1:
        labels = ", ".join(
            sorted(
                f"object={key[Attribute.LABEL]!a} id=%{key[Attribute.ID].hex('%')}" for key in keys
            )
        )
        raise KeyFileError(
            f"expected one private key that fits {uri.text}, found {len(found)}; there are: "
            f"{labels or 'none'}"
        )
    return found[0]


def _public_key(
    session: Any, private: Any, certificates: list[tuple[bytes, x509.Certificate]]
) -> PublicKey:
    """Return the public half: from its object in the token, else from a certificate."""
    from pkcs11 import Attribute, KeyType, ObjectClass
    from pkcs11.util.ec import encode_ec_public_key
    from pkcs11.util.rsa import encode_rsa_public_key

    kind, name = private[Attribute.KEY_TYPE], private[Attribute.ID]
    encode = {KeyType.EC: encode_ec_public_key, KeyType.RSA: encode_rsa_public_key}.get(kind)
    if encode is None:
        raise KeyFileError(
            f"expected an ECDSA key on the curve P-256, or RSA; found {getattr(kind, 'name', kind)}"
        )
    wanted = {Attribute.CLASS: ObjectClass.PUBLIC_KEY, Attribute.ID: name}
    for item in list(session.get_objects(wanted)):
        if item[Attribute.KEY_TYPE] == kind:
            return _loaded(encode, item)
    for other, certificate in certificates:
        if other == name:
            return supported(owner_key(certificate))
    raise KeyFileError("the token holds neither public key nor certificate of this key")


def _loaded(encode: Callable[[Any], bytes], item: Any) -> PublicKey:
    try:
        key = load_der_public_key(encode(item))
    except Exception as error:
        raise KeyFileError("the token holds a public key that cannot be read") from error
    return supported(key)


def _certificates(session: Any) -> list[tuple[bytes, x509.Certificate]]:
    from pkcs11 import Attribute, ObjectClass

    found = []
    for item in list(session.get_objects({Attribute.CLASS: ObjectClass.CERTIFICATE})):
        try:
            certificate = x509.load_der_x509_certificate(bytes(item[Attribute.VALUE]))
        except (ValueError, TypeError):  # some tokens hold attribute certificates
            continue
        found.append((bytes(item[Attribute.ID]), certificate))
    return found
