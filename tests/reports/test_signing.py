"""Keys: what stands on disk, who may read it, and what a signature is."""

import shutil
import stat
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import (
    decode_dss_signature,
    encode_dss_signature,
)

from forget_audit.errors import KeyFileError
from forget_audit.keys import signing
from forget_audit.keys.signing import SigningKey
from forget_audit.keys.sources import find_key
from tests.keys.material import own as key
from tests.keys.material import private, public_pem

PASSPHRASE = "correct horse battery"
ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
needs_openssl = pytest.mark.skipif(not shutil.which("openssl"), reason="openssl is not installed")


def run(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_a_key_survives_the_disk(tmp_path: Path) -> None:
    key().save(tmp_path / "key")
    again = SigningKey.load(tmp_path / "key")
    assert again.keyid == key().keyid
    assert again.certificate_fingerprint == key().certificate_fingerprint
    assert (again.name, again.org) == ("Example Auditor", "Example Controller Ltd")
    assert again.protection == "unattended"
    assert again.usable


def test_only_the_owner_may_read(tmp_path: Path) -> None:
    key().save(tmp_path / "key")
    assert stat.S_IMODE((tmp_path / "key").stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "key" / "key.pem").stat().st_mode) == 0o600


@pytest.mark.parametrize("name", ["", "key.pem"])
@pytest.mark.parametrize("mode", [0o640, 0o604])
def test_a_key_others_can_read_is_refused(tmp_path: Path, name: str, mode: int) -> None:
    key().save(tmp_path / "key")
    path = tmp_path / "key" / name
    path.chmod(mode | (0o100 if path.is_dir() else 0))
    with pytest.raises(KeyFileError, match=r"open to other users .* run chmod"):
        SigningKey.load(tmp_path / "key")


def test_a_key_is_never_overwritten(tmp_path: Path) -> None:
    key().save(tmp_path / "key")
    with pytest.raises(KeyFileError, match="holds a key already"):
        key().save(tmp_path / "key")


@needs_openssl
def test_a_passphrase_costs_an_attacker_600000_rounds(tmp_path: Path) -> None:
    key().save(tmp_path / "key", PASSPHRASE)
    path = str(tmp_path / "key" / "key.pem")
    structure = run("openssl", "asn1parse", "-in", path)
    assert "PBES2" in structure
    assert "hmacWithSHA256" in structure
    assert "aes-256-cbc" in structure
    assert "INTEGER           :0927C0" in structure  # 600,000
    public = run("openssl", "pkey", "-in", path, "-passin", f"pass:{PASSPHRASE}", "-pubout")
    assert public == key().public_pem
    pem = Path(path).read_bytes()
    assert serialization.load_pem_private_key(pem, PASSPHRASE.encode())
    again = SigningKey.load(tmp_path / "key", PASSPHRASE)
    assert (again.keyid, again.protection) == (key().keyid, "passphrase")
    with pytest.raises(KeyFileError, match="wrong passphrase") as caught:
        SigningKey.load(tmp_path / "key", "another passphrase")
    assert "\n" not in str(caught.value)
    with pytest.raises(KeyFileError, match="give its passphrase"):
        SigningKey.load(tmp_path / "key")


def test_a_short_passphrase_is_refused(tmp_path: Path) -> None:
    with pytest.raises(KeyFileError, match="at least 12"):
        key().save(tmp_path / "key", "short")


@pytest.mark.parametrize("name", ["", " ", "a" * 56, "two\nlines"])
def test_a_name_must_fit_a_certificate(name: str) -> None:
    with pytest.raises(KeyFileError, match="1 to 55 printable"):
        SigningKey.create(name)


def test_only_p256_keys_are_loaded(tmp_path: Path) -> None:
    key().save(tmp_path / "key")
    other = ed25519.Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    (tmp_path / "key" / "key.pem").write_bytes(other)
    with pytest.raises(KeyFileError, match="P-256"):
        SigningKey.load(tmp_path / "key")


@pytest.mark.parametrize("name", ["key.pem", "certificates.pem"])
@pytest.mark.parametrize("content", [b"", b"nonsense", b"\x00\xff" * 40, None])
def test_damaged_key_files_are_named(tmp_path: Path, name: str, content: bytes | None) -> None:
    key().save(tmp_path / "key")
    path = tmp_path / "key" / name
    path.unlink()
    if content is not None:
        path.write_bytes(content)
        path.chmod(0o600)
    with pytest.raises(KeyFileError):
        SigningKey.load(tmp_path / "key")


