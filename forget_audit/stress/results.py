"""What was found on all seeds as one document: means, intervals over seeds, pairs, no ids.

A comparison with the random set is made within each seed and its differences are averaged, so
that what split and models have in common cancels out. Positive is harder in every measure.
"""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import forget_audit
from forget_audit.bench.metrics import LEVEL, interval
from forget_audit.contracts import Method
from forget_audit.digests import canonical_json, plain, sha256
from forget_audit.plans.plan import Plan
from forget_audit.stress.ground import Extent
from forget_audit.stress.judging import FLAGS
from forget_audit.stress.rounds import ERROR, MEASURED, NOT_APPLICABLE, ORIGINAL, SEARCH
from forget_audit.stress.strategies import BASELINE, JUDGES, Strategy
from forget_audit.types import Json
from forget_audit.verdict.profiles import PROFILES

FORMAT = "forget-audit/stress/1"
MEASURES = (
    "influence", "left", "forget_accuracy", "efficacy", "retain_accuracy", "test_accuracy", "tow",
    "mia_auc", "mia_excess",
)  # fmt: skip
HARDER = {"influence": 1, "left": 1, "efficacy": -1, "tow": -1, "mia_excess": 1}
PLACES = 6
CONTROLS = {
    ORIGINAL: "nothing forgotten",
    SEARCH: "the search's own forgetting, on the surrogate",
}


@dataclass(frozen=True, kw_only=True)
class Found:
    """What one seed gave.

    Args:
        sets: One a strategy, in order.
        rows: Units in each role before a set is drawn.
        cpu_seconds: Processor time of this seed.
        folder: Where its finished sets are remembered.
    """

    sets: Sequence[Json]
    rows: Mapping[str, int]
    cpu_seconds: float
    folder: Path | None = None


def document(
    *,
    plan: Plan,
    methods: Mapping[str, Method],
    strategies: Sequence[Strategy],
    extent: Extent,
    rounds: Sequence[Found],
    seconds: float,
) -> Json:
    """Return everything that was found, as `stress.json` holds it."""
    by_name = {
        strategy.name: [found.sets[k] for found in rounds] for k, strategy in enumerate(strategies)
    }
    names = (ORIGINAL, SEARCH, *methods)
    profile = PROFILES[plan.battery.profile]
    tables = {name: table for name, table in plan.as_json().items() if name != "report"}
    found = {
        "schema": FORMAT,
        "tool": {"name": "forget-audit", "version": forget_audit.__version__},
        "plan": {
            "digest": sha256(canonical_json(tables)),
            "source": _kind(plan.data.source),
            "label_noise": plan.data.label_noise,
            "architecture": _kind(plan.model.architecture),
        },
        "settings": {
            "seeds": extent.seeds,
            "first_seed": plan.references.seed,
            "references": extent.references,
            "originals": extent.originals,
            "models_on_halves": 2 * extent.pairs,
            "parts": extent.parts,
            "level": LEVEL,
            "alpha": profile.alpha,
            "margin": profile.margins("instance", 1)["rho_p"],
            "margin_class": profile.margins("class", 1)["rho_p"],
            "judges": list(JUDGES),
        },
        "rows": dict(rounds[0].rows),
        "methods": [
            *(_control(name) for name in CONTROLS),
            *({"name": name, "title": method.info.title, "control": False,
               "settings": vars(method)} for name, method in methods.items()),
        ],
        "sets": [_set(strategy, by_name, names) for strategy in strategies],
        "machine": {
            "system": platform.system(),
            "architecture": platform.machine(),
            "python": platform.python_version(),
            "workers": extent.workers,
        },
        "seconds": {
            "wall": round(seconds, 1),
            "processor": round(sum(found.cpu_seconds for found in rounds), 1),
        },
    }  # fmt: skip
    result: Json = plain(found)
    return result


