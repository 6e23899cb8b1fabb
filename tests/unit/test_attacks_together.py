"""Many models scored in one go get what each gets alone, and so do fits that leave one out."""

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest
from scipy.stats import wilcoxon
from sklearn.metrics import roc_curve

from forget_audit import registry, stats
from forget_audit.attack_metrics import ROC_GRID, measured, of_people
from forget_audit.attacks.metric_thresholds import best_cuts
from forget_audit.attacks.wilcoxon_entropy import p_values
from forget_audit.contracts import FitsEach, Scores
from forget_audit.errors import NotApplicable
from forget_audit.pools import Pool
from forget_audit.seeds import generator
from forget_audit.types import Case, Floats, Rows

LEAVE_ONE_OUT = ("lira", "rmia", "u_lira", "wilcoxon_entropy")
AT_ONCE = (
    "entropy_logistic",
    "loss_cross_validation",
    "metric_thresholds",
    "shadow",
    "shadow_forgotten",
    "shadow_xgboost",
)


def must_agree(first: Scores, second: Scores) -> None:
    np.testing.assert_allclose(first.forget, second.forget, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(first.control, second.control, rtol=1e-9, atol=1e-9)
    assert first.forget_ids.tolist() == second.forget_ids.tolist()
    assert first.control_ids.tolist() == second.control_ids.tolist()
    assert first.fitted_on == second.fitted_on
    assert first.threshold == second.threshold
    assert dict(first.scalars) == pytest.approx(dict(second.scalars), abs=1e-9)


@pytest.mark.parametrize("name", LEAVE_ONE_OUT)
def test_each_fit_without_a_model_is_that_of_the_smaller_pool(
    name: str, digits_case: Case, digits_pool: Pool
) -> None:
    attack = registry.attacks()[name]()
    assert isinstance(attack, FitsEach)
    each = attack.fit_each(digits_pool, digits_case, lambda: generator(5))
    assert len(each) == len(digits_pool.retrained)
    for i, fit in enumerate(each):
        slow = attack.fit(digits_pool.without(i), digits_case, generator(5))
        assert fit.fitted_on == slow.fitted_on
        for target in (digits_pool.retrained[i], digits_pool.originals[0]):
            must_agree(fit.score(target, generator(6)), slow.score(target, generator(6)))


@pytest.mark.parametrize(
    ("name", "models"), [("lira", 2), ("rmia", 1), ("u_lira", 2), ("wilcoxon_entropy", 1)]
)
def test_too_few_models_are_refused_in_the_same_words(
    name: str, models: int, digits_case: Case, digits_pool: Pool
) -> None:
    attack = registry.attacks()[name]()
    assert isinstance(attack, FitsEach)
    few = dataclasses.replace(digits_pool, retrained=digits_pool.retrained[:models])
    with pytest.raises(NotApplicable) as slow:
        attack.fit(few.without(0), digits_case, generator(5))
    with pytest.raises(NotApplicable) as fast:
        attack.fit_each(few, digits_case, lambda: generator(5))
    assert str(fast.value) == str(slow.value)


@pytest.mark.parametrize("name", AT_ONCE)
def test_many_models_get_what_each_gets_alone(
    name: str, digits_case: Case, digits_pool: Pool
) -> None:
    fit = registry.attacks()[name]().fit(digits_pool, digits_case, generator(5))
    targets = [*digits_pool.originals[:2], *digits_pool.retrained[:3]]
    assert fit.score_many is not None
    together = fit.score_many(targets, lambda: generator(6))
    for target, found in zip(targets, together, strict=True):
        must_agree(found, fit.score(target, generator(6)))


@pytest.mark.parametrize("n", [6, 40, 90])
def test_p_values_are_those_of_scipy_pair_by_pair(n: int) -> None:
    """Equal models, equal values, gaps of one size, and none of these."""
    rng = generator(7, n)
    own = rng.random(n)
    reference = own + 0.3 + rng.normal(0, 1, (12, n))
    reference[0] = own
    reference[1:4, 0] = own[0]
    reference[4:7] = own + rng.choice([-0.5, 0.25, 1.0], (3, n))
    reference[6:8, 1] = own[1]
    expected = [1.0, *(float(wilcoxon(own, other).pvalue) for other in reference[1:])]
    np.testing.assert_allclose(p_values(own, reference), expected, rtol=1e-9)


def test_best_cuts_are_those_of_the_roc_curve() -> None:
    rng = generator(8)
    members = np.round(rng.normal(0.5, 1, (40, 60)), 1)
    others = np.round(rng.normal(0, 1, (40, 90)), 1)
    members[0] = -5.0
    found = best_cuts(members, others)
    assert np.isinf(found[0]), "calling nobody is best"
    truth = np.repeat([1, 0], [60, 90])
    for k in range(40):
        fpr, tpr, cuts = roc_curve(
            truth, np.concatenate([members[k], others[k]]), drop_intermediate=False
        )
        assert found[k] == cuts[np.argmax(tpr - fpr)]


def random_scores(seed: int, n_f: int = 30, n_c: int = 120) -> Scores:
    rng = generator(9, seed)
    return Scores(
        forget=np.round(rng.normal(0.5, 1, n_f), 1),
        control=np.round(rng.normal(0, 1, n_c), 1),
        forget_ids=np.array([f"f{i}" for i in range(n_f)]),
        control_ids=np.array([f"c{i}" for i in range(n_c)]),
        threshold=0.2 * seed,
        scalars={"other": float(seed)},
    )


def grid_of(scores: Scores) -> Floats:
    fpr, tpr = stats.roc(scores.forget, scores.control)
    return np.asarray(tpr[np.searchsorted(fpr, ROC_GRID, side="right") - 1])


@pytest.mark.parametrize("sizes", [(30, 30), (30, 25)], ids=["same sizes", "other sizes"])
def test_metrics_of_many_models_are_those_of_each(sizes: tuple[int, int]) -> None:
    groups = {
        "audited": [random_scores(0)],
        "retrained": [random_scores(k, sizes[k % 2]) for k in range(1, 7)],
        "original": [random_scores(k) for k in (7, 8)],
    }
    result = measured(registry.attacks()["shadow"].info, groups, 0.0)
    metrics = {metric.name: metric for metric in result.metrics}
    assert list(metrics) == ["auc", "tpr_at_1_percent_fpr", "balanced_accuracy", "other"]
    measures: dict[str, Callable[[Scores], float]] = {
        "auc": lambda s: stats.auc(s.forget, s.control),
        "tpr_at_1_percent_fpr": lambda s: (
            (stats.true_positives_at(s.forget, s.control, 0.01) or (0, 0))[0] / len(s.forget)
        ),
        "balanced_accuracy": lambda s: stats.balanced_accuracy(
            s.forget, s.control, s.threshold or 0.0
        ),
        "other": lambda s: s.scalars["other"],
    }
    for name, alone in measures.items():
        values = {group: [alone(s) for s in scores] for group, scores in groups.items()}
        assert metrics[name].audited == pytest.approx(values["audited"][0])
        assert metrics[name].retrained_mean == pytest.approx(np.mean(values["retrained"]))
        assert metrics[name].retrained_sd == pytest.approx(np.std(values["retrained"], ddof=1))
        assert metrics[name].original_mean == pytest.approx(np.mean(values["original"]))
    retrained = np.stack([grid_of(scores) for scores in groups["retrained"]])
    curves = result.series["roc"]
    np.testing.assert_allclose(curves["audited"].y, grid_of(groups["audited"][0]))
    np.testing.assert_allclose(curves["retrained_low"].y, np.quantile(retrained, 0.05, axis=0))
    np.testing.assert_allclose(curves["retrained_high"].y, np.quantile(retrained, 0.95, axis=0))
    originals = [grid_of(scores) for scores in groups["original"]]
    np.testing.assert_allclose(curves["original"].y, np.mean(originals, axis=0))


def rows(prefix: str, people: list[str]) -> Rows:
    n = len(people)
    x = generator(10, prefix).normal(size=(n, 2)).astype(np.float32)
    return Rows(
        x=x,
        y=np.arange(n) % 2,
        ids=np.array([f"{prefix}{i}" for i in range(n)]),
        units=np.array([f"{prefix} {name}" for name in people]),
    )


@pytest.mark.parametrize("copied", [False, True], ids=["ids of the case", "ids put together"])
def test_people_get_the_mean_of_their_rows(*, copied: bool) -> None:
    case = Case(
        name="people",
        n_classes=2,
        retain=rows("r", ["a", "b"]),
        forget=rows("f", ["b", "a", "b"]),
        test=rows("t", ["d", "c", "c", "d", "e"]),
        auxiliary=rows("x", ["a", "b"]),
    )
    scores = Scores(
        forget=np.array([1.0, 5.0, 2.0]),
        control=np.array([0.0, 1.0, 2.0, 3.0, 9.0]),
        forget_ids=case.forget.ids.copy() if copied else case.forget.ids,
        control_ids=case.test.ids.copy() if copied else case.test.ids,
    )
    for _ in range(2):
        found = of_people(scores, case)
        assert found.forget.tolist() == [1.5, 5.0]
        assert found.control.tolist() == [1.5, 1.5, 9.0]
        assert found.forget_ids.tolist() == ["f b", "f a"]
        assert found.control_ids.tolist() == ["t d", "t c", "t e"]
    some = dataclasses.replace(
        scores, control=scores.control[[1, 4]], control_ids=case.test.ids[[1, 4]]
    )
    assert of_people(some, case).control_ids.tolist() == ["t c", "t e"]
