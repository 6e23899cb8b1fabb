"""What an audit would do and cannot show, said before anything is trained."""

from __future__ import annotations

import numpy as np

from forget_audit.audits.commission import Commission
from forget_audit.plans.plan import Plan
from forget_audit.training import practice
from forget_audit.training.references import shadow_members
from forget_audit.types import Json
from forget_audit.verdict.profiles import PROFILES


def forecast(plan: Plan, ordered: Commission) -> Json:
    """Return what an audit would train, what is remembered, and what it cannot show.

    Args:
        plan: The plan.
        ordered: Its commission; nothing of it is trained.
    """
    handed_in = plan.predictions is not None
    made = ["read predictions"] if handed_in else ["train references", "unlearn"]
    counts = ordered.counts
    found: Json = {
        "stages": [*made, "attack", "weigh", "report and sign"],
        "rows": {role: len(rows) for role, rows in ordered.case.roles().items()},
        "trainings": {} if handed_in else _trainings(ordered),
        "notes": _obstacles(plan, ordered),
    }
    if handed_in:
        groups = {"audited": counts.copies, "retrained": counts.retrained}
        groups |= {"originals": counts.originals, "identity": counts.identity}
        found["models"] = groups
        found["notes"] += plan.answers().notes
    return found


def _trainings(ordered: Commission) -> Json:
    """Return how many models of each group are needed and how many are remembered."""
    case, counts, workshop = ordered.case, ordered.counts, ordered.workshop()
    halves = shadow_members(case.auxiliary, counts.shadows, ordered.seed)
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
        roles = practice.deal_candidates(rows, counts.candidate_shadows, ordered.seed)
        groups[practice.GROUP] = practice.trained_rows(case, rows, *roles)
    return {
        name: {"models": len(subsets), "remembered": workshop.remembered(name, rows, subsets)}
        for name, (rows, subsets) in groups.items()
    }


def _obstacles(plan: Plan, ordered: Commission) -> list[str]:
    """Say what alone keeps this request from a PASS."""
    case, counts = ordered.case, ordered.counts
    profile = PROFILES[plan.battery.profile]
    grouped = case.scope != "instance"
    kind = "rows" if case.forget.units is None else "people"
    forget, control = case.forget.numbered()[0], case.test.numbered()[0]
    floor = profile.test_class if grouped else max(forget, profile.test)
    notes = []
    if forget < profile.forget:
        notes.append(f"{forget} forget {kind} are below {profile.forget}: it cannot PASS")
    if control < floor:
        notes.append(f"{control} control {kind} are below {floor}: it cannot PASS")
    if counts.retrained < profile.references:
        notes.append(f"{counts.retrained} references are below {profile.references}: no exact test")
    if ordered.sequential:
        *fewer, most = ordered.looks().sizes
        listed = ", ".join(map(str, fewer))
        notes.append(
            f"{listed} or {most} references, as many as it takes until the verdict is clear"
        )
    if grouped and ordered.access != "weights":
        notes.append(
            "requests for a class or label cannot PASS on answers alone; access must be weights"
        )
    return notes


def lines(forecast: Json) -> list[str]:
    """Return a forecast for people."""
    rows = ", ".join(f"{count} {role}" for role, count in forecast["rows"].items())
    found = [f"stages: {', '.join(forecast['stages'])}", f"rows: {rows}"]
    for name, group in forecast["trainings"].items():
        found.append(f"{name}: {group['models']} trainings, {group['remembered']} remembered")
    if "models" in forecast:
        models = ", ".join(f"{count} {name}" for name, count in forecast["models"].items())
        found.append(f"models handed in: {models}")
    return [*found, *forecast["notes"]]
