"""Certified removal: a Newton step on a linear head, with noise that hides what the step leaves."""

from dataclasses import dataclass
from typing import ClassVar, get_args

import numpy as np
import torch
from torch import nn

from forget_audit.contracts import MethodInfo, Unlearned
from forget_audit.errors import NotApplicable
from forget_audit.labels import to_forget
from forget_audit.methods._certified import (
    CertifiedTrainer,
    Loss,
    allowed,
    certified_head,
    features,
    recipe_of,
    remove,
    signs,
    train_head,
)
from forget_audit.methods._settings import Presets, number, one_of, refuse_unserved, whole
from forget_audit.methods._steps import Course
from forget_audit.registry import method
from forget_audit.seeds import draw_seed
from forget_audit.training.loop import rows_tensors
from forget_audit.types import Case, Trainer


@method
@dataclass(frozen=True, kw_only=True)
class CertifiedRemoval(Presets):
    """Take rows out of a linear head by one Newton step, and prove how little is left of them.

    The head is trained on features that no row has shaped, one output at a time, on the summed
    loss plus `lam / 2` times the squared weights for each row plus a random linear term. A
    removal takes the Newton step to the minimum without the rows. The gradient that the step
    leaves is bounded from the data; what the solver left in training is added, and removals
    add up in the model itself. While the total, taken over all outputs together, stays below
    what the noise hides, the head cannot be told from one that is trained without the rows by
    more than `epsilon` and `delta`. Beyond that the head is trained anew with fresh noise.

    Args:
        lam: Weight of the penalty, per row; must equal that of training.
        sigma: Standard deviation of the random linear term; must equal that of training.
        loss: `logistic`, or `squared`, for which the step is exact; must equal that of training.
        epsilon: Largest log-ratio of probabilities that the certificate grants.
        delta: Probability with which it may be exceeded.
        group: Rows removed in one Newton step; more are faster and leave more.

    Raises:
        ValueError: If a field is out of its range.
        NotApplicable: If the original was not trained for it, or with other settings.

    References:
        Guo, Goldstein, Hannun and van der Maaten (2020), Certified Data Removal from Machine
        Learning Models, https://arxiv.org/abs/1911.03030; code at
        https://github.com/facebookresearch/certified-removal.
        Chaudhuri, Monteleoni and Sarwate (2011), Differentially Private Empirical Risk
        Minimization, https://arxiv.org/abs/0912.0071.

    Departures:
        The spectral norm in the bound comes from a full eigenvalue decomposition, where the
        release takes 20 power iterations, which err to the unsafe side. Training is Newton's
        method until the gradient is at rounding error, and its rest is spent from the budget;
        the release's L-BFGS steps on a stale gradient and its rest is left out. Outputs share
        one budget: their noises are independent, so the root of the summed squares of what
        they spent counts. Rows are scaled to norm 1 after a constant is added. Features come
        from the untrained body of the architecture with fixed random weights, not from a
        network trained on public data or with differential privacy. The published noise of 10
        is meant for ten thousand rows and more; ours is small, and with a few hundred rows a
        request of many rows still exceeds the budget, so that the head is trained anew. Labels
        of an attribute are removed from their output alone, which is then set to 0. The
        certificate takes no account of rounding. Verification: the gradient left was computed
        and lies below the bound; least squares is retraining; published figures not reproduced.
    """

    info: ClassVar[MethodInfo] = MethodInfo(
        name="certified_removal",
        title="Certified removal",
        card="M39",
        paper="arXiv:1911.03030",
        needs=frozenset({"forget", "retain", "labels", "training", "architecture"}),
        scopes=frozenset({"instance", "class", "attribute"}),
        heads=frozenset({"single", "multi"}),
        guarantee="certified",
        assumptions="Features were fixed without the rows; the loss is convex; the noise of "
        "training is secret and requests do not depend on it; the claim is about the weights of "
        "the output layer, with the stated epsilon and delta, for all removals together.",
        presets={
            "mnist": {"lam": 1e-3, "sigma": 10.0},
            "svhn": {"lam": 2e-4, "sigma": 10.0, "delta": 1e-5},
        },
        cost="a forward pass over all rows, and per output the cube of the number of features",
        summary="Removes rows from the model's last layer and proves, up to noise added in "
        "training, how little of them can be left.",
    )
    lam: float = 1e-2
    sigma: float = 0.5
    loss: Loss = "logistic"
    epsilon: float = 1.0
    delta: float = 1e-4
    group: int = 10

    def __post_init__(self) -> None:
        for name in ("lam", "epsilon"):
            number(name, getattr(self, name), above=0)
        number("sigma", self.sigma, at_least=0)
        number("delta", self.delta, above=0, below=1)
        one_of("loss", self.loss, get_args(Loss))
        whole("group", self.group, at_least=1)

    def trainer(self, base: Trainer) -> CertifiedTrainer:
        """Return the recipe of a noisy linear head on the untrained body that `base` builds."""
        return CertifiedTrainer(base=base, lam=self.lam, sigma=self.sigma, loss=self.loss)

    def unlearn(self, model: nn.Module, case: Case, rng: np.random.Generator) -> Unlearned:
        """Return a copy without the rows, and the certificate in the notes."""
        refuse_unserved(self.info, case)
        found = recipe_of(certified_head(model))
        if found != (self.lam, self.sigma, self.loss):
            raise NotApplicable(
                "certified_removal: expected an original trained with lam, sigma and loss "
                f"{(self.lam, self.sigma, self.loss)}, found {found}; set these"
            )
        course = Course(model, rng)
        layer = certified_head(course.model)
        (x, y), (x_f, y_f) = (rows_tensors(rows, model) for rows in (case.retain, case.forget))
        kept, gone = features(course.model, layer, x), features(course.model, layer, x_f)
        s, s_f = signs(y, case.n_classes), signs(to_forget(case, y_f), case.n_classes)
        course.rows_touched = len(kept) + len(gone)
        with torch.no_grad():
            for k in range(case.n_classes):
                here, there = s[:, k] != 0, s_f[:, k] != 0
                if not here.any():
                    layer.weight[k], layer.spent[k] = 0.0, 0.0
                elif there.any():
                    parts = (gone[there], s_f[there, k]), (kept[here], s[here, k])
                    moved, bound = remove(layer.weight[k], *parts, self.lam, self.loss, self.group)
                    layer.weight[k] = moved
                    layer.spent[k] += bound
            layer.removed += len(gone)
        course.steps = -(-len(gone) // self.group)
        limit, spent = allowed(self.epsilon, self.delta, self.sigma), float(layer.spent.norm())
        if spent > limit:
            train_head(layer, kept, y, draw_seed(rng))
            return course.finish(
                "trained anew with fresh noise",
                f"a gradient of {spent:.3g} would be left, {limit:.3g} is allowed",
            )
        return course.finish(
            "removed within the budget",
            f"epsilon {self.epsilon:g} and delta {self.delta:g}: a gradient of {spent:.3g} of "
            f"{limit:.3g} is spent on {int(layer.removed)} removals",
        )
