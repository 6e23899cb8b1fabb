"""The scores behind a verdict: the very ones, of the very rows, and the verdict from them again."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np

from forget_audit.digests import sha256
from forget_audit.errors import VerificationError
from forget_audit.ledger import merkle
from forget_audit.packed import check_archive
from forget_audit.reports.folders import EVIDENCE, SCORES
from forget_audit.types import Json
from forget_audit.verification.checks import Findings
from forget_audit.verification.companions import Purge

Recompute = Callable[[Json, bytes], list[str]]


def check_scores(
    findings: Findings,
    recompute: Recompute | None,
    evidence: Json,
    scores: bytes | None,
    *,
    listed: bool,
    purge: Purge | None,
) -> None:
    """Check the scores and all that follows from them, or that they were destroyed.

    Args:
        findings: Where the outcome goes.
        recompute: Lists where evidence and scores disagree; without it that is `not-run`.
        evidence: What the report says.
        scores: Content of `scores.npz`, if it is there and was not changed.
        listed: Whether the release lists them.
        purge: The proof that they were destroyed, if there is one.
    """
    if scores is None and listed:
        return
    if scores is None and (purge is None or not purge.covers(evidence)):
        words = "no proof that the missing scores were destroyed"
        findings.add("numbers", "fail", words, SCORES)
        return
    if scores is None:
        words = "the scores were destroyed by a purge, so the verdict cannot be computed again"
        findings.add("numbers", "not-run", words, SCORES, "purged")
        return
    if sha256(scores) != evidence["digests"]["scores"]:
        findings.add("scores", "fail", "are not those the evidence names", SCORES)
        return
    findings.add("scores", "pass", "are those the evidence names", SCORES)
    if recompute is None:
        words = "statistics and verdict were not computed again"
        findings.add("numbers", "not-run", words, SCORES)
        return
    findings.attempt("numbers", SCORES, lambda: _recompute(findings, recompute, evidence, scores))


def _recompute(findings: Findings, recompute: Recompute, evidence: Json, scores: bytes) -> None:
    _refuse_bomb(scores)
    _check_commitment(findings, evidence, scores)
    differences = recompute(evidence, scores)
    for text in differences:
        findings.add("numbers", "fail", text, EVIDENCE)
    if not differences:
        words = "statistics and verdict follow from the scores"
        findings.add("numbers", "pass", words, EVIDENCE)


def _refuse_bomb(scores: bytes) -> None:
    try:
        check_archive(io.BytesIO(scores), len(scores))
    except ValueError as error:
        raise VerificationError(str(error)) from error


def _check_commitment(findings: Findings, evidence: Json, scores: bytes) -> None:
    """Check that the scores are of the very rows that the evidence commits to."""
    with np.load(io.BytesIO(scores), allow_pickle=False) as file:
        names = sorted(np.asarray(file["id_f"]).tolist()) if "id_f" in file.files else None
    if names is None or not all(isinstance(name, str) for name in names):
        raise VerificationError("hold no pseudonyms of the forget rows")
    root = merkle.root([name.encode() for name in names]).hex()
    if root == evidence["data"]["forget_commitment"]:
        findings.add("commitment", "pass", "the scores are of the rows committed to", SCORES)
    elif evidence["request"]["scope"] == "attribute":
        words = "rows whose label is unknown have no scores, so the rows cannot be compared"
        findings.add("commitment", "not-run", words, SCORES)
    else:
        findings.add("commitment", "fail", "the scores are of other rows than the evidence "
                     "commits to", SCORES)  # fmt: skip
