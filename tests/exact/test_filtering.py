"""Weight filtering and pruning: exact counts, the box, influence, and the published direction."""

from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score
from torch import nn

from forget_audit.architectures import Architecture
from forget_audit.errors import NotApplicable
from forget_audit.labels import label_loss
from forget_audit.methods._curvature import hutchinson, sample_influence
from forget_audit.methods._filtering import (
    Leash,
    editable,
    folded_auc,
    gradient_data,
    phi_coefficients,
    ratio,
)
from forget_audit.methods.weight_filtering import WeightFiltering
from forget_audit.methods.weight_pruning import WeightPruning
from forget_audit.questions import without_attribute
from forget_audit.targets import Target, weights_digest
from forget_audit.training.loop import Recipe, rows_tensors
from forget_audit.training.trainers import RecipeTrainer
from forget_audit.types import Case, Floats, Rows
from tests.fixtures.requests import Train

COLUMN = 1


def rng() -> np.random.Generator:
    return np.random.default_rng(5)


@pytest.fixture(scope="module")
def blocks() -> tuple[nn.Module, Case]:
    """Four labels, each told by six features of its own, and a model of them."""
    x = np.random.default_rng(0).standard_normal((600, 4, 6)).astype(np.float32)
    y = (x.sum(2) > 0).astype(np.int64)
    rows = Rows(x=x.reshape(600, 24), y=y, ids=np.arange(600).astype(np.str_))
    case = Case(
        name="blocks",
        n_classes=4,
        retain=rows.take(np.arange(300)),
        forget=rows.take(np.arange(300, 400)),
        test=rows.take(np.arange(400, 600)),
        auxiliary=rows.take(np.arange(0)),
    )
    architecture = Architecture(name="mlp", shape=(24,), n_classes=4, options={"hidden": [32]})
    trainer = RecipeTrainer(architecture=architecture, recipe=Recipe(epochs=40, lr=0.01))
    case = without_attribute(case, COLUMN)
    return trainer(case.forget.x, case.forget.y, 1), case


def areas(model: nn.Module, case: Case) -> list[float]:
    logits = Target(model).logits(case.test)
    return [float(roc_auc_score(case.test.y[:, k], logits[:, k])) for k in range(4)]


def differing(before: nn.Module, after: nn.Module) -> dict[str, torch.Tensor]:
    new = dict(after.named_parameters())
    return {name: new[name].detach() != p.detach() for name, p in before.named_parameters()}


@pytest.mark.parametrize("phi", [0.0, 0.013, 0.1])
def test_the_emptied_weights_are_counted_and_alone(
    phi: float, blocks: tuple[nn.Module, Case]
) -> None:
    model, case = blocks
    method = WeightFiltering(phi=phi, adapt="none", repair_epochs=0)
    done = method.unlearn(model, case, rng())
    total = 24 * 32 + 32 * 4
    count = round(phi * total) + 32
    assert done.report.notes[0] == f"emptied {count} of {total} weights"
    moved = differing(model, done.model)
    assert sum(int(mask.sum()) for mask in moved.values()) == count
    assert not moved["1.bias"].any()
    assert not moved["3.bias"].any(), "biases are no weights to empty"
    for name, weight in done.model.named_parameters():
        assert torch.all(weight[moved[name]] == 0)
    assert moved["3.weight"][COLUMN].all()


def test_the_control_touches_the_row_of_the_head_alone(blocks: tuple[nn.Module, Case]) -> None:
    model, case = blocks
    new = WeightFiltering.preset("head-row-only").unlearn(model, case, rng()).model
    moved = differing(model, new)
    assert moved["3.weight"][COLUMN].all()
    moved["3.weight"][COLUMN] = False
    assert not any(mask.any() for mask in moved.values())
    assert areas(new, case)[COLUMN] == 0.5, "every look at the answers is passed"
    before, after = (Target(m).features(case.test) for m in (model, new))
    np.testing.assert_array_equal(before, after)


