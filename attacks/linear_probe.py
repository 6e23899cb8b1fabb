"""Linear probes: what can be read off the features, whatever the output layer does."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt
from sklearn.model_selection import StratifiedKFold

from forget_audit import stats
from forget_audit.attacks._probes import decisions
from forget_audit.contracts import AttackInfo, Fitted, Scores, Series
from forget_audit.errors import NotApplicable
from forget_audit.pools import Pool
from forget_audit.registry import attack
from forget_audit.seeds import draw_seed
from forget_audit.targets import Target
from forget_audit.types import Case, Floats, Rows

Mask = npt.NDArray[np.bool_]
Part = tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]  # rows to fit on, and to try on
FLAT = 1e-12
HALVES = 2


@attack
@dataclass(frozen=True, kw_only=True)
class LinearProbe:
    """Tell the forgotten rows from others by a linear classifier on the model's features.

    A method can change the output layer and leave below it all that was learnt. A logistic
    regression with a ridge penalty fixed beforehand is fitted on the inputs of every linear and
    convolutional layer after the first, standardised over the rows, and tried on rows it was not
    fitted on. Single rows: forget against control rows, in `folds` stratified folds. Classes:
    never-trained rows of the forgotten class against never-trained rows of the others, one half
    to fit and the other to try, both ways round. The AUC within a fold is averaged over folds, so
    that features without any information give 0.5 exactly. `penultimate_auc` belongs to the
    features that the output layer reads, `first_layer_auc` to the earliest.

    Args:
        c: Inverse strength of the ridge penalty, as in scikit-learn.
        folds: Folds for requests of single rows, at most.

    References:
        Alain and Bengio (2017), Understanding Intermediate Layers Using Linear Classifier Probes,
        arXiv:1610.01644.

    Departures:
        The paper probes for all classes to understand layers; we probe for what was forgotten and
        read the value against retrained models, whose features separate an unseen class too.
        Features wider than there are rows are turned into as many columns as rows, which changes
        neither penalty nor answers.
    """

    info: ClassVar[AttackInfo] = AttackInfo(
        name="linear_probe",
        title="Probe of the features",
        card="A26",
        paper="arXiv:1610.01644",
        access="weights",
        kind="model",
        question=(
            "Is what the model learnt from the deleted records still inside it, even if its "
            "answers do not show it?"
        ),
        perfect=(
            "The value of models retrained without the records; their features separate an unseen "
            "class to some degree as well."
        ),
        headline="penultimate_auc",
    )
    c: float = 1.0
    folds: int = 5

    def __post_init__(self) -> None:
        if not self.c > 0:
            raise ValueError(f"c must be above 0, found {self.c}")
        if self.folds < HALVES:
            raise ValueError(f"folds must be at least {HALVES}, found {self.folds}")

    def fit(self, pool: Pool, case: Case, rng: np.random.Generator) -> Fitted:  # noqa: ARG002
        """Draw the folds once, so that all targets get the same.

        Raises:
            NotApplicable: With fewer than two rows on either side.
        """
        inside, outside, folds = self._sides(case)
        fewest = min(len(inside), len(outside))
        if fewest < HALVES:
            raise NotApplicable(
                f"needs at least {HALVES} rows on either side, to fit and to try, found "
                f"{len(inside)} and {len(outside)}"
            )
        rows = Rows.concat(inside, outside)
        member = np.arange(len(rows)) < len(inside)
        cut = StratifiedKFold(min(folds, fewest), shuffle=True, random_state=draw_seed(rng) % 2**31)
        parts = list(cut.split(np.zeros(len(rows)), member))

        def score(target: Target, _rng: np.random.Generator) -> Scores:
            layers = target.feature_layers(rows)
            if not layers:
                raise NotApplicable(
                    "needs a model with learnt features, and this one has none before its output "
                    "layer"
                )
            seen = (_standardised(target.features(rows, layer)) for layer in layers)
            values = [self._auc(x, member, parts) for x in seen]
            curve = Series(x_label="layer", y_label="AUC", x=layers, y=tuple(values))
            return Scores(
                scalars={"penultimate_auc": values[-1], "first_layer_auc": values[0]},
                series={"probe_layers": curve},
            )

        return Fitted(score=score)

    def _sides(self, case: Case) -> tuple[Rows, Rows, int]:
        """Return the rows to be told from others, the others, and the folds."""
        if case.scope == "instance":
            return case.forget, case.test, self.folds
        if case.others is None:
            raise NotApplicable(
                "needs never-trained rows of the other classes, found none; add them to the case"
            )
        return case.test, case.others, HALVES

    def _auc(self, x: Floats, member: Mask, parts: Sequence[Part]) -> float:
        """Return the mean AUC of probes on the rows that they were not fitted on."""
        used = np.zeros((len(parts), len(x)), dtype=bool)
        for k, (known, _) in enumerate(parts):
            used[k, known] = True
        found = decisions(x, member, used, self.c)
        values = [
            stats.auc(z[tried & member], z[tried & ~member])
            for z, tried in zip(found, ~used, strict=True)
        ]
        return float(np.mean(values))


def _standardised(features: Floats) -> Floats:
    """Return features of mean 0 and spread 1, turned if they are wider than there are rows."""
    spread = features.std(axis=0)
    x = (features - features.mean(axis=0)) / np.where(spread > FLAT, spread, 1.0)
    return np.asarray(np.linalg.qr(x.T, mode="r")).T if x.shape[1] > len(x) else x
