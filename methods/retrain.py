"""Retraining from scratch without the forget rows: the reference all other methods approximate."""

import time
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from torch import nn

from forget_audit.contracts import MethodInfo, Unlearned, UnlearnReport
from forget_audit.errors import ModelError
from forget_audit.methods._settings import refuse_unserved
from forget_audit.methods._steps import changed
from forget_audit.registry import method
from forget_audit.seeds import draw_seed
from forget_audit.training.trainers import RecipeTrainer
from forget_audit.types import Case


@method
@dataclass(frozen=True, kw_only=True)
class Retrain:
    """Train a new model by the same recipe on the retained rows only.

    Nothing of the given model is used: the recipe builds a new object from a fresh seed, so
    every weight and every buffer starts anew, independently of the given model. Whatever the
    result knows of the forget rows, it knows from the retained ones. The recipe runs unchanged:
    for built-in recipes that means the same number of steps as with the forget rows.

    Raises:
        NotApplicable: If the case holds no training recipe.
        ModelError: If the recipe returns the given model instead of building one.

    References:
        Bourtoule et al. (2021), Machine Unlearning, https://arxiv.org/abs/1912.03817.
        Thudi et al. (2022), On the Necessity of Auditable Algorithmic Definitions for Machine
        Unlearning, https://arxiv.org/abs/2110.11891.

    Departures:
        None in the algorithm. Public benchmarks reset only the last layer and call it
        retraining; here the recipe must build the model. For class requests the outputs stay
        as many as before, so that models can be compared; the logit of a forgotten class is
        untrained but can still rank rows. One call gives one model; the audit repeats it.
        Verification: equal to calling the recipe on the retained rows, bit for bit.
    """

    info: ClassVar[MethodInfo] = MethodInfo(
        name="retrain",
        title="Retraining from scratch",
        card="M01",
        paper="arXiv:1912.03817",
        needs=frozenset({"retain", "labels", "recipe"}),
        scopes=frozenset({"instance", "class", "subclass", "attribute"}),
        heads=frozenset({"single", "multi"}),
        guarantee="exact",
        black_box=True,
        cost="one full training on the retained rows; nothing is stored",
        errata=("E14", "E34"),
        summary="Throws the model away and trains a new one without the rows to forget.",
    )

    def unlearn(self, model: nn.Module, case: Case, rng: np.random.Generator) -> Unlearned:
        """Return a model trained on the retained rows from a seed drawn from `rng`."""
        refuse_unserved(self.info, case)
        started = time.perf_counter()
        trainer, retain, seed = case.trainer, case.retain, draw_seed(rng)
        assert trainer is not None
        retrained = trainer(retain.x, retain.y, seed).eval()
        if retrained is model:
            raise ModelError(
                "expected the recipe to build a new model, found the given one; "
                "build the model inside the trainer"
            )
        retrained.zero_grad(set_to_none=True)
        steps, passes, notes = 0, 0, [f"training seed {seed}"]
        if isinstance(trainer, RecipeTrainer):
            recipe = trainer.recipe
            passes = recipe.epochs
            steps = passes * min(recipe.steps_per_epoch, len(retain))
        else:
            notes.append("the recipe does not say how many steps it took: steps and rows are 0")
        report = UnlearnReport(
            steps=steps,
            rows_touched=passes * len(retain),
            seconds=time.perf_counter() - started,
            stop_reason="the recipe ended",
            notes=tuple(notes),
            changed=changed(model, retrained),
        )
        return Unlearned(model=retrained, report=report)
