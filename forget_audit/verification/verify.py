"""Checking what was released: signatures, digests, agreement, and the numbers once more.

Inputs are hostile: whatever is wrong with them becomes a failed check that names the file, never
a traceback. Nothing is unpickled and nothing fetched.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

from forget_audit.digests import file_digest
from forget_audit.errors import ForgetAuditError, VerificationError
from forget_audit.ledger.ledger import Ledger
from forget_audit.reports import reading
from forget_audit.reports.attestation import (
    AUDIT_TYPE,
    DOCUMENT_TYPE,
    PURGE_TYPE,
    RELEASE_TYPE,
    REVIEW_TYPE,
    Opened,
)
from forget_audit.reports.claims import ReviewClaim
from forget_audit.reports.folders import EVIDENCE, RELEASE
from forget_audit.trust import Trust
from forget_audit.types import Json
from forget_audit.verification.attested import Attested, open_expected, read_attested, superseding
from forget_audit.verification.checks import Check, CheckOutcome, Findings
from forget_audit.verification.claims import Reader, check_policy, check_standing, ledger_trouble
from forget_audit.verification.files import Carried, check_page, check_pdf
from forget_audit.verification.folder import audit_in, check_folder
from forget_audit.verification.numbers import Recompute
from forget_audit.verification.policy import Policy
from forget_audit.verification.signers import check_signer, stamped

__all__ = ["Check", "CheckOutcome", "VerifyResult", "verify_path"]

KINDS = (AUDIT_TYPE, RELEASE_TYPE, DOCUMENT_TYPE, REVIEW_TYPE, PURGE_TYPE)
CODES: dict[CheckOutcome, int] = {
    "fail": 1, "expired": 4, "superseded": 4, "mismatch": 4, "rejected": 4, "untrusted": 3,
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class VerifyResult:
    """The checks and what follows from them.

    Args:
        checks: In the order they were made.
    """

    checks: tuple[Check, ...]

    @property
    def exit_code(self) -> int:
        """Return what the worst check stands for.

        0 valid and trusted, 1 invalid, 3 signer not trusted, 4 valid but no longer to be relied
        on: expired, revoked, superseded, rejected by the reviewer, or not what the policy asks.
        """
        outcomes = {check.outcome for check in self.checks}
        return next((code for outcome, code in CODES.items() if outcome in outcomes), 0)

    def as_json(self) -> Json:
        """Return the result for programs."""
        return {"exit_code": self.exit_code, "checks": [asdict(check) for check in self.checks]}


def verify_path(
    path: Path,
    trust: Trust,
    recompute: Recompute | None = None,
    *,
    ledger: Ledger | None = None,
    policy: Policy | None = None,
) -> VerifyResult:
    """Check a released folder, a folder of several, or a PDF, page or envelope alone.

    Args:
        path: What to check.
        trust: Whose signatures are believed.
        recompute: Lists where evidence and scores disagree; without it that is `not-run`.
        ledger: Says which reports were superseded, and when files were recorded.
        policy: What is asked of a report beyond being genuine.
    """
    findings = Findings()
    reader = Reader(trust=trust, recompute=recompute, ledger=ledger, policy=policy)
    if ledger is not None:
        findings.attempt("ledger", "", lambda: _check_ledger(findings, ledger, trust))
    findings.attempt("readable", path.name, lambda: _check(findings, reader, path))
    if all(check.name == "ledger" for check in findings.checks):
        findings.add("readable", "fail", "there was nothing to check", path.name)
    if policy is not None and not any(check.name == "policy" for check in findings.checks):
        words = "nothing here that the policy could be held against"
        findings.add("policy", "mismatch", words, path.name, "policy-mismatch")
    return VerifyResult(checks=tuple(findings.checks))


def _check_ledger(findings: Findings, ledger: Ledger, trust: Trust) -> None:
    trouble = ledger_trouble(ledger, trust)
    if trouble is None:
        findings.add("ledger", "pass", "as it was signed", ledger.path.name)
    else:
        findings.add("ledger", "mismatch", trouble[1], ledger.path.name, trouble[0])


def _check(findings: Findings, reader: Reader, path: Path) -> None:
    if not path.is_dir() or path.is_symlink():
        _check_file(findings, reader, path)
        return
    several = _reports_in(path)
    if not several:
        check_folder(findings, reader, path)
        return
    audits = [audit for folder in several if (audit := _audit_in(folder)) is not None]
    informed = replace(reader, superseded=superseding(audits, reader.trust))
    for folder in several:
        inside = Findings(folder=f"{folder.name}/")
        inside.attempt("readable", "", partial(check_folder, inside, informed, folder))
        findings.checks += inside.checks


def _reports_in(path: Path) -> list[Path]:
    """Return the released folders in a folder that is none itself."""
    if any((path / name).exists() for name in (RELEASE, EVIDENCE)):
        return []
    return sorted(
        item
        for item in path.iterdir()
        if item.is_dir()
        and not item.is_symlink()
        and any((item / name).exists() for name in (RELEASE, EVIDENCE))
    )


def _audit_in(folder: Path) -> Attested | None:
    """Return a folder's result; why there is none is said when the folder itself is checked."""
    try:
        return audit_in(folder)
    except (ForgetAuditError, OSError):
        return None


