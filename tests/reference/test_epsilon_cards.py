"""The epsilon experiments: what a perfect method and no method get, and slow re-computations."""

import itertools
import math
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import pytest
import torch
from scipy.stats import binom
from torch import nn

from forget_audit import registry, stats
from forget_audit.contracts import Scores
from forget_audit.errors import NotApplicable
from forget_audit.experiments._canaries import guess_coins
from forget_audit.experiments._models import TwoSampleSettings, two_samples
from forget_audit.experiments.bayesian_epsilon import BayesianEpsilon
from forget_audit.experiments.challenge_quality import ChallengeQuality, row_epsilon, weights
from forget_audit.experiments.fdp_one_run import FdpOneRun
from forget_audit.experiments.gaussian_epsilon import GaussianEpsilon
from forget_audit.experiments.one_run_canary import OneRunCanary
from forget_audit.experiments.two_sample_epsilon import TwoSampleEpsilon
from forget_audit.laboratory import Laboratory, Procedure
from forget_audit.seeds import generator
from forget_audit.targets import Target
from forget_audit.trials import Experiment
from forget_audit.types import Case, Floats, Rows
from forget_audit.verdict import epsilon
from forget_audit.verdict.yardstick import influences

Labs = Callable[[Procedure], Laboratory]
COPIES = 16
TWO_SAMPLES: list[tuple[Experiment, float]] = [
    (TwoSampleEpsilon(models=COPIES), 0.5),
    (GaussianEpsilon(models=COPIES), 2.0),
    (BayesianEpsilon(models=COPIES, draws=5000), 1.0),
]
COINS: list[tuple[Experiment, str, float]] = [
    (OneRunCanary(), "epsilon_example", 1.0),
    (OneRunCanary(), "epsilon_set", 4.0),
    (FdpOneRun(), "epsilon", 1.5),
]


class Uninformed:
    """A laboratory whose models are drawn without looking at any row: every method is perfect."""

    def train(
        self, rows: Rows, subsets: Sequence[npt.NDArray[np.int64]], seeds: Sequence[int]
    ) -> list[Target]:
        return [self._drawn(seed) for seed in seeds]

    def forget(
        self, originals: Sequence[Target], cases: Sequence[Case], seeds: Sequence[int]
    ) -> list[Target]:
        return [self._drawn(seed) for seed in seeds]

    def retrain(self, case: Case, seeds: Sequence[int]) -> list[Target]:
        return [self._drawn(seed) for seed in seeds]

    def _drawn(self, seed: int) -> Target:
        model = nn.Linear(64, 10, bias=False, device="meta").to_empty(device="cpu")
        drawn = generator(seed).standard_normal((10, 64)) / 4
        model.load_state_dict({"weight": torch.tensor(drawn, dtype=torch.float32)})
        return Target(model)


def run(experiment: Experiment, lab: Laboratory, case: Case) -> Scores:
    return experiment.run(lab, case, generator(21, "cards"))


@pytest.mark.parametrize(("experiment", "least"), TWO_SAMPLES, ids=lambda value: str(value)[:8])
def test_two_samples_find_nothing_after_retraining_and_much_after_nothing(
    experiment: Experiment, least: float, digits_case: Case, digits_lab: Labs
) -> None:
    perfect = run(experiment, digits_lab("retraining"), digits_case).scalars
    nothing = run(experiment, digits_lab("nothing"), digits_case).scalars
    assert perfect["epsilon"] == 0
    assert nothing["epsilon"] > least
    if "ceiling" in nothing:
        assert nothing["epsilon"] <= nothing["ceiling"] + 1e-12
        assert nothing["ceiling"] == pytest.approx(0.535, abs=1e-3)
    if "upper" in nothing:
        assert nothing["upper"] > nothing["epsilon"]


