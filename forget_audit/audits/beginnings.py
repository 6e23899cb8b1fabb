"""The beginning of an audit: which attempt it is, and what is committed to before training."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from forget_audit.audits import attempts, declarations
from forget_audit.audits.commission import Commission
from forget_audit.digests import canonical_json, case_digest, plain, sha256
from forget_audit.errors import PlanError, Problem
from forget_audit.keys.signing import SigningKey
from forget_audit.ledger import commitments
from forget_audit.ledger.begun import Beginning, begin
from forget_audit.ledger.ledger import Ledger
from forget_audit.plans.plan import Plan
from forget_audit.types import Json
from forget_audit.verdict.profiles import PROFILES

MOST_ATTEMPTS = 16  # beyond it a verdict would take more than 650,000 retrained models


def begun(
    plan: Plan, ordered: Commission, state: Path, ledger: Ledger, key: SigningKey
) -> tuple[Commission, str]:
    """Return the commission with the level that this attempt may spend, and the run's digest.

    What is audited and against which seeds is committed to in the ledger first. Attempts are
    counted beside the plan and in the ledger, and the larger number holds: another folder is no
    fresh start, nor is another ledger. Attacks take no part in the verdict, so asking for others
    is no further attempt.

    Args:
        plan: As it was read.
        ordered: What it asks for.
        state: Folder of the audit's own files.
        ledger: Where the beginning is recorded.
        key: Signs the entry.

    Raises:
        PlanError: If too often tried for any verdict.
        ForgetAuditError: If it cannot be recorded. Nothing was trained then.
    """
    answered = plan.predictions is not None  # whoever writes the file names the rows
    ids = [] if answered else ordered.case.forget.ids.tolist()
    request = attempts.request_key(plan.request.reference, ids)
    whole = plan.as_json()
    whole |= {"files": ordered.about.files, "rows": case_digest(ordered.case)}
    battery = {k: v for k, v in whole["battery"].items() if k not in ("attacks", "experiments")}
    asked = {**{k: v for k, v in whole.items() if k != "report"}, "battery": battery}
    run, judged = (sha256(canonical_json(plain(part))) for part in (whole, asked))
    entered = begin(
        ledger,
        key,
        Beginning(
            request=request, plan=judged, run=run, subject=_subject(ordered), fixed=_fixed(ordered)
        ),
        counted=attempts.count(state, request, judged),
    )
    if entered.attempt > MOST_ATTEMPTS:
        raise PlanError([Problem("request.reference", (
            f"expected at most {MOST_ATTEMPTS} attempts at a request, found {entered.attempt}: "
            "each halves the level, and no verdict can be reached at what is left of it"
        ))])  # fmt: skip
    about = dataclasses.replace(
        ordered.about,
        begun={
            "commitment": entered.commitment,
            "nonce": entered.nonce,
            "seeds": _seeds(ordered),
            "ledger": entered.ledger,
            "entry": entered.entry,
            "attempts": entered.known,
        },
    )
    profile = PROFILES[plan.battery.profile].at_attempt(entered.attempt)
    numbered = dataclasses.replace(ordered, attempt=entered.attempt, profile=profile, about=about)
    return numbered, run


def _handed(ordered: Commission, kind: str) -> list[str]:
    return [digest for _, digest in ordered.about.files.get(kind, ())]


def _subject(ordered: Commission) -> str | None:
    """Return a digest of handed-in models and the rows to forget."""
    handed = _handed(ordered, "unlearned")
    if not handed:
        return None
    return sha256(canonical_json([sorted(handed), sorted(ordered.case.forget.ids.tolist())]))


def _seeds(ordered: Commission) -> Json:
    """Return the seeds of the models that will be trained for comparison, if any will."""
    counts = dataclasses.asdict(ordered.counts) if ordered.references is None else {}
    return commitments.yardstick_seeds(ordered.seed, counts)


def _fixed(ordered: Commission) -> Json:
    method = ordered.method
    handed = _handed(ordered, "unlearned")
    made = None
    if method is not None and not handed:
        made = {"name": method.info.name, "parameters": declarations.parameters(method)}
    return commitments.fixed(
        plan=declarations.published_plan(ordered),
        case=case_digest(ordered.case),
        seeds=_seeds(ordered),
        audited=handed,
        method=made,
        original=next(iter(_handed(ordered, "original")), None),
    )