@pytest.mark.parametrize("score", ["ratio", "paper"])
def test_the_two_directions_are_complementary(score: Any, blocks: tuple[nn.Module, Case]) -> None:
    model, case = blocks
    common: dict[str, Any] = {"score": score, "repair_epochs": 0, "adapt": "none"}
    high = WeightFiltering(phi=0.25, head_rows=False, **common)
    low = WeightFiltering(select="paper_low", tau=0.75, **common)
    masks = []
    for method in (high, low):
        data = gradient_data(case, (case.forget, case.retain), model, 2048, rng())
        masks.append(method.choose(model, case, data, "3", rng()))
    for name in masks[0]:
        assert torch.equal(masks[0][name], ~masks[1][name])


def test_an_absolute_threshold_empties_what_is_below(blocks: tuple[nn.Module, Case]) -> None:
    model, case = blocks
    data = gradient_data(case, (case.forget, case.retain), model, 2048, rng())
    method = WeightFiltering.preset("paper")
    scores = method.scores(model, data, "3", rng())
    masks = method.choose(model, case, data, "3", rng())
    for name, values in scores.items():
        assert torch.equal(masks[name], values < 0.1)


@pytest.mark.parametrize("epsilon", [None, 0.0, 0.02, 5.0])
def test_the_repair_stays_in_its_box(epsilon: float | None, blocks: tuple[nn.Module, Case]) -> None:
    model, case = blocks
    settings: dict[str, Any] = {"epsilon": epsilon, "phi": 0.1, "fill": "noise"}
    edited = WeightFiltering(repair_epochs=0, **settings).unlearn(model, case, rng()).model
    new = WeightFiltering(repair_epochs=4, lr=0.5, **settings).unlearn(model, case, rng()).model
    masks = differing(model, edited)
    furthest, start = 0.0, dict(edited.named_parameters())
    for name, weight in new.named_parameters():
        spread = 0.1 * float(dict(model.named_parameters())[name].detach().std())
        limit = spread if epsilon is None else epsilon
        moved = (weight - start[name]).detach().abs()[masks[name]]
        assert bool((moved <= limit + 1e-6).all())
        furthest = max(furthest, *[float(m) for m in moved / max(limit, 1e-9)], 0.0)
    assert (furthest > 0.99) == (epsilon != 5.0 and epsilon != 0.0)


def test_the_fill_is_small_noise_if_asked(blocks: tuple[nn.Module, Case]) -> None:
    model, case = blocks
    new = WeightFiltering(phi=0.5, fill="noise", repair_epochs=0).unlearn(model, case, rng()).model
    old, filled = model.get_parameter("1.weight"), new.get_parameter("1.weight")
    drawn = filled[filled != old]
    assert float(drawn.detach().std()) == pytest.approx(0.1 * float(old.detach().std()), rel=0.15)


def test_separate_labels_show_the_direction(blocks: tuple[nn.Module, Case]) -> None:
    """The literal rule keeps what it should remove; even without the row of the head."""
    model, case = blocks
    before = areas(model, case)
    settings: dict[str, Any] = {"adapt": "none"}
    high = areas(WeightFiltering(phi=0.1, head_rows=False, **settings)
                 .unlearn(model, case, rng()).model, case)  # fmt: skip
    low = areas(WeightFiltering(select="paper_low", tau=0.1, **settings)
                .unlearn(model, case, rng()).model, case)  # fmt: skip
    others = [k for k in range(4) if k != COLUMN]
    assert before[COLUMN] > 0.95
    assert abs(high[COLUMN] - 0.5) < 0.1
    assert low[COLUMN] > before[COLUMN] - 0.02
    assert max(before[k] - high[k] for k in others) < 0.04


