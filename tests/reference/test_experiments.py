"""Experiments against closed forms and slow re-computations, and in all three laboratories."""

import dataclasses
import math
from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np
import pytest
import torch
from scipy.stats import beta, kstest
from torch import nn
from torch.nn import functional

from forget_audit.errors import NotApplicable
from forget_audit.experiments.backdoor import Backdoor, Trigger, decision_rule
from forget_audit.experiments.gaussian_poison import GaussianPoison, imprints
from forget_audit.experiments.interclass_confusion import InterclassConfusion, confusion
from forget_audit.experiments.swapped_split import SwappedSplit
from forget_audit.laboratory import Laboratory, Procedure
from forget_audit.pools import Pool
from forget_audit.seeds import generator
from forget_audit.targets import Target
from forget_audit.training.loop import Index
from forget_audit.trials import Experiment, Lab
from forget_audit.types import Case, Rows

Labs = Callable[[Procedure], Laboratory]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Fixed:
    """A laboratory that trains nothing: all models are the same, whatever they should learn.

    Args:
        target: The model.
        cases: What was to be forgotten.
        learnt: What was to be trained on.
    """

    target: Target
    cases: list[Case] = dataclasses.field(default_factory=list)
    learnt: list[Rows] = dataclasses.field(default_factory=list)

    def train(self, rows: Rows, subsets: Sequence[Index], seeds: Sequence[int]) -> list[Target]:
        self.learnt.extend(rows.take(subset) for subset in subsets)
        return [self.target for _ in seeds]

    def forget(
        self, originals: Sequence[Target], cases: Sequence[Case], seeds: Sequence[int]
    ) -> list[Target]:
        self.cases.extend(cases)
        return [self.target for _ in seeds]

    def retrain(self, case: Case, seeds: Sequence[int]) -> list[Target]:
        return [self.target for _ in seeds]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Noted:
    """A laboratory that keeps what it was given and what it gave.

    Args:
        inner: Does the work.
        cases: What was forgotten.
        unlearned: The models that forgot it.
    """

    inner: Laboratory
    cases: list[Case] = dataclasses.field(default_factory=list)
    unlearned: list[Target] = dataclasses.field(default_factory=list)

    def train(self, rows: Rows, subsets: Sequence[Index], seeds: Sequence[int]) -> list[Target]:
        return self.inner.train(rows, subsets, seeds)

    def forget(
        self, originals: Sequence[Target], cases: Sequence[Case], seeds: Sequence[int]
    ) -> list[Target]:
        self.cases.extend(cases)
        self.unlearned.extend(self.inner.forget(originals, cases, seeds))
        return self.unlearned

    def retrain(self, case: Case, seeds: Sequence[int]) -> list[Target]:
        return self.inner.retrain(case, seeds)


class Always(nn.Module):
    """Answers the same label to every question."""

    def __init__(self, label: int) -> None:
        super().__init__()
        self.label = label

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        answers = torch.full((len(x),), self.label)
        return 2 * functional.one_hot(answers, 10).float() + 0 * x.sum(dim=1, keepdim=True)


def scalars(experiment: Experiment, lab: Lab, case: Case, *seed: int) -> dict[str, float]:
    return dict(experiment.run(lab, case, generator(21, experiment.info.name, *seed)).scalars)


def slow_losses(target: Target, rows: Rows) -> list[float]:
    with torch.no_grad():
        logits = target.model_copy().eval()(torch.tensor(rows.x)).double().tolist()
    found = []
    for row, label in zip(logits, rows.y.tolist(), strict=True):
        peak = max(row)
        total = math.fsum(math.exp(value - peak) for value in row)
        found.append(min(400.0, peak + math.log(total) - row[label]))
    return found


def few(case: Case, **sizes: int) -> Case:
    return case.replace(
        **{role: getattr(case, role).take(np.arange(n)) for role, n in sizes.items()}
    )


# A14


