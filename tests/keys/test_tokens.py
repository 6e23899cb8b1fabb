"""Keys in tokens: found by URI, guarded by a PIN, and signing what others can verify."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization

from forget_audit.digests import sha256
from forget_audit.errors import KeyFileError, MissingDependency
from forget_audit.keys import signing, token_uris, tokens
from forget_audit.keys.certificates import issue, supported
from forget_audit.keys.signing import SigningKey
from forget_audit.keys.sources import find_key, public_half
from forget_audit.keys.token_uris import TokenUri
from tests.keys.material import issued, private, public_pem
from tests.keys.token import LABEL, MODULE, PIN, needs_token, token, uri

ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


@pytest.fixture
def pin(monkeypatch: pytest.MonkeyPatch) -> Callable[[], str]:
    monkeypatch.setenv("SOFTHSM2_CONF", token())
    monkeypatch.delenv(token_uris.PIN, raising=False)
    return lambda: PIN


@needs_token
@pytest.mark.parametrize("kind", ["p256", "rsa"])
def test_a_token_signs_what_its_certificate_verifies(kind: str, pin: Callable[[], str]) -> None:
    key = find_key(uri(f"object=signer-{kind}"), pin)
    assert key.private is None
    assert key.protection == "token"
    assert key.algorithm == {"p256": "ecdsa", "rsa": "rsa"}[kind]
    assert key.chain == issued(kind)
    assert key.name == "Jane Doe"
    for data in (b"", b"bytes", b"x" * 100_000):
        signature = key.sign(data)
        assert signing.verify(public_pem(private(kind)), data, signature)
        assert not signing.verify(public_pem(private(kind)), data + b".", signature)
    assert PIN not in repr(key)


@needs_token
def test_every_signature_has_the_smaller_s(pin: Callable[[], str]) -> None:
    key = find_key(uri("id=%01"), pin)
    assert all(signing.verify(key.public_pem, b"x", key.sign(b"x")) for _ in range(8))


@needs_token
def test_the_pin_may_come_from_the_environment(
    pin: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(KeyFileError, match="in the variable FORGET_AUDIT_PIN"):
        find_key(uri("id=%01"))
    monkeypatch.setenv(token_uris.PIN, PIN)
    assert find_key(uri("id=%01")).sign(b"x")


@needs_token
def test_the_module_may_come_from_the_environment(
    pin: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(token_uris.MODULE, MODULE)
    assert find_key(f"pkcs11:token={LABEL.replace(' ', '%20')};id=%01;type=private", pin).usable


@needs_token
@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            uri("object=nobody"),
            "one private key that fits .* found 0; there are: .*object='signer-p256' id=%01",
        ),
        (uri("object=bare"), "found 2"),
        (uri("object=signer-p384"), "found the curve secp384r1"),
        (uri("object=bare;id=%04", "another"), "found 0; there are: none"),
        (uri("object=x", "nowhere"), "one token that fits .* found 0; there are: .*'audit token'"),
        (f"pkcs11:object=x?module-path={MODULE}", "one token that fits .* found [23]"),
        ("pkcs11:token=x;object=x?module-path=/nowhere.so", "cannot open shared object file"),
        (f"pkcs11:token=x;object=x?module-path={Path(__file__)}", "the module .* says"),
    ],
)
def test_what_cannot_be_found_is_named(given: str, message: str, pin: Callable[[], str]) -> None:
    with pytest.raises(KeyFileError, match=message):
        find_key(given, pin)


@needs_token
def test_a_wrong_pin_is_one_line(pin: Callable[[], str]) -> None:
    with pytest.raises(KeyFileError, match="wrong PIN") as caught:
        find_key(uri("id=%01"), lambda: "0000-0000")
    assert "\n" not in str(caught.value)
    assert "0000" not in str(caught.value)
    assert find_key(uri("id=%01"), pin)


@needs_token
def test_a_token_in_use_elsewhere_in_the_process_is_said_so(pin: Callable[[], str]) -> None:
    import pkcs11

    key = find_key(uri("id=%01"), pin)
    module = pkcs11.lib(MODULE)
    inserted = next(found for found in module.get_tokens() if found.label == LABEL)
    with (
        inserted.open(user_pin=PIN),
        pytest.raises(KeyFileError, match="another part of this process"),
    ):
        key.sign(b"x")
    assert key.sign(b"x")


@needs_token
def test_a_wrong_name_is_noticed_before_a_pin_is_asked_for(pin: Callable[[], str]) -> None:
    def never() -> str:
        raise AssertionError("nobody should have been asked")

    with pytest.raises(KeyFileError, match="one token"):
        find_key(uri("id=%01", "nowhere"), never)


@needs_token
def test_a_key_without_certificate_gets_one_in_a_folder(
    tmp_path: Path, pin: Callable[[], str]
) -> None:
    given = uri("object=bare;id=%05")
    found = tokens.find(given, pin)
    assert found.public == private("rsa").public_key()
    key = SigningKey(
        chain=issue(found.public, "Office", None), protection="token", token=found.sign
    )
    key.save_token(tmp_path / "key", given)
    assert (tmp_path / "key" / "token.uri").stat().st_mode & 0o777 == 0o600
    again = find_key(str(tmp_path / "key"), pin)
    assert (again.name, again.protection) == ("Office", "token")
    assert signing.verify(key.public_pem, b"x", again.sign(b"x"))
    assert public_half(tmp_path / "key").protection == "token"
    with pytest.raises(KeyFileError, match="only the public half"):
        public_half(tmp_path / "key").sign(b"x")
    with pytest.raises(KeyFileError, match="cannot be written"):
        again.save(tmp_path / "other")
    with pytest.raises(KeyFileError, match="holds a key already"):
        key.save_token(tmp_path / "key", given)
    (tmp_path / "key" / "token.uri").write_text(uri("id=%01"))
    with pytest.raises(KeyFileError, match="another key than the certificates"):
        find_key(str(tmp_path / "key"), pin)


@needs_token
def test_a_key_without_certificate_says_how_to_get_one(pin: Callable[[], str]) -> None:
    leaf = supported(private("p256").public_key())
    bare = tokens.TokenKey(uri=TokenUri.parse(uri("id=%09")), pin=PIN, public=leaf, certificates=())
    with pytest.raises(KeyFileError, match="keys new --name NAME --token 'pkcs11:"):
        _ = bare.chain


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("pkcs11:token=a;object=b?pin-value=1234", "leave the PIN out"),
        ("pkcs11:token=a;object=b?pin-source=/etc/pin", "leave the PIN out"),
        ("pkcs11:token=a;object=b", "expected the file of the PKCS#11 module"),
        ("pkcs11:token=a?module-path=/m.so", "expected object= or id="),
        ("pkcs11:", "expected object= or id="),
        ("pkcs11:token=my token;object=b?module-path=/m.so", "write spaces .* as %XX"),
        ("pkcs11:object=b;object=c?module-path=/m.so", "each once; found object"),
        ("pkcs11:object=b;colour=red?module-path=/m.so", "found colour"),
        ("pkcs11:object=b;type=public?module-path=/m.so", "leave out type="),
        ("pkcs11:object=b;?module-path=/m.so", "is no name=value"),
        ("pkcs11:object=%zz?module-path=/m.so", "is no name=value"),
        ("pkcs11:object=b?module-path=/m.so&module-name=x", "found module-name"),
    ],
)
def test_a_wrong_uri_is_explained(
    given: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(token_uris.MODULE, raising=False)
    with pytest.raises(KeyFileError, match=message):
        TokenUri.parse(given)


def test_a_uri_as_other_programs_print_it_is_read() -> None:
    text = (
        "pkcs11:model=SoftHSM%20v2;manufacturer=SoftHSM%20project;serial=2f9e;token=my%20token;"
        "id=%01%ff;object=K%C3%B6nig;type=private?module-path=/usr/lib/softhsm/libsofthsm2.so"
    )
    found = TokenUri.parse(text)
    assert found.module == "/usr/lib/softhsm/libsofthsm2.so"
    assert found.wanted == {
        "model": b"SoftHSM v2", "manufacturer": b"SoftHSM project", "serial": b"2f9e",
        "token": b"my token", "id": b"\x01\xff", "object": "König".encode(),
    }  # fmt: skip


def test_without_the_library_the_line_that_installs_it_is_given(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "pkcs11", None)
    with pytest.raises(MissingDependency, match=r"python -m pip install 'forget-audit\[hsm\]'"):
        find_key("pkcs11:token=a;object=b?module-path=/m.so", lambda: "1234")


def test_a_token_that_signs_with_another_key_is_noticed() -> None:
    chain = issue(supported(private("p256").public_key()), "Office", None)
    other = SigningKey.create("Other")
    for token_signs, message in (
        (other.sign, "its certificate does not fit"),
        (lambda _: b"garbage", "no signature"),
        (lambda _: b"", "no signature"),
    ):
        key = SigningKey(chain=chain, protection="token", token=token_signs)
        with pytest.raises(KeyFileError, match=message):
            key.sign(b"x")


def test_a_public_half_shows_itself_and_keeps_its_form() -> None:
    key = SigningKey(chain=issued("rsa"))
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    der = private("rsa").public_key().public_bytes(serialization.Encoding.DER, form)
    assert signing.keyid_of(key.public_pem) == key.keyid == sha256(der)
