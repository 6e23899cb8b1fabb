"""A recipe and an architecture as a function that trains one model or many."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from torch import nn

from forget_audit.architectures import Architecture
from forget_audit.seeds import derive, generator, seeded_torch
from forget_audit.together import batchable, fit_together
from forget_audit.training import Index, Recipe, fit, fitting_threads
from forget_audit.types import Features, Labels

Progress = Callable[[int], None]


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
        models: list[nn.Module | None] = [None] * len(subsets)
        for chunk in _chunks([len(subset) for subset in subsets]):
            group = [self.fresh(seeds[i]) for i in chunk]
            orders = [generator(seeds[i], "order") for i in chunk]
            rows = [subsets[i] for i in chunk]
            if batchable(group[0]):
                with fitting_threads(group[0]):
                    fit_together(group, x, y, rows, self.recipe, orders)
                progress(len(chunk))
            else:
                for model, subset, rng in zip(group, rows, orders, strict=True):
                    fit(model, x[subset], y[subset], self.recipe, rng)
                    progress(1)
            for i, model in zip(chunk, group, strict=True):
                models[i] = model.eval()
        return [model for model in models if model is not None]


def _chunks(sizes: Sequence[int]) -> Iterator[list[int]]:
    """Yield positions of models with equally many rows, at most `BATCH_OF_MODELS` at a time."""
    for size in sorted(set(sizes)):
        same = [i for i, n in enumerate(sizes) if n == size]
        for start in range(0, len(same), BATCH_OF_MODELS):
            yield same[start : start + BATCH_OF_MODELS]
