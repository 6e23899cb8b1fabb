"""Batched training on a GPU against one model after another on the same GPU.

    python -m benchmarks.speed.gpu --device cuda

Synthetic rows of the shape of CIFAR-10, drawn from a seed: speed is all that is measured. The loop
has its rows on the device and no loader, and trains a few of the models; its time for all of them
is that of one times their number. Times are by the clock, for a GPU works while the processor
waits. The automatic choice is measured once for an architecture and its cost is told apart.
"""

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from benchmarks.speed import written
from benchmarks.speed.clock import Json
from benchmarks.speed.machine import description
from forget_audit.architectures import Architecture
from forget_audit.seeds import derive, generator
from forget_audit.training import remembered_ways
from forget_audit.training.loop import Precision, Recipe
from forget_audit.training.trainers import RecipeTrainer

SHAPE, CLASSES = (3, 32, 32), 10
PRECISIONS: tuple[Precision, ...] = ("fp32", "bf16")


def seconds(work: Callable[[], object], device: torch.device) -> float:
    """Return the seconds that `work` takes until the device is done."""
    _wait(device)
    start = time.perf_counter()
    work()
    _wait(device)
    return time.perf_counter() - start


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def loop(trainer: RecipeTrainer, x: torch.Tensor, y: torch.Tensor, seeds: list[int]) -> None:
    """Train one model after another, as a plain loop on the device does."""
    recipe, kind = trainer.recipe, x.device.type
    for seed in seeds:
        model: nn.Module = trainer.fresh(seed).to(x.device).train()
        optimizer = torch.optim.SGD(model.parameters(), lr=recipe.lr, momentum=recipe.momentum)
        rng = generator(seed, "order")
        for _ in range(recipe.epochs):
            order = torch.from_numpy(rng.permutation(len(x))).to(x.device)
            for rows in torch.tensor_split(order, recipe.steps_per_epoch):
                optimizer.zero_grad()
                with torch.autocast(kind, torch.bfloat16, enabled=trainer.precision == "bf16"):
                    logits = model(x[rows])
                functional.cross_entropy(logits.float(), y[rows]).backward()  # type: ignore[no-untyped-call]
                optimizer.step()
        model.cpu()


def measure(name: str, precision: Precision, given: argparse.Namespace) -> list[Json]:
    """Return one row a number of models."""
    device = torch.device(given.device)
    rng = generator(0, "gpu")
    x = rng.standard_normal((given.rows, *SHAPE), dtype=np.float32)
    y = rng.integers(0, CLASSES, int(given.rows))
    trainer = RecipeTrainer(
        architecture=Architecture(name=name, shape=SHAPE, n_classes=CLASSES),
        recipe=Recipe(
            epochs=given.epochs,
            steps_per_epoch=-(-given.rows // given.batch),
            optimizer="sgd",
            lr=0.05,
            momentum=0.9,
        ),
        device=given.device,
        precision=precision,
    )
    inputs, labels = torch.tensor(x, device=device), torch.tensor(y, device=device)
    everyone = np.arange(given.rows)
    choosing = seconds(lambda: trainer.way([given.rows], x), device)
    way = trainer.way([given.rows], x)
    few = [derive(0, "model", k) for k in range(min(given.looped, max(given.models)))]
    loop(trainer, inputs, labels, few[:1])
    found = []
    for models in given.models:
        seeds = [derive(0, "model", k) for k in range(models)]
        subsets = [everyone] * models
        slow, fast = [], []
        for _ in range(given.rounds):
            slow.append(
                seconds(lambda: loop(trainer, inputs, labels, few), device) / len(few) * models
            )
            fast.append(
                seconds(lambda s=seeds, p=subsets: trainer.many(x, y, p, s), device)  # type: ignore[misc]
            )
        ratios = [one / other for one, other in zip(slow, fast, strict=True)]
        row = {
            "architecture": name, "precision": precision, "models": models,
            "looped": len(few), "loop": median(slow), "automatic": median(fast),
            "ratio": median(ratios), "way": way.how, "at_once": way.models,
            "choosing": choosing, "peak_gb": _peak(device),
        }  # fmt: skip
        print(json.dumps(row), flush=True)
        found.append(row)
    return found


def _peak(device: torch.device) -> float | None:
    if device.type != "cuda":
        return None
    return torch.cuda.max_memory_allocated(device) / 1e9


def main(arguments: list[str] | None = None) -> None:
    """Measure, print, and write the result and its page."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--architectures", nargs="+", default=["resnet18", "vit_small"])
    parser.add_argument("--precisions", nargs="+", choices=PRECISIONS, default=PRECISIONS)
    parser.add_argument("--models", type=int, nargs="+", default=[8, 32, 128])
    parser.add_argument("--looped", type=int, default=4, help="models that the loop trains")
    parser.add_argument("--rows", type=int, default=2048)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, default=written.RESULTS)
    given = parser.parse_args(arguments)
    device = torch.device(given.device)
    if device.type == "cuda" and not torch.cuda.is_available():
        print("no GPU that PyTorch can use; --device cpu shows that the script works")
        written.write_gpu(written.read(given.out, written.GPU), given.out)
        return
    remembered_ways.WORTH_MEASURING = 0  # the choice that a long training would get
    rows = [
        row
        for name in given.architectures
        for precision in given.precisions
        for row in measure(name, precision, given)
    ]
    gpu = torch.cuda.get_device_name(device) if device.type == "cuda" else "no GPU"
    result = {
        "machine": description(),
        "gpu": gpu,
        "settings": {
            name: vars(given)[name] for name in ("rows", "epochs", "batch", "rounds", "looped")
        },
        "rows": rows,
    }
    written.write_gpu(result, given.out)
    if given.out == written.RESULTS:
        written.write_docs()


if __name__ == "__main__":
    main()