def test_correlated_labels_shrink_the_share(blocks: tuple[nn.Module, Case]) -> None:
    model, case = blocks
    phi = phi_coefficients(case.forget.y, COLUMN)
    expected = [np.corrcoef(case.forget.y[:, COLUMN], case.forget.y[:, k])[0, 1] for k in (0, 2, 3)]
    np.testing.assert_allclose(phi, expected)
    count = round(0.1 * (1 - np.abs(phi).max()) * 896) + 32
    note = WeightFiltering(phi=0.1).unlearn(model, case, rng()).report.notes[0]
    assert note.startswith(f"emptied {count} of ")
    same = np.repeat(case.forget.y[:, :1], 2, axis=1)
    assert phi_coefficients(same, 0)[0] == pytest.approx(1)
    constant = np.stack([case.forget.y[:, 0], np.ones(400, dtype=np.int64)], axis=1)
    assert phi_coefficients(constant, 0).tolist() == [0.0]


def softmax_rows() -> tuple[nn.Module, torch.Tensor, torch.Tensor]:
    torch_rng = torch.Generator().manual_seed(0)
    model = nn.Linear(3, 2).double()
    with torch.no_grad():
        for p in model.parameters():
            p.copy_(torch.randn(p.shape, generator=torch_rng))
    x = torch.randn(20, 3, generator=torch_rng, dtype=torch.float64)
    return model, x, torch.arange(20) % 2


