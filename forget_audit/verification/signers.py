"""Whether the reader believes a signer, in which role, and as of when.

What a file says of its own time proves nothing. Two things do: a timestamp by an authority that
the reader trusts (RFC 3161), and an entry in a ledger that the reader holds.

A certificate that has ended was good once, so either proof will do. A key that was revoked may be
in a thief's hands, who can write any ledger and any page. Then only a timestamp counts, and only
for the file that carries it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from forget_audit.ledger.ledger import Ledger
from forget_audit.trust import Standing, Trust
from forget_audit.verification.checks import CheckOutcome, Findings

CODES: dict[str, tuple[CheckOutcome, str]] = {
    "pass": ("pass", "trusted"),
    "unknown": ("untrusted", "signer-unknown"),
    "wrong-role": ("untrusted", "signer-wrong-role"),
    "revoked": ("expired", "signer-revoked"),
    "expired": ("expired", "signer-expired"),
}


@dataclass(frozen=True, kw_only=True)
class Moment:
    """A time that is proven.

    Args:
        at: In UTC.
        proof: What proves it, for people.
        revocable: Whether the proof holds against a thief of the key: it covers the very file.
    """

    at: datetime
    proof: str
    revocable: bool = False


def standing(trust: Trust, keyid: str, role: str, proven: Moment | None = None) -> Standing:
    """Say whether signatures of a key are believed in a role, as of the proven time if any."""
    key = trust.find(keyid)
    if proven is None or (key is not None and key.revoked and not proven.revocable):
        return trust.believed(keyid, role)
    found = trust.believed(keyid, role, proven.at)
    if found.outcome in ("unknown", "wrong-role"):
        return found
    return Standing(
        outcome=found.outcome, words=f"{found.words}, proven by {proven.proof}", key=found.key
    )


def check_signer(
    findings: Findings,
    trust: Trust,
    keyid: str,
    role: str,
    *,
    proven: Moment | None = None,
    name: str = "signer",
    file: str = "",
) -> bool:
    """Note whether a signer is believed, and return it."""
    found = standing(trust, keyid, role, proven)
    outcome, code = CODES[found.outcome]
    words = found.words
    if found.outcome == "revoked" and proven is not None and not proven.revocable:
        words += "; a timestamp speaks for the PDF alone, which can be checked by itself"
    findings.add(name, outcome, words, file, code)
    return outcome == "pass"


def recorded(ledger: Ledger | None, report: str, name: str, digest: str) -> Moment | None:
    """Return when a ledger first recorded a file of a report, if it did.

    Args:
        ledger: Of the reader.
        report: Id.
        name: Of the file.
        digest: Its SHA-256.
    """
    for entry in ledger.entries() if ledger is not None else ():
        files = entry.body.get("files")
        if entry.body.get("report") != report or not isinstance(files, dict):
            continue
        if files.get(name) == digest:
            at = datetime.fromisoformat(entry.time).astimezone(UTC)
            return Moment(at=at, proof="its entry in the ledger")
    return None


def stamped(at: datetime | None, *, alone: bool) -> Moment | None:
    """Return the moment that a PDF's timestamp proves.

    Args:
        at: From the check of the PDF.
        alone: Whether nothing but the PDF is judged by it.
    """
    if at is None:
        return None
    return Moment(at=at, proof="the timestamp in the PDF", revocable=alone)
