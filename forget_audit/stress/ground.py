"""What all forget sets of one seed share: rows, models to pick with, and models to judge with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from torch import nn

from forget_audit.errors import PlanError, Problem
from forget_audit.model_files import load_weights
from forget_audit.plans.plan import Plan
from forget_audit.plans.sections import RequestSection
from forget_audit.stress.drawing import Drawn
from forget_audit.stress.scouts import Scouts, halves
from forget_audit.targets import Target
from forget_audit.training.references import Workshop
from forget_audit.types import SMALL_REQUEST, Case, Labels, Rows
from forget_audit.worst_case import Surrogate

SHARE, MOST = 0.1, 100


@dataclass(frozen=True, kw_only=True)
class Extent:
    """How much is measured.

    Args:
        size: Units in a set; if left out, what the plan's request says, or a tenth of the
            training rows, from 10 to 100.
        seeds: How often everything is done anew: split, models and sets.
        references: Retrained models of each set.
        originals: Models trained with each set: what remembering looks like.
        pairs: Pairs of models on halves of the training rows.
        parts: Parts of the hardness curve; none leaves it out.
        workers: Processes; seeds run side by side.

    Raises:
        ValueError: If a number is too small; sets of fewer than 10 could point at somebody.
    """

    size: int | None = None
    seeds: int = 5
    references: int = 12
    originals: int = 5
    pairs: int = 16
    parts: int = 5
    workers: int = 1

    def __post_init__(self) -> None:
        least = {"seeds": 1, "references": 3, "originals": 2, "pairs": 2, "parts": 0, "workers": 1}
        if self.size is not None:
            least["size"] = SMALL_REQUEST
        for name, bound in least.items():
            if getattr(self, name) < bound:
                raise ValueError(f"{name} must be at least {bound}, found {getattr(self, name)}")


@dataclass(frozen=True, kw_only=True, eq=False)
class Split:
    """The rows of one seed in their roles, before any set is drawn.

    Args:
        case: With one unit to be forgotten, which is not used.
        rows: All training rows.
        seed: Root of all that is random.
        size: Units in a set.
        finer: Finer class of rows by id, of data that have one.
        workshop: Trains models by the plan's recipe.
    """

    case: Case
    rows: Rows
    seed: int
    size: int
    finer: Mapping[str, int] | None
    workshop: Workshop

    def finer_of(self, rows: Rows) -> Labels | None:
        """Return the finer class of each row `(n,)`, of data that have one."""
        if self.finer is None:
            return None
        return np.array([self.finer[name] for name in rows.ids.tolist()], dtype=np.int64)


@dataclass(frozen=True, kw_only=True, eq=False)
class Ground:
    """What all sets of one seed share.

    Args:
        split: The rows.
        scouts: What rows are picked with.
        parent: The original that methods are given.
        originals: Other models trained on all rows.
    """

    split: Split
    scouts: Scouts
    parent: nn.Module
    originals: tuple[Target, ...]


def split(plan: Plan, extent: Extent, number: int) -> Split:
    """Give the plan's rows their roles for the seed that is `number` beyond the plan's.

    Raises:
        PlanError: If the plan holds no data or no recipe.
    """
    if plan.predictions is not None:
        message = "a stress test trains models, and this plan holds recorded predictions only"
        raise PlanError([Problem("predictions", message)])
    seed = plan.references.seed + number
    drawn = replace(
        plan,
        references=plan.references.model_copy(update={"seed": seed}),
        request=RequestSection(reference="stress-test", random=1),
    )
    dataset = drawn.dataset()
    case = drawn.case(dataset)
    finer = None
    if dataset.subclasses is not None:
        names, kinds = dataset.rows.ids.tolist(), dataset.subclasses.tolist()
        finer = dict(zip(names, kinds, strict=True))
    rows = case.training
    return Split(
        case=case,
        rows=rows,
        seed=seed,
        size=_size(plan, extent, rows),
        finer=finer,
        workshop=Workshop(case=case, seed=seed, template=plan.architecture(dataset).build),
    )


def ground(split: Split, extent: Extent, handed: Sequence[Target], *, pairs: bool) -> Ground:
    """Train what all sets of one seed share.

    Args:
        split: The rows.
        extent: How much.
        handed: Audited models of the plan: rows are never picked with those.
        pairs: Whether models on halves are needed.
    """
    rows, workshop = split.rows, split.workshop
    every = [np.arange(len(rows))] * (2 + extent.originals)
    parent, surrogate, *originals = workshop.train("stress originals", rows, every)
    units, unit = rows.numbered()
    members = halves(units, extent.pairs if pairs else 0, split.seed)
    subsets = [np.flatnonzero(seen[unit]) for seen in members]
    audited = (Target(parent), *handed)
    return Ground(
        split=split,
        scouts=Scouts(
            rows=rows,
            n_classes=split.case.n_classes,
            surrogate=_surrogate(Target(surrogate), audited),
            halves=tuple(
                Surrogate(target=Target(model), audited=audited)
                for model in workshop.train("stress halves", rows, subsets)
            ),
            members=members,
            finer=split.finer_of(rows),
            spare=split.case.auxiliary,
        ),
        parent=parent,
        originals=tuple(Target(model) for model in originals),
    )


def _surrogate(target: Target, audited: Sequence[Target]) -> Surrogate | None:
    """Declare a model the auditor's own; there is none if training always ends in the same one."""
    if target.digest() in {model.digest() for model in audited}:
        return None
    return Surrogate(target=target, audited=audited)


def case_of(split: Split, drawn: Drawn) -> Case:
    """Return the request for a drawn set; the control rows of a class are of that class."""
    case, rows = split.case, split.rows
    if drawn.planted is not None:
        spare = case.auxiliary if drawn.spare is None else drawn.spare
        return case.replace(retain=rows, forget=drawn.planted, auxiliary=spare)
    gone = np.isin(rows.ids, drawn.ids)
    if drawn.scope == "instance":
        return case.replace(retain=rows.take(~gone), forget=rows.take(gone))
    rows, test = (part.replace(units=None) for part in (rows, case.test))
    finer = split.finer_of(test)
    kinds = test.y if drawn.scope == "class" or finer is None else finer
    inside = np.isin(kinds, drawn.classes)
    return case.replace(
        retain=rows.take(~gone),
        forget=rows.take(gone),
        test=test.take(inside),
        others=test.take(~inside),
        auxiliary=case.auxiliary.replace(units=None),
        scope=drawn.scope,
        classes=drawn.classes,
    )


def handed_in(plan: Plan) -> tuple[Target, ...]:
    """Return the models under audit that the plan names; no row is picked with them."""
    names = [name for name in (plan.model.original, plan.model.unlearned) if name]
    if not names:
        return ()
    architecture = plan.architecture(plan.dataset())
    return tuple(Target(load_weights(architecture.build(), plan.path(name))) for name in names)


def _size(plan: Plan, extent: Extent, rows: Rows) -> int:
    if extent.size is not None:
        return extent.size
    asked = plan.request.random
    units = rows.numbered()[0]
    return max(SMALL_REQUEST, min(MOST, asked or round(SHARE * units)))