@pytest.mark.parametrize(("experiment", "name", "least"), COINS)
def test_coins_stay_hidden_after_retraining_and_show_after_nothing(
    experiment: Experiment, name: str, least: float, digits_case: Case, digits_lab: Labs
) -> None:
    perfect = run(experiment, digits_lab("retraining"), digits_case).scalars
    nothing = run(experiment, digits_lab("nothing"), digits_case).scalars
    assert perfect[name] == 0
    assert nothing[name] > least
    assert perfect["guesses"] == nothing["guesses"] == 160
    assert binom.ppf(1e-4, 160, 0.5) <= perfect["correct"] <= binom.ppf(1 - 1e-4, 160, 0.5)
    assert nothing["correct"] > 130


def test_challenge_quality_is_one_after_retraining_only(
    digits_case: Case, digits_lab: Labs
) -> None:
    experiment = ChallengeQuality(models=COPIES)
    perfect = run(experiment, digits_lab("retraining"), digits_case).scalars
    nothing = run(experiment, digits_lab("nothing"), digits_case).scalars
    assert perfect["relative_quality"] == pytest.approx(1.0, abs=0.25)
    assert nothing["relative_quality"] < 0.7
    assert perfect["quality_null"] == nothing["quality_null"] < 0.25, "1 is out of reach"
    assert perfect["score"] == pytest.approx(perfect["quality"], rel=0.1)
    assert perfect["relative_quality"] == perfect["quality"] / perfect["quality_null"]


@pytest.mark.parametrize(
    "experiment",
    [
        OneRunCanary(candidates=100, runs=2, references=3),
        FdpOneRun(candidates=100, runs=2, references=3),
        TwoSampleEpsilon(models=16),
    ],
    ids=lambda experiment: experiment.info.card,
)
def test_perfect_methods_are_claimed_against_in_five_percent(
    experiment: Experiment, digits_case: Case
) -> None:
    repeats = 30
    found = [
        experiment.run(Uninformed(), digits_case, generator(22, k)).scalars[
            experiment.info.headline
        ]
        for k in range(repeats)
    ]
    assert np.sum(np.array(found) > 0) <= binom.ppf(1 - 1e-3, repeats, 0.05)


def test_the_score_of_a_model_straight_from_the_models(digits_case: Case, digits_lab: Labs) -> None:
    """Reproduce the residual influence by hand, with every half in its role."""
    lab, n_f, half = digits_lab("nothing"), len(digits_case.forget), COPIES // 2
    rng = generator(21, "cards")
    samples = two_samples(lab, digits_case, generator(21, "cards"), COPIES)
    seeds = [int(rng.integers(0, 2**63 - 1)) for _ in range(3 * COPIES)]
    rows = digits_case.training
    originals = lab.train(rows, [np.arange(len(rows))] * COPIES, seeds[:COPIES])
    retrained = lab.retrain(digits_case, seeds[2 * COPIES :])

    def p(target: Target) -> Floats:
        parts = [
            torch.softmax(torch.tensor(target.logits(part)), dim=1).numpy()[
                np.arange(len(part)), part.y
            ]
            for part in (digits_case.forget, digits_case.test)
        ]
        return np.concatenate(parts)

    reference = np.stack([p(target) for target in retrained[:half]])
    weights_of = np.mean([p(target) for target in originals[:half]], axis=0)

    def rho(target: Target, others: Floats) -> float:
        null = stats.calibrate(others)
        return float(influences(null, p(target), weights_of, n_f).rho)

    assert samples.unlearned_eval == pytest.approx([rho(t, reference) for t in originals[half:]])
    assert samples.retrained_eval == pytest.approx([rho(t, reference) for t in retrained[half:]])
    assert samples.unlearned_tune == pytest.approx([rho(t, reference) for t in originals[:half]])
    alone = [rho(t, np.delete(reference, k, axis=0)) for k, t in enumerate(retrained[:half])]
    assert samples.retrained_tune == pytest.approx(alone)
    assert samples.unlearned_eval.mean() == pytest.approx(1.0, abs=0.15)
    assert samples.retrained_eval.mean() == pytest.approx(0.0, abs=0.15)


