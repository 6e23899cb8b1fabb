"""What models answer, and the row scores that follow from it."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from forget_audit import stats
from forget_audit.types import Floats, Labels


@dataclass(frozen=True, kw_only=True, eq=False)
class Outputs:
    """What a group of models says of the forget and the never-trained rows.

    Args:
        logits_f: Logits `(models, n_f, classes)` on the forget rows; log-probabilities do too.
        logits_t: Logits `(models, n_t, classes)` on the control rows.
        y_f: Labels `(n_f,)`.
        y_t: Labels `(n_t,)`.
        retain_accuracy: Accuracy on retained rows `(models,)`.
        test_accuracy: Accuracy on all never-trained test rows `(models,)`.
        traces: What the weights of each model betray `(models,)`, by name; empty without access
            to them.
    """

    logits_f: Floats
    logits_t: Floats
    y_f: Labels
    y_t: Labels
    retain_accuracy: Floats
    test_accuracy: Floats
    traces: Mapping[str, Floats] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.logits_f)

    def take(self, index: npt.NDArray[np.int64]) -> "Outputs":
        """Return the models at `index`."""
        return Outputs(
            logits_f=self.logits_f[index],
            logits_t=self.logits_t[index],
            y_f=self.y_f,
            y_t=self.y_t,
            retain_accuracy=self.retain_accuracy[index],
            test_accuracy=self.test_accuracy[index],
            traces={name: values[index] for name, values in self.traces.items()},
        )

    @staticmethod
    def concat(*groups: "Outputs") -> "Outputs":
        """Return the models of all groups, which must be on the same rows."""
        first = groups[0]
        return Outputs(
            logits_f=np.concatenate([group.logits_f for group in groups]),
            logits_t=np.concatenate([group.logits_t for group in groups]),
            y_f=first.y_f,
            y_t=first.y_t,
            retain_accuracy=np.concatenate([group.retain_accuracy for group in groups]),
            test_accuracy=np.concatenate([group.test_accuracy for group in groups]),
            traces={
                name: np.concatenate([group.traces[name] for group in groups])
                for name in first.traces
            },
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class Derived:
    """Row scores computed once from `Outputs`; forget rows first, control rows after.

    Args:
        phi: Log-odds of the label `(models, n)`.
        p: Probability of the label `(models, n)`.
        loss: Cross-entropy `(models, n)`.
        entropy: Of the prediction `(models, n)`.
        predictions: Softmax `(models, n, classes)`.
        label_shares: Share of forget rows given each class `(models, classes)`.
        retain_accuracy: As in `Outputs`.
        test_accuracy: As in `Outputs`.
        traces: As in `Outputs`.
        n_f: Number of forget rows.
    """

    phi: Floats
    p: Floats
    loss: Floats
    entropy: Floats
    predictions: Floats
    label_shares: Floats
    retain_accuracy: Floats
    test_accuracy: Floats
    traces: Mapping[str, Floats]
    n_f: int

    def __len__(self) -> int:
        return len(self.phi)

    def take(self, index: npt.NDArray[np.int64]) -> "Derived":
        """Return the models at `index`."""
        return Derived(
            phi=self.phi[index],
            p=self.p[index],
            loss=self.loss[index],
            entropy=self.entropy[index],
            predictions=self.predictions[index],
            label_shares=self.label_shares[index],
            retain_accuracy=self.retain_accuracy[index],
            test_accuracy=self.test_accuracy[index],
            traces={name: values[index] for name, values in self.traces.items()},
            n_f=self.n_f,
        )

    @staticmethod
    def of(outputs: Outputs) -> "Derived":
        """Derive all row scores of `outputs`."""
        logits = np.concatenate([outputs.logits_f, outputs.logits_t], axis=1)
        labels = np.concatenate([outputs.y_f, outputs.y_t])
        predictions = stats.probabilities(logits)
        phi = stats.log_odds(logits, labels)
        n_f, classes = outputs.logits_f.shape[1:]
        answers = np.argmax(outputs.logits_f, axis=-1)
        return Derived(
            phi=phi,
            p=stats.label_probability(phi),
            loss=stats.cross_entropy(logits, labels),
            entropy=stats.entropy(predictions),
            predictions=predictions,
            label_shares=(answers[..., None] == np.arange(classes)).mean(axis=1),
            retain_accuracy=outputs.retain_accuracy,
            test_accuracy=outputs.test_accuracy,
            traces=outputs.traces,
            n_f=n_f,
        )