def _kind(name: str) -> str:
    """Return a registered name or the kind of a source; paths and functions stay here."""
    return name.partition(":")[0]


def _control(name: str) -> Json:
    return {"name": name, "title": CONTROLS[name], "control": True, "settings": {}}


def _set(strategy: Strategy, by_name: Mapping[str, Sequence[Json]], names: Sequence[str]) -> Json:
    """Return what was found of one strategy over all seeds."""
    each, base = by_name[strategy.name], by_name[BASELINE]
    done = [found for found in each if found["status"] == MEASURED]
    reasons = [found["reason"] for found in each if found["reason"]]
    states = [found["status"] for found in each]
    sizes = [found["size"] for found in done]
    about = done[0]["set"] if done else {}
    facts = done[0]["facts"] if done else {}
    return {
        "name": strategy.name,
        "title": strategy.title,
        "description": strategy.description,
        "looks": list(strategy.looks),
        "attack": strategy.attack,
        "part": strategy.part,
        "status": ERROR if ERROR in states else MEASURED if done else NOT_APPLICABLE,
        "reason": reasons[0] if reasons else "",
        "n": len(done),
        "size": {"low": min(sizes), "high": max(sizes)} if done else None,
        "signal": sum(found["set"]["signal"] for found in done),
        "set": {
            name: spread([found["set"][name] for found in done])
            for name in about
            if name != "signal"
        },
        "facts": {name: spread([found["facts"][name] for found in done]) for name in facts},
        "results": [_result(name, each, base) for name in names] if done else [],
        "seconds": round(sum(found["seconds"] for found in each), 1),
    }


def _result(name: str, each: Sequence[Json], base: Sequence[Json]) -> Json:
    """Return what was found of one method on the sets of one strategy."""
    tried = [found["methods"][name] for found in each if name in found.get("methods", {})]
    done = [one for one in tried if one["status"] == MEASURED]
    failed = [one for one in tried if one["status"] != MEASURED]
    status, reason = NOT_APPLICABLE, "needs the same rows in surrogate and set"
    if done or failed:
        first = failed[0] if failed else done[0]
        status, reason = first["status"], first["reason"]
    flags = [one["flag"] for one in done]
    return {
        "method": name,
        "status": status,
        "reason": reason,
        "n": len(done),
        "measures": {
            measure: spread([one["measures"][measure] for one in done]) for measure in MEASURES
        },
        "flags": {flag: flags.count(flag) for flag in FLAGS},
        "harder": {measure: _harder(name, measure, each, base) for measure in HARDER},
        "seconds": round(sum(one["seconds"] for one in done) / len(done), 3) if done else None,
    }


def _harder(name: str, measure: str, each: Sequence[Json], base: Sequence[Json]) -> Json | None:
    """Compare with the random set of the same seed; positive is harder."""
    pairs = [(_value(one, name, measure), _value(two, name, measure))
             for one, two in zip(each, base, strict=True)]  # fmt: skip
    gaps = [HARDER[measure] * (one - two) for one, two in pairs if None not in (one, two)]
    found = spread(gaps)
    if found is None or each is base:
        return None
    low, high = found["low"], found["high"]
    call = "one seed"
    if low is not None:
        call = "harder" if low > 0 else "easier" if high < 0 else "not told apart"
    return {"mean": found["mean"], "low": low, "high": high, "call": call}


def _value(found: Json, name: str, measure: str) -> Any:
    one = found.get("methods", {}).get(name, {})
    return one.get("measures", {}).get(measure)


def spread(values: Sequence[float | None]) -> Json | None:
    """Return mean, t-interval over seeds and values; nothing if there are none."""
    known = [round(float(value), PLACES) for value in values if value is not None]
    if not known:
        return None
    low, high = interval(known) or (None, None)
    return {
        "mean": round(sum(known) / len(known), PLACES),
        "low": None if low is None else round(low, PLACES),
        "high": None if high is None else round(high, PLACES),
        "values": known,
    }
