"""A recipe and an architecture as a function that trains one model or many."""

import copy
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from joblib import Parallel, cpu_count, delayed
from torch import nn

from forget_audit.architectures import Architecture
from forget_audit.errors import ModelError
from forget_audit.foreign.answering import SelfTrained
from forget_audit.seeds import derive, generator, seeded_torch
from forget_audit.streaming import as_stream, pick
from forget_audit.training.loop import Index, Recipe, fit, fitting_threads
from forget_audit.training.own_functions import Function, call_own, find_function
from forget_audit.training.together import batchable, fit_together
from forget_audit.types import Features, Labels, Trainer

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
        self, x: Features, y: Labels, subsets: Sequence[Index], seeds: Sequence[int]
    ) -> list[nn.Module]:
        """Return one model a subset, equal to calling the trainer on each, but faster.

        Args:
            x: Features of all rows.
            y: Labels of all rows.
            subsets: Positions of the rows of each model.
            seeds: Seed of each model.
        """
        found = dict(self.each(x, y, subsets, seeds))
        return [found[k] for k in range(len(seeds))]

    def each(
        self, x: Features, y: Labels, subsets: Sequence[Index], seeds: Sequence[int]
    ) -> Iterator[tuple[int, nn.Module]]:
        """Yield the models of `many` with their positions, each as soon as it is trained."""
        if not seeds:
            return
        if as_stream(x) is not None or not batchable(self.fresh(seeds[0])):
            for k, (subset, seed) in enumerate(zip(subsets, seeds, strict=True)):
                yield k, self(pick(x, subset), y[subset], seed)
            return

        # All are made here, because threads share torch's generator.
        models = [self.fresh(seed) for seed in seeds]

        def fit_chunk(chunk: Sequence[int]) -> list[tuple[int, nn.Module]]:
            group = [models[k] for k in chunk]
            orders = [generator(seeds[k], "order") for k in chunk]
            with fitting_threads(group[0]):
                fit_together(group, x, y, [subsets[k] for k in chunk], self.recipe, orders)
            return [(k, model.eval()) for k, model in zip(chunk, group, strict=True)]

        threads = usable_threads()
        run = Parallel(n_jobs=threads, prefer="threads", return_as="generator_unordered")
        chunks = _chunks([len(subset) for subset in subsets], threads)
        for finished in run(delayed(fit_chunk)(chunk) for chunk in chunks):
            yield from finished


@dataclass(frozen=True, kw_only=True)
class FunctionTrainer:
    """A training function of the user's own, `fit(x, y, seed) -> model`.

    Args:
        function: Such as `package.module:fit`; returns a module, or a fitted classifier of
            scikit-learn or XGBoost.
        n_classes: Number of outputs, for classifiers that do not know classes they have not seen.
    """

    function: str
    n_classes: int | None = None

    def __call__(self, x: Features, y: Labels, seed: int) -> nn.Module:
        """Return the model that the function trains, in evaluation mode.

        Raises:
            ModelError: If there is no such function, it fails, or it returns no model.
        """
        return call_own(find_function(self.function), self.function, x, y, seed, self.n_classes)


class CallTrainer:
    """A training function that is at hand, called as carefully as one that a plan names.

    Args:
        function: Takes `(x, y, seed)`; returns what `FunctionTrainer`'s function may return.
        n_classes: Number of outputs, for classifiers that do not know classes they have not seen.
    """

    def __init__(self, function: Function, n_classes: int | None = None) -> None:
        self.function, self.n_classes = function, n_classes

    def __call__(self, x: Features, y: Labels, seed: int) -> nn.Module:
        """Return the model that the function trains, in evaluation mode.

        Raises:
            ModelError: If the function fails, or returns no model.
        """
        name = getattr(self.function, "__qualname__", type(self.function).__name__)
        return call_own(self.function, name, x, y, seed, self.n_classes)


@dataclass(frozen=True, kw_only=True)
class SelfTrainer:
    """An architecture that brings its own training, such as boosted trees.

    Args:
        architecture: What is built; a `SelfTrained`.
    """

    architecture: Architecture

    def __call__(self, x: Features, y: Labels, seed: int) -> nn.Module:
        """Return a model trained from scratch, in evaluation mode.

        Raises:
            ModelError: If the architecture has to be trained by a recipe.
        """
        model = self.architecture.build()
        if not isinstance(model, SelfTrained):
            raise ModelError(f"{self.architecture.name} does not train itself; give it a recipe")
        return model.fit(x, y, seed).eval()


class FirstMade:
    """Builds models like the first that a recipe made, to load remembered weights into.

    For training functions, which do not say what they build: the recipe is called once, when the
    first model is asked for.

    Args:
        trainer: The recipe.
        x: Features to train on.
        y: Labels to train on.
        seed: Of the training.
    """

    def __init__(self, trainer: Trainer, x: Features, y: Labels, seed: int) -> None:
        self._train = partial(trainer, x, y, seed)
        self._model: nn.Module | None = None

    def __call__(self) -> nn.Module:
        """Return a copy of the first model."""
        if self._model is None:
            self._model = self._train()
        return copy.deepcopy(self._model)


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
