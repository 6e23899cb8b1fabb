"""Attacks that practise on models that went through the method, and how these models are made.

Against slow and obvious re-computations, and in small worlds where every answer is known.
"""

import dataclasses
import math
from collections.abc import Callable, Sequence
from itertools import product
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import pytest
import torch
from scipy.stats import gaussian_kde, norm, rankdata
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler
from torch import nn

from forget_audit import stats
from forget_audit.attacks import ruli, update_leakage
from forget_audit.attacks._candidates import bells, means, roles, scored, spreads
from forget_audit.attacks._shadow_features import features, forgotten_lessons, pairs
from forget_audit.attacks.ruli import Density, Ruli
from forget_audit.attacks.shadow import ShadowLogistic
from forget_audit.attacks.shadow_forgotten import ShadowForgotten
from forget_audit.attacks.u_lira import ULira
from forget_audit.attacks.update_leakage import UpdateLeakage
from forget_audit.contracts import Attack, MethodInfo, Scores, Unlearned, UnlearnReport
from forget_audit.errors import NotApplicable
from forget_audit.pools import CandidateShadow, Pool, Shadow
from forget_audit.seeds import draw_seed, generator
from forget_audit.targets import Target
from forget_audit.training.practice import choose_candidates, deal_candidates, practise
from forget_audit.training.references import Workshop
from forget_audit.types import Case, Features, Floats, Labels, Rows

RETAIN, FORGET, TEST, AUXILIARY = np.split(np.arange(240), [20, 40, 90])
PRACTISING: list[Callable[[], Attack]] = [ShadowForgotten, UpdateLeakage]
WITH_CANDIDATES: list[Callable[[], Attack]] = [ULira, Ruli]


class Table(nn.Module):
    """A model that has the log-odds of label 1 of row `i` in its table."""

    def __init__(self, phi: Floats) -> None:
        super().__init__()
        self.phi = nn.Parameter(torch.tensor(phi, dtype=torch.float32))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        phi = self.phi[x[:, 0].long()]
        return torch.stack([torch.zeros_like(phi), phi], dim=1)


def table(phi: Floats) -> Target:
    return Target(Table(phi))


def numbered(rows: npt.NDArray[np.int64]) -> Rows:
    return Rows(
        x=rows[:, None].astype(np.float32),
        y=np.ones(len(rows), dtype=np.int64),
        ids=np.array([f"row-{i}" for i in rows]),
    )


