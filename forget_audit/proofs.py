"""A proof that one record is in the forget set of a report, which shows no other record.

The report commits to the root of a Merkle tree (RFC 6962) over the sorted pseudonyms. A proof
holds the key of one pseudonym and its path to the root: whoever knows the record's id computes
the pseudonym from both and follows the path. The key is made from the secret of the audit and
betrays neither it nor any other pseudonym, so no proof can be made after a purge.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import Field, ValidationError

from forget_audit.audits.reissue import Run
from forget_audit.digests import pseudonym, pseudonym_key
from forget_audit.errors import VerificationError
from forget_audit.ledger import merkle
from forget_audit.plans.sections import REPORT_ID, Section
from forget_audit.reports import reading
from forget_audit.reports.attestation import AUDIT_TYPE, open_self_signed
from forget_audit.reports.folders import AUDIT, SCORES
from forget_audit.rows import is_text
from forget_audit.verdict.scoretable import from_bytes
from forget_audit.whole_files import write_output

Hash = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Proof(Section):
    """That one record is in the forget set of a report.

    `commitment` is the root as the report states it, `key` that of the record's pseudonym,
    `index` its place among the sorted ones, `size` their number, `path` the hashes to the root.
    Only membership is proven: the report commits to the root and not to the number of leaves.
    """

    report: Annotated[str, Field(pattern=REPORT_ID)]
    commitment: Hash
    key: Hash
    index: Annotated[int, Field(ge=0)]
    size: Annotated[int, Field(gt=0)]
    path: Annotated[list[Hash], Field(max_length=64)]


def prove(run: Run, record: str, secret: bytes) -> Proof:
    """Return the proof that `record` is in the forget set of a run.

    Args:
        run: With its scores.
        record: Id as in the data.
        secret: Of the pseudonyms of this run.

    Raises:
        VerificationError: If it is not in the forget set, or the scores were purged.
    """
    if SCORES not in run.files:
        raise VerificationError("the scores of this run were purged: no proof can be made")
    scores = from_bytes(reading.read(run.folder / SCORES))
    listed = scores.get("id_f", np.zeros(0))
    if listed.ndim != 1 or listed.dtype.kind != "U" or not is_text(listed):
        raise VerificationError("the scores hold no pseudonyms of the forget rows")
    names = sorted(listed.tolist())
    key = pseudonym_key(record, secret)
    name = pseudonym(record, key)
    if name not in names:
        raise VerificationError("this record is not in the forget set of the report")
    index = names.index(name)
    hashes = [merkle.leaf_hash(text.encode()) for text in names]
    return Proof(
        report=run.identifier,
        commitment=run.evidence["data"]["forget_commitment"],
        key=key.hex(),
        index=index,
        size=len(names),
        path=[item.hex() for item in merkle.inclusion_path(hashes, index)],
    )


def write(path: Path, proof: Proof) -> None:
    """Write a proof as JSON."""
    write_output(path, proof.model_dump_json(indent=2) + "\n")


def read(path: Path) -> Proof:
    """Read a proof.

    Raises:
        VerificationError: If it is not one.
    """
    try:
        return Proof.model_validate_json(reading.read(path))
    except (OSError, ValidationError) as error:
        raise VerificationError(f"{path}: not a proof ({error})") from error


def check(proof: Proof, record: str, source: Path) -> tuple[bool, str]:
    """Say whether a proof holds for a record, with the reason.

    Whoever signed the report is another question: `forget-audit verify` answers it.

    Args:
        proof: As read.
        record: Id as in the data.
        source: Folder of the audit, or its `audit.dsse.json`.

    Raises:
        VerificationError: If the statement of the audit is missing or not intact.
    """
    path = source / AUDIT if source.is_dir() else source
    try:
        content = reading.read(path)
    except OSError as error:
        raise VerificationError(f"{path}: the statement of the audit cannot be read") from error
    opened = open_self_signed(content)
    predicate = opened.statement["predicate"]
    if opened.kind != AUDIT_TYPE:
        raise VerificationError(f"{path}: expected the statement of an audit")
    stated = predicate["references"]["forgetSet"]["commitment"]
    if (proof.report, proof.commitment) != (predicate["reportId"], stated):
        return False, f"the proof is for another report than {predicate['reportId']}"
    leaf = merkle.leaf_hash(pseudonym(record, bytes.fromhex(proof.key)).encode())
    path_hashes = [bytes.fromhex(item) for item in proof.path]
    root = bytes.fromhex(stated)
    if not merkle.verify_inclusion(leaf, proof.index, proof.size, path_hashes, root):
        return False, "the proof does not hold for this record"
    return True, f"the record is in the forget set of {proof.report}"
