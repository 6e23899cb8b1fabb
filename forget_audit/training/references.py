"""The models an audit trains for comparison, each kept on disk as soon as it is finished.

Seeds are derived from the root seed by group and number, so that a broken run resumes with the
models it has, and more references leave the first ones as they were.
"""

from __future__ import annotations

import dataclasses
import inspect
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from torch import nn

from forget_audit.digests import arrays_digest, canonical_json, file_digest, sha256
from forget_audit.engines.engine import Engine
from forget_audit.engines.local import Local
from forget_audit.errors import ModelError
from forget_audit.named_objects import code_digest, own_code
from forget_audit.pools import Pool, Shadow
from forget_audit.seeds import derive, generator
from forget_audit.targets import Target
from forget_audit.training.counts import Counts as Counts
from forget_audit.training.elsewhere import train_on
from forget_audit.training.loop import Index
from forget_audit.training.own_functions import CallTrainer, FunctionTrainer, find_function
from forget_audit.training.remembered_models import load_remembered, remembered_bytes
from forget_audit.training.trainers import RecipeTrainer, SelfTrainer
from forget_audit.types import UNKNOWN, Case, Progress, Rows, Trainer
from forget_audit.whole_files import write_whole
from forget_audit.zoo.foreign_names import content

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class References:
    """Everything an audited model is compared with.

    Args:
        pool: What attacks may learn from.
        identity: Retrained models that are judged as if they were audited.
    """

    pool: Pool
    identity: tuple[Target, ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class Workshop:
    """Trains models by the recipe of a case and remembers them.

    Args:
        case: The rows; must hold a trainer.
        seed: Root seed of the plan.
        template: Builds a model whose weights are then replaced by remembered ones.
        cache: Folder of remembered models; nothing is remembered if there is none.
        fresh: Whether to ignore what is remembered.
        workers: Processes for recipes of the user's own; the built-in ones train in batches.
        engine: Runs trainings elsewhere; the models are the same. In this process, or in
            `workers` processes, if left out.
        progress: Called with the number of models finished since the last call.
        held: Called with the file of each remembered model that was trained on what is to be
            forgotten, so that it can be destroyed one day.
    """

    case: Case
    seed: int
    template: Callable[[], nn.Module]
    cache: Path | None = None
    fresh: bool = False
    workers: int = 1
    engine: Engine | None = None
    progress: Progress = lambda _: None
    held: Callable[[Path], None] = lambda _: None

    def train(
        self,
        group: str,
        rows: Rows,
        subsets: Sequence[Index],
        *,
        seeded_as: str | None = None,
        first: int = 0,
    ) -> list[nn.Module]:
        """Return one model a subset of `rows`, remembered or trained.

        Args:
            group: Such as `retrained`; names the seeds.
            rows: All rows of the group.
            subsets: Positions of the rows of each model.
            seeded_as: Another group whose seeds are used instead.
            first: Number of the first of them in its group.
        """
        numbers = range(first, first + len(subsets))
        seeds = [derive(self.seed, seeded_as or group, k) for k in numbers]
        files = self.files(seeds, rows, subsets)
        models: list[nn.Module | None] = [None] * len(subsets)
        for k, file in enumerate(files):
            if file is not None and file.is_file() and not self.fresh:
                models[k] = self._remembered(file)
        missing = [k for k, model in enumerate(models) if model is None]
        self.progress(len(subsets) - len(missing))
        log.info("%s: %d remembered, %d to train", group, len(seeds) - len(missing), len(missing))
        for k, model in self._fit(rows, subsets, seeds, missing):
            models[k] = model
            file = files[k]
            if file is not None:
                write_whole(file, remembered_bytes(model, file.stem))
            self.progress(1)
        for file, subset in zip(files, subsets, strict=True):
            if file is not None and _saw(rows.take(subset), self.case):
                self.held(file)
        return [model for model in models if model is not None]

    def told(self, progress: Progress) -> Workshop:
        """Return the same workshop, which tells `progress` how far it is."""
        return dataclasses.replace(self, progress=progress)

    def remembered(self, group: str, rows: Rows, subsets: Sequence[Index]) -> int:
        """Return how many models of a group need not be trained."""
        seeds = [derive(self.seed, group, k) for k in range(len(subsets))]
        files = self.files(seeds, rows, subsets)
        return sum(file is not None and file.is_file() and not self.fresh for file in files)

    def files(
        self, seeds: Sequence[int], rows: Rows, subsets: Sequence[Index]
    ) -> list[Path | None]:
        """Return where each model of a group is remembered."""
        made_by = fingerprint(self.case.trainer)
        if self.cache is None or made_by is None:
            return [None] * len(subsets)
        content = {  # most groups train all models on the very same rows
            id(subset): arrays_digest({"x": rows.contents[subset], "y": rows.y[subset]})
            for subset in {id(subset): subset for subset in subsets}.values()
        }
        keys = [
            sha256(canonical_json([made_by, content[id(subset)], str(seed)]))
            for seed, subset in zip(seeds, subsets, strict=True)
        ]
        return [self.cache / f"{key}.safetensors" for key in keys]

    def _fit(
        self, rows: Rows, subsets: Sequence[Index], seeds: Sequence[int], wanted: Sequence[int]
    ) -> Iterator[tuple[int, nn.Module]]:
        """Yield the wanted models with their numbers, each as soon as it is trained."""
        trainer = self.case.trainer
        if trainer is None:
            raise ModelError("the audit needs the training recipe to retrain models, found none")
        if not wanted:
            return
        chosen, drawn = [subsets[k] for k in wanted], [seeds[k] for k in wanted]
        if self.engine is None and isinstance(trainer, RecipeTrainer):
            finished = trainer.each(rows.x, rows.y, chosen, drawn, len(seeds))
        else:
            engine = self.engine or Local(workers=self.workers)
            finished = train_on(engine, trainer, rows, chosen, drawn, len(seeds))
        for place, model in finished:
            yield wanted[place], model

    def _remembered(self, file: Path) -> nn.Module | None:
        try:
            return load_remembered(self.template(), file)
        except ModelError as error:
            log.warning("%s; it is trained again", error)
            return None


def prepare_references(workshop: Workshop, counts: Counts) -> References:
    """Train or recall all reference models of a case."""
    case = workshop.case
    everyone = np.arange(len(case.retain))
    trained = case.training
    retrained = workshop.train("retrained", case.retain, [everyone] * counts.retrained)
    identity = workshop.train("identity", case.retain, [everyone] * counts.identity)
    whole = np.arange(len(trained))
    originals = workshop.train("originals", trained, [whole] * counts.originals)
    halves = shadow_members(case.auxiliary, counts.shadows, workshop.seed)
    subsets = [np.flatnonzero(half) for half in halves]
    shadows = workshop.train("shadows", case.auxiliary, subsets)
    return References(
        pool=Pool(
            retrained=tuple(Target(model) for model in retrained),
            originals=tuple(Target(model) for model in originals),
            shadows=tuple(
                Shadow(target=Target(model), members=half)
                for model, half in zip(shadows, halves, strict=True)
            ),
        ),
        identity=tuple(Target(model) for model in identity),
    )


def more_retrained(workshop: Workshop, references: References, count: int) -> References:
    """Return `references` with further retrained models, `count` in all.

    They are those that `prepare_references` trains after the first ones.
    """
    case, known = workshop.case, references.pool.retrained
    everyone = [np.arange(len(case.retain))] * (count - len(known))
    further = workshop.train("retrained", case.retain, everyone, first=len(known))
    more = (*known, *(Target(model) for model in further))
    return dataclasses.replace(
        references, pool=dataclasses.replace(references.pool, retrained=more)
    )


def shadow_members(rows: Rows, count: int, seed: int) -> list[npt.NDArray[np.bool_]]:
    """Return a random half of `rows` for each of `count` shadow models; none below 20 units.

    The rows of a person stay together.
    """
    people, unit = rows.numbered()
    if people < 20:
        return []
    orders = [generator(seed, "shadow rows", k).permutation(people) for k in range(count)]
    return [np.isin(unit, order[: people // 2]) for order in orders]


def fingerprint(trainer: Trainer | None) -> str | None:
    """Return what a remembered model depends on besides rows and seed: recipe and code.

    Code of the user's own is the module of the function and all that it imports from beside it.
    Nothing is returned, and so nothing remembered, for code that stands in no file, and for
    objects, whose settings are not known.
    """
    version = own_code()
    if isinstance(trainer, (RecipeTrainer, SelfTrainer)):
        name = trainer.architecture.name
        depends = content(name, trainer.architecture.folder)
        module = name.partition(":")[0]
        builder = "" if module == name or depends else code_digest(module)
        return None if builder is None else f"{version}\x1f{trainer!r}\x1f{builder}\x1f{depends}"
    modules: list[str] = []
    function: object = trainer
    if isinstance(trainer, FunctionTrainer):
        modules.append(trainer.function.partition(":")[0])
        function = find_function(trainer.function)
    elif isinstance(trainer, CallTrainer):
        function = trainer.function
    if not inspect.isroutine(function):
        return None
    try:
        source = file_digest(Path(inspect.getsourcefile(function) or ""))
    except (OSError, TypeError):
        return None
    digests = [code_digest(module) for module in (*modules, function.__module__)]
    if None in digests:
        return None
    return f"{version}\x1f{function.__qualname__}\x1f{source}\x1f{digests}"


def _saw(rows: Rows, case: Case) -> bool:
    """Say whether training on `rows` shows a model anything that is to be forgotten."""
    asked = np.isin(rows.ids, case.forget.ids)
    if case.attribute is not None:
        asked &= rows.y[:, case.attribute] != UNKNOWN
    return bool(asked.any())
