"""Checking what was released: signatures, digests, agreement, and the numbers once more.

Inputs are hostile: whatever is wrong with them becomes a failed check that names the file, never
a traceback. Nothing is unpickled and nothing fetched.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Literal

from forget_audit.digests import file_digest, sha256
from forget_audit.errors import ForgetAuditError, VerificationError
from forget_audit.reports import evidence as evidence_file
from forget_audit.reports import html_signature, pdf_signature, reading
from forget_audit.reports.attestation import (
    AUDIT_TYPE,
    DOCUMENT_TYPE,
    RELEASE_TYPE,
    Opened,
    audit_statement,
    open_self_signed,
)
from forget_audit.reports.release import AUDIT, EVIDENCE, NAME, PAGE, PDF, RELEASE, SCORES
from forget_audit.signing import certificates_of
from forget_audit.trust import Trust
from forget_audit.types import Json

CheckOutcome = Literal["pass", "fail", "not-run", "untrusted", "expired"]
Recompute = Callable[[Json, bytes], list[str]]


@dataclass(frozen=True, kw_only=True)
class Check:
    """One thing that was checked.

    Args:
        name: What.
        outcome: `untrusted` and `expired` concern the signer; all else is `fail`.
        detail: What was found.
        file: Which file, empty if it is about several.
    """

    name: str
    outcome: CheckOutcome
    detail: str
    file: str = ""


@dataclass(frozen=True, kw_only=True)
class VerifyResult:
    """The checks and what follows from them.

    Args:
        checks: In the order they were made.
    """

    checks: tuple[Check, ...]

    @property
    def exit_code(self) -> int:
        """0 valid and trusted, 1 invalid, 3 signer not trusted, 4 revoked or expired."""
        outcomes = {check.outcome for check in self.checks}
        codes = (("fail", 1), ("expired", 4), ("untrusted", 3))
        return next((code for outcome, code in codes if outcome in outcomes), 0)

    def as_json(self) -> Json:
        """Return the result for programs."""
        return {"exit_code": self.exit_code, "checks": [asdict(check) for check in self.checks]}


def verify_path(path: Path, trust: Trust, recompute: Recompute | None = None) -> VerifyResult:
    """Check a released folder, or a PDF, page or envelope alone.

    Args:
        path: What to check.
        trust: Whose signatures are believed.
        recompute: Lists where evidence and scores disagree; without it that is `not-run`.
    """
    checker = _Checker(trust=trust, recompute=recompute)
    checker.attempt("readable", path.name, lambda: checker.any(path))
    if not checker.checks:
        checker.add("readable", "fail", "there was nothing to check", path.name)
    return VerifyResult(checks=tuple(checker.checks))


@dataclass(kw_only=True)
class _Checker:
    trust: Trust
    recompute: Recompute | None
    checks: list[Check] = field(default_factory=list)

    def add(self, name: str, outcome: CheckOutcome, detail: str, file: str = "") -> None:
        self.checks.append(Check(name=name, outcome=outcome, detail=detail, file=file))

    def attempt(self, name: str, file: str, action: Callable[[], Any]) -> Any:
        """Run `action`; whatever it raises becomes a failed check."""
        try:
            return action()
        except ForgetAuditError as error:
            self.add(name, "fail", str(error), file)
        except OSError as error:
            self.add(name, "fail", f"cannot be read ({error.strerror})", file)
        except Exception as error:  # noqa: BLE001  hostile files raise whatever they like
            self.add(name, "fail", f"malformed ({type(error).__name__})", file)
        return None

    def any(self, path: Path) -> None:
        if path.is_dir() and not path.is_symlink():
            self.folder(path)
            return
        data = reading.read(path)
        if data.startswith(b"%PDF-"):
            keyid = self.pdf(data, path.name)
        elif data.lstrip()[:15].lower().startswith(b"<!doctype html"):
            keyid = self.page(data, path.name)
        elif data.lstrip().startswith(b"{"):
            keyid = self.envelope(data, path.name)
        else:
            raise VerificationError("not a report: expected a folder, PDF, HTML page or envelope")
        if keyid is not None:
            self.signer(keyid)
            self.beside(path, keyid)

    def folder(self, folder: Path) -> None:
        release = self.attempt("release signature", RELEASE, lambda: self.opened(
            reading.read(folder / RELEASE), RELEASE_TYPE))  # fmt: skip
        if release is None:
            return
        self.add("release signature", "pass", f"by key {release.keyid[:16]}…", RELEASE)
        self.listed(folder, release.digests)
        intact = {c.file for c in self.checks if c.name == "released file" and c.outcome == "pass"}
        content = {name: reading.read(folder / name) for name in
                   intact & {EVIDENCE, SCORES, AUDIT, PAGE, PDF}}  # fmt: skip
        if EVIDENCE in content:
            read = partial(evidence_file.read, content[EVIDENCE])
            evidence = self.attempt("evidence", EVIDENCE, read)
            if evidence is not None:
                self.add("evidence", "pass", "canonical and fits its schema", EVIDENCE)
                self.agreement(evidence, content, release)
        self.views(content, release)
        self.signer(release.keyid)

    def listed(self, folder: Path, digests: dict[str, str]) -> None:
        """Check that the folder holds exactly the listed files, each as it was."""
        present = {item.name for item in folder.iterdir()} - {RELEASE}
        for name in sorted(present - set(digests)):
            self.add("released file", "fail", "is not part of the release", name)
        for name, digest in digests.items():
            self.attempt("released file", name, partial(self.one, folder, name, digest))
        for name in (EVIDENCE, SCORES, AUDIT):
            if name not in digests:
                self.add("released file", "fail", "the release does not list it", name)

    def one(self, folder: Path, name: str, digest: str) -> None:
        if not NAME.fullmatch(name):
            raise VerificationError("not a plain file name")
        reading.refuse_irregular(folder / name)
        if file_digest(folder / name) != digest:
            raise VerificationError("was changed: its SHA-256 is not the released one")
        self.add("released file", "pass", "is the one released, byte for byte", name)

    def agreement(self, evidence: Json, content: dict[str, bytes], release: Opened) -> None:
        """Check that statement, scores and models say what the evidence says."""
        if AUDIT in content:
            self.attempt("attestation", AUDIT, lambda: self.statement(
                content[AUDIT], evidence, release.keyid))  # fmt: skip
        for item in evidence["model"]["audited"]:
            if release.digests.get(item["name"], item["sha256"]) != item["sha256"]:
                self.add("model", "fail", "is not the model the evidence names", item["name"])
        if release.statement["predicate"].get("reportId") != evidence["report"]["id"]:
            self.add("release", "fail", "is for another report than the evidence", RELEASE)
        if SCORES not in content:
            return
        if sha256(content[SCORES]) != evidence["digests"]["scores"]:
            self.add("scores", "fail", "are not those the evidence names", SCORES)
            return
        self.add("scores", "pass", "are those the evidence names", SCORES)
        self.attempt("numbers", SCORES, lambda: self.numbers(evidence, content[SCORES]))

    def numbers(self, evidence: Json, scores: bytes) -> None:
        if self.recompute is None:
            self.add("numbers", "not-run", "statistics and verdict were not computed again")
            return
        differences = self.recompute(evidence, scores)
        for text in differences:
            self.add("numbers", "fail", text, EVIDENCE)
        if not differences:
            self.add("numbers", "pass", "statistics and verdict follow from the scores", EVIDENCE)

    def statement(self, data: bytes, evidence: Json, keyid: str) -> None:
        opened = self.opened(data, AUDIT_TYPE, keyid)
        predicate = {k: v for k, v in opened.statement["predicate"].items() if k != "signer"}
        if {**opened.statement, "predicate": predicate} != audit_statement(evidence):
            raise VerificationError("does not say what the evidence says")
        self.add("attestation", "pass", "signed, and says what the evidence says", AUDIT)

    def views(self, content: dict[str, bytes], release: Opened) -> None:
        """Check page and PDF, and that both carry this very result."""
        if PAGE in content and self.page(content[PAGE], PAGE, release.keyid):
            page = content[PAGE]
            self.attempt("carried result", PAGE, lambda: _same(
                {AUDIT: html_signature.attestation_of(page)}, content, (AUDIT,)))  # fmt: skip
        if PDF in content and self.pdf(content[PDF], PDF, release.keyid, release):
            self.attempt("carried result", PDF, lambda: _same(
                pdf_signature.attachments(content[PDF]), content, (AUDIT, EVIDENCE)))  # fmt: skip

    def page(self, data: bytes, file: str, keyid: str | None = None) -> str | None:
        def check() -> str:
            signed, envelope = html_signature.split(data)
            opened = self.opened(envelope, DOCUMENT_TYPE, keyid)
            if list(opened.digests.values()) != [sha256(signed)]:
                raise VerificationError("the page was changed after signing")
            self.opened(html_signature.attestation_of(data), AUDIT_TYPE, opened.keyid)
            self.add("page signature", "pass", f"valid, by key {opened.keyid[:16]}…", file)
            return opened.keyid

        found: str | None = self.attempt("page signature", file, check)
        return found

    def pdf(
        self, data: bytes, file: str, keyid: str | None = None, release: Opened | None = None
    ) -> str | None:
        def check() -> str:
            pems = [key.certificates for key in self.trust.keys]
            if release is not None:
                pems.append(release.statement["predicate"]["signer"]["certificates"])
            found = pdf_signature.verify_pdf(data, [certificates_of(pem)[-1] for pem in pems])
            if not found.valid or found.keyid is None:
                raise VerificationError(found.reason)
            if keyid not in (None, found.keyid):
                raise VerificationError("signed by another key than the release")
            ours = release is not None or self.trust.find(found.keyid) is not None
            if ours and not found.trusted and not any(map(_expired, pems)):
                raise VerificationError("its certificate does not lead to the signer's root")
            self.add("PDF signature", "pass", f"valid, covers the whole file, by key "
                     f"{found.keyid[:16]}…", file)  # fmt: skip
            return found.keyid

        valid: str | None = self.attempt("PDF signature", file, check)
        return valid

    def envelope(self, data: bytes, file: str) -> str | None:
        opened = self.attempt("signature", file, lambda: self.opened(data, None))
        if opened is None:
            return None
        self.add("signature", "pass", f"valid, of the kind {opened.kind}", file)
        return str(opened.keyid)

    def opened(self, data: bytes, kind: str | None, keyid: str | None = None) -> Opened:
        opened = open_self_signed(data)
        if kind not in (None, opened.kind):
            raise VerificationError(f"expected a statement of the kind {kind}")
        if keyid not in (None, opened.keyid):
            raise VerificationError("signed by another key than the release")
        return opened

    def signer(self, keyid: str) -> None:
        """Check whether the reader believes this key, now: no time is proven by the file."""
        known = self.trust.find(keyid)
        if known is None or "tool" not in known.roles:
            self.add("signer", "untrusted", f"key {keyid} is not in the trust file")
        elif known.revoked is not None:
            reason = f"revoked since {known.revoked.since}: {known.revoked.reason}"
            self.add("signer", "expired", f"key {keyid[:16]}… of {known.name} is {reason}")
        elif _expired(known.certificates):
            self.add("signer", "expired", f"the certificate of {known.name} has ended")
        else:
            self.add("signer", "pass", f"{known.name}, trusted since {known.added}")

    def beside(self, path: Path, keyid: str) -> None:
        """Check whether a single file is the released one, if the release lies beside it."""
        release = path.parent / RELEASE
        if path.name == RELEASE or not release.is_file():
            self.add("released file", "not-run", "alone: no release to compare with", path.name)
            return
        try:
            digest = self.opened(reading.read(release), RELEASE_TYPE, keyid).digests.get(path.name)
        except (ForgetAuditError, OSError):
            digest = None
        if digest is None:
            self.add("released file", "not-run", "the release beside it is another", path.name)
        elif digest != file_digest(path):
            self.add("released file", "fail", "is not the one released", path.name)
        else:
            self.add("released file", "pass", "is the one released, byte for byte", path.name)


def _same(carried: dict[str, bytes], content: dict[str, bytes], names: Sequence[str]) -> None:
    other = [name for name in names if name in content and carried.get(name) != content[name]]
    if other:
        raise VerificationError(f"carries another {other[0]} than the release")


def _expired(certificates: str) -> bool:
    leaf = certificates_of(certificates)[0]
    return not leaf.not_valid_before_utc <= datetime.now(UTC) <= leaf.not_valid_after_utc
