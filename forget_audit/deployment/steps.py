"""What one attestation must withstand before it admits a model, from the outside in.

Nothing that an untrusted statement says is acted on, so the signer comes before the content.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from forget_audit.errors import ForgetAuditError, VerificationError
from forget_audit.ledger.ledger import Ledger
from forget_audit.reports import reading
from forget_audit.reports.folders import AUDIT, REVIEW
from forget_audit.trust import Trust
from forget_audit.verification.attested import Attested, WrongKind, read_attested
from forget_audit.verification.companions import OtherAudit, Review, read_review
from forget_audit.verification.policy import Policy, differences, too_old
from forget_audit.verification.signers import recorded

SIGNERS = {
    "unknown": "signer-unknown",
    "wrong-role": "signer-wrong-role",
    "revoked": "signer-revoked",
    "expired": "signer-expired",
}
OUTCOMES = {"FAIL": "outcome-fail", "INCONCLUSIVE": "outcome-inconclusive"}
REFUSALS = (
    "unreadable", "bad-signature", "wrong-kind", *SIGNERS.values(), "is-the-original",
    "not-the-audited-model", *OUTCOMES.values(), "issued-in-the-future", "too-old", "superseded",
    "reviewer-rejected", "reviewer-missing", "policy-mismatch", "ledger-damaged",
    "ledger-untrusted",
)  # fmt: skip
SKEW = timedelta(minutes=5)
LARGEST = 16 * 1024 * 1024

Step = tuple[str, Callable[[], str]]


class Refused(Exception):
    """The model is not admitted.

    Args:
        code: One of `REFUSALS`.
        reason: One sentence without its full stop.
    """

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(reason)
        self.code, self.reason = code, reason


@dataclass(frozen=True, kw_only=True)
class Rules:
    """What is asked of every attestation.

    Args:
        trust: Whose signatures are believed.
        policy: What is asked beyond a trusted PASS.
        max_age: Days after which a report is too old.
        ledger: Says which reports were superseded.
        now: The time.
    """

    trust: Trust
    policy: Policy
    max_age: int | None
    ledger: Ledger | None
    now: datetime


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """An intact attestation.

    Args:
        name: Of the file, for people.
        audit: What it says.
        issued: When, as its signer's clock had it.
        review: What a reviewer said of it, if that lies beside it.
    """

    name: str
    audit: Attested
    issued: datetime
    review: Review | None

    @property
    def report(self) -> str:
        """Id of the report."""
        return self.audit.claim.report_id

    @property
    def favourable(self) -> bool:
        """Whether the audit ended PASS, and no reviewer rejected it."""
        rejected = self.review is not None and self.review.claim.decision == "rejected"
        return self.audit.claim.verdict.value == "PASS" and not rejected

    def is_about(self, digest: str) -> bool:
        """Say whether a file with this SHA-256 was audited."""
        return digest in self.audit.models

    def is_original(self, digest: str) -> bool:
        """Say whether a file with this SHA-256 is what the audited model was made from."""
        original = self.audit.claim.references.original_model
        return original is not None and original.digest.sha256 == digest


def read_candidate(path: Path) -> Candidate:
    """Return the attestation in a file, or in the folder of a run.

    Raises:
        Refused: If it, or the review beside it, is not intact.
    """
    folder, file = (path, path / AUDIT) if path.is_dir() else (path.parent, path)
    data = _content(file)
    try:
        audit = read_attested(data)
        issued = audit.claim.issued
    except WrongKind as error:
        raise Refused("wrong-kind", f"{file.name}: {error}") from error
    except Exception as error:
        raise Refused("bad-signature", f"{file.name}: {_told(error)}") from error
    review = None
    if (folder / REVIEW).exists() or (folder / REVIEW).is_symlink():
        beside = _content(folder / REVIEW)
        try:
            review = read_review(beside, audit)
        except OtherAudit:
            review = None
        except Exception as error:
            raise Refused("bad-signature", f"{REVIEW}: {_told(error)}") from error
    return Candidate(name=str(path), audit=audit, issued=issued, review=review)


def steps(candidate: Candidate, digest: str, rules: Rules) -> tuple[Step, ...]:
    """Return the checks of a candidate, each with its name, in the order they are to be made.

    Each returns what it found, or raises `Refused`.
    """
    return (
        ("signer", lambda: _signer(candidate, rules)),
        ("model", lambda: _model(candidate, digest)),
        ("outcome", lambda: _outcome(candidate)),
        ("age", lambda: _age(candidate, rules)),
        ("review", lambda: _review(candidate, rules)),
        ("policy", lambda: _policy(candidate, rules)),
    )


def _content(file: Path) -> bytes:
    try:
        if file.stat().st_size > LARGEST:
            raise VerificationError(f"larger than {LARGEST // 2**20} MiB")
        return reading.read(file)
    except (ForgetAuditError, OSError) as error:
        raise Refused("unreadable", f"{file.name} cannot be read: {_told(error)}") from error


def _told(error: Exception) -> str:
    if isinstance(error, OSError):
        return error.strerror or type(error).__name__
    ours = isinstance(error, ForgetAuditError)
    return str(error) if ours else f"malformed ({type(error).__name__})"


def _signer(candidate: Candidate, rules: Rules) -> str:
    standing = rules.trust.believed(candidate.audit.keyid, "tool")
    if standing.outcome != "pass":
        raise Refused(SIGNERS[standing.outcome], standing.words)
    return standing.words


def _model(candidate: Candidate, digest: str) -> str:
    if candidate.is_original(digest):
        words = "the model is the original of this audit, trained with what is to be forgotten"
        raise Refused("is-the-original", f"{words} ({candidate.report})")
    if not candidate.is_about(digest):
        words = f"{candidate.report} is about another model"
        raise Refused("not-the-audited-model", f"{words} than this one, SHA-256 {digest}")
    return f"this is the audited model, SHA-256 {digest}"


def _outcome(candidate: Candidate) -> str:
    verdict = candidate.audit.claim.verdict
    if verdict.value in OUTCOMES:
        reasons = f" ({', '.join(verdict.reasons)})" if verdict.reasons else ""
        words = f"the audit {candidate.report} ended {verdict.value}{reasons}"
        raise Refused(OUTCOMES[verdict.value], words)
    return f"the audit ended {verdict.value}"


def _age(candidate: Candidate, rules: Rules) -> str:
    said = candidate.audit.claim.issued_on
    if candidate.issued > rules.now + SKEW:
        words = f"{candidate.report} was issued on {said}, and now it is"
        raise Refused("issued-in-the-future", f"{words} {rules.now:%Y-%m-%dT%H:%M:%SZ}")
    old = too_old(candidate.issued, [rules.max_age, rules.policy.max_age_days], rules.now)
    if old:
        raise Refused("too-old", f"{candidate.report} was {old}")
    return f"issued on {said}"


def _review(candidate: Candidate, rules: Rules) -> str:
    review, asked = candidate.review, rules.policy.reviewer
    if review is not None and not review.approved:
        raise Refused("reviewer-rejected", f"the audit {candidate.report} was {review.words}")
    if review is None:
        if asked:
            words = f"the policy asks for a review, and there is no {REVIEW} beside the attestation"
            raise Refused("reviewer-missing", words)
        return "none"
    standing = rules.trust.believed(review.opened.keyid, "reviewer")
    if standing.outcome == "pass":
        return review.words
    if asked:
        words = "the policy asks for the approval of a trusted reviewer"
        raise Refused("reviewer-missing", f"{words}: {standing.words}")
    return f"does not count: {standing.words}"


def _policy(candidate: Candidate, rules: Rules) -> str:
    audit, policy = candidate.audit, rules.policy
    problems = [str(item) for item in differences(policy, audit.claim)]
    if policy.ledger and rules.ledger is None:
        problems.append("ledger: asks for a ledger, and none was given")
    elif policy.ledger and recorded(rules.ledger, candidate.report, AUDIT, audit.digest) is None:
        problems.append("ledger: the ledger given does not hold this report")
    if problems:
        words = f"{candidate.report} is not what the policy asks for"
        raise Refused("policy-mismatch", f"{words}: {'; '.join(problems)}")
    return "the report is what the policy asks for"
