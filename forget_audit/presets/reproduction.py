"""A table of a paper measured again: the original, retraining and each method, over seeds.

Originals and retrained models are remembered beside the results, so that a broken run goes on.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from forget_audit.bench.running import Extent, machine
from forget_audit.errors import NotApplicable
from forget_audit.metering import metered
from forget_audit.plans.plan import Plan
from forget_audit.presets.catalogue import Preset
from forget_audit.presets.choices import Choice, chosen
from forget_audit.presets.paper_metrics import Measuring, Parts, figure
from forget_audit.presets.smoke_size import TEXT, smaller
from forget_audit.seeds import derive, generator
from forget_audit.targets import Target
from forget_audit.training.loop import fitting_threads
from forget_audit.training.originals import needs_its_own, original_for
from forget_audit.training.references import Workshop
from forget_audit.types import Case, Json, Progress, Rows

FORMAT = "forget-audit-reproduction/1"


@dataclass(kw_only=True)
class Tried:
    """What came of one row of a table, over the seeds.

    Args:
        values: Of each metric, one a seed.
        seconds: Processor time of unlearning, one a seed.
        refusal: Why the method does not apply.
        error: What broke.
        unmeasured: Why a metric could not be taken.
        notes: What the method says of itself.
    """

    values: dict[str, list[float]] = field(default_factory=dict)
    seconds: list[float] = field(default_factory=list)
    refusal: str = ""
    error: str = ""
    unmeasured: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, eq=False)
class Round:
    """One seed: an original, a retrained model, and what is done to the original.

    Args:
        case: The request.
        parent: The original.
        retrained: Trained without what is to be forgotten.
        seed: Of all randomness but that of the two.
        measure: Takes the metrics.
    """

    case: Case
    parent: nn.Module
    retrained: nn.Module
    seed: int
    measure: Measuring

    def row(self, choice: Choice, tried: Tried) -> None:
        """Make the model of one row of the table and measure it; what goes wrong is noted."""
        if tried.error or tried.refusal:
            return
        try:
            target = Target(self._model(choice, tried))
        except NotApplicable as reason:
            tried.refusal = str(reason)
            return
        except Exception as error:  # noqa: BLE001 a broken method is a row of the table
            tried.error = f"{type(error).__name__}: {error}"
            return
        for name in tried.values:
            try:
                tried.values[name].append(self.measure(name, target))
            except NotApplicable as reason:
                tried.unmeasured[name] = str(reason)

    def _model(self, choice: Choice, tried: Tried) -> nn.Module:
        if choice.kind == "original":
            return self.parent
        if choice.kind == "retrain":
            return self.retrained
        method, model, case = choice.make(), self.parent, self.case
        if needs_its_own(method.info):
            model, case = original_for(method, case, derive(self.seed, "parents"))
        rng = generator(self.seed, "unlearning", choice.text)
        with metered() as cost:
            done = method.unlearn(model, case, rng)
        tried.seconds.append(cost.cpu_seconds)
        tried.notes = tuple(dict.fromkeys([*tried.notes, *done.report.notes]))
        return done.model


def reproduce(
    preset: Preset,
    plan: Plan,
    *,
    seeds: int,
    methods: Sequence[str] | None = None,
    quick: bool = False,
    cache: Path | None = None,
    progress: Progress = lambda _: None,
) -> Json:
    """Measure a table of a paper on the user's copy of its data.

    Args:
        preset: The experiment.
        plan: Its plan, checked; at smoke size if `quick`.
        seeds: Originals, each trained and unlearned with randomness of its own.
        methods: Names of methods; all of the table if left out.
        quick: Whether the plan is at smoke size; methods then take few steps too.
        cache: Where trained models are remembered.
        progress: Called with 1 after each row and seed.

    Raises:
        UnknownName: If there is no such method.
    """
    started = time.perf_counter()
    choices = [smaller(one) if quick else one for one in chosen(preset.names, methods)]
    dataset = plan.dataset()
    case = plan.case(dataset)
    template = plan.architecture(dataset).build
    shop = Workshop(case=case, seed=plan.references.seed, template=template, cache=cache)
    parts = Parts.of(case, dataset, preset.columns)
    found = [Tried(values={name: [] for name in preset.columns}) for _ in choices]
    with fitting_threads(template()):
        parents = _train(shop, "parents", case.training, seeds)
        retrained = _train(shop, "retrained", case.retain, seeds)
        for k, (parent, other) in enumerate(zip(parents, retrained, strict=True)):
            seed = derive(plan.references.seed, "reproduction", k)
            measure = Measuring(parts=parts, parent=Target(parent), seed=seed, quick=quick)
            one = Round(case=case, parent=parent, retrained=other, seed=seed, measure=measure)
            for choice, tried in zip(choices, found, strict=True):
                one.row(choice, tried)
                progress(1)
    published = {
        (figure["method"], figure["metric"]): figure
        for figure in preset.tables["preset"]["published"]
    }
    return {
        "format": FORMAT,
        "preset": preset.name,
        "title": preset.title,
        "paper": preset.paper,
        "table": preset.table,
        "smoke": quick,
        "warning": TEXT if quick else "",
        "notes": list(preset.notes),
        "about": _about(plan, case, seeds),
        "machine": machine(Extent(workers=1)),
        "seconds": time.perf_counter() - started,
        "metrics": {
            name: {"meaning": figure(name).meaning, "unit": figure(name).unit}
            for name in preset.columns
        },
        "rows": [_row(*pair, published) for pair in zip(choices, found, strict=True)],
    }


def _train(shop: Workshop, group: str, rows: Rows, count: int) -> list[nn.Module]:
    return shop.train(group, rows, [np.arange(len(rows))] * count)


def _row(
    choice: Choice, tried: Tried, published: Mapping[tuple[str, str], Mapping[str, Any]]
) -> Json:
    status = "error" if tried.error else "not applicable" if tried.refusal else "measured"
    return {
        "label": choice.label,
        "method": choice.text,
        "kind": choice.kind,
        "settings": {key: repr(value) for key, value in choice.settings.items()},
        "status": status,
        "reason": tried.error or tried.refusal,
        "cpu_seconds": float(np.mean(tried.seconds)) if tried.seconds else None,
        "notes": list(tried.notes),
        "unmeasured": dict(tried.unmeasured),
        "metrics": {
            name: compared(values, published.get((choice.text, name)))
            for name, values in tried.values.items()
        },
    }


def compared(values: Sequence[float], printed: Mapping[str, Any] | None) -> Json:
    """Return our values beside the printed one, with the difference of ours from it."""
    mean = float(np.mean(values)) if values else None
    theirs = None if printed is None else float(printed["value"])
    both = mean is not None and theirs is not None
    return {
        "published": theirs,
        "published_sd": None if printed is None else printed.get("sd"),
        "ours": mean,
        "ours_sd": float(np.std(values, ddof=1)) if len(values) > 1 else None,
        "difference": mean - theirs if both else None,  # type: ignore[operator]
        "values": list(values),
    }


def _about(plan: Plan, case: Case, seeds: int) -> Json:
    training = plan.training
    return {
        "source": plan.data.source.partition(":")[0],
        "scope": case.scope,
        "rows": {role: len(rows) for role, rows in case.roles().items()},
        "model": {"name": plan.model.architecture, **plan.model.options},
        "image": list(case.retain.x.shape[1:]),
        "recipe": training.model_dump(exclude={"function"}),
        "seeds": seeds,
    }
