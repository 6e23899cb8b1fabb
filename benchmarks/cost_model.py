"""What does an audit of a large model cost? A cost model, fitted to trainings on this machine.

Trains small numbers of steps of ResNet-50 and of vision transformers at growing image sizes, with
the one training loop, on one thread. FLOPs are counted by `torch.utils.flop_counter`, forward and
backward, and two to a multiplication with addition. For each family of networks

    seconds of a training = a x FLOPs of all its rows + b x steps x weights

is fitted with errors relative to the measured seconds. The largest measured size takes no part in
the first fit, and is predicted by it. Whatever lies beyond is extrapolated, and printed as such.

    OMP_NUM_THREADS=1 python benchmarks/cost_model.py --out benchmarks/results
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from scipy.optimize import nnls
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.speed.machine import description
from forget_audit.architectures import Architecture
from forget_audit.labels import label_loss
from forget_audit.seeds import generator
from forget_audit.training.loop import Recipe, fit

IMAGENET = 1_281_167
CLASSES = 1000
REFERENCES = (19, 39, 79)
OTHERS = 8 + 2 + 1 + 1  # originals, identity models, the parent and its twin; no shadows
SUSTAINED = 1e14  # FLOP/s in whose hours totals are told; the reader's own number takes its place
EPOCHS = 90


@dataclass(frozen=True, kw_only=True)
class Size:
    """A network and its rows.

    Args:
        family: Networks of one family share the coefficients of the fit.
        name: Of the architecture.
        side: Of the square images.
        rows: In a step.
        options: Of the architecture.
    """

    family: str
    name: str
    side: int
    rows: int = 8
    options: tuple[tuple[str, int], ...] = ()

    def __str__(self) -> str:
        depth = "".join(f", {value} of its 24 blocks" for _, value in self.options)
        return f"{self.name} at {self.side}x{self.side}{depth}"

    def build(self) -> nn.Module:
        """Return the network, untrained."""
        shape, options = (3, self.side, self.side), dict(self.options)
        return Architecture(name=self.name, shape=shape, n_classes=CLASSES, options=options).build()


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What was counted and measured of a size.

    Args:
        size: In words.
        family: Of the network.
        weights: Number of weights.
        flops: Of one row, forward and backward.
        forward: Of one row, forward only.
        rows: In a step.
        seconds: Processor seconds of one step, the median.
        repeats: Processor seconds of each repetition.
    """

    size: str
    family: str
    weights: int
    flops: float
    forward: float
    rows: int
    seconds: float
    repeats: tuple[float, ...]


# Of each family the last is the largest: the first fit does not see it.
MEASURED = (
    *(Size(family="convolutions", name="resnet50", side=side) for side in (64, 96, 128, 160, 224)),
    *(
        Size(family="transformers", name="vit_large", side=side, options=(("depth", depth),))
        for side, depth in ((64, 1), (96, 1), (128, 2), (160, 2), (224, 3))
    ),
)
WANTED = (
    Size(family="convolutions", name="resnet50", side=224),
    Size(family="transformers", name="vit_large", side=224),
)
PATCH = 16


def patched(size: Size) -> Size:
    """Return the size with patches of 16 pixels, as ViT-L/16 has, whatever the side."""
    if size.family != "transformers":
        return size
    return Size(**{**asdict(size), "options": (*size.options, ("patch", PATCH))})


def rows_of(size: Size) -> tuple[np.ndarray, np.ndarray]:
    """Return one step of noise; what the rows show makes no difference to the time."""
    rng = generator(0, str(size))
    x = rng.normal(size=(size.rows, 3, size.side, size.side)).astype(np.float32)
    return x, rng.integers(0, CLASSES, size.rows)


def count(size: Size) -> tuple[int, float, float]:
    """Return weights, and FLOPs of a row forward and backward, and forward only."""
    model = patched(size).build()
    x, y = (torch.from_numpy(array) for array in rows_of(size))
    with FlopCounterMode(display=False) as both:
        label_loss(model(x), y).backward()  # type: ignore[no-untyped-call]
    with FlopCounterMode(display=False) as forward, torch.no_grad():
        model(x)
    weights = sum(p.numel() for p in model.parameters())
    return weights, both.get_total_flops() / size.rows, forward.get_total_flops() / size.rows


