"""Audits of models that are already in memory: the shortest way in from Python."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from torch import nn

from forget_audit.asking import evaluating
from forget_audit.audits.audit import Audit, carry_out
from forget_audit.audits.commission import Commission
from forget_audit.errors import ModelError, PlanError, Problem
from forget_audit.foreign.answering import adopt
from forget_audit.progress import Display
from forget_audit.targets import weights_digest
from forget_audit.training.counts import Counts
from forget_audit.training.own_functions import CallTrainer, FunctionTrainer
from forget_audit.training.trainers import RecipeTrainer, SelfTrainer
from forget_audit.types import Case, Trainer
from forget_audit.views.notebook import watch

CAREFUL = (CallTrainer, FunctionTrainer, RecipeTrainer, SelfTrainer)


def certify(
    case: Case,
    *,
    unlearned: nn.Module | Sequence[nn.Module],
    train: Trainer | None = None,
    original: nn.Module | None = None,
    counts: Counts | None = None,
    attacks: Sequence[str] | None = None,
    seed: int = 0,
    workers: int = 1,
    cache: str | Path | None = None,
    verbose: int = 0,
    progress: Display | None = None,
) -> Audit:
    """Audit an unlearned model that is already in memory, and leave it in the mode it is in.

    Args:
        case: The rows and the request.
        unlearned: The audited model, or independent copies of it: PyTorch modules, or fitted
            classifiers of scikit-learn or XGBoost.
        train: The recipe, `(x, y, seed) -> model`; the trainer of the case if left out.
        original: The model before unlearning, for attacks that compare the two.
        counts: How many models are trained for comparison.
        attacks: Names of the attacks to run beside the verdict; all if left out.
        seed: Root seed of everything random in the audit.
        workers: Processes that train in parallel.
        cache: Folder in which trained models are remembered.
        verbose: 1 shows how far the audit is, 0 nothing.
        progress: Shows it in another way.

    Returns:
        The audit; `.verdict.outcome` is the answer, `.report(folder)` signs it.

    Raises:
        CaseError: If the rows do not form a case.
        ModelError: If a model or the recipe cannot be used, or a model answers otherwise than a
            model should.
        PlanError: If too few models are to be trained.
        UnknownName: If there is no such attack.
    """
    given = tuple(unlearned) if isinstance(unlearned, Sequence) else (unlearned,)
    if counts is not None and not counts.identity:
        raise PlanError([Problem("counts.identity", "expected at least 1 model, found 0")])
    recipe = case.trainer if train is None else train
    if recipe is not None and not isinstance(recipe, CAREFUL):
        recipe = CallTrainer(recipe, case.n_classes)
    if recipe is not case.trainer:
        case = case.replace(trainer=recipe)
    chosen = (attacks,) if isinstance(attacks, str) else attacks
    with ExitStack() as stack:
        for model in (*given, original):
            if isinstance(model, nn.Module):
                stack.enter_context(evaluating(model))
        models = tuple(adopt(model, case.n_classes) for model in given)
        _refuse_copies(models)
        commission = Commission(
            case=case,
            template=lambda: copy.deepcopy(models[0]),
            seed=seed,
            counts=counts or Counts(copies=len(models)),
            original=None if original is None else adopt(original, case.n_classes),
            unlearned=models,
            attacks=None if chosen is None else tuple(chosen),
            cache=None if cache is None else Path(cache),
            workers=workers,
        )
        return carry_out(commission, progress or watch(verbose))


def _refuse_copies(models: Sequence[nn.Module]) -> None:
    """Refuse no models, and one model several times: copies count as evidence of their own."""
    if not models:
        raise ModelError("expected an unlearned model, or several copies in a list, found none")
    first: dict[str, int] = {}
    for k, model in enumerate(models, 1):
        twin = first.setdefault(weights_digest(model), k)
        if twin != k and len(models[0].state_dict()):
            raise ModelError(
                f"the unlearned models {twin} and {k} have the same weights; several must be "
                "unlearned independently, each from an original of its own; hand in one of them"
            )
