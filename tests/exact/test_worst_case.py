"""The search for worst-case requests: projection, steps, planted rows, and whom it may ask."""

import dataclasses
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from scipy.special import softmax
from torch import nn

from forget_audit.errors import CaseError, LeakageError
from forget_audit.pools import Pool
from forget_audit.seeds import seeded_torch
from forget_audit.targets import Target, weights_digest
from forget_audit.types import Case, Floats, Rows
from forget_audit.worst_case import Surrogate, WorstCase, extreme, gradient_norms, project
from tests.fixtures.requests import Train, trainer_of

N = 30


def rng() -> np.random.Generator:
    return np.random.default_rng(5)


def alone(model: nn.Module) -> Surrogate:
    """A surrogate at a time when nothing is audited yet."""
    return Surrogate(target=Target(model), audited=())


@pytest.fixture(scope="module")
def noisy(instance_case: Case) -> Rows:
    """Digits of which the first thirty have labels that nothing but memory explains."""
    rows = instance_case.training
    labels = rows.y.copy()
    labels[:N] = (labels[:N] + rng().integers(1, 10, N)) % 10
    return Rows(x=rows.x, y=labels, ids=rows.ids)


@pytest.fixture(scope="module")
def surrogate(noisy: Rows) -> Surrogate:
    return alone(trainer_of("mlp", 10, hidden=[32])(noisy.x, noisy.y, 1))


# Projection


@pytest.mark.parametrize(
    ("weights", "total", "expected"),
    [
        ([0.2, 0.5, 0.3], 1, [0.2, 0.5, 0.3]),  # there already
        ([3.0, 0.0, 0.0], 1, [1.0, 0.0, 0.0]),  # a corner
        ([0.9, 0.9, 0.9], 2, [2 / 3, 2 / 3, 2 / 3]),  # all free
        ([5.0, 0.4, 0.2], 2, [1.0, 0.6, 0.4]),  # one at its upper bound
        ([0.8, 0.6, -4.0], 1, [0.6, 0.4, 0.0]),  # one at its lower bound
        ([-1.0, -1.0, -1.0], 3, [1.0, 1.0, 1.0]),  # nothing else is feasible
    ],
)
def test_projection_of_three(weights: list[float], total: float, expected: list[float]) -> None:
    np.testing.assert_allclose(project(np.array(weights), total), expected, atol=1e-12)


@pytest.mark.parametrize("n", [2, 50, 50_000])
@pytest.mark.parametrize("share", [0.1, 0.5, 1.0])
def test_projection_is_feasible_idempotent_and_nearest(n: int, share: float) -> None:
    wanted = max(1, int(n * share) - 1)
    weights = np.random.default_rng(n).normal(0, 3, n)
    found = project(weights, wanted)
    assert found.min() >= 0
    assert found.max() <= 1
    assert found.sum() == pytest.approx(wanted, rel=1e-12)
    np.testing.assert_allclose(project(found, wanted), found, atol=1e-12)
    # Nothing feasible lies further along what was cut off: the best corner is no better.
    cut = weights - found
    best_corner = np.sort(cut)[-wanted:].sum()
    assert cut @ found >= best_corner - 1e-9 * n


# The search


def test_hard_rows_are_explained_by_others_and_easy_ones_are_memorised(
    noisy: Rows, surrogate: Surrogate
) -> None:
    memorised = noisy.ids[:N]
    assert not np.isin(WorstCase().rows(surrogate, noisy, N, rng()), memorised).any()
    easiest = WorstCase(easiest=True).rows(surrogate, noisy, N, rng())
    assert np.isin(easiest, memorised).mean() > 0.6


def test_models_that_never_saw_the_hard_rows_know_them_better_than_others(
    noisy: Rows, surrogate: Surrogate
) -> None:
    sets = {
        "hard": WorstCase().rows(surrogate, noisy, N, rng()),
        "random": rng().choice(noisy.ids, N, replace=False),
        "easy": WorstCase(easiest=True).rows(surrogate, noisy, N, rng()),
    }
    known = {}
    for name, ids in sets.items():
        gone = np.isin(noisy.ids, ids)
        kept = noisy.take(~gone)
        retrained = trainer_of("mlp", 10, hidden=[32])(kept.x, kept.y, 2)
        known[name] = Target(retrained).accuracy(noisy.take(gone))
    assert known["hard"] > 0.95 > known["random"] > known["easy"]
    assert known["easy"] < 0.3