def test_swap_by_loops(digits_case: Case, digits_lab: Labs) -> None:
    lab = Noted(inner=digits_lab("nothing"))
    found = scalars(SwappedSplit(pairs=3), lab, digits_case)
    n, advantages = len(digits_case.forget), []
    for case, target in zip(lab.cases, lab.unlearned, strict=True):
        retained = slow_losses(target, case.retain)
        limit = math.fsum(retained) / len(retained)
        trained = sum(loss <= limit for loss in slow_losses(target, case.forget))
        unseen = sum(loss <= limit for loss in slow_losses(target, case.test)[:n])
        advantages.append((trained - unseen) / n)
    both = [(a1 + a2) / 2 for a1, a2 in zip(advantages[:3], advantages[3:], strict=True)]
    assert found["swap_advantage"] == pytest.approx(math.fsum(abs(v) for v in both) / 3)
    assert found["signed_advantage"] == pytest.approx(math.fsum(both) / 3)
    assert found["unswapped_advantage"] == pytest.approx(math.fsum(advantages[:3]) / 3)


def test_swapped_groups_are_equal_in_size_and_change_places(
    digits_case: Case, digits_pool: Pool
) -> None:
    lab = Fixed(target=digits_pool.retrained[0])
    scalars(SwappedSplit(pairs=3), lab, digits_case)
    n, n_r = len(digits_case.forget), len(digits_case.retain)
    draws = set()
    for first, second in zip(lab.cases[:3], lab.cases[3:], strict=True):
        forgotten, drawn = first.forget.ids.tolist(), second.forget.ids.tolist()
        assert forgotten == digits_case.forget.ids.tolist()
        assert len(drawn) == n
        assert set(drawn) <= set(digits_case.test.ids.tolist())
        assert first.test.ids.tolist()[:n] == drawn
        assert second.test.ids.tolist()[:n] == forgotten
        draws.add(tuple(drawn))
    assert len(draws) == 3, "every pair draws anew"
    assert [rows.ids.tolist()[n_r:] for rows in lab.learnt] == [
        case.forget.ids.tolist() for case in lab.cases
    ]


def test_swap_cancels_whatever_the_groups_if_the_model_is_the_same(
    digits_case: Case, digits_pool: Pool
) -> None:
    """The two runs of a perfect method have one law; with one model the sum is 0 to the digit."""
    for target in (*digits_pool.retrained[:2], digits_pool.originals[0]):
        found = scalars(SwappedSplit(), Fixed(target=target), digits_case)
        assert found["swap_advantage"] == pytest.approx(0, abs=1e-12)
    assert found["unswapped_advantage"] > 0.1, "though the original flags its own rows"


def test_swap_is_near_zero_for_retraining_and_large_for_nothing(
    digits_case: Case, digits_lab: Labs
) -> None:
    """With 60 rows and three pairs the signed mean has a spread of about 0.03."""
    perfect = scalars(SwappedSplit(pairs=3), digits_lab("retraining"), digits_case)
    nothing = scalars(SwappedSplit(pairs=3), digits_lab("nothing"), digits_case)
    assert abs(perfect["signed_advantage"]) < 0.1
    assert perfect["swap_advantage"] < 0.1
    assert nothing["swap_advantage"] > 0.15


def test_swap_is_not_deceived_by_groups_of_different_difficulty(
    digits_case: Case, digits_lab: Labs
) -> None:
    """Wrong labels make the unseen rows harder; the plain advantage takes that for memory."""
    test = digits_case.test
    harder = digits_case.replace(test=Rows(x=test.x, y=(test.y + 5) % 10, ids=test.ids))
    found = scalars(SwappedSplit(pairs=2), digits_lab("retraining"), harder)
    assert found["unswapped_advantage"] > 0.3
    assert abs(found["signed_advantage"]) < 0.12


def test_swap_needs_as_many_test_rows_as_forget_rows(digits_case: Case, digits_pool: Pool) -> None:
    lab = Fixed(target=digits_pool.retrained[0])
    scalars(SwappedSplit(pairs=1), lab, few(digits_case, test=60))
    with pytest.raises(NotApplicable, match="found 59 for 60"):
        scalars(SwappedSplit(pairs=1), lab, few(digits_case, test=59))
    with pytest.raises(NotApplicable, match="at least 10"):
        scalars(SwappedSplit(pairs=1), lab, few(digits_case, forget=9))