def step_seconds(size: Size) -> float:
    """Return processor seconds of one step: of two passes, less those of one."""
    x, y = rows_of(size)
    taken = []
    for epochs in (1, 2):
        model = patched(size).build()
        recipe = Recipe(epochs=epochs, steps_per_epoch=1, optimizer="sgd", lr=0.01, momentum=0.9)
        start = time.process_time()
        fit(model, x, y, recipe, generator(1, "order"))
        taken.append(time.process_time() - start)
    return taken[1] - taken[0]


def measure(repeats: int) -> list[Cost]:
    """Return all sizes, measured in turns."""
    seconds: dict[Size, list[float]] = {size: [] for size in MEASURED}
    for _ in range(repeats):
        for size in MEASURED:
            seconds[size].append(step_seconds(size))
    found = []
    for size, taken in seconds.items():
        weights, flops, forward = count(size)
        found.append(
            Cost(
                size=str(size),
                family=size.family,
                weights=weights,
                flops=flops,
                forward=forward,
                rows=size.rows,
                seconds=statistics.median(taken),
                repeats=tuple(taken),
            )
        )
    return found


def fitted(costs: Sequence[Cost]) -> tuple[float, float]:
    """Return seconds a FLOP, and seconds a step and weight: both at least 0."""
    terms = np.array([[cost.flops * cost.rows, cost.weights] for cost in costs])
    taken = np.array([cost.seconds for cost in costs])
    scale = np.linalg.norm(terms / taken[:, None], axis=0)
    found, _ = nnls(terms / taken[:, None] / scale, np.ones(len(costs)))
    each_flop, each_weight = found / scale
    return float(each_flop), float(each_weight)


def predicted(coefficients: tuple[float, float], cost: Cost) -> float:
    """Return the seconds of a step."""
    return coefficients[0] * cost.flops * cost.rows + coefficients[1] * cost.weights


def check(costs: Sequence[Cost]) -> list[dict[str, object]]:
    """Return, for each family, how well the smaller sizes predict the largest one."""
    rows: list[dict[str, object]] = []
    for family in dict.fromkeys(cost.family for cost in costs):
        *smaller, largest = [cost for cost in costs if cost.family == family]
        without, every = fitted(smaller), fitted([*smaller, largest])
        errors = [predicted(every, c) / c.seconds - 1 for c in (*smaller, largest)]
        rows.append(
            {
                "family": family,
                "left out": largest.size,
                "measured s": largest.seconds,
                "predicted s": predicted(without, largest),
                "error": predicted(without, largest) / largest.seconds - 1,
                "s per FLOP": every[0],
                "s per step and weight": every[1],
                "largest error of the fit": max(abs(error) for error in errors),
            }
        )
    return rows


def sized(rates: dict[str, float]) -> list[dict[str, object]]:
    """Return what audits of the wanted networks take: counted, not measured.

    Args:
        rates: FLOP/s of this machine on one thread, by family.
    """
    rows: list[dict[str, object]] = []
    for size in WANTED:
        weights, flops, forward = count(Size(**{**asdict(size), "rows": 1}))
        whole = flops * IMAGENET * EPOCHS
        for references in REFERENCES:
            models = references + OTHERS
            total = models * whole
            rows.append(
                {
                    "network": size.name,
                    "references": references,
                    "weights": weights,
                    "FLOPs a row": flops,
                    "FLOPs of a training": whole,
                    "FLOPs of all trainings": total,
                    "FLOPs of answers on 100 000 rows": models * 1e5 * forward,
                    "hours at 1e14 FLOP/s sustained": total / SUSTAINED / 3600,
                    "processor years on this machine": total / rates[size.family] / 3.156e7,
                    "GB of weights of all models": models * weights * 4 / 1e9,
                    "GB of one training besides activations": weights * 16 / 1e9,
                }
            )
    return rows


def main() -> None:
    """Measure, fit, check and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    costs = measure(options.repeats)
    checks = check(costs)
    rates = {str(row["family"]): 1 / float(str(row["s per FLOP"])) for row in checks}
    result = {
        "machine": description(),
        "measured": [asdict(cost) for cost in costs],
        "checks": checks,
        "extrapolated": sized(rates),
    }
    options.out.mkdir(parents=True, exist_ok=True)
    path = options.out / "cost_model.json"
    path.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
