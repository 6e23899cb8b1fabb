"""What weights betray that answers hide: traces of a forgotten class inside a model.

A method can leave the features of a class in place and only close the way to the output. Both
measures here look past the output layer. Each is one number a model, taken in the same way from
every model of an audit, and enters the verdict beside the statistics of the answers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from sklearn.linear_model import Ridge
from torch import nn
from torch.nn.modules.batchnorm import _NormBase

from forget_audit import stats
from forget_audit.errors import NotApplicable
from forget_audit.labels import label_loss
from forget_audit.questions import answers, asked
from forget_audit.seeds import generator, seeded_torch
from forget_audit.targets import Target
from forget_audit.training.loop import Index, Recipe, descend, rows_tensors
from forget_audit.types import Case, Floats, Progress, Rows

TRACES = ("probe", "first_probe", "relearn")
PROBE_DRAWS, PROBE_INSIDE, PROBE_OUTSIDE, PROBE_PENALTY = 30, 3, 200, 1.0
RELEARN_DRAWS, RELEARN_INSIDE, RELEARN_RETAINED = 4, 10, 90
RELEARN_STEPS, RELEARN_RATE = 31, 0.2


def traces(
    targets: Sequence[Target], case: Case, seed: int, progress: Progress = lambda _: None
) -> Mapping[str, Floats]:
    """Return each trace of each model `(models,)`, higher meaning more is left.

    `probe` and `first_probe`: how well a few examples find the class again in the features that
    the output layer reads, and in those of the first layer. `relearn`: how low the loss on the
    class gets when a fresh output layer is trained for a moment.

    Args:
        targets: Models of one architecture, with access to weights.
        case: A class or sub-class request.
        seed: Draws examples and output layers, the same for every model.
        progress: Called with 1 after each model.

    Raises:
        NotApplicable: If too few rows of the class or of others are there.
    """
    outside = case.others
    if case.scope in ("instance", "attribute") or outside is None:
        raise NotApplicable("traces inside a model are for class and sub-class requests")
    needed = (PROBE_INSIDE + 2, PROBE_OUTSIDE // 2)
    if len(case.test) < needed[0] or len(outside) < needed[1]:
        raise NotApplicable(
            f"needs {needed[0]} never-trained rows of the class and {needed[1]} others, found "
            f"{len(case.test)} and {len(outside)}"
        )
    rows = []
    for target in targets:
        layers = target.feature_layers(case.test)
        if not layers:
            raise NotApplicable("the model has no learnt features before its output layer")
        probes = [
            probe(target, case.test, outside, layer, seed) for layer in (layers[-1], layers[0])
        ]
        rows.append([*probes, -relearn(target, case, seed)])
        progress(1)
    table = np.array(rows).reshape(len(rows), len(TRACES))
    return dict(zip(TRACES, table.T, strict=True))


def probe(target: Target, inside: Rows, outside: Rows, layer: str, seed: int) -> float:
    """Return the log-odds of the AUC at which few examples tell `inside` from `outside` rows.

    A class-balanced ridge regression of membership (weights that sum to one, penalty one) on
    standardised features learns from 3 inside and 200 outside rows (half of them if there are
    fewer) and is tried on all the others; the mean over 30 fixed draws is returned. Few examples
    ask whether the class has a place of its own in the features; many would find one even in a
    network that never saw it.
    """
    features = [target.features(rows, layer) for rows in (inside, outside)]
    x = np.concatenate(features)
    spread = x.std(axis=0)
    x = (x - x.mean(axis=0)) / np.where(spread > 1e-12, spread, 1.0)
    member = np.arange(len(x)) < len(inside)
    values = []
    for k in range(PROBE_DRAWS):
        rng = generator(seed, "probe", k)
        few = rng.permutation(len(inside))[:PROBE_INSIDE]
        many = rng.permutation(len(outside))[: min(PROBE_OUTSIDE, len(outside) // 2)]
        taught = np.concatenate([few, len(inside) + many])
        weight = np.where(member, 0.5 / len(few), 0.5 / len(many))[taught]
        judge = Ridge(alpha=PROBE_PENALTY, solver="cholesky")
        judge.fit(x[taught], member[taught], sample_weight=weight)
        scores = judge.predict(x)
        rest = np.ones(len(x), dtype=bool)
        rest[taught] = False
        pairs = float(np.sum(rest & member) * np.sum(rest & ~member))
        wins = stats.auc(scores[rest & member], scores[rest & ~member]) * pairs
        values.append(float(stats.log_odds_of_count(wins, pairs)))
    return float(np.mean(values))


def relearn(target: Target, case: Case, seed: int) -> float:
    """Return the loss (nats) on never-trained rows after a short relearning.

    The last linear layer is drawn anew; then 31 steps of gradient descent at rate 0.2 on 10
    forgotten and 90 retained rows train the whole model, of which the loss on never-trained rows
    of the class is taken; the mean over 4 fixed draws is returned. To relearn a label, 100
    training rows with all their labels are taught, and the loss is that of the label. Models with
    batch norm, whose statistics stay fixed, would break at that rate: they take steps a quarter
    as long, with clipped gradients.
    """
    rows, losses = asked(case)["t"], []
    for k in range(RELEARN_DRAWS):
        rng = generator(seed, "relearn", k)
        taught = _taught(case, rng)
        model = target.model_copy().eval().requires_grad_(True)
        reset_head(model, int(rng.integers(2**62)))
        _train_briefly(model, taught)
        logits = answers(Target(model), rows, case)
        losses.append(float(stats.cross_entropy(logits, rows.y).mean()))
    return float(np.mean(losses))


def _taught(case: Case, rng: np.random.Generator) -> Rows:
    forget = rng.permutation(len(case.forget))
    if case.attribute is not None:
        return case.forget.take(forget[: RELEARN_INSIDE + RELEARN_RETAINED])
    retain = rng.permutation(len(case.retain))
    inside, kept = forget[:RELEARN_INSIDE], retain[:RELEARN_RETAINED]
    return Rows.concat(case.forget.take(inside), case.retain.take(kept))


def reset_head(model: nn.Module, seed: int) -> bool:
    """Draw the last linear layer of `model` anew, in place, and say whether there is one."""
    linear = [module for module in model.modules() if isinstance(module, nn.Linear)]
    with seeded_torch(seed):
        for module in linear[-1:]:
            module.reset_parameters()
    return bool(linear)


def _train_briefly(model: nn.Module, rows: Rows) -> None:
    x, y = rows_tensors(rows, model)
    normed = any(isinstance(module, _NormBase) for module in model.modules())
    recipe = Recipe(optimizer="sgd", lr=RELEARN_RATE / 4 if normed else RELEARN_RATE)

    def loss(_: Index) -> torch.Tensor:
        return label_loss(model(x), y)

    steps = [np.arange(len(rows))] * RELEARN_STEPS
    optimizer = recipe.make_optimizer(model.parameters())
    descend(loss, steps, optimizer, clip_norm=1.0 if normed else None)
