"""A stress test from plan to numbers: seeds side by side, finished sets remembered till the end."""

from __future__ import annotations

import inspect
import json
import logging
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from joblib import Parallel, delayed, parallel_config

import forget_audit
from forget_audit.contracts import Method
from forget_audit.digests import (
    canonical_json,
    case_digest,
    file_digest,
    plain,
    sha256,
)
from forget_audit.digests import sources_digest as sources
from forget_audit.plans.plan import Plan
from forget_audit.seals import sealed, unsealed
from forget_audit.stress import ground as grounds
from forget_audit.stress.ground import Extent, Split
from forget_audit.stress.results import Found, document
from forget_audit.stress.rounds import one_set
from forget_audit.stress.strategies import Strategy, curve
from forget_audit.training.loop import fitting_threads
from forget_audit.training.references import fingerprint
from forget_audit.types import Json, Progress
from forget_audit.verdict.profiles import PROFILES
from forget_audit.whole_files import write_whole
from forget_audit.workers import overseen, served

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Order:
    """What is to be stressed, and how.

    Args:
        plan: Data, architecture and recipe.
        methods: By name, with their settings.
        strategies: How sets are drawn.
        extent: How much.
        memory: Folder of finished sets, for a run that breaks; those of this run are deleted at
            its end.
    """

    plan: Plan
    methods: Mapping[str, Method]
    strategies: tuple[Strategy, ...]
    extent: Extent
    memory: Path | None = None

    @property
    def everything(self) -> tuple[Strategy, ...]:
        """All strategies, and those of the hardness curve after them."""
        return (*self.strategies, *curve(self.extent.parts))

    @property
    def total(self) -> int:
        """How many sets are measured."""
        return len(self.everything) * self.extent.seeds


def stress(order: Order, progress: Progress = lambda _: None) -> Json:
    """Measure all methods on all sets and return what was found, as `stress.json` holds it.

    Args:
        order: What and how.
        progress: Called with the number of sets finished since the last call.

    Raises:
        PlanError: If the plan has no recipe to train by.
    """
    wall = time.perf_counter()
    numbers = range(order.extent.seeds)
    workers = min(order.extent.workers, len(numbers))
    if workers == 1:
        rounds = [_one_seed(order, number, progress) for number in numbers]
    else:
        rounds = []
        with overseen(), parallel_config(backend="loky", inner_max_num_threads=1):
            calls = (delayed(served(_one_seed))(order, number) for number in numbers)
            for found in Parallel(n_jobs=workers, return_as="generator")(calls):
                rounds.append(found)
                progress(len(found.sets))
    for folder in {found.folder for found in rounds if found.folder is not None}:
        shutil.rmtree(folder, ignore_errors=True)
    return document(
        plan=order.plan,
        methods=order.methods,
        strategies=order.everything,
        extent=order.extent,
        rounds=rounds,
        seconds=time.perf_counter() - wall,
    )


def _one_seed(order: Order, number: int, progress: Progress = lambda _: None) -> Found:
    """Measure all sets of one seed, those that an earlier run finished aside."""
    start = time.process_time()
    extent = order.extent
    split = grounds.split(order.plan, extent, number)
    files = _files(order, split)
    sets = {name: kept for name, file in files.items() if (kept := _read(file)) is not None}
    progress(len(sets))
    missing = [strategy for strategy in order.everything if strategy.name not in sets]
    if missing:
        log.info("seed %d: %d sets remembered, %d to do", split.seed, len(sets), len(missing))
        with fitting_threads(split.workshop.template()):
            pairs = any("halves" in strategy.looks for strategy in missing)
            ground = grounds.ground(split, extent, grounds.handed_in(order.plan), pairs=pairs)
            profile = PROFILES[order.plan.battery.profile]
            for strategy in missing:
                made = plain(one_set(strategy, ground, order.methods, extent, profile))
                sets[strategy.name] = made
                _keep(files[strategy.name], made)
                progress(1)
    case, places = split.case, {file.parent for file in files.values() if file is not None}
    roles = {"train": split.rows, "test": case.test, "auxiliary": case.auxiliary}
    return Found(
        sets=[sets[strategy.name] for strategy in order.everything],
        rows={role: rows.numbered()[0] for role, rows in roles.items()},
        cpu_seconds=time.process_time() - start,
        folder=next(iter(places), None),
    )


def _files(order: Order, split: Split) -> dict[str, Path | None]:
    """Return where each set of a seed is remembered; nowhere if it is unknown what made it."""
    trainer = fingerprint(split.case.trainer)
    makers = [_source(method) for method in order.methods.values()]
    if order.memory is None or trainer is None or None in makers:
        return dict.fromkeys((strategy.name for strategy in order.everything), None)
    extent = order.extent
    made_by = [
        sources(Path(forget_audit.__file__).parent),
        trainer,
        makers,
        {name: vars(method) for name, method in order.methods.items()},
        case_digest(split.case),
        [split.seed, split.size, extent.references, extent.originals, extent.pairs],
        order.plan.battery.profile,
    ]
    folder = order.memory / sha256(canonical_json(plain(made_by)))
    return {strategy.name: folder / f"{strategy.name}.json" for strategy in order.everything}


def _source(method: Method) -> str | None:
    try:
        return file_digest(Path(inspect.getsourcefile(type(method)) or ""))
    except (OSError, TypeError):
        return None


def _read(file: Path | None) -> Json | None:
    if file is None or not file.is_file():
        return None
    try:
        found: Json = json.loads(unsealed(file.read_bytes(), file.stem))
    except (OSError, ValueError, RecursionError):
        return None
    return found


def _keep(file: Path | None, found: Json) -> None:
    if file is not None:
        write_whole(file, sealed(json.dumps(found).encode(), file.stem))
