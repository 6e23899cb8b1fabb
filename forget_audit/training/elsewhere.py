"""Training as tasks of an engine: the rows are handed over once, the models come back."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from torch import nn

from forget_audit.engines.engine import Engine
from forget_audit.errors import ModelError
from forget_audit.streaming import pick
from forget_audit.training.loop import Index
from forget_audit.training.places import usable_device
from forget_audit.training.trainers import RecipeTrainer
from forget_audit.training.ways import Way
from forget_audit.types import Features, Labels, Rows, Trainer

Given = tuple[Trainer, Features, Labels]
Wanted = tuple[Sequence[Index], Sequence[int], Way | None]

Asked = tuple[Sequence[int], int, int | None]


def train_on(
    engine: Engine,
    trainer: Trainer,
    rows: Rows,
    subsets: Sequence[Index],
    seeds: Sequence[int],
    of: int | None = None,
) -> Iterator[tuple[int, nn.Module]]:
    """Yield one model a subset with its position, each as soon as it is trained.

    A task trains a chunk of models, if they are made by a recipe, and else a single one. All take
    the way that this machine would take, so that the models are the same.

    Args:
        engine: Where the tasks run.
        trainer: Trains.
        rows: All rows.
        subsets: Positions of the rows of each model.
        seeds: Seed of each model.
        of: Number of models in the whole group, those that are there already included.
    """
    way, places = None, [[k] for k in range(len(seeds))]
    if isinstance(trainer, RecipeTrainer):
        lengths = [len(subset) for subset in subsets]
        way, places = _planned(engine, trainer, rows.x, (lengths, engine.width, of))
    wanted = [([subsets[k] for k in chunk], [seeds[k] for k in chunk], way) for chunk in places]
    for number, models in engine.run(_train, (trainer, rows.x, rows.y), wanted):
        yield from zip(places[number], models, strict=True)


def _planned(
    engine: Engine, trainer: RecipeTrainer, x: Features, asked: Asked
) -> tuple[Way, list[list[int]]]:
    """Return how models are trained, and which of them in one task."""
    try:
        usable_device(trainer.device)
    except ModelError:  # other machines of a cluster may have it
        [(_, planned)] = engine.run(_plan, (trainer, x), [asked])
        return planned
    return _plan((trainer, x), asked)


def _plan(given: tuple[RecipeTrainer, Features], asked: Asked) -> tuple[Way, list[list[int]]]:
    (trainer, x), (lengths, width, of) = given, asked
    way = trainer.way(lengths, x, of)
    return way, trainer.chunks(lengths, x, width, way)


def _train(given: Given, wanted: Wanted) -> list[nn.Module]:
    (trainer, x, y), (subsets, seeds, way) = given, wanted
    if isinstance(trainer, RecipeTrainer):
        return trainer.fit_chunk(x, y, subsets, seeds, way)
    pairs = zip(subsets, seeds, strict=True)
    return [trainer(pick(x, subset), y[subset], seed).eval() for subset, seed in pairs]