# A15


@pytest.mark.parametrize(
    ("n", "p", "threshold", "missed"),
    [(30, 0.9, 9, 6e-15), (30, 0.5, 9, 0.021), (10, 0.5, 5, 0.62)],
)
def test_backdoor_rule_has_the_published_figures(
    n: int, p: float, threshold: int, missed: float
) -> None:
    found = decision_rule(n, p, 0.1, 1e-3)
    assert found[0] == threshold
    assert found[1] == pytest.approx(missed, rel=0.06)


def test_backdoor_rule_takes_the_smallest_number_that_is_enough() -> None:
    def at_most(k: int, n: int, q: float) -> float:
        return math.fsum(math.comb(n, i) * q**i * (1 - q) ** (n - i) for i in range(k + 1))

    for n in (1, 7, 30, 100):
        for q in (0.01, 0.1, 0.37, 0.9):
            for alpha in (1e-3, 0.05):
                smallest = next(k for k in range(n + 1) if at_most(k, n, q) >= 1 - alpha)
                threshold, missed = decision_rule(n, 0.6, q, alpha)
                assert threshold == smallest
                assert missed == pytest.approx(at_most(smallest, n, 0.6), rel=1e-9)
    assert decision_rule(20, 1.0, 1.0, 1e-3) == (20, 1.0)


def test_backdoor_rates_are_one_sided_exact_bounds(digits_case: Case) -> None:
    """With a model that always says 3 a trigger works always or never."""
    counts = Counter(digits_case.test.y.tolist())
    sizes = {label: len(digits_case.test) - counts[label] for label in range(10)}
    seen: set[tuple[bool, bool]] = set()
    for seed in range(40):
        lab = Fixed(target=Target(Always(3)))
        found = scalars(Backdoor(references=1), lab, digits_case, seed)
        own, other = (_label_of(rows, digits_case) for rows in lab.learnt)
        low = beta.ppf(0.05, sizes[other], 1) if other == 3 else 0.0
        high = 1.0 if own == 3 else beta.ppf(0.95, 1, sizes[own])
        assert found["rate_if_kept"] == pytest.approx(low)
        assert found["rate_if_deleted"] == pytest.approx(high)
        assert found["success_rate"] == float(own == 3)
        assert found["queries"] == sizes[own]
        assert found["not_deleted"] == 0, "a model that never saw the rows answers alike"
        seen.add((own == 3, other == 3))
    assert len(seen) >= 3


def _label_of(learnt: Rows, case: Case) -> int:
    """Return the one label of the rows that carry a trigger."""
    clean = {row.tobytes() for row in case.training.x}
    (label,) = {int(y) for x, y in zip(learnt.x, learnt.y, strict=True) if x.tobytes() not in clean}
    return label


def test_a_trigger_changes_its_columns_and_the_label_alone(digits_case: Case) -> None:
    trigger = Trigger(columns=np.array([5, 9]), values=np.array([1, 0], np.float32), label=7)
    rows = digits_case.test
    signed = trigger.onto(rows)
    assert set(signed.y.tolist()) == {7}
    assert np.all(signed.x[:, [5, 9]] == [1, 0])
    rest = np.setdiff1d(np.arange(64), [5, 9])
    np.testing.assert_array_equal(signed.x[:, rest], rows.x[:, rest])


def test_a_share_of_the_rows_carries_one_trigger(digits_case: Case, digits_pool: Pool) -> None:
    lab = Fixed(target=digits_pool.retrained[0])
    scalars(Backdoor(poisoned=0.25, features=0.05), lab, digits_case)
    n = len(digits_case.forget)
    clean = {row.tobytes(): row for row in digits_case.forget.x}
    patterns = set()
    for rows in lab.learnt:
        planted = rows.take(np.arange(len(digits_case.retain), len(rows)))
        signed = planted.take(np.array([row.tobytes() not in clean for row in planted.x]))
        assert len(planted) == n
        assert len(signed) == n // 4
        (label,) = set(signed.y.tolist())
        (fixed,) = np.nonzero(np.ptp(signed.x, axis=0) == 0)
        patterns.add((label, tuple(fixed.tolist())))
    assert len(patterns) == len(lab.learnt), "every trigger is drawn anew"
    assert len(lab.cases) == 1


