"""A released folder: every file as it was signed, all of them about one result, and by whom.

The attestation, the page and the first signature in each PDF are by one key, trusted as a tool.
The release statement is by that key too, or by whoever changed the folder last: the reviewer, or
the tool that purged it. Those must be the signers of a review or a proof of deletion inside.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from forget_audit.digests import file_digest, sha256
from forget_audit.errors import VerificationError
from forget_audit.ledger.checkpoints import parse
from forget_audit.ledger.ledger import Ledger
from forget_audit.reports import evidence as evidence_file
from forget_audit.reports import html_signature, pdf_signature, reading
from forget_audit.reports.attestation import RELEASE_TYPE, Opened, audit_statement
from forget_audit.reports.folders import (
    AUDIT,
    EVIDENCE,
    NAME,
    PAGE,
    PDF,
    PURGE,
    RECEIPT,
    RELEASE,
    REVIEW,
    SCORES,
)
from forget_audit.types import Json
from forget_audit.verification.attested import Attested, open_expected, read_attested
from forget_audit.verification.begun import check_begun
from forget_audit.verification.checks import Findings
from forget_audit.verification.claims import Reader, check_policy, check_standing
from forget_audit.verification.companions import (
    Purge,
    Review,
    check_purge,
    check_review,
    read_purge,
    read_review,
)
from forget_audit.verification.files import Carried, check_page, check_pdf
from forget_audit.verification.numbers import check_scores
from forget_audit.verification.signers import Moment, check_signer, recorded, stamped

READ = frozenset({EVIDENCE, SCORES, AUDIT, PAGE, PDF, RECEIPT, REVIEW, PURGE})


@dataclass(kw_only=True)
class _Folder:
    """What was found in a folder so far; what is broken or absent stays `None`."""

    path: Path
    release: Opened
    content: dict[str, bytes] = field(default_factory=dict)
    audit: Attested | None = None
    evidence: Json | None = None
    review: Review | None = None
    purge: Purge | None = None


def check_folder(findings: Findings, reader: Reader, path: Path) -> None:
    """Check everything in a released folder."""
    release = findings.attempt("release signature", RELEASE, partial(_release, path))
    if release is None:
        return
    findings.add("release signature", "pass", f"by key {release.keyid[:16]}…", RELEASE)
    folder = _Folder(path=path, release=release)
    _check_listed(findings, folder)
    for name in sorted(findings.passed("released file") & READ):
        data = findings.attempt("released file", name, partial(_content, release, path, name))
        if data is not None:
            folder.content[name] = data
    _open_statements(findings, folder)
    _check_agreement(findings, folder)
    if folder.evidence is not None:
        begun = partial(check_begun, findings, folder.evidence, reader.ledger)
        findings.attempt("begun", EVIDENCE, begun)
        scores, listed = folder.content.get(SCORES), SCORES in release.digests
        check_scores(
            findings, reader.recompute, folder.evidence, scores, listed=listed, purge=folder.purge
        )
    pdf = _check_views(findings, reader, folder)
    trusted = _check_signers(findings, reader, folder, pdf)
    if folder.review is not None:
        check_review(findings, folder.review)
    if folder.audit is not None:
        approved = folder.review is not None and folder.review.approved and trusted
        check_standing(findings, reader, folder.audit, AUDIT)
        check_policy(findings, reader, folder.audit, AUDIT, approved=approved)


def audit_in(path: Path) -> Attested:
    """Return the result that a released folder states; only its signature is checked.

    Raises:
        VerificationError: If it is broken.
        OSError: If it cannot be read.
    """
    return read_attested(reading.read(path / AUDIT))


def _release(path: Path) -> Opened:
    try:
        data = reading.read(path / RELEASE)
    except FileNotFoundError:
        if (path / EVIDENCE).is_file():
            raise VerificationError("a draft: unsigned, so there is nothing to rely on") from None
        raise
    return open_expected(data, RELEASE_TYPE)


def _check_listed(findings: Findings, folder: _Folder) -> None:
    """Check that the folder holds exactly the listed files, each as it was."""
    digests = folder.release.digests
    present = {item.name for item in folder.path.iterdir()} - {RELEASE}
    for name in sorted(present - set(digests)):
        findings.add("released file", "fail", "is not part of the release", name)
    for name, digest in digests.items():
        findings.attempt("released file", name, partial(_one, findings, folder.path, name, digest))
    needed = (EVIDENCE, AUDIT) if PURGE in digests else (EVIDENCE, SCORES, AUDIT)
    for name in needed:
        if name not in digests:
            findings.add("released file", "fail", "the release does not list it", name)


def _one(findings: Findings, path: Path, name: str, digest: str) -> None:
    if not NAME.fullmatch(name):
        raise VerificationError("not a plain file name")
    reading.refuse_irregular(path / name)
    if name in READ:
        reading.refuse_large(path / name)
    if file_digest(path / name) != digest:
        raise VerificationError("was changed: its SHA-256 is not the released one")
    findings.add("released file", "pass", "is the one released, byte for byte", name)


def _content(release: Opened, path: Path, name: str) -> bytes:
    data = reading.read(path / name)
    if sha256(data) != release.digests[name]:
        raise VerificationError("was changed while it was being checked")
    return data


def _open_statements(findings: Findings, folder: _Folder) -> None:
    """Open attestation, evidence, review and proof of deletion, as far as they are intact."""
    content = folder.content
    if AUDIT in content:
        folder.audit = findings.attempt("attestation", AUDIT, lambda: read_attested(content[AUDIT]))
    if EVIDENCE in content:
        folder.evidence = findings.attempt(
            "evidence", EVIDENCE, lambda: evidence_file.read(content[EVIDENCE])
        )
    identifier = str(folder.release.statement["predicate"].get("reportId"))
    audit = folder.audit
    if REVIEW in content and audit is not None:
        folder.review = findings.attempt(
            "review", REVIEW, lambda: read_review(content[REVIEW], audit)
        )
    if PURGE in content and EVIDENCE in content:
        folder.purge = findings.attempt(
            "purge", PURGE, lambda: read_purge(content[PURGE], content[EVIDENCE], identifier)
        )
    if folder.purge is not None:
        check_purge(findings, folder.purge, {item.name for item in folder.path.iterdir()})


def _check_agreement(findings: Findings, folder: _Folder) -> None:
    """Check that statement, models and release say what the evidence says."""
    evidence, audit, release = folder.evidence, folder.audit, folder.release
    if evidence is None:
        return
    if evidence["report"]["status"] != "issued":
        findings.add("evidence", "fail", "a draft: nothing in it counts", EVIDENCE, "draft")
    else:
        findings.add("evidence", "pass", "canonical and fits its schema", EVIDENCE)
    if audit is not None:
        said = audit.opened.statement
        predicate = {name: item for name, item in said["predicate"].items() if name != "signer"}
        if {**said, "predicate": predicate} == audit_statement(evidence):
            words = "signed, and says what the evidence says"
            findings.add("attestation", "pass", words, AUDIT)
        else:
            findings.add("attestation", "fail", "does not say what the evidence says", AUDIT)
    for item in evidence["model"]["audited"]:
        if release.digests.get(item["name"], item["sha256"]) != item["sha256"]:
            findings.add("model", "fail", "is not the model the evidence names", item["name"])
    if release.statement["predicate"].get("reportId") != evidence["report"]["id"]:
        findings.add("release", "fail", "is for another report than the evidence", RELEASE)


def _check_views(findings: Findings, reader: Reader, folder: _Folder) -> Carried | None:
    """Check page and PDFs, and that they carry this very result; return the report's PDF."""
    content, audit = folder.content, folder.audit
    keyid = audit.keyid if audit else folder.release.keyid
    if PAGE in content and check_page(findings, content[PAGE], PAGE, keyid):
        inside = {AUDIT: html_signature.attestation_of(content[PAGE])}
        findings.attempt("carried result", PAGE, partial(_same, inside, content, (AUDIT,)))
    found = None
    review = folder.review.opened if folder.review else None
    for name in (PDF, RECEIPT):
        if name not in content or audit is None:
            continue
        checked = check_pdf(findings, reader.trust, content[name], name, audit, review)
        if checked is not None and name == PDF:
            found = checked
            findings.attempt("carried result", PDF, lambda: _same(
                pdf_signature.attachments(content[PDF]), content, (AUDIT, EVIDENCE)))  # fmt: skip
    return found