def test_a_certificate_of_another_key_is_refused(tmp_path: Path) -> None:
    key().save(tmp_path / "key")
    other = SigningKey.create("Other")
    (tmp_path / "key" / "certificates.pem").write_text(other.certificates_pem)
    with pytest.raises(KeyFileError, match="belongs to another key"):
        SigningKey.load(tmp_path / "key")


def test_the_certificate_is_what_viewers_want() -> None:
    leaf, root = key().chain
    constraints = leaf.extensions.get_extension_for_class(x509.BasicConstraints).value
    usage = leaf.extensions.get_extension_for_class(x509.KeyUsage)
    purposes = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    above = root.extensions.get_extension_for_class(x509.BasicConstraints).value
    assert (constraints.ca, above.ca, above.path_length) == (False, True, 0)
    assert usage.critical
    assert usage.value.digital_signature
    assert usage.value.content_commitment
    assert not usage.value.key_cert_sign
    assert {item.dotted_string for item in purposes} == {
        "1.3.6.1.5.5.7.3.4",
        "1.3.6.1.5.5.7.3.36",
    }
    leaf.verify_directly_issued_by(root)
    root.verify_directly_issued_by(root)
    assert (key().not_after - datetime.now(UTC)).days in range(3640, 3660)


def test_equal_bytes_get_equal_signatures_in_one_form() -> None:
    signature = key().sign(b"bytes")
    assert signing.verify(key().public_pem, b"bytes", signature)
    assert signature == key().sign(b"bytes")
    r, s = decode_dss_signature(signature)
    twin = encode_dss_signature(r, ORDER - s)
    assert not signing.verify(key().public_pem, b"bytes", twin)
    assert not signing.verify(key().public_pem, b"other", signature)
    assert not signing.verify(key().public_pem, b"bytes", b"\x30\x00")
    assert not signing.verify(SigningKey.create("Other").public_pem, b"bytes", signature)


def test_rsa_signatures_are_verified_and_have_one_form() -> None:
    secret, public = private("rsa"), public_pem(private("rsa"))
    assert isinstance(secret, rsa.RSAPrivateKey)
    signature = secret.sign(b"bytes", padding.PKCS1v15(), hashes.SHA256())
    assert signing.verify(public, b"bytes", signature)
    number, n = int.from_bytes(signature), secret.public_key().public_numbers().n
    for other in (
        b"", signature[1:], signature + b"\0", b"\0" + signature, (number + n).to_bytes(257),
        secret.sign(b"bytes", padding.PKCS1v15(), hashes.SHA1()),  # noqa: S303  to be refused
        secret.sign(b"bytes", padding.PSS(padding.MGF1(hashes.SHA256()), 32), hashes.SHA256()),
    ):  # fmt: skip
        assert not signing.verify(public, b"bytes", other)
    assert not signing.verify(key().public_pem, b"bytes", signature)


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("p384", "curve secp384r1"),
        ("rsa1024", "RSA of 1024 bits"),
        ("rsa3", "exponent below 65537"),
        ("ed25519", "Edwards-curve"),
    ],
)
def test_public_keys_of_other_kinds_verify_nothing(kind: str, message: str) -> None:
    for act in (signing.keyid_of, lambda pem: signing.verify(pem, b"", b"")):
        with pytest.raises(KeyFileError, match=message):
            act(public_pem(private(kind)))


@needs_openssl
def test_fingerprints_are_those_openssl_prints(tmp_path: Path) -> None:
    key().save(tmp_path / "key")
    path = str(tmp_path / "key" / "certificates.pem")
    printed = run("openssl", "x509", "-in", path, "-noout", "-fingerprint", "-sha256")
    digits = printed.strip().rpartition("=")[2].replace(":", "").lower()
    assert digits == key().certificate_fingerprint.replace(" ", "")
    assert key().key_fingerprint.replace(" ", "") == key().keyid
    assert {len(group) for group in key().key_fingerprint.split()} == {4}


def test_the_first_use_makes_a_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("FORGET_AUDIT_HOME", str(tmp_path / "home"))
    with caplog.at_level("INFO"):
        first = find_key()
    assert "making a first signing key" in caplog.text
    assert find_key().keyid == first.keyid
    assert [path.name for path in (tmp_path / "home" / "keys").iterdir()] == ["default"]


@pytest.mark.parametrize(
    "pem", ["", "x", "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----"]
)
def test_what_is_no_public_key_is_refused(pem: str) -> None:
    with pytest.raises(KeyFileError, match="public key"):
        signing.verify(pem, b"", b"")
