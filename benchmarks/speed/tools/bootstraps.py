"""A thousand bootstraps: PrivacyGuard's analysis node and ours, in turns in one process."""

import logging
import math

import numpy as np
import pandas as pd
from privacy_guard.analysis.base_analysis_input import (  # type: ignore[import-not-found]
    BaseAnalysisInput,
)
from privacy_guard.analysis.mia.analysis_node import AnalysisNode  # type: ignore[import-not-found]
from scipy import special

from benchmarks.speed import clock
from benchmarks.speed.clock import Json
from forget_audit import stats
from forget_audit.seeds import derive, generator
from forget_audit.types import Floats

DELTA = 1e-5
RATES = tuple(np.linspace(0.01, 1.0, 100).tolist())  # the node's own
TAILS = (0.025, 0.975)


def drawn(n: int, seed: int) -> tuple[Floats, Floats]:
    """Return scores of members and others, weakly separated, without ties."""
    rng = generator(seed, "scores")
    return rng.normal(0.3, 1.0, n), rng.normal(0.0, 1.0, n)


class Node(AnalysisNode):  # type: ignore[misc]  # the tool has no types
    """The node, which notes how long its draws took without what it computes once."""

    bootstraps = 0.0

    def _make_metrics_array(self) -> list[tuple[float, ...]]:
        start = clock.cpu_seconds()
        made: list[tuple[float, ...]] = super()._make_metrics_array()
        self.bootstraps = clock.cpu_seconds() - start
        return made


def theirs(inside: Floats, outside: Floats, draws: int, seed: int) -> Json:
    """Return times and results of the node, which draws from NumPy's global generator."""
    np.random.seed(derive(seed, "node") % 2**32)  # noqa: NPY002, TID251 the tool's only way
    frames = [pd.DataFrame({"score": part}) for part in (inside, outside)]
    node = Node(
        BaseAnalysisInput(*frames),
        DELTA,
        len(inside),
        num_bootstrap_resampling_times=draws,
        cap_eps=False,
    )
    start = clock.cpu_seconds()
    found = node.run_analysis()
    return {
        "whole": clock.cpu_seconds() - start,
        "bootstraps": node.bootstraps,
        "auc": float(found.auc),
        "auc_low": float(found.auc_ci[0]),
        "auc_high": float(found.auc_ci[1]),
        "accuracy": float(found.accuracy),
        "epsilon_high": float(found.eps_fpr_ub[4]),  # at a false positive rate of 5 %
        "epsilon_low": float(found.eps_fpr_lb[4]),
    }


def ours(inside: Floats, outside: Floats, draws: int, seed: int) -> Json:
    """Return time and results of our bootstrap at the same hundred rates."""
    start = clock.cpu_seconds()
    found = stats.bootstrap(
        inside, outside, draws, generator(seed, "draws"), rates=RATES, delta=DELTA
    )
    low, high = np.quantile(found.auc, TAILS)
    tpr = np.quantile(found.tpr, TAILS, axis=0)
    epsilon = np.nanquantile(found.epsilon_at[:, :-1], TAILS, axis=0)
    spent = clock.cpu_seconds() - start
    return {
        "bootstraps": spent,
        "auc": float(found.auc.mean()),
        "auc_low": float(low),
        "auc_high": float(high),
        "accuracy": float(found.accuracy.mean()),
        "epsilon_low": float(epsilon[0, 4]),
        "epsilon_high": float(epsilon[1, 4]),
        "tpr_low": float(tpr[0, 0]),
        "tpr_high": float(tpr[1, 0]),
        "spread": {
            "auc": float(found.auc.std()),
            "accuracy": float(found.accuracy.std()),
            "epsilon": float(np.nanstd(found.epsilon_at[:, 4])),
        },
    }


def agreement(one: Json, other: Json, draws: int) -> Json:
    """Return how far two bootstraps lie apart, in standard errors of their own randomness."""
    mean = math.sqrt(2 / draws)
    q = TAILS[0]
    density = math.exp(-(float(special.ndtri(q)) ** 2) / 2) / math.sqrt(2 * math.pi)
    end = math.sqrt(2 * q * (1 - q) / draws) / density
    spread = other["spread"]
    return {
        "auc": abs(one["auc"] - other["auc"]) / (mean * spread["auc"]),
        "auc_low": abs(one["auc_low"] - other["auc_low"]) / (end * spread["auc"]),
        "auc_high": abs(one["auc_high"] - other["auc_high"]) / (end * spread["auc"]),
        "accuracy": abs(one["accuracy"] - other["accuracy"]) / (mean * spread["accuracy"]),
        "epsilon_low": abs(one["epsilon_low"] - other["epsilon_low"]) / (end * spread["epsilon"]),
        "epsilon_high": abs(one["epsilon_high"] - other["epsilon_high"])
        / (end * spread["epsilon"]),
    }


def measure(options: Json) -> Json:
    """Race both, in turns, after one round that is not counted."""
    inside, outside = drawn(options["rows"], 0)
    runs = []
    for k in range(options["rounds"] + 1):
        pair = [theirs(inside, outside, options["draws"], k)]
        pair.append(ours(inside, outside, options["draws"], k))
        runs.append(
            {
                "theirs": pair[0],
                "ours": pair[1],
                "standard_errors": agreement(pair[0], pair[1], options["draws"]),
            }
        )
    return {"runs": runs[1:]}


if __name__ == "__main__":
    logging.disable(logging.WARNING)
    clock.tell(measure(clock.asked()))
