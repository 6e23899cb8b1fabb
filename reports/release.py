"""Issuing a report: everything signed, written beside its place, and moved there in one step.

The order matters when the machine dies: entry in the ledger, then the release statement, then the
files. A crash may leave an entry without files, which shows; never files without an entry.
"""

import copy
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from forget_audit.digests import canonical_json, sha256
from forget_audit.errors import (
    ForgetAuditError,
    LeakError,
    VerificationError,
)
from forget_audit.keys.signing import SigningKey
from forget_audit.ledger.ledger import Ledger
from forget_audit.reports import linter, rendering
from forget_audit.reports.attestation import (
    audit_statement,
    release_statement,
    seal,
)
from forget_audit.reports.evidence import problems
from forget_audit.reports.folders import (
    AUDIT,
    EVIDENCE,
    NAME,
    OURS,
    PAGE,
    RELEASE,
    SCORES,
    refuse_foreign,
    staged,
    write,
)
from forget_audit.types import Json

Files = dict[str, bytes | Path]
Entry = tuple[str, Json]


@dataclass(frozen=True, kw_only=True)
class Terms:
    """How a report is issued.

    Args:
        formats: Views for people.
        language: Of page one and receipt; as in the evidence if left out.
        ledger: Where the issue is recorded; nowhere if left out.
        kind: Of the entry in the ledger: `audit-issued` or `rendered`.
        private: Strings that must not leave, each with what it is, such as ids of the rows.
        timestamp: Address of a time stamping authority; none is asked if left out.
    """

    formats: Sequence[str] = ("html", "pdf")
    language: str | None = None
    ledger: Ledger | None = None
    kind: str = "audit-issued"
    private: Mapping[str, str] = field(default_factory=dict)
    timestamp: str | None = None


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
    terms: Terms | None = None,
) -> Released:
    """Render, sign and write a report.

    Args:
        evidence: Fits the published schema.
        scores_npz: The numbers behind it; their digest stands in the evidence.
        extra_files: Further files to release under plain names; paths are copied.
        key: Signs everything.
        out_dir: New, empty, or an earlier release that is to be replaced.
        terms: Formats, ledger and what must not leave.

    Raises:
        VerificationError: If evidence, scores and key do not belong together.
        LeakError: If a file holds what must not leave; nothing is signed then.
        ForgetAuditError: If `out_dir` holds files that no release of ours made.
    """
    terms = terms or Terms()
    _check(evidence, scores_npz, extra_files, key, terms.formats)
    filed, evidence = _as_filed(evidence)
    refuse_foreign(out_dir)
    refuse_leaks({EVIDENCE: filed, SCORES: scores_npz}, evidence, terms.private, key)
    audit = seal(audit_statement(evidence), key)
    files: Files = {EVIDENCE: filed, SCORES: scores_npz, AUDIT: audit, **extra_files}
    views, missing = rendering.render(
        evidence, audit, key, terms.formats, language=terms.language, timestamp=terms.timestamp
    )
    files |= views
    refuse_leaks(files, evidence, terms.private, key)
    identifier = evidence["report"]["id"]
    entries: list[Entry] = [(terms.kind, {"report": identifier})]
    if evidence["report"]["supersedes"]:
        former = evidence["report"]["supersedes"]
        entries.append(("report-superseded", {"report": former, "by": identifier}))
    paths = publish(files, key, out_dir, identifier, ledger=terms.ledger, entries=entries)
    return Released(paths=paths, pdf_missing=missing)


def issued(
    evidence: Json,
    key: SigningKey,
    ledger: Ledger | None,
    place: Callable[[Json], Json] | None = None,
) -> Json:
    """Return the evidence as it is signed: who signs, and where the ledger stands before it.

    Args:
        evidence: As the audit left it.
        key: Signs.
        ledger: Where the issue will be recorded; nowhere if left out.
        place: Given where the ledger stands now, says where it stood when this was first tried.
    """
    document = copy.deepcopy(evidence)
    document["report"] |= {"status": "issued", "key": key.protection}
    if ledger is not None:
        head = ledger.head()
        stands = {"origin": head.origin, "size": head.size, "root": head.root_hex}
        document["ledger"] = place(stands) if place else stands
    return document


