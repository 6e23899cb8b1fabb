"""`keys` and `trust` as a person runs them: exit codes, files, and never a traceback."""

import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization

from forget_audit import trust
from forget_audit.errors import KeyFileError
from forget_audit.keys import encrypted as encrypted_keys
from forget_audit.keys import keyring, token_uris
from forget_audit.keys.signing import SigningKey, grouped
from forget_audit.keys.sources import find_key
from forget_audit.ledger.ledger import Ledger
from forget_audit.trust import Trust
from tests.fixtures.commands import Run
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
)
from tests.keys.token import PIN, needs_token, token, uri

needs_git = pytest.mark.skipif(not shutil.which("git"), reason="needs the package git")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FORGET_AUDIT_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("FORGET_AUDIT_PASSPHRASE", raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys.stdin, "isatty", lambda: False)
    monkeypatch.setattr(encrypted_keys, "ROUNDS", 1000)  # how many there are is tested elsewhere
    return tmp_path / "home"


@pytest.fixture
def run(home: Path, run: Run) -> Run:
    return run


def use(key: SigningKey, home: Path) -> None:
    key.save(home / "keys" / "default")


def use_locked(home: Path) -> None:
    shutil.copytree(locked(), home / "keys" / "default")


# keys new


def test_a_new_key_retires_the_former_one_and_both_are_on_record(run: Run, home: Path) -> None:
    use(own(), home)
    code, out, err = run("keys", "new", "--name", "Office", "--org", "Acme Ltd", "--unattended")
    assert code == 0
    assert out.startswith(f"the former key is kept as retired-{own().keyid[:16]}\n")
    assert "owner        Office, Acme Ltd" in out
    assert "protection   unattended" in out
    assert "by another way than the report" in err
    assert {path.name for path in (home / "keys").iterdir()} == {
        "default", f"retired-{own().keyid[:16]}"}  # fmt: skip
    new = find_key()
    assert grouped(new.keyid) in out
    assert new.certificate_fingerprint in out
    assert find_key(str(home / "keys" / f"retired-{own().keyid[:16]}")).keyid == own().keyid
    entries = Ledger.open().entries()
    assert [(item.kind, item.body) for item in entries] == [
        ("key-retired", {"keyid": own().keyid}),
        ("key-added", {"keyid": new.keyid}),
    ]


def test_a_key_file_is_the_owners_alone_whatever_the_umask(run: Run, home: Path) -> None:
    before = os.umask(0)
    try:
        assert run("keys", "new", "--name", "Office", "--unattended")[0] == 0
    finally:
        os.umask(before)
    folder = home / "keys" / "default"
    assert home.stat().st_mode & 0o777 == 0o700
    assert folder.stat().st_mode & 0o777 == 0o700
    assert (folder / "key.pem").stat().st_mode & 0o777 == 0o600


def test_a_key_may_go_into_a_folder_of_its_own(run: Run, home: Path, tmp_path: Path) -> None:
    use(own(), home)
    arguments = ("keys", "new", "--name", "Jane", "--out", "reviewer", "--unattended")
    code, out, _ = run(*arguments)
    assert code == 0
    assert find_key(str(tmp_path / "reviewer")).key_fingerprint in out
    assert find_key().keyid == own().keyid
    assert not (home / "ledger.sqlite").exists()
    code, _, err = run(*arguments)
    assert code == 2
    assert "holds a key already" in err
    assert run("keys", "export", "--key", "reviewer", "--out", "public")[0] == 0
    assert trust.load(tmp_path / "public" / "trust.json").keys[0].name == "Jane"