def _same(carried: Mapping[str, bytes], content: Mapping[str, bytes], names: Sequence[str]) -> None:
    other = [name for name in names if name in content and carried.get(name) != content[name]]
    if other:
        raise VerificationError(f"carries another {other[0]} than the release")


def _check_signers(
    findings: Findings, reader: Reader, folder: _Folder, pdf: Carried | None
) -> bool:
    """Check who signed what; return whether the reviewer, if any, is trusted."""
    release, audit, review, purge = folder.release, folder.audit, folder.review, folder.purge
    found = pdf.pdf if pdf else None
    proven = _recorded(reader, folder, AUDIT)
    keyid = audit.keyid if audit else release.keyid
    stamp = stamped(found.time if found else None, alone=False)
    check_signer(findings, reader.trust, keyid, "tool", proven=stamp or proven, file=AUDIT)
    trusted = False
    if review is not None:
        stamp = stamped(found.reviewer_time if found else None, alone=False)
        proven = stamp or _recorded(reader, folder, REVIEW)
        trusted = check_signer(
            findings, reader.trust, review.opened.keyid, "reviewer", proven=proven,
            name="reviewer", file=REVIEW,
        )  # fmt: skip
    if purge is not None and purge.opened.keyid != keyid:
        proven = _recorded(reader, folder, PURGE)
        check_signer(findings, reader.trust, purge.opened.keyid, "tool", proven=proven, file=PURGE)
    allowed = {keyid} | {item.opened.keyid for item in (review, purge) if item is not None}
    if release.keyid not in allowed:
        findings.add("release", "fail", "signed by another key than attestation, review and purge",
                     RELEASE)  # fmt: skip
    _check_checkpoint(findings, reader, folder)
    return trusted


