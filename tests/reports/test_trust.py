"""The trust file: who is believed, as what, since when, and until when."""

import json
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from forget_audit import trust
from forget_audit.errors import KeyFileError
from forget_audit.keys.signing import SigningKey
from forget_audit.keys.trusted import Revocation
from forget_audit.trust import Trust
from tests.keys.material import authority, certificate, issued, own, pem, private, public_pem

NOW = datetime.now(UTC)
SIGNED = datetime(2026, 11, 10, 12, tzinfo=UTC)


def test_a_trust_file_survives_the_disk(tmp_path: Path) -> None:
    other = SigningKey.create("Other")
    book = Trust().add_key(own()).add_key(other, ("reviewer", "tool"))
    book = book.revoke(other.keyid, date(2026, 11, 21), "lost laptop")
    book.save(tmp_path / "trust.json")
    again = trust.load(tmp_path / "trust.json")
    assert again == book
    found = again.find(other.keyid)
    assert found
    assert found.revoked
    assert (found.revoked.since, found.revoked.reason) == ("2026-11-21", "lost laptop")
    assert found.roles == ("reviewer", "tool")
    assert found.certificate_fingerprint == other.certificate_fingerprint
    assert again.find("0" * 64) is None
    assert len(again.add_key(own()).keys) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["trust.json"]


def test_without_a_file_nobody_is_trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORGET_AUDIT_HOME", str(tmp_path))
    assert trust.load() == Trust()
    Trust().add_key(own()).save()
    assert trust.load().find(own().keyid)
    with pytest.raises(KeyFileError, match=r"trust\.json"):
        trust.load(tmp_path / "missing" / "trust.json")


@pytest.mark.parametrize(("roles", "found"), [(("king",), "'king'"), ((), "none")])
def test_roles_are_checked(roles: tuple[str, ...], found: str) -> None:
    with pytest.raises(KeyFileError, match=f"roles are tool, reviewer, timestamp, found {found}"):
        Trust().add_key(own(), roles)


def test_an_unknown_key_cannot_be_revoked() -> None:
    with pytest.raises(KeyFileError, match="no key"):
        Trust().revoke("0" * 64, date(2026, 1, 1), "")


def test_a_known_key_gains_roles_and_stays_revoked() -> None:
    book = Trust().add_key(own()).revoke(own().keyid, date(2026, 11, 1), "lost")
    again = book.add_key(own(), ("reviewer",))
    assert len(again.keys) == 1
    assert again.keys[0].roles == ("tool", "reviewer")
    assert again.keys[0].revoked


def test_a_renewed_certificate_replaces_the_former_one_but_not_the_other_way_round() -> None:
    (issuer, _), above = authority()
    public = private("p256").public_key()
    longer = certificate("Jane Doe", public, "Issuing", issuer, days=(-1, 900))
    key = public_pem(private("p256"))
    book = Trust().add(key, pem(*issued()), "Jane")
    renewed = book.add(key, pem(longer, *above), "Somebody else")
    assert renewed.keys[0].chain[0] == longer
    assert renewed.keys[0].name == "Jane"
    assert renewed.add(key, pem(*issued()), "Jane") == renewed


def test_a_chain_is_put_in_order_and_freed_of_strangers() -> None:
    leaf, middle, root = issued()
    mixed = pem(root, *own().chain, leaf, middle)
    added = Trust().add(public_pem(private("p256")), mixed, "Jane").keys[0]
    assert added.chain == (leaf, middle, root)


def test_only_timestamp_authorities_may_have_other_kinds_of_keys() -> None:
    leaf = certificate("TSA", private("p384").public_key(), "TSA", private("p384"))
    key = public_pem(private("p384"))
    book = Trust().add(key, pem(leaf), "TSA", ("timestamp",))
    assert book.roots("timestamp") == (leaf,)
    assert trust.parse(json.dumps({"keys": [vars(book.keys[0])]}).encode()) == book
    with pytest.raises(KeyFileError, match="found the curve secp384r1"):
        book.add(key, pem(leaf), "TSA", ("tool",))


# Who is believed


@pytest.mark.parametrize("kind", ["p256", "rsa"])
def test_a_key_is_believed_in_its_role_only(kind: str) -> None:
    key = SigningKey(chain=issued(kind))
    book = Trust().add_key(key, ("reviewer",))
    good = book.believed(key.keyid, "reviewer")
    assert good.outcome == "pass"
    assert good.key == book.keys[0]
    assert "Jane Doe, trusted as reviewer since" in good.words
    assert "judged today" in good.words
    wrong = book.believed(key.keyid, "tool")
    assert wrong.outcome == "wrong-role"
    assert wrong.words == "Jane Doe is trusted as reviewer, not as tool"
    unknown = book.believed("0" * 64, "tool")
    assert (unknown.outcome, unknown.key) == ("unknown", None)
    assert "is not in the trust file" in unknown.words


@pytest.mark.parametrize(
    ("since", "at", "outcome"),
    [
        ("2026-11-11", SIGNED, "pass"),
        ("2026-11-10", SIGNED, "revoked"),
        ("2026-11-09", SIGNED, "revoked"),
        ("2026-11-11", None, "revoked"),
        ("2999-01-01", None, "revoked"),
        # before midnight in UTC, after midnight where the clock of the server stands
        ("2026-11-11", datetime.fromisoformat("2026-11-11T01:00+02:00"), "pass"),
    ],
)
def test_a_revocation_counts_unless_a_time_before_it_is_proven(
    since: str, at: datetime | None, outcome: str
) -> None:
    keys, above = authority()
    leaf = certificate("J", private("p256").public_key(), "Issuing", keys[0], days=(-900, 900))
    key = SigningKey(chain=(leaf, *above))
    book = Trust().add_key(key).revoke(key.keyid, date.fromisoformat(since), "laptop lost")
    standing = book.believed(key.keyid, "tool", at)
    assert standing.outcome == outcome
    assert since in standing.words
    assert ("laptop lost" in standing.words) == (outcome == "revoked")
    assert ("at the proven time" in standing.words) == (outcome == "pass")


