"""Was everything fixed before anything was trained? The commitment is opened, and its entry sought.

Without the ledger only this is checked: that the evidence opens its own commitment. That the
commitment came first is what the ledger shows.
"""

from __future__ import annotations

from forget_audit.ledger.begun import KIND, attempts_known
from forget_audit.ledger.commitments import commitment, fixed_in, yardstick_seeds
from forget_audit.ledger.ledger import Ledger
from forget_audit.reports.folders import EVIDENCE
from forget_audit.types import Json
from forget_audit.verification.checks import Findings

NAME = "begun"


def check_begun(findings: Findings, evidence: Json, ledger: Ledger | None) -> None:
    """Check the commitment of an audit, and that the reader's ledger had it before the report.

    Args:
        findings: Where the outcome goes.
        evidence: Fits its schema.
        ledger: Of the reader.
    """
    begun = evidence["seeds"].get("begun")
    if begun is None:
        words = "nothing was committed to before training: an older report, or one made in Python"
        findings.add(NAME, "not-run", words, EVIDENCE, "not-begun")
        return
    wrong = _wrong(evidence, begun)
    if wrong is not None:
        findings.add(NAME, "fail", wrong, EVIDENCE)
        return
    words = "model or method, rows, plan and seeds are those of the commitment; a ledger says when"
    findings.add(NAME, "pass", words, EVIDENCE)
    if ledger is None:
        return
    if ledger.origin != begun["ledger"]:
        words = "the audit began in another ledger than the one given"
        findings.add(NAME, "not-run", words, EVIDENCE, "other-ledger")
        return
    trouble = _unrecorded(evidence, begun, ledger)
    if trouble is not None:
        findings.add(NAME, "mismatch", trouble, EVIDENCE, "begun-mismatch")
    else:
        words = f"entry {begun['entry']} of the ledger committed to it before the report was issued"
        findings.add(NAME, "pass", words, EVIDENCE)


def _wrong(evidence: Json, begun: Json) -> str | None:
    """Say how the evidence contradicts its own commitment."""
    if commitment(fixed_in(evidence), begun["nonce"]) != begun["commitment"]:
        return (
            "is not what was committed to before training: another model, method, original, plan, "
            "or other rows or seeds"
        )
    seeds, counts = begun["seeds"], evidence["counts"]
    planned = {group: len(items) for group, items in seeds.items()}
    if seeds != yardstick_seeds(evidence["seeds"]["root"], planned):
        return "the seeds committed to do not follow from the root seed"
    trained = "predictions" not in evidence["training"]
    few = [group for group, count in planned.items() if count < counts[group]]
    if trained and few:
        return f"more models were trained than seeds committed to: {few[0]}"
    if evidence["battery"].get("attempt", 1) < begun["attempts"]:
        return "the ledger knew more attempts at this request than the level was shared by"
    head = evidence.get("ledger")
    if head and head["origin"] == begun["ledger"] and head["size"] <= begun["entry"]:
        return "the ledger was shorter at the issue than at the beginning"
    return None


def _unrecorded(evidence: Json, begun: Json, ledger: Ledger) -> str | None:
    """Say how the ledger contradicts the evidence."""
    entries = ledger.entries()
    report = evidence["report"]["id"]
    entry = entries[begun["entry"]] if begun["entry"] < len(entries) else None
    if entry is None or entry.kind != KIND or entry.body["commitment"] != begun["commitment"]:
        return f"entry {begun['entry']} of the ledger is not the beginning of this audit"
    issued = [
        item.index
        for item in entries
        if item.kind in ("audit-issued", "rendered") and item.body.get("report") == report
    ]
    if issued and issued[0] <= entry.index:
        return f"the report was issued (entry {issued[0]}) before it was committed to"
    level = evidence["battery"].get("attempt", 1)
    if level < max(entry.body["attempt"], attempts_known(entries)[entry.index]):
        return "the ledger knows more attempts at this request than the level was shared by"
    return None