def table_case() -> Case:
    return Case(
        name="table",
        n_classes=2,
        retain=numbered(RETAIN),
        forget=numbered(FORGET),
        test=numbered(TEST),
        auxiliary=numbered(AUXILIARY),
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class World:
    """Log-odds `difficulty + learnt * trained on + noise`; forgetting leaves `trace` of `learnt`.

    Everything is multiplied by `scale`, and the method adds `shift` to all answers.
    """

    seed: int = 0
    shadows: int = 12
    learnt: float = 3.0
    trace: float = 0.5
    noise: float = 0.7
    scale: float = 1.0
    shift: float = 0.0

    def phi(self, trained: npt.NDArray[np.int64], model: str | int) -> Floats:
        phi = generator(self.seed, "difficulty").normal(0, 1.5, 240)
        phi[trained] += self.learnt
        return self.scale * (phi + generator(self.seed, "noise", model).normal(0, self.noise, 240))

    def after(self, phi: Floats, forgotten: npt.NDArray[np.int64], model: str | int) -> Floats:
        moved = generator(self.seed, "unlearning", model).normal(0, self.noise / 10, 240)
        moved[forgotten] -= (1 - self.trace) * self.learnt
        return phi + self.scale * (moved + self.shift)

    def original(self, model: str | int = "original") -> Target:
        return table(self.phi(np.concatenate([RETAIN, FORGET]), model))

    def unlearned(self) -> Target:
        phi = self.phi(np.concatenate([RETAIN, FORGET]), "original")
        return table(self.after(phi, FORGET, "audited"))

    def retrained(self, model: str | int = "retrained") -> Target:
        return table(self.phi(RETAIN, model))

    def pool(self) -> Pool:
        chosen = np.concatenate([FORGET, generator(self.seed, "control").permutation(TEST)[:40]])
        kept, forgotten = deal_candidates(numbers(len(chosen)), self.shadows, self.seed)
        return Pool(
            retrained=tuple(self.retrained(f"retrained {k}") for k in range(6)),
            originals=(self.original("other"),),
            parent=self.original(),
            shadows=tuple(self._shadow(k) for k in range(4)),
            candidates=numbered(chosen),
            candidate_shadows=tuple(
                self._candidate_shadow(chosen, kept[k], forgotten[k], k)
                for k in range(self.shadows)
            ),
        )

    def _shadow(self, k: int) -> Shadow:
        order = generator(self.seed, "shadow", k).permutation(len(AUXILIARY))
        members, forgotten = (np.isin(np.arange(len(AUXILIARY)), order[:n]) for n in (75, 25))
        before = self.phi(AUXILIARY[members], f"shadow {k}")
        return Shadow(
            target=table(before),
            members=members,
            after=table(self.after(before, AUXILIARY[forgotten], f"shadow {k}")),
            forgotten=forgotten,
        )

    def _candidate_shadow(
        self,
        chosen: npt.NDArray[np.int64],
        kept: npt.NDArray[np.bool_],
        forgotten: npt.NDArray[np.bool_],
        k: int,
    ) -> CandidateShadow:
        before = self.phi(np.concatenate([RETAIN, chosen[kept | forgotten]]), f"candidate {k}")
        return CandidateShadow(
            before=table(before),
            after=table(self.after(before, chosen[forgotten], f"candidate {k}")),
            kept=kept,
            forgotten=forgotten,
        )


def scores_of(attack: Attack, pool: Pool, case: Case, target: Target) -> Scores:
    return attack.fit(pool, case, generator(5)).score(target, generator(6))


def auc_of(attack: Attack, pool: Pool, case: Case, target: Target) -> float:
    scores = scores_of(attack, pool, case, target)
    return stats.auc(scores.forget, scores.control)


def numbers(n: int) -> Rows:
    ids = np.array([f"row-{i}" for i in range(n)])
    return Rows(x=np.arange(n, dtype=np.float32)[:, None], y=np.zeros(n, dtype=np.int64), ids=ids)


def both(scores: Scores) -> Floats:
    return np.concatenate([scores.forget, scores.control])


# How shadows and candidate shadows are made.


@pytest.mark.parametrize(("n", "count"), [(180, 12), (7, 6), (3, 3)])
def test_every_candidate_has_each_role_equally_often(n: int, count: int) -> None:
    kept, forgotten = (np.stack(masks) for masks in deal_candidates(numbers(n), count, seed=3))
    assert not (kept & forgotten).any()
    for role in (kept, forgotten, ~kept & ~forgotten):
        assert (role.sum(axis=0) == count // 3).all()
        assert set(role.sum(axis=1).tolist()) <= {n // 3, n // 3 + 1}
    again = deal_candidates(numbers(n), count, seed=3)
    np.testing.assert_array_equal(again[0], kept)


def test_candidates_that_share_a_role_once_are_shuffled_later() -> None:
    kept, _ = deal_candidates(numbers(60), 6, seed=3)
    assert (kept[0] != kept[3]).any()


@pytest.mark.parametrize(("tests", "controls"), [(50, 40), (30, 30)])
def test_candidates_are_the_forget_rows_and_twice_as_many_control_rows(
    tests: int, controls: int
) -> None:
    case = table_case()
    case = case.replace(test=case.test.take(np.arange(tests)))
    ids = choose_candidates(case, seed=3).ids.tolist()
    assert ids[: len(FORGET)] == case.forget.ids.tolist()
    assert len(set(ids[len(FORGET) :])) == controls
    assert set(ids[len(FORGET) :]) <= set(case.test.ids.tolist())


def mean_trainer(x: Features, y: Labels, seed: int) -> nn.Module:
    """Remember which rows there were: the log-odds of trained-on rows are 1, of others 0."""
    phi = np.zeros(240)
    phi[x[:, 0].astype(np.int64)] = 1
    return Table(phi)


@dataclasses.dataclass(frozen=True)
class Recorder:
    """A method that notes what it is asked, and takes 5 off the log-odds of the forget rows."""

    asked: list[Case]

    info: ClassVar[MethodInfo] = MethodInfo(
        name="recorder",
        title="Recorder",
        card="M00",
        paper="https://example.org",
        needs=frozenset(),
        scopes=frozenset({"instance"}),
        guarantee="none",
        summary="Notes.",
    )

    def unlearn(self, model: nn.Module, case: Case, rng: np.random.Generator) -> Unlearned:
        self.asked.append(case)
        assert isinstance(model, Table)
        with torch.no_grad():
            model.phi[case.forget.x[:, 0].astype(np.int64)] -= 5
        return Unlearned(
            model=model,
            report=UnlearnReport(steps=0, rows_touched=0, seconds=0.0, stop_reason="noted"),
        )


def table_of(target: Target) -> Floats:
    return target.weights()["phi"]


def numbers_of(rows: Rows) -> set[int]:
    return set(rows.x[:, 0].astype(int).tolist())


@pytest.fixture
def practised() -> tuple[Pool, Pool, list[Case]]:
    case = table_case().replace(trainer=mean_trainer)
    workshop = Workshop(case=case, seed=4, template=lambda: Table(np.zeros(240)))
    members = np.arange(len(AUXILIARY)) % 2 == 0
    shadow = Shadow(
        target=Target(mean_trainer(case.auxiliary.take(members).x, case.auxiliary.y, 0)),
        members=members,
    )
    plain = Pool(shadows=(shadow, shadow))
    recorder = Recorder([])
    return plain, practise(plain, workshop, recorder, 6), recorder.asked


def test_without_a_method_there_is_no_practice() -> None:
    pool = World().pool()
    workshop = Workshop(case=table_case(), seed=4, template=lambda: Table(np.zeros(240)))
    assert practise(pool, workshop, None, 6) is pool


def test_shadows_forget_some_of_their_members(practised: tuple[Pool, Pool, list[Case]]) -> None:
    plain, pool, asked = practised
    for shadow, case in zip(pool.shadows, asked, strict=False):
        assert shadow.forgotten is not None
        assert shadow.after is not None
        assert not (shadow.forgotten & ~shadow.members).any()
        share = len(FORGET) / (len(FORGET) + len(RETAIN))
        assert shadow.forgotten.sum() == round(share * shadow.members.sum())
        assert numbers_of(case.forget) == set(AUXILIARY[shadow.forgotten].tolist())
        kept = shadow.members & ~shadow.forgotten
        assert numbers_of(case.retain) == set(AUXILIARY[kept].tolist())
        assert len(case.auxiliary) == 0
        assert shadow.target is plain.shadows[0].target
        moved = table_of(shadow.after) - table_of(shadow.target)
        assert set(np.flatnonzero(moved).tolist()) == numbers_of(case.forget)
    first, second = (set(AUXILIARY[shadow.forgotten].tolist()) for shadow in pool.shadows)
    assert first != second, "each shadow forgets rows of its own"


def test_candidate_shadows_are_what_they_are_said_to_be(
    practised: tuple[Pool, Pool, list[Case]],
) -> None:
    _, pool, asked = practised
    assert pool.candidates is not None
    rows = pool.candidates.x[:, 0].astype(int)
    assert len(pool.candidate_shadows) == 6
    for shadow, case in zip(pool.candidate_shadows, asked[len(pool.shadows) :], strict=True):
        trained = {*RETAIN.tolist(), *rows[shadow.kept | shadow.forgotten].tolist()}
        before, after = table_of(shadow.before), table_of(shadow.after)
        assert set(np.flatnonzero(before).tolist()) == trained
        assert set(np.flatnonzero(after - before).tolist()) == set(rows[shadow.forgotten].tolist())
        assert numbers_of(case.forget) == set(rows[shadow.forgotten].tolist())
        assert numbers_of(case.retain) == {*RETAIN.tolist(), *rows[shadow.kept].tolist()}
        unseen = ~shadow.kept & ~shadow.forgotten
        assert numbers_of(case.test) == set(rows[unseen].tolist())


def test_real_candidate_shadows_know_their_rows_better(digits_pool: Pool) -> None:
    """Log-odds fall from kept over forgotten to never trained on, in the mean."""
    known = roles(digits_pool)
    kept, forgotten, unseen = (
        known.after[role].mean() for role in (known.kept, known.forgotten, known.unseen)
    )
    assert kept > forgotten > unseen + 1
    assert known.before[known.forgotten].mean() > forgotten


# Forgotten against never trained on, by the likelihood ratio of each row.


def slow_phi(target: Target, rows: Rows) -> dict[str, float]:
    return dict(
        zip(rows.ids.tolist(), stats.log_odds(target.logits(rows), rows.y).tolist(), strict=True)
    )


def slow_values(pool: Pool, role: str) -> dict[str, list[float]]:
    """Log-odds of each candidate under the unlearned shadows in which it has the role."""
    assert pool.candidates is not None
    values: dict[str, list[float]] = {name: [] for name in pool.candidates.ids.tolist()}
    for shadow in pool.candidate_shadows:
        for i, (name, phi) in enumerate(slow_phi(shadow.after, pool.candidates).items()):
            own = "kept" if shadow.kept[i] else "forgotten" if shadow.forgotten[i] else "unseen"
            if own == role:
                values[name].append(phi)
    return values


def slow_mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


def slow_variance(values: Sequence[float]) -> float:
    mean = slow_mean(values)
    return math.fsum((v - mean) ** 2 for v in values) / (len(values) - 1)


def slow_log_normal(x: float, mean: float, variance: float) -> float:
    return -((x - mean) ** 2) / (2 * variance) - math.log(2 * math.pi * variance) / 2


def test_u_lira_row_by_row(digits_case: Case, digits_pool: Pool) -> None:
    target = digits_pool.retrained[0]
    scores = scores_of(ULira(), digits_pool.without(0), digits_case, target)
    laws = {}
    for role in ("forgotten", "unseen"):
        values = slow_values(digits_pool, role)
        assert {len(v) for v in values.values()} == {4}
        common = slow_mean([slow_variance(v) for v in values.values()])
        laws[role] = {
            name: (slow_mean(v), (3 * slow_variance(v) + 4 * common) / 7)
            for name, v in values.items()
        }
    own = slow_phi(target, Rows.concat(digits_case.forget, digits_case.test))
    for ids, found in (
        (digits_case.forget.ids, scores.forget),
        (scores.control_ids, scores.control),
    ):
        for name, value in zip(ids.tolist(), found.tolist(), strict=True):
            ratio = slow_log_normal(own[name], *laws["forgotten"][name]) - slow_log_normal(
                own[name], *laws["unseen"][name]
            )
            assert value == pytest.approx(ratio, rel=1e-6, abs=1e-6)


def test_u_lira_against_retrained_models_by_hand(digits_case: Case, digits_pool: Pool) -> None:
    target, rest = digits_pool.originals[0], digits_pool
    found = scores_of(ULira(), rest, digits_case, target).scalars["retrained_out_auc"]
    rows = scored(rest, digits_case)
    chosen = Rows.concat(digits_case.forget, digits_case.test.take(rows.control))
    phi = np.array(list(slow_phi(target, chosen).values()))
    null = stats.calibrate(np.array([list(slow_phi(t, chosen).values()) for t in rest.retrained]))
    known = roles(rest)
    law = bells(known.after, known.forgotten).take(rows.candidate)
    ratio = law.log_density(phi) - norm.logpdf(phi, null.mean, null.sd)
    n_f = len(digits_case.forget)
    assert found == pytest.approx(stats.auc(ratio[:n_f], ratio[n_f:]))


@pytest.mark.parametrize("attack", WITH_CANDIDATES)
@pytest.mark.parametrize("data", ["digits", "cancer"])
def test_retrained_models_get_one_half_and_originals_more(
    data: str, attack: Callable[[], Attack], request: pytest.FixtureRequest
) -> None:
    case, pool = (request.getfixturevalue(f"{data}_{what}") for what in ("case", "pool"))
    values = [
        auc_of(attack(), pool.without(k), case, target) for k, target in enumerate(pool.retrained)
    ]
    n_c = len(scored(pool, case).control)
    error = math.sqrt((1 / len(case.forget) + 1 / n_c) / 12 / len(values))
    assert np.mean(values) == pytest.approx(0.5, abs=4 * error)
    assert auc_of(attack(), pool, case, pool.parent) > max(0.58, *values)


@pytest.mark.parametrize("attack", WITH_CANDIDATES)
def test_retrained_models_get_one_half_in_fresh_worlds(attack: Callable[[], Attack]) -> None:
    """Every world has its own rows, shadows and retrained model, so the errors are independent."""
    case = table_case()
    found = []
    for seed in range(40):
        world = World(seed=seed)
        scores = scores_of(attack(), world.pool(), case, world.retrained())
        scalars = {k: v for k, v in scores.scalars.items() if k.endswith("auc")}
        found.append({"auc": stats.auc(scores.forget, scores.control), **scalars})
    for name in found[0]:
        values = [scalars[name] for scalars in found if name in scalars]
        error = float(np.std(values, ddof=1)) / math.sqrt(len(values))
        assert np.mean(values) == pytest.approx(0.5, abs=4 * error), name
        assert error < 0.04


@pytest.mark.parametrize("attack", WITH_CANDIDATES)
def test_what_is_left_of_forgotten_rows_is_found(attack: Callable[[], Attack]) -> None:
    case, world = table_case(), World()
    assert auc_of(attack(), world.pool(), case, world.unlearned()) > 0.8
    clean = World(trace=0.0)
    assert 0.3 < auc_of(attack(), clean.pool(), case, clean.unlearned()) < 0.7


@pytest.mark.parametrize("attack", WITH_CANDIDATES)
def test_that_a_method_ran_is_not_taken_for_forgetting(attack: Callable[[], Attack]) -> None:
    """A method that adds 4 to every answer changes no score: all shadows went through it."""
    case, plain, shifted = table_case(), World(), World(shift=4.0)
    usual = both(scores_of(attack(), plain.pool(), case, plain.unlearned()))
    again = both(scores_of(attack(), shifted.pool(), case, shifted.unlearned()))
    np.testing.assert_allclose(again, usual, rtol=1e-3, atol=1e-3)

    untouched = roles(shifted.pool())
    rows = scored(shifted.pool(), case)
    target = shifted.unlearned()
    phi = np.array(list(slow_phi(target, case.test.take(rows.control)).values()))
    control = rows.candidate[len(case.forget) :]
    forgotten = bells(untouched.after, untouched.forgotten).take(control)
    never_unlearned = bells(untouched.before, untouched.unseen).take(control)
    fooled = forgotten.log_density(phi) - never_unlearned.log_density(phi)
    assert np.mean(fooled > 0) > 0.9, "with other shadows every control row looks forgotten"
    assert np.mean(again[len(case.forget) :] > 0) < 0.5


@pytest.mark.parametrize("attack", [ULira(), Ruli(), Ruli(enough=2)])
@pytest.mark.parametrize("scale", [0.05, 1.5])
def test_units_of_the_log_odds_do_not_matter(attack: Attack, scale: float) -> None:
    """A bandwidth of one, whatever the spread, would blur one world and shatter the other."""
    case, plain, scaled = table_case(), World(), World(scale=scale)
    usual = both(scores_of(attack, plain.pool(), case, plain.unlearned()))
    again = both(scores_of(attack, scaled.pool(), case, scaled.unlearned()))
    np.testing.assert_allclose(again, usual, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("attack", WITH_CANDIDATES)
def test_rows_are_matched_by_id(attack: Callable[[], Attack]) -> None:
    case, world = table_case(), World()
    pool, target = world.pool(), world.unlearned()
    assert pool.candidates is not None
    usual = scores_of(attack(), pool, case, target)
    order = generator(1).permutation(len(pool.candidates))
    turned = dataclasses.replace(
        pool,
        candidates=pool.candidates.take(order),
        candidate_shadows=tuple(
            dataclasses.replace(s, kept=s.kept[order], forgotten=s.forgotten[order])
            for s in pool.candidate_shadows
        ),
    )
    again = scores_of(attack(), turned, case, target)
    np.testing.assert_allclose(both(again), both(usual), rtol=1e-9)
    known = set(pool.candidates.ids.tolist())
    assert usual.forget_ids.tolist() == case.forget.ids.tolist()
    assert usual.control_ids.tolist() == [i for i in case.test.ids.tolist() if i in known]
    assert len(usual.control) == 40 < len(case.test)


@pytest.mark.parametrize("attack", WITH_CANDIDATES)
def test_attacks_on_candidates_refuse_what_they_cannot_do(attack: Callable[[], Attack]) -> None:
    case, world = table_case(), World()
    pool = world.pool()
    few = World(shadows=3).pool()
    stranger = case.replace(forget=numbered(np.array([500, *FORGET])))
    outside = case.replace(test=numbered(np.arange(600, 610)))
    for problem, part, request in (
        ("candidate shadows", dataclasses.replace(pool, candidate_shadows=()), case),
        ("found 1;", few, case),
        ("row-500", pool, stranger),
        ("control rows", pool, outside),
    ):
        with pytest.raises(NotApplicable, match=problem):
            attack().fit(part, request, generator(5))


def test_ruli_needs_shadows_that_kept_a_row() -> None:
    pool = World().pool()
    without = tuple(
        dataclasses.replace(s, kept=np.zeros_like(s.kept)) for s in pool.candidate_shadows
    )
    poor = dataclasses.replace(pool, candidate_shadows=without)
    with pytest.raises(NotApplicable, match="kept each record, found 0"):
        Ruli().fit(poor, table_case(), generator(5))
    assert ULira().fit(poor, table_case(), generator(5))


# Kept, forgotten, never trained on.


def test_ruli_with_few_shadows_row_by_row(digits_case: Case, digits_pool: Pool) -> None:
    target = digits_pool.originals[0]
    scores = scores_of(Ruli(), digits_pool, digits_case, target)
    laws = {}
    for role in ("kept", "forgotten", "unseen"):
        values = slow_values(digits_pool, role)
        common = slow_mean([slow_variance(v) for v in values.values()])
        laws[role] = {name: (slow_mean(v), common) for name, v in values.items()}
    own = slow_phi(target, Rows.concat(digits_case.forget, digits_case.test))
    ids = [*scores.forget_ids.tolist(), *scores.control_ids.tolist()]
    logs = {
        role: [slow_log_normal(own[name], *law[name]) for name in ids] for role, law in laws.items()
    }
    expected = np.array(logs["forgotten"]) - np.array(logs["unseen"])
    np.testing.assert_allclose(both(scores), expected, rtol=1e-6, atol=1e-6)
    n_f = len(scores.forget)
    shares = [1 / (1 + math.exp(o - i)) for i, o in zip(logs["kept"], logs["unseen"], strict=True)]
    assert scores.scalars["in_closeness"] == pytest.approx(slow_mean(shares[:n_f]))

    gap = slow_gap(digits_pool)
    cut = np.quantile(list(gap.values()), 0.75)
    for name, wanted in (("vulnerable_auc", True), ("random_auc", False)):
        chosen = [(gap[i] >= cut) == wanted for i in ids]
        forget = expected[:n_f][chosen[:n_f]]
        control = expected[n_f:][chosen[n_f:]]
        assert scores.scalars[name] == pytest.approx(stats.auc(forget, control))
    assert scores.scalars["vulnerable_auc"] > scores.scalars["random_auc"] + 0.1


def slow_gap(pool: Pool) -> dict[str, float]:
    """How far training moves a row, by the shadows before they forgot."""
    assert pool.candidates is not None
    trained: dict[str, list[float]] = {name: [] for name in pool.candidates.ids.tolist()}
    others: dict[str, list[float]] = {name: [] for name in trained}
    for shadow in pool.candidate_shadows:
        for i, (name, phi) in enumerate(slow_phi(shadow.before, pool.candidates).items()):
            (trained if shadow.kept[i] or shadow.forgotten[i] else others)[name].append(phi)
    common = slow_mean([slow_variance(v) for v in others.values()])
    return {
        name: (slow_mean(trained[name]) - slow_mean(values))
        / math.sqrt((3 * slow_variance(values) + 4 * common) / 7)
        for name, values in others.items()
    }


def test_the_vulnerable_rows_are_chosen_by_other_models_than_those_under_attack() -> None:
    """Neither the audited model nor the unlearned shadows have a say."""
    pool = World().pool()
    usual = ruli.learnt(roles(pool))
    swapped = tuple(dataclasses.replace(s, after=pool.retrained[0]) for s in pool.candidate_shadows)
    np.testing.assert_array_equal(
        ruli.learnt(roles(dataclasses.replace(pool, candidate_shadows=swapped))), usual
    )
    none = tuple(dataclasses.replace(s, before=pool.retrained[0]) for s in pool.candidate_shadows)
    assert (ruli.learnt(roles(dataclasses.replace(pool, candidate_shadows=none))) == 0).all()


def test_ruli_leaves_out_a_group_that_lacks_rows() -> None:
    case = table_case()
    one = case.replace(forget=case.forget.take(np.array([0])))
    scalars = scores_of(Ruli(), World().pool(), one, World().unlearned()).scalars
    assert len({"vulnerable_auc", "random_auc"} & set(scalars)) == 1
    assert "in_closeness" in scalars


def test_kernel_densities_by_scipy() -> None:
    """With 25 values a row; shadows in which the row has another role do not count."""
    rng = generator(8)
    values = rng.normal(size=(50, 4)) * np.array([0.05, 0.3, 1, 10])
    role = np.zeros((50, 4), dtype=bool)
    for i in range(4):
        role[rng.permutation(50)[:25], i] = True
    values[~role] += 1e4
    rows = np.array([2, 0, 3, 1])
    phi = means(values, role)[rows] + spreads(values, role)[rows] * np.array([-2.0, 0.1, 0.7, 1.5])
    density = Density.of(values, role, 20, rows)
    variances = [np.var(values[role[:, i], i], ddof=1) for i in range(4)]
    for i, row in enumerate(rows.tolist()):
        own = values[role[:, row], row]
        shrunk = (24 * variances[row] + 4 * np.mean(variances)) / 28
        factor = 25 ** (-1 / 5) * math.sqrt(shrunk / variances[row])
        expected = gaussian_kde(own, bw_method=factor).logpdf(phi[i])
        assert density.log(phi)[i] == pytest.approx(float(expected[0]))
    normal = Density.of(values, role, 26, rows).log(phi)
    common = math.sqrt(np.mean(variances))
    for i, row in enumerate(rows.tolist()):
        expected = norm.logpdf(phi[i], values[role[:, row], row].mean(), common)
        assert normal[i] == pytest.approx(float(expected))


def test_kernel_densities_stay_finite_far_away_and_without_spread() -> None:
    values = np.full((40, 3), 30.0)
    role = np.arange(40)[:, None] % 2 == np.zeros(3)
    values[1::2] = -30.0
    logs = Density.of(values, role, 20, np.arange(3)).log(np.array([30.0, 0.0, -30.0]))
    assert np.isfinite(logs).all()
    assert rankdata(logs).tolist() == [3, 2, 1], "nearest to its own values, not to the others'"


def test_kernels_and_normal_laws_agree_where_the_values_are_normal() -> None:
    case, world = table_case(), World(shadows=90)
    pool = world.pool()
    by_kernel, by_law = (
        both(scores_of(attack, pool, case, world.unlearned()))
        for attack in (Ruli(), Ruli(enough=31))
    )
    assert (by_kernel != by_law).all()
    assert np.corrcoef(rankdata(by_kernel), rankdata(by_law))[0, 1] > 0.9


# Forgotten against never trained on, learnt from shadows.


def test_forgotten_shadow_scores_and_threshold_by_hand(
    digits_case: Case, digits_pool: Pool
) -> None:
    target = digits_pool.originals[0]
    scores = scores_of(ShadowForgotten(), digits_pool, digits_case, target)
    parts, labels = [], []
    for shadow in digits_pool.shadows:
        assert shadow.after is not None
        assert shadow.forgotten is not None
        asked = [bool(f or not m) for f, m in zip(shadow.forgotten, shadow.members, strict=True)]
        all_rows = features(shadow.after, digits_case.auxiliary, 10, 3)
        parts.append(all_rows[asked])
        labels.append(shadow.forgotten[asked])

    def learn(known: list[int], rows: Floats) -> Floats:
        x, y = np.concatenate([parts[i] for i in known]), np.concatenate([labels[i] for i in known])
        weight = np.where(y, len(y) / (2 * y.sum()), len(y) / (2 * (~y).sum()))
        scaler = StandardScaler().fit(x)
        judge = LogisticRegression(max_iter=2000)
        judge.fit(scaler.transform(x), y, sample_weight=weight)
        return np.asarray(judge.decision_function(scaler.transform(rows)), dtype=np.float64)

    everyone = list(range(len(parts)))
    expected = learn(everyone, features(target, digits_case.forget, 10, 3))
    np.testing.assert_allclose(scores.forget, expected, rtol=1e-3, atol=1e-3)
    held_out = np.concatenate([learn([j for j in everyone if j != i], parts[i]) for i in everyone])
    mask = np.concatenate(labels)
    best = max(
        stats.balanced_accuracy(held_out[mask], held_out[~mask], cut)
        for cut in np.quantile(held_out, np.linspace(0, 1, 101))
    )
    assert scores.threshold is not None
    reached = stats.balanced_accuracy(held_out[mask], held_out[~mask], scores.threshold)
    assert reached == pytest.approx(best, abs=2e-3)


def test_shadows_are_never_split_and_kept_rows_teach_nothing(
    digits_case: Case, digits_pool: Pool
) -> None:
    known = forgotten_lessons(digits_pool, digits_case, 3)
    for i, (shadow, pair) in enumerate(
        zip(digits_pool.shadows, pairs(digits_pool, digits_case), strict=True)
    ):
        assert shadow.forgotten is not None
        own = known.shadow == i
        kept = set(digits_case.auxiliary.ids[shadow.members & ~shadow.forgotten].tolist())
        assert not kept & set(pair.rows.ids.tolist())
        assert own.sum() == len(pair.rows) == len(digits_case.auxiliary) - len(kept)
        assert (
            known.member[own].tolist()
            == np.isin(pair.rows.ids, digits_case.auxiliary.ids[shadow.forgotten]).tolist()
        )


@pytest.mark.parametrize("data", ["digits", "cancer"])
def test_practice_finds_originals_and_no_retrained_model(
    data: str, request: pytest.FixtureRequest
) -> None:
    case, pool = (request.getfixturevalue(f"{data}_{what}") for what in ("case", "pool"))
    fit = ShadowForgotten().fit(pool, case, generator(5))

    def value(target: Target) -> float:
        scores = fit.score(target, generator(6))
        return stats.auc(scores.forget, scores.control)

    retrained = [value(target) for target in pool.retrained]
    rows_alone = math.sqrt((1 / len(case.forget) + 1 / len(case.test)) / 12)
    assert np.mean(retrained) == pytest.approx(0.5, abs=2 * rows_alone)
    assert min(value(t) for t in (pool.parent, *pool.originals)) > max(0.58, *retrained)


def test_practice_with_wrong_answers_teaches_nothing(digits_case: Case, digits_pool: Pool) -> None:
    """Calling random rows forgotten must change the scores, or the labels were not used."""
    assert digits_pool.parent is not None
    confused = []
    for k, shadow in enumerate(digits_pool.shadows):
        assert shadow.forgotten is not None
        asked = np.flatnonzero(shadow.forgotten | ~shadow.members)
        drawn = generator(9, k).permutation(asked)[: shadow.forgotten.sum()]
        mask = np.isin(np.arange(len(shadow.members)), drawn)
        members = (shadow.members & ~shadow.forgotten) | mask
        confused.append(dataclasses.replace(shadow, members=members, forgotten=mask))
    wrong = dataclasses.replace(digits_pool, shadows=tuple(confused))
    right = auc_of(ShadowForgotten(), digits_pool, digits_case, digits_pool.parent)
    assert auc_of(ShadowForgotten(), wrong, digits_case, digits_pool.parent) < right - 0.05


def test_practice_learns_from_the_shadows_after_they_forgot() -> None:
    """In a world where forgetting overshoots, a member's looks are the wrong thing to know."""
    case, world = table_case(), World(trace=-1.0)
    target = world.unlearned()
    assert auc_of(ShadowForgotten(), world.pool(), case, target) > 0.8
    assert auc_of(ShadowLogistic(), world.pool(), case, target) < 0.2


@pytest.mark.parametrize("attack", PRACTISING)
def test_practice_is_not_replaced_by_other_shadows(attack: Callable[[], Attack]) -> None:
    pool = World().pool()
    untouched = tuple(
        dataclasses.replace(shadow, after=None, forgotten=None) for shadow in pool.shadows
    )
    for problem, shadows in (
        ("run the method itself", untouched),
        ("at least 2 shadow models", pool.shadows[:1]),
        ("forgotten rows in each", (dull(pool.shadows[0]), *pool.shadows[1:])),
    ):
        poor = dataclasses.replace(pool, shadows=shadows)
        with pytest.raises(NotApplicable, match=problem):
            attack().fit(poor, table_case(), generator(5))


def dull(shadow: Shadow) -> Shadow:
    return dataclasses.replace(shadow, forgotten=np.zeros_like(shadow.members))


# Before and after the deletion.


def test_features_of_two_answers_by_hand(digits_case: Case, digits_pool: Pool) -> None:
    rows = digits_case.test.take(np.arange(20))
    p, q = (
        stats.probabilities(t.logits(rows))
        for t in (digits_pool.originals[0], digits_pool.retrained[0])
    )
    for i in range(len(rows)):
        a, b = p[i].tolist(), q[i].tolist()
        order = sorted(range(10), key=lambda k: -a[k])
        for feature, expected in (
            (update_leakage.direct, [x - y for x, y in zip(a, b, strict=True)]),
            (update_leakage.in_order, [a[k] - b[k] for k in order]),
            (update_leakage.distance, [math.dist(a, b)]),
            (update_leakage.beside, a + b),
            (update_leakage.beside_in_order, [a[k] for k in order] + [b[k] for k in order]),
            (update_leakage.original, a),
            (update_leakage.original_in_order, [a[k] for k in order]),
        ):
            np.testing.assert_allclose(feature(p, q)[i], expected, atol=1e-12)


def test_the_best_feature_and_model_on_held_out_shadows_by_hand() -> None:
    """Every pair of feature and model, each shadow scored by a fit on the others."""
    case, world = table_case(), World(learnt=1.0, trace=0.0, noise=0.5)
    pool, target = world.pool(), world.unlearned()
    assert pool.parent is not None
    scores = scores_of(UpdateLeakage(trees=3), pool, case, target)
    seed = draw_seed(generator(5)) % 2**31

    def answers(target: Target, rows: Rows) -> Floats:
        return stats.probabilities(target.logits(rows))

    def confidence(x: list[Floats], y: list[npt.NDArray[np.bool_]], kind: str, new: Floats):  # type: ignore[no-untyped-def]
        known, forgotten = np.concatenate(x), np.concatenate(y)
        scaler = StandardScaler().fit(known)
        if kind == "regression":
            judge = LogisticRegression(class_weight="balanced", max_iter=2000)
            judge.fit(scaler.transform(known), forgotten)
            return judge.predict_proba(scaler.transform(new))[:, 1]
        forest = RandomForestClassifier(
            3, min_samples_leaf=5, class_weight="balanced", random_state=seed
        )
        return forest.fit(known, forgotten).predict_proba(new)[:, 1]

    results = []
    known = pairs(pool, case)
    labels = [pair.forgotten for pair in known]
    for feature, kind in product(
        (
            update_leakage.direct,
            update_leakage.in_order,
            update_leakage.distance,
            update_leakage.beside,
            update_leakage.beside_in_order,
        ),
        ("regression", "forest"),
    ):
        x = [feature(answers(p.before, p.rows), answers(p.after, p.rows)) for p in known]
        held_out = [
            confidence(
                [x[j] for j in range(4) if j != i],
                [labels[j] for j in range(4) if j != i],
                kind,
                x[i],
            )
            for i in range(4)
        ]
        mask, value = np.concatenate(labels), np.concatenate(held_out)
        rows = feature(answers(pool.parent, case.forget), answers(target, case.forget))
        results.append((stats.auc(value[mask], value[~mask]), confidence(x, labels, kind, rows)))
    best = max(results, key=lambda result: result[0])
    assert best[0] > min(result[0] for result in results) + 0.05, "there is something to choose"
    np.testing.assert_allclose(scores.forget, best[1], atol=1e-6)


def test_a_true_deletion_shows_to_those_who_saw_the_model_before() -> None:
    """Rows differ far more among themselves than training moves them; the change tells all.

    The pair gives more confidence in the truth than the original alone for most rows.
    """
    case, exact = table_case(), World(learnt=1.0, trace=0.0, noise=0.02)
    fit = UpdateLeakage().fit(exact.pool(), case, generator(5))
    retrained, untouched = (
        fit.score(target, generator(6)) for target in (exact.retrained(), exact.original())
    )
    assert stats.auc(retrained.forget, retrained.control) > 0.95
    assert stats.auc(untouched.forget, untouched.control) < 0.75
    assert retrained.scalars["confidence_gain"] > 0.2
    assert retrained.scalars["higher_confidence_share"] > 0.65
    alone = auc_of(ShadowForgotten(), exact.pool(), case, exact.retrained())
    assert alone < 0.7, "the new model by itself tells nothing"


def test_the_gain_changes_its_sign_with_the_truth(digits_case: Case, digits_pool: Pool) -> None:
    fit, swapped = (
        UpdateLeakage(trees=2).fit(digits_pool, case, generator(5))
        for case in (
            digits_case,
            digits_case.replace(forget=digits_case.test, test=digits_case.forget),
        )
    )
    usual, turned = (
        f.score(digits_pool.retrained[0], generator(6)).scalars for f in (fit, swapped)
    )
    assert turned["confidence_gain"] == pytest.approx(-usual["confidence_gain"])
    assert turned["higher_confidence_share"] + usual["higher_confidence_share"] <= 1


def test_retrained_pairs_are_the_yardstick_and_not_chance(
    digits_case: Case, digits_pool: Pool
) -> None:
    fit = UpdateLeakage().fit(digits_pool, digits_case, generator(5))
    found = [fit.score(target, generator(6)) for target in digits_pool.retrained]
    assert np.mean([stats.auc(s.forget, s.control) for s in found]) > 0.53
    assert found[0].fitted_on == set(digits_case.auxiliary.ids.tolist())


def test_update_leakage_needs_the_model_before() -> None:
    with pytest.raises(NotApplicable, match="hand in the original"):
        UpdateLeakage().fit(
            dataclasses.replace(World().pool(), parent=None), table_case(), generator(5)
        )
