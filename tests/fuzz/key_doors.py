"""Doors of keys: trust files, certificates, key folders, PKCS#12 files, tokens, proofs of time."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import cache, partial
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.serialization import PrivateFormat, pkcs12

from forget_audit import handed
from forget_audit import trust as trust_files
from forget_audit.keys.signing import SigningKey, verify
from forget_audit.keys.sources import find_key, public_half
from forget_audit.keys.token_uris import TokenUri
from forget_audit.reports import timestamps
from forget_audit.verification import policy
from forget_audit.verification.attested import read_attested
from tests.fixtures import attested, released
from tests.fixtures.timestamp_server import authority
from tests.fuzz import places
from tests.fuzz.doors import Door
from tests.fuzz.scratch import scratch
from tests.keys import material

DATA = b"the head of a ledger"
PEM = (b"-----BEGIN CERTIFICATE-----\n", b"-----END CERTIFICATE-----\n", b"PRIVATE KEY-----",
       b"-----BEGIN PUBLIC KEY-----\n", b"-----BEGIN ENCRYPTED PRIVATE KEY-----\n", b"\x30\x82",
       b"\x02\x04\x7f\xff\xff\xff", b"\x04\x82\xff\xff", b"\x06\x09\x2a\x86\x48\x86")  # fmt: skip


@cache
def _folder() -> Path:
    """A key folder without passphrase."""
    folder = scratch() / "key"
    material.own().save(folder)
    return folder


def enter_trust(data: bytes, folder: Path) -> object:
    """A trust file as its reader's own, and as handed over by somebody."""
    trust = trust_files.parse(data)
    for key in trust.keys:
        for role in ("tool", "reviewer", "timestamp", "x"):
            trust.believed(key.keyid, role)
            trust.believed(key.keyid, role, datetime(2026, 1, 1, tzinfo=UTC))
        trust.roots(key.roles[0], revoked=True)
        handed.is_authority(key)
        assert key.certificate_fingerprint
    (folder / "trust.json").write_bytes(data)
    return [key.name for key in handed.keys_of(folder, ("tool",))]


def enter_handed(data: bytes, folder: Path) -> object:
    """Whatever is handed over to be trusted: certificates in PEM or DER, a trust file."""
    path = folder / "file"
    path.write_bytes(data)
    keys = handed.keys_of(path, ("tool",))
    known = trust_files.Trust()
    for key in keys:
        handed.is_authority(key)
        known = known.add(key.public_key, key.certificates, key.name, ("tool",), key.revoked)
    known.save(folder / "out.json")
    assert trust_files.load(folder / "out.json").keys == known.keys
    return keys


def _certificates() -> Sequence[bytes]:
    _, above = material.authority()
    der = above[0].public_bytes(serialization.Encoding.DER)
    pem = b"".join(item.public_bytes(serialization.Encoding.PEM) for item in above)
    return [material.own().certificates_pem.encode(), der, pem, places.older_trust_file()]


def enter_key_folder(name: str, data: bytes, folder: Path) -> object:
    """A key folder in which one file holds something else: what signs must fit what verifies."""
    run = folder / "key"
    run.mkdir(mode=0o700)
    for item in _folder().iterdir():
        content = data if item.name == name else item.read_bytes()
        (run / item.name).write_bytes(content)
        (run / item.name).chmod(0o600)
    if name not in {item.name for item in _folder().iterdir()}:
        (run / name).write_bytes(data)
        (run / name).chmod(0o600)
    public_half(run)
    key = find_key(str(run), lambda: material.PASSPHRASE)
    return _signs(key)


def _signs(key: SigningKey) -> object:
    assert key.name is not None
    if not verify(key.public_pem, b"x", key.sign(b"x")):
        raise AssertionError("a key signs what it does not verify")
    return key.keyid


def enter_pkcs12(data: bytes, folder: Path) -> object:
    """A PKCS#12 file."""
    path = folder / "key.p12"
    path.write_bytes(data)
    path.chmod(0o600)
    return _signs(find_key(str(path), lambda: material.PASSPHRASE))


