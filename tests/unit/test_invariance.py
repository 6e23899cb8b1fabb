"""What must not matter to the verdict does not: order, offsets, names of classes, batch size."""

import dataclasses
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from forget_audit import stats
from forget_audit.outputs import Outputs
from forget_audit.pools import Pool
from forget_audit.seeds import generator
from forget_audit.targets import Target
from forget_audit.types import Case, Floats
from forget_audit.verdict import exact_tests, scoretable
from forget_audit.verdict.policy import Weighed, weigh
from forget_audit.verdict.profiles import PROFILES
from forget_audit.verdict.weighing import GROUPS, Models

STANDARD = PROFILES["standard"]
N_F, N_T, CLASSES = 40, 120, 4
Change = Callable[[Outputs], Outputs]


def some_outputs(rng: np.random.Generator, models: int, trained_on: float = 0.0) -> Outputs:
    """Models that agree on difficulty, differ by seed, and lean to the labels they trained on."""
    world = np.random.default_rng(5)
    y_f, y_t = world.integers(0, CLASSES, N_F), world.integers(0, CLASSES, N_T)
    base_f, base_t = world.normal(0, 1.5, (N_F, CLASSES)), world.normal(0, 1.5, (N_T, CLASSES))
    lean = trained_on * world.uniform(1, 6, N_F)[:, None] * np.eye(CLASSES)[y_f]
    return Outputs(
        logits_f=base_f + lean + rng.normal(0, 0.6, (models, N_F, CLASSES)),
        logits_t=base_t + rng.normal(0, 0.6, (models, N_T, CLASSES)),
        y_f=y_f,
        y_t=y_t,
        retain_accuracy=rng.uniform(0.9, 0.92, models),
        test_accuracy=rng.uniform(0.8, 0.82, models),
    )


def world(lean: float, references: int = 19) -> Models:
    rng = np.random.default_rng(17)
    return Models(
        retrained=some_outputs(rng, references),
        originals=some_outputs(rng, 3, trained_on=1.0),
        audited=some_outputs(rng, 1, trained_on=lean),
        identity=some_outputs(rng, 2),
    )


WORLDS = {"PASS": world(0.0), "FAIL": world(0.5), "INCONCLUSIVE": world(0.2, references=10)}


@cache
def verdict(name: str) -> Weighed:
    return weigh(WORLDS[name], profile=STANDARD, scope="instance")


def everywhere(models: Models, change: Change) -> Models:
    changes: dict[str, Any] = {group: change(getattr(models, group)) for group in GROUPS}
    return Models(**changes)


def numbers(weighed: Weighed) -> Floats:
    rows = [
        (s.estimate, s.reference_mean, s.difference, s.standard_error, *s.interval, s.p_value)
        for s in weighed.statistics
    ]
    verdict, control = weighed.verdict, weighed.control
    rest = (verdict.p_value, verdict.attained_bound, verdict.detectable_share, control.n_eff)
    shown = (control.main.effect_low, control.p_value, *control.identity)
    return np.array([*np.ravel(rows), *rest, *shown])


def assert_same(a: Weighed, models: Models, tolerance: float = 1e-9) -> None:
    b = weigh(models, profile=STANDARD, scope="instance")
    assert a.verdict.outcome == b.verdict.outcome
    assert a.verdict.reasons == b.verdict.reasons
    assert [s.name for s in a.statistics] == [s.name for s in b.statistics]
    assert [s.outcome for s in a.statistics] == [s.outcome for s in b.statistics]
    assert [(g.code, g.outcome) for g in a.gates] == [(g.code, g.outcome) for g in b.gates]
    assert numbers(a) == pytest.approx(numbers(b), rel=tolerance, abs=tolerance)


@pytest.mark.parametrize("name", WORLDS)
def test_the_worlds_have_different_answers(name: str) -> None:
    assert verdict(name).verdict.outcome == name


def rows_permuted(seed: int) -> Change:
    rng = np.random.default_rng(seed)
    f, t = rng.permutation(N_F), rng.permutation(N_T)
    return lambda o: dataclasses.replace(
        o, logits_f=o.logits_f[:, f], logits_t=o.logits_t[:, t], y_f=o.y_f[f], y_t=o.y_t[t]
    )


def logits_shifted(seed: int) -> Change:
    rng = np.random.default_rng(seed)
    return lambda o: dataclasses.replace(
        o,
        logits_f=o.logits_f + rng.normal(0, 20, (len(o), N_F, 1)),
        logits_t=o.logits_t + rng.normal(0, 20, (len(o), N_T, 1)),
    )


def classes_renamed(seed: int) -> Change:
    order = np.random.default_rng(seed).permutation(CLASSES)
    name = np.argsort(order)
    return lambda o: dataclasses.replace(
        o,
        logits_f=o.logits_f[..., order],
        logits_t=o.logits_t[..., order],
        y_f=name[o.y_f],
        y_t=name[o.y_t],
    )


def repeated(_seed: int) -> Change:
    return lambda o: o.take(np.arange(len(o)))


CHANGES = (rows_permuted, logits_shifted, classes_renamed, repeated)


@pytest.mark.parametrize("name", WORLDS)
@pytest.mark.parametrize("make", CHANGES, ids=lambda make: make.__name__)
def test_verdict_and_statistics_stay(make: Callable[[int], Change], name: str) -> None:
    assert_same(verdict(name), everywhere(WORLDS[name], make(len(name))))


