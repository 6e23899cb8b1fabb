"""Methods by metrics: every registered method on one request, against retrained models.

Data, request and retrained models are the same for all methods and seeds; each seed is another
original and other randomness of the method. A method that cannot serve the request, or breaks,
keeps its row, with the reason.
"""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import numpy as np
from joblib import Parallel, cpu_count, delayed, parallel_config

import forget_audit
from forget_audit import registry, stats
from forget_audit.bench.columns import METRICS, measurable
from forget_audit.bench.entries import CONTROLS, Entry, entries
from forget_audit.bench.metrics import (
    CHANCE,
    LEVEL,
    Seen,
    call_of_head,
    head_interval,
    interval,
    measure,
)
from forget_audit.bench.requests import DATA_SEED, Asked
from forget_audit.bench.tries import ORIGINALS, ROOT_SEED, Ground, Try, attempt, prepare
from forget_audit.training.trainers import RecipeTrainer
from forget_audit.types import Case, Json, Progress
from forget_audit.workers import overseen, served

FORMAT = "forget-audit-bench/1"


@dataclass(frozen=True, kw_only=True)
class Extent:
    """How much is measured.

    Args:
        methods: Names; all registered ones if none.
        seeds: Originals that each method unlearns.
        references: Retrained models, shared by all.
        workers: Processes; methods run side by side.
    """

    methods: tuple[str, ...] | None = None
    seeds: int = 3
    references: int = 19
    workers: int = 1


def bench(name: str, asked: Asked, extent: Extent, progress: Progress = lambda _: None) -> Json:
    """Measure all methods on one request and return everything that was found.

    Args:
        name: Of the request.
        asked: The request.
        extent: How much.
        progress: Called with 1 after each row and seed.

    Raises:
        UnknownName: If a method does not exist.
    """
    started = time.perf_counter()
    case = asked.case()
    rows = entries(case.scope, extent.methods)
    pairs = [(entry, seed) for entry in rows for seed in range(extent.seeds)]
    tries: dict[str, list[Try]] = {entry.name: [] for entry in rows}
    with overseen(), parallel_config(backend="loky", inner_max_num_threads=1):
        ground = prepare(
            case, references=extent.references, seeds=extent.seeds, workers=extent.workers
        )
        trained = time.perf_counter()
        calls = (delayed(served(attempt))(entry, ground, seed) for entry, seed in pairs)
        found = Parallel(n_jobs=extent.workers, return_as="generator")(calls)
        for (entry, _), one in zip(pairs, found, strict=True):
            tries[entry.name].append(one)
            progress(1)
    known = measurable(case.scope)
    return {
        "format": FORMAT,
        "request": name,
        "title": asked.title,
        "command": command(name, extent),
        "about": _about(asked, case, extent),
        "machine": machine(extent),
        "seconds": {"references": trained - started, "rows": time.perf_counter() - trained},
        "metrics": {
            key: {"title": metric.title, "meaning": metric.meaning} for key, metric in known.items()
        },
        "not_measured": {
            key: {"title": metric.title, "reason": metric.why_not}
            for key, metric in METRICS.items()
            if key not in known
        },
        "retrained": _yardstick(ground),
        "rows": [_row(entry, tries[entry.name], ground) for entry in rows],
    }


def _row(entry: Entry, tries: Sequence[Try], ground: Ground) -> Json:
    done = [one for one in tries if one.values]
    errors = [one.error for one in tries if one.error]
    refusals = [one.refusal for one in tries if one.refusal]
    status = "error" if errors else "measured" if done else "not applicable"
    card = registry.get_method(entry.method).info if entry.method else None
    row: dict[str, Any] = {
        "name": entry.name,
        "kind": entry.kind,
        "method": entry.method,
        "title": card.title if card else entry.name,
        "adapted": bool(card and ground.case.scope in card.adapted),
        "settings": dict(entry.settings),
        "status": status,
        "reason": (errors or refusals or [""])[0],
        "n": len(done),
        "metrics": {
            key: _spread([one.values[key] for one in done if key in one.values])
            for key in measurable(ground.case.scope)
        },
        "notes": list(dict.fromkeys(note for one in done for note in one.notes)),
    }
    if entry.kind == "control":
        control = CONTROLS[entry.name]
        row |= {"expected": control.expected, "shows": list(control.shows)}
    heads = [one.head for one in done if one.head is not None]
    if heads:
        areas = row["metrics"]["head_auc"]["values"]
        row["head"] = {
            "call": call_of_head(areas, heads, _head_areas(ground.references)),
            "over_rows": [list(ends) for ends in heads],
        }
    return row


def _spread(values: Sequence[float]) -> Json | None:
    if not values:
        return None
    low, high = interval(values) or (None, None)
    return {"mean": float(np.mean(values)), "low": low, "high": high, "values": list(values)}


def _yardstick(ground: Ground) -> Json:
    """Measure every retrained model against the others: what is normal."""
    references, scope = ground.references, ground.case.scope
    everyone = range(len(references))
    found = [
        measure(
            references.take([k]),
            references.take([j for j in everyone if j != k]),
            ground.originals,
            scope,
        )
        for k in everyone
    ]
    spreads: dict[str, Json] = {}
    for key in found[0]:
        values = [one[key] for one in found]
        low, high = np.quantile(values, [0.025, 0.975]).tolist()
        spreads[key] = {"mean": float(np.mean(values)), "low": low, "high": high, "values": values}
    summary: dict[str, Any] = {"n": len(references), "metrics": spreads}
    if scope == "attribute":
        ends = [head_interval(references, k) for k in everyone]
        summary["heads_below"] = sum(high < CHANCE for _, high in ends)
        summary["heads_above"] = sum(low > CHANCE for low, _ in ends)
    return summary


def _head_areas(references: Seen) -> list[float]:
    return [stats.auc(holds, lacks) for holds, lacks in references.heads()]


def _about(asked: Asked, case: Case, extent: Extent) -> Json:
    trainer = case.trainer
    assert isinstance(trainer, RecipeTrainer)
    return {
        "source": asked.source,
        "scope": case.scope,
        "label_noise": asked.label_noise,
        "rows": {role: len(rows) for role, rows in case.roles().items()},
        "model": {"name": trainer.architecture.name, **trainer.architecture.options},
        "recipe": dict(vars(trainer.recipe)),
        "seeds": extent.seeds,
        "references": extent.references,
        "originals": ORIGINALS,
        "level": LEVEL,
        "data_seed": DATA_SEED,
        "root_seed": ROOT_SEED,
    }


def command(name: str, extent: Extent) -> str:
    """Return the line that measures this again."""
    chosen = "" if extent.methods is None else f" --methods {','.join(extent.methods)}"
    return (
        f"forget-audit bench --request {name}{chosen} --seeds {extent.seeds} "
        f"--references {extent.references} --workers {extent.workers}"
    )


def machine(extent: Extent) -> Json:
    """Return what the costs were measured on, without naming the machine."""
    return {
        "system": platform.system(),
        "architecture": platform.machine(),
        "cores": os.cpu_count(),
        "usable_cores": cpu_count(),
        "workers": extent.workers,
        "threads_per_worker": 1,
        "python": platform.python_version(),
        "forget_audit": forget_audit.__version__,
        **{package: version(package) for package in ("torch", "numpy", "scikit-learn")},
    }