def planted() -> Rows:
    """Twenty near copies of each of two points, and ten outliers with random labels."""
    draw = np.random.default_rng(8)
    centres = np.repeat([[3.0, 0.0], [-3.0, 0.0]], 20, axis=0)
    x = np.concatenate([centres + draw.normal(0, 0.05, (40, 2)), draw.normal(0, 6, (10, 2))])
    y = np.concatenate([np.repeat([0, 1], 20), draw.integers(0, 2, 10)])
    return Rows(x=x.astype(np.float32), y=y, ids=np.arange(50).astype(np.str_))


def linear(n_inputs: int, n_classes: int) -> nn.Linear:
    model = nn.Linear(n_inputs, n_classes)
    with torch.no_grad():
        model.weight.zero_()
        model.bias.zero_()
    return model


def test_a_duplicated_cluster_weighs_more_than_outliers() -> None:
    rows, each = planted(), np.arange(50)
    weights = WorstCase().weigh(alone(linear(2, 2)), rows, each, 20, rng())
    assert weights.sum() == pytest.approx(20)
    assert weights[:40].mean() > weights[40:].mean() + 0.01
    reverse = WorstCase(easiest=True).weigh(alone(linear(2, 2)), rows, each, 20, rng())
    assert reverse[40:].mean() > reverse[:40].mean() + 0.01


def test_the_easiest_order_is_the_hardest_one_turned_round(
    noisy: Rows, surrogate: Surrogate
) -> None:
    each, n = np.arange(len(noisy)), len(noisy) // 2
    one = WorstCase(rounds=1, lr=1e-4)
    hard = one.weigh(surrogate, noisy, each, n, rng())
    easy = dataclasses.replace(one, easiest=True).weigh(surrogate, noisy, each, n, rng())
    np.testing.assert_allclose(hard - n / len(noisy), n / len(noisy) - easy, atol=1e-12)
    assert np.ptp(hard) > 1e-5
    assert one.rows(surrogate, noisy, 1, rng()) == noisy.ids[np.argmin(easy)]


def test_a_round_is_sign_descent_then_a_projected_step() -> None:
    draw, n, lr, gamma = np.random.default_rng(9), 16, 0.3, 0.1
    x, y = draw.normal(size=(41, 3)).astype(np.float32), draw.integers(0, 3, 41)
    rows = Rows(x=x, y=y, ids=np.arange(41).astype(np.str_))
    search = WorstCase(rounds=2, inner_epochs=3, inner_lr=0.02, lr=lr, gamma=gamma)
    found = search.weigh(alone(linear(3, 3)), rows, np.arange(41), n, rng())
    inputs = np.column_stack([x, np.ones(41)]).astype(np.float64)
    weights = np.full(41, n / 41)
    for _ in range(2):
        theta = np.zeros((3, 4))
        for _ in range(3):
            error = softmax(inputs @ theta.T, axis=1) - np.eye(3)[y]
            theta -= 0.02 * np.sign(error.T @ ((1 - weights)[:, None] * inputs))
        losses = -np.log(softmax(inputs @ theta.T, axis=1)[np.arange(41), y])
        weights = brute_projection(weights - lr * (losses + 2 * gamma * weights), n)
    np.testing.assert_allclose(found, weights, atol=1e-6)


def brute_projection(weights: Floats, total: float) -> Floats:
    """By trying all shifts at which a weight reaches a bound, and solving between them."""
    edges = np.sort(np.concatenate([weights, weights - 1]))
    for low, high in pairwise(edges):
        middle = (low + high) / 2
        free = (weights - middle > 0) & (weights - middle < 1)
        if free.any():
            ones = (weights - middle >= 1).sum()
            shift = (weights[free].sum() + ones - total) / free.sum()
            if low <= shift <= high:
                return np.asarray(np.clip(weights - shift, 0, 1), dtype=np.float64)
    raise AssertionError("found no shift")


