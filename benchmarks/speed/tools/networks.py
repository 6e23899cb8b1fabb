"""One architecture: the automatic choice, a plain loop, and batched whether it pays or not.

They take turns in one process, each on the same rows and seeds, after a round that is not
counted. The automatic choice is made as for a long training, by trying; that cost is told apart.
"""

from collections.abc import Callable
from statistics import median

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from benchmarks.speed import clock
from benchmarks.speed.clock import Json
from forget_audit.architectures import Architecture
from forget_audit.seeds import derive, generator
from forget_audit.training import remembered_ways
from forget_audit.training.loop import Recipe
from forget_audit.training.together import batchable, fit_together
from forget_audit.training.trainers import RecipeTrainer

CLASSES, AT_ONCE = 10, 8
SHAPES = {"mlp": (64,), "cnn": (3, 32, 32), "resnet18": (3, 32, 32), "vit": (3, 32, 32)}


def plain_loop(
    trainer: RecipeTrainer, x: torch.Tensor, y: torch.Tensor, seeds: list[int]
) -> list[nn.Module]:
    """Return models trained one after another by a loop written out here."""
    models = []
    for seed in seeds:
        model = trainer.fresh(seed)
        optimizer = torch.optim.SGD(
            model.parameters(), lr=trainer.recipe.lr, momentum=trainer.recipe.momentum
        )
        rng = generator(seed, "order")
        for _ in range(trainer.recipe.epochs):
            order = rng.permutation(len(x))
            for part in np.array_split(order, trainer.recipe.steps_per_epoch):
                rows = torch.from_numpy(part)
                optimizer.zero_grad()
                functional.cross_entropy(model(x[rows]), y[rows]).backward()  # type: ignore[no-untyped-call]
                optimizer.step()
        models.append(model.eval())
    return models


def measure(options: Json) -> Json:
    """Return medians of processor seconds and of ratios to the plain loop."""
    rng = generator(0, "networks")
    shape = SHAPES[options["architecture"]]
    remembered_ways.WORTH_MEASURING = 0  # the choice that a long training would get
    n = int(options["rows"])
    x = rng.random((n, *shape), dtype=np.float32)
    y = rng.integers(0, CLASSES, n)
    trainer = RecipeTrainer(
        architecture=Architecture(
            name=options["architecture"], shape=shape, n_classes=CLASSES,
            options=options.get("settings", {}),
        ),
        recipe=Recipe(
            epochs=options["epochs"], steps_per_epoch=options["steps"], optimizer="sgd",
            lr=0.01, momentum=0.9,
        ),
    )  # fmt: skip
    seeds = [derive(0, "model", k) for k in range(options["models"])]
    everyone = [np.arange(n)] * len(seeds)
    inputs, labels = torch.from_numpy(x), torch.from_numpy(y)

    start = clock.cpu_seconds()
    way = trainer.way([n] * len(seeds), x)
    choosing = clock.cpu_seconds() - start

    def batched() -> None:
        for part in range(0, len(seeds), AT_ONCE):
            chosen = seeds[part : part + AT_ONCE]
            models = [trainer.fresh(seed) for seed in chosen]
            orders = [generator(seed, "order") for seed in chosen]
            rows = everyone[part : part + AT_ONCE]
            fit_together(models, inputs, labels, rows, trainer.recipe, orders)

    ways: dict[str, Callable[[], object]] = {
        "loop": lambda: plain_loop(trainer, inputs, labels, seeds),
        "automatic": lambda: trainer.many(x, y, everyone, seeds),
    }
    if options["batched"] and batchable(trainer.fresh(0)):
        ways["batched"] = batched
    for run in ways.values():
        run()
    spent: dict[str, list[float]] = {name: [] for name in ways}
    for k in range(options["rounds"]):
        names = list(ways)
        for name in names[k % len(names) :] + names[: k % len(names)]:
            spent[name].append(clock.timed(ways[name]))
    return {
        "parameters": sum(p.numel() for p in trainer.fresh(0).parameters()),
        "cpu": {name: median(each) for name, each in spent.items()},
        "ratio": {
            name: median(one / loop for one, loop in zip(each, spent["loop"], strict=True))
            for name, each in spent.items()
        },
        "ratios": {
            name: [one / loop for one, loop in zip(each, spent["loop"], strict=True)]
            for name, each in spent.items()
        },
        "way": way.how,
        "choosing": choosing,
        "peak_mb": clock.peak_megabytes(),
    }


if __name__ == "__main__":
    clock.tell(measure(clock.asked()))
