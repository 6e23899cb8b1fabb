"""Compiles the evidence: every fact and number of an audit as plain JSON, ready to be signed."""

from __future__ import annotations

import dataclasses
import inspect
import platform
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import nn

import forget_audit
from forget_audit import registry
from forget_audit.audits import declarations
from forget_audit.audits.commission import About, Commission
from forget_audit.audits.judging import Judged
from forget_audit.audits.subject import Subject
from forget_audit.audits.unfinished import Identity
from forget_audit.digests import (
    canonical_json,
    case_digest,
    plain,
    pseudonyms,
    sha256,
    sources_digest,
)
from forget_audit.findings import AttackResult
from forget_audit.foreign.answering import AnswersOnly
from forget_audit.ledger import merkle
from forget_audit.model_files import safetensors_bytes
from forget_audit.pools import Pool
from forget_audit.targets import Target, weights_digest
from forget_audit.training.own_functions import CallTrainer
from forget_audit.training.references import References
from forget_audit.training.trainers import RecipeTrainer
from forget_audit.types import SMALL_REQUEST, Case, Json, Trainer
from forget_audit.verdict.scoretable import from_bytes, weighed_json
from forget_audit.verdict.summaries import summaries

CARD_KEYS = (
    "title",
    "card",
    "paper",
    "question",
    "perfect",
    "headline",
    "access",
    "statistics",
)
SCHEMA = "forget-audit/evidence/1"
COMPARED = "rows of equal content stand in one role only; near-duplicates were not looked for"
UNSEEN = "rows were not seen, so neither equal ones nor near-duplicates were looked for"
HANDED_IN = "answers that were handed in, those of the retrained models too"
LIBRARIES = ("numpy", "scipy", "statsmodels", "scikit-learn", "xgboost", "torch", "safetensors")


def pool_of(references: References, parents: Sequence[nn.Module], twin: nn.Module | None) -> Pool:
    """Return the pool for attacks, with the parent of the first audited model."""
    return dataclasses.replace(
        references.pool,
        parent=Target(parents[0]) if parents else None,
        twin=Target(twin) if twin is not None else None,
    )


def compile_evidence(
    commission: Commission,
    subject: Subject,
    references: References,
    judged: Judged,
    attacks: Sequence[AttackResult],
    *,
    identity: Identity,
    timings: Mapping[str, float],
) -> Json:
    """Return the evidence of a finished audit as plain JSON."""
    case, about, secret = commission.case, commission.about, identity.secret
    weighed, scores = judged.weighed, judged.scores
    plan = declarations.published_plan(commission)
    issued = datetime.now(UTC)
    mark = sha256(secret + scores)[:6].upper()
    evidence = {
        "schema": SCHEMA,
        "report": declarations.report_block(about, f"FA-{identity.day:%Y%m%d}-{mark}", issued),
        "tool": {
            "name": "forget-audit",
            "version": forget_audit.__version__,
            "source_digest": sources_digest(Path(forget_audit.__file__).parent),
        },
        "plan": plan,
        "request": {
            "reference": about.reference,
            "received": about.received,
            "due": about.due,
            "erased": about.erased,
            "scope": case.scope,
            "classes": case.classes,
            "attribute": about.attribute,
            "basis": about.basis,
        },
        "data": _data(case, about, secret),
        "model": _model(commission, subject),
        "method": _method(commission, subject),
        "training": about.answers or _training(case.trainer),
        **declarations.declared_parts(about),
        "counts": _counts(commission, len(references.pool.retrained), len(subject.models)),
        "battery": _battery(commission, len(subject.models), judged),
        **weighed_json(weighed),
        **summaries(from_bytes(scores)),
        "attacks": [_attack(result) for result in attacks],
        **({"stress": about.stress} if about.stress is not None else {}),
        "seeds": {
            "root": commission.seed,
            "commitment": sha256(canonical_json([str(commission.seed), plan])),
            **({"begun": about.begun} if about.begun is not None else {}),
        },
        "digests": {
            "scores": sha256(scores),
            "plan": sha256(canonical_json(plan)),
            "case": case_digest(case),
        },
        "environment": _environment(commission.device),
        "timings": dict(timings),
        "duration_s": timings["total"],
        "retention": declarations.retention(commission),
        "limits": declarations.limits(commission),
        "command": "forget-audit certify PLAN.toml",
    }
    result: Json = plain(evidence)
    return result


def _data(case: Case, about: About, secret: bytes) -> dict[str, Any]:
    leaves = sorted(pseudonyms(case.forget.ids, secret).tolist())
    return {
        "source": declarations.published_source(case.name),
        "title": declarations.published_source(about.title),
        "digest": case_digest(case),
        "forget_commitment": merkle.root([leaf.encode() for leaf in leaves]).hex(),
        "n_classes": case.n_classes,
        "labels": "several a row" if case.multi_label else "one class a row",
        "shape": case.retain.x.shape[1:],
        "label_noise": about.label_noise,
        "duplicates_dropped": about.duplicates_dropped,
        "duplicates": UNSEEN if about.answers else COMPARED,
    }


