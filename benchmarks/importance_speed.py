"""How much faster are importances of single rows in batches than one row at a time?

Measures the mean squared gradient of single rows, the diagonal of the empirical Fisher
information, of a ResNet-18 on 32x32 images: by a backward pass for each row, as public code with
batches of one does, and by `sample_importance`. The two take turns, so that other work on the
machine meets both.

    python benchmarks/importance_speed.py --rows 64 --repeats 5
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from torch import nn
from torch.nn import functional
from torchvision.models import resnet18

from forget_audit.methods._importance import Tensors, power_sums
from forget_audit.seeds import seeded_torch


def loop(model: nn.Module, x: torch.Tensor, y: torch.Tensor) -> Tensors:
    """Return the sums of squared gradients, one row at a time."""
    weights = dict(model.named_parameters())
    sums = {name: torch.zeros_like(weight) for name, weight in weights.items()}
    for row in range(len(x)):
        model.zero_grad()
        loss = functional.cross_entropy(model(x[row : row + 1]), y[row : row + 1])
        loss.backward()  # type: ignore[no-untyped-call]
        for name, weight in weights.items():
            if weight.grad is not None:
                sums[name] += weight.grad**2
    return sums


def seconds(work: Callable[[], Tensors]) -> tuple[float, float]:
    """Return how long `work` takes by the clock and by the processor."""
    start, busy = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - start, time.process_time() - busy


def main() -> None:
    """Print both times and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    with seeded_torch(0):
        model = resnet18(num_classes=10).eval()
        x = torch.randn(options.rows, 3, 32, 32)
        y = torch.randint(0, 10, (options.rows,))
    one, many = loop(model, x, y), power_sums(model, x, y)
    error = max(float((one[n].double() - many[n]).norm() / many[n].norm()) for n in many)
    print(f"ResNet-18, {options.rows} rows, {options.threads} threads; greatest error {error:.1e}")
    slow, fast = [], []
    for _ in range(options.repeats):
        slow.append(seconds(lambda: loop(model, x, y)))
        fast.append(seconds(lambda: power_sums(model, x, y)))
    for i, name in enumerate(("clock", "processor")):
        each, batch = ([times[i] for times in part] for part in (slow, fast))
        medians = [statistics.median(times) for times in (each, batch)]
        print(
            f"{name}: {medians[0]:.2f} s row by row, {medians[1]:.2f} s in batches; ratio of "
            f"medians {medians[0] / medians[1]:.1f}, of least times {min(each) / min(batch):.1f}"
        )


if __name__ == "__main__":
    main()
