"""What the commands do, apart from printing: read a plan, certify, unlearn, verify."""

from __future__ import annotations

import dataclasses
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from forget_audit import attempts, commission, practice, scoretable
from forget_audit.architectures import safetensors_bytes
from forget_audit.audit import Audit, Display, carry_out
from forget_audit.commission import Commission, make_subject
from forget_audit.digests import canonical_json, case_digest, plain, sha256
from forget_audit.errors import ModelError, PlanError, Problem
from forget_audit.plan import Plan, check_plan, read_tables
from forget_audit.profiles import PROFILES
from forget_audit.references import shadow_members
from forget_audit.reports.release import Released, refuse_foreign
from forget_audit.signing import default_key
from forget_audit.training import fitting_threads
from forget_audit.trust import load as load_trust
from forget_audit.types import Json
from forget_audit.verify import verify_path

STATE = ".forget-audit"


def read(path: Path, method: str | None = None) -> Plan:
    """Read and check a plan; modules beside it can be imported by it.

    Args:
        path: The TOML file.
        method: Takes the place of the method and the unlearned model of the plan.

    Raises:
        PlanError: With every problem found.
    """
    folder = str(path.resolve().parent)
    if folder not in sys.path:
        sys.path.insert(0, folder)
    tables = read_tables(path)
    if method is not None:
        options = tables.get("method", {})
        same = isinstance(options, dict) and options.get("name") == method
        tables["method"] = options if same else {"name": method}
        if isinstance(tables.get("model"), dict):
            tables["model"].pop("unlearned", None)
    return check_plan(tables, path.resolve().parent)


def commissioned(
    plan: Plan, *, device: str = "auto", fresh: bool = False, workers: int = 1
) -> Commission:
    """Return the commission of a plan, with trained models remembered beside the plan."""
    check_device(device)
    cache = plan.folder / STATE / "models"
    return commission.from_plan(plan, cache=cache, fresh=fresh, workers=workers)


def _numbered(plan: Plan, ordered: Commission) -> Commission:
    """Return the commission with the level that this attempt at the request may spend."""
    section, ids = plan.request, ordered.case.forget.ids.tolist()
    request = attempts.request_key(section.reference, plan.data.source, ids)
    asked = {name: table for name, table in plan.as_json().items() if name != "report"}
    asked |= {"files": ordered.about.files, "rows": case_digest(ordered.case)}
    attempt = attempts.count(plan.folder / STATE, request, sha256(canonical_json(plain(asked))))
    profile = PROFILES[plan.battery.profile].at_attempt(attempt)
    return dataclasses.replace(ordered, attempt=attempt, profile=profile)


def check_device(device: str) -> None:
    """Refuse devices that this version does not train on.

    Raises:
        PlanError: For anything but `auto` and `cpu`.
    """
    if device not in ("auto", "cpu"):
        message = f"this version trains on the cpu; expected auto or cpu, found {device!r}"
        raise PlanError([Problem("--device", message)])


@dataclass(frozen=True, kw_only=True, eq=False)
class Done:
    """A finished and released audit.

    Args:
        audit: The audit.
        released: The files.
        folder: Where they are.
        report_s: Seconds for rendering and signing.
    """

    audit: Audit
    released: Released
    folder: Path
    report_s: float

    def timings(self) -> dict[str, float]:
        """Return seconds by stage."""
        return {**self.audit.evidence["timings"], "report": self.report_s}

    def as_json(self) -> Json:
        """Return what a program may want to know."""
        return {
            "verdict": self.audit.evidence["verdict"],
            "directory": str(self.folder),
            "files": [str(path) for path in self.released.paths],
            "pdf_missing": self.released.pdf_missing,
            "timings": self.timings(),
        }

    def _again(self) -> list[str]:
        """Say what trying again has cost."""
        attempt, level = self.audit.evidence["battery"]["attempt"], self.audit.weighed.profile.alpha
        return [] if attempt == 1 else [f"attempt {attempt} at this request: level {level:g}"]

    def lines(self) -> list[str]:
        """Return what a person wants to know."""
        verdict = self.audit.verdict
        reasons = f" ({', '.join(verdict.reasons)})" if verdict.reasons else ""
        main = next(s for s in self.audit.weighed.statistics if s.name == "rho_p")
        low, high = (100 * end for end in main.interval)
        lines = [
            f"{verdict.outcome}{reasons}",
            f"residual influence {100 * main.difference:.1f} % "
            f"(90 % interval {low:.1f} to {high:.1f} %, margin {100 * (main.margin or 0):.0f} %), "
            f"exact p-value of no difference {verdict.p_value:.3f}",
            *self._again(),
            *(str(path) for path in self.released.paths if path.suffix in (".html", ".pdf")),
        ]
        if self.released.pdf_missing:
            lines.append(f"no PDF: {self.released.pdf_missing}")
        stages = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in self.timings().items())
        return [*lines, stages]


def certify(
    plan: Plan,
    folder: Path,
    progress: Display,
    *,
    device: str = "auto",
    fresh: bool = False,
    workers: int = 1,
    ask: Callable[[], str] | None = None,
) -> Done:
    """Carry out the audit of a plan and release its report in `folder`.

    Args:
        plan: The plan.
        folder: Created if needed; an earlier release in it is replaced.
        progress: Shows how far it is.
        device: `auto` or `cpu`.
        fresh: Whether to train again what is remembered.
        workers: Processes for training functions of the user's own.
        ask: Called for the passphrase of the signing key, before anything is trained.
    """
    refuse_foreign(folder)
    key = default_key(ask)
    ordered = commissioned(plan, device=device, fresh=fresh, workers=workers)
    ordered = _numbered(plan, ordered)
    audit = carry_out(ordered, progress)
    _keep_secret(plan.folder / STATE / "secrets", audit)
    with progress.stage("report", 1):
        start = time.perf_counter()
        released = audit.report(folder, key=key, formats=plan.report.formats)
        seconds = time.perf_counter() - start
    return Done(audit=audit, released=released, folder=folder, report_s=seconds)


