"""One method on one original: how it is made, metered, measured, and what went wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
from joblib import Parallel, delayed
from torch import nn

from forget_audit import registry
from forget_audit.architectures import Architecture
from forget_audit.bench.entries import CONTROLS, Entry
from forget_audit.bench.metrics import Seen, ask, head_interval, measure
from forget_audit.contracts import Method
from forget_audit.errors import NotApplicable
from forget_audit.metering import MIB, Cost, metered
from forget_audit.seeds import derive, generator
from forget_audit.targets import Target
from forget_audit.training.loop import Recipe, fitting_threads
from forget_audit.training.originals import needs_its_own, original_for
from forget_audit.training.trainers import RecipeTrainer
from forget_audit.types import Case, Rows
from forget_audit.workers import served

ROOT_SEED = 0
ORIGINALS = 5


@dataclass(frozen=True, kw_only=True, eq=False)
class Ground:
    """What all rows of a request share.

    Args:
        case: The request.
        references: What retrained models answer.
        originals: What models trained with the forget rows answer, other than the parents.
        parents: An original a seed, for methods that take any.
    """

    case: Case
    references: Seen
    originals: Seen
    parents: tuple[nn.Module, ...]


@dataclass(frozen=True, kw_only=True)
class Try:
    """One method on one original.

    Args:
        values: Metrics by name; empty if there are none.
        head: Interval over rows of the AUC of the label's output; attribute requests only.
        refusal: Why the method does not apply.
        error: What broke.
        notes: What the method did, and what was special about its original.
    """

    values: Mapping[str, float] = field(default_factory=dict)
    head: tuple[float, float] | None = None
    refusal: str = ""
    error: str = ""
    notes: tuple[str, ...] = ()


def prepare(case: Case, *, references: int, seeds: int, workers: int) -> Ground:
    """Train what all rows share.

    Args:
        case: The request, with a `RecipeTrainer`.
        references: Retrained models.
        seeds: Parents.
        workers: Processes.
    """
    trainer, everyone = case.trainer, case.training
    assert isinstance(trainer, RecipeTrainer)

    def group(kind: str, count: int, rows: Rows) -> list[nn.Module]:
        seeds = [derive(ROOT_SEED, kind, k) for k in range(count)]
        calls = (delayed(served(_train))(trainer, rows, seed) for seed in seeds)
        return list(Parallel(n_jobs=workers)(calls))

    def seen(models: Sequence[nn.Module]) -> Seen:
        return ask([Target(model) for model in models], case, ROOT_SEED)

    retrained = group("retrained", references, case.retain)
    with fitting_threads(retrained[0]):
        return Ground(
            case=case,
            references=seen(retrained),
            originals=seen(group("originals", ORIGINALS, everyone)),
            parents=tuple(group("parents", seeds, everyone)),
        )


def _train(trainer: RecipeTrainer, rows: Rows, seed: int) -> nn.Module:
    with fitting_threads(trainer.fresh(seed)):
        return trainer(rows.x, rows.y, seed)


def attempt(entry: Entry, ground: Ground, seed: int) -> Try:
    """Unlearn one original and measure the result; what goes wrong is part of the answer."""
    parent = ground.parents[seed]
    with fitting_threads(parent):
        _warm_up(ground.case.n_classes)
        try:
            return _attempt(entry, ground, seed)
        except NotApplicable as reason:
            return Try(refusal=str(reason))
        except Exception as error:  # noqa: BLE001 a broken method is a row of the table
            return Try(error=f"{type(error).__name__}: {error}")


def _attempt(entry: Entry, ground: Ground, seed: int) -> Try:
    model, case = ground.parents[seed], ground.case
    notes: tuple[str, ...] = ()
    rng = generator(ROOT_SEED, "bench", entry.name, seed)
    if entry.kind == "control":
        with metered() as cost:
            unlearned = CONTROLS[entry.name].make(model, case, rng)
    else:
        method: Method = registry.get_method(entry.method)(**entry.settings)
        if needs_its_own(method.info):
            model, case = original_for(method, case, derive(ROOT_SEED, "parents", seed))
            notes = _special(case, ground.case)
        with metered() as cost:
            done = method.unlearn(model, case, rng)
        unlearned, notes = done.model, (*notes, *done.report.notes)
    alike = _shapes(unlearned) == _shapes(ground.parents[seed])
    if not alike:
        notes = (*notes, "its model is built otherwise than the references: not looked inside")
    seen = ask([Target(unlearned)], ground.case, ROOT_SEED, inside=alike)
    values = measure(seen, ground.references, ground.originals, ground.case.scope) | _paid(cost)
    head = head_interval(seen) if ground.case.scope == "attribute" else None
    return Try(values=values, head=head, notes=notes)


def _shapes(model: nn.Module) -> list[tuple[str, tuple[int, ...]]]:
    return [(name, tuple(p.shape)) for name, p in model.named_parameters()]


def _paid(cost: Cost) -> dict[str, float]:
    paid = {"cpu_seconds": cost.cpu_seconds}
    return paid if cost.peak_mib is None else paid | {"peak_mib": cost.peak_mib}


def _special(case: Case, plain: Case) -> tuple[str, ...]:
    """Say what was special about the original of a method."""
    notes = []
    if case.trainer != plain.trainer:
        notes.append(
            "original trained by the method's own recipe, references by the plain one: residual "
            "influence and gap hold the difference of the recipes too"
        )
    if case.log is not None:
        notes.append(f"training log of {case.log.nbytes / MIB:.1f} MiB")
    return tuple(notes)


@lru_cache(maxsize=4)
def _warm_up(outputs: int) -> None:
    """Train a small network once a process, so that no method pays for loading libraries."""
    made = Architecture(name="mlp", shape=(4,), n_classes=outputs)
    trainer = RecipeTrainer(architecture=made, recipe=Recipe(epochs=1))
    trainer(np.zeros((8, 4), dtype=np.float32), np.zeros(8, dtype=np.int64), 0)
