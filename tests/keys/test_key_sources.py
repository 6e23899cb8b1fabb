"""Where keys come from: folders, PKCS#12 files, and how passphrases reach the program."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from asn1crypto import pkcs12 as structure
from cryptography.hazmat.primitives import serialization

from forget_audit.errors import KeyFileError
from forget_audit.keys import signing
from forget_audit.keys.signing import SigningKey
from forget_audit.keys.sources import asker, find_key, public_half
from tests.keys.material import (
    PASSPHRASE,
    authority,
    certificate,
    issued,
    locked,
    own,
    p12,
    pem,
    private,
    public_pem,
)

needs_openssl = pytest.mark.skipif(not shutil.which("openssl"), reason="needs the package openssl")


def never() -> str:
    raise AssertionError("nobody should have been asked")


# Folders


def test_a_folder_is_opened_with_a_passphrase_only_if_it_has_one(tmp_path: Path) -> None:
    own().save(tmp_path / "open")
    assert find_key(str(tmp_path / "open"), never).protection == "unattended"
    key = find_key(str(locked()), lambda: PASSPHRASE)
    assert (key.protection, key.keyid) == ("passphrase", own().keyid)
    with pytest.raises(KeyFileError, match="give its passphrase"):
        find_key(str(locked()))
    with pytest.raises(KeyFileError, match="no signing key"):
        find_key(str(tmp_path))


def test_the_public_half_needs_no_passphrase_and_cannot_sign(tmp_path: Path) -> None:
    half = public_half(locked())
    assert (half.protection, half.keyid, half.private) == ("passphrase", own().keyid, None)
    assert half.certificate_fingerprint == own().certificate_fingerprint
    with pytest.raises(KeyFileError, match="only the public half"):
        half.sign(b"x")
    with pytest.raises(KeyFileError, match="cannot be written"):
        half.save(tmp_path / "other")


def test_without_a_name_it_is_the_key_of_this_account(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORGET_AUDIT_HOME", str(tmp_path))
    own().save(tmp_path / "keys" / "default")
    assert find_key(None, never).keyid == own().keyid


@pytest.mark.parametrize("name", ["nothing", "key.pem", "https://example.org/key.p12x"])
def test_anything_else_is_refused_with_what_there_is(tmp_path: Path, name: str) -> None:
    (tmp_path / "key.pem").write_text("x")
    with pytest.raises(KeyFileError, match=r"a folder .* PKCS#12 file .* pkcs11: URI"):
        find_key(str(tmp_path / name))


# PKCS#12


@pytest.mark.parametrize("kind", ["p256", "rsa"])
def test_a_pkcs12_key_signs_and_brings_its_chain_leaf_first(tmp_path: Path, kind: str) -> None:
    key = find_key(str(p12(tmp_path / "mine.p12", kind)), lambda: PASSPHRASE)
    assert key.chain == issued(kind)
    assert key.protection == "passphrase"
    assert key.algorithm == {"p256": "ecdsa", "rsa": "rsa"}[kind]
    assert (key.name, key.org) == ("Jane Doe", None)
    signature = key.sign(b"bytes")
    assert signing.verify(public_pem(private(kind)), b"bytes", signature)
    assert signature == key.sign(b"bytes")


def test_a_pkcs12_file_without_passphrase_is_for_unattended_use(tmp_path: Path) -> None:
    key = find_key(str(p12(tmp_path / "MINE.PFX", passphrase=None)), never)
    assert key.protection == "unattended"


@needs_openssl
@pytest.mark.parametrize("passphrase", ["", "correct horse", "größer als ein Pferd"])
def test_a_pkcs12_file_by_openssl_is_read(tmp_path: Path, passphrase: str) -> None:
    key = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    (tmp_path / "key.pem").write_bytes(
        private("rsa").private_bytes(serialization.Encoding.PEM, *key)
    )
    (tmp_path / "all.pem").write_text(pem(*issued("rsa")))
    subprocess.run(
        ["openssl", "pkcs12", "-export", "-inkey", "key.pem", "-in", "all.pem", "-out", "a.p12",
         "-passout", f"pass:{passphrase}"],
        cwd=tmp_path, check=True, capture_output=True,
    )  # fmt: skip
    (tmp_path / "a.p12").chmod(0o600)
    found = find_key(str(tmp_path / "a.p12"), lambda: passphrase if passphrase else never())
    assert found.chain == issued("rsa")
    assert found.protection == ("passphrase" if passphrase else "unattended")


def test_a_wrong_passphrase_is_one_line(tmp_path: Path) -> None:
    path = p12(tmp_path / "mine.p12")
    with pytest.raises(KeyFileError, match=r"mine\.p12: wrong passphrase") as caught:
        find_key(str(path), lambda: "wrong horse battery")
    assert "\n" not in str(caught.value)
    assert "horse" not in str(caught.value)
    with pytest.raises(KeyFileError, match="give its passphrase"):
        find_key(str(path))


def test_a_missing_or_shared_pkcs12_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(KeyFileError, match=r"cannot be read \(No such file"):
        find_key(str(tmp_path / "mine.p12"))
    p12(tmp_path / "mine.p12").chmod(0o644)
    with pytest.raises(KeyFileError, match=r"open to other users .* run chmod 600"):
        find_key(str(tmp_path / "mine.p12"))


@pytest.mark.parametrize("content", [b"", b"x", b"\x30\x03\x02\x01\x03", b"\x30\x80" * 500, b"\0"])
def test_what_is_no_pkcs12_file_is_said_so(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "mine.p12"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(KeyFileError, match="not a PKCS#12 file"):
        find_key(str(path), never)


def test_a_damaged_pkcs12_file_is_never_a_traceback(tmp_path: Path) -> None:
    path = p12(tmp_path / "mine.p12", passphrase=None)
    good = path.read_bytes()
    for place in range(0, len(good), 41):
        path.write_bytes(good[:place] + bytes([good[place] ^ 0x81]) + good[place + 1 :])
        try:
            found = find_key(str(path), lambda: PASSPHRASE)
        except KeyFileError:
            continue
        assert found.public_pem == public_pem(private("p256")), place


def test_a_pkcs12_file_with_several_keys_is_refused(tmp_path: Path) -> None:
    path = p12(tmp_path / "mine.p12")
    file = structure.Pfx.load(path.read_bytes())
    for part in file.authenticated_safe:
        if part["content_type"].native == "data":
            bags = structure.SafeContents.load(part["content"].native)
            part["content"] = structure.SafeContents([*bags, *bags]).dump()
    file["auth_safe"]["content"] = file.authenticated_safe.dump()
    path.write_bytes(file.dump(force=True))
    with pytest.raises(KeyFileError, match="holds 2 private keys"):
        find_key(str(path), lambda: PASSPHRASE)


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("p384", "P-256.*found the curve secp384r1, make a P-256 key"),
        ("ed25519", "PDF viewers call broken: make a P-256 key"),
        ("rsa1024", "found RSA of 1024 bits"),
        ("rsa3", "public exponent below 65537"),
    ],
)
def test_other_kinds_of_keys_are_refused_with_advice(
    tmp_path: Path, kind: str, message: str
) -> None:
    path = p12(tmp_path / "mine.p12", kind)
    with pytest.raises(KeyFileError, match=message):
        find_key(str(path), lambda: PASSPHRASE)


def test_a_pkcs12_file_needs_the_certificate_of_its_key(tmp_path: Path) -> None:
    path = p12(tmp_path / "none.p12", chain=())
    with pytest.raises(KeyFileError, match="holds no certificate; put key and certificate"):
        find_key(str(path), lambda: PASSPHRASE)


@pytest.mark.parametrize(
    ("signs", "message"),
    [(False, "does not allow digital signatures"), (None, "does not say that it is for digital")],
)
def test_a_certificate_that_is_not_for_signatures_is_refused(
    tmp_path: Path, signs: bool | None, message: str
) -> None:
    keys, above = authority()
    leaf = certificate("Server", private("rsa").public_key(), "Issuing", keys[0], signs=signs)
    path = p12(tmp_path / "server.p12", "rsa", chain=(leaf, *above))
    with pytest.raises(KeyFileError, match=message):
        find_key(str(path), lambda: PASSPHRASE)


def test_a_certificate_by_itself_need_not_say_what_it_is_for(tmp_path: Path) -> None:
    secret = private("rsa")
    leaf = certificate("Jane", secret.public_key(), "Jane", secret, signs=None, ca=True)
    path = p12(tmp_path / "jane.p12", "rsa", chain=(leaf,))
    assert find_key(str(path), lambda: PASSPHRASE).chain == (leaf,)


def test_an_ended_certificate_is_loaded_and_says_so(tmp_path: Path) -> None:
    keys, above = authority()
    leaf = certificate("Old", private("p256").public_key(), "Issuing", keys[0], days=(-9, -2))
    path = p12(tmp_path / "old.p12", chain=(leaf, *above))
    assert not find_key(str(path), lambda: PASSPHRASE).usable


def test_certificates_of_strangers_are_left_out(tmp_path: Path) -> None:
    path = p12(tmp_path / "mine.p12", chain=(issued()[0], *own().chain))
    assert find_key(str(path), lambda: PASSPHRASE).chain == issued()[:1]


# Passphrases


def test_a_passphrase_from_a_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_SECRET", PASSPHRASE)
    assert asker("MY_SECRET", None, never)() == PASSPHRASE
    for value in ("", None):
        if value is None:
            monkeypatch.delenv("MY_SECRET")
        else:
            monkeypatch.setenv("MY_SECRET", value)
        with pytest.raises(KeyFileError, match="in the variable MY_SECRET, found nothing"):
            asker("MY_SECRET", None, never)()


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"correct horse battery", "correct horse battery"),
        (b"correct horse battery\nsecond line\n", "correct horse battery"),
        (b"windows horse battery\r\n", "windows horse battery"),
        (b" spaces count \n", " spaces count "),
        ("größer".encode(), "größer"),
        (b"not \xff utf-8", "not \udcff utf-8"),
    ],
)
def test_a_passphrase_from_a_descriptor(content: bytes, expected: str) -> None:
    reading, writing = os.pipe()
    os.write(writing, content)
    os.close(writing)
    ask = asker(None, reading, never)
    assert ask() == expected
    assert ask() == expected
    os.close(reading)


def test_a_descriptor_that_is_closed_or_empty_is_named() -> None:
    with pytest.raises(KeyFileError, match="file descriptor 987 cannot be read"):
        asker(None, 987, never)()
    reading, writing = os.pipe()
    os.close(writing)
    with pytest.raises(KeyFileError, match=f"from file descriptor {reading}, found nothing"):
        asker(None, reading, never)()
    os.close(reading)


def test_a_question_is_the_last_resort_and_two_sources_are_one_too_many() -> None:
    assert asker(None, None, lambda: "asked")() == "asked"
    with pytest.raises(KeyFileError, match="either a variable or a file descriptor"):
        asker("NAME", 0, never)


def test_a_passphrase_that_is_no_unicode_opens_the_key_it_locked(tmp_path: Path) -> None:
    odd = "not \udcff utf-8 at all"
    own().save(tmp_path / "key", odd)
    assert SigningKey.load(tmp_path / "key", odd).keyid == own().keyid
