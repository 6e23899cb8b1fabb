"""Whose signatures are believed: a small JSON file of public keys with their roles.

The file is the reader's own. Nothing is ever believed because a report says so.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, Literal

from cryptography import x509

from forget_audit.errors import KeyFileError
from forget_audit.faults import refuse_irregular
from forget_audit.finite import read_json
from forget_audit.keys.signing import SigningKey, certificates_of, home
from forget_audit.keys.trusted import (
    ROLES,
    Revocation,
    TrustedKey,
    any_keyid,
    ordered,
    refuse_wrong,
)
from forget_audit.whole_files import write_whole

Believed = Literal["pass", "unknown", "wrong-role", "revoked", "expired"]

LARGEST = 4 * 1024 * 1024


@dataclass(frozen=True, kw_only=True)
class Standing:
    """Whether a key is believed, and why.

    Args:
        outcome: `pass`, or what stands against it.
        words: For people, a sentence without its full stop.
        key: What the trust file holds on it, if anything.
    """

    outcome: Believed
    words: str
    key: TrustedKey | None = None


@dataclass(frozen=True, kw_only=True)
class Trust:
    """All keys of a trust file; adding and revoking give a new one.

    Args:
        keys: In order of adding.
    """

    keys: tuple[TrustedKey, ...] = field(default=())

    def find(self, keyid: str) -> TrustedKey | None:
        """Return the key of that id, if it is known."""
        return next((key for key in self.keys if key.keyid == keyid), None)

    def believed(self, keyid: str, role: str, at: datetime | None = None) -> Standing:
        """Say whether signatures of a key are believed in a role.

        Args:
            keyid: SHA-256 of the DER public key.
            role: What the signature is to stand for.
            at: When it was made, if that is proven, by a timestamp for example: then validity
                and revocation are judged on that day. What a file says of its own time proves
                nothing: without `at` the certificate must be valid now, and any revocation
                counts, because whoever stole the key can write any date.
        """
        key = self.find(keyid)
        if key is None:
            return Standing(outcome="unknown", words=f"key {keyid} is not in the trust file")
        if role not in key.roles:
            words = f"{key.name} is trusted as {' and '.join(key.roles)}, not as {role}"
            return Standing(outcome="wrong-role", words=words, key=key)
        moment = (at or datetime.now(UTC)).astimezone(UTC)
        when = f"at the proven time {moment:%Y-%m-%d %H:%M} UTC" if at else "today"
        revoked, leaf = key.revoked, key.chain[0]
        if revoked and (at is None or moment.date() >= date.fromisoformat(revoked.since)):
            words = f"key {keyid[:16]}… of {key.name} is revoked since {revoked.since}"
            words += f": {revoked.reason}" if revoked.reason else ""
            return Standing(outcome="revoked", words=words, key=key)
        if moment < leaf.not_valid_before_utc:
            words = f"the certificate of {key.name} was not yet valid {when}"
            return Standing(outcome="expired", words=words, key=key)
        if moment > leaf.not_valid_after_utc:
            words = f"the certificate of {key.name} had ended {when}"
            return Standing(outcome="expired", words=words, key=key)
        words = f"{key.name}, trusted as {role} since {key.added}, judged {when}"
        if revoked:
            words += f"; revoked later, since {revoked.since}"
        return Standing(outcome="pass", words=words, key=key)

    def roots(self, role: str, *, revoked: bool = False) -> tuple[x509.Certificate, ...]:
        """Return the outermost certificate of each key of a role.

        Args:
            role: Which keys.
            revoked: Whether to include keys that are no longer believed.
        """
        return tuple(
            key.chain[-1]
            for key in self.keys
            if role in key.roles and (revoked or key.revoked is None)
        )

    def add(
        self,
        public_pem: str,
        certificates_pem: str,
        name: str,
        roles: Sequence[str] = ("tool",),
        revoked: Revocation | None = None,
    ) -> Trust:
        """Return the trust with one more key.

        A key that is known gains the roles it lacks and a certificate that ends later; it stays
        revoked if it is.

        Raises:
            KeyFileError: If key and certificate do not belong together, a role is unknown, or
                the kind of key cannot sign reports.
        """
        keyid = any_keyid(public_pem)
        known = self.find(keyid)
        certificates = ordered(certificates_pem, public_pem)
        merged = dict.fromkeys([*(known.roles if known else ()), *roles])
        key = TrustedKey(
            keyid=keyid,
            name=known.name if known else name,
            roles=tuple(merged),
            public_key=public_pem,
            certificates=_later(known.certificates, certificates) if known else certificates,
            added=known.added if known else datetime.now(UTC).date().isoformat(),
            revoked=known.revoked if known else revoked,
        )
        refuse_wrong(key)
        if not roles:
            raise KeyFileError(f"roles are {', '.join(ROLES)}, found none")
        if known is None:
            return Trust(keys=(*self.keys, key))
        return Trust(keys=tuple(key if item is known else item for item in self.keys))

    def add_key(self, key: SigningKey, roles: Sequence[str] = ("tool",)) -> Trust:
        """Return the trust with one's own key."""
        return self.add(key.public_pem, key.certificates_pem, key.name or key.keyid[:16], roles)

    def revoke(self, keyid: str, since: date, reason: str) -> Trust:
        """Return the trust in which that key is no longer believed from `since` on.

        Raises:
            KeyFileError: If no such key is known.
        """
        known = self.find(keyid)
        if known is None:
            raise KeyFileError(f"no key {keyid[:16]}… in the trust file")
        changed = replace(known, revoked=Revocation(since=since.isoformat(), reason=reason))
        refuse_wrong(changed)
        return Trust(keys=tuple(changed if item is known else item for item in self.keys))

    def save(self, path: Path | None = None) -> None:
        """Write the trust file, whole or not at all; without `path` that of this account."""
        target = path or home() / "trust.json"
        text = json.dumps({"keys": [asdict(key) for key in self.keys]}, indent=2) + "\n"
        write_whole(target, text.encode("utf-8"), shared=True)


