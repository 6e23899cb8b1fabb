"""May this model be deployed? Only if a trusted PASS names its SHA-256 as audited.

Everything that could be wrong ends in a refusal with a code of its own; nothing is guessed. Of
several attestations, each that names the model must admit it: a model can be one person's unlearned
model and still hold what somebody else asked to be removed. What was superseded no longer admits a
model. What it refused stays refused, since nobody can see that both were about the same people.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from forget_audit.deployment.steps import Candidate, Refused, Rules, read_candidate, steps
from forget_audit.errors import ModelError
from forget_audit.ledger.ledger import Ledger
from forget_audit.model_identity import model_digest
from forget_audit.trust import Trust
from forget_audit.types import Json
from forget_audit.verification.attested import superseding
from forget_audit.verification.checks import Check, Findings, one_line
from forget_audit.verification.claims import ledger_trouble
from forget_audit.verification.policy import Policy

DEPLOY = "deploy"


@dataclass(frozen=True, kw_only=True)
class Decision:
    """What the gate says.

    Args:
        deploy: Whether the model may be deployed.
        code: `deploy`, or one of `gate_steps.REFUSALS`.
        reason: One sentence without its full stop.
        model: Name of the file or folder.
        sha256: Of the bytes that were looked at, or of the list of a folder's files; empty if
            they could not be read.
        reports: Ids of the reports that decided.
        checks: All that was checked, for each attestation in turn.
    """

    deploy: bool
    code: str
    reason: str
    model: str
    sha256: str = ""
    reports: tuple[str, ...] = ()
    checks: tuple[Check, ...] = ()

    def as_json(self) -> Json:
        """Return the decision for programs."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class _Examined:
    """A candidate, and why it does not admit the model if so."""

    candidate: Candidate
    refused: Refused | None
    trusted: bool


def gate(
    model: Path,
    attestations: Sequence[Path],
    trust: Trust,
    *,
    policy: Policy | None = None,
    max_age: int | None = None,
    ledger: Ledger | None = None,
    now: datetime | None = None,
) -> Decision:
    """Decide whether a model file, or folder, may be deployed.

    Args:
        model: A file, or a folder of files; read in chunks and never parsed. A link is refused,
            since it can be turned.
        attestations: Files `audit.dsse.json`, or the folders they lie in; a review that lies
            beside one counts.
        trust: Whose signatures are believed.
        policy: What is asked beyond a trusted PASS.
        max_age: Days after which a report is too old.
        ledger: Says which reports were superseded.
        now: The time, if not that of the clock.
    """
    findings, digest = Findings(), ""
    reports: tuple[str, ...] = ()
    rules = Rules(
        trust=trust,
        policy=policy or Policy(),
        max_age=max_age,
        ledger=ledger,
        now=now or datetime.now(UTC),
    )
    try:
        digest = _identity(model)
        _check_ledger(rules, findings)
        candidates = [_read(path, findings) for path in attestations]
        examined = [_examine(item, digest, rules, findings) for item in candidates]
        reports = _admitting(examined, digest, rules)
        code, reason = DEPLOY, f"audited with outcome PASS by a trusted signer: {reports[0]}"
    except Refused as refused:
        code, reason = refused.code, refused.reason
    except Exception as error:  # noqa: BLE001  a gate that breaks stays shut
        code, reason = "unreadable", f"something in the input is malformed ({error})"
    return Decision(
        deploy=code == DEPLOY,
        code=code,
        reason=one_line(reason),
        model=one_line(model.name),
        sha256=digest,
        reports=reports,
        checks=tuple(findings.checks),
    )


def _identity(model: Path) -> str:
    """Return the SHA-256 that attestations name a model by."""
    try:
        return model_digest(model)
    except ModelError as error:
        raise Refused("unreadable", str(error)) from error


def _check_ledger(rules: Rules, findings: Findings) -> None:
    if rules.ledger is None:
        return
    trouble = ledger_trouble(rules.ledger, rules.trust)
    name = rules.ledger.path.name
    if trouble is None:
        findings.add("ledger", "pass", "as it was signed", name)
        return
    findings.add("ledger", "fail", trouble[1], name, trouble[0])
    raise Refused(*trouble)


def _read(path: Path, findings: Findings) -> Candidate:
    """Return a candidate; one that is broken stops everything, since it may withdraw another."""
    try:
        found = read_candidate(path)
    except Refused as refused:
        findings.add("attestation", "fail", refused.reason, str(path), refused.code)
        raise
    findings.add("attestation", "pass", f"intact, report {found.report}", found.name)
    return found


def _examine(candidate: Candidate, digest: str, rules: Rules, findings: Findings) -> _Examined:
    trusted = False
    for name, step in steps(candidate, digest, rules):
        try:
            words = step()
        except Refused as refused:
            findings.add(name, "fail", refused.reason, candidate.name, refused.code)
            return _Examined(candidate=candidate, refused=refused, trusted=trusted)
        findings.add(name, "pass", words, candidate.name)
        trusted = True  # the signer comes first
    return _Examined(candidate=candidate, refused=None, trusted=trusted)


def _admitting(examined: Sequence[_Examined], digest: str, rules: Rules) -> tuple[str, ...]:
    """Return the reports that admit the model.

    Raises:
        Refused: If there is none, or one stands against it.
    """
    if not examined:
        raise Refused("unreadable", "no attestation was given")
    for item in examined:
        if item.refused and item.trusted and item.candidate.is_original(digest):
            raise item.refused
    about = [item for item in examined if item.candidate.is_about(digest)]
    if not about:
        trusted = [item for item in examined if item.trusted]
        raise (trusted or list(examined))[0].refused or Refused("not-the-audited-model", "")
    later = superseding([item.candidate.audit for item in examined], rules.trust)
    successors = {item.candidate.report: _successor(item, later, rules) for item in about}
    standing = [
        item
        for item in about
        if successors[item.candidate.report] is None or not item.candidate.favourable
    ]
    if not standing:
        former, successor = next(iter(successors.items()))
        raise Refused("superseded", f"{former} was superseded by {successor}")
    for item in standing:
        if item.refused is not None:
            raise item.refused
    return tuple(item.candidate.report for item in standing)


def _successor(item: _Examined, later: Mapping[str, str], rules: Rules) -> str | None:
    report = item.candidate.report
    if report in later:
        return later[report]
    return rules.ledger.successor(report) if rules.ledger is not None else None