def test_a_passphrase_is_asked_for_twice_and_the_key_opens_with_it(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    def prompt(text: str, **options: Any) -> str:
        seen.append((text, options))
        return PASSPHRASE

    monkeypatch.setattr(sys.stdin, "isatty", lambda: True)
    monkeypatch.setattr("typer.prompt", prompt)
    code, out, _ = run("keys", "new", "--name", "Office")
    assert code == 0
    assert "protection   passphrase" in out
    assert len(seen) == 1
    assert seen[0][1] == {"hide_input": True, "confirmation_prompt": True, "err": True}
    assert find_key(None, lambda: PASSPHRASE).name == "Office"


@pytest.mark.parametrize("way", ["variable", "descriptor"])
def test_a_passphrase_may_come_from_a_variable_or_a_descriptor(
    run: Run, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    reading, writing = os.pipe()
    os.write(writing, f"{PASSPHRASE}\n".encode())
    os.close(writing)
    monkeypatch.setenv("MY_SECRET", PASSPHRASE)
    given = {"variable": ("--passphrase-env", "MY_SECRET"), "descriptor":
             ("--passphrase-fd", reading)}[way]  # fmt: skip
    assert run("keys", "new", "--name", "Office", *given)[0] == 0
    os.close(reading)
    assert find_key(None, lambda: PASSPHRASE).protection == "passphrase"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            (),
            "no terminal to ask: give --passphrase-env NAME or --passphrase-fd N, or --unattended",
        ),
        (("--passphrase-env", "SHORT"), "at least 12 characters, found 5"),
        (("--passphrase-env", "MISSING"), "in the variable MISSING, found nothing"),
        (("--passphrase-fd", "987"), "file descriptor 987 cannot be read"),
        (("--passphrase-env", "SHORT", "--passphrase-fd", "0"), "either a variable or a file"),
        (("--unattended", "--passphrase-env", "SHORT"), "without passphrase"),
        (("--unattended", "--token", "pkcs11:object=x"), "without token"),
        (("--unattended", "--org", "a\nb"), "organisation of a key must be 1 to 55 printable"),
    ],
)
def test_a_key_that_cannot_be_made_leaves_the_former_one_in_use(
    run: Run, home: Path, arguments: tuple[str, ...], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHORT", "short")
    use(own(), home)
    code, out, err = run("keys", "new", "--name", "Office", *arguments)
    assert code == 2
    assert message in err
    assert len(err.strip().splitlines()) == 1
    assert not out
    assert [path.name for path in (home / "keys").iterdir()] == ["default"]
    assert find_key().keyid == own().keyid


def test_a_passphrase_is_never_an_argument(run: Run) -> None:
    code, _, err = run("keys", "new", "--name", "Office", "--passphrase", PASSPHRASE)
    assert code == 2
    assert "No such option" in err


def test_a_disk_that_fails_half_way_leaves_the_former_key_in_use(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(own(), home)
    rename = Path.rename

    def failing(self: Path, target: Path) -> Path:
        if self.name.startswith(".new-"):
            raise OSError(28, "No space left on device")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", failing)
    with pytest.raises(KeyFileError, match=r"cannot be written \(No space left"):
        keyring.install(SigningKey.create("Other").save)
    assert [path.name for path in (home / "keys").iterdir()] == ["default"]
    assert find_key().keyid == own().keyid


def test_a_damaged_former_key_is_said_so_and_kept(run: Run, home: Path) -> None:
    use(own(), home)
    (home / "keys" / "default" / "certificates.pem").unlink()
    code, _, err = run("keys", "new", "--name", "Office", "--unattended")
    assert code == 2
    assert "no signing key" in err
    assert (home / "keys" / "default" / "key.pem").exists()


@needs_git
@pytest.mark.parametrize(("ignored", "warned"), [(False, True), (True, False)])
def test_a_key_inside_a_git_work_tree_is_warned_of_unless_ignored(
    run: Run, tmp_path: Path, ignored: bool, warned: bool
) -> None:
    subprocess.run(["git", "init", "--quiet", str(tmp_path)], check=True, capture_output=True)
    if ignored:
        (tmp_path / ".gitignore").write_text("home/\n")
    code, _, err = run("keys", "new", "--name", "Office", "--unattended")
    assert code == 0
    assert ("lies in a git work tree that does not ignore it" in err) == warned


@needs_git
def test_a_key_outside_every_work_tree_needs_no_warning(run: Run) -> None:
    assert "git" not in run("keys", "new", "--name", "Office", "--unattended")[2]


@needs_git
@pytest.mark.parametrize("setting", ["core.fsmonitor", "core.hooksPath", "core.pager"])
def test_no_program_that_a_work_tree_names_is_run(run: Run, tmp_path: Path, setting: str) -> None:
    """A monitor of files in the settings of a folder was run by `keys new`."""
    place = tmp_path / "theirs"
    place.mkdir()
    (place / "file").touch()
    program = place / "post-index-change"
    program.write_text(f"#!/bin/sh\ntouch '{tmp_path}/ran'\n")
    program.chmod(0o755)
    git = ["git", "-C", str(place)]
    for words in (["init", "--quiet"], ["add", "file"]):
        subprocess.run([*git, *words], check=True, capture_output=True)
    named = place if setting == "core.hooksPath" else program
    subprocess.run([*git, "config", setting, str(named)], check=True, capture_output=True)
    words = ["--name", "Office", "--unattended", "--out", str(place / "key")]
    code, _, err = run("keys", "new", *words)
    assert code == 0
    assert "lies in a git work tree that does not ignore it" in err
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("path", [".", ""])
def test_a_git_that_lies_here_is_not_run(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    (tmp_path / "git").write_text(f"#!/bin/sh\n: > '{tmp_path}/ran'\nexit 1\n")
    (tmp_path / "git").chmod(0o755)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", f"{path}:{tmp_path / 'nothing'}")
    assert run("keys", "new", "--name", "Office", "--unattended")[0] == 0
    assert not (tmp_path / "ran").exists()


def test_without_git_nothing_is_said_of_it(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)
    assert run("keys", "new", "--name", "Office", "--unattended")[0] == 0


# keys list, show, export


def test_list_shows_all_keys_with_their_validity(run: Run, home: Path) -> None:
    assert "no key yet" in run("keys", "list")[2]
    use(own(), home)
    assert run("keys", "new", "--name", "Office", "--unattended")[0] == 0
    code, out, _ = run("keys", "list")
    assert code == 0
    first, second = out.splitlines()
    days = f"{own().not_before:%Y-%m-%d} to {own().not_after:%Y-%m-%d}"
    assert "in use" in first
    assert second == f"{own().keyid}  retired  {days}  Example Auditor"
    facts = json.loads(run("keys", "list", "--json")[1])
    assert [item["in_use"] for item in facts] == [True, False]
    assert facts[1]["keyid"] == own().keyid


def test_show_needs_no_passphrase_and_unlock_tries_it(
    run: Run, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_locked(home)
    code, out, _ = run("keys", "show")
    assert code == 0
    assert f"key          {own().key_fingerprint}" in out
    assert f"certificate  {own().certificate_fingerprint}" in out
    assert "protection   passphrase" in out
    assert run("keys", "show", "--unlock")[0] == 2
    monkeypatch.setenv("FORGET_AUDIT_PASSPHRASE", PASSPHRASE)
    assert run("keys", "show", "--unlock")[0] == 0
    monkeypatch.setenv("MINE", "wrong horse battery")
    code, out, err = run("keys", "show", "--unlock", "--passphrase-env", "MINE")
    assert code == 2
    assert not out
    assert err.strip().endswith("wrong passphrase, or a damaged key")
    assert len(err.strip().splitlines()) == 1
    facts = json.loads(run("keys", "show", "--json")[1])
    assert facts["keyid"] == own().keyid
    assert facts["algorithm"] == "ecdsa"
    assert facts["protection"] == "passphrase"


def test_show_and_export_take_a_pkcs12_file(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = p12(tmp_path / "mine.p12", "rsa")
    monkeypatch.setenv("MINE", PASSPHRASE)
    secret = ("--passphrase-env", "MINE")
    code, out, _ = run("keys", "show", "--key", path, *secret)
    assert code == 0
    assert "owner        Jane Doe" in out
    assert run("keys", "export", "--key", path, "--out", tmp_path / "out", *secret)[0] == 0
    assert trust.load(tmp_path / "out" / "trust.json").keys[0].chain == issued("rsa")
    assert not (tmp_path / "home").exists()


def test_export_hands_out_public_parts_only(run: Run, home: Path, tmp_path: Path) -> None:
    use(own(), home)
    assert run("keys", "new", "--name", "Office", "--unattended")[0] == 0
    code, out, _ = run("keys", "export", "--out", tmp_path / "one")
    assert code == 0
    assert [Path(line).name for line in out.splitlines()] == [
        "public.pem", "certificates.pem", "trust.json"]  # fmt: skip
    assert len(trust.load(tmp_path / "one" / "trust.json").keys) == 1
    assert run("keys", "export", "--out", tmp_path / "all", "--all")[0] == 0
    start = f"retired-{own().keyid[:16]}"
    assert (tmp_path / "all" / f"{start}-public.pem").read_text() == own().public_pem
    assert (tmp_path / "all" / f"{start}-certificates.pem").read_text() == own().certificates_pem
    assert [key.keyid for key in trust.load(tmp_path / "all" / "trust.json").keys] == [
        find_key().keyid, own().keyid]  # fmt: skip
    for path in (tmp_path / "all").iterdir():
        assert "PRIVATE" not in path.read_text()


# Tokens


@needs_token
def test_a_key_in_a_token_becomes_the_key_of_the_account(
    run: Run, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOFTHSM2_CONF", token())
    monkeypatch.setenv("MY_PIN", PIN)
    monkeypatch.delenv(token_uris.PIN, raising=False)
    given = uri("object=bare;id=%04")
    arguments = ("keys", "new", "--name", "Office", "--token", given)
    code, out, _ = run(*arguments, "--passphrase-env", "MY_PIN")
    assert code == 0
    assert "protection   token" in out
    assert {path.name for path in (home / "keys" / "default").iterdir()} == {
        "token.uri", "public.pem", "certificates.pem"}  # fmt: skip
    assert run("keys", "show")[1] == out
    monkeypatch.setenv(token_uris.PIN, PIN)
    assert run("keys", "show", "--unlock")[0] == 0
    assert run("keys", "export", "--out", "out")[0] == 0
    key = find_key()
    assert (key.protection, key.private) == ("token", None)
    assert Ledger.open().entries()[0].body == {"keyid": key.keyid}
    monkeypatch.setenv(token_uris.PIN, "0000-0000")
    code, _, err = run("keys", "show", "--unlock")
    assert code == 2
    assert "wrong PIN" in err
    assert run(*arguments)[0] == 2
    assert next(keyring.own_keys()).public.name == "Office"


# trust add


def exported(run: Run, home: Path, folder: Path) -> Path:
    use(own(), home)
    assert run("keys", "export", "--out", folder)[0] == 0
    return folder


def test_both_fingerprints_are_shown_and_asked_about(
    run: Run, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    handed = exported(run, home, tmp_path / "out")
    asked: list[str] = []
    for answer, code in ((False, 1), (True, 0)):

        def confirm(text: str, answer: bool = answer) -> bool:
            asked.append(text)
            return answer

        monkeypatch.setattr("typer.confirm", confirm)
        found, out, _ = run("trust", "add", handed)
        assert found == code
        assert f"key          {own().key_fingerprint}" in out
        assert f"certificate  {own().certificate_fingerprint}" in out
        assert bool(trust.load().keys) == answer
    assert asked == ["do both match what their owner told you?"] * 2


def test_without_a_terminal_to_answer_nothing_is_added(
    run: Run, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    handed = exported(run, home, tmp_path / "out")
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    assert run("trust", "add", handed)[0] == 1
    assert not trust.load().keys


def test_a_handed_file_gives_itself_no_roles(run: Run, tmp_path: Path) -> None:
    greedy = Trust().add_key(own(), ("tool", "reviewer", "timestamp"))
    greedy.save(tmp_path / "greedy.json")
    code, out, err = run("trust", "add", "greedy.json", "--yes")
    assert code == 0
    assert "roles        tool\n" in out
    assert "asks for more: reviewer, timestamp; not given" in err
    assert trust.load().keys[0].roles == ("tool",)
    both = ("--role", "reviewer", "--role", "tool", "--role", "reviewer")
    code, _, err = run("trust", "add", "greedy.json", "--yes", *both)
    assert code == 0
    assert "known already as tool" in err
    assert trust.load().keys[0].roles == ("tool", "reviewer")


@pytest.mark.parametrize("form", ["pem", "der"])
def test_a_bare_certificate_is_enough(run: Run, tmp_path: Path, form: str) -> None:
    text = pem(*issued("rsa")[::-1])
    if form == "pem":
        (tmp_path / "jane.pem").write_text(f"Bag Attributes\n{text}")
    else:
        der = issued("rsa")[0].public_bytes(serialization.Encoding.DER)
        (tmp_path / "jane.pem").write_bytes(der)
    code, out, _ = run("trust", "add", "jane.pem", "--role", "reviewer", "--yes")
    assert code == 0
    assert "owner        Jane Doe" in out
    key = SigningKey(chain=issued("rsa"))
    assert trust.load().believed(key.keyid, "reviewer").outcome == "pass"


def test_a_timestamp_authority_may_have_any_key_and_its_root_counts(
    run: Run, tmp_path: Path
) -> None:
    (tmp_path / "tsa.pem").write_text(pem(*authority()[1]))
    code, _, err = run("trust", "add", "tsa.pem", "--role", "timestamp", "--yes")
    assert code == 0
    assert "certificate of an authority" not in err
    assert trust.load().roots("timestamp") == authority()[1][1:]
    leaf = certificate("TSA", private("p384").public_key(), "TSA", private("p384"))
    (tmp_path / "p384.pem").write_text(pem(leaf))
    assert run("trust", "add", "p384.pem", "--role", "timestamp", "--yes")[0] == 0
    code, _, err = run("trust", "add", "p384.pem", "--yes")
    assert code == 2
    assert "found the curve secp384r1" in err
    assert len(trust.load().keys) == 2


def test_the_certificate_of_an_authority_is_pointed_out(run: Run, tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text(pem(authority()[1][1]))
    code, _, err = run("trust", "add", "ca.pem", "--yes")
    assert code == 0
    assert "certificate of an authority: only what its own key signs is believed" in err


def test_a_revocation_in_a_handed_file_is_kept_and_never_undone(run: Run, tmp_path: Path) -> None:
    good = Trust().add_key(own())
    day = own().not_before.date()
    good.save(tmp_path / "good.json")
    good.revoke(own().keyid, day, "laptop lost").save(tmp_path / "revoked.json")
    assert run("trust", "add", "good.json", "--yes")[0] == 0
    code, _, err = run("trust", "add", "revoked.json", "--yes")
    assert code == 0
    assert f"its owner says it is revoked since {day}: laptop lost" in err
    assert f"trust revoke {own().keyid[:16]} --since {day}" in err
    assert trust.load().believed(own().keyid, "tool").outcome == "pass"
    fresh = ("--trust", tmp_path / "fresh.json")
    assert run("trust", "add", "revoked.json", "--yes", *fresh)[0] == 0
    assert run("trust", "add", "good.json", "--yes", *fresh)[0] == 0
    assert trust.load(tmp_path / "fresh.json").believed(own().keyid, "tool").outcome == "revoked"


HOSTILE: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "expected a trust file or certificates"),
    "text": (b"trust me", "expected a trust file or certificates"),
    "no keys": (b'{"keys": []}', "a trust file without keys"),
    "json": (b'{"keys": [{}]}', "not a trust file"),
    "nested": (b"[" * 200_000, "not a trust file"),
    "public key": (own().public_pem.encode(), "holds no certificate"),
    "private key": (
        own().certificates_pem.encode()
        + private("rsa").private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        ),
        "holds a private key, which its owner must never hand out",
    ),
    "cut certificate": (own().certificates_pem.encode()[:200], "expected PEM certificates"),
    "bad certificate": (
        b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        "expected PEM certificates",
    ),
    "der": (b"\x30\x82\xff\xff" + b"\0" * 99, "expected a certificate in DER"),
    "strangers": (
        (own().certificates_pem + pem(*issued())).encode(),
        "found 5 that do not belong together",
    ),
    "many": (own().certificates_pem.encode() * 20, "at most 10 certificates, found 40"),
    "large": (b"{" + b" " * trust.LARGEST, "too large"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_file_is_refused_in_one_line(run: Run, tmp_path: Path, name: str) -> None:
    content, message = HOSTILE[name]
    (tmp_path / "handed").write_bytes(content)
    code, out, err = run("trust", "add", "handed", "--yes")
    assert code == 2
    assert message in err
    assert len(err.strip().splitlines()) == 1
    assert not out
    assert not trust.load().keys


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("nowhere.json",), "No such file"),
        ((".",), "expected a trust file, certificates, or a folder"),
        (("good.json", "--role", "king"), "roles are tool, reviewer, timestamp, found 'king'"),
    ],
)
def test_a_wrong_call_is_explained(
    run: Run, tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    Trust().add_key(own()).save(tmp_path / "good.json")
    code, _, err = run("trust", "add", *arguments, "--yes")
    assert code == 2
    assert message in err


# trust list and revoke


def test_list_shows_roles_validity_and_revocation(run: Run, home: Path) -> None:
    keys, above = authority()
    leaf = certificate("Old", private("rsa").public_key(), "Issuing", keys[0], days=(-9, -2))
    old = SigningKey(chain=(leaf, *above))
    Trust().add_key(own(), ("tool", "reviewer")).add_key(old).save()
    arguments = ("trust", "revoke", own().key_fingerprint[:19], "--reason", "laptop lost")
    code, out, err = run(*arguments, "--since", "2026-11-01")
    assert code == 0
    assert out == "Example Auditor is no longer believed since 2026-11-01\n"
    assert not err
    first, second = run("trust", "list")[1].splitlines()
    days = f"{own().not_before:%Y-%m-%d} to {own().not_after:%Y-%m-%d}"
    assert first == (
        f"{own().keyid}  tool,reviewer  {days}  Example Auditor  "
        "revoked since 2026-11-01: laptop lost"
    )
    assert second.endswith("  Old  expired")
    facts = json.loads(run("trust", "list", "--json")[1])
    assert facts[0] == {
        "name": "Example Auditor",
        "keyid": own().keyid,
        "roles": ["tool", "reviewer"],
        "certificate_fingerprint": own().certificate_fingerprint.replace(" ", ""),
        "not_before": own().not_before.isoformat(),
        "not_after": own().not_after.isoformat(),
        "added": trust.load().keys[0].added,
        "revoked": {"since": "2026-11-01", "reason": "laptop lost"},
        "standing": "revoked",
    }
    assert facts[1]["standing"] == "expired"


@pytest.mark.parametrize(
    "start",
    ["", "0" * 64, own().keyid[:7], "\x1b[31m"],
    ids=["none", "unknown", "too short", "control characters"],
)
def test_a_key_to_revoke_must_be_named(run: Run, home: Path, start: str) -> None:
    Trust().add_key(own()).save()
    code, _, err = run("trust", "revoke", start, "--reason", "lost")
    assert code == 2
    assert "expected the keyid of one key" in err
    assert "\x1b" not in err


def test_revoking_ones_own_key_says_what_else_is_to_do(run: Run, home: Path) -> None:
    use(own(), home)
    Trust().add_key(own()).save()
    code, _, err = run("trust", "revoke", own().keyid, "--reason", "lost")
    assert code == 0
    assert "make another with `forget-audit keys new`" in err
    assert "tell whoever checks your reports" in err
    assert not (home / "ledger.sqlite").exists()
    assert run("keys", "new", "--name", "Office", "--unattended")[0] == 0
    assert run("trust", "revoke", own().keyid, "--reason", "lost")[0] == 0
    last = Ledger.open().entries()[-1]
    assert (last.kind, last.body) == ("key-revoked", {"keyid": own().keyid})
