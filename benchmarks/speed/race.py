"""Thirty-two shadow models and an attack, by five contestants in turns."""

import statistics
from collections.abc import Mapping, Sequence

from benchmarks.speed.clock import Json
from benchmarks.speed.store import Store

OURS, LOOP, FLOOR = "with_forget_audit", "plain_loop", "plain_batched"
PEERS = ("with_sacroml", "with_art")
NAMES: Mapping[str, str] = {
    OURS: "forget-audit",
    FLOOR: "plain PyTorch, one batched product",
    LOOP: "plain PyTorch, one model after another",
    "with_sacroml": "sacroml, LiRA online, one variance",
    "with_art": "ART, shadow models and random forest",
}
FIGURES = ("training", "whole", "accuracy", "auc", "own_auc")
AGREED = ("accuracy", "auc")
SIGMAS = 3.0


def measure(store: Store) -> Json:
    """Run all contestants in turns, each round from another seed, and sum up."""
    rounds = 2 if store.tiny else 5
    size = {"shadows": 4, "epochs": 2} if store.tiny else {}
    tools = [OURS, FLOOR, LOOP, *(PEERS if store.peers else ())]
    runs: dict[str, list[Json]] = {tool: [] for tool in tools}
    for k in range(rounds):
        for tool in tools[k % len(tools) :] + tools[: k % len(tools)]:
            options = {"seed": k, **size}
            runs[tool].append(store.run(tool, options, with_peers=tool in PEERS))
    return {"rounds": rounds, "tools": summary(runs), "agreement": agreement(runs), "runs": runs}


def summary(runs: Mapping[str, Sequence[Json]]) -> Json:
    """Return medians over rounds, and medians of ratios to our own time of the same round."""
    found: Json = {}
    for tool, each in runs.items():
        row: Json = {
            name: statistics.median(run[name] for run in each)
            for name in FIGURES
            if all(name in run for run in each)
        }
        for part in ("training", "whole"):
            ratios = [run[part] / own[part] for run, own in zip(each, runs[OURS], strict=True)]
            row[f"{part}_ratio"] = statistics.median(ratios)
            row[f"{part}_ratios"] = [min(ratios), max(ratios)]
        found[tool] = row
    return found


def agreement(runs: Mapping[str, Sequence[Json]]) -> Json:
    """Say whether the contestants trained equally good models, measured against their noise.

    Accuracy and AUC of a contestant are compared with those of the plain loop, round by round:
    target and seeds are the same within a round. The noise is the standard deviation of that
    difference between rounds, pooled over contestants.
    """
    found: Json = {}
    for name in AGREED:
        gaps = {
            tool: [run[name] - loop[name] for run, loop in zip(each, runs[LOOP], strict=True)]
            for tool, each in runs.items()
            if tool != LOOP
        }
        noise = statistics.mean(statistics.variance(gap) for gap in gaps.values()) ** 0.5
        allowed = SIGMAS * noise / len(runs[LOOP]) ** 0.5
        means = {tool: statistics.mean(gap) for tool, gap in gaps.items()}
        found[name] = {
            "noise": noise,
            "allowed": allowed,
            "gaps": means,
            "agrees": all(abs(gap) <= allowed for gap in means.values()),
        }
    return found
