"""Relearn time as published with the UNSIR method: epochs until the accuracy is back."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch.nn import functional

from forget_audit.contracts import AttackInfo, Fitted, Scores
from forget_audit.errors import NotApplicable
from forget_audit.pools import Pool
from forget_audit.registry import attack
from forget_audit.seeds import derive, draw_seed, generator, seeded_torch
from forget_audit.targets import Target
from forget_audit.training.loop import Index, Recipe, deal, descend, rows_tensors
from forget_audit.types import Case


@attack
@dataclass(frozen=True, kw_only=True)
class UnsirRelearn:
    """Count the epochs of training after which the accuracy on the forget rows is regained.

    A copy of the model is trained in training mode; an epoch is one pass over `sample` rows drawn
    anew from all training rows, forget rows among them. `relearn_epochs` is the first epoch after
    which the accuracy on the forget rows reaches that of the source model (the parent; the mean
    of the originals if it was not handed in), 0 if it is there at once, and `epochs` with
    `censored` at 1 if that was not seen. Rows, batches and dropout are the same for all targets.

    Args:
        epochs: After so many the count is cut off.
        sample: Training rows an epoch, or all if there are fewer.
        batch_size: Rows a step, at most.
        lr: Learning rate of Adam.

    References:
        Tarun et al. (2023), Fast Yet Effective Machine Unlearning, arXiv:2111.08947.

    Departures:
        The paper names neither optimiser nor learning rate for relearning: Adam at 0.01, as in the
        authors' training. The paper counts every model once; the count of retrained models is
        itself noisy and often cut off, so it is shown for all of them. It describes and never
        decides: a changed output layer alone can make it long.
    """

    info: ClassVar[AttackInfo] = AttackInfo(
        name="unsir_relearn",
        title="Relearn time, as published",
        card="A19",
        paper="arXiv:2111.08947",
        access="weights",
        kind="model",
        question=(
            "How many rounds of ordinary training does it take until the model knows the deleted "
            "records as well as before?"
        ),
        perfect="The number that models retrained without the records need; more is no better.",
        headline="relearn_epochs",
    )
    epochs: int = 100
    sample: int = 500
    batch_size: int = 256
    lr: float = 1e-2

    def __post_init__(self) -> None:
        for name in ("epochs", "sample", "batch_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, found {getattr(self, name)}")
        if not self.lr > 0:
            raise ValueError(f"lr must be above 0, found {self.lr}")

    def fit(self, pool: Pool, case: Case, rng: np.random.Generator) -> Fitted:
        """Take the accuracy to be regained, and the seed of rows and batches.

        Raises:
            NotApplicable: Without the parent and without originals.
        """
        sources = pool.originals if pool.parent is None else (pool.parent,)
        if not sources:
            raise NotApplicable(
                "needs the accuracy of the model before unlearning, which was not handed in, or "
                "of originals; ask for originals"
            )
        goal = float(np.mean([source.accuracy(case.forget) for source in sources]))
        seed = draw_seed(rng)

        def score(target: Target, _rng: np.random.Generator) -> Scores:
            reached = self._reached(target, case, goal, seed)
            return Scores(
                scalars={
                    "relearn_epochs": float(self.epochs if reached is None else reached),
                    "censored": float(reached is None),
                }
            )

        return Fitted(score=score)

    def _reached(self, target: Target, case: Case, goal: float, seed: int) -> int | None:
        """Return after how many epochs the goal is reached, or nothing if it is not."""
        model = target.model_copy().requires_grad_(True)
        x, y = rows_tensors(case.training, model)
        optimizer = Recipe(lr=self.lr).make_optimizer(model.parameters())

        def loss(index: Index) -> torch.Tensor:
            batch = torch.from_numpy(index).to(x.device)
            return functional.cross_entropy(model(x[batch]), y[batch])

        for epoch in range(self.epochs + 1):
            if Target(model).accuracy(case.forget) >= goal:
                return epoch
            if epoch < self.epochs:
                rng = generator(seed, "epoch", epoch)
                rows = rng.permutation(len(x))[: self.sample]
                batches = deal(len(rows), -(-len(rows) // self.batch_size), rng)
                model.train()
                with seeded_torch(derive(seed, "dropout", epoch)):
                    descend(loss, (rows[batch] for batch in batches), optimizer)
        return None
