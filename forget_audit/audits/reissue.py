"""What is done with a finished run: rendered again, reviewed, purged. Each ends in a new release.

A run is only touched if it verifies, and it is replaced as a whole or not at all.
"""

from __future__ import annotations

import contextlib
import dataclasses
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from forget_audit.audits import holdings
from forget_audit.digests import file_digest
from forget_audit.errors import VerificationError
from forget_audit.keys.signing import SigningKey
from forget_audit.ledger.ledger import Ledger
from forget_audit.locks import beside, sole
from forget_audit.reports import evidence as evidence_file
from forget_audit.reports import pdf_signature, reading
from forget_audit.reports.attestation import (
    open_self_signed,
    purge_statement,
    review_statement,
    seal,
)
from forget_audit.reports.folders import (
    AUDIT,
    EVIDENCE,
    OURS,
    PDF,
    PURGE,
    RELEASE,
    REVIEW,
    SCORES,
)
from forget_audit.reports.release import (
    Files,
    Released,
    Terms,
    issued,
    publish,
    refuse_leaks,
    release,
)
from forget_audit.trust import Trust
from forget_audit.types import Json
from forget_audit.verdict import scoretable
from forget_audit.verification.verify import verify_path
from forget_audit.whole_files import part_of, write_whole

Opinion = Literal["approved", "rejected"]


@contextlib.contextmanager
def working_on(run: Path, target: Path | None = None) -> Iterator[Run]:
    """Open a run, and keep other processes from it, and from `target`, while the body runs.

    Args:
        run: Folder of a finished run.
        target: Where something new is written; the run itself if left out.

    Raises:
        Busy: If another process works on one of them.
        VerificationError: If the run does not verify.
    """
    with contextlib.ExitStack() as stack:
        if run.is_dir():
            places = dict.fromkeys(path.resolve() for path in (run, target or run))
            for place in sorted(places):
                stack.enter_context(sole(beside(place), place))
        yield opened(run)


@dataclass(frozen=True, kw_only=True)
class Run:
    """A finished run whose files are those released.

    Args:
        folder: Where it is.
        evidence: As released.
        files: All released files but the release statement.
    """

    folder: Path
    evidence: Json
    files: Files

    @property
    def identifier(self) -> str:
        """Id of the report."""
        return str(self.evidence["report"]["id"])

    def reissued(self, reason: str) -> Json:
        """Return why a release statement takes the place of the present one."""
        return {"reason": reason, "previous": file_digest(self.folder / RELEASE)}


def opened(folder: Path) -> Run:
    """Return a run whose files are intact; who signed it is the business of whoever reads it.

    Raises:
        VerificationError: If it does not verify.
    """
    result = verify_path(folder, Trust(), scoretable.recompute)
    wrong = [check for check in result.checks if check.outcome == "fail"]
    if wrong:
        raise VerificationError(
            f"{folder} is not a run as it was released: {wrong[0].file} {wrong[0].detail}"
        )
    files: Files = {item.name: item for item in sorted(folder.iterdir()) if item.name != RELEASE}
    evidence = evidence_file.read(reading.read(folder / EVIDENCE))
    return Run(folder=folder, evidence=evidence, files=files)


def render_again(run: Run, key: SigningKey, out: Path, terms: Terms) -> Released:
    """Render and sign a run again, in other formats, another language or by another key.

    A review is about the files it was given, so it is left out; ask for it again.

    Raises:
        VerificationError: If the scores were purged: nothing new is signed without them.
    """
    if SCORES not in run.files:
        raise VerificationError(
            "the scores of this run were purged, so the verdict cannot be computed again and "
            "nothing new is signed; the present report stays valid"
        )
    extra = {name: path for name, path in run.files.items() if name not in OURS}
    evidence = issued(run.evidence, key, terms.ledger)
    scores = reading.read(run.folder / SCORES)
    terms = dataclasses.replace(terms, kind="rendered")
    return release(evidence, scores, extra, key, out, terms)


@dataclass(frozen=True, kw_only=True)
class Review:
    """What a reviewer says.

    Args:
        decision: `approved` or `rejected`.
        name: Of the person.
        role: In which they review.
        independence: Of whoever trained and audited the model.
        remarks: For readers.
    """

    decision: Opinion
    name: str
    role: str
    independence: str
    remarks: str = ""


