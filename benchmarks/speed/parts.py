"""The parts of the benchmark, each made of runs in processes of their own."""

from collections.abc import Callable, Mapping
from statistics import median

from benchmarks.speed import curves, race
from benchmarks.speed.clock import Json
from benchmarks.speed.store import Store
from forget_audit.commands.demo import ATTACKS

SIZES = {
    "mlp": {"rows": 480, "steps": 8, "epochs": 10, "rounds": 5},
    "cnn": {"rows": 64, "steps": 2, "epochs": 20, "rounds": 5},
    "vit": {"rows": 16, "steps": 2, "epochs": 3, "rounds": 3},
    "resnet18": {"rows": 16, "steps": 4, "epochs": 2, "rounds": 3},
}
STATISTICS = "benchmarks/statistics_scaling.py"
COUNTS = {"mlp": (2, 8, 39), "cnn": (2, 8, 39), "vit": (2, 8), "resnet18": (2, 4)}


def shadows(store: Store) -> Json:
    """Thirty-two shadow models and an attack, beside other tools and plain loops."""
    return race.measure(store)


def bootstraps(store: Store) -> Json:
    """A thousand bootstraps beside PrivacyGuard's analysis node; nothing without it."""
    if store.peers is None:
        return {"missing": "privacyguard-platform is not installed; run without --no-peers"}
    options = {"rows": 200, "draws": 50, "rounds": 2} if store.tiny else {
        "rows": 899, "draws": 1000, "rounds": 7,
    }  # fmt: skip
    runs = store.run("bootstraps", options, with_peers=True)["runs"]
    both = {
        side: {
            name: median(run[side][name] for run in runs)
            for name, value in runs[0][side].items()
            if isinstance(value, float)
        }
        for side in ("theirs", "ours")
    }
    ratios = {
        part: [run["theirs"][part] / run["ours"]["bootstraps"] for run in runs]
        for part in ("bootstraps", "whole")
    }
    return {
        **options,
        **both,
        "ratio": {part: median(each) for part, each in ratios.items()},
        "ratios": {part: [min(each), max(each)] for part, each in ratios.items()},
        "standard_errors": {
            name: median(run["standard_errors"][name] for run in runs)
            for name in runs[0]["standard_errors"]
        },
    }


def demo(store: Store) -> Json:
    """Where the demonstration spends its time, how the program starts, and one attack more."""
    found: Json = {
        "starting": store.run("commands", {"what": "starting", "repeats": 2 if store.tiny else 7})
    }
    attacks = ["lira", "loss_threshold"] if store.tiny else list(ATTACKS)
    found["added"] = store.run(
        "commands", {"what": "added", "attacks": attacks, "tiny": store.tiny}
    )
    if store.peers is None or store.tiny:
        return found
    found["profile"] = store.run(
        "demo_profile", {"arguments": ["demo", "--out", "{folder}/demo"]}, with_peers=True
    )
    return found


def scaling(store: Store) -> Json:
    """How times grow, with fitted exponents."""
    return curves.measure(store)


def networks(store: Store) -> Json:
    """The automatic choice beside a plain loop, and where batching wins."""
    rows = []
    for name, size in SIZES.items():
        for models in (2,) if store.tiny else COUNTS[name]:
            if store.tiny and name in ("resnet18", "vit"):
                continue
            options = {"architecture": name, "models": models, "batched": True, **size}
            if store.tiny:
                options |= {"rows": 8, "steps": 2, "epochs": 1, "rounds": 1}
            found = store.run("networks", options)
            rows.append({"architecture": name, "models": models, **found})
    return {"rows": rows, "worst": max(row["ratio"]["automatic"] for row in rows)}


def statistics(store: Store) -> Json:
    """The verdict's statistics from thousands to a million rows."""
    sizes = (500, 1000) if store.tiny else (62_500, 125_000, 250_000, 500_000, 1_000_000)
    found = store.script(STATISTICS, ["--rows", *map(str, sizes)])
    return {name: found[name] for name in ("models", "classes", "sizes", "exponents")}


PARTS: Mapping[str, Callable[[Store], Json]] = {
    "shadows": shadows,
    "bootstraps": bootstraps,
    "demo": demo,
    "scaling": scaling,
    "networks": networks,
    "statistics": statistics,
}
