"""Relearn time as published with the UNSIR method: epochs until the accuracy is back."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch

from forget_audit.attacks._crowds import Crowd, accuracies, crowds
from forget_audit.attacks._together import together
from forget_audit.contracts import AttackInfo, Fitted, FreshGenerator, Scores
from forget_audit.errors import NotApplicable
from forget_audit.pools import Pool
from forget_audit.registry import attack
from forget_audit.seeds import derive, draw_seed, generator, seeded_torch
from forget_audit.targets import Target
from forget_audit.training.loop import Index, Recipe, deal, descend, tensors
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

        def score_many(targets: Sequence[Target], _fresh: FreshGenerator) -> list[Scores]:
            reached: dict[int, int] = {}
            for crowd in crowds([target.model_copy() for target in targets]):
                reached |= self._reached(crowd, case, goal, seed)
            return [
                Scores(
                    scalars={
                        "relearn_epochs": float(reached.get(k, self.epochs)),
                        "censored": float(k not in reached),
                    }
                )
                for k in range(len(targets))
            ]

        return together(score_many)

    def _reached(self, crowd: Crowd, case: Case, goal: float, seed: int) -> dict[int, int]:
        """Return after how many epochs models reach the goal, by place, of those that do.

        A model that is there leaves the crowd, and the others go on.
        """
        x, y = tensors(case.training.x, case.training.y, crowd.device)
        optimizer = Recipe(lr=self.lr).make_optimizer(crowd.parameters)
        left, reached = np.asarray(crowd.places), dict[int, int]()

        def loss(index: Index) -> torch.Tensor:
            batch = torch.from_numpy(index).to(crowd.device)
            return crowd.loss(x[batch].unsqueeze(0), y[batch].unsqueeze(0))

        for epoch in range(self.epochs + 1):
            there = accuracies(crowd, case.forget) >= goal
            reached |= dict.fromkeys(left[there].tolist(), epoch)
            left = left[~there]
            if not len(left) or epoch == self.epochs:
                break
            if there.any():
                crowd.narrow(np.flatnonzero(~there), optimizer)
            rng = generator(seed, "epoch", epoch)
            rows = rng.permutation(len(x))[: self.sample]
            batches = deal(len(rows), -(-len(rows) // self.batch_size), rng)
            crowd.train(True)
            with seeded_torch(derive(seed, "dropout", epoch)):
                descend(loss, (rows[batch] for batch in batches), optimizer)
            crowd.train(False)
        return reached
