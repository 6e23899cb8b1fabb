"""The columns of the benchmark: what is measured, what it means, and where it cannot be."""

from collections.abc import Mapping
from dataclasses import dataclass

from forget_audit.types import Scope


@dataclass(frozen=True, kw_only=True)
class Metric:
    """One column of the benchmark.

    Args:
        title: For headings.
        meaning: What it says, and what a model that has unlearnt gets.
        scopes: Requests it can be measured on.
        why_not: Why it cannot be measured on the others.
    """

    title: str
    meaning: str
    scopes: frozenset[Scope] = frozenset({"class", "instance", "subclass", "attribute"})
    why_not: str = ""


LABEL = frozenset[Scope]({"attribute"})
GROUPED = frozenset[Scope]({"class", "subclass"})
ONLY_LABEL = "only a label has an output of its own that can be turned round"
METRICS: Mapping[str, Metric] = {
    "retain_accuracy": Metric(
        title="Retain accuracy",
        meaning="on the training rows that stay; of a label request, of the labels that stay",
    ),
    "forget_accuracy": Metric(
        title="Forget accuracy",
        meaning="on the rows to forget; of a label request, of that label on the training rows. "
        "Good is the value of retrained models, not 0",
    ),
    "test_accuracy": Metric(
        title="Test accuracy",
        meaning="on all never-trained test rows; of a label request, of the labels that stay",
    ),
    "gap": Metric(
        title="Average gap",
        meaning="mean absolute difference of the three accuracies to their means over retrained "
        "models; 0 is like them",
    ),
    "residual_influence": Metric(
        title="Residual influence",
        meaning="share of what training on the forgotten left in the answers, of a label request "
        "in the features: 0 like retrained models, 1 like originals, below 0 pushed away. The "
        "audit's `rho_p`",
    ),
    "zauc": Metric(
        title="zAUC",
        meaning="AUC at which forget rows are told from never-trained ones by their log-odds in "
        "standard deviations from retrained models; these get about .5",
        scopes=frozenset({"class", "instance", "subclass"}),
        why_not="the output of a retrained model was never taught the label: its answers are "
        "arbitrary and no yardstick",
    ),
    "mia_auc": Metric(
        title="Population MIA",
        meaning="AUC of the loss, forget against never-trained rows, as the attack "
        "`loss_threshold` takes it; of a label request, the loss on that label",
    ),
    "probe": Metric(
        title="Probe, share left",
        meaning="how well a few examples find the class again in the features: 0 like retrained "
        "models, 1 like originals",
        scopes=GROUPED,
        why_not="for requests of single rows there is no class to find; for a label it is the "
        "residual influence",
    ),
    "relearn": Metric(
        title="Relearn, share left",
        meaning="how low the loss gets when a fresh output layer is trained for a moment: 0 like "
        "retrained models, 1 like originals",
        scopes=GROUPED | LABEL,
        why_not="traces inside a model are for class, sub-class and label requests",
    ),
    "head_auc": Metric(
        title="Head AUC",
        meaning="of the output of the forgotten label on never-trained rows; .5 says nothing, 0 "
        "says as much as 1",
        scopes=LABEL,
        why_not=ONLY_LABEL,
    ),
    "head_folded": Metric(
        title="Head AUC, folded",
        meaning="distance of the head AUC from .5; 0 says nothing, .5 everything",
        scopes=LABEL,
        why_not=ONLY_LABEL,
    ),
    "balanced_accuracy": Metric(
        title="Balanced accuracy",
        meaning="of the answers on the forgotten label, never-trained rows; .5 says nothing",
        scopes=LABEL,
        why_not=ONLY_LABEL,
    ),
    "balanced_folded": Metric(
        title="Balanced accuracy, folded",
        meaning="distance of the balanced accuracy from .5",
        scopes=LABEL,
        why_not=ONLY_LABEL,
    ),
    "probe_auc": Metric(
        title="Probe AUC",
        meaning="of the forgotten label read from the penultimate features by a ridge regression "
        "taught on auxiliary rows, tried on test rows; compare with retrained models",
        scopes=LABEL,
        why_not=ONLY_LABEL,
    ),
    "cpu_seconds": Metric(
        title="CPU seconds",
        meaning="of unlearning alone, by the clock of the process",
    ),
    "peak_mib": Metric(
        title="Peak memory, MiB",
        meaning="growth of resident memory while unlearning, sampled every 2 ms in a thread "
        "after free memory was handed back; what the process held before is not counted",
    ),
}


LABEL_OUTPUT = "The output of the label"
GROUPS: Mapping[str, tuple[str, ...]] = {
    "Accuracy": ("retain_accuracy", "forget_accuracy", "test_accuracy", "gap"),
    "What is left": ("residual_influence", "zauc", "mia_auc", "probe", "relearn", "probe_auc"),
    LABEL_OUTPUT: (
        "head_auc",
        "head_folded",
        "balanced_accuracy",
        "balanced_folded",
    ),
    "Cost": ("cpu_seconds", "peak_mib"),
}


def measurable(scope: Scope) -> dict[str, Metric]:
    """Return the metrics that such a request allows, by name."""
    return {name: metric for name, metric in METRICS.items() if scope in metric.scopes}