class Watching(Uninformed):
    """Notes what is trained on and forgotten."""

    def __init__(self) -> None:
        self.trained: list[set[str]] = []
        self.cases: list[Case] = []

    def train(
        self, rows: Rows, subsets: Sequence[npt.NDArray[np.int64]], seeds: Sequence[int]
    ) -> list[Target]:
        self.trained += [set(rows.ids[subset].tolist()) for subset in subsets]
        assert len(set(seeds)) == len(seeds)
        return super().train(rows, subsets, seeds)

    def forget(
        self, originals: Sequence[Target], cases: Sequence[Case], seeds: Sequence[int]
    ) -> list[Target]:
        self.cases += cases
        return super().forget(originals, cases, seeds)


def test_candidates_are_drawn_one_by_one_and_forgotten_with_the_run(digits_case: Case) -> None:
    lab, settings = Watching(), OneRunCanary(candidates=100, runs=30, references=2)
    found = guess_coins(lab, digits_case, generator(23), settings)
    assert (found.r, found.m) == (30 * 20, 30 * 100)
    kept, forget, test = (
        set(part.ids.tolist())
        for part in (digits_case.retain, digits_case.forget, digits_case.test)
    )
    sizes, everyone = [], set()
    for trained, case in zip(lab.trained, lab.cases, strict=True):
        drawn, spared = set(case.forget.ids.tolist()), set(case.test.ids.tolist())
        assert trained == kept | drawn
        assert set(case.retain.ids.tolist()) == kept
        assert len(drawn) + len(spared) == 100
        everyone.add(frozenset(drawn | spared))
        sizes.append(len(drawn))
    (candidates,) = everyone
    assert len(candidates & forget) == len(candidates & test) == 50
    assert len(set(sizes)) > 5, "independent coins, not a fixed half"
    assert binom.ppf(1e-4, 3000, 0.5) <= sum(sizes) <= binom.ppf(1 - 1e-4, 3000, 0.5)


def test_copies_of_a_candidate_are_dropped(digits_case: Case) -> None:
    """A copy under another id would be trained on while its twin counts as never seen."""
    forget = digits_case.forget
    again = Rows(x=forget.x, y=forget.y, ids=np.char.add("again-", forget.ids))
    twice = digits_case.replace(forget=Rows.concat(forget, again))
    lab = Watching()
    found = guess_coins(lab, twice, generator(23), OneRunCanary(runs=2, references=2))
    assert found.m == 2 * 120
    for case in lab.cases:
        rows = Rows.concat(case.forget, case.test)
        assert len(np.unique(rows.x, axis=0)) == len(rows) == 120


def test_copies_come_from_originals_of_their_own(digits_case: Case) -> None:
    lab = Watching()
    TwoSampleEpsilon(models=12).run(lab, digits_case, generator(24))
    assert len(lab.trained) == len(lab.cases) == 12
    assert all(ids == set(digits_case.training.ids.tolist()) for ids in lab.trained)
    assert all(case is digits_case for case in lab.cases)


def test_requests_without_enough_candidates_are_refused(digits_case: Case) -> None:
    few = digits_case.replace(forget=digits_case.forget.take(np.arange(9)))
    with pytest.raises(NotApplicable, match=r"needs 20 different candidates, .* found 18"):
        OneRunCanary().run(Uninformed(), few, generator(25))
    with pytest.raises(NotApplicable, match="needs 140 different candidates"):
        FdpOneRun(guesses=140).run(Uninformed(), digits_case, generator(25))
    with pytest.raises(NotApplicable, match="whole class"):
        OneRunCanary().run(Uninformed(), digits_case.replace(scope="class"), generator(25))