def draft(evidence: Json, scores_npz: bytes, out_dir: Path, private: Mapping[str, str]) -> Released:
    """Write a draft: evidence, scores and a page that says so; nothing is signed or recorded.

    Args:
        evidence: With the status `draft`.
        scores_npz: The numbers behind it.
        out_dir: New, empty, or an earlier release or draft that is to be replaced.
        private: Strings that must not leave, each with what it is.

    Raises:
        LeakError: If a file holds what must not leave.
        ForgetAuditError: If `out_dir` holds files that no release of ours made.
    """
    refuse_foreign(out_dir)
    filed, evidence = _as_filed(evidence)
    files: Files = {EVIDENCE: filed, SCORES: scores_npz, PAGE: rendering.draft(evidence)}
    refuse_leaks(files, evidence, private)
    with staged(out_dir) as staging:
        for name, content in files.items():
            write(staging / name, content)
    return Released(paths=tuple(out_dir / name for name in files), pdf_missing=None)


def publish(
    files: Files,
    key: SigningKey,
    out_dir: Path,
    identifier: str,
    *,
    ledger: Ledger | None = None,
    entries: Sequence[Entry] = (),
    reissued: Json | None = None,
) -> tuple[Path, ...]:
    """Write files beside their place, record and sign what they are, and move them there.

    Args:
        files: All that is released, by name.
        key: Signs the release statement.
        out_dir: New, or an earlier release that is replaced.
        identifier: Of the report.
        ledger: Where `entries` go, each with the digests of all files.
        entries: Kind and body.
        reissued: Reason and digest of the former statement, if this one takes its place.
    """
    with staged(out_dir) as staging:
        digests = {name: write(staging / name, content) for name, content in files.items()}
        checkpoint = None
        if ledger is not None:
            for kind, content in entries:
                ledger.append(kind, {**content, "files": digests}, key)
            checkpoint = ledger.checkpoint()
        statement = release_statement(digests, identifier, checkpoint=checkpoint, reissued=reissued)
        write(staging / RELEASE, seal(statement, key))
    return tuple(out_dir / name for name in (*files, RELEASE))


def refuse_leaks(
    files: Mapping[str, bytes | Path],
    evidence: Json,
    private: Mapping[str, str],
    key: SigningKey | None = None,
) -> None:
    """Look through everything that is about to be signed for what must not leave.

    Args:
        files: By name; weights are left out, since no text is in them.
        evidence: Names the addresses that the controller publishes on purpose.
        private: Strings, each with what it is.
        key: Names its owner on purpose.

    Raises:
        LeakError: With each place and what was found, never the string itself.
    """
    content = {name: data for name, data in files.items() if isinstance(data, bytes)}
    leaks = linter.scan(content, private, _published(evidence, key))
    if leaks:
        found = "; ".join(map(str, leaks[:5]))
        raise LeakError(f"nothing was signed: the report would give away {found}")


def _as_filed(evidence: Json) -> tuple[bytes, Json]:
    """Return the file, and the evidence as whoever reads it has it, so that all views agree."""
    filed = canonical_json(evidence)
    return filed, json.loads(filed)


def _published(evidence: Json, key: SigningKey | None) -> list[str]:
    """Return texts about organisations and people in office, which are printed on purpose."""
    report, parties = evidence["report"], evidence.get("parties", {})
    named = [*parties.values(), *evidence.get("recipients", ())]
    texts = [
        *map(report.get, ("controller", "contact", "authority", "decision", "change")),
        *report.get("distribution", ()),
        *(item if isinstance(item, str) else item.get("name") for item in named if item),
        *((key.name, key.org) if key else ()),
    ]
    return [text for text in texts if text]


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
    key.refuse_unusable()
    for name in formats:
        if name not in ("html", "pdf"):
            raise ForgetAuditError(f"formats are html and pdf, found {name!r}")
    for name in extra:
        if not NAME.fullmatch(name) or name in OURS:
            raise VerificationError(f"{name!r} cannot be the name of a released file")
