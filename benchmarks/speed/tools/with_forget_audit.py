"""Our contestant: the package's trainer, log-odds, likelihood-ratio laws and statistics."""

import math

import numpy as np

from benchmarks.speed import clock, protocol
from benchmarks.speed.protocol import Ground, Protocol
from forget_audit import stats
from forget_audit.architectures import Architecture
from forget_audit.attacks._candidates import Bells, means, spreads
from forget_audit.seeds import derive
from forget_audit.targets import Target
from forget_audit.training.loop import Recipe
from forget_audit.training.trainers import RecipeTrainer
from forget_audit.types import Floats, Rows

RATES = (0.01, 0.05, 0.1)


def trainer(settings: Protocol, rows: int) -> RecipeTrainer:
    """Return the protocol as a recipe."""
    shape, hidden = (protocol.PIXELS,), [protocol.HIDDEN]
    return RecipeTrainer(
        architecture=Architecture(
            name="mlp", shape=shape, n_classes=protocol.CLASSES, options={"hidden": hidden}
        ),
        recipe=Recipe(
            epochs=settings.epochs,
            steps_per_epoch=math.ceil(rows / settings.batch),
            optimizer="sgd",
            lr=settings.lr,
            momentum=settings.momentum,
        ),
    )


def run(ground: Ground, settings: Protocol) -> dict[str, float]:
    """Train the shadows and attack; return times and what must agree."""
    member = protocol.halves(len(ground.x), settings)
    rows = Rows(x=ground.x, y=ground.y, ids=np.arange(len(ground.x)).astype(np.str_))
    subsets = [np.flatnonzero(mask) for mask in member]
    seeds = [derive(settings.seed, "shadow", k) for k in range(len(member))]
    start = clock.cpu_seconds()
    recipe = trainer(settings, len(subsets[0]))
    models = recipe.many(ground.x, ground.y, subsets, seeds)
    trained = clock.cpu_seconds()
    logits = [Target(model).logits(rows) for model in models]
    attacked = attack(np.stack([stats.log_odds(each, rows.y) for each in logits]), member, ground)
    whole = clock.cpu_seconds()
    found = protocol.compared(ground, logits, member)
    return {"training": trained - start, "whole": whole - start, **attacked, **found}


def attack(phi: Floats, member: protocol.Mask, ground: Ground) -> dict[str, float]:
    """Return what the attack finds by the package's own laws and statistics."""
    known = protocol.judged(member)
    phi, member, target = phi[:, known], member[:, known], ground.phi[known]
    laws = [Bells(mean=means(phi, m), sd=spreads(phi, m, np.inf)) for m in (member, ~member)]
    scores = laws[0].log_density(target) - laws[1].log_density(target)
    inside, outside = scores[ground.members[known]], scores[~ground.members[known]]
    low, high = stats.auc_interval(inside, outside)
    found = {"own_auc": stats.auc(inside, outside), "low": low, "high": high}
    for rate in RATES:
        counts = stats.true_positives_at(inside, outside, rate)
        found[f"tpr_at_{rate:g}"] = math.nan if counts is None else counts[0] / len(inside)
    return found


if __name__ == "__main__":
    clock.tell(protocol.race(run, clock.asked()))
