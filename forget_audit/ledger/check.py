"""Checking a ledger: everything is computed again, and compared with what was signed.

Three things are told apart. The entries are what they were when they were signed, or not; what
others hold agrees with the ledger, or not; and the signers are believed, or not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

from forget_audit.errors import ForgetAuditError, VerificationError
from forget_audit.keys.signing import keyid_of
from forget_audit.keys.trusted import TrustedKey
from forget_audit.ledger import checkpoints, merkle
from forget_audit.ledger import file as ledger_file
from forget_audit.ledger.checkpoints import Checkpoint
from forget_audit.ledger.entries import entry_of, first_link, leaf_of, link
from forget_audit.ledger.file import LedgerError
from forget_audit.ledger.findings import (
    HARMLESS,
    WORST_FIRST,
    Damage,
    LedgerProblem,
)
from forget_audit.ledger.findings import LedgerCheck as LedgerCheck
from forget_audit.ledger.witnesses import Witness, of_note
from forget_audit.trust import Trust


def verify_ledger(
    path: Path, trust: Trust, against: str | None = None, *, witnesses: Sequence[Witness] = ()
) -> LedgerCheck:
    """Check a ledger file.

    Args:
        path: SQLite.
        trust: Its tool keys are believed, also when their certificates have ended, since keys
            change; its reviewer keys for the checkpoint after a review, which they sign.
        against: A checkpoint that somebody else has kept, a signed note.
        witnesses: More of them, as `witnesses.read` finds them in files.

    Raises:
        VerificationError: If `against` is malformed.
    """
    held = (*witnesses, *((of_note(against, "the checkpoint given"),) if against else ()))
    try:
        content = ledger_file.content(path)
    except LedgerError as error:
        problem = LedgerProblem(what="unreadable", index=None, until=None, detail=str(error))
        return LedgerCheck(origin="", size=0, root_hex=merkle.EMPTY.hex(), witnesses=len(held),
                           problems=(problem,))  # fmt: skip
    checker = _Checker(content=content, trust=trust)
    checker.entries()
    checker.timed()
    checker.signed()
    checker.compared(held)
    roots = checker.roots
    return LedgerCheck(
        origin=checker.origin,
        size=len(content.entries),
        root_hex=(roots[-1] if roots else merkle.EMPTY).hex(),
        witnesses=len(held),
        problems=tuple(sorted(checker.problems, key=lambda one: WORST_FIRST.index(one.what))),
    )


def signers(trust: Trust) -> dict[str, TrustedKey]:
    """Return the keys whose checkpoints may be believed, by keyid: those of tools and reviewers."""
    return {key.keyid: key for key in trust.keys if {"tool", "reviewer"} & set(key.roles)}


@dataclass(kw_only=True)
class _Checker:
    content: ledger_file.Content
    trust: Trust
    problems: list[LedgerProblem] = field(default_factory=list)
    roots: list[bytes] = field(default_factory=list)
    times: list[str] = field(default_factory=list)
    known: dict[str, str] = field(default_factory=dict)

    @property
    def origin(self) -> str:
        return str(self.content.origin)

    @property
    def size(self) -> int:
        return len(self.content.entries)

    def add(self, what: Damage, index: int | None, detail: str, until: int | None = None) -> None:
        until = index if until is None else until
        self.problems.append(LedgerProblem(what=what, index=index, until=until, detail=detail))

    def entries(self) -> None:
        """Compute leaves, chain and roots again from what the entries say."""
        if not self.content.guarded:
            self.add("unguarded", None, "the triggers that refuse changes are missing or others")
        if not checkpoints.ORIGIN.fullmatch(self.origin):
            self.add("other-origin", None, "the file does not say which ledger it is")
        hashes: list[bytes] = []
        self.bad: tuple[int, bool] | None = None
        previous = first_link(self.origin)
        for index, row in enumerate(self.content.entries):
            gap = row[0] != index
            leaf, found = self._recomputed(row)
            hashes.append(bytes.fromhex(leaf))
            self.times.append(str(row[1]))
            chain = link(previous, leaf)
            if self.bad is None and (gap or not found or row[5:] != (previous, chain)):
                self.bad = (index, gap)
            previous = chain
        self.roots = list(merkle.growing_roots(hashes))

    def _recomputed(self, row: tuple[Any, ...]) -> tuple[str, bool]:
        """Return the leaf hash of what a row says, and whether that is the one it names."""
        try:
            entry = entry_of(row)
        except LedgerError:
            return merkle.leaf_hash(repr(row).encode()).hex(), False
        leaf = leaf_of(entry.index, entry.time, entry.kind, entry.body)
        return leaf, leaf == entry.leaf

    def timed(self) -> None:
        """Name entries that bear an earlier time than the one before: a clock was set back."""
        for index, (before, time) in enumerate(pairwise(self.times), 1):
            if time < before:
                self.add("clock", index, f"entry {index} bears {time}, the one before it {before}: "
                         "the clock was set back; the order is that of the numbers")  # fmt: skip

    def signed(self) -> None:
        """Compare the roots with every checkpoint, and say what happened where they differ."""
        by: dict[int, str] = {}
        first = self.bad[0] if self.bad else None
        longest = before = 0
        for size, text, pem in self.content.checkpoints:
            after = f"after entry {before}"
            if size != before + 1:
                self.add("unsigned", before, f"no checkpoint signs the head {after}")
            before = size if type(size) is int else before + 1
            try:
                note, signer = self._stored(size, text, pem)
            except (ForgetAuditError, TypeError, ValueError, AttributeError) as error:
                at = before - 1
                self.add("bad-signature", at, f"the checkpoint after entry {at}: {error}")
                continue
            by[before], longest = signer, before
            fits = before > self.size or note.root == self.roots[before - 1]
            if not fits and (first is None or before - 1 < first):
                first = before - 1
        if before < self.size:
            self.add("unsigned", before, f"no checkpoint signs the head after entry {before}")
        self._happened(first, longest)
        self._believed(by)

    def _stored(self, size: Any, text: Any, pem: Any) -> tuple[Checkpoint, str]:
        """Return a checkpoint of the file and the keyid of its signer."""
        if type(size) is not int or size < 1 or not isinstance(text, str):
            raise VerificationError("expected a size from 1 on, and a text")
        note = checkpoints.parse(text)
        keyid = next((item for item, known in self.known.items() if known == pem), None)
        keyid = keyid or keyid_of(pem)
        if note.signer({keyid: pem}) is None:
            raise VerificationError("the signature is of another key than the one beside it")
        if (note.origin, note.size) != (self.origin, size):
            raise VerificationError("it is about another ledger or size")
        self.known[keyid] = pem
        return note, keyid

    def _happened(self, first: int | None, longest: int) -> None:
        """Name the damage to the entries: what was there is known from the longest checkpoint."""
        lost = longest - self.size
        if lost > 0 and (first is None or first >= self.size):
            self.add("truncated", self.size, f"{lost} entries at the end are gone: a checkpoint "
                     f"signs {longest}, {self.size} are left")  # fmt: skip
        elif first is not None and (lost > 0 or (self.bad and self.bad[1])):
            self.add("deleted", first, f"entry {first} is gone or out of place: a checkpoint signs "
                     f"{longest} entries, {self.size} are left")  # fmt: skip
        elif first is not None:
            self.add("edited", first, f"entry {first} is not the one that was signed")

    def _believed(self, by: Mapping[int, str]) -> None:
        """Check whose checkpoints they are; a later one that is believed covers those before."""
        keys = {size: self._key(size, keyid) for size, keyid in by.items()}
        newest = max((size for size, key in keys.items() if key and not key.revoked), default=0)
        reported = set()
        for size, key in keys.items():
            where, keyid = f"the checkpoint after entry {size - 1} is by key", by[size]
            if keyid in reported or (key and not self._revoked(size, key, newest)):
                continue
            reported.add(keyid)
            if key is None:
                self.add("untrusted", size - 1, f"{where} {keyid}, which the trust file does not "
                         "hold as a tool key")  # fmt: skip
            elif key.revoked:
                self.add("revoked", size - 1, f"{where} {keyid[:16]}… of {key.name}, revoked since "
                         f"{key.revoked.since}")  # fmt: skip

    def _key(self, size: int, keyid: str) -> TrustedKey | None:
        """Return the key if it may sign this checkpoint: reviewers sign what follows a review."""
        key = signers(self.trust).get(keyid)
        reviewed = size <= self.size and self.content.entries[size - 1][2] == "reviewed"
        return key if key and ("tool" in key.roles or reviewed) else None

    def _revoked(self, size: int, key: TrustedKey, newest: int) -> bool:
        """Say whether revocation concerns it: not if dated before, and covered by a later one."""
        day = self.times[size - 1][:10] if size <= self.size else "9999"
        return key.revoked is not None and (size > newest or day >= key.revoked.since)

    def compared(self, held: Sequence[Witness]) -> None:
        """Compare with what others hold: the ledger must be the same, or have grown since."""
        agreed = 0
        worst = min((problem.index for problem in self.problems
                     if problem.index is not None and problem.what not in HARMLESS),
                    default=None)  # fmt: skip
        for witness in sorted(held, key=lambda item: item.size):
            if witness.origin != self.origin:
                self.add("other-origin", None, f"{witness.source} is about another ledger, "
                         f"{witness.origin}")  # fmt: skip
                continue
            if not self._genuine(witness):
                continue
            if witness.size > self.size:
                if worst is None:
                    self.add("truncated", self.size, f"{witness.source} signs {witness.size} "
                             f"entries, {self.size} are left")  # fmt: skip
                return
            root = self.roots[witness.size - 1] if witness.size else merkle.EMPTY
            if root == witness.root:
                agreed = witness.size
            else:
                if worst is None or witness.size <= worst:
                    self._forked(witness, agreed)
                return

    def _forked(self, witness: Witness, agreed: int) -> None:
        last = witness.size - 1
        where = f"entry {last}" if agreed == last else f"one of the entries {agreed} to {last}"
        self.add("forked", agreed, f"{witness.source} signs another history of this ledger: they "
                 f"part at {where}", last)  # fmt: skip

    def _genuine(self, witness: Witness) -> bool:
        """Check the signature of a witness; that of an unknown signer is compared all the same."""
        if witness.note is None:
            return True
        keys = {keyid: key.public_key for keyid, key in signers(self.trust).items()}
        try:
            signer = checkpoints.parse(witness.note).signer({**self.known, **keys})
        except ForgetAuditError as error:
            self.add("bad-signature", None, f"{witness.source}: {error}")
            return False
        if signer not in keys:
            self.add("untrusted", None, f"{witness.source} is signed by a key that the trust file "
                     "does not hold")  # fmt: skip
        return True
