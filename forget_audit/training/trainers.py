"""A recipe and an architecture as a function that trains one model or many."""

import copy
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from joblib import Parallel, delayed
from torch import nn

from forget_audit.architectures import Architecture
from forget_audit.errors import ModelError
from forget_audit.foreign.answering import SelfTrained
from forget_audit.seeds import derive, generator, seeded_torch
from forget_audit.streaming import as_stream, pick
from forget_audit.training.loop import (
    Index,
    Precision,
    Recipe,
    fit,
    fitting_threads,
    is_small,
    tensors,
    torch_threads,
)
from forget_audit.training.memory import ONE, fit_smaller, fitting_models, told
from forget_audit.training.places import equal_groups, usable_device, usable_threads
from forget_audit.training.remembered_ways import way_for
from forget_audit.training.together import fit_together
from forget_audit.training.ways import Question, Way
from forget_audit.types import Features, Labels, Trainer

_BUILDING = threading.Lock()  # threads share torch's generator


@dataclass(frozen=True, kw_only=True)
class RecipeTrainer:
    """A `Trainer` made of an architecture and a recipe.

    Models start on the processor, so that a seed gives the same one everywhere, are trained on
    the device, and come back: many of them would fill it.

    Args:
        architecture: What is built.
        recipe: How it is trained.
        device: Where, as torch has it: `cpu`, `cuda`, `cuda:1`.
        precision: `bf16` computes products in bfloat16, and keeps weights and loss in float32.
    """

    architecture: Architecture
    recipe: Recipe
    device: str = "cpu"
    precision: Precision = "fp32"

    def __call__(self, x: Features, y: Labels, seed: int) -> nn.Module:
        """Return a model trained from scratch, in evaluation mode."""
        return self._alone(x, y, seed)

    def fresh(self, seed: int) -> nn.Module:
        """Return the untrained model from which training with `seed` starts."""
        with _BUILDING, told(ONE), seeded_torch(derive(seed, "init")):
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
        self,
        x: Features,
        y: Labels,
        subsets: Sequence[Index],
        seeds: Sequence[int],
        of: int | None = None,
    ) -> Iterator[tuple[int, nn.Module]]:
        """Yield the models of `many` with their positions, each as soon as it is trained.

        On a processor a model does not depend on those it is trained with, nor on how many are
        left of its group; networks of more than a million weights do depend on the number of
        torch's threads.

        Args:
            x: Features of all rows.
            y: Labels of all rows.
            subsets: Positions of the rows of each model.
            seeds: Seed of each model.
            of: Number of models in the whole group, those that are there already included.
        """
        if not seeds:
            return
        lengths = [len(subset) for subset in subsets]
        way = self.way(lengths, x, of)
        chunks = self.chunks(lengths, x, way=way)
        fit_group = self._group(way, x, y)
        workers = min(self._side_by_side(way), len(chunks))
        inner = torch.get_num_threads() if workers == 1 else usable_threads() // workers
        inner = 1 if is_small(self.fresh(seeds[0])) else inner

        def fit_one(chunk: Sequence[int]) -> list[tuple[int, nn.Module]]:
            torch.set_num_threads(inner)
            models = fit_group([subsets[k] for k in chunk], [seeds[k] for k in chunk])
            return list(zip(chunk, models, strict=True))

        run = Parallel(n_jobs=workers, prefer="threads", return_as="generator_unordered")
        with torch_threads(torch.get_num_threads()):
            for finished in run(delayed(fit_one)(chunk) for chunk in chunks):
                yield from finished

    def way(self, lengths: Sequence[int], x: Features, of: int | None = None) -> Way:
        """Return how models with `lengths` rows of `x` are trained; measured once for the like.

        Args:
            lengths: Number of rows of each model.
            x: Features of all rows.
            of: Number of models in the whole group, if some of them are there already.
        """
        if as_stream(x) is not None or not len(x) or not lengths:
            return Way()
        step = -(-max(lengths) // self.recipe.steps_per_epoch)
        rounded = 1 << max(1, (step - 1).bit_length())  # so that like groups share a measurement
        question = Question(
            build=partial(self.fresh, 0),
            rows=torch.tensor(np.asarray(x[np.arange(rounded) % len(x)])),
            recipe=self.recipe,
            device=usable_device(self.device),
            precision=self.precision,
        )
        found = way_for(question)
        if self._filled_up(found) and not found.pays(of or len(lengths)):
            return found.alone()
        return found

    def chunks(
        self,
        lengths: Sequence[int],
        x: Features,
        workers: int | None = None,
        way: Way | None = None,
    ) -> list[list[int]]:
        """Return the positions of the models that are trained at once, for `fit_chunk`.

        Args:
            lengths: Number of rows of each model.
            x: Features of all rows.
            workers: How many chunks are trained side by side; one a usable thread if left out.
            way: What `way` returned, if it is known.
        """
        way = way or self.way(lengths, x)
        if way.how == "loop" or self._filled_up(way):
            return list(equal_groups(lengths, way.models))
        workers = workers or self._side_by_side(way)
        most = min(way.models, fitting_models(way.bytes_each, usable_device(self.device), workers))
        return list(equal_groups(lengths, most, workers))

    def fit_chunk(
        self,
        x: Features,
        y: Labels,
        subsets: Sequence[Index],
        seeds: Sequence[int],
        way: Way | None = None,
    ) -> list[nn.Module]:
        """Return the models of one of `chunks`, in evaluation mode.

        Not to be called in several threads: they share torch's generator and number of threads.

        Args:
            x: Features of all rows.
            y: Labels of all rows.
            subsets: Positions of the rows of each model, the same number for each.
            seeds: Seed of each model.
            way: What `way` returned, if it is known.
        """
        fit_group = self._group(way or self.way([len(s) for s in subsets], x), x, y)
        with fitting_threads(self.fresh(seeds[0])):
            return fit_group(subsets, seeds)

    def _group(
        self, way: Way, x: Features, y: Labels
    ) -> Callable[[Sequence[Index], Sequence[int]], list[nn.Module]]:
        """Return what trains models of a group; the rows go to the device once."""
        if way.how == "loop":
            return lambda subsets, seeds: [
                self._alone(pick(x, subset), y[subset], seed, seeded=not way.side_by_side)
                for subset, seed in zip(subsets, seeds, strict=True)
            ]
        with told(f"the rows on {self.device}"):
            inputs, labels = tensors(x, y, usable_device(self.device))

        def fit_group(subsets: Sequence[Index], seeds: Sequence[int]) -> list[nn.Module]:
            def together(wanted: Sequence[int]) -> list[nn.Module]:
                copies = way.models - len(wanted) if self._filled_up(way) else 0
                places = [*wanted, *[wanted[0]] * copies]
                models = [self.fresh(seeds[k]).to(inputs.device) for k in places]
                rows = [subsets[k] for k in places]
                orders = [generator(seeds[k], "order") for k in places]
                fit_together(models, inputs, labels, rows, self.recipe, orders, self.precision)
                return [model.cpu().eval() for model in models[: len(wanted)]]

            def alone(wanted: Sequence[int]) -> list[nn.Module]:
                return [
                    self._alone(pick(x, subsets[k]), y[subsets[k]], seeds[k], seeded=False)
                    for k in wanted
                ]

            filled_up = self._filled_up(way)
            return fit_smaller(together, range(len(seeds)), alone=alone if filled_up else None)

        return fit_group

    def _alone(self, x: Features, y: Labels, seed: int, *, seeded: bool = True) -> nn.Module:
        order = generator(seed, "order")
        with told(ONE):
            model = self.fresh(seed).to(usable_device(self.device))
            fit(model, x, y, self.recipe, order, precision=self.precision, seeded=seeded)
            return model.cpu().eval()

    def _filled_up(self, way: Way) -> bool:
        """Say whether all batches are of one size, so that all models round alike."""
        return way.how == "torch.func" and usable_device(self.device).type == "cpu"

    def _side_by_side(self, way: Way) -> int:
        """Return how many chunks this process trains at the same time."""
        apart = way.how != "loop" or way.side_by_side
        if usable_device(self.device).type != "cpu" or not apart:
            return 1
        at_once = way.models if self._filled_up(way) else 1
        return min(
            usable_threads(), fitting_models(way.bytes_each * at_once, usable_device(self.device))
        )


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