def review(
    run: Run,
    key: SigningKey,
    said: Review,
    *,
    ledger: Ledger | None = None,
    timestamp: str | None = None,
) -> tuple[Path, ...]:
    """Add a reviewer's signature: to the PDF, as a statement, and under the new release.

    Args:
        run: What was reviewed.
        key: Of the reviewer; never the key that issued the report.
        said: The opinion.
        ledger: Where the review is recorded.
        timestamp: Address of a time stamping authority; none is asked if left out.

    Raises:
        VerificationError: If there is a review already, or the key issued the report.
    """
    if REVIEW in run.files:
        raise VerificationError("this run was reviewed already; render it again to start anew")
    if open_self_signed(reading.read(run.folder / AUDIT)).keyid == key.keyid:
        raise VerificationError("nobody reviews their own report: expected another key")
    statement = review_statement(
        file_digest(run.folder / AUDIT),
        run.identifier,
        **dataclasses.asdict(said),
        decided_on=_now(),
    )
    files: Files = {**run.files, REVIEW: seal(statement, key)}
    if PDF in run.files:
        reason = f"Review: {said.decision}"
        files[PDF] = _countersigned(run.folder / PDF, key, reason, timestamp)
    refuse_leaks({REVIEW: files[REVIEW]}, run.evidence, {}, key)
    entries = [("reviewed", {"report": run.identifier})]
    return publish(
        files, key, run.folder, run.identifier,
        ledger=ledger, entries=entries, reissued=run.reissued("reviewed"),
    )  # fmt: skip


def _countersigned(path: Path, key: SigningKey, reason: str, timestamp: str | None) -> bytes:
    from forget_audit.reports import timestamps

    stamp = timestamps.Timestamper(timestamp) if timestamp else None
    return pdf_signature.countersign(reading.read(path), key, reason, stamp=stamp)


def purge(
    run: Run,
    key: SigningKey,
    held: holdings.Holdings,
    *,
    ledger: Ledger | None = None,
    tell: Callable[[str], None] = lambda _: None,
) -> tuple[Path, ...]:
    """Destroy what the audit kept of the forgotten people, and sign that it was done.

    First the secret and the models go, then the scores leave with the former folder: a crash
    leaves a run that can be purged again, never a false proof. Files are unlinked, not
    overwritten: media and backups are another matter.

    Args:
        run: Stays verifiable; only the verdict can no longer be computed again.
        key: Signs the statement.
        held: What the audit keeps outside the run.
        ledger: Where the purge is recorded.
        tell: Called with each thing that was destroyed.

    Raises:
        VerificationError: If it was purged already.
        ForgetAuditError: If the audit keeps nothing where `held` says.
    """
    if PURGE in run.files:
        raise VerificationError(f"{run.identifier} was purged already")
    held.refuse_elsewhere()
    write_whole(held.begun, b"")
    destroyed = [_gone(model, "model trained on the records", tell) for model in held.models]
    destroyed.append(_gone(held.secret, "secret of the pseudonyms", tell, secret=True))
    scores = {
        "name": SCORES, "what": "scores by record", "sha256": run.evidence["digests"]["scores"],
    }  # fmt: skip
    statement = purge_statement(
        file_digest(run.folder / EVIDENCE),
        run.identifier,
        purged_on=_now(),
        destroyed=[scores, *(item for item in destroyed if item)],
    )
    files: Files = {name: path for name, path in run.files.items() if name != SCORES}
    files[PURGE] = seal(statement, key)
    paths = publish(
        files, key, run.folder, run.identifier,
        ledger=ledger, entries=[("purged", {"report": run.identifier})],
        reissued=run.reissued("purged"),
    )  # fmt: skip
    tell(SCORES)
    for rest in run.folder.parent.glob(f".{run.folder.name}.*.old"):
        shutil.rmtree(rest, ignore_errors=True)
    holdings.forget(held)
    return paths


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _gone(
    path: Path, what: str, tell: Callable[[str], None], *, secret: bool = False
) -> Json | None:
    """Delete a file; its digest is the proof of what it was, except for a secret."""
    if not path.is_file():
        return None
    digest = None if secret else file_digest(path)
    path.unlink()
    with contextlib.suppress(OSError):
        part_of(path).unlink()
    tell(f"{what}: {path.name}")
    return {"name": "secret" if secret else path.name, "what": what, "sha256": digest}
