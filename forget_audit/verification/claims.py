"""Does an intact report still count for its reader: not replaced, and what their policy asks?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from forget_audit.ledger.check import verify_ledger
from forget_audit.ledger.ledger import Ledger
from forget_audit.reports.folders import AUDIT
from forget_audit.trust import Trust
from forget_audit.verification.attested import Attested
from forget_audit.verification.checks import Findings
from forget_audit.verification.numbers import Recompute
from forget_audit.verification.policy import Policy, differences, too_old
from forget_audit.verification.signers import recorded


@dataclass(frozen=True, kw_only=True)
class Reader:
    """What whoever checks a report brings along.

    Args:
        trust: Whose signatures are believed.
        recompute: Lists where evidence and scores disagree; without it that is `not-run`.
        ledger: Says what became of reports, and when files were recorded.
        policy: What is asked of a report beyond being genuine.
        superseded: Successors of reports, as other attestations at hand say.
    """

    trust: Trust
    recompute: Recompute | None = None
    ledger: Ledger | None = None
    policy: Policy | None = None
    superseded: Mapping[str, str] = field(default_factory=dict)


def ledger_trouble(ledger: Ledger, trust: Trust) -> tuple[str, str] | None:
    """Say why nothing should be read from a ledger, as a code and in words, or return `None`.

    A signer who was revoked later is no reason: ledgers outlive keys.
    """
    found = verify_ledger(ledger.path, trust)
    if found.exit_code not in (1, 3):
        return None
    code = "ledger-damaged" if found.exit_code == 1 else "ledger-untrusted"
    return code, f"the ledger: {found.problems[0].detail}"


def check_standing(findings: Findings, reader: Reader, audit: Attested, file: str) -> None:
    """Note whether another report took the place of this one, as far as the reader can know."""
    identifier = audit.claim.report_id
    known = reader.superseded.get(identifier)
    if known is None and reader.ledger is not None:
        known = reader.ledger.successor(identifier)
    if known is not None:
        detail = f"{identifier} was superseded by {known}"
        findings.add("standing", "superseded", detail, file, "superseded")
    elif reader.ledger is not None:
        findings.add("standing", "pass", "the ledger knows no later report in its place", file)


def check_policy(
    findings: Findings, reader: Reader, audit: Attested, file: str, *, approved: bool | None
) -> None:
    """Note where the report is not what the reader's policy asks for.

    Args:
        findings: Where the outcome goes.
        reader: With a policy, or nothing is noted.
        audit: The result.
        file: Where it was found.
        approved: Whether a trusted reviewer agrees; `None` if the review cannot be seen, as in a
            PDF alone.
    """
    policy = reader.policy
    if policy is None:
        return
    found = [str(item) for item in differences(policy, audit.claim)]
    old = too_old(audit.claim.issued, [policy.max_age_days], datetime.now(UTC))
    if old:
        findings.add("policy", "mismatch", f"max_age_days: {old}", file, "too-old")
    if policy.reviewer and not approved:
        missing = "found none" if approved is not None else "a review is seen in a folder only"
        found.append(f"reviewer: asks for the approval of a trusted reviewer, {missing}")
    if policy.ledger:
        issued = recorded(reader.ledger, audit.claim.report_id, AUDIT, audit.digest)
        if reader.ledger is None:
            found.append("ledger: asks for a ledger, none was given")
        elif issued is None:
            found.append("ledger: the ledger given does not hold this report")
    for text in found:
        findings.add("policy", "mismatch", text, file, "policy-mismatch")
    if not found and not old:
        findings.add("policy", "pass", "the report is what the policy asks for", file)
