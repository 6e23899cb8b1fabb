"""What the evidence says in words: parties, lineage, what is kept, limits, and the plan."""

from __future__ import annotations

import copy
import dataclasses
import re
from datetime import datetime
from pathlib import PurePath
from typing import Any

from forget_audit.audits.commission import About, Commission
from forget_audit.contracts import Method
from forget_audit.digests import plain
from forget_audit.reports.attestation import AUDIT_TYPE
from forget_audit.training.own_functions import CallTrainer, FunctionTrainer
from forget_audit.types import SMALL_REQUEST, Json

BAND = f"fewer than {SMALL_REQUEST}"


def report_block(about: About, identifier: str, issued: datetime) -> Json:
    """Return who answers for the report and who may read it.

    Args:
        about: As declared in the plan.
        identifier: Of the report.
        issued: Moment in UTC.
    """
    declared = about.report
    return {
        "id": identifier,
        "issued": issued.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "status": "draft",
        "classification": declared.classification,
        "distribution": declared.distribution,
        "controller": declared.controller,
        "contact": declared.contact,
        "authority": declared.authority,
        "decision": declared.decision,
        "retain_until": _day(declared.retain_until),
        "supersedes": declared.supersedes,
        "change": declared.change,
        "language": declared.language,
        "key": "unattended",
        "predicate_type": AUDIT_TYPE,
    }


def declared_parts(about: About) -> Json:
    """Return parties, lineage and recipients as the plan declares them; nothing is observed."""
    document = about.report.model_dump(mode="json")
    return {
        "parties": {name: document[name] for name in ("processor", "auditor", "reviewer")},
        "lineage": document["lineage"],
        "recipients": document["recipients"],
    }


def published_plan(commission: Commission) -> Json:
    """Return the plan as it may be published: file names without folders, small sizes as a band.

    A list of ids is not even named: its name may be somebody's.
    """
    document: Json = plain(copy.deepcopy(dict(commission.about.plan)))
    document.pop("report", None)
    request, model = document.get("request", {}), document.get("model", {})
    if request.get("forget"):
        request["forget"] = "a list of ids"
    if request.get("random") and small(commission):
        request["random"] = BAND
    for kind in ("original", "unlearned"):
        if model.get(kind):
            model[kind] = PurePath(model[kind]).name
    if model.get("architecture"):
        model["architecture"] = published_source(model["architecture"])
    if "data" in document:
        document["data"]["source"] = published_source(document["data"]["source"])
    return document


def parameters(method: Method) -> dict[str, Any]:
    """Return the settings of a method by name."""
    return {f.name: getattr(method, f.name) for f in dataclasses.fields(method)}  # type: ignore[arg-type]


def published_source(source: str) -> str:
    """Return the name of a data source or architecture, without the folder of a file."""
    kind, separator, path = source.partition(":")
    named = separator and re.fullmatch(r"[a-z0-9_.]+", kind)
    return f"{kind}:{PurePath(path).name}" if named else source


def small(commission: Commission) -> bool:
    """Say whether so few records or people are to be forgotten that sizes point at somebody."""
    return commission.case.forget.numbered()[0] < SMALL_REQUEST


def retention(commission: Commission) -> list[dict[str, str]]:
    """Return what the audit itself holds of the rows to be forgotten."""
    cached = commission.cache is not None
    until = "until `forget-audit purge`, or with the cache"
    trained = [
        {
            "what": "original and shadow models that were trained on the rows",
            "where": "cache of the audit" if cached else "not kept",
            "until": until if cached else "end of the run",
            "fate": "needed only to repeat the audit without training again",
        }
    ]
    given = [
        {
            "what": "the file of predictions, with ids of the rows",
            "where": "where it was handed in from",
            "until": "deleted by whoever wrote it",
            "fate": "needed only to repeat the audit",
        }
    ]
    return [
        *(given if commission.about.answers else trained),
        {
            "what": "scores by row under pseudonyms",
            "where": "scores.npz beside the report",
            "until": "until `forget-audit purge`, or with the report",
            "fate": "needed to compute the verdict again; not for hands that need not do that",
        },
        {
            "what": "secret of the pseudonyms",
            "where": "kept apart from the report" if cached else "not kept",
            "until": until if cached else "end of the run",
            "fate": "without it the pseudonyms cannot be linked to people, nor proofs be made",
        },
    ]


def limits(commission: Commission) -> list[dict[str, str]]:
    """Return what the verdict does not cover, with codes for programs."""
    found = {
        "NOT_PROOF": "The audit bounds measurable influence. It cannot prove that nothing is left.",
        "THIS_MODEL": "It speaks of the audited file alone. Copies, checkpoints, caches, backups "
        "and models derived from it are not covered.",
        "LISTED_ATTACKS": "Other attacks, or other access to the model, may find more.",
        "COPIED_ANSWERS": "A provider who answers for the forgotten rows with the output of a "
        "retrained model cannot be caught from answers alone.",
        "TRUSTED_DATA": "Rows, labels and recipe are taken as handed in. If forgotten rows have "
        "near-duplicates among the retained ones, a retrained model remembers those.",
        "SMALL_SHARE": "A leftover smaller than the margin passes; which rows it sits on matters.",
        "DECLARED": "Parties, dates, derived artefacts and recipients are declared by the "
        "controller and were not checked by the audit.",
    }
    if isinstance(commission.case.trainer, (CallTrainer, FunctionTrainer)):
        found["OWN_RECIPE"] = (
            "The models for comparison were trained by a function that was handed in. What it did "
            "with the rows was not observed."
        )
    if commission.about.answers:
        found["HANDED_ANSWERS"] = (
            "All models, those for comparison too, are known by answers that were handed in. "
            "Whether they were trained as stated, and whether the answers are those of the model "
            "named here, was not checked."
        )
    if commission.about.label_noise:
        share = f"{100 * commission.about.label_noise:g} %"
        found["LABEL_NOISE"] = f"{share} of the labels were drawn at random on purpose."
    found |= commission.about.remarks
    return [{"code": code, "text": text} for code, text in found.items()]


def _day(day: object) -> str | None:
    return None if day is None else str(day)
