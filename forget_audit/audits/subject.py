"""The audited model: handed in, or made by the method that is audited."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from torch import nn

from forget_audit.audits.commission import Commission
from forget_audit.contracts import Unlearned
from forget_audit.errors import ModelError
from forget_audit.seeds import derive
from forget_audit.training.originals import original_for, refuse_unseen
from forget_audit.training.references import Workshop
from forget_audit.training.unlearning import unlearn
from forget_audit.types import Progress


@dataclass(frozen=True, kw_only=True, eq=False)
class Subject:
    """The audited model and where it comes from.

    Args:
        models: The audited model, or independent copies.
        parents: The models they were made from, if known.
        unlearned: What the method reported, if the audit ran it.
        twin: Retrained from the parent's own initialisation, if the audit trained the parent.
    """

    models: tuple[nn.Module, ...]
    parents: tuple[nn.Module, ...]
    unlearned: Unlearned | None
    twin: nn.Module | None


def make_subject(commission: Commission, workshop: Workshop, progress: Progress) -> Subject:
    """Take the audited model as handed in, or make it with the method of the commission.

    Raises:
        ModelError: If there is neither a model nor a method.
    """
    case, seed = commission.case, commission.seed
    if commission.unlearned:
        parents: tuple[nn.Module, ...] = ()
        if commission.original is not None:
            parents = (commission.original,)
        progress(len(commission.unlearned))
        return Subject(models=commission.unlearned, parents=parents, unlearned=None, twin=None)
    if commission.method is None:
        raise ModelError("nothing to audit: expected an unlearned model or a method, found neither")
    refuse_unseen(commission.method, commission.template())
    twin = None
    cases = [case] * commission.counts.copies
    if commission.original is not None:
        parents, cases = (commission.original,), [case]
    elif commission.method.info.needs & {"log", "initial"}:
        made = [
            original_for(commission.method, case, derive(seed, "parents", k))
            for k in range(commission.counts.copies)
        ]
        parents, cases = tuple(model for model, _ in made), [recorded for _, recorded in made]
    else:
        everyone = [np.arange(len(case.training))] * commission.counts.copies
        parents = tuple(workshop.train("parents", case.training, everyone))
        retained = [np.arange(len(case.retain))]
        twin = workshop.train("twin", case.retain, retained, seeded_as="parents")[0]
    results = []
    method = commission.method
    for k, (parent, recorded) in enumerate(zip(parents, cases, strict=True)):
        results.append(
            unlearn(workshop, method, parent, recorded, "unlearning", method.info.name, k)
        )
        progress(1)
    return Subject(
        models=tuple(result.model for result in results),
        parents=parents,
        unlearned=results[0],
        twin=twin,
    )
