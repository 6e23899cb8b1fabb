"""A preset at smoke size: everything is still there, and nothing is large.

Numbers that come of it say nothing about a paper. It shows that files are read, networks built and
trained, methods run and metrics taken.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from copy import deepcopy
from typing import Any

from forget_audit import registry
from forget_audit.contracts import Method
from forget_audit.presets.choices import Choice

SIDE = 8
TEXT = (
    "Smoke size: so few rows and steps that the numbers say nothing about the paper. They show "
    "that everything runs."
)
# Rows a split: enough for each class to occur where rows are drawn.
LIMITS = {
    "cifar100": 2000, "cifar20": 2000, "pins": 2100, "vggface2": 2000, "imagefolder": 5000,
}  # fmt: skip
LIMIT = 240
RANDOM = 12
NARROW = 1 / 32
NETWORKS: Mapping[str, Mapping[str, object]] = {
    "mlp": {"hidden": [16]},
    "allcnn": {"width": 8},
    "resnet9": {"width": 4},
    "alexnet": {"width": NARROW},
    "vgg11": {"stem": "cifar", "width": NARROW},
    "vgg16": {"stem": "cifar", "width": NARROW},
    "vgg19": {"stem": "cifar", "width": NARROW},
    "resnet18": {"width": NARROW},
    "resnet50": {"width": NARROW},
    "mobilenet_v2": {"width": 0.1},
    "vit_small": {"width": 12, "depth": 1, "heads": 2},
    "vit_large": {"width": 12, "depth": 1, "heads": 2},
}
MOST: Mapping[str, int] = {
    "epochs": 1, "repair_epochs": 1, "sweeps": 1, "rounds": 1, "least_steps": 1, "msteps": 1,
    "impair_passes": 2, "batches": 1, "student_steps": 1, "noise_steps": 1, "max_steps": 1,
    "min_steps": 1, "attack_steps": 1, "pgd_steps": 1, "n_adversarial": 1, "noises": 2,
    "noise_per_class": 2, "copies": 2, "retain_per_class": 4, "shards": 2, "slices": 1,
    "subset_size": 16, "seeds": 8, "width": 8, "most_rows": 32, "depth": 2,
}  # fmt: skip
OTHER: Mapping[str, object] = {"gate": 0.5}  # a network after one step passes no narrower gate
IMAGES = frozenset(LIMITS) | {
    "cifar10", "mnist", "fashion_mnist", "svhn", "celeba", "utkface", "mufac", "mucac", "medmnist",
}  # fmt: skip


def smoke(tables: Mapping[str, Any]) -> dict[str, Any]:
    """Return the same plan with few rows, steps, models and attacks.

    Args:
        tables: A plan; not changed.
    """
    small = deepcopy(dict(tables))
    reader = small["data"]["source"].partition(":")[0]
    for key in ("train", "test", "auxiliary"):
        small["data"].pop(key, None)
    if reader in IMAGES:
        given = small["data"].get("options", {})
        limit = LIMITS.get(reader, LIMIT)
        small["data"]["options"] = given | {"size": SIDE, "limit": limit, "stream": False}
    if "random" in small["request"]:
        small["request"]["random"] = min(RANDOM, small["request"]["random"])
    network, options = small["model"]["architecture"], small["model"].get("options", {})
    kept = {key: value for key, value in options.items() if key not in ("patch", "depth")}
    small["model"]["options"] = kept | dict(NETWORKS.get(network, {}))
    small["training"] |= {"epochs": 1, "steps_per_epoch": 1}
    small["references"] |= {"retrained": 3, "originals": 1, "identity": 2, "shadows": 0}
    method = small["method"]
    kind = registry.get_method(method["name"])
    settings = {**kind.info.presets.get(method.get("preset", ""), {}), **method.get("options", {})}
    method["options"] = {**method.get("options", {}), **_lowered(kind, settings)}
    small["battery"]["attacks"] = small["battery"]["attacks"][-1:]
    return small


def smaller(choice: Choice) -> Choice:
    """Return a row of a table whose method takes few steps."""
    if choice.kind != "method":
        return choice
    kind = registry.get_method(choice.method)
    lowered = {**choice.settings, **_lowered(kind, choice.settings)}
    return dataclasses.replace(choice, settings=lowered)


def _lowered(kind: type[Method], settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return those settings that are above the most that smoke size allows, at that most."""
    default = kind()
    names = [field.name for field in dataclasses.fields(kind)]  # type: ignore[arg-type]
    now = {name: settings.get(name, getattr(default, name)) for name in names if name in MOST}
    lowered = {name: MOST[name] for name, value in now.items() if value and value > MOST[name]}
    return {**lowered, **{name: value for name, value in OTHER.items() if name in names}}
