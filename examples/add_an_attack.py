"""An attack of one's own in one file: a card, `fit`, a decorator; then an audit with it alone."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from sklearn.datasets import load_breast_cancer

from forget_audit import Case, Rows, certify
from forget_audit.architectures import Architecture
from forget_audit.contracts import AttackInfo, Fitted, Scores
from forget_audit.pools import Pool
from forget_audit.registry import attack
from forget_audit.targets import Target
from forget_audit.training.loop import Recipe
from forget_audit.training.references import Counts
from forget_audit.training.trainers import RecipeTrainer


@attack
@dataclass(frozen=True, kw_only=True)
class Margin:
    """Score a row by how far its label's logit lies above the best other one."""

    info: ClassVar[AttackInfo] = AttackInfo(
        name="margin",
        title="Margin of the logits",
        card="X01",
        paper="arXiv:1709.01604",
        access="score",
        kind="membership",
        question="Does the model prefer the deleted records' labels by a wider margin?",
        perfect="The value of models retrained without the records.",
        headline="auc",
    )

    def fit(self, pool: Pool, case: Case, rng: np.random.Generator) -> Fitted:  # noqa: ARG002
        """Learn nothing; score the forget rows and the rows that were never trained on."""
        f, t = case.forget, case.test
        ids = {"forget_ids": f.ids, "control_ids": t.ids}
        return Fitted(
            score=lambda target, _: Scores(forget=gap(target, f), control=gap(target, t), **ids)
        )


def gap(target: Target, rows: Rows) -> np.ndarray:
    """Return label logit less best other logit `(n,)`."""
    logits, own = target.logits(rows).copy(), (np.arange(len(rows)), rows.y)
    label, logits[own] = logits[own], -np.inf
    return label - logits.max(axis=1)


x, y = load_breast_cancer(return_X_y=True)
x = ((x - x.mean(axis=0)) / x.std(axis=0)).astype(np.float32)
net, test = Architecture(name="mlp", shape=(30,), n_classes=2), (x[300:], y[300:])
fit = RecipeTrainer(architecture=net, recipe=Recipe(epochs=20))
case = Case.from_arrays(x[:300], y[:300], forget=np.arange(40), test=test, trainer=fit)
few = Counts(retrained=3, originals=1)
audit = certify(case, unlearned=fit(x[:300], y[:300], 1), counts=few, attacks=["margin"])
print(*next(row.metrics for row in audit.attacks if row.name == "margin"), sep="\n")