def _check_file(findings: Findings, reader: Reader, path: Path) -> None:
    data = reading.read(path)
    if data.startswith(b"%PDF-"):
        found = check_pdf(findings, reader.trust, data, path.name)
    elif data.lstrip()[:15].lower().startswith(b"<!doctype html"):
        found = check_page(findings, data, path.name)
    elif data.lstrip().startswith(b"{"):
        _check_envelope(findings, reader, data, path)
        return
    else:
        raise VerificationError("not a report: expected a folder, PDF, HTML page or envelope")
    if found is not None:
        _check_view(findings, reader, found, path)


def _check_view(findings: Findings, reader: Reader, found: Carried, path: Path) -> None:
    """Check who signed a page or PDF, and whether the result in it still counts."""
    pdf = found.pdf
    proven = stamped(pdf.time if pdf else None, alone=True)
    check_signer(findings, reader.trust, found.keyid, "tool", proven=proven)
    if pdf is not None and pdf.reviewer_keyid:
        proven = stamped(pdf.reviewer_time, alone=True)
        check_signer(
            findings, reader.trust, pdf.reviewer_keyid, "reviewer", proven=proven, name="reviewer"
        )
    if found.audit is not None:
        check_standing(findings, reader, found.audit, path.name)
        check_policy(findings, reader, found.audit, path.name, approved=None)
    _check_beside(findings, reader, path, found.keyid)


def _check_envelope(findings: Findings, reader: Reader, data: bytes, path: Path) -> None:
    found = findings.attempt("signature", path.name, lambda: open_expected(data))
    if found is None:
        return
    if found.kind not in KINDS:
        findings.add("signature", "fail", "not a statement of forget-audit", path.name)
        return
    findings.add("signature", "pass", f"valid, of the kind {found.kind}", path.name)
    role = "reviewer" if found.kind == REVIEW_TYPE else "tool"
    wrong = reader.trust.believed(found.keyid, role).outcome == "wrong-role"
    if found.kind == RELEASE_TYPE and wrong:  # whoever reviewed last may have listed the files
        role = "reviewer"
    check_signer(findings, reader.trust, found.keyid, role)
    findings.attempt("claim", path.name, lambda: _check_claim(findings, reader, data, found, path))
    _check_beside(findings, reader, path, found.keyid)


def _check_claim(
    findings: Findings, reader: Reader, data: bytes, found: Opened, path: Path
) -> None:
    if found.kind == REVIEW_TYPE and ReviewClaim.of(found.statement).decision == "rejected":
        findings.add("review", "rejected", "the reviewer rejected the audit", path.name, "rejected")
    if found.kind == AUDIT_TYPE:
        audit = read_attested(data)
        check_standing(findings, reader, audit, path.name)
        check_policy(findings, reader, audit, path.name, approved=None)


def _check_beside(findings: Findings, reader: Reader, path: Path, keyid: str) -> None:
    """Check whether a single file is the released one, if the release lies beside it.

    The release must be by the same key, or by one that the reader believes.
    """
    release = path.parent / RELEASE
    if path.name == RELEASE or not release.is_file():
        words = "alone: no release to compare with"
        findings.add("released file", "not-run", words, path.name)
        return
    try:
        found = open_expected(reading.read(release), RELEASE_TYPE)
        ours = found.keyid == keyid or any(
            reader.trust.believed(found.keyid, role).outcome == "pass"
            for role in ("tool", "reviewer")
        )
        digest = found.digests.get(path.name) if ours else None
    except (ForgetAuditError, OSError):
        digest = None
    if digest is None:
        findings.add("released file", "not-run", "the release beside it is another", path.name)
    elif digest != file_digest(path):
        findings.add("released file", "fail", "is not the one released", path.name)
    else:
        findings.add("released file", "pass", "is the one released, byte for byte", path.name)
