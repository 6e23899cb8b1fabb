"""Worst-case requests: the rows, or the classes, whose deletion is hardest to carry out.

A method that serves rows drawn at random may fail on rows that the model knows from their
likes: their loss stays low whatever is done. Such rows are found with a surrogate, a model of the
auditor's own. They are never picked with the audited model, because whoever picks rows by how a
model treats them has decided what an audit of that model on those rows will say.

The search is that of Fan et al. (2024), Challenging Forgets: Unveiling the Worst-Case Forget Sets
in Machine Unlearning, arXiv:2403.07362; code at https://github.com/OPTML-Group/Unlearn-WorstCase.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from torch.func import functional_call, grad, vmap

from forget_audit.errors import CaseError, LeakageError
from forget_audit.labels import label_loss
from forget_audit.targets import Target, evaluating
from forget_audit.training.loop import Index, deal, descend, rows_tensors
from forget_audit.types import Floats, Ids, Rows

HALVINGS = 100
GRADIENT_ROOM = 2**25  # how many numbers the gradients of single rows may take up at once


@dataclass(frozen=True, kw_only=True, eq=False)
class Surrogate:
    """A model declared to be the auditor's own, to pick rows with.

    Args:
        target: Trained by the auditor on the rows to pick from, such as one of `Pool.originals`.
        audited: The models under audit: the unlearned one and the original it was made from, as
            far as there are any yet.

    Raises:
        LeakageError: If the surrogate has the weights of one of them.
    """

    target: Target
    audited: Sequence[Target]

    def __post_init__(self) -> None:
        if self.target.digest() in {model.digest() for model in self.audited}:
            raise LeakageError(
                "expected a model of the auditor's own, found the weights of an audited model; "
                "rows must not be picked with the model that is audited on them: train another "
                "one by the same recipe"
            )


@dataclass(frozen=True, kw_only=True)
class WorstCase:
    """Search for the rows, or groups of rows, that keep the smallest loss when forgotten.

    Each group has a weight from 0, kept, to 1, forgotten; the weights sum up to the number of
    groups wanted. In each round a copy of the surrogate forgets by steps along the sign of the
    gradient of the kept loss, `sum (1 - w) loss`, and the weights then take a step down the
    gradient of the forgotten loss, `sum w loss + gamma |w|^2`, and are projected back. How the
    copy depends on the weights is left out of that gradient, since signs are locally constant.

    What is found are rows that others of their kind explain, not outliers, and it is found for
    this way of forgetting: see whether it is the worst case of the audited method, too, by
    comparing it with random rows of the same number, over several seeds.

    Args:
        rounds: Steps of the weights.
        inner_epochs: Passes of the copy in a round.
        inner_lr: How far a step moves each of its parameters.
        batch_size: Most rows in a step.
        lr: Learning rate of the weights.
        gamma: Weight of their squared length.
        binarise_every: After so many rounds the greatest weights become 1, the others 0.
        easiest: Search for the greatest loss instead.

    Raises:
        ValueError: If a field is out of its range.

    Departures:
        The release starts from a random set, from which small steps cannot get away; here all
        weights start equal. Its search for rows trains and takes losses in training mode, under
        augmentation; here the copy is in evaluation mode throughout and rows are taken as they
        are. It makes the weights binary after the last round, too; here the greatest are taken
        then, which is the same. Weights, losses and the projection are float64, and
        the projection is iterated to the last digit instead of 1e-5. For classes the release adds
        up the mean losses of batches, each divided by its number of rows once more, takes steps
        of 1000 with a `gamma` of 1e-4, and projects to nine tenths of the number wanted; here the
        mean loss of a class counts, so that its size does not matter, and settings are those of
        rows. Searching for the easiest set, the release also turns the sign of `gamma`.
        Verification: projection, steps and gradients equal closed forms; order of the search
        compared with the public code; published figures not reproduced.
    """

    rounds: int = 10
    inner_epochs: int = 10
    inner_lr: float = 0.01
    batch_size: int = 256
    lr: float = 0.01
    gamma: float = 0.0
    binarise_every: int = 20
    easiest: bool = False

    def __post_init__(self) -> None:
        for name in ("rounds", "inner_epochs", "batch_size", "binarise_every"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, found {getattr(self, name)}")
        for name in ("inner_lr", "lr"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be above 0, found {getattr(self, name)}")
        if not self.gamma >= 0:
            raise ValueError(f"gamma must be at least 0, found {self.gamma}")

    def rows(self, surrogate: Surrogate, rows: Rows, n: int, rng: np.random.Generator) -> Ids:
        """Return the ids of `n` of `rows`, hardest to forget first.

        Args:
            surrogate: Trained on `rows`.
            rows: To pick from.
            n: How many.
            rng: Deals the rows into batches.

        Raises:
            CaseError: If there are not more than `n` rows.
            LeakageError: If no surrogate is given.
        """
        weights = self.weigh(surrogate, rows, np.arange(len(rows)), n, rng)
        return rows.ids[_greatest(weights, n)]

    def classes(
        self, surrogate: Surrogate, rows: Rows, n: int, rng: np.random.Generator
    ) -> tuple[int, ...]:
        """Return `n` of the classes of `rows`, hardest to forget first; see `rows`."""
        if rows.y.ndim != 1:
            raise CaseError("expected one class a row, found a matrix of labels; pick rows instead")
        classes, groups = np.unique(rows.y, return_inverse=True)
        weights = self.weigh(surrogate, rows, groups, n, rng)
        return tuple(int(label) for label in classes[_greatest(weights, n)])

    def weigh(
        self, surrogate: Surrogate, rows: Rows, groups: Index, n: int, rng: np.random.Generator
    ) -> Floats:
        """Return the weight of each group `(groups,)`, from 0 to 1 and `n` in sum.

        Args:
            surrogate: Trained on `rows`.
            rows: Of all groups.
            groups: Group of each row `(n,)`, numbered from 0.
            n: How many groups are wanted.
            rng: Deals the rows into batches.

        Raises:
            CaseError: If there are not more than `n` groups.
            LeakageError: If no surrogate is given.
        """
        sizes = np.bincount(groups)
        _enough(n, len(sizes))
        weights = np.full(len(sizes), n / len(sizes))
        sign = -1.0 if self.easiest else 1.0
        for done in range(1, self.rounds + 1):
            model = self.forget(surrogate, rows, 1 - weights[groups], rng)
            losses = _losses(Target(model), rows)
            slope = sign * np.bincount(groups, losses) / sizes + 2 * self.gamma * weights
            weights = project(weights - self.lr * slope, n)
            if done % self.binarise_every == 0:
                chosen = _greatest(weights, n)
                weights = np.zeros(len(sizes))
                weights[chosen] = 1
        return weights

    def forget(
        self, surrogate: Surrogate, rows: Rows, kept: Floats, rng: np.random.Generator
    ) -> nn.Module:
        """Return a copy of the surrogate after training on `rows`, weighted by `kept` `(n,)`.

        Raises:
            LeakageError: If no surrogate is given.
        """
        _declared(surrogate)
        model = surrogate.target.model_copy()
        x, y = rows_tensors(rows, model)
        share = torch.from_numpy(kept).to(x.device)
        steps = -(-len(rows) // self.batch_size)

        def loss(batch: Index) -> torch.Tensor:
            each = label_loss(model(x[batch]), y[batch], "none")
            return (share[batch].to(each.dtype) * each).sum()

        free = [p for p in model.parameters() if p.requires_grad]
        for parameter in free:
            parameter.register_hook(torch.sign)  # type: ignore[no-untyped-call]
        optimizer = torch.optim.SGD(free, lr=self.inner_lr)
        with evaluating(model):
            for _ in range(self.inner_epochs):
                descend(loss, deal(len(rows), steps, rng), optimizer)
        return model


def project(weights: Floats, total: float) -> Floats:
    """Return the nearest weights in `[0, 1]` that sum up to `total`.

    They are `clip(weights - shift, 0, 1)`; the shift is found by bisection, since the sum falls
    as it grows.
    """
    low, high = float(weights.min()) - 1, float(weights.max())
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        if np.clip(weights - middle, 0, 1).sum() > total:
            low = middle
        else:
            high = middle
    return np.clip(weights - high, 0, 1)


def gradient_norms(surrogate: Surrogate, rows: Rows) -> Floats:
    """Return the length of the gradient of each row's loss by all parameters `(n,)`.

    Args:
        surrogate: Trained on `rows`.
        rows: The rows.

    Raises:
        LeakageError: If no surrogate is given.
    """
    _declared(surrogate)
    model = surrogate.target.model_copy().eval()
    weights = {name: p.detach() for name, p in model.named_parameters() if p.requires_grad}
    x, y = rows_tensors(rows, model)

    def of_row(weights: dict[str, torch.Tensor], x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return label_loss(functional_call(model, weights, (x.unsqueeze(0),)), y.unsqueeze(0))

    gradients = vmap(grad(of_row), in_dims=(None, 0, 0))
    chunk = max(1, GRADIENT_ROOM // sum(w.numel() for w in weights.values()))
    squares = []
    for start in range(0, len(rows), chunk):
        part = slice(start, start + chunk)
        each = gradients(weights, x[part], y[part]).values()
        squares.append(sum(g.double().flatten(1).square().sum(1) for g in each).cpu().numpy())
    return np.sqrt(np.concatenate(squares, dtype=np.float64))


def extreme(
    rows: Rows, scores: Floats, n: int, *, by: Sequence[Surrogate], lowest: bool = False
) -> Ids:
    """Return the ids of the `n` rows with the highest scores, highest first.

    Cheaper than a search: rows with the greatest gradient (`gradient_norms`), those that an
    attack on references calls members most surely, or those that references memorise least.

    Args:
        rows: To pick from.
        scores: One a row `(n,)`.
        n: How many.
        by: The models that the scores come from.
        lowest: Take the lowest scores instead, lowest first.

    Raises:
        CaseError: If there are not more than `n` rows, or a score is missing or not finite.
        LeakageError: If no surrogate is given.
    """
    if not by:
        raise LeakageError("expected the surrogates that the scores come from, found none")
    for surrogate in by:
        _declared(surrogate)
    if scores.shape != (len(rows),) or not np.isfinite(scores).all():
        raise CaseError(
            f"expected {len(rows)} finite scores, one a row, found shape {scores.shape} with "
            f"{int(np.isfinite(scores).sum())} finite ones"
        )
    _enough(n, len(rows))
    return rows.ids[_greatest(-scores if lowest else scores, n)]


def _losses(target: Target, rows: Rows) -> Floats:
    logits = torch.from_numpy(target.logits(rows).copy())
    return np.asarray(label_loss(logits, torch.tensor(rows.y), "none"), dtype=np.float64)


def _greatest(values: Floats, n: int) -> Index:
    return np.argsort(-values, kind="stable")[:n]


def _declared(surrogate: object) -> None:
    if not isinstance(surrogate, Surrogate):
        raise LeakageError(
            f"expected a model declared as Surrogate, found {type(surrogate).__name__}; rows are "
            "never picked with the audited model, so say which model is the auditor's own"
        )


def _enough(n: int, found: int) -> None:
    if not 1 <= n < found:
        raise CaseError(f"expected to pick from 1 to {found - 1} of {found}, found {n}")
