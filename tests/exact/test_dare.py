"""Taking rows out of a forest is training it without them, bit for bit."""

import itertools

import numpy as np
import pytest
import torch
from scipy.stats import chisquare, kstest
from torch import nn

from forget_audit.errors import NotApplicable
from forget_audit.methods._forest import LEAF, Forest, Grower
from forget_audit.methods.dare import Dare
from forget_audit.targets import Target, weights_digest
from forget_audit.training.trainers import RecipeTrainer
from forget_audit.types import Case, Features, Floats, Labels, Rows

SMALL = Dare(trees=3, depth=6)


def rng(seed: int = 5) -> np.random.Generator:
    return np.random.default_rng(seed)


def grown(method: Dare, case: Case, rows: Rows, seed: int = 1) -> Forest:
    assert case.trainer is not None
    forest = method.trainer(case.trainer)(rows.x, rows.y, seed)
    assert isinstance(forest, Forest)
    return forest


def grower(x: Floats | Features, y: Labels, seed: int = 0, **settings: int) -> Grower:
    depth, n_classes = settings.pop("depth", 3), int(y.max()) + 1
    nodes = 2 ** (depth + 1) - 1
    chosen = {"random_depth": 0, "features": x.shape[1], "thresholds": 10**6, **settings}
    return Grower(
        feature=np.full(nodes, LEAF), threshold=np.zeros(nodes, np.float32),
        counts=np.zeros((nodes, n_classes), np.int64), depth=depth, seed=seed,
        x=x.astype(np.float32), y=y, **chosen,
    )  # fmt: skip


@pytest.mark.parametrize("name", ["instance_case", "class_case", "subclass_case"])
@pytest.mark.parametrize("random_depth", [0, 3])
def test_deletion_is_retraining_bit_for_bit(
    name: str, random_depth: int, request: pytest.FixtureRequest
) -> None:
    case: Case = request.getfixturevalue(name)
    method = Dare(trees=2, depth=6, random_depth=random_depth)
    model = grown(method, case, case.training)
    unlearned = method.unlearn(model, case, rng())
    retrained = grown(method, case, case.retain)
    assert weights_digest(unlearned.model) == weights_digest(retrained)
    assert weights_digest(unlearned.model) != weights_digest(model)
    assert Target(unlearned.model).accuracy(case.retain) > 0.7


def test_deletions_commute_and_add_up(instance_case: Case) -> None:
    case, model = instance_case, grown(SMALL, instance_case, instance_case.training)
    once = SMALL.unlearn(model, case, rng()).model
    for order in ([0, 1], [1, 0]):
        parts = np.array_split(np.arange(40), 2)
        new: nn.Module = model
        for k, part in enumerate(order):
            later = [parts[other] for other in order[k + 1 :]]
            kept = Rows.concat(case.retain, *(case.forget.take(rows) for rows in later))
            now = case.replace(forget=case.forget.take(parts[part]), retain=kept)
            new = SMALL.unlearn(new, now, rng()).model
        assert weights_digest(new) == weights_digest(once)


def test_one_row_costs_less_than_a_new_forest(instance_case: Case) -> None:
    case = instance_case
    one = case.replace(
        forget=case.forget.take(np.arange(1)),
        retain=Rows.concat(case.retain, case.forget.take(np.arange(1, 40))),
    )
    model = grown(SMALL, case, case.training)
    few, many = (SMALL.unlearn(model, asked, rng()).report.rows_touched for asked in (one, case))
    whole = int(model.counts[model.feature != LEAF].sum())
    assert few < many < whole
    assert few < whole / 2


def test_split_is_the_best_of_all_when_all_compete() -> None:
    x, y = rng().standard_normal((30, 4)).round(1), rng(1).integers(0, 3, 30)
    tree = grower(x, y)
    tree.grow(0, np.arange(30))

    def rest(feature: int, cut: float) -> float:
        total = 0.0
        for part in (x[:, feature] <= cut, x[:, feature] > cut):
            shares = np.bincount(y[part], minlength=3) / part.sum()
            total += part.sum() * (1 - (shares**2).sum())
        return total

    cuts = [(f, c) for f in range(4) for c in np.unique(x[:, f])[:-1]]
    best = min(itertools.starmap(rest, cuts))
    assert rest(int(tree.feature[0]), float(tree.threshold[0])) == pytest.approx(best)


