"""Whose signatures are believed: a small JSON file of public keys with their roles."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.serialization import load_pem_public_key

from forget_audit.errors import KeyFileError
from forget_audit.signing import SigningKey, certificates_of, home, keyid_of

ROLES = ("tool", "reviewer")
LARGEST = 4 * 1024 * 1024


@dataclass(frozen=True, kw_only=True)
class Revocation:
    """From when on a key is no longer believed.

    Args:
        since: Day in UTC, such as `2026-11-21`.
        reason: For people.
    """

    since: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class TrustedKey:
    """A key that is believed, or was.

    Args:
        keyid: SHA-256 of the DER public key.
        name: Whose it is.
        roles: What its signatures stand for.
        public_key: PEM.
        certificates: PEM, that of the key first.
        added: Day in UTC.
        revoked: Set once it is no longer believed.
    """

    keyid: str
    name: str
    roles: tuple[str, ...]
    public_key: str
    certificates: str
    added: str
    revoked: Revocation | None = None


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

    def add(
        self, public_pem: str, certificates_pem: str, name: str, roles: Sequence[str] = ("tool",)
    ) -> Trust:
        """Return the trust with one more key; a key that is known already changes nothing.

        Raises:
            KeyFileError: If key and certificate do not belong together or a role is unknown.
        """
        unknown = [role for role in roles if role not in ROLES]
        if unknown or not roles:
            raise KeyFileError(
                f"roles are {', '.join(ROLES)}, found {', '.join(unknown) or 'none'}"
            )
        keyid = keyid_of(public_pem)
        if self.find(keyid):
            return self
        key = TrustedKey(
            keyid=keyid,
            name=name,
            roles=tuple(roles),
            public_key=public_pem,
            certificates=certificates_pem,
            added=datetime.now(UTC).date().isoformat(),
        )
        _check(key)
        return Trust(keys=(*self.keys, key))

    def add_key(self, key: SigningKey) -> Trust:
        """Return the trust with one's own key as a tool key."""
        return self.add(key.public_pem, key.certificates_pem, key.name)

    def revoke(self, keyid: str, since: date, reason: str) -> Trust:
        """Return the trust in which that key is no longer believed from `since` on.

        Raises:
            KeyFileError: If no such key is known.
        """
        if not self.find(keyid):
            raise KeyFileError(f"no key {keyid[:16]}… in the trust file")
        revocation = Revocation(since=since.isoformat(), reason=reason)
        return Trust(
            keys=tuple(
                replace(key, revoked=revocation) if key.keyid == keyid else key for key in self.keys
            )
        )

    def save(self, path: Path | None = None) -> None:
        """Write the trust file, whole or not at all; without `path` that of this account."""
        target = path or home() / "trust.json"
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        text = json.dumps({"keys": [asdict(key) for key in self.keys]}, indent=2) + "\n"
        descriptor, name = tempfile.mkstemp(dir=target.parent, prefix=".trust-")
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        Path(name).replace(target)


def load(path: Path | None = None) -> Trust:
    """Read a trust file; without `path` that of this account, empty if there is none yet.

    Raises:
        KeyFileError: If it is missing or malformed.
    """
    source = path or home() / "trust.json"
    if path is None and not source.exists():
        return Trust()
    try:
        if source.stat().st_size > LARGEST:
            raise KeyFileError(f"{source}: too large for a trust file")
        document = json.loads(source.read_bytes())
        keys = tuple(_parsed(item) for item in document["keys"])
    except OSError as error:
        raise KeyFileError(f"{source}: {error.strerror}") from error
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise KeyFileError(f"{source}: not a trust file ({error})") from error
    return Trust(keys=keys)


def _parsed(item: Mapping[str, Any]) -> TrustedKey:
    revoked = item["revoked"]
    key = TrustedKey(
        keyid=str(item["keyid"]),
        name=str(item["name"]),
        roles=tuple(str(role) for role in item["roles"]),
        public_key=str(item["public_key"]),
        certificates=str(item["certificates"]),
        added=str(item["added"]),
        revoked=revoked
        and Revocation(
            since=date.fromisoformat(revoked["since"]).isoformat(), reason=str(revoked["reason"])
        ),
    )
    _check(key)
    return key


def _check(key: TrustedKey) -> None:
    if keyid_of(key.public_key) != key.keyid:
        raise KeyFileError(f"key {key.keyid[:16]}…: the keyid is not that of the public key")
    owner = certificates_of(key.certificates)[0].public_key()
    if owner != _public_key(key.public_key):
        raise KeyFileError(f"key {key.keyid[:16]}…: the certificate belongs to another key")


def _public_key(pem: str) -> object:
    return load_pem_public_key(pem.encode())