@cache
def pkcs12_files() -> Sequence[bytes]:
    """A key under a passphrase, of a short derivation, and one without."""
    key = material.own()
    assert key.private is not None
    quick = PrivateFormat.PKCS12.encryption_builder().kdf_rounds(50)
    locked = quick.build(material.PASSPHRASE.encode())
    about = (b"x", key.private, key.chain[0], list(key.chain[1:]))
    return [
        pkcs12.serialize_key_and_certificates(*about, way)
        for way in (locked, serialization.NoEncryption())
    ]


@cache
def _locked() -> Sequence[bytes]:
    """A key under a passphrase, of a short derivation, so that cases are quick; and a plain one."""
    _folder()
    key = material.own()
    assert key.private is not None
    pem, form = serialization.Encoding.PEM, PrivateFormat.PKCS8
    secret = serialization.BestAvailableEncryption(material.PASSPHRASE.encode())
    ways = (secret, serialization.NoEncryption())
    return [key.private.private_bytes(pem, form, way) for way in ways]


def enter_token(data: bytes, folder: Path) -> object:
    """The name of a key in a token."""
    return TokenUri.parse(data.decode("utf-8", "surrogateescape"))


@cache
def _stamped() -> tuple[bytes, tuple[object, ...]]:
    with authority() as made:
        return timestamps.stamp(DATA, made.url), (made.root,)


def timestamp_seed() -> bytes:
    """Return a proof of time."""
    return _stamped()[0]


def enter_timestamp(data: bytes, folder: Path) -> object:
    """A proof of time: a changed one proves nothing, or the same moment."""
    token, roots = _stamped()
    found = timestamps.check(data, DATA, roots)  # type: ignore[arg-type]
    if found != timestamps.check(token, DATA, roots):  # type: ignore[arg-type]
        raise AssertionError(f"a changed token proves another moment, {found}")
    return found


def enter_policy(data: bytes, folder: Path) -> object:
    """What is asked of reports before a deployment."""
    path = folder / "policy.toml"
    path.write_bytes(data)
    asked = policy.load(path)
    claim = read_attested(attested.attestation()).claim
    return [str(item) for item in policy.differences(asked, claim)]


POLICY = b"""profile = "standard"
claims = ["artifact"]
access = ["weights", "answers"]
controller = "Example Controller Ltd"
max_age_days = 90
min_retrained = 19
reviewer = true
unattended_keys = false
ledger = true
profile_digest = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
"""


def _trust_seeds() -> Sequence[bytes]:
    day = datetime(2026, 11, 1, tzinfo=UTC).date()
    revoked = attested.both().revoke(released.key().keyid, day, "lost")
    revoked.save(scratch() / "revoked.json")
    return [places.older_trust_file(), (scratch() / "revoked.json").read_bytes()]


DOORS: tuple[Door, ...] = (
    Door(
        name="trust-file",
        seeds=_trust_seeds,
        enter=enter_trust,
        suffix=".json",
        dictionary=PEM,
        share=2,
    ),
    Door(name="handed-over", seeds=_certificates, enter=enter_handed, dictionary=PEM, share=2),
    Door(
        name="key-private",
        seeds=_locked,
        enter=partial(enter_key_folder, "key.pem"),
        dictionary=PEM,
    ),
    Door(
        name="key-certificates",
        seeds=lambda: [(_folder() / "certificates.pem").read_bytes()],
        enter=partial(enter_key_folder, "certificates.pem"),
        dictionary=PEM,
        share=1.5,
    ),
    Door(name="key-pkcs12", seeds=pkcs12_files, enter=enter_pkcs12, dictionary=PEM),
    Door(
        name="key-token-uri",
        enter=enter_token,
        seeds=lambda: [b"pkcs11:token=audit;object=signer;type=private?module-path=/usr/lib/x.so"],
        dictionary=(b"pin-value=", b"%00", b"%ff", b"slot-id=", b";", b"&", b"id=%01", b"?"),
        share=2,
    ),
    Door(
        name="timestamp",
        seeds=lambda: [timestamp_seed()],
        enter=enter_timestamp,
        dictionary=PEM,
        share=0.5,
    ),
    Door(name="policy", seeds=lambda: [POLICY], enter=enter_policy, suffix=".toml"),
)
