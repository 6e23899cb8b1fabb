"""UNSIR: closed forms of the noise and of one impair step, and what the two halves do."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
import torch
from scipy.special import log_softmax, softmax
from sklearn.datasets import load_digits
from sklearn.metrics import roc_auc_score
from torch import nn
from torch.nn import functional

from forget_audit.architectures import Architecture
from forget_audit.errors import NotApplicable, UnknownName
from forget_audit.methods._noise import forgotten_labels, noise_objective, sample
from forget_audit.methods.unsir import Unsir
from forget_audit.seeds import seeded_torch
from forget_audit.targets import Target, weights_digest
from forget_audit.training.loop import Recipe
from forget_audit.training.trainers import RecipeTrainer
from forget_audit.types import UNKNOWN, Case, Floats, Labels, Rows

CLASS = 3
SHAPE = (64,)


@pytest.fixture(scope="module")
def digits() -> Case:
    """A request to forget the threes among 600 digits."""
    data = load_digits()
    chosen = np.random.default_rng(1).permutation(len(data.target))[:1000]
    rows = Rows(x=data.data[chosen] / 16, y=data.target[chosen], ids=chosen.astype(np.str_))
    train, test = rows.take(np.arange(600)), rows.take(np.arange(600, 1000))
    return Case(
        name="digits",
        n_classes=10,
        retain=train.take(train.y != CLASS),
        forget=train.take(train.y == CLASS),
        test=test.take(test.y == CLASS),
        others=test.take(test.y != CLASS),
        auxiliary=rows.take(np.arange(0)),
        scope="class",
        classes=(CLASS,),
        trainer=RecipeTrainer(
            architecture=Architecture(name="mlp", shape=SHAPE, n_classes=10),
            recipe=Recipe(epochs=60),
        ),
    )


@pytest.fixture(scope="module")
def trained(digits: Case) -> nn.Module:
    assert digits.trainer is not None
    return digits.trainer(digits.training.x, digits.training.y, 1)


@pytest.fixture
def normed() -> nn.Module:
    """A perceptron with batch norm and dropout, in training mode."""
    with seeded_torch(3):
        model = nn.Sequential(
            nn.Linear(64, 24), nn.BatchNorm1d(24), nn.ReLU(), nn.Dropout(0.2), nn.Linear(24, 10)
        )
        with torch.no_grad():
            model(torch.rand(50, 64))  # statistics of its own
    return model.train()


@pytest.fixture
def regression() -> nn.Linear:
    with seeded_torch(4):
        return nn.Linear(64, 10)


def rng(seed: int = 5) -> np.random.Generator:
    return np.random.default_rng(seed)


def arrays(model: nn.Linear) -> tuple[Floats, Floats]:
    return model.weight.detach().double().numpy(), model.bias.detach().double().numpy()


def state(model: nn.Module) -> Mapping[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def noise_of(method: Unsir, model: nn.Module, *forgotten: int) -> tuple[Floats, list[int], str]:
    wanted = np.repeat(forgotten, method.noise_per_class)
    noise, labels, note = method.learn_noise(model, wanted, SHAPE, rng())
    return noise.double().numpy(), labels.tolist(), note


def blanked(rows: Rows, y: Labels) -> Rows:
    """Other features and labels under the same ids."""
    return Rows(x=rng().random(rows.x.shape).astype(np.float32), y=y, ids=rows.ids)


def slow_objective(w: Floats, b: Floats, noise: Floats, label: int, lam: float, reg: str) -> float:
    total = 0.0
    for row in noise:
        logits = [sum(w[k, j] * row[j] for j in range(len(row))) + b[k] for k in range(len(b))]
        top = max(logits)
        error = top + math.log(sum(math.exp(z - top) for z in logits)) - logits[label]
        squares = sum(v * v for v in row)
        total += lam * (squares if reg == "sum_sq" else math.sqrt(squares)) - error
    return total / len(noise)


# The noise


@pytest.mark.parametrize("reg", ["sum_sq", "norm"])
def test_objective_of_the_noise(reg: Any, regression: nn.Linear) -> None:
    noise = torch.from_numpy(rng().standard_normal((7, 64), dtype=np.float32))
    found = noise_objective(regression(noise), torch.full((7,), CLASS), noise, 0.3, reg)
    expected = slow_objective(*arrays(regression), noise.double().numpy(), CLASS, 0.3, reg)
    assert found.item() == pytest.approx(expected, rel=1e-5)


def test_objective_counts_all_pixels_of_an_image() -> None:
    image, logits = torch.ones(2, 3, 4, 4), torch.zeros(2, 10)
    labels = torch.zeros(2, dtype=torch.int64)
    found = [noise_objective(logits, labels, image, 1.0, reg).item() for reg in ("sum_sq", "norm")]
    assert found == pytest.approx([48 - math.log(10), math.sqrt(48) - math.log(10)])


@pytest.mark.parametrize("reg", ["sum_sq", "norm"])
def test_steps_on_the_noise_are_adam_on_its_objective(reg: Any, regression: nn.Linear) -> None:
    """Adam, by hand, with the gradient in closed form."""
    lam, rate, n = 0.2, 0.05, 6
    w, b = arrays(regression)
    noise = rng().standard_normal((n, 64), dtype=np.float32).astype(np.float64)
    first, second = np.zeros_like(noise), np.zeros_like(noise)
    for step in range(1, 5):
        residual = (softmax(noise @ w.T + b, axis=1) - np.eye(10)[CLASS]) / n
        length = np.sqrt((noise**2).sum(1, keepdims=True))
        size = 2 * noise if reg == "sum_sq" else noise / length
        gradient = lam * size / n - residual @ w
        first = 0.9 * first + 0.1 * gradient
        second = 0.999 * second + 0.001 * gradient**2
        mean, spread = first / (1 - 0.9**step), second / (1 - 0.999**step)
        noise -= rate * mean / (np.sqrt(spread) + 1e-8)
    method = Unsir(noise_per_class=n, noise_steps=4, noise_lr=rate, lam=lam, reg=reg)
    np.testing.assert_allclose(noise_of(method, regression, CLASS)[0], noise, atol=1e-4)


def test_noise_maximises_the_error(trained: nn.Module) -> None:
    w = {steps: noise_of(Unsir(noise_steps=steps), trained, CLASS)[0] for steps in (0, 10, 20, 40)}
    errors = {}
    for steps, noise in w.items():
        with torch.no_grad():
            logits = trained(torch.from_numpy(noise).float()).double().numpy()
        errors[steps] = -log_softmax(logits, axis=1)[:, CLASS]
    means = [float(error.mean()) for error in errors.values()]
    assert means == sorted(means)
    assert errors[40].min() > 10 * math.log(10)
    assert means[-1] > 5 * means[0]
    note = noise_of(Unsir(), trained, CLASS)[2]
    assert note == (
        f"noise: cross-entropy {means[0]:.3g} before and {means[-1]:.3g} after 40 steps, "
        "at chance 2.3"
    )


def test_a_strong_penalty_shrinks_the_noise(trained: nn.Module) -> None:
    free, held = (np.abs(noise_of(Unsir(lam=lam), trained, CLASS)[0]) for lam in (0.0, 100.0))
    assert held.mean() < 0.2 * free.mean()


def test_noise_of_each_class_has_its_own_label(trained: nn.Module) -> None:
    method = Unsir(noise_per_class=8)
    noise, labels, _ = noise_of(method, trained, 3, 7)
    assert labels == [3] * 8 + [7] * 8
    with torch.no_grad():
        logits = trained(torch.from_numpy(noise).float())
    own = functional.cross_entropy(logits, torch.tensor(labels), reduction="none")
    assert own.min() > math.log(10)


def test_bounds_hold_the_noise(trained: nn.Module) -> None:
    noise = noise_of(Unsir(bounds=(0.0, 1.0)), trained, CLASS)[0]
    assert noise.min() == 0
    assert noise.max() == 1
    assert np.abs(noise_of(Unsir(), trained, CLASS)[0]).max() > 2


def test_learning_the_noise_leaves_the_model_bit_for_bit(normed: nn.Module) -> None:
    """Weights, buffers, modes and gradients; dropout is off, so that the noise is repeatable."""
    before, torch_state = weights_digest(normed), torch.random.get_rng_state()
    first, second = (noise_of(Unsir(), normed, CLASS)[0] for _ in range(2))
    np.testing.assert_array_equal(first, second)
    assert weights_digest(normed) == before
    assert all(module.training for module in normed.modules())
    assert all(p.grad is None and p.requires_grad for p in normed.parameters())
    assert torch.equal(torch.random.get_rng_state(), torch_state)


# Impair and repair


def test_one_impair_step_and_one_repair_step(digits: Case, regression: nn.Linear) -> None:
    """Plain gradient descent on noise and retained rows, then on retained rows, in float64."""
    method = Unsir(
        batch_size=10_000, least_steps=1, optimizer="sgd", momentum=0.0, lr=0.02, repair_lr=0.3,
        noise_per_class=5, copies=3, noise_steps=4,
    )  # fmt: skip
    rows = digits.retain
    new = method.unlearn(regression, digits, rng()).model
    assert isinstance(new, nn.Linear)
    replay = rng()
    _ = replay.integers(0, 2**63 - 1)  # the seed of dropout
    sample(rows.y, 1000, replay)
    noise = method.learn_noise(regression, np.full(5, CLASS), SHAPE, replay)[0].double().numpy()
    x_r, y_r = rows.x.astype(np.float64), rows.y
    x = np.concatenate([noise, noise, noise, x_r])
    y = np.concatenate([np.full(15, CLASS), y_r])
    w, b = arrays(regression)
    for rate, inputs, labels in ((0.02, x, y), (0.3, x_r, y_r)):
        residual = (softmax(inputs @ w.T + b, axis=1) - np.eye(10)[labels]) / len(inputs)
        w, b = w - rate * residual.T @ inputs, b - rate * residual.sum(0)
    np.testing.assert_allclose(arrays(new)[0], w, atol=1e-5)
    np.testing.assert_allclose(arrays(new)[1], b, atol=1e-5)


def test_passes_rounds_and_rows_are_counted(digits: Case, trained: nn.Module) -> None:
    n_r, n_n = len(digits.retain), 32 * 4
    report = Unsir(epochs=2, impair_passes=2).unlearn(trained, digits, rng()).report
    impair, repair = math.ceil((n_r + n_n) / 32), math.ceil(n_r / 32)
    assert report.steps == 2 * (2 * impair + repair)
    assert report.rows_touched == 2 * (2 * (n_r + n_n) + n_r)
    assert report.stop_reason == "all 2 rounds done"


def test_retained_rows_are_a_sample_of_each_class(digits: Case) -> None:
    labels = digits.retain.y
    index = sample(labels, 7, rng())
    assert np.unique(index).size == index.size
    kept, counts = np.unique(labels[index], return_counts=True)
    assert kept.tolist() == [0, 1, 2, 4, 5, 6, 7, 8, 9]
    assert counts.tolist() == [7] * 9
    assert sample(labels, 7, rng(6)).tolist() != index.tolist()
    assert sample(labels, 1000, rng()).tolist() == list(range(len(labels)))


def test_forget_rows_are_never_read(digits: Case, trained: nn.Module) -> None:
    blank = blanked(digits.forget, np.zeros_like(digits.forget.y))
    one, other = (
        Unsir().unlearn(trained, case, rng()) for case in (digits, digits.replace(forget=blank))
    )
    assert weights_digest(one.model) == weights_digest(other.model)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_impairing_forgets_and_repairing_repairs(
    seed: int, digits: Case, trained: nn.Module
) -> None:
    assert digits.others is not None
    before = Target(trained)
    impaired = Target(Unsir(repair_passes=0).unlearn(trained, digits, rng(seed)).model)
    repaired = Target(Unsir().unlearn(trained, digits, rng(seed)).model)
    assert before.accuracy(digits.forget) > 0.95
    assert before.accuracy(digits.test) > 0.9
    for rows in (digits.forget, digits.test):
        assert repaired.accuracy(rows) <= 0.05
    assert repaired.accuracy(digits.retain) > impaired.accuracy(digits.retain)
    assert repaired.accuracy(digits.retain) > 0.93
    assert repaired.accuracy(digits.others) > 0.85


def test_two_classes_are_forgotten_at_once(digits: Case, trained: nn.Module) -> None:
    rows = digits.training
    gone = np.isin(rows.y, (3, 7))
    case = digits.replace(retain=rows.take(~gone), forget=rows.take(gone), classes=(3, 7))
    target = Target(Unsir().unlearn(trained, case, rng()).model)
    for label in (3, 7):
        assert target.accuracy(rows.take(rows.y == label)) <= 0.1
    assert target.accuracy(case.retain) > 0.9


# Frozen parts and batch norm


def test_frozen_layers_stay_bit_for_bit(digits: Case, normed: nn.Module) -> None:
    normed.get_submodule("0").requires_grad_(False)
    old, new = state(normed), state(Unsir(weight_decay=0.1).unlearn(normed, digits, rng()).model)
    assert torch.equal(old["0.weight"], new["0.weight"])
    assert torch.equal(old["0.bias"], new["0.bias"])
    assert not torch.equal(old["4.weight"], new["4.weight"])


@pytest.mark.parametrize(
    ("settings", "statistics", "affine", "note"),
    [
        ({}, True, True, "eval then train"),
        ({"repair_passes": 0}, False, True, "eval then train"),
        ({"repair_passes": 0, "impair_norms": "train"}, True, True, "train"),
        ({"repair_norms": "eval"}, False, True, "eval"),
        ({"repair_norms": "frozen"}, False, False, "eval then frozen"),
    ],
    ids=str,
)
def test_batch_norm_modes(
    settings: dict[str, Any],
    statistics: bool,
    affine: bool,
    note: str,
    digits: Case,
    normed: nn.Module,
) -> None:
    done = Unsir(**settings).unlearn(normed, digits, rng())
    old, new = state(normed), state(done.model)
    assert not torch.equal(old["0.weight"], new["0.weight"])
    for name in ("1.running_mean", "1.running_var", "1.num_batches_tracked"):
        assert torch.equal(old[name], new[name]) != statistics
    for name in ("1.weight", "1.bias"):
        assert torch.equal(old[name], new[name]) != affine
    assert done.report.notes[-1] == f"batch norm: {note}"


# What it serves and what it refuses


def test_single_rows_are_refused(digits: Case, trained: nn.Module) -> None:
    with pytest.raises(
        NotApplicable,
        match="unsir serves attribute and class and subclass requests, found a instance",
    ):
        Unsir().unlearn(trained, digits.replace(scope="instance", classes=()), rng())


def test_a_class_request_without_classes_is_refused(digits: Case, trained: nn.Module) -> None:
    with pytest.raises(NotApplicable, match=r"forgotten classes, found none.*case\.classes"):
        Unsir().unlearn(trained, digits.replace(classes=()), rng())


def test_a_sub_class_has_the_label_of_its_rows(digits: Case, regression: nn.Linear) -> None:
    """Classes of a sub-class request name sub-classes; the noise bears the shared label."""
    rows = digits.training
    coarse = Rows(x=rows.x, y=rows.y // 2, ids=rows.ids)
    case = digits.replace(
        scope="subclass",
        classes=(7,),
        retain=coarse.take(rows.y != 7),
        forget=coarse.take(rows.y == 7),
    )
    assert forgotten_labels(case) == (3,)
    assert forgotten_labels(digits.replace(classes=(8, 1))) == (8, 1)
    blank = case.replace(forget=blanked(case.forget, case.forget.y))
    one, other = (Unsir().unlearn(regression, c, rng()).model for c in (case, blank))
    assert weights_digest(one) == weights_digest(other) != weights_digest(regression)


# Several labels a row


def test_noise_of_an_attribute_is_wrong_about_both_values(
    attribute_case: Case, train: Callable[[Case], tuple[nn.Module, Case]]
) -> None:
    model, method = train(attribute_case)[0], Unsir(noise_per_class=8)
    labels = method.noise_labels(attribute_case)
    assert labels.shape == (16, 4)
    assert labels[:, 2].tolist() == [0] * 8 + [1] * 8
    assert np.all(np.delete(labels, 2, axis=1) == UNKNOWN)
    noise = method.learn_noise(model, labels, SHAPE, rng())[0]
    with torch.no_grad():
        logits = model(noise)[:, 2].numpy()
    assert logits[:8].min() > 2
    assert logits[8:].max() < -2


def test_an_attribute_is_impaired_and_the_others_are_kept(
    attribute_case: Case, train: Callable[[Case], tuple[nn.Module, Case]]
) -> None:
    model, case = train(attribute_case)
    new = Unsir().unlearn(model, case, rng()).model
    rows = case.forget

    def areas(model: nn.Module) -> Floats:
        logits = Target(model).logits(rows)
        found = [roc_auc_score(rows.y[:, k], logits[:, k]) for k in range(4)]
        return np.array(found)

    before, after = areas(model), areas(new)
    assert before[2] > 0.99
    assert after[2] < 0.9
    assert np.all(np.delete(after, 2) > 0.95)


def test_single_rows_of_several_labels_are_refused(
    labels_case: Case, train: Callable[[Case], tuple[nn.Module, Case]]
) -> None:
    model, case = train(labels_case)
    with pytest.raises(NotApplicable, match="unsir serves rows of several labels in attribute"):
        Unsir().unlearn(model, case.replace(scope="class", classes=(1,)), rng())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"repair_lr": 0.0}, r"repair_lr: expected a finite number above 0, found 0\.0; leave"),
        ({"noise_lr": -1.0}, "noise_lr: expected"),
        ({"impair_passes": -1}, "impair_passes: expected a whole number of at least 0"),
        ({"repair_passes": 0.5}, "repair_passes: expected a whole number"),
        ({"noise_steps": -1}, "noise_steps: expected"),
        ({"retain_per_class": 0}, "retain_per_class: expected a whole number of at least 1"),
        ({"noise_per_class": 0}, "noise_per_class: expected"),
        ({"copies": 0}, "copies: expected"),
        ({"lam": -0.1}, "lam: expected a finite number at least 0"),
        ({"reg": "l1"}, "reg: expected one of sum_sq, norm, found 'l1'"),
        ({"bounds": (1.0, 0.0)}, r"bounds: expected two finite numbers, .* found \(1\.0, 0\.0\)"),
        ({"bounds": (0.0, math.inf)}, "bounds: expected two finite numbers"),
        ({"bounds": 1.0}, "bounds: expected two finite numbers"),
        ({"impair_norms": "off"}, "impair_norms: expected one of train, eval, frozen"),
        ({"repair_norms": "off"}, "repair_norms: expected one of"),
    ],
    ids=str,
)
def test_wrong_settings_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Unsir(**settings)


def test_presets() -> None:
    paper = Unsir.preset("cifar10")
    assert (paper.noise_per_class, paper.copies, paper.batch_size) == (256, 20, 256)
    assert (paper.lr, paper.repair_lr, paper.retain_per_class) == (0.02, 0.01, 1000)
    assert Unsir.preset("cifar100-all-cnn").retain_per_class == 50
    assert Unsir.preset("vggface-resnet18").repair_lr == 0.001
    assert (Unsir.preset("vggface-vit").lr, Unsir.preset("vggface-vit").copies) == (1e-4, 15)
    assert Unsir.preset("reference_3noise").noise_per_class == 3
    with pytest.raises(UnknownName, match="did you mean 'cifar10'"):
        Unsir.preset("cifar-10")


def test_the_released_setting_runs(digits: Case, trained: nn.Module) -> None:
    report = Unsir.preset("reference_3noise").unlearn(trained, digits, rng()).report
    n = len(digits.retain)
    assert report.rows_touched == n + (n + 3 * 20)