def test_random_splits_are_uniform() -> None:
    x, y = rng().uniform(2, 7, (20, 5)), rng(1).integers(0, 2, 20)
    splits = [grower(x, y, seed, random_depth=1).choose(0, np.arange(20)) for seed in range(600)]
    features = np.array([split[0] for split in splits if split])
    cuts = np.array([split[1] for split in splits if split])
    assert chisquare(np.bincount(features, minlength=5)).pvalue > 1e-3
    low, high = x.min(0)[features], x.max(0)[features]
    assert kstest((cuts - low) / (high - low), "uniform").pvalue > 1e-3


def test_thresholds_are_drawn_evenly() -> None:
    values, y = np.arange(9, dtype=np.float32), np.arange(9) % 2
    tree = grower(values[:, None], y, thresholds=2)
    drawn = np.concatenate([tree.rate(values, y, key)[1] for key in range(1000)])
    assert len(drawn) == 2000
    assert chisquare(np.unique(drawn, return_counts=True)[1]).pvalue > 1e-3
    assert len(np.unique(drawn)) == 8


def test_only_cuts_between_classes_are_valid() -> None:
    values = np.array([0, 1, 1, 2, 3, 4], dtype=np.float32)
    y = np.array([0, 0, 1, 1, 1, 0])
    cuts = grower(values[:, None], y).rate(values, y, 0)[1]
    assert sorted(cuts.tolist()) == [0.5, 1.5, 3.5]
    assert len(grower(values[:, None], y * 0).rate(values, y * 0, 0)[1]) == 0


def test_answers_are_the_mean_shares_of_leaves(instance_case: Case) -> None:
    forest = grown(SMALL, instance_case, instance_case.retain)
    rows = instance_case.test.x[:7]
    expected = np.zeros((7, 10))
    for row, tree in itertools.product(range(7), range(3)):
        node = 0
        while forest.feature[tree, node] != LEAF:
            value = rows[row, int(forest.feature[tree, node])]
            node = 2 * node + 1 + int(value > float(forest.threshold[tree, node]))
        counts = forest.counts[tree, node].numpy() + 1e-3
        expected[row] += counts / counts.sum() / 3
    answers = forest(torch.tensor(rows)).exp().numpy()
    assert answers == pytest.approx(expected, abs=1e-6)
    assert answers.sum(1) == pytest.approx(np.ones(7), abs=1e-5)


def test_counts_of_children_add_up_to_the_parent_s(instance_case: Case) -> None:
    model = grown(SMALL, instance_case, instance_case.training)
    new = SMALL.unlearn(model, instance_case, rng()).model
    assert isinstance(new, Forest)
    assert new.counts[:, 0].sum(1).tolist() == [220] * 3
    for tree, node in torch.nonzero(new.feature != LEAF).tolist():
        children = new.counts[tree, 2 * node + 1] + new.counts[tree, 2 * node + 2]
        assert torch.equal(children, new.counts[tree, node])


def test_other_originals_are_refused(instance_case: Case) -> None:
    case, trainer = instance_case, instance_case.trainer
    assert isinstance(trainer, RecipeTrainer)
    with pytest.raises(NotApplicable, match=r"dare needs a forest .* found None"):
        SMALL.unlearn(trainer.fresh(1), case, rng())
    other = grown(Dare(trees=3, depth=6, thresholds=9), case, case.retain)
    with pytest.raises(NotApplicable, match=r"found \(3, 6, 1, 0, 9\)"):
        SMALL.unlearn(other, case, rng())
    with pytest.raises(NotApplicable, match="dare needs a RecipeTrainer"):
        SMALL.trainer(grower)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="depth: expected at most 14"):
        Dare(depth=15)