@pytest.mark.parametrize(
    ("days", "at", "outcome", "words"),
    [
        ((-20, -10), None, "expired", "had ended today"),
        ((-20, -10), NOW - timedelta(days=15), "pass", "at the proven time"),
        ((-20, -10), NOW - timedelta(days=5), "expired", "had ended at the proven time"),
        ((-20, 10), NOW - timedelta(days=25), "expired", "was not yet valid at the proven time"),
        ((10, 20), None, "expired", "was not yet valid today"),
    ],
)
def test_a_certificate_is_judged_at_the_proven_time_or_today(
    days: tuple[int, int], at: datetime | None, outcome: str, words: str
) -> None:
    keys, above = authority()
    leaf = certificate("J", private("p256").public_key(), "Issuing", keys[0], days=days)
    key = SigningKey(chain=(leaf, *above))
    standing = Trust().add_key(key).believed(key.keyid, "tool", at)
    assert standing.outcome == outcome
    assert words in standing.words


def test_roots_are_by_role_and_leave_out_revoked_keys() -> None:
    book = Trust().add_key(own()).add_key(SigningKey(chain=issued()), ("tool", "reviewer"))
    assert book.roots("tool") == (own().chain[-1], issued()[-1])
    assert book.roots("reviewer") == (issued()[-1],)
    assert book.roots("timestamp") == ()
    gone = book.revoke(own().keyid, date(2026, 1, 1), "")
    assert gone.roots("tool") == (issued()[-1],)
    assert gone.roots("tool", revoked=True) == book.roots("tool")


# Hostile files


def entry() -> dict[str, Any]:
    known = Trust().add_key(own()).keys[0]
    return {
        "keyid": known.keyid, "name": known.name, "roles": ["tool"], "added": known.added,
        "public_key": known.public_key, "certificates": known.certificates, "revoked": None,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"keyid": "0" * 64}, "keyid is not that of the public key"),
        ({"keyid": "\x1b[2J" * 9}, "keyid is not that of the public key"),
        ({"public_key": "x"}, "expected a PEM public key"),
        ({"public_key": "\ud800"}, "expected a PEM public key"),
        ({"certificates": SigningKey.create("Other").certificates_pem}, "certificate of the key"),
        ({"certificates": ""}, "expected PEM certificates"),
        ({"certificates": "\ud800"}, "expected PEM certificates"),
        ({"certificates": pem(*own().chain[::-1])}, "then who issued that"),
        ({"certificates": pem(*own().chain, *issued()[1:])}, "then who issued that"),
        ({"certificates": pem(*own().chain) * 6}, "at most 10 certificates, found 12"),
        ({"revoked": {"since": "soon", "reason": ""}}, "not a trust file"),
        ({"revoked": {"since": "2026-01-01", "reason": "\x1b[31m"}}, "expected a reason"),
        ({"revoked": 3}, "not a trust file"),
        ({"added": "yesterday"}, "not a trust file"),
        ({"roles": 3}, "not a trust file"),
        ({"roles": []}, "found none"),
        ({"roles": "tool"}, "found 't', 'o'"),
        ({"roles": ["\x1b[31m"]}, r"found '\\x1b"),
        ({"name": ""}, "1 to 200 printable"),
        ({"name": "a" * 201}, "1 to 200 printable"),
        ({"name": "Trusted\x1b[2K"}, "1 to 200 printable"),
        ({"name": "gnp.\u202etxet"}, "1 to 200 printable"),
    ],
)
def test_a_wrong_entry_is_refused(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    path = tmp_path / "trust.json"
    path.write_text(json.dumps({"keys": [{**entry(), **change}]}))
    with pytest.raises(KeyFileError, match=message) as caught:
        trust.load(path)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    "content",
    [
        b"", b"[]", b"{}", b'{"keys":3}', b'{"keys":[3]}', b"\xff", b"[" * 100_000,
        b'{"keys":[],"keys":[]}', b" " * (trust.LARGEST + 1), b'{"keys":[{}]}', b'{"keys":{"a":1}}',
    ],
)  # fmt: skip
def test_a_malformed_file_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "trust.json"
    path.write_bytes(content)
    with pytest.raises(KeyFileError, match="not a trust file"):
        trust.load(path)


def test_a_key_listed_twice_is_refused() -> None:
    revoked = {**entry(), "revoked": {"since": "2026-01-01", "reason": ""}}
    with pytest.raises(KeyFileError, match="listed twice"):
        trust.parse(json.dumps({"keys": [entry(), revoked]}).encode())


def test_a_reason_that_cannot_be_printed_is_refused() -> None:
    with pytest.raises(KeyFileError, match="expected a reason"):
        Trust().add_key(own()).revoke(own().keyid, date(2026, 1, 1), "a\nb")


def test_a_revocation_that_comes_with_a_key_is_kept() -> None:
    gone = Revocation(since="2026-01-01", reason="lost")
    book = Trust().add(own().public_pem, own().certificates_pem, "A", revoked=gone)
    assert book.believed(own().keyid, "tool").outcome == "revoked"
