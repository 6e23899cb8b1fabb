"""Verdicts on models whose true state is known, counted, with exact intervals."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from joblib import Parallel, delayed

from forget_audit import stats
from forget_audit.audits.calibration import RETRAINED, Size, Trial, calibrate
from forget_audit.audits.commission import from_plan
from forget_audit.plans.plan import check_plan
from forget_audit.types import Json
from forget_audit.workers import overseen, served

OUTCOMES = ("PASS", "FAIL", "INCONCLUSIVE")
QUANTILES = {"5": 0.05, "50": 0.5, "95": 0.95}


def measure(
    tables: Mapping[str, Mapping[str, object]],
    folder: Path,
    seeds: Sequence[int],
    size: Size,
    *,
    workers: int = 1,
    progress: Callable[[int], None] = lambda _: None,
) -> list[Trial]:
    """Measure the verdict on one plan under several root seeds, one process a seed.

    Args:
        tables: Of the plan, as read from TOML; the seed is replaced.
        folder: Where its relative paths start.
        seeds: Root seeds; each deals the rows and draws the request anew.
        size: How much is measured for each.
        workers: Processes.
        progress: Called with 1 after each seed.
    """
    trials: list[Trial] = []
    calls = (delayed(served(_one_seed))(tables, folder, seed, size) for seed in seeds)
    with overseen():
        for found in Parallel(n_jobs=workers, return_as="generator")(calls):
            trials += found
            progress(1)
    return trials


def _one_seed(
    tables: Mapping[str, Mapping[str, object]], folder: Path, seed: int, size: Size
) -> list[Trial]:
    seeded = {**tables, "references": {**tables.get("references", {}), "seed": seed}}
    commission = from_plan(check_plan(seeded, folder))
    return calibrate(commission, size)


def tally(trials: Sequence[Trial]) -> list[Json]:
    """Count verdicts by kind and access, in the order in which they first occur."""
    groups: dict[tuple[str, str], list[Trial]] = {}
    for trial in trials:
        groups.setdefault((trial.kind, trial.access), []).append(trial)
    return [_row(kind, access, group) for (kind, access), group in groups.items()]


def pooled_bad(rows: Sequence[Json]) -> Json:
    """Return the counts of all bad unlearners together."""
    bad = [row for row in rows if row["kind"] != RETRAINED and "left in" not in row["kind"]]
    counts = {name: sum(row["counts"][name] for row in bad) for name in OUTCOMES}
    return {"kind": "all bad unlearners", **_rates(counts)}


def _row(kind: str, access: str, trials: Sequence[Trial]) -> Json:
    counts = {name: sum(t.outcome == name for t in trials) for name in OUTCOMES}
    reasons = Counter(code for t in trials for code in t.reasons)
    return {
        "kind": kind,
        "access": access,
        **_rates(counts),
        "reasons": dict(reasons.most_common()),
        "difference": _spread([t.difference for t in trials]),
        "attained_bound": _spread([t.attained_bound for t in trials]),
        "expected_pass": float(np.mean([t.expected for t in trials])),
        "p_values": dict(sorted(Counter(f"{t.p_value:.4f}" for t in trials).items())),
    }


def _rates(counts: Mapping[str, int]) -> Json:
    n = sum(counts.values())
    intervals = {name: list(stats.binomial_interval(k, max(n, 1))) for name, k in counts.items()}
    return {"n": n, "counts": dict(counts), "intervals": intervals}


def _spread(values: Sequence[float]) -> Json:
    quantiles = np.quantile(values, list(QUANTILES.values())).tolist()
    return {
        "mean": float(np.mean(values)),
        "quantiles": dict(zip(QUANTILES, quantiles, strict=True)),
    }


def markdown(rows: Sequence[Json]) -> str:
    """Return the counts as a table."""
    head = ("Audited model", "Access", "n", "PASS", "FAIL", "INCONCLUSIVE", "PASS, exact 95 %",
            "FAIL, exact 95 %", "Influence left, 5 / 50 / 95 %")  # fmt: skip
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    for row in rows:
        shares = row["difference"]["quantiles"].values()
        cells = [
            row["kind"],
            "answers" if row["access"] == "score" else "weights",
            str(row["n"]),
            *(str(row["counts"][name]) for name in OUTCOMES),
            *(_interval(row, name) for name in ("PASS", "FAIL")),
            " / ".join(f"{100 * share:.0f}" for share in shares),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _interval(row: Json, name: str) -> str:
    low, high = row["intervals"][name]
    return f"{low:.3f} to {high:.3f}"