def test_rows_of_weight_one_teach_nothing() -> None:
    rows = planted()
    kept = (np.arange(50) < 40).astype(np.float64)
    search = WorstCase(inner_epochs=4)
    every = search.forget(alone(linear(2, 2)), rows, kept, rng())
    fewer = search.forget(alone(linear(2, 2)), rows.take(kept > 0), np.ones(40), rng())
    assert weights_digest(every) == weights_digest(fewer)
    assert weights_digest(every) != weights_digest(
        search.forget(alone(linear(2, 2)), rows, np.ones(50), rng())
    )


def test_weights_become_binary_every_so_many_rounds(noisy: Rows, surrogate: Surrogate) -> None:
    def weights(rounds: int) -> Floats:
        search = WorstCase(rounds=rounds, inner_epochs=1, binarise_every=2)
        return search.weigh(surrogate, noisy, np.arange(len(noisy)), N, rng())

    assert set(np.unique(weights(2))) == {0, 1}
    assert weights(2).sum() == N
    between = weights(3)
    assert ((between > 0) & (between < 1)).any()


def test_classes_are_weighed_by_their_mean_loss() -> None:
    draw = np.random.default_rng(2)
    y = np.repeat([0, 1, 2, 4], [10, 30, 5, 10])  # of class 4 no feature tells anything
    x = np.where(y[:, None] == 4, draw.normal(0, 3, (55, 5)), np.eye(5)[y] * 4)
    rows = Rows(x=x.astype(np.float32), y=y, ids=np.arange(55).astype(np.str_))
    order = WorstCase().classes(alone(linear(5, 5)), rows, 3, rng())
    assert set(order) == {0, 1, 2}
    assert WorstCase(easiest=True).classes(alone(linear(5, 5)), rows, 1, rng()) == (4,)


def test_the_search_is_repeatable_and_leaves_the_surrogate_alone(noisy: Rows) -> None:
    with seeded_torch(6):
        hidden = [nn.Linear(64, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.3)]
        model = nn.Sequential(*hidden, nn.Linear(16, 10)).train()
    before, state = weights_digest(model), torch.get_rng_state()
    search = WorstCase(rounds=2, inner_epochs=1)
    first, second = (search.rows(alone(model), noisy, N, rng()).tolist() for _ in range(2))
    assert first == second
    assert len(set(first)) == N
    assert weights_digest(model) == before
    assert model.training
    assert all(p.grad is None for p in model.parameters())
    assert torch.equal(torch.get_rng_state(), state)


def test_batch_statistics_and_frozen_layers_stay(
    noisy: Rows, instance_case: Case, train: Train
) -> None:
    model, _ = train(instance_case, "mlp", hidden=[32], norm=True)
    frozen = next(iter(model.parameters()))
    frozen.requires_grad_(False)
    try:
        after = WorstCase(inner_epochs=1).forget(alone(model), noisy, np.ones(len(noisy)), rng())
    finally:
        frozen.requires_grad_(True)
    assert torch.equal(next(iter(after.parameters())), frozen)
    for name, buffer in model.named_buffers():
        assert torch.equal(dict(after.named_buffers())[name], buffer)
    assert weights_digest(after) != weights_digest(model)


def test_several_labels_a_row(labels_case: Case, train: Train) -> None:
    model, _ = train(labels_case)
    rows = labels_case.training
    search = WorstCase(rounds=2, inner_epochs=1)
    assert len(search.rows(alone(model), rows, N, rng())) == N
    assert gradient_norms(alone(model), rows).shape == (len(rows),)
    with pytest.raises(CaseError, match="expected one class a row, found a matrix of labels"):
        search.classes(alone(model), rows, 1, rng())


# Cheaper choices


def test_gradient_norms_of_softmax_regression() -> None:
    draw = np.random.default_rng(4)
    x, y = draw.normal(size=(12, 3)).astype(np.float32), draw.integers(0, 4, 12)
    model = nn.Linear(3, 4)
    with torch.no_grad():
        model.weight.copy_(torch.from_numpy(draw.normal(size=(4, 3))))
        model.bias.copy_(torch.from_numpy(draw.normal(size=4)))
    rows = Rows(x=x, y=y, ids=np.arange(12).astype(np.str_))
    error = softmax(Target(model).logits(rows), axis=1) - np.eye(4)[y]
    expected = np.linalg.norm(error, axis=1) * np.sqrt(1 + (x.astype(np.float64) ** 2).sum(1))
    np.testing.assert_allclose(gradient_norms(alone(model), rows), expected, rtol=1e-4)


