"""Checking a proof from a ledger without the ledger: the proof, a trust file, and no network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from forget_audit.errors import VerificationError
from forget_audit.finite import read_json
from forget_audit.keys.trusted import TrustedKey
from forget_audit.ledger import checkpoints, merkle
from forget_audit.ledger.check import signers
from forget_audit.ledger.checkpoints import Checkpoint
from forget_audit.ledger.entries import leaf_of
from forget_audit.ledger.ledger import PROOF
from forget_audit.ledger.witnesses import Witness
from forget_audit.trust import Trust
from forget_audit.types import Json

LARGEST = 16 * 1024 * 1024


@dataclass(frozen=True, kw_only=True)
class Proven:
    """What a proof shows.

    Args:
        entries: As they stand in the ledger: index, time, kind, body.
        checkpoint: Head of the ledger that they are under.
        since: Number of entries of the older checkpoint that it has grown from, if one was shown.
        signer: Who signed the head; none if the trust file does not hold that key.
    """

    entries: tuple[Json, ...]
    checkpoint: Checkpoint
    since: int | None
    signer: TrustedKey | None


def check_proof(data: bytes, trust: Trust, against: Witness | None = None) -> Proven:
    """Check a proof that `Ledger.prove` has made.

    Args:
        data: JSON.
        trust: Whose checkpoints are believed.
        against: A checkpoint kept from earlier: the proof must show that the ledger has only grown
            since.

    Raises:
        VerificationError: If the proof is malformed or does not show what it says.
    """
    if len(data) > LARGEST:
        raise VerificationError("proof: too large")
    try:
        document = read_json(data)
    except (ValueError, RecursionError) as error:
        raise VerificationError(f"proof: not JSON ({error})") from error
    if not isinstance(document, dict) or document.get("format") != PROOF:
        raise VerificationError(f"proof: expected a document of the format {PROOF}")
    note = checkpoints.parse(_text(document.get("checkpoint")))
    entries = document.get("entries")
    if not isinstance(entries, list) or not entries:
        raise VerificationError("proof: expected a list of entries")
    shown = tuple(_shown(item, note) for item in entries)
    keys = signers(trust)
    keyid = note.signer({keyid: key.public_key for keyid, key in keys.items()})
    since = _since(document.get("since"), note)
    if against is not None:
        _refuse_other(against, note, since)
    return Proven(entries=shown, checkpoint=note, since=since.size if since else None,
                  signer=keys[keyid] if keyid else None)  # fmt: skip


def _shown(item: Any, note: Checkpoint) -> Json:
    """Return an entry after following its path to the root."""
    if not isinstance(item, dict) or set(item) != {"entry", "path"}:
        raise VerificationError("proof: each entry comes with its path")
    entry = item["entry"]
    if not isinstance(entry, dict) or set(entry) != {"index", "time", "kind", "body"}:
        raise VerificationError("proof: an entry has index, time, kind and body")
    index, body = entry["index"], entry["body"]
    if type(index) is not int or not isinstance(body, dict):
        raise VerificationError("proof: an entry has a number and a body")
    try:
        leaf = leaf_of(index, _text(entry["time"]), _text(entry["kind"]), body)
    except (ValueError, RecursionError) as error:
        raise VerificationError(f"proof: entry {index}: {error}") from error
    path = _hashes(item["path"])
    if not merkle.verify_inclusion(bytes.fromhex(leaf), index, note.size, path, note.root):
        raise VerificationError(f"proof: entry {index} is not in the ledger as signed")
    return entry


def _since(item: Any, note: Checkpoint) -> Checkpoint | None:
    """Return the older checkpoint after following its path to the root."""
    if item is None:
        return None
    if not isinstance(item, dict) or set(item) != {"checkpoint", "path"}:
        raise VerificationError("proof: an older checkpoint comes with its path")
    old = checkpoints.parse(_text(item["checkpoint"]))
    path = _hashes(item["path"])
    same = old.origin == note.origin
    if not same or not merkle.verify_consistency(old.size, note.size, path, old.root, note.root):
        raise VerificationError("proof: the ledger has not grown from the older checkpoint")
    return old


def _refuse_other(against: Witness, note: Checkpoint, since: Checkpoint | None) -> None:
    kept = (against.origin, against.size, against.root)
    if kept[0] != note.origin:
        raise VerificationError(f"{against.source} is about another ledger")
    shown = [(item.origin, item.size, item.root) for item in (note, since) if item is not None]
    if kept in shown:
        return
    if any(size == against.size for _, size, _ in shown):
        raise VerificationError(
            f"{against.source} signs another history of this ledger: it was forked"
        )
    raise VerificationError(
        f"the proof does not start from {against.source}; ask for one made with --since"
    )


def _hashes(items: Any) -> list[bytes]:
    texts = items if isinstance(items, list) and len(items) <= 64 else [None]
    try:
        return [bytes.fromhex(_text(item)) for item in texts]
    except ValueError as error:
        raise VerificationError("proof: a path is a list of hashes") from error


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise VerificationError("proof: expected text")
    return value