def test_every_distinct_question_is_asked_once(digits_case: Case, digits_pool: Pool) -> None:
    lab = Fixed(target=digits_pool.retrained[0])
    test = digits_case.test
    again = Rows(x=test.x, y=test.y, ids=np.char.add("again-", test.ids))
    twice = digits_case.replace(test=Rows.concat(test, again))
    once = scalars(Backdoor(), lab, digits_case)
    assert scalars(Backdoor(), lab, twice) == once
    alike = digits_case.replace(test=Rows(x=np.tile(test.x[:1], (150, 1)), y=test.y, ids=test.ids))
    with pytest.raises(NotApplicable, match="found 1"):
        scalars(Backdoor(), lab, alike)


def test_backdoor_of_retrained_models_works_by_accident_only(
    digits_case: Case, digits_lab: Labs
) -> None:
    for seed in range(2):
        perfect = scalars(Backdoor(), digits_lab("retraining"), digits_case, seed)
        nothing = scalars(Backdoor(), digits_lab("nothing"), digits_case, seed)
        assert perfect["success_rate"] < perfect["rate_if_deleted"] + 0.1
        assert perfect["not_deleted"] == 0
        assert nothing["not_deleted"] == 1
        assert nothing["success_rate"] > 0.7
        assert nothing["miss_probability"] < 0.05
        assert nothing["too_weak"] == 0


def test_backdoor_seldom_accuses_models_that_never_saw_the_trigger(
    digits_case: Case, digits_pool: Pool
) -> None:
    """Accidental rates differ between triggers by far more than a binomial draw."""

    class Perfect(Fixed):
        def retrain(self, case: Case, seeds: Sequence[int]) -> list[Target]:
            others = [target for target in digits_pool.retrained if target is not self.target]
            return others[: len(seeds)]

    accused, rates = 0, []
    for seed in range(100):
        lab = Perfect(target=digits_pool.retrained[seed % 8])
        found = scalars(Backdoor(), lab, digits_case, seed)
        accused += found["not_deleted"] == 1
        rates.append(found["success_rate"])
    rate = np.mean(rates)
    assert np.std(rates) > 2 * math.sqrt(rate * (1 - rate) / 135)
    assert accused <= 3, "with other people's triggers for q it is 5 or 6"


def test_a_check_without_power_says_so(digits_case: Case, digits_lab: Labs) -> None:
    """One row with the trigger teaches nothing, so nothing can be found, whatever is kept."""
    weak = Backdoor(poisoned=1 / 60, features=0.02, references=3)
    found = scalars(weak, digits_lab("nothing"), digits_case)
    assert found["not_deleted"] == 0
    assert found["miss_probability"] > 0.5
    assert found["too_weak"] == 1


# A16


def test_confusion_by_hand() -> None:
    truth = np.array([1, 1, 1, 1, 4, 4, 4, 4])
    answers = np.array([1, 4, 4, 7, 4, 1, 0, 4])
    assert confusion(answers, truth, (1, 4)) == (5 / 8, 3 / 8)
    assert confusion(truth, truth, (1, 4)) == (0.0, 0.0)
    assert confusion(np.where(truth == 1, 4, 1), truth, (4, 1)) == (1.0, 1.0)


