"""Doors of what is signed: released folders, envelopes, pages, PDFs, and the gate."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from forget_audit.deployment.gating import gate
from forget_audit.digests import sha256
from forget_audit.errors import ForgetAuditError
from forget_audit.reports import evidence as evidence_file
from forget_audit.reports import pdf_signature, sigstore
from forget_audit.reports.attestation import (
    audit_statement,
    open_self_signed,
    release_statement,
    seal,
)
from forget_audit.trust import Trust
from forget_audit.types import Json
from forget_audit.verdict import scoretable
from forget_audit.verification.verify import VerifyResult, verify_path
from tests.fixtures import attested, pdfs
from tests.fixtures.released import key
from tests.fuzz import places
from tests.fuzz.doors import Door, Refused

Released = tuple[str, Callable[[], Path], Callable[[], Trust], Sequence[tuple[str, float]]]

WORDS = (
    b"FAIL", b"PASS", b"INCONCLUSIVE", b"verdict", b"value", b"subject", b"sha256", b"digest",
    b"payload", b"signatures", b"predicate", b"reasons", b"issuedOn", b"certificates", b"signer",
)  # fmt: skip
PDF_WORDS = (
    b"/ByteRange", b"/Contents", b"/Prev", b"/Root", b"/Kids", b"/Length", b"/Size", b"/XRef",
    b"startxref\n0\n%%EOF", b"endobj", b"stream", b"1 0 R", b"/FlateDecode", b"/AcroForm", b"/Sig",
    b"/Encrypt", b"/ObjStm", b"/EmbeddedFiles", b"/Type/Catalog", b"999999999 0 R",
)  # fmt: skip


def _said(result: VerifyResult) -> VerifyResult:
    """Return a result that says yes; one that says anything else is a refusal."""
    if result.exit_code:
        wrong = next(check for check in result.checks if check.outcome not in ("pass", "not-run"))
        raise Refused(f"{wrong.outcome} {wrong.name}: {wrong.detail}")
    return result


def _in_folder(source: Callable[[], Path], trust: Callable[[], Trust], name: str,
               data: bytes, folder: Path) -> object:  # fmt: skip
    run = places.together(source(), folder / "run", name, data)
    return _said(verify_path(run, trust()))


def _alone(trust: Callable[[], Trust], name: str, data: bytes, folder: Path) -> object:
    (folder / name).write_bytes(data)
    return _said(verify_path(folder / name, trust()))


def _one(source: Callable[[], Path], name: str) -> Sequence[bytes]:
    return [(source() / name).read_bytes()]


def _folder_doors() -> list[Door]:
    """Return one door for each file of released folders: any change of it must be refused."""
    found = []
    ours: tuple[Released, ...] = (
        ("older", places.older, places.older_trust,
         [("audit.dsse.json", 0.1), ("evidence.json", 0.1), ("release.dsse.json", 1.5),
          ("report.html", 0.1), ("scores.npz", 0.1), ("unlearned.safetensors", 0.1)]),
        ("reviewed", attested.reviewed, attested.both,
         [("review.dsse.json", 0.05), ("report.pdf", 0.05)]),
        ("purged", attested.purged, attested.both, [("purge.dsse.json", 0.1)]),
    )  # fmt: skip
    for label, source, trust, names in ours:
        for name, share in names:
            found.append(
                Door(
                    name=f"{label}-{name.replace('.', '-')}",
                    seeds=partial(_one, source, name),
                    enter=partial(_in_folder, source, trust, name),
                    suffix=Path(name).suffix,
                    dictionary=PDF_WORDS if name.endswith(".pdf") else WORDS,
                    must_refuse=True,
                    share=share,
                )
            )
    return found


def _statements() -> Sequence[bytes]:
    """What is inside of every kind of envelope."""
    found = [places.older() / "audit.dsse.json", places.older() / "release.dsse.json"]
    found += [attested.reviewed() / "review.dsse.json", attested.purged() / "purge.dsse.json"]
    return [json.dumps(open_self_signed(path.read_bytes()).statement).encode() for path in found]


def _sealed(data: bytes) -> bytes:
    """Sign whatever a statement says with a key that is believed, in the one form of it."""
    try:
        statement = json.loads(data)
        return seal(statement, key())
    except (ValueError, RecursionError, TypeError, AttributeError, KeyError) as error:
        raise Refused(f"nothing that can be sealed: {error}") from error


def enter_statement(data: bytes, folder: Path) -> object:
    """What a believed signer may say: read alone, by the gate, and beside an intact audit."""
    envelope = _sealed(data)
    (folder / "audit.dsse.json").write_bytes(envelope)
    (folder / "model").write_bytes(b"a model")
    result = verify_path(folder / "audit.dsse.json", attested.both())
    decision = gate(folder / "model", [folder / "audit.dsse.json"], attested.both())
    if decision.deploy:
        raise AssertionError("a model that no statement names was let through")
    for source, name in (
        (attested.reviewed, "review.dsse.json"),
        (attested.purged, "purge.dsse.json"),
    ):
        if envelope == (source() / name).read_bytes():
            continue
        run = places.together(source(), folder / source.__name__, name, envelope)
        if verify_path(run, attested.both()).exit_code == 0:
            raise AssertionError(f"a folder with another {name} was accepted")
    return _said(result)


def enter_resealed_evidence(data: bytes, folder: Path) -> object:
    """Evidence that its signer changed before signing: read, compared and computed again."""
    evidence = evidence_file.read(data)
    return _resealed(evidence, data, (places.older() / "scores.npz").read_bytes(), folder)


def enter_resealed_scores(data: bytes, folder: Path) -> object:
    """Scores that their signer changed before signing: no verdict may rest on them unseen."""
    evidence = evidence_file.read((places.older() / "evidence.json").read_bytes())
    evidence["digests"]["scores"] = sha256(data)
    return _resealed(evidence, _canonical(evidence), data, folder)


def _canonical(evidence: Json) -> bytes:
    from forget_audit.digests import canonical_json

    return canonical_json(evidence)


def _resealed(evidence: Json, data: bytes, scores: bytes, folder: Path) -> object:
    run = folder / "run"
    run.mkdir()
    content = {
        "evidence.json": data,
        "scores.npz": scores,
        "audit.dsse.json": seal(audit_statement(evidence), key()),
        "unlearned.safetensors": (places.older() / "unlearned.safetensors").read_bytes(),
    }
    for name, part in content.items():
        (run / name).write_bytes(part)
    digests = {name: sha256(part) for name, part in content.items()}
    statement = release_statement(digests, str(evidence["report"]["id"]))
    (run / "release.dsse.json").write_bytes(seal(statement, key()))
    return _said(verify_path(run, attested.both(), scoretable.recompute))


def _passed() -> Sequence[bytes]:
    return [attested.attestation()]


def enter_gate(data: bytes, folder: Path) -> object:
    """The attestation of an unlearned model, before the gate."""
    (folder / "audit.dsse.json").write_bytes(data)
    (folder / "model.safetensors").write_bytes(attested.UNLEARNED)
    decision = gate(folder / "model.safetensors", [folder / "audit.dsse.json"], attested.both(),
                    now=datetime(2026, 11, 22, tzinfo=UTC))  # fmt: skip
    if not decision.deploy:
        raise Refused(f"{decision.code}: {decision.reason}")
    return decision


def enter_gate_review(data: bytes, folder: Path) -> object:
    """A review beside an attestation: the gate lets through what a changed one is beside?"""
    run = places.together(attested.reviewed(), folder / "run", "review.dsse.json", data)
    decision = gate(run / "unlearned.safetensors", [run], attested.both(),
                    now=datetime(2026, 11, 22, tzinfo=UTC))  # fmt: skip
    if not decision.deploy:
        raise Refused(f"{decision.code}: {decision.reason}")
    return decision


def enter_pdf(data: bytes, folder: Path) -> object:
    """A PDF by itself: signatures, attachments, result."""
    path = folder / "report.pdf"
    path.write_bytes(data)
    result = verify_path(path, pdf_trust())
    try:
        pdf_signature.attachments(data)
    except ForgetAuditError:
        if result.exit_code == 0:
            raise AssertionError("believed, and its attachments cannot be read") from None
    return _said(result)


def pdf_trust() -> Trust:
    return attested.both().add_key(pdfs.issuer()).add_key(pdfs.reviewer(), roles=("reviewer",))


def _pdf_seeds() -> Sequence[bytes]:
    return [(attested.with_pdf() / "report.pdf").read_bytes(),
            (attested.reviewed() / "report.pdf").read_bytes()]  # fmt: skip


DOORS: tuple[Door, ...] = (
    *_folder_doors(),
    Door(
        name="attestation-alone",
        seeds=partial(_one, places.older, "audit.dsse.json"),
        enter=partial(_alone, places.older_trust, "audit.dsse.json"),
        suffix=".json",
        dictionary=WORDS,
        must_refuse=True,
    ),
    Door(
        name="page-alone",
        seeds=partial(_one, places.older, "report.html"),
        enter=partial(_alone, places.older_trust, "report.html"),
        dictionary=(b"<script>", b"</body>", b"<!-- forget-audit signature begin -->", b"</html>"),
        must_refuse=True,
        share=0.4,
    ),
    Door(
        name="pdf-alone",
        seeds=_pdf_seeds,
        enter=enter_pdf,
        dictionary=PDF_WORDS,
        must_refuse=True,
        share=0.15,
    ),
    Door(
        name="gate-attestation",
        seeds=_passed,
        enter=enter_gate,
        suffix=".json",
        dictionary=WORDS,
        must_refuse=True,
        share=0.7,
    ),
    Door(
        name="gate-review",
        seeds=partial(_one, attested.reviewed, "review.dsse.json"),
        enter=enter_gate_review,
        suffix=".json",
        dictionary=WORDS,
        must_refuse=True,
        share=0.15,
    ),
    Door(
        name="sealed-statement",
        seeds=_statements,
        enter=enter_statement,
        suffix=".json",
        dictionary=WORDS,
        share=0.15,
    ),
    Door(
        name="resealed-evidence",
        seeds=partial(_one, places.older, "evidence.json"),
        enter=enter_resealed_evidence,
        suffix=".json",
        dictionary=WORDS,
        share=0.3,
    ),
    Door(
        name="resealed-scores",
        seeds=partial(_one, places.older, "scores.npz"),
        enter=enter_resealed_scores,
        suffix=".npz",
        share=0.05,
    ),
    Door(
        name="evidence",
        seeds=partial(_one, places.older, "evidence.json"),
        enter=lambda data, _: evidence_file.read(data),
        suffix=".json",
        dictionary=WORDS,
        share=0.7,
    ),
    Door(
        name="sigstore",
        seeds=partial(_one, places.older, "audit.dsse.json"),
        enter=lambda data, _: sigstore.bundle(data),
        suffix=".json",
    ),
)