def _model(commission: Commission, subject: Subject) -> dict[str, Any]:
    files = commission.about.files

    def entries(kind: str, models: Sequence[nn.Module], default: str) -> list[dict[str, str]]:
        handed = files.get(kind, ())
        rows = []
        for k, model in enumerate(models):
            stem = default if len(models) == 1 else f"{default}-{k + 1}"
            name, digest = f"{stem}.safetensors", sha256(safetensors_bytes(model))
            made_by = "the audit"
            if k < len(handed):
                (name, digest), made_by = handed[k], "handed in"
            elif getattr(commission, kind):
                made_by = "handed in"
            rows.append(
                {
                    "name": name,
                    "sha256": digest,
                    "weights_sha256": weights_digest(model),
                    "made_by": made_by,
                }
            )
        return rows

    parents = entries("original", subject.parents, "original")
    return {
        "architecture": declarations.published_source(commission.about.architecture),
        "parameters": _parameters(subject.models[0]),
        "audited": entries("unlearned", subject.models, "unlearned"),
        "original": parents[0] if parents else None,
    }


def _parameters(model: nn.Module) -> int | None:
    """Return the number of parameters; models of other libraries do not say."""
    if isinstance(model, AnswersOnly):
        return None
    return sum(p.numel() for p in model.parameters())


def _method(commission: Commission, subject: Subject) -> dict[str, Any] | None:
    method = commission.method
    if method is None or subject.unlearned is None:
        return None
    info = method.info
    report = dataclasses.asdict(subject.unlearned.report)
    if declarations.small(commission):
        report |= {"rows_touched": None, "notes": []}
    return {
        "name": info.name,
        "title": info.title,
        "paper": info.paper,
        "guarantee": info.guarantee,
        "assumptions": info.assumptions,
        "reconstructed": info.reconstructed,
        "adapted": commission.case.scope in info.adapted,
        "summary": info.summary,
        "parameters": declarations.parameters(method),
        "report": report,
    }


def _training(trainer: Trainer | None) -> dict[str, Any]:
    if isinstance(trainer, RecipeTrainer):
        return {**dataclasses.asdict(trainer.recipe), "precision": trainer.precision}
    called = trainer.function if isinstance(trainer, CallTrainer) else trainer
    kind = called if inspect.isroutine(called) else type(called)
    settings = getattr(trainer, "__dataclass_fields__", ())
    return {
        "function": f"{kind.__module__}:{kind.__qualname__}",
        **{name: str(getattr(trainer, name)) for name in settings},
    }


def _counts(commission: Commission, retrained: int, copies: int) -> dict[str, Any]:
    """Return all sizes; those that would tell how many people a small request is about, roughly."""
    case = commission.case
    roles: dict[str, Any] = {role: len(rows) for role, rows in case.roles().items()}
    if declarations.small(commission):
        coarse = SMALL_REQUEST * (len(case.retain) // SMALL_REQUEST)
        roles |= {"forget": None, "forget_band": declarations.BAND, "retain": coarse}
    return {
        **{"others": 0, **roles},
        **_people(commission, case),
        "retrained": retrained,
        "originals": commission.counts.originals,
        "identity": commission.counts.identity,
        "shadows": commission.counts.shadows,
        "copies": copies,
    }


def _people(commission: Commission, case: Case) -> dict[str, Any]:
    """Return how many people are behind the rows, if rows have people behind them."""
    if case.forget.units is None:
        return {}
    people: dict[str, Any] = {role: rows.numbered()[0] for role, rows in case.roles().items()}
    if declarations.small(commission):
        coarse = SMALL_REQUEST * (people["retain"] // SMALL_REQUEST)
        people |= {"forget": None, "retain": coarse}
    return {"people": people}


def _battery(commission: Commission, copies: int, judged: Judged) -> dict[str, Any]:
    profile = judged.weighed.profile
    primary = list(judged.weighed.control.signals)
    inside = commission.access == "weights" and commission.case.scope != "instance"
    looked = "answers and weights" if inside else "black-box answers"
    return {
        "profile": profile.name,
        "profile_digest": profile.digest(),
        "settings": dataclasses.asdict(profile),
        "claim": _claim(commission, copies),
        "attempt": commission.attempt,
        "access": HANDED_IN if commission.about.answers else f"{looked} with the training recipe",
        "required": primary,
        **({"sequential": judged.sequential} if judged.sequential else {}),
    }


def _claim(commission: Commission, copies: int) -> str:
    claim = "algorithm" if copies >= commission.profile.copies else "artifact"
    return f"{claim} and canary" if commission.canary else claim


def _attack(result: AttackResult) -> dict[str, Any]:
    info = registry.cards()[result.name]
    card = {key: getattr(info, key) for key in CARD_KEYS}
    return {**card, **{f.name: getattr(result, f.name) for f in dataclasses.fields(result)}}


def _environment(device: str) -> dict[str, Any]:
    return {
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "device": device,
        "threads": torch.get_num_threads(),
        "libraries": dict(_versions()),
    }


@cache
def _versions() -> tuple[tuple[str, str], ...]:
    """Return name and version of each library; they stay what they are while a process runs."""
    return tuple((name, version(name)) for name in LIBRARIES)