def _recorded(reader: Reader, folder: _Folder, name: str) -> Moment | None:
    if folder.evidence is None or name not in folder.content:
        return None
    identifier = folder.evidence["report"]["id"]
    return recorded(reader.ledger, identifier, name, sha256(folder.content[name]))


def _check_checkpoint(findings: Findings, reader: Reader, folder: _Folder) -> None:
    """Check the head of the ledger that the release carries."""
    note: Any = folder.release.statement["predicate"].get("checkpoint")
    if note is None:
        return

    def check() -> None:
        found = parse(str(note))
        release = folder.release
        if found.signer({release.keyid: release.public_key}) is None:
            raise VerificationError("the checkpoint is not signed by whoever signed the release")
        before: Json = (folder.evidence or {}).get("ledger") or {}
        same = before.get("origin", found.origin) == found.origin
        if not same and "reissued" not in release.statement["predicate"]:
            raise VerificationError("the checkpoint is of another ledger than the evidence")
        if same and before.get("size", -1) >= found.size:
            raise VerificationError("the checkpoint is not later than the one in the evidence")
        trouble = _unknown_to(reader.ledger, str(note), {found.origin, before.get("origin")})
        if trouble:
            findings.add("ledger", "mismatch", trouble, RELEASE, "ledger-mismatch")
            return
        words = f"entry {found.size} of {found.origin}, signed"
        findings.add("ledger", "pass", words, RELEASE)

    findings.attempt("ledger", RELEASE, check)


def _unknown_to(ledger: Ledger | None, note: str, origins: Collection[object]) -> str | None:
    """Say why a checkpoint is not one of the ledger at hand; whoever reviewed may keep another."""
    if ledger is None:
        return None
    if ledger.origin not in origins:
        return "the release was recorded in another ledger than the one given"
    if parse(note).origin == ledger.origin and note not in ledger.notes():
        return "the ledger given knows no such checkpoint: it was cut, or rewritten"
    return None
