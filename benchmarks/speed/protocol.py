"""The race: what every contestant trains, on which rows, and how its models are compared.

Written out here with PyTorch and NumPy alone, so that no contestant is measured by its own
arithmetic. Half of the digits are the members of a target model. Shadow models are trained on
random halves of all digits, and the likelihood-ratio attack learns from their log-odds.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from scipy import stats
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional

from forget_audit.seeds import derive, generator, seeded_torch

Floats = npt.NDArray[np.float64]
Index = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]
CLASSES, PIXELS, HIDDEN = 10, 64, 128
LIMIT = 30.0


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """Sizes and settings of the race.

    Args:
        shadows: Number of shadow models.
        epochs: Passes over the rows of a model.
        batch: Rows in a step.
        lr: Learning rate of SGD.
        momentum: Of SGD.
        seed: Of the target, the halves and the initial weights.
    """

    shadows: int = 32
    epochs: int = 30
    batch: int = 64
    lr: float = 0.05
    momentum: float = 0.9
    seed: int = 0


@dataclass(frozen=True, kw_only=True, eq=False)
class Ground:
    """What all contestants are given.

    Args:
        x: All digits `(n, 64)`, float32 between 0 and 1, in random order.
        y: Labels `(n,)`.
        members: Of the target, its first half `(n,)`.
        target: The trained target.
        phi: Log-odds of the label under the target `(n,)`.
    """

    x: npt.NDArray[np.float32]
    y: Index
    members: Mask
    target: nn.Module
    phi: Floats


def ground(protocol: Protocol) -> Ground:
    """Return rows and target; training the target also warms PyTorch up for the race."""
    found = load_digits()
    order = generator(0, "digits").permutation(len(found.target))
    x = (found.data[order] / 16).astype(np.float32)
    y = found.target[order].astype(np.int64)
    members = np.arange(len(x)) < len(x) // 2
    rng = generator(protocol.seed, "target")
    target = perceptron(derive(protocol.seed, "target"))
    train(target, x[members], y[members], protocol, rng)
    return Ground(x=x, y=y, members=members, target=target, phi=log_odds(answers(target, x), y))


def perceptron(seed: int) -> nn.Sequential:
    """Return the untrained model of all contestants."""
    with seeded_torch(seed):
        return nn.Sequential(nn.Linear(PIXELS, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, CLASSES))


def halves(n: int, protocol: Protocol) -> Mask:
    """Return who is in which shadow `(shadows, n)`, as many as the target has members."""
    member = np.zeros((protocol.shadows, n), dtype=np.bool_)
    for k, row in enumerate(member):
        row[generator(protocol.seed, "half", k).choice(n, n // 2, replace=False)] = True
    return member


def batches(n: int, protocol: Protocol, rng: np.random.Generator) -> list[Index]:
    """Return the rows of each step of a pass; the last step has what is left over."""
    return np.split(rng.permutation(n), range(protocol.batch, n, protocol.batch))


def train(
    model: nn.Module,
    x: npt.NDArray[np.float32],
    y: Index,
    protocol: Protocol,
    rng: np.random.Generator,
) -> None:
    """Train as a plain loop does: tensors in memory, no loader."""
    inputs, labels = torch.from_numpy(x), torch.from_numpy(y)
    optimizer = torch.optim.SGD(model.parameters(), lr=protocol.lr, momentum=protocol.momentum)
    for _ in range(protocol.epochs):
        for rows in map(torch.from_numpy, batches(len(x), protocol, rng)):
            optimizer.zero_grad()
            functional.cross_entropy(model(inputs[rows]), labels[rows]).backward()  # type: ignore[no-untyped-call]
            optimizer.step()


def judged(member: Mask) -> Mask:
    """Return the rows `(n,)` that two shadows know and two do not: not every tool deals all."""
    inside = member.sum(axis=0)
    return np.asarray((inside >= 2) & (len(member) - inside >= 2))


def answers(model: nn.Module, x: npt.NDArray[np.float32]) -> Floats:
    """Return the logits of a model `(n, classes)`."""
    with torch.no_grad():
        return np.asarray(model(torch.from_numpy(x)).double().numpy())


def log_odds(logits: Floats, y: Index) -> Floats:
    """Return `log p_y - log(1 - p_y)` of logits `(n, classes)`, clipped to +-30."""
    rows = np.arange(len(y))
    rest = logits.copy()
    rest[rows, y] = -np.inf
    peak = rest.max(axis=1)
    odds = logits[rows, y] - peak - np.log(np.exp(rest - peak[:, None]).sum(axis=1))
    return np.asarray(np.clip(odds, -LIMIT, LIMIT), dtype=np.float64)


def likelihood_ratio(phi: Floats, member: Mask, target: Floats) -> Floats:
    """Return the online score of Carlini et al. (2022) with one variance for all rows `(n,)`.

    Args:
        phi: Log-odds of the shadows `(shadows, n)`.
        member: Who was in which shadow `(shadows, n)`.
        target: Log-odds of the target `(n,)`.
    """
    parts = []
    for role in (member, ~member):
        mean = np.mean(phi, axis=0, where=role)
        parts.append(stats.norm.logpdf(target, mean, np.std((phi - mean)[role])))
    return np.asarray(parts[0] - parts[1], dtype=np.float64)


def auc(scores: Floats, members: Mask) -> float:
    """Return the share of pairs in which the member scores higher, ties counting one half."""
    ranks = stats.rankdata(scores)
    n, others = int(members.sum()), int((~members).sum())
    return float((ranks[members].sum() - n * (n + 1) / 2) / (n * others))


def compared(ground: Ground, logits: Sequence[Floats], member: Mask) -> dict[str, float]:
    """Return what must agree between contestants: accuracy on unseen rows, and the attack's AUC.

    Args:
        ground: Rows and target.
        logits: Of each shadow on all rows; any offset a row is fine, so log-probabilities too.
        member: Who was in which shadow.
    """
    right = np.stack([each.argmax(axis=1) == ground.y for each in logits])
    phi = np.stack([log_odds(each, ground.y) for each in logits])
    known = judged(member)
    scores = likelihood_ratio(phi[:, known], member[:, known], ground.phi[known])
    return {
        "accuracy": float(right[~member].mean()),
        "auc": auc(scores, ground.members[known]),
    }


def race(
    run: Callable[[Ground, Protocol], dict[str, float]], options: dict[str, int]
) -> dict[str, float]:
    """Return what a contestant measured on the ground that all contestants share."""
    protocol = Protocol(**options)
    return run(ground(protocol), protocol)