@pytest.mark.parametrize("name", ["PASS", "FAIL"])
@pytest.mark.parametrize("group", ["retrained", "originals", "identity"])
def test_order_of_models_does_not_matter(group: str, name: str) -> None:
    models, first = WORLDS[name], verdict(name)
    outputs: Outputs = getattr(models, group)
    backwards = outputs.take(np.arange(len(outputs))[::-1])
    changes: dict[str, Any] = {group: backwards}
    second = weigh(dataclasses.replace(models, **changes), profile=STANDARD, scope="instance")
    count = len(models.identity)
    a, b = numbers(first), numbers(second)
    assert a[:-count] == pytest.approx(b[:-count], rel=1e-9, abs=1e-9)
    assert sorted(a[-count:]) == pytest.approx(sorted(b[-count:]), abs=1e-12)
    assert first.verdict.outcome == second.verdict.outcome
    assert first.verdict.reasons == second.verdict.reasons


def test_order_of_copies_does_not_matter() -> None:
    rng = np.random.default_rng(23)
    models = dataclasses.replace(WORLDS["PASS"], audited=some_outputs(rng, 3, trained_on=0.15))
    turned = dataclasses.replace(models, audited=models.audited.take(np.array([2, 0, 1])))
    assert_same(weigh(models, profile=STANDARD, scope="instance"), turned)


def as_arrays(models: Models) -> scoretable.Arrays:
    arrays: scoretable.Arrays = {"y_f": models.retrained.y_f, "y_t": models.retrained.y_t}
    for group, letter in scoretable.LETTERS.items():
        outputs: Outputs = getattr(models, group)
        arrays[f"racc_{letter}"] = outputs.retain_accuracy
        arrays[f"logit_{letter}_f"] = outputs.logits_f
        arrays[f"logit_{letter}_t"] = outputs.logits_t
    return arrays


@pytest.mark.parametrize("make", CHANGES, ids=lambda make: make.__name__)
def test_stored_scores_give_the_same_verdict(make: Callable[[int], Change]) -> None:
    def stored(models: Models) -> Models:
        return scoretable.models_of(scoretable.from_bytes(scoretable.to_bytes(as_arrays(models))))

    few = WORLDS["INCONCLUSIVE"]
    first = weigh(stored(few), profile=STANDARD, scope="instance")
    assert_same(first, stored(everywhere(few, make(3))))
    assert np.array_equal(stored(few).audited.logits_f, few.audited.logits_f)


scores = some.lists(some.integers(-8, 8), min_size=3, max_size=25).map(
    lambda values: np.array(values, dtype=np.float64)
)
many = settings(max_examples=60, deadline=None, derandomize=True)


@many
@given(scores, scores, some.sampled_from([np.arctan, np.cbrt, lambda v: np.exp(v / 2) - 40]))
def test_rank_statistics_see_only_the_order(
    forget: Floats, control: Floats, rising: Callable[[Floats], Floats]
) -> None:
    f, t = rising(forget), rising(control)
    assert stats.auc(f, t) == stats.auc(forget, control)
    for fpr in (0.05, 0.2, 0.5):
        assert stats.true_positives_at(f, t, fpr) == stats.true_positives_at(forget, control, fpr)
    for a, b in zip(stats.roc(f, t), stats.roc(forget, control), strict=True):
        assert np.array_equal(a, b)


@many
@given(scores, scores)
def test_negation_turns_the_auc_round(forget: Floats, control: Floats) -> None:
    assert stats.auc(-forget, -control) == pytest.approx(1 - stats.auc(forget, control), abs=1e-12)
    assert stats.auc(control, forget) == pytest.approx(1 - stats.auc(forget, control), abs=1e-12)


@many
@given(some.integers(-9, 9), scores)
def test_rank_p_values_are_two_sided(value: float, reference: Floats) -> None:
    p = exact_tests.rank_p_value(value, reference)
    assert exact_tests.rank_p_value(-value, -reference) == p
    assert exact_tests.rank_p_value(np.exp(value), np.exp(reference)) == p
    assert 0 < p <= 1


@pytest.mark.parametrize("copies", [1, 3])
@pytest.mark.parametrize("seed", range(5))
def test_negated_and_rescaled_columns_keep_the_exact_p_value(seed: int, copies: int) -> None:
    rng = np.random.default_rng(seed)
    pool = rng.normal(size=(19 + copies, 9))
    factor = rng.choice([-1, 1], 9) * rng.uniform(0.1, 10, 9)
    other = pool * factor + rng.normal(size=9)
    assert exact_tests.max_t(other) == pytest.approx(exact_tests.max_t(pool), rel=1e-9)
    p, q = (
        exact_tests.max_t_p_value(table[:19], table[19:], generator(0, "permutation"))
        for table in (pool, other)
    )
    assert p == q


def answers(targets: list[Target], case: Case) -> Outputs:
    return Outputs(
        logits_f=np.stack([target.logits(case.forget) for target in targets]),
        logits_t=np.stack([target.logits(case.test) for target in targets]),
        y_f=case.forget.y,
        y_t=case.test.y,
        retain_accuracy=np.array([target.accuracy(case.retain) for target in targets]),
        test_accuracy=np.array([target.accuracy(case.test) for target in targets]),
    )


def test_batch_size_does_not_matter(cancer_case: Case, cancer_pool: Pool) -> None:
    """The models compute in float32, so that batches of another size round differently."""
    case, pool = cancer_case, cancer_pool
    assert pool.parent is not None
    assert pool.twin is not None
    groups = {
        "retrained": pool.retrained[:3],
        "originals": pool.originals,
        "audited": (pool.parent,),
        "identity": (pool.retrained[3], pool.twin),
    }
    found = []
    for size in (2048, 7):
        answered: dict[str, Any] = {
            name: answers([Target(t.model_copy(), batch_size=size) for t in targets], case)
            for name, targets in groups.items()
        }
        found.append(Models(**answered))
    first, second = found
    whole = weigh(first, profile=STANDARD, scope="instance")
    assert_same(whole, second, tolerance=1e-6)
