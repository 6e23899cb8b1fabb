"""Linear filtration: where the filter sends mean logits, and how it enters the output layer."""

from typing import Any

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from torch import nn

from forget_audit.errors import NotApplicable
from forget_audit.methods.linear_filtration import LinearFiltration, class_means
from forget_audit.targets import Target
from forget_audit.types import Case, Floats
from tests.fixtures.requests import Train

KEPT, GONE = [0, 1, 3, 4], [2, 5]
VARIANTS = ("normalization", "randomization", "zeroing")


def rng(seed: int = 5) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.fixture
def means() -> Floats:
    return rng().standard_normal((6, 6)) + 4 * np.eye(6)


def wanted(variant: str, means: Floats, gone: int, draw: np.random.Generator) -> Floats:
    if variant == "normalization":
        own = means[KEPT, gone]
        return np.asarray(own + (means[np.ix_(KEPT, KEPT)].mean() - own.mean()))
    return draw.standard_normal(4) if variant == "randomization" else np.zeros(4)


@pytest.mark.parametrize("variant", VARIANTS)
def test_filter_keeps_the_means_of_kept_classes_and_moves_the_others(
    variant: Any, means: Floats
) -> None:
    matrix = LinearFiltration(variant=variant, ridge=0.0).filtration(means, KEPT, GONE, rng())
    assert matrix.shape == (4, 6)
    for k in KEPT:
        np.testing.assert_allclose(matrix @ means[:, k], means[KEPT, k], atol=1e-10)
    draw = rng()
    for k in GONE:
        expected = wanted(variant, means, k, draw)
        np.testing.assert_allclose(matrix @ means[:, k], expected, atol=1e-10)


def test_naive_filter_drops_the_forgotten_logits(means: Floats) -> None:
    matrix = LinearFiltration(variant="naive").filtration(means, KEPT, GONE, rng())
    assert np.array_equal(matrix, np.eye(6)[KEPT])


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_little_ridge_changes_little(variant: Any, means: Floats) -> None:
    exact, near, damped = (
        LinearFiltration(variant=variant, ridge=ridge).filtration(means, KEPT, GONE, rng())
        for ridge in (0.0, 1e-10, 1.0)
    )
    np.testing.assert_allclose(near, exact, atol=1e-6)
    assert np.linalg.norm(damped) < np.linalg.norm(exact)


def test_means_by_hand() -> None:
    logits, y = rng().standard_normal((50, 3)), np.arange(50) % 3
    found = class_means(logits, y, 3)
    for k in range(3):
        np.testing.assert_allclose(
            found[:, k], logits[[i for i in range(50) if i % 3 == k]].mean(0)
        )
    with pytest.raises(NotApplicable, match=r"linear_filtration needs rows of each class.*\[3\]"):
        class_means(logits, y, 4)


@pytest.mark.parametrize("variant", [*VARIANTS, "naive"])
@pytest.mark.parametrize("name", ["mlp", "vit"])
def test_filtered_layer_is_the_filter_after_the_logits(
    variant: Any, name: str, class_case: Case, train: Train
) -> None:
    """For the kept outputs; the forgotten one is a constant below all others."""
    options: dict[str, dict[str, Any]] = {
        "mlp": {"hidden": [32]},
        "vit": {"patch": 4, "width": 16, "depth": 1},
    }
    model, case = train(class_case, name, **options[name])
    method = LinearFiltration(variant=variant, per_class=10_000)
    new = Target(method.unlearn(model, case, rng()).model)
    kept = [k for k in range(10) if k != 3]
    logits = Target(model).logits(case.training)
    replay = rng()
    replay.integers(0, 2**63 - 1)  # the seed of dropout
    replay.permutation(len(case.training))
    means = class_means(logits, case.training.y, 10)
    matrix = method.filtration(means, kept, [3], replay)
    for rows in (case.test, case.others):
        assert rows is not None
        found = new.logits(rows)
        np.testing.assert_allclose(found[:, kept], Target(model).logits(rows) @ matrix.T, atol=2e-3)
        assert np.ptp(found[:, 3]) == 0
    found = new.logits(case.training)
    others = found[:, kept]
    assert found[0, 3] == pytest.approx(2 * others.min() - others.max(), abs=2e-3)


def test_naive_filter_keeps_the_others(class_case: Case, train: Train) -> None:
    model, case = train(class_case)
    before = Target(model)
    after = Target(LinearFiltration(variant="naive").unlearn(model, case, rng()).model)
    assert case.others is not None
    for rows in (case.retain, case.others):
        assert after.accuracy(rows) >= before.accuracy(rows)
    assert after.accuracy(case.forget) == 0


@pytest.mark.parametrize("variant", [*VARIANTS, "naive"])
def test_features_still_tell_the_class(variant: Any, class_case: Case, train: Train) -> None:
    model, case = train(class_case)
    new = Target(LinearFiltration(variant=variant).unlearn(model, case, rng()).model)
    assert new.accuracy(case.forget) == 0
    assert new.accuracy(case.retain) > 0.9
    rows, held_out = case.training, case.never_trained
    probe = LogisticRegression(max_iter=300).fit(new.features(rows), rows.y == 3)
    guess = probe.predict_proba(new.features(held_out))[:, 1]
    assert roc_auc_score(held_out.y == 3, guess) > 0.95
    for name, tensor in model.state_dict().items():
        if not name.startswith("3."):
            new_tensor = new.model_copy().state_dict()[name]
            assert torch.equal(new_tensor, tensor)


def test_two_classes(class_case: Case, train: Train) -> None:
    model, case = train(class_case)
    rows = case.training
    gone = np.isin(rows.y, (3, 7))
    both = case.replace(retain=rows.take(~gone), forget=rows.take(gone), classes=(3, 7))
    new = Target(LinearFiltration().unlearn(model, both, rng()).model)
    assert new.accuracy(both.forget) == 0
    assert new.accuracy(both.retain) > 0.9


def test_half_the_way(class_case: Case, train: Train) -> None:
    model, case = train(class_case)
    old, half, whole = (
        Target(m).logits(case.test)
        for m in (
            model,
            LinearFiltration(strength=0.5).unlearn(model, case, rng()).model,
            LinearFiltration().unlearn(model, case, rng()).model,
        )
    )
    np.testing.assert_allclose(half, (old + whole) / 2, atol=1e-3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m.__setitem__(3, nn.Linear(32, 10, bias=False)), "with a bias that may change"),
        (lambda m: m[3].requires_grad_(False), "with a bias that may change"),
        (lambda m: m.append(nn.LayerNorm(10)), "whose outputs are the logits"),
        (lambda m: m.append(nn.PReLU()), "linear_filtration needs a linear output layer"),
    ],
)
def test_other_output_layers(change: Any, message: str, class_case: Case, train: Train) -> None:
    case = train(class_case)[1]
    assert case.trainer is not None
    model = case.trainer(case.training.x[:20], case.training.y[:20], 3)
    change(model)
    with pytest.raises(NotApplicable, match=message):
        LinearFiltration().unlearn(model, case, rng())


@pytest.mark.parametrize("classes", [(), tuple(range(10))], ids=str)
def test_some_classes_must_be_named(
    classes: tuple[int, ...], class_case: Case, train: Train
) -> None:
    model, case = train(class_case)
    with pytest.raises(NotApplicable, match="linear_filtration needs a class request that names"):
        LinearFiltration().unlearn(model, case.replace(classes=classes), rng())
