"""The margin of the logits, an attack in one file."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from forget_audit.contracts import AttackInfo, Fitted, Scores
from forget_audit.errors import NotApplicable
from forget_audit.pools import Pool
from forget_audit.registry import attack
from forget_audit.targets import Target
from forget_audit.types import Case, Floats, Rows


@attack
@dataclass(frozen=True, kw_only=True)
class Margin:
    """Score a row by how far its label's logit lies above the best other one.

    A model prefers the labels of rows it was trained on by a wider margin. Unlike a probability,
    the margin does not saturate at one, so that rows a model is sure of can still be told apart.

    Args:
        cap: Margins are cut off at this size, so that single rows cannot dominate.

    Raises:
        ValueError: If the cap is not above zero.

    References:
        Yeom et al. (2018), Privacy Risk in Machine Learning, arXiv:1709.01604.

    Departures:
        The paper compares the loss with a threshold; we score by the margin and set none.
    """

    info: ClassVar[AttackInfo] = AttackInfo(
        name="margin",
        title="Margin of the logits",
        card="X1",
        paper="arXiv:1709.01604",
        access="score",
        kind="membership",
        question="Does the model prefer the deleted records' answers by a wider margin?",
        perfect="The value of models retrained without the records.",
        headline="auc",
    )
    cap: float = 30.0

    def __post_init__(self) -> None:
        """Refuse what makes no sense."""
        if self.cap <= 0:
            raise ValueError(f"cap: expected more than 0, found {self.cap}")

    def fit(self, pool: Pool, case: Case, rng: np.random.Generator) -> Fitted:  # noqa: ARG002
        """Learn nothing; score the forget rows, and the rows that were never trained on."""
        if case.multi_label:
            raise NotApplicable("margin needs one class a row, found several labels a row")

        def score(target: Target, _rng: np.random.Generator) -> Scores:
            return Scores(
                forget=self.margins(target, case.forget),
                control=self.margins(target, case.test),
                forget_ids=case.forget.ids,
                control_ids=case.test.ids,
            )

        return Fitted(score=score)

    def margins(self, target: Target, rows: Rows) -> Floats:
        """Return label logit less best other logit `(n,)`."""
        logits, own = target.logits(rows).copy(), (np.arange(len(rows)), rows.y)
        label, logits[own] = logits[own], -np.inf
        return np.clip(label - logits.max(axis=1), -self.cap, self.cap)
