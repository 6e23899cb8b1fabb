"""Claims of docs/errata.md that a few lines can check, under the numbers of their entries."""

import math

import numpy as np
import pytest
import torch
from scipy.special import rel_entr
from scipy.stats import hypergeom, wilcoxon
from torch import nn
from torch.nn import functional

from forget_audit import stats
from forget_audit.seeds import seeded_torch
from forget_audit.training.log import record
from forget_audit.training.loop import deal
from forget_audit.training.trainers import RecipeTrainer
from forget_audit.types import Case, Floats


def entropy(p: float) -> float:
    """The entropy of a coin in bits, from its definition."""
    return -sum(q * math.log2(q) for q in (p, 1 - p) if q)


def information(joint: Floats) -> float:
    """The mutual information of a joint distribution in bits, from its definition."""
    apart = joint.sum(1, keepdims=True) * joint.sum(0, keepdims=True)
    return float(rel_entr(joint, apart).sum() / np.log(2))


def test_e1_entropies_and_their_ratio() -> None:
    leaks = {p: 1 - entropy(p) for p in (0.46, 0.65)}
    assert leaks[0.46] == pytest.approx(0.0046, abs=5e-5)
    assert leaks[0.65] == pytest.approx(0.0659, abs=5e-5)
    assert leaks[0.46] * math.log(2) == pytest.approx(0.0032, abs=5e-5)
    assert leaks[0.65] * math.log(2) == pytest.approx(0.0457, abs=5e-5)
    assert leaks[0.65] / leaks[0.46] == pytest.approx(14.3, abs=0.05)
    for p, bits in leaks.items():
        assert stats.bits_of_success(p) == pytest.approx(bits, abs=1e-12)


def test_e2_the_statement_allows_a_bit_where_the_proof_allows_none() -> None:
    assert entropy(0.5) == 1
    assert 1 - entropy(0.5) == stats.bits_of_success(0.5) == 0


def test_e3_any_attack_on_any_channel_bounds_information_from_below() -> None:
    rng = np.random.default_rng(3)
    gaps = []
    for _ in range(200):
        joint = rng.dirichlet(np.full(5, 0.4), size=2) / 2  # a fair bit, five answers of a model
        guess = rng.integers(0, 2, 5)
        success = float(joint[guess, np.arange(5)].sum())
        gaps.append(information(joint) - stats.bits_of_success(success))
    assert min(gaps) >= -1e-12
    assert max(gaps) > 0.5


def test_e3_one_attack_bounds_nothing_from_above() -> None:
    tells_all = np.eye(2) / 2
    careless = tells_all @ np.array([[0.65, 0.35], [0.35, 0.65]])  # misreads some answers
    assert information(careless) == pytest.approx(stats.bits_of_success(0.65))
    assert information(tells_all) == pytest.approx(1)


def test_e4_and_e5_an_inverted_guess_tells_as_much() -> None:
    assert stats.bits_of_success(0.46) == pytest.approx(stats.bits_of_success(0.54))
    assert stats.bits_of_success(0.46) > 100 * stats.bits_of_success(0.5013)
    assert stats.bits_of_success(0.0002) > 0.99


def test_e8_noise_in_place_of_a_weight_tells_nothing_and_the_bound_says_otherwise() -> None:
    noise = np.random.default_rng(8).dirichlet(np.ones(7))
    forget_sets = np.array([0.3, 0.2, 0.5])
    assert information(np.outer(forget_sets, noise)) == pytest.approx(0, abs=1e-12)
    assert math.log(1 + 1.0**2 / 1.0**2) > 0.69


def test_e9_delta_is_a_quarter_whatever_the_data() -> None:
    for scores in np.random.default_rng(9).lognormal(sigma=3, size=(5, 1000)):
        assert np.mean(scores >= np.quantile(scores, 0.75)) == 0.25


def test_e10_the_box_is_not_around_the_original_weight() -> None:
    original, modified, eps = np.array([5.0]), np.array([0.0]), 0.1
    tuned = np.clip(np.array([0.3]), modified - eps, modified + eps)
    assert np.linalg.norm(tuned - original) > 49 * eps - 1e-12 > eps * math.sqrt(1)


def test_e12_pinsker_and_bretagnolle_huber() -> None:
    rng = np.random.default_rng(12)
    for _ in range(300):
        p, q = rng.dirichlet(np.full(6, 0.7), size=2)
        divergence = float(rel_entr(p, q).sum())
        success = 0.5 + 0.25 * float(np.abs(p - q).sum())  # one half plus half the variation
        pinsker = 0.5 + 0.5 * math.sqrt(divergence / 2)
        stated = 0.5 + 0.5 * math.sqrt(divergence)
        assert success <= min(pinsker, 0.5 + 0.5 * math.sqrt(-math.expm1(-divergence))) + 1e-12
        assert stated - 0.5 == pytest.approx(math.sqrt(2) * (pinsker - 0.5))


