"""The four requests of the benchmark, one of each kind, on bundled data."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from forget_audit.architectures import Architecture
from forget_audit.data import Request, prepare
from forget_audit.sources.loading import load
from forget_audit.training.loop import Recipe
from forget_audit.training.trainers import RecipeTrainer
from forget_audit.types import Case

SIZES = (600, 600, 597)
DATA_SEED = 0


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A request, the rows it is about, and how the models are trained.

    Args:
        title: For headings.
        source: Name of the data set.
        request: What is to be forgotten.
        label_noise: Share of labels drawn at random.
        sizes: Rows to train on, to test on, to keep aside.
        hidden: Widths of the hidden layers of the perceptron, each with batch norm.
        recipe: How models are trained.
    """

    title: str
    source: str
    request: Request
    label_noise: float = 0.0
    sizes: tuple[int, int, int] = SIZES
    hidden: tuple[int, ...] = (64, 64)
    recipe: Recipe = field(default_factory=lambda: Recipe(epochs=60))

    def case(self) -> Case:
        """Return the rows in their roles, with the trainer; the same at every call."""
        dataset = load(self.source, folder=Path(), seed=DATA_SEED, label_noise=self.label_noise)
        case = prepare(dataset, self.request, seed=DATA_SEED, sizes=self.sizes)
        architecture = Architecture(
            name="mlp",
            shape=case.retain.x.shape[1:],
            n_classes=case.n_classes,
            options={"hidden": list(self.hidden), "norm": True},
        )
        return case.replace(trainer=RecipeTrainer(architecture=architecture, recipe=self.recipe))


REQUESTS: Mapping[str, Asked] = {
    "class": Asked(
        title="All threes among the digits",
        source="digits",
        request=Request(classes=(3,)),
    ),
    "instance": Asked(
        title="60 records drawn at random from digits with 15 % random labels",
        source="digits",
        request=Request(random=60),
        label_noise=0.15,
    ),
    "subclass": Asked(
        title="The threes of the group {2, 3}, among digits labelled by groups of two",
        source="digit_groups",
        request=Request(subclasses=(3,)),
    ),
    "attribute": Asked(
        title="Whether a digit has a loop, one of four labels of every digit",
        source="digit_attributes",
        request=Request(attribute="has a loop"),
    ),
}