def load(path: Path | None = None) -> Trust:
    """Read a trust file; without `path` that of this account, empty if there is none yet.

    Raises:
        KeyFileError: If it is missing or malformed.
    """
    source = path or home() / "trust.json"
    try:
        refuse_irregular(source)
        with source.open("rb") as file:
            return parse(file.read(LARGEST + 1))
    except OSError as error:
        if path is None and isinstance(error, FileNotFoundError | NotADirectoryError):
            return Trust()
        raise KeyFileError(f"{source}: {error.strerror}") from error
    except KeyFileError as error:
        raise KeyFileError(f"{source}: {error}") from error


def parse(content: bytes) -> Trust:
    """Return the keys of a trust file.

    Raises:
        KeyFileError: If it is malformed, too large, or says two things of one key.
    """
    if len(content) > LARGEST:
        raise KeyFileError("not a trust file (too large)")
    try:
        document = read_json(content, object_pairs_hook=_once)
        keys = tuple(_parsed(item) for item in document["keys"])
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise KeyFileError(f"not a trust file ({error})") from error
    if len({key.keyid for key in keys}) < len(keys):
        raise KeyFileError("not a trust file (one key is listed twice)")
    return Trust(keys=keys)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a name stands twice in one object")
    return found


def _parsed(item: Mapping[str, Any]) -> TrustedKey:
    revoked = item["revoked"]
    key = TrustedKey(
        keyid=str(item["keyid"]),
        name=str(item["name"]),
        roles=tuple(str(role) for role in item["roles"]),
        public_key=str(item["public_key"]),
        certificates=str(item["certificates"]),
        added=date.fromisoformat(item["added"]).isoformat(),
        revoked=revoked
        and Revocation(
            since=date.fromisoformat(revoked["since"]).isoformat(), reason=str(revoked["reason"])
        ),
    )
    refuse_wrong(key)
    return key


def _later(first: str, second: str) -> str:
    """Return those certificates whose leaf ends later, the first ones if both end together."""
    ends = [certificates_of(pem)[0].not_valid_after_utc for pem in (first, second)]
    return second if ends[1] > ends[0] else first
