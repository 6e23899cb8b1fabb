"""Requests with pools of models of known state, and one suspect judged as an audit would."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
from torch import nn

from forget_audit.audits.calibration import Bench
from forget_audit.audits.commission import Commission, from_plan
from forget_audit.outputs import Outputs
from forget_audit.plans.plan import check_plan
from forget_audit.pools import Pool
from forget_audit.seeds import generator
from forget_audit.targets import Target
from forget_audit.training.loop import Recipe, fitting_threads
from forget_audit.training.references import Counts, prepare_references
from forget_audit.training.trainers import RecipeTrainer
from forget_audit.types import Floats
from forget_audit.verdict.policy import weigh
from forget_audit.verdict.profiles import Profile
from forget_audit.verdict.weighing import Models

Access = Literal["file", "questions", "weights"]
Finding = tuple[str, tuple[str, ...]]
SECOND: Mapping[Access, tuple[str, ...]] = {
    "file": (),
    "questions": ("near",),
    "weights": ("near", "mode"),
}
DIGITS: Mapping[str, Mapping[str, object]] = {
    "request": {"reference": "PROVIDERS", "random": 100},
    "data": {"source": "digits", "label_noise": 0.15},
    "model": {"architecture": "mlp"},
    "method": {"name": "retrain"},
}
CLASS: Mapping[str, Mapping[str, object]] = {
    "request": {"reference": "PROVIDERS", "scope": "class", "classes": [3]},
    "data": {"source": "digits", "train": 700, "test": 1000},
    "model": {"architecture": "mlp"},
    "method": {"name": "retrain"},
}


@dataclass(frozen=True, kw_only=True, eq=False)
class Suspect:
    """What a provider hands in.

    Args:
        audited: Answers of the model that is called unlearned.
        retrained: Answers of models for comparison, if the provider made those too.
        originals: The same of models trained with the forget rows.
    """

    audited: Outputs
    retrained: Outputs | None = None
    originals: Outputs | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class World:
    """One request.

    Args:
        bench: The models of an honest auditor, and what they answer.
        pool: The models themselves. The provider has the first few of each kind; the auditor
            never draws the one that a suspect was made of.
        made: What was worked out for this request already.
    """

    bench: Bench
    pool: Pool
    made: dict[str, tuple[Outputs, Outputs]] = field(default_factory=dict)

    @property
    def commission(self) -> Commission:
        """The request."""
        return self.bench.commission

    def original(self, k: int) -> nn.Module:
        """Return a copy of the provider's k-th original."""
        return self.pool.originals[k].model_copy()

    def retrained(self, k: int) -> nn.Module:
        """Return a copy of the provider's k-th retrained model."""
        return self.pool.retrained[k].model_copy()

    def ask(self, model: nn.Module) -> Suspect:
        """Ask a model all questions of an audit."""
        return Suspect(audited=self.bench.ask([Target(model.eval())]))

    def by_recipe(self, name: str, **changes: object) -> tuple[Outputs, Outputs]:
        """Return answers of references and originals trained by another recipe."""
        if name not in self.made:
            trainer, counts = self.commission.case.trainer, self.commission.counts
            assert isinstance(trainer, RecipeTrainer)
            recipe: Recipe = dataclasses.replace(trainer.recipe, **changes)  # type: ignore[arg-type]
            case = self.commission.case.replace(trainer=dataclasses.replace(trainer, recipe=recipe))
            other = dataclasses.replace(self.commission, case=case)
            size = dataclasses.replace(counts, retrained=counts.retrained + counts.identity)
            pool = prepare_references(
                other.workshop(), dataclasses.replace(size, identity=0, shadows=0)
            ).pool
            self.made[name] = self.bench.ask(pool.retrained), self.bench.ask(pool.originals)
        return self.made[name]

    def judge(
        self,
        suspect: Suspect,
        access: Access,
        k: int,
        rng: np.random.Generator,
        profile: Profile | None = None,
    ) -> Finding:
        """Return outcome and reasons of an audit of what was made of the k-th models."""
        counts, scope = self.commission.counts, self.commission.case.scope
        needed = counts.retrained + counts.identity
        retrained = suspect.retrained or _drawn(self.bench.retrained, needed, k, rng)
        originals = suspect.originals or _drawn(self.bench.originals, counts.originals, k, rng)
        see = partial(seen, access=access)
        models = Models(
            retrained=see(retrained.take(np.arange(counts.retrained))),
            identity=see(retrained.take(np.arange(counts.retrained, needed))),
            originals=see(originals),
            audited=see(suspect.audited),
        )
        verdict = weigh(models, profile=profile or self.commission.profile, scope=scope).verdict
        return verdict.outcome, verdict.reasons


Make = Callable[[World, int, np.random.Generator], Suspect]


def world(
    seed: int,
    tables: Mapping[str, Mapping[str, object]] = DIGITS,
    *,
    pool: int = 60,
    originals: int = 14,
    changes: Mapping[str, Mapping[str, object]] | None = None,
) -> World:
    """Train the models of one request.

    Args:
        seed: Root seed; the request follows from it.
        tables: Of the plan.
        pool: Retrained models.
        originals: Models trained with the forget rows.
        changes: Tables of the plan that are different.
    """
    plan = {**tables, "references": {"seed": seed}, **(changes or {})}
    commission = from_plan(check_plan(plan, Path()))
    wanted = Counts(retrained=pool, originals=originals, identity=0, shadows=0)
    with fitting_threads(commission.template()):
        found = prepare_references(commission.workshop(), wanted).pool
        return World(bench=Bench.of(commission, found), pool=found)


def seen(outputs: Outputs, access: Access) -> Outputs:
    """Return what an audit with so much access gets to see."""
    ways = [way for way in SECOND[access] if way in outputs.second]
    inner: Mapping[str, Floats] = outputs.traces if access == "weights" else {}
    return dataclasses.replace(
        outputs, second={way: outputs.second[way] for way in ways}, traces=inner
    )


def dice(world: World, *names: str | int) -> np.random.Generator:
    """Return the generator of one trial."""
    return generator(world.commission.seed, "providers", *names)


def _drawn(outputs: Outputs, count: int, without: int, rng: np.random.Generator) -> Outputs:
    order = rng.permutation(len(outputs))
    return outputs.take(order[order != without][:count])