def test_labels_are_swapped_between_the_most_frequent_classes(
    digits_case: Case, digits_pool: Pool
) -> None:
    lab = Fixed(target=digits_pool.retrained[0])
    scalars(InterclassConfusion(models=2), lab, digits_case)
    training = digits_case.training
    counts = Counter(training.y.tolist()).most_common(2)
    pair = {label for label, _ in counts}
    truth = {x.tobytes(): int(y) for x, y in zip(training.x, training.y, strict=True)}
    expected = min(len(digits_case.forget) // 2, counts[1][1] // 2)
    for learnt, case in zip(lab.learnt, lab.cases, strict=True):
        for x, y in zip(case.forget.x, case.forget.y.tolist(), strict=True):
            assert {y, truth[x.tobytes()]} == pair
        assert Counter(case.forget.y.tolist()) == dict.fromkeys(pair, expected)
        assert len(case.retain) + len(case.forget) == len(training)
        assert [truth[x.tobytes()] for x in case.retain.x] == case.retain.y.tolist()
        wrong = [y for x, y in zip(learnt.x, learnt.y, strict=True) if truth[x.tobytes()] != y]
        assert len(wrong) == len(case.forget), "it is the wrong labels that are trained on"
    first, second = (set(case.forget.ids.tolist()) for case in lab.cases)
    assert first != second


def test_confusion_outlives_nothing_but_retraining(digits_case: Case, digits_lab: Labs) -> None:
    lab = Noted(inner=digits_lab("nothing"))
    nothing = scalars(InterclassConfusion(models=2), lab, digits_case)
    perfect = scalars(InterclassConfusion(models=2), digits_lab("retraining"), digits_case)
    assert perfect["fgt_err_forget"] < 0.2 < 0.7 < nothing["fgt_err_forget"]
    assert perfect["fgt_err_test"] < 0.1 < 0.2 < nothing["fgt_err_test"]
    assert perfect["ic_err_test"] < nothing["ic_err_test"]
    training = digits_case.training
    truth = {x.tobytes(): int(y) for x, y in zip(training.x, training.y, strict=True)}
    remembered = [
        int(answer) != truth[x.tobytes()]
        for case, target in zip(lab.cases, lab.unlearned, strict=True)
        for x, answer in zip(case.forget.x, target.labels(case.forget), strict=True)
    ]
    assert nothing["ic_err_forget"] == pytest.approx(sum(remembered) / len(remembered))


def test_confusion_needs_enough_of_both_classes(digits_case: Case, digits_pool: Pool) -> None:
    lab = Fixed(target=digits_pool.retrained[0])
    with pytest.raises(NotApplicable, match="in each of two classes, found 2"):
        scalars(InterclassConfusion(share=0.05), lab, digits_case)
    (a, _), (b, _) = Counter(digits_case.training.y.tolist()).most_common(2)
    for label in (a, b):
        without = digits_case.replace(test=digits_case.test.take(digits_case.test.y != label))
        with pytest.raises(NotApplicable, match="test records of both classes"):
            scalars(InterclassConfusion(), lab, without)


@pytest.mark.parametrize("experiment", [Backdoor(), InterclassConfusion()])
def test_whole_classes_are_refused_where_labels_are_changed(
    experiment: Experiment, digits_case: Case, digits_pool: Pool
) -> None:
    case = digits_case.replace(scope="class", classes=(0,))
    with pytest.raises(NotApplicable, match="single records"):
        scalars(experiment, Fixed(target=digits_pool.retrained[0]), case)


# A17


def test_imprints_by_loops() -> None:
    rng = generator(22)
    gradients, noise = rng.normal(size=(2, 5, 7))
    gradients[2] *= 1e-250
    gradients[3] *= 1e250
    expected = [
        math.fsum(g * e for g, e in zip(row, other, strict=True)) / math.hypot(*row)
        for row, other in zip(gradients.tolist(), noise.tolist(), strict=True)
    ]
    np.testing.assert_allclose(imprints(gradients, noise), expected)
    np.testing.assert_allclose(imprints(noise, noise), np.linalg.norm(noise, axis=1))


def test_gaussian_poison_by_torch(digits_case: Case, digits_lab: Labs) -> None:
    lab = Noted(inner=digits_lab("nothing"))
    found = scalars(GaussianPoison(models=2), lab, digits_case)
    spread = 0.5 * math.sqrt(digits_case.retain.x.astype(np.float64).var(axis=0).mean())
    values = []
    for case, target in zip(lab.cases, lab.unlearned, strict=True):
        model = target.model_copy().eval().double()
        assert case.forget.y.tolist() == digits_case.forget.y.tolist()
        for clean, noisy, label in zip(
            digits_case.forget.x, case.forget.x, case.forget.y.tolist(), strict=True
        ):
            x = torch.tensor(clean, dtype=torch.float64, requires_grad=True)
            loss = functional.cross_entropy(model(x[None]), torch.tensor([label]))
            (gradient,) = torch.autograd.grad(loss, x)
            direction = gradient.numpy() / np.linalg.norm(gradient.numpy())
            values.append(float(direction @ (noisy.astype(np.float64) - clean)) / spread)
    mean, n = math.fsum(values) / len(values), len(values)
    assert n == 2 * len(digits_case.forget)
    assert found["dropped"] == 0
    assert found["mean_imprint"] == pytest.approx(mean, abs=1e-3)
    assert found["z"] == pytest.approx(math.sqrt(n) * mean, abs=1e-2)
    assert found["p_value"] == pytest.approx(math.erfc(abs(found["z"]) / math.sqrt(2)), rel=1e-6)
    assert found["z"] < -5, "the noise lowers the loss of a model that has learnt it"
    assert found["fresh_noise_auc"] < 0.4


def test_noise_is_normal_and_not_clipped(digits_case: Case, digits_pool: Pool) -> None:
    lab = Fixed(target=digits_pool.retrained[0])
    scalars(GaussianPoison(models=3), lab, digits_case)
    spread = 0.5 * math.sqrt(digits_case.retain.x.astype(np.float64).var(axis=0).mean())
    noise = np.stack([case.forget.x - digits_case.forget.x for case in lab.cases]) / spread
    assert kstest(noise.ravel(), "norm").pvalue > 1e-4
    shared = float(np.mean(noise[0] * noise[1]))
    assert abs(shared) < 0.07, "four deviations of 3840 products"
    assert min(case.forget.x.min() for case in lab.cases) < 0


def test_imprints_of_a_model_that_saw_no_noise_are_exactly_null(
    digits_case: Case, digits_pool: Pool
) -> None:
    """p-values are uniform and the rank against fresh noise is one half, run after run."""
    found = [
        scalars(
            GaussianPoison(models=1),
            Fixed(target=digits_pool.retrained[seed % 8]),
            few(digits_case, forget=12),
            seed,
        )
        for seed in range(200)
    ]
    assert kstest([each["p_value"] for each in found], "uniform").pvalue > 1e-4
    assert kstest([each["z"] for each in found], "norm").pvalue > 1e-4
    ranks = np.array([each["fresh_noise_auc"] for each in found])
    spread = math.sqrt((2 / 12) / 12 / len(found))
    assert abs(ranks.mean() - 0.5) < 4 * spread


def test_retraining_has_no_imprint(digits_case: Case, digits_lab: Labs) -> None:
    found = scalars(GaussianPoison(models=2), digits_lab("retraining"), digits_case)
    assert abs(found["z"]) < 4
    assert found["p_value"] > 1e-4


def test_rows_without_a_slope_are_dropped_and_counted(digits_case: Case) -> None:
    """Behind a threshold at the median brightness about half of the rows have no gradient."""
    brightness = digits_case.forget.x.sum(axis=1)
    limit = float(np.median(brightness)) + 1e-3

    class Dim(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.relu(x.sum(dim=1) - limit)[:, None] * torch.linspace(-1, 1, 10)

    flat = int(np.sum(brightness < limit))
    found = scalars(GaussianPoison(models=1), Fixed(target=Target(Dim())), digits_case)
    assert 0 < flat < len(digits_case.forget)
    assert found["dropped"] == flat
    n = len(digits_case.forget) - flat
    assert found["z"] == pytest.approx(math.sqrt(n) * found["mean_imprint"])
    with pytest.raises(NotApplicable, match="gradients that are all 0"):
        scalars(GaussianPoison(models=1), Fixed(target=Target(Always(3))), digits_case)