def _keep_secret(folder: Path, audit: Audit) -> None:
    """Keep the secret of the pseudonyms apart from the report, for its owner alone."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    path = folder / f"{audit.evidence['report']['id']}.key"
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(audit.secret)


def unlearn(plan: Plan, out: Path, progress: Display, *, device: str = "auto") -> Json:
    """Apply the method of the plan; write the model to `out` and the record beside it.

    Raises:
        ModelError: If `out` does not end in `.safetensors`.
    """
    if out.suffix != ".safetensors":
        raise ModelError(f"models are written as .safetensors, found {out.name}")
    ordered = commissioned(plan, device=device)
    with progress.stage("unlearning", 2) as step, fitting_threads(ordered.template()):
        subject = make_subject(ordered, ordered.workshop(), step)
    made = subject.unlearned
    if made is None or ordered.method is None:
        raise ModelError("the plan hands in an unlearned model; there is nothing to do")
    weights = safetensors_bytes(subject.models[0])
    record = {
        "method": ordered.method.info.name,
        "parameters": vars(ordered.method),
        "report": made.report,
        "sha256": sha256(weights),
        "original_sha256": sha256(safetensors_bytes(subject.parents[0])),
        "plan_sha256": sha256(canonical_json(plan.as_json())),
    }
    beside = out.with_suffix(".json")
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_bytes(weights)
    beside.write_text(json.dumps(plain(record), indent=2) + "\n", encoding="utf-8")
    return {**plain(record), "model": str(out), "record": str(beside)}


def forecast(plan: Plan, *, device: str = "auto") -> Json:
    """Say what an audit would train, what is remembered, and what it cannot show; train nothing."""
    ordered = commissioned(plan, device=device)
    case, counts, workshop = ordered.case, ordered.counts, ordered.workshop()
    halves = shadow_members(len(case.auxiliary), counts.shadows, ordered.seed)
    retain, whole = np.arange(len(case.retain)), np.arange(len(case.training))
    groups = {
        "retrained": (case.retain, [retain] * counts.retrained),
        "identity": (case.retain, [retain] * counts.identity),
        "originals": (case.training, [whole] * counts.originals),
        "shadows": (case.auxiliary, [np.flatnonzero(half) for half in halves]),
    }
    if not ordered.unlearned and ordered.original is None:
        groups["parents"] = (case.training, [whole] * counts.copies)
    if counts.candidate_shadows and ordered.method and case.scope == "instance":
        rows = practice.choose_candidates(case, ordered.seed)
        roles = practice.deal_candidates(len(rows), counts.candidate_shadows, ordered.seed)
        groups[practice.GROUP] = practice.trained_rows(case, rows, *roles)
    trainings = {
        name: {"models": len(subsets), "remembered": workshop.remembered(name, rows, subsets)}
        for name, (rows, subsets) in groups.items()
    }
    profile = PROFILES[plan.battery.profile]
    grouped = case.scope != "instance"
    floor = profile.test_class if grouped else max(len(case.forget), profile.test)
    notes = []
    if len(case.forget) < profile.forget:
        notes.append(f"{len(case.forget)} forget rows are below {profile.forget}: it cannot PASS")
    if len(case.test) < floor:
        notes.append(f"{len(case.test)} control rows are below {floor}: it cannot PASS")
    if counts.retrained < profile.references:
        notes.append(f"{counts.retrained} references are below {profile.references}: no exact test")
    if grouped and ordered.access != "weights":
        notes.append(
            "requests for a class or label cannot PASS on answers alone; access must be weights"
        )
    return {
        "stages": ["train references", "unlearn", "attack", "weigh", "report and sign"],
        "rows": {role: len(rows) for role, rows in case.roles().items()},
        "trainings": trainings,
        "notes": notes,
    }


def forecast_lines(forecast: Json) -> list[str]:
    """Return a forecast for people."""
    rows = ", ".join(f"{count} {role}" for role, count in forecast["rows"].items())
    lines = [f"stages: {', '.join(forecast['stages'])}", f"rows: {rows}"]
    for name, group in forecast["trainings"].items():
        lines.append(f"{name}: {group['models']} trainings, {group['remembered']} remembered")
    return [*lines, *forecast["notes"]]


def verify_paths(paths: Sequence[Path], trust: Path | None) -> tuple[int, list[dict[str, Any]]]:
    """Verify every path; return the worst exit code and the findings."""
    words = {
        0: "valid and signed by a trusted key",
        1: "INVALID",
        3: "valid, but the signer is not in the trust file",
        4: "expired or revoked",
    }
    trusted = load_trust(trust)
    order = (0, 3, 4, 1)
    worst, findings = 0, []
    for path in paths:
        result = verify_path(path, trusted, scoretable.recompute)
        worst = max(worst, result.exit_code, key=order.index)
        summary = words[result.exit_code]
        findings.append({"path": str(path), "summary": summary, **result.as_json()})
    return worst, findings
