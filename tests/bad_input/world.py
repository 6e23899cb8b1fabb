"""A small audit that can end in PASS and in FAIL, and what careless or hostile users change in it.

Five hundred digits, a third of whose labels are drawn anew, so that there is something to
remember. The recipe is a ridge regression on random features: a model in milliseconds.
"""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional

from forget_audit import Case, certify
from forget_audit.audits.audit import Audit
from forget_audit.seeds import seeded_torch
from forget_audit.training.references import Counts

TRAINED, FORGOTTEN, ALL = 300, 60, 500
COUNTS = Counts(retrained=19, originals=4, identity=2, shadows=0)

Train = Callable[[Any, Any, int], nn.Module]
Change = Callable[[nn.Module, torch.Tensor], Any]


@dataclass(frozen=True, kw_only=True)
class Trial:
    """Something wrong, and how it must end.

    Args:
        what: Is wrong, as the page says it.
        play: Does it; returns an audit, or raises.
        ending: Name of an error, or a verdict.
        says: A part of the error's message, or the reasons that the verdict gives at least.
    """

    what: str
    play: Callable[[], object]
    ending: str
    says: str = ""


class Network(nn.Module):
    def __init__(self, features: int, classes: int) -> None:
        super().__init__()
        self.hidden = nn.Linear(features, 400)
        self.output = nn.Linear(400, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        answers: torch.Tensor = self.output(torch.relu(self.hidden(x)))
        return answers


class Changed(nn.Module):
    """A model whose answers somebody has changed."""

    def __init__(self, inner: nn.Module, change: Change) -> None:
        super().__init__()
        self.inner = inner
        self.change = change

    def forward(self, x: torch.Tensor) -> Any:
        return self.change(self.inner, x)


@cache
def digits() -> tuple[np.ndarray, np.ndarray]:
    found = load_digits()
    rng = np.random.default_rng(0)
    y = np.where(rng.random(len(found.target)) < 0.3, rng.integers(0, 10, 1797), found.target)
    chosen = rng.permutation(len(y))[:ALL]
    return (found.data[chosen] / 16).astype(np.float32), y[chosen]


def fit(x: np.ndarray, y: np.ndarray, seed: int, classes: int = 10) -> nn.Module:
    """Train as users do; a matrix of labels is learnt column by column."""
    model = Network(x.shape[1], classes)
    rows, labels = torch.tensor(x), torch.tensor(y)
    targets = functional.one_hot(labels, classes) if y.ndim == 1 else (labels > 0).long()
    with torch.no_grad():
        seen = torch.relu(model.hidden(rows))
        kernel = seen @ seen.T + 0.3 * torch.eye(len(rows))
        weights = seen.T @ torch.linalg.solve(kernel, targets * 8.0 - 4.0)
        model.output.weight.copy_(weights.T)
        model.output.bias.zero_()
    return model


def of_classes(count: int) -> Train:
    """Return the recipe for another number of outputs."""

    def train(x: np.ndarray, y: np.ndarray, seed: int) -> nn.Module:
        return fit(x, y, seed, count)

    return train


def changed(change: Change, among: Callable[[int], bool] = lambda _: True) -> Train:
    """Return the recipe whose models are changed, or those of some seeds."""

    def train(x: np.ndarray, y: np.ndarray, seed: int) -> nn.Module:
        model = fit(x, y, seed)
        return Changed(model, change) if among(seed) else model

    return train


def rows(**changes: Any) -> Case:
    """Return the request, with other arguments of `Case.from_arrays`."""
    x, y = digits()
    given: dict[str, Any] = {
        "x": x[:TRAINED],
        "y": y[:TRAINED],
        "forget": np.arange(FORGOTTEN),
        "test": (x[TRAINED:], y[TRAINED:]),
        **changes,
    }
    return Case.from_arrays(given.pop("x"), given.pop("y"), **given)


@cache
def case() -> Case:
    return rows()


@cache
def _trained(forgotten: bool) -> nn.Module:
    used = case().retain if forgotten else case().training
    with seeded_torch(7):
        return fit(used.x, used.y, 7)


def retrained() -> nn.Module:
    """Return a model that never saw the rows to forget."""
    return copy.deepcopy(_trained(True))


def original() -> nn.Module:
    """Return a model that was trained with them."""
    return copy.deepcopy(_trained(False))


def audit(
    unlearned: object | None = None, train: Train = fit, on: Case | None = None, **more: Any
) -> Audit:
    """Audit a model; without one, one that was truly retrained on the rows of the case."""
    used = on or case()
    if unlearned is None:
        with seeded_torch(11):
            unlearned = train(used.retain.x.copy(), used.retain.y.copy(), 11)
    models: Any = unlearned
    recipe: Any = train
    return certify(used, unlearned=models, train=recipe, counts=COUNTS, attacks=(), **more)


def audit_of(change: Change, inner: Callable[[], nn.Module] = retrained) -> Callable[[], Audit]:
    """Return the audit of a changed model among references that are as they should be."""
    return lambda: audit(Changed(inner(), change))


def audit_all(change: Change) -> Callable[[], Audit]:
    """Return the audit in which every model is changed, as by a network of that kind."""
    return lambda: audit(Changed(retrained(), change), changed(change))


def on_rows(train: Train = fit, **changes: Any) -> Callable[[], Audit]:
    """Return the audit of a true retrain with other arguments of `Case.from_arrays`."""
    return lambda: audit(None, train, rows(**changes))


def put(array: np.ndarray, place: Any, value: Any) -> np.ndarray:
    """Return a copy with something else at `place`."""
    found = array.copy()
    found[place] = value
    return found


def names(prefix: str, numbers: Sequence[int] | np.ndarray) -> np.ndarray:
    return np.array([f"{prefix}{number}" for number in numbers])
