"""Issuing a report: everything signed, written beside its place, and moved there in one step."""

import contextlib
import os
import re
import secrets
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from forget_audit.digests import canonical_json, file_digest, sha256
from forget_audit.errors import (
    ForgetAuditError,
    KeyFileError,
    MissingDependency,
    VerificationError,
)
from forget_audit.reports import html
from forget_audit.reports.attestation import (
    audit_statement,
    named_subjects,
    release_statement,
    seal,
)
from forget_audit.reports.evidence import problems
from forget_audit.reports.view import ReportView
from forget_audit.signing import SigningKey
from forget_audit.types import Json

EVIDENCE, SCORES, AUDIT, RELEASE = (
    "evidence.json", "scores.npz", "audit.dsse.json", "release.dsse.json",
)  # fmt: skip
PAGE, PDF = "report.html", "report.pdf"
OURS = frozenset({EVIDENCE, SCORES, AUDIT, RELEASE, PAGE, PDF})
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


@dataclass(frozen=True, kw_only=True)
class Released:
    """What was written.

    Args:
        paths: Files, the release statement last.
        pdf_missing: Why there is no PDF although one was asked for; none otherwise.
    """

    paths: tuple[Path, ...]
    pdf_missing: str | None


def release(
    evidence: Json,
    scores_npz: bytes,
    extra_files: Mapping[str, bytes | Path],
    key: SigningKey,
    out_dir: Path,
    formats: Sequence[str] = ("html", "pdf"),
) -> Released:
    """Render, sign and write a report.

    Args:
        evidence: Fits the published schema.
        scores_npz: The numbers behind it; their digest stands in the evidence.
        extra_files: Further files to release under plain names; paths are copied.
        key: Signs everything.
        out_dir: New, empty, or an earlier release that is to be replaced.
        formats: Views for people.

    Raises:
        VerificationError: If evidence, scores and key do not belong together.
        ForgetAuditError: If `out_dir` holds files that no release of ours made.
    """
    _check(evidence, scores_npz, extra_files, key, formats)
    refuse_foreign(out_dir)
    audit = seal(audit_statement(evidence), key)
    files: dict[str, bytes | Path] = {
        EVIDENCE: canonical_json(evidence), SCORES: scores_npz, AUDIT: audit, **extra_files,
    }  # fmt: skip
    missing = None
    view = html.build(evidence, html.signer_of(key))
    if "html" in formats:
        files[PAGE] = html.render(view, key, audit)
    if "pdf" in formats:
        try:
            files[PDF] = _pdf(view, evidence, key, audit)
        except MissingDependency as error:
            missing = str(error)
    staging = out_dir.parent / f".{out_dir.name}.{secrets.token_hex(4)}"
    staging.mkdir(parents=True)
    try:
        digests = {name: _write(staging / name, content) for name, content in files.items()}
        statement = release_statement(digests, evidence["report"]["id"])
        _write(staging / RELEASE, seal(statement, key))
        _move(staging, out_dir)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return Released(paths=tuple(out_dir / name for name in (*files, RELEASE)), pdf_missing=missing)


def _pdf(view: ReportView, evidence: Json, key: SigningKey, audit: bytes) -> bytes:
    from forget_audit.reports import pdf, pdf_signature

    unsigned, place = pdf.render(view, evidence, audit)
    reason = f"Issues the audit report {evidence['report']['id']}"
    return pdf_signature.sign(unsigned, key, place, reason)


def _check(
    evidence: Json,
    scores: bytes,
    extra: Mapping[str, bytes | Path],
    key: SigningKey,
    formats: Sequence[str],
) -> None:
    wrong = problems(evidence)
    if wrong:
        raise VerificationError("the evidence does not fit its schema:\n" + "\n".join(wrong))
    if evidence["digests"]["scores"] != sha256(scores):
        raise VerificationError("the scores are not those whose digest stands in the evidence")
    if evidence["report"]["key"] != key.protection:
        raise VerificationError(
            f"the evidence says the key is {evidence['report']['key']}, it is {key.protection}"
        )
    if not key.usable:
        raise KeyFileError(f"the certificate of the key ended on {key.not_after.date()}")
    for name in formats:
        if name not in ("html", "pdf"):
            raise ForgetAuditError(f"formats are html and pdf, found {name!r}")
    for name in extra:
        if not NAME.fullmatch(name) or name in OURS:
            raise VerificationError(f"{name!r} cannot be the name of a released file")


def refuse_foreign(directory: Path) -> None:
    """Refuse a folder with files that no release made, so that nothing of the user's is lost.

    Raises:
        ForgetAuditError: Naming some of them.
    """
    if not directory.exists():
        return
    if not directory.is_dir() or directory.is_symlink():
        raise ForgetAuditError(f"{directory}: not a folder")
    present = {item.name for item in directory.iterdir()}
    foreign = sorted(present - OURS - _listed(directory / RELEASE))
    if foreign:
        raise ForgetAuditError(
            f"{directory}: holds files that no release made ({', '.join(foreign[:3])}); choose "
            "another folder"
        )


def _listed(path: Path) -> set[str]:
    """Return the names an earlier release lists; whether it is genuine does not matter here."""
    with contextlib.suppress(OSError, VerificationError):
        return set(named_subjects(path.read_bytes()))
    return set()


def _write(path: Path, content: bytes | Path) -> str:
    """Write a file to disk and return its SHA-256."""
    if isinstance(content, Path):
        shutil.copyfile(content, path)
    else:
        path.write_bytes(content)
    with path.open("rb") as file:
        os.fsync(file.fileno())
    return file_digest(path)


def _move(staging: Path, target: Path) -> None:
    """Put the finished folder in place; an earlier release goes only once the new one stands."""
    if not target.exists():
        staging.rename(target)
        return
    old = target.parent / f"{staging.name}.old"
    target.rename(old)
    try:
        staging.rename(target)
    except OSError:
        old.rename(target)
        raise
    shutil.rmtree(old)
