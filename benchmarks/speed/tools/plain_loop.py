"""The floor of training one model after another: a plain loop over tensors in memory."""

import numpy as np

from benchmarks.speed import clock, protocol
from benchmarks.speed.protocol import Ground, Protocol
from forget_audit.seeds import derive, generator


def run(ground: Ground, settings: Protocol) -> dict[str, float]:
    """Train the shadows and attack; return times and what must agree."""
    member = protocol.halves(len(ground.x), settings)
    start = clock.cpu_seconds()
    models = []
    for k, mask in enumerate(member):
        model = protocol.perceptron(derive(settings.seed, "shadow", k))
        rng = generator(settings.seed, "order", k)
        rows = rng.permutation(np.flatnonzero(mask))
        protocol.train(model, ground.x[rows], ground.y[rows], settings, rng)
        models.append(model)
    trained = clock.cpu_seconds()
    logits = [protocol.answers(model, ground.x) for model in models]
    found = protocol.compared(ground, logits, member)
    whole = clock.cpu_seconds()
    return {"training": trained - start, "whole": whole - start, **found}


if __name__ == "__main__":
    clock.tell(protocol.race(run, clock.asked()))
