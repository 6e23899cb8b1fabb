"""The trust file: who is believed, since when, and until when."""

import json
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from forget_audit import trust
from forget_audit.errors import KeyFileError
from forget_audit.signing import SigningKey
from forget_audit.trust import Trust
from tests.fixtures.released import key


def test_a_trust_file_survives_the_disk(tmp_path: Path) -> None:
    other = SigningKey.create("Other")
    book = Trust().add_key(key()).add_key(other)
    book = book.revoke(other.keyid, date(2026, 11, 21), "lost laptop")
    book.save(tmp_path / "trust.json")
    again = trust.load(tmp_path / "trust.json")
    assert again == book
    found = again.find(other.keyid)
    assert found
    assert found.revoked
    assert (found.revoked.since, found.revoked.reason) == ("2026-11-21", "lost laptop")
    assert again.find("0" * 64) is None
    assert len(again.add_key(key()).keys) == 2


def test_without_a_file_nobody_is_trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORGET_AUDIT_HOME", str(tmp_path))
    assert trust.load() == Trust()
    Trust().add_key(key()).save()
    assert trust.load().find(key().keyid)
    with pytest.raises(KeyFileError, match=r"trust\.json"):
        trust.load(tmp_path / "missing" / "trust.json")


def test_roles_are_checked() -> None:
    with pytest.raises(KeyFileError, match="roles are tool, reviewer, found king"):
        Trust().add(key().public_pem, key().certificates_pem, "x", roles=("king",))


def test_an_unknown_key_cannot_be_revoked() -> None:
    with pytest.raises(KeyFileError, match="no key"):
        Trust().revoke("0" * 64, date(2026, 1, 1), "")


def entry() -> dict[str, Any]:
    known = Trust().add_key(key()).keys[0]
    return {
        "keyid": known.keyid, "name": known.name, "roles": ["tool"], "added": known.added,
        "public_key": known.public_key, "certificates": known.certificates, "revoked": None,
    }  # fmt: skip


@pytest.mark.parametrize(
    "change",
    [
        {"keyid": "0" * 64},
        {"public_key": "x"},
        {"certificates": SigningKey.create("Other").certificates_pem},
        {"certificates": ""},
        {"revoked": {"since": "soon", "reason": ""}},
        {"revoked": 3},
        {"roles": 3},
    ],
)
def test_a_wrong_entry_is_refused(tmp_path: Path, change: dict[str, Any]) -> None:
    path = tmp_path / "trust.json"
    path.write_text(json.dumps({"keys": [{**entry(), **change}]}))
    with pytest.raises(KeyFileError):
        trust.load(path)


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"{}", b'{"keys":3}', b'{"keys":[3]}', b"\xff", b"[" * 100_000]
)
def test_a_malformed_file_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "trust.json"
    path.write_bytes(content)
    with pytest.raises(KeyFileError, match="not a trust file"):
        trust.load(path)