def test_e12_the_constant_of_pinsker_cannot_be_improved() -> None:
    p, q = np.array([0.5 + 1e-3, 0.5 - 1e-3]), np.array([0.5 - 1e-3, 0.5 + 1e-3])
    variation = 0.5 * np.abs(p - q).sum()
    assert variation / math.sqrt(rel_entr(p, q).sum() / 2) == pytest.approx(1, abs=1e-5)


def test_e13_implied_times_of_retraining_disagree() -> None:
    implied = [34 * 9.15, 12 * 27.45]
    assert implied == pytest.approx([311, 329], abs=0.5)


def test_e23_the_stated_times_give_neither_speed_up() -> None:
    retraining, noise, impairing, repairing = 617, 1.1, 1.7, 1.13
    assert retraining / (noise + impairing + repairing) == pytest.approx(157, abs=0.5)


def test_e32_gradients_that_add_up_are_momentum_one() -> None:
    steps, rate, slope = 12, 0.01, 3.0
    moved = []
    for cleared in (False, True):
        weight = torch.zeros(1, dtype=torch.float64, requires_grad=True)
        optimizer = torch.optim.SGD([weight], lr=rate)
        for _ in range(steps):
            if cleared:
                optimizer.zero_grad()
            (slope * weight).sum().backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        moved.append(-weight.item())
    assert moved[0] == pytest.approx(rate * slope * steps * (steps + 1) / 2)
    assert moved[1] == pytest.approx(rate * slope * steps)


def test_e35_four_pairs_can_never_be_told_apart_at_a_tenth() -> None:
    entropies = np.array([0.1, 0.2, 0.3, 0.4])
    assert wilcoxon(entropies, entropies + 10 * np.arange(1, 5)).pvalue > 0.10


def test_e38_reduction_and_order_of_a_divergence() -> None:
    rng = np.random.default_rng(38)
    p, q = (torch.from_numpy(rng.dirichlet(np.ones(4), size=6)) for _ in range(2))
    mean = functional.kl_div(q.log(), p, reduction="none").mean()
    per_row = functional.kl_div(q.log(), p, reduction="batchmean")
    assert float(per_row / mean) == pytest.approx(4)
    forward, backward = (rel_entr(a.numpy(), b.numpy()).sum(1) for a, b in ((p, q), (q, p)))
    assert float(per_row) == pytest.approx(float(forward.mean()))
    assert np.abs(forward - backward).min() > 0.01
    ours = stats.jensen_shannon(np.array([1.0, 0.0]), np.array([0.5, 0.5]))
    assert float(ours) == pytest.approx(0.5 * math.log2(4 / 3) + 0.25 * math.log2(2 / 3) + 0.25)


def test_e40_the_law_of_affected_batches() -> None:
    n, n_f, batch = 4000, 60, 100
    rng = np.random.default_rng(40)
    held = [(rows < n_f).any() for _ in range(50) for rows in deal(n, n // batch, rng)]
    exact = 1 - float(hypergeom.pmf(0, n, n_f, batch))
    assert np.mean(held) == pytest.approx(exact, abs=0.03)
    assert 1 - (1 - n_f / n) ** batch == pytest.approx(exact, abs=0.01)
    assert 7e5 < 1 / 0.9**128 < 7.5e5


def test_e40_a_class_is_in_every_step_of_a_log(class_case: Case) -> None:
    trainer, rows = class_case.trainer, class_case.training
    assert isinstance(trainer, RecipeTrainer)
    _, log = record(trainer, rows, 1)
    share = len(log.affected(class_case.forget.ids.tolist())) / log.taken
    size = len(rows) // trainer.recipe.steps_per_epoch
    assert share == pytest.approx(1 - (1 - len(class_case.forget) / len(rows)) ** size, abs=0.02)
    assert share > 0.98


def test_e45_averaging_weights_is_not_averaging_outputs() -> None:
    with seeded_torch(45):
        one, x = nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 3)), torch.randn(20, 5)
    w1, b1, w2, b2 = (p.detach() for p in one.parameters())
    order = torch.arange(8).roll(3)

    def network(w1: torch.Tensor, b1: torch.Tensor, w2: torch.Tensor) -> torch.Tensor:
        return torch.relu(x @ w1.T + b1) @ w2.T + b2

    outputs, same = network(w1, b1, w2), network(w1[order], b1[order], w2[:, order])
    torch.testing.assert_close(outputs, same)
    averaged = network((w1 + w1[order]) / 2, (b1 + b1[order]) / 2, (w2 + w2[:, order]) / 2)
    assert (averaged - outputs).abs().max() > 0.1