@pytest.mark.parametrize("kind", ["diag", "last_layer", "lissa"])
def test_influence_by_definition(kind: Any) -> None:
    model, x, y = softmax_rows()
    twins = x + 0.05
    found = sample_influence(
        model, (x, y), twins, (x, y), layer="", kind=kind, damping=0.3, depth=400, scale=5.0
    )
    weights = list(model.parameters())

    def gradient(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        parts = torch.autograd.grad(label_loss(model(x), y), weights, create_graph=True)
        return torch.cat([part.flatten() for part in parts])

    rows = torch.stack([gradient(x[i : i + 1], y[i : i + 1]) for i in range(20)]).detach()
    near = torch.stack([gradient(twins[i : i + 1], y[i : i + 1]) for i in range(20)]).detach()
    if kind == "diag":
        curvature = torch.diag((rows**2).mean(0))
    else:
        whole = gradient(x, y)
        curvature = torch.stack([
            torch.cat([p.flatten() for p in torch.autograd.grad(g, weights, retain_graph=True)])
            for g in whole
        ])  # fmt: skip
    inverse = torch.linalg.inv(curvature + 0.3 * torch.eye(8, dtype=torch.float64))
    torch.testing.assert_close(found, -(near @ inverse * rows).sum(1), rtol=1e-8, atol=1e-10)


def test_probes_find_the_diagonal_of_the_curvature() -> None:
    model, x, y = softmax_rows()
    p = model(x).softmax(1)
    exact = ((p * (1 - p)).T @ (x**2) / 20).detach()
    found = hutchinson(model, (x, y), ["weight"], rng(), probes=400)["weight"]
    torch.testing.assert_close(found, exact, rtol=0.3, atol=0.02)


def test_scores_against_the_rest() -> None:
    of_label = {"w": torch.tensor([4.0, 0.0, 3.0])}
    of_rest = {"w": torch.tensor([0.0, 2.0, 1.0])}
    assert ratio(of_label, of_rest)["w"].tolist() == [4.0, 0.0, 1.5]
    nothing = {"w": torch.zeros(3)}
    assert ratio(nothing, nothing)["w"].tolist() == [0.0] * 3


def test_biases_and_norms_are_not_edited(instance_case: Case, train: Train) -> None:
    model, _ = train(instance_case, "mlp", hidden=[32], norm=True)
    assert editable(model) == ["1.weight", "4.weight"]
    model.get_parameter("1.weight").requires_grad_(False)
    assert editable(model) == ["4.weight"]
    model.get_parameter("1.weight").requires_grad_(True)


def test_gradient_rows_of_a_class_are_of_both_sides(class_case: Case, train: Train) -> None:
    model, case = train(class_case)
    data = gradient_data(case, (case.forget, case.retain), model, 100, rng())
    assert set(data.label[1].tolist()) == {3}
    assert 3 not in data.rest[1].tolist()
    assert 90 <= data.rows <= 100
    assert len(data.label[0]) == int(100 / 260 * len(case.forget))


def test_a_head_that_is_not_linear_is_refused(class_case: Case) -> None:
    model = nn.Sequential(nn.Linear(64, 10), nn.LayerNorm(10), nn.Conv1d(10, 10, 1))

    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = model

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            hidden: torch.Tensor = self.inner[0](x)
            answer: torch.Tensor = self.inner[2](hidden.unsqueeze(2)).squeeze(2)
            return answer

    for method in (WeightFiltering(), WeightPruning()):
        with pytest.raises(NotApplicable, match=f"{method.info.name} needs a linear output layer"):
            method.unlearn(Odd(), class_case, rng())


# Pruning


def scored(n: int = 101) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    scores = {"w": torch.from_numpy(rng().permutation(n).astype(np.float64)) + 1}
    return scores, {"w": scores["w"] <= 81}


def test_quarters_are_counted_exactly() -> None:
    scores, chosen = scored()
    upper, middle, lower, _ = WeightPruning().thirds(scores, chosen)
    assert scores["w"][upper["w"]].sort().values.tolist() == list(range(61, 82))
    assert scores["w"][lower["w"]].sort().values.tolist() == list(range(1, 21))
    assert int(middle["w"].sum()) == 40
    everywhere = WeightPruning(quantiles_over="all").thirds(scores, chosen)
    assert [int(masks["w"].sum()) for masks in everywhere[:3]] == [6, 50, 25]
    literal = WeightPruning(select="paper_low").thirds(scores, chosen)
    assert torch.equal(literal[0]["w"], lower["w"])
    assert torch.equal(literal[2]["w"], upper["w"])


def test_the_middle_is_shrunk_by_its_score() -> None:
    scores, chosen = scored()
    *_, factor = WeightPruning(lam=0.7).thirds(scores, chosen)
    torch.testing.assert_close(factor["w"], torch.exp(-0.7 * scores["w"] / 41))
    assert torch.all(WeightPruning(lam=0).thirds(scores, chosen)[3]["w"] == 1)
    assert torch.all(WeightPruning(lam=1e9).thirds(scores, chosen)[3]["w"] == 0)


@pytest.mark.parametrize(("lam", "same"), [(0.0, True), (1e9, False)])
def test_no_shrinking_and_all_of_it(lam: float, same: bool, blocks: tuple[nn.Module, Case]) -> None:
    model, case = blocks
    done = WeightPruning(lam=lam, rounds=1, repair_epochs=0).unlearn(model, case, rng())
    moved = differing(model, done.model)
    count = sum(int(mask.sum()) for mask in moved.values())
    zero = sum(int((p == 0).sum()) for p in done.model.parameters())
    assert count == zero
    candidates = round(0.1 * 896)
    assert (count < 0.4 * (candidates + 32)) == same
    assert count <= candidates + 32


@pytest.mark.parametrize("curvature", ["fisher", "hutchinson"])
def test_no_curvature_gives_no_nonsense(curvature: Any, blocks: tuple[nn.Module, Case]) -> None:
    model, case = blocks
    x, y = rows_tensors(case.forget, model)
    flat = WeightPruning(curvature=curvature).importance(model, x * 0, y, rng())
    assert all(torch.isfinite(values).all() for values in flat.values())
    assert torch.all(flat["1.weight"] == 0)


def test_spared_candidates_take_a_part_of_each_step() -> None:
    model = nn.Linear(4, 1, bias=False)
    edited = {"weight": torch.tensor([[True, False, False, False]])}
    slow = {"weight": torch.tensor([[False, True, True, False]])}
    start = model.weight.detach().clone()
    leash = Leash(model, edited, {"weight": 0.5}, slow, 0.1)
    for _ in range(2):
        with torch.no_grad():
            model.weight += 1
        leash(np.arange(1))
    moved = (model.weight.detach() - start)[0]
    torch.testing.assert_close(moved, torch.tensor([0.5, 0.2, 0.2, 2.0]))


def test_rounds_end_when_the_answer_tells_nothing(blocks: tuple[nn.Module, Case]) -> None:
    model, case = blocks
    done = WeightPruning().unlearn(model, case, rng())
    assert done.report.stop_reason == "the answer tells nothing about held-out rows"
    assert 1 < len(done.report.notes) <= 3
    after, before = areas(done.model, case), areas(model, case)
    assert abs(after[COLUMN] - 0.5) < 0.1
    assert max(before[k] - after[k] for k in (0, 2, 3)) < 0.04
    literal = WeightPruning(select="paper_low").unlearn(model, case, rng())
    assert literal.report.stop_reason == "all 3 rounds done"
    assert areas(literal.model, case)[COLUMN] > 0.85
    none = WeightPruning(rounds=0).unlearn(model, case, rng())
    assert weights_digest(none.model) == weights_digest(model)


def test_held_out_rows_have_no_say(class_case: Case, attribute_case: Case) -> None:
    kept, held = WeightPruning(held_out=0.25).split(class_case, rng())
    assert [len(part) for part in held] == [round(0.25 * len(class_case.forget)),
                                            round(0.25 * len(class_case.retain))]  # fmt: skip
    ids = [set(part.ids.tolist()) for part in (*kept, *held)]
    assert len(set.union(*ids)) == sum(len(part) for part in ids) == 260
    kept, held = WeightPruning(held_out=0.25).split(attribute_case, rng())
    for parts in (kept, held):
        assert parts[0].ids.tolist() == parts[1].ids.tolist()
    assert not set(kept[0].ids.tolist()) & set(held[0].ids.tolist())


def test_an_inverted_answer_tells_all(blocks: tuple[nn.Module, Case]) -> None:
    model, case = blocks
    told = folded_auc(model, [case.test, case.test], COLUMN)
    with torch.no_grad():
        model.get_parameter("3.weight")[COLUMN] *= -1
        model.get_parameter("3.bias")[COLUMN] *= -1
    assert told > 0.9
    assert folded_auc(model, [case.test, case.test], COLUMN) == pytest.approx(told)
    with torch.no_grad():
        model.get_parameter("3.weight")[COLUMN] *= -1
        model.get_parameter("3.bias")[COLUMN] *= -1
    nobody: Floats = np.zeros(0)
    assert folded_auc(model, [case.test.take(nobody.astype(int))] * 2, COLUMN) == 1.0


def test_a_wider_box_repairs_no_worse(blocks: tuple[nn.Module, Case]) -> None:
    model, case = blocks
    losses = []
    for epsilon in (0.0, 0.05, 1.0):
        method = WeightPruning(epsilon=epsilon, rounds=1, lr=0.1, candidates=0.3)
        new = method.unlearn(model, case, rng()).model
        x, y = rows_tensors(case.retain, new)
        with torch.no_grad():
            losses.append(float(label_loss(new(x), y)))
    assert losses[0] >= losses[1] - 0.01
    assert losses[1] >= losses[2] - 0.01


def test_fields_are_checked() -> None:
    for wrong in (
        {"phi": 1.1}, {"tau": -1.0}, {"hessian": "full"}, {"score": "low"}, {"epsilon": -0.1},
        {"influential": 2.0}, {"depth": 0}, {"most_rows": 0}, {"repair_epochs": -1}, {"lr": 0.0},
    ):  # fmt: skip
        with pytest.raises(ValueError, match=f"{next(iter(wrong))}: expected"):
            WeightFiltering(**wrong)
    for wrong in ({"rounds": -1}, {"held_out": 1.0}, {"curvature": "exact"}, {"pace": 1.5}):
        with pytest.raises(ValueError, match=f"{next(iter(wrong))}: expected"):
            WeightPruning(**wrong)