def test_the_greatest_gradients_are_those_of_memorised_rows(
    noisy: Rows, surrogate: Surrogate
) -> None:
    norms = gradient_norms(surrogate, noisy)
    chosen = extreme(noisy, norms, N, by=[surrogate])
    assert np.isin(chosen, noisy.ids[:N]).mean() > 0.6
    assert chosen[0] == noisy.ids[np.argmax(norms)]


def test_scores_passed_in_pick_the_highest_or_the_lowest(noisy: Rows, surrogate: Surrogate) -> None:
    scores = rng().permutation(len(noisy)).astype(np.float64)
    top = extreme(noisy, scores, 3, by=[surrogate])
    assert top.tolist() == noisy.ids[np.argsort(-scores)[:3]].tolist()
    least = extreme(noisy, scores, 3, by=[surrogate], lowest=True)
    assert least.tolist() == noisy.ids[np.argsort(scores)[:3]].tolist()


# Whom it may ask


def test_rows_are_never_picked_with_an_audited_model(
    noisy: Rows, surrogate: Surrogate, instance_case: Case, train: Train
) -> None:
    unlearned, _ = train(instance_case)
    twin, _ = train(instance_case, "mlp", hidden=[32])
    assert weights_digest(unlearned) == weights_digest(twin)
    audited = [surrogate.target, Target(unlearned)]
    with pytest.raises(LeakageError, match="the auditor's own, found the weights of an audited"):
        Surrogate(target=Target(twin), audited=audited)
    pool = Pool(originals=(surrogate.target,))
    Surrogate(target=pool.originals[0], audited=audited[1:])


@pytest.mark.parametrize("bare", [nn.Linear(64, 10), Target(nn.Linear(64, 10)), None])
def test_only_declared_models_are_asked(bare: Any, noisy: Rows) -> None:
    says = f"expected a model declared as Surrogate, found {type(bare).__name__}"
    search, scores = WorstCase(rounds=1), np.zeros(len(noisy))
    with pytest.raises(LeakageError, match=says):
        search.rows(bare, noisy, N, rng())
    with pytest.raises(LeakageError, match=says):
        search.classes(bare, noisy, 1, rng())
    with pytest.raises(LeakageError, match=says):
        gradient_norms(bare, noisy)
    with pytest.raises(LeakageError, match=says):
        extreme(noisy, scores, N, by=[bare])


def test_scores_without_a_source_are_refused(noisy: Rows) -> None:
    with pytest.raises(LeakageError, match="expected the surrogates that the scores come from"):
        extreme(noisy, np.zeros(len(noisy)), N, by=[])


@pytest.mark.parametrize(
    "scores", [np.zeros(3), np.zeros((N, 2)), np.full(260, np.nan), np.full(260, np.inf)]
)
def test_scores_must_be_finite_and_one_a_row(
    scores: npt.NDArray[np.float64], noisy: Rows, surrogate: Surrogate
) -> None:
    with pytest.raises(CaseError, match="expected 260 finite scores, one a row, found shape"):
        extreme(noisy, scores, N, by=[surrogate])


@pytest.mark.parametrize("n", [0, 260, 1000])
def test_impossible_numbers_are_refused(n: int, noisy: Rows, surrogate: Surrogate) -> None:
    with pytest.raises(CaseError, match=f"expected to pick from 1 to 259 of 260, found {n}"):
        WorstCase().rows(surrogate, noisy, n, rng())
    with pytest.raises(CaseError, match="expected to pick from 1 to 259"):
        extreme(noisy, np.zeros(260), n, by=[surrogate])


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("rounds", 0, "rounds must be at least 1, found 0"),
        ("inner_epochs", 0, "inner_epochs must be at least 1"),
        ("batch_size", 0, "batch_size must be at least 1"),
        ("binarise_every", 0, "binarise_every must be at least 1"),
        ("inner_lr", 0.0, "inner_lr must be above 0"),
        ("lr", float("nan"), "lr must be above 0"),
        ("gamma", -1.0, "gamma must be at least 0"),
    ],
)
def test_settings_out_of_range_are_refused(field: str, value: float, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        WorstCase(**{field: value})  # type: ignore[arg-type]