@pytest.mark.parametrize(
    "name", [n for n, cls in registry.experiments().items() if "E" in cls.info.card]
)
def test_out_of_range_fields_are_named(name: str) -> None:
    cls = registry.experiments()[name]
    for field, value in (("level", 1.0), ("delta", 1.0), ("guesses", 5), ("models", 7)):
        if field in cls.__dataclass_fields__:  # type: ignore[attr-defined]
            with pytest.raises(ValueError, match=field):
                cls(**{field: value})
    assert issubclass(cls, TwoSampleSettings) == (cls.info.card in ("E1", "E2", "E5"))


def slow_row_epsilon(unlearned: Floats, retrained: Floats, delta: float) -> float:
    """Try every threshold and every pair, counting one by one."""
    u, r, n = unlearned.tolist(), retrained.tolist(), len(unlearned)
    ranges = [max(u) - min(u), max(r) - min(r)]
    if min(ranges) < 0.01 * max(ranges):
        return 50.0
    upper, lower = (u, r) if np.median(u) > np.median(r) else (r, u)
    slim, wide = (u, r) if ranges[0] <= ranges[1] else (r, u)
    cuts = [-math.inf, *sorted({*u, *r}), math.inf]
    rates = [(sum(s > t for s in lower) / n, sum(s <= t for s in upper) / n) for t in cuts]
    rates += [
        (sum(a < s <= b for s in wide) / n, sum(not a < s <= b for s in slim) / n)
        for a, b in itertools.combinations(cuts, 2)
    ]
    best = 0.0
    for fpr, fnr in rates:
        if fpr == fnr == 0:
            return 50.0
        if fpr > 0 and fnr > 0:
            for own, other in ((fpr, fnr), (fnr, fpr)):
                if 1 - delta - own > 0:
                    best = max(best, math.log(1 - delta - own) - math.log(other))
    return best


def test_row_epsilons_against_every_threshold_one_by_one() -> None:
    rng = generator(26, "rows")
    for shift, spread, digits in ((0, 1, 3), (1, 1, 1), (0, 0.2, 3), (-2, 1, 0), (9, 1, 3)):
        for _ in range(6):
            unlearned = (rng.standard_normal(10) * spread + shift).round(digits)
            retrained = rng.standard_normal(10).round(digits)
            assert row_epsilon(unlearned, retrained, 1e-5) == pytest.approx(
                slow_row_epsilon(unlearned, retrained, 1e-5)
            )


def test_row_epsilons_of_rows_without_spread() -> None:
    rng = generator(27, "flat")
    noise, same = rng.standard_normal(10), np.full(10, 30.0)
    assert row_epsilon(same, same, 1e-5) == 0
    assert row_epsilon(same, same - 1, 1e-5) == epsilon.SEPARATED
    assert row_epsilon(same * 0, noise, 1e-5) == epsilon.SEPARATED, "a peak inside the others"
    assert row_epsilon(noise * 0.005, noise, 1e-5) == epsilon.SEPARATED


def test_weights_halve_every_half_and_end() -> None:
    found = weights(np.array([0.0, 0.49, 0.5, 1.2, 2.99, 3.0, 50.0]), 17)
    assert found.tolist() == [1, 1, 0.5, 0.25, 1 / 32, 0, 0]


@pytest.mark.parametrize("n", [16, 32, 64])
def test_identical_laws_do_not_earn_quality_one(n: int) -> None:
    """About a third with single thresholds and a tenth with pairs, whatever the number."""
    rng, rows = generator(28, n), 400
    first, second, third = rng.standard_normal((3, rows, n))
    pairs = list(zip(first, second, strict=True))
    single = weights(np.array([epsilon.oracle_epsilon(a, b) for a, b in pairs]), n)
    assert 0.28 < single.mean() < 0.40
    both = weights(np.array([row_epsilon(a, b, 1e-5) for a, b in pairs]), n)
    null = weights(
        np.array([row_epsilon(a, b, 1e-5) for a, b in zip(third, second, strict=True)]), n
    )
    assert both.mean() < 0.2
    assert both.mean() / null.mean() == pytest.approx(1.0, abs=0.25)
