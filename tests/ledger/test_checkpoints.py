"""Checkpoints: signed notes as C2SP describes them, in one form only."""

import base64
import shutil
import subprocess
from functools import cache
from hashlib import sha256
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from forget_audit.errors import VerificationError
from forget_audit.keys.signing import SigningKey, keyid_of
from forget_audit.ledger import checkpoints
from tests.ledger.books import key, stranger

ORIGIN = "forget-audit.org/ledger/" + "0123456789abcdef" * 2
ROOT = bytes(range(32))


@cache
def note() -> str:
    return checkpoints.write(ORIGIN, 7, ROOT, key())


def known(*keys: SigningKey) -> dict[str, str]:
    return {item.keyid: item.public_pem for item in keys}


def test_a_note_is_three_lines_and_a_signature_line() -> None:
    lines = note().split("\n")
    assert lines[:4] == [ORIGIN, "7", base64.b64encode(ROOT).decode(), ""]
    assert lines[4].startswith(f"— {ORIGIN} ")
    assert lines[5:] == [""]


def test_the_key_id_is_the_start_of_the_digest_of_the_der_key() -> None:
    public = serialization.load_pem_public_key(key().public_pem.encode())
    der = public.public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    read = checkpoints.parse(note())
    assert [item.hint for item in read.signatures] == [sha256(der).digest()[:4]]


@pytest.mark.skipif(not shutil.which("openssl"), reason="needs openssl (package openssl)")
def test_openssl_verifies_a_checkpoint(tmp_path: Path) -> None:
    text, _, line = note().partition("\n\n")
    (tmp_path / "text").write_text(text + "\n", encoding="utf-8")
    (tmp_path / "sig").write_bytes(base64.b64decode(line.split()[2])[4:])
    (tmp_path / "pem").write_text(key().public_pem, encoding="ascii")
    call = ["openssl", "dgst", "-sha256", "-verify", "pem", "-signature", "sig", "text"]
    done = subprocess.run(call, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.stdout == "Verified OK\n"


def test_reading_gives_back_what_was_written() -> None:
    read = checkpoints.parse(note())
    assert (read.origin, read.size, read.root) == (ORIGIN, 7, ROOT)
    assert read.signer(known(stranger(), key())) == key().keyid
    assert read.signer(known(stranger())) is None
    assert checkpoints.parse(checkpoints.write(ORIGIN, 0, ROOT, key())).size == 0


def test_signatures_of_witnesses_are_carried_and_ignored() -> None:
    lines = [f"— witness.example/{i} {base64.b64encode(bytes(12)).decode()}\n" for i in range(16)]
    assert checkpoints.parse(note() + "".join(lines[:15])).signer(known(key())) == key().keyid
    with pytest.raises(VerificationError, match="more than 16"):
        checkpoints.parse(note() + "".join(lines))
    mine = note().split("\n\n")[1]
    another = note().replace(mine, mine.replace(f"— {ORIGIN}", "— witness.example/1"))
    assert checkpoints.parse(another).signer(known(key())) is None


@pytest.mark.parametrize(
    ("old", "new"), [("\n7\n", "\n8\n"), (ORIGIN, ORIGIN[:-1] + "0"), ("AAEC", "AAED")]
)
def test_a_changed_line_breaks_the_signature(old: str, new: str) -> None:
    assert old in note()
    with pytest.raises(VerificationError, match="does not fit"):
        checkpoints.parse(note().replace(old, new)).signer(known(key()))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n",
        "no note",
        ORIGIN,
        f"{ORIGIN}\n7\n\n",
    ],
)
def test_what_is_no_note_is_refused(text: str) -> None:
    with pytest.raises(VerificationError, match="checkpoint: expected three lines"):
        checkpoints.parse(text)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("\n7\n", "\n07\n"),
        ("\n7\n", "\n+7\n"),
        ("\n7\n", "\n7 \n"),
        ("\n7\n", "\n٧\n"),
        ("\n7\n", "\n1" + "0" * 15 + "\n"),
        ("\n7\n", "\r\n7\r\n"),
        ("\n\n", "\n"),
        ("\n\n", "\nextension\n\n"),
        ("\n\n", "\n\n\n"),
        ("— ", "- "),
        ("— ", "—  "),
        ("forget-audit.org", "example.org"),
        ("0123456789abcdef\n7", "0123456789ABCDEF\n7"),
        ("Hh8=", "Hh9="),
        ("Hh8=", "Hh8"),
        ("Hh8=", "HQ=="),
        ("=\n", "=\n "),
        ("AAEC", "AA\u2028C"),
    ],
)
def test_other_forms_are_refused(old: str, new: str) -> None:
    assert old in note()
    with pytest.raises(VerificationError, match="checkpoint"):
        checkpoints.parse(note().replace(old, new, 1))


def test_other_ends_are_refused() -> None:
    for text in (note() + "\n", note()[:-1], note() + "x", note() + "a" * 70_000,
                 note()[:-1] + "\x85" + note().split("\n\n")[1]):  # fmt: skip
        with pytest.raises(VerificationError, match="checkpoint"):
            checkpoints.parse(text)
    short = f"{note().partition('— ')[0]}— {ORIGIN} AAAA\n"
    with pytest.raises(VerificationError, match="too short"):
        checkpoints.parse(short)


def test_a_stranger_with_the_same_key_id_is_found_out() -> None:
    lying = {key().keyid[:8] + stranger().keyid[8:]: stranger().public_pem}
    read = checkpoints.parse(note())
    with pytest.raises(VerificationError, match="does not fit"):
        read.signer(lying)
    assert read.signer({**lying, **known(key())}) == key().keyid


def test_rsa_keys_sign_checkpoints_too() -> None:
    private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    public = private.public_key()
    pem = public.public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    ).decode()
    text = note().partition("\n\n")[0] + "\n"
    signature = private.sign(text.encode(), padding.PKCS1v15(), hashes.SHA256())
    line = base64.b64encode(bytes.fromhex(keyid_of(pem)[:8]) + signature).decode()
    read = checkpoints.parse(f"{text}\n— {ORIGIN} {line}\n")
    assert read.signer({keyid_of(pem): pem, **known(key())}) == keyid_of(pem)
