"""A recipe and an architecture as a function that trains one model or many."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from joblib import Parallel, cpu_count, delayed
from torch import nn

from forget_audit.architectures import Architecture
from forget_audit.seeds import derive, generator, seeded_torch
from forget_audit.together import batchable, fit_together
from forget_audit.training import Index, Recipe, fit, fitting_threads
from forget_audit.types import Features, Labels, Progress

BATCH_OF_MODELS = 32


@dataclass(frozen=True, kw_only=True)
class RecipeTrainer:
    """A `Trainer` made of an architecture and a recipe.

    Args:
        architecture: What is built.
        recipe: How it is trained.
    """

    architecture: Architecture
    recipe: Recipe

    def __call__(self, x: Features, y: Labels, seed: int) -> nn.Module:
        """Return a model trained from scratch, in evaluation mode."""
        model = self.fresh(seed)
        fit(model, x, y, self.recipe, generator(seed, "order"))
        return model.eval()

    def fresh(self, seed: int) -> nn.Module:
        """Return the untrained model from which training with `seed` starts."""
        with seeded_torch(derive(seed, "init")):
            return self.architecture.build()

    def many(
        self,
        x: Features,
        y: Labels,
        subsets: Sequence[Index],
        seeds: Sequence[int],
        progress: Progress = lambda _: None,
    ) -> list[nn.Module]:
        """Return one model a subset, equal to calling the trainer on each, but faster.

        Args:
            x: Features of all rows.
            y: Labels of all rows.
            subsets: Positions of the rows of each model.
            seeds: Seed of each model.
            progress: Called with the number of models finished since the last call.
        """
        models = [self.fresh(seed) for seed in seeds]
        orders = [generator(seed, "order") for seed in seeds]
        if not models or not batchable(models[0]):
            for model, subset, order in zip(models, subsets, orders, strict=True):
                fit(model, x[subset], y[subset], self.recipe, order)
                progress(1)
            return [model.eval() for model in models]

        def fit_chunk(chunk: Sequence[int]) -> int:
            group = [models[i] for i in chunk]
            rows, order = [subsets[i] for i in chunk], [orders[i] for i in chunk]
            with fitting_threads(group[0]):
                fit_together(group, x, y, rows, self.recipe, order)
            return len(chunk)

        threads = usable_threads()
        run = Parallel(n_jobs=threads, prefer="threads", return_as="generator_unordered")
        chunks = _chunks([len(subset) for subset in subsets], threads)
        for finished in run(delayed(fit_chunk)(chunk) for chunk in chunks):
            progress(finished)
        return [model.eval() for model in models]


def usable_threads() -> int:
    """Return how many threads may train side by side: `OMP_NUM_THREADS`, or one a core."""
    given = os.environ.get("OMP_NUM_THREADS", "")
    return int(given) if given.isdigit() and int(given) > 0 else cpu_count()


def _chunks(sizes: Sequence[int], threads: int) -> Iterator[list[int]]:
    """Yield positions of models with equally many rows, so that all threads have some."""
    for size in sorted(set(sizes)):
        same = [i for i, n in enumerate(sizes) if n == size]
        length = min(BATCH_OF_MODELS, -(-len(same) // threads))
        for start in range(0, len(same), length):
            yield same[start : start + length]
