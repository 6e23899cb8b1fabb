"""Audits begun: a commitment in the ledger before anything is trained, and which attempt it is.

Requests must be known again, and nobody may guess from the ledger whom they are about. So their
digests are keyed by a secret that lies beside the ledger and is never handed out.
"""

from __future__ import annotations

import hmac
import os
import secrets
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from forget_audit.digests import sha256
from forget_audit.errors import KeyFileError
from forget_audit.keys.folders import read_owned
from forget_audit.keys.signing import SigningKey
from forget_audit.ledger.commitments import commitment
from forget_audit.ledger.entries import Entry
from forget_audit.ledger.ledger import Ledger, LedgerError
from forget_audit.types import Json
from forget_audit.whole_files import write_whole

KIND, SUFFIX = "audit-begun", ".secret"
SAME = ("request", "subject")  # either tells that two audits are about the same
SECRET_BYTES = 32


@dataclass(frozen=True, kw_only=True)
class Beginning:
    """An audit that is about to begin.

    Args:
        request: Digest of the request.
        plan: Digest of the plan as far as the verdict depends on it: the same is no new attempt.
        run: Digest of the whole plan and all that it reads.
        subject: Digest of handed-in models and the rows to forget: another reference for them is
            no other request. None if the audit makes the models.
        fixed: What is committed to.
    """

    request: str
    plan: str
    run: str
    subject: str | None
    fixed: Json


@dataclass(frozen=True, kw_only=True)
class Begun:
    """An audit that the ledger knows of.

    Args:
        ledger: Origin of the ledger.
        entry: Index of its entry.
        commitment: That stands there.
        nonce: That opens it.
        attempt: How often this request was tried, this time included.
        known: How many of these attempts the ledger knows.
    """

    ledger: str
    entry: int
    commitment: str
    nonce: str
    attempt: int
    known: int


def begin(ledger: Ledger, key: SigningKey, what: Beginning, counted: int = 1) -> Begun:
    """Record that an audit begins; a run that is continued finds the entry it has made.

    Args:
        ledger: Where it is recorded.
        key: Signs the checkpoint.
        what: Is audited.
        counted: Number of this attempt as counted elsewhere; the larger one holds.

    Raises:
        LedgerError: If the ledger cannot be written or is damaged, or its secret is lost: what
            cannot be recognised cannot be counted.
    """
    with ledger.adding(KIND, key) as (entries, add):
        _refuse_strange(entries)
        secret = _secret(ledger.path, entries)
        nonce = _keyed(secret, "nonce", what.request + what.run)
        body: Json = {
            "commitment": commitment(what.fixed, nonce),
            "keyed": _fingerprint(secret),
            "plan": _keyed(secret, "plan", what.plan),
            "request": _keyed(secret, "request", what.request),
        }
        if what.subject is not None:
            body["subject"] = _keyed(secret, "subject", what.subject)
        tried = [entry.body for entry in entries if _same(entry.body, body)]
        again = [item["attempt"] for item in tried if item["plan"] == body["plan"]]
        largest = max((item["attempt"] for item in tried), default=0)
        number = max(counted, again[0] if again else largest + 1)
        there = (entry for entry in entries if entry.body["commitment"] == body["commitment"])
        entry = next(there, None) or add({**body, "attempt": number})
    everything = entries if entry in entries else [*entries, entry]
    return Begun(
        ledger=ledger.origin,
        entry=entry.index,
        commitment=body["commitment"],
        nonce=nonce,
        attempt=number,
        known=attempts_known(everything)[entry.index],
    )


def attempts_known(entries: Iterable[Entry]) -> dict[int, int]:
    """Return how many plans were tried for the same request up to each beginning, by its index."""
    plans: defaultdict[tuple[str, str], set[str]] = defaultdict(set)
    known: dict[int, int] = {}
    for entry in entries:
        if entry.kind == KIND:
            names = [(name, str(entry.body[name])) for name in SAME if name in entry.body]
            for name in names:
                plans[name].add(str(entry.body.get("plan")))
            known[entry.index] = len(set().union(*(plans[name] for name in names)))
    return known


def _same(one: Json, other: Json) -> bool:
    """Say whether two entries are about the same request, or the same models and rows."""
    return any(one.get(name) == other.get(name) is not None for name in SAME)


def _keyed(secret: bytes, name: str, digest: str) -> str:
    return hmac.new(secret, f"{name}\x1f{digest}".encode(), "sha256").hexdigest()


def _fingerprint(secret: bytes) -> str:
    return sha256(b"fingerprint\x1f" + secret)


def _refuse_strange(entries: Sequence[Entry]) -> None:
    """Refuse entries of this kind that this program cannot have made."""
    for entry in entries:
        body = entry.body
        texts = [body.get(name) for name in ("commitment", "keyed", "plan", "request")]
        number = body.get("attempt")
        if not all(isinstance(text, str) for text in texts) or type(number) is not int:
            raise LedgerError(f"entry {entry.index} of the ledger is no {KIND} of forget-audit")


def _secret(path: Path, entries: Sequence[Entry]) -> bytes:
    """Return the secret beside a ledger, made for its first audit; the ledger must be held."""
    place = path.with_suffix(SUFFIX)
    try:
        secret = read_owned(place)
    except FileNotFoundError:
        if entries:
            raise _lost(place, "is gone") from None
        return _new(place)
    except OSError as error:
        raise _lost(place, f"cannot be read ({error.strerror})") from error
    except KeyFileError as error:
        raise LedgerError(str(error)) from error
    if len(secret) != SECRET_BYTES:
        raise _lost(place, "is damaged")
    if any(entry.body.get("keyed") != _fingerprint(secret) for entry in entries):
        raise _lost(place, "is another one")
    return secret


def _new(place: Path) -> bytes:
    secret = secrets.token_bytes(SECRET_BYTES)
    try:
        write_whole(place, secret)
        with place.open("rb") as file:
            os.fsync(file.fileno())
    except OSError as error:
        raise LedgerError(f"{place}: cannot be written ({error.strerror})") from error
    return secret


def _lost(place: Path, what: str) -> LedgerError:
    return LedgerError(
        f"{place} {what}, by which the ledger beside it knows requests again; without it attempts "
        "cannot be counted. Put it back from a copy, or begin a new ledger (docs/ledger.md)"
    )
