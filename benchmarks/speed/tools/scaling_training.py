"""One point of a training curve: some models of some size on some rows, batched or one by one."""

import math
from statistics import median

import numpy as np

from benchmarks.speed import clock
from benchmarks.speed.clock import Json
from forget_audit.architectures import Architecture
from forget_audit.seeds import derive, generator
from forget_audit.training.loop import Recipe
from forget_audit.training.trainers import RecipeTrainer

PIXELS, CLASSES, BATCH = 64, 10, 64


def measure(options: Json) -> Json:
    """Return processor seconds, the median of some repeats, and the peak memory."""
    rows, models = int(options["rows"]), int(options["models"])
    rng = generator(0, "scaling")
    x = rng.random((rows, PIXELS), dtype=np.float32)
    y = rng.integers(0, CLASSES, rows)
    trainer = RecipeTrainer(
        architecture=Architecture(
            name="mlp", shape=(PIXELS,), n_classes=CLASSES, options={"hidden": [options["hidden"]]}
        ),
        recipe=Recipe(
            epochs=options["epochs"],
            steps_per_epoch=math.ceil(rows / BATCH),
            optimizer="sgd",
            lr=0.05,
            momentum=0.9,
        ),
    )
    everyone = [np.arange(rows)] * models
    seeds = [derive(0, "model", k) for k in range(models)]

    def train() -> object:
        if options["path"] == "batched":
            return trainer.many(x, y, everyone, seeds)
        return [trainer(x[part], y[part], seed) for part, seed in zip(everyone, seeds, strict=True)]

    trainer(x[:BATCH], y[:BATCH], 0)  # PyTorch's first step is slow
    before = clock.peak_megabytes()
    spent = [clock.timed(train) for _ in range(options["repeats"])]
    after = clock.peak_megabytes()
    weights = sum(p.numel() for p in trainer.fresh(0).parameters())
    grown = None if before is None or after is None else after - before
    return {"cpu": median(spent), "peak_mb": after, "grown_mb": grown, "parameters": weights}


if __name__ == "__main__":
    clock.tell(measure(clock.asked()))
