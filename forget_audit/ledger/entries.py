"""Entries of the ledger: which kinds there are, what they may say, and how they are hashed.

No personal data, ever: a store that only grows and a right to erasure do not mix. So an entry
holds digests, report ids, days, small numbers and single opaque words. Free text is refused, and so
is what looks like an address, a telephone or an account number. A single word that is somebody's
name cannot be told from any other: keep names out of file names and references.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from forget_audit.digests import canonical_json, sha256
from forget_audit.ledger import merkle
from forget_audit.ledger.checkpoints import ORIGIN
from forget_audit.ledger.file import LedgerError
from forget_audit.types import PERSONAL, Json

KINDS: Mapping[str, tuple[str, ...]] = {
    "audit-issued": ("report", "files"),
    "report-superseded": ("report", "by"),
    "reviewed": ("report",),
    "rendered": ("report", "files"),
    "key-added": ("keyid",),
    "key-retired": ("keyid",),
    "key-revoked": ("keyid",),
    "purged": ("report",),
    "audit-begun": ("commitment", "request", "plan", "keyed", "attempt"),
}
LARGEST = 16 * 1024
DEEPEST = 4
LARGEST_NUMBER = 999_999
# The same rule as for references in plans, which lie in a module of the same layer.
_DIGEST = re.compile(r"[0-9a-f]{64}")
_REPORT = re.compile(r"FA-[0-9]{8}-[0-9A-Z]{1,16}")
_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/-]{0,119}")
_OPAQUE = (_DIGEST, _REPORT, ORIGIN)


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One line of the ledger.

    Args:
        index: From 0 on, without gaps.
        time: In UTC, by the clock of the machine; nothing proves it.
        kind: What happened.
        body: Digests and opaque references.
        leaf: Hash of the four fields above.
        previous: Chain up to the entry before.
        chain: Hash of `previous` and `leaf`.
    """

    index: int
    time: str
    kind: str
    body: Json
    leaf: str
    previous: str
    chain: str

    @property
    def stated(self) -> Json:
        """What the leaf covers."""
        return {"index": self.index, "time": self.time, "kind": self.kind, "body": self.body}

    def as_json(self) -> Json:
        """Return all fields for programs."""
        return asdict(self)


def encoded(kind: str, body: Json) -> str:
    """Return `body` as canonical JSON after checking that an entry of that kind may say it.

    Args:
        kind: One of `KINDS`.
        body: With at least the fields that `KINDS` lists.

    Raises:
        LedgerError: Naming the field; never repeating what stood there.
    """
    if kind not in KINDS:
        raise LedgerError(f"kinds of entries are {', '.join(KINDS)}, found {kind!r}")
    missing = [name for name in KINDS[kind] if name not in body]
    if missing:
        raise LedgerError(f"an entry of the kind {kind} needs {', '.join(missing)}")
    _check(body, "", 0)
    text = canonical_json(body).decode()
    if len(text) > LARGEST:
        raise LedgerError(f"an entry holds at most {LARGEST} characters, found {len(text)}")
    return text


def entry_of(row: Sequence[Any]) -> Entry:
    """Return the entry in a row of the file.

    Raises:
        LedgerError: If it was not written by this program.
    """
    position, time, kind, body, leaf, previous, chain = row
    texts = all(isinstance(text, str) for text in row[1:])
    read = _canonical(body) if texts and type(position) is int else None
    if read is None:
        raise LedgerError(
            f"entry {position!r} of the ledger is damaged; run `forget-audit ledger verify`"
        )
    return Entry(index=position, time=time, kind=kind, body=read, leaf=leaf, previous=previous,
                 chain=chain)  # fmt: skip


def leaf_of(index: int, time: str, kind: str, body: Json) -> str:
    """Return the leaf hash of an entry in hexadecimal."""
    stated = {"index": index, "time": time, "kind": kind, "body": body}
    return merkle.leaf_hash(canonical_json(stated)).hex()


def first_link(origin: str) -> str:
    """Return where the chain of a ledger begins: no entry fits into another ledger."""
    return sha256(origin.encode())


def link(previous: str, leaf: str) -> str:
    """Return the chain after one more leaf.

    Raises:
        ValueError: If either is not hexadecimal.
    """
    return sha256(bytes.fromhex(previous) + bytes.fromhex(leaf))


def _canonical(text: str) -> Json | None:
    """Return the object in `text` if these are its canonical bytes."""
    try:
        read = json.loads(text)
        same = isinstance(read, dict) and canonical_json(read).decode() == text
    except (ValueError, RecursionError):
        return None
    return read if same else None


def _check(value: Any, place: str, depth: int) -> None:
    if depth > DEEPEST:
        raise LedgerError(f"an entry is nested too deeply at {place}")
    if value is None or isinstance(value, bool):
        return
    if isinstance(value, Mapping):
        for name, item in value.items():
            if not isinstance(name, str) or not _opaque(name):
                raise LedgerError(f"a name under {place or 'the entry'} {_RULE}")
            _check(item, f"{place}.{name}" if place else name, depth + 1)
    elif isinstance(value, list | tuple):
        for item in value:
            _check(item, place, depth + 1)
    elif isinstance(value, int):
        if not 0 <= value <= LARGEST_NUMBER:
            raise LedgerError(f"{place}: numbers go from 0 to {LARGEST_NUMBER}; longer ones may be"
                              " a telephone or an account")  # fmt: skip
    elif not isinstance(value, str) or not _opaque(value):
        raise LedgerError(f"{place} {_RULE}")


def _opaque(text: str) -> bool:
    if any(form.fullmatch(text) for form in _OPAQUE):
        return True
    return bool(_WORD.fullmatch(text)) and not PERSONAL.search(text)


_RULE = (
    "cannot stand in the ledger: expected a digest, a report id, a day or one opaque word, since "
    "nothing can be erased from it; found free text, or what looks like personal data"
)
