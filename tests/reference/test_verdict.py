"""The verdict against an independent slow implementation, and its intervals against statsmodels."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy import stats as distributions
from statsmodels.stats.weightstats import ttost_ind

from forget_audit.outputs import Derived, Outputs
from forget_audit.verdict import controls, policy, profiles, weighing, yardstick
from forget_audit.verdict.weighing import Models

location = Path(__file__).with_name("slow_verdict.py")
loader = importlib.util.spec_from_file_location("slow_verdict", location)
assert loader is not None
assert loader.loader is not None
slow = importlib.util.module_from_spec(loader)
sys.modules["slow_verdict"] = slow
loader.loader.exec_module(slow)

N_F, N_T, CLASSES = 30, 110, 4
PROFILE = profiles.PROFILES["standard"]


def some_outputs(rng: np.random.Generator, models: int, trained_on: float = 0.0) -> Outputs:
    """Models that agree on difficulty, differ by seed, and lean to the labels they trained on."""
    world = np.random.default_rng(5)
    y_f, y_t = world.integers(0, CLASSES, N_F), world.integers(0, CLASSES, N_T)
    base_f = world.normal(0, 2, (N_F, CLASSES))
    base_t = world.normal(0, 2, (N_T, CLASSES))
    lean = trained_on * world.uniform(1, 6, N_F)[:, None] * np.eye(CLASSES)[y_f]
    return Outputs(
        logits_f=base_f + lean + rng.normal(0, 0.7, (models, N_F, CLASSES)),
        logits_t=base_t + rng.normal(0, 0.7, (models, N_T, CLASSES)),
        y_f=y_f,
        y_t=y_t,
        retain_accuracy=rng.uniform(0.9, 0.92, models),
        test_accuracy=rng.uniform(0.8, 0.82, models),
    )


@pytest.fixture(scope="module")
def models() -> Models:
    rng = np.random.default_rng(11)
    return Models(
        retrained=some_outputs(rng, 19),
        originals=some_outputs(rng, 3, trained_on=1.0),
        audited=some_outputs(rng, 1, trained_on=0.1),
        identity=some_outputs(rng, 2),
    )


def as_lists(outputs: Outputs) -> list[list[list[float]]]:
    joined: list[list[list[float]]] = np.concatenate(
        [outputs.logits_f, outputs.logits_t], axis=1
    ).tolist()
    return joined


def test_every_statistic_of_every_pool_member_agrees_to_1e9(models: Models) -> None:
    derived = models.derived
    pool = np.concatenate([models.positions("retrained"), models.positions("audited")])
    originals = derived.take(models.positions("originals"))
    fast = yardstick.leave_one_out(derived, pool, originals, "instance")
    logits = as_lists(models.retrained) + as_lists(models.audited)
    labels = np.concatenate([models.retrained.y_f, models.retrained.y_t]).tolist()
    table = []
    for model, measured in enumerate(fast):
        expected, error = slow.measure(logits, labels, N_F, model, as_lists(models.originals))
        assert set(expected) == set(yardstick.INSTANCE_FAMILY)
        for name, value in expected.items():
            assert measured.values[name] == pytest.approx(value, abs=1e-9, rel=1e-9), name
        assert measured.row_error == pytest.approx(error, abs=1e-9)
        table.append([expected[name] for name in yardstick.INSTANCE_FAMILY])
    weighed = policy.weigh(models, profile=PROFILE, scope="instance")
    assert weighed.verdict.p_value == pytest.approx(slow.max_t_p_value(table), abs=1e-12)
    main = weighed.privacy.of("rho_p")
    column = [row[0] for row in table]
    spread = np.std(column[:-1], ddof=1) * np.sqrt(1 + 1 / 19)
    error = max(spread, fast[-1].row_error)
    difference = column[-1] - np.mean(column[:-1])
    half = distributions.t.ppf(0.95, 18) * error
    statistic = weighed.statistics[0]
    assert statistic.interval == pytest.approx((difference - half, difference + half), abs=1e-9)
    assert main.difference == pytest.approx(difference, abs=1e-9)
    assert weighed.verdict.attained_bound == pytest.approx(abs(difference) + half, abs=1e-9)


def test_number_of_rows_that_carry_the_evidence(models: Models) -> None:
    known = controls.control(models, "instance")
    labels = np.concatenate([models.retrained.y_f, models.retrained.y_t]).tolist()

    def p(outputs: Outputs) -> list[list[float]]:
        return [
            [1 / (1 + np.exp(-slow.phi(row, label))) for row, label in zip(m, labels, strict=True)]
            for m in as_lists(outputs)
        ]

    means, spreads = slow.null(p(models.retrained))
    trained = np.mean(p(models.originals), axis=0)
    d = [(trained[i] - means[i]) / spreads[i] for i in range(N_F)]
    _, _, n_eff = slow.rho(d, d, 3.0)
    assert known.n_eff == pytest.approx(n_eff, abs=1e-9)


@pytest.mark.parametrize("m", [2, 5, 12])
def test_interval_of_several_copies_is_that_of_two_one_sided_tests(m: int) -> None:
    rng = np.random.default_rng(m)
    audited, reference = rng.normal(0.03, 0.05, m), rng.normal(0, 0.05, 39)
    error, df = weighing.standard_error(audited, reference)
    comparison = weighing.Comparison(
        name="rho_p", audited=audited, reference=reference, standard_error=error, df=df
    )
    margin = 0.1
    p_value, _, _ = ttost_ind(audited, reference, -margin, margin, usevar="pooled")
    inside = abs(comparison.difference) + comparison.half_width(float(p_value)) == pytest.approx(
        margin, abs=1e-9
    )
    assert inside


def test_unequal_spreads_use_welch() -> None:
    rng = np.random.default_rng(0)
    audited, reference = rng.normal(0, 1, 6), rng.normal(0, 0.05, 39)
    error, df = weighing.standard_error(audited, reference)
    comparison = weighing.Comparison(
        name="rho_p", audited=audited, reference=reference, standard_error=error, df=df
    )
    expected = distributions.ttest_ind(audited, reference, equal_var=False)
    assert comparison.p_value() == pytest.approx(expected.pvalue, rel=1e-9)
    assert df == pytest.approx(expected.df, rel=1e-9)


def test_order_of_reference_models_and_rows_does_not_matter(models: Models) -> None:
    rng = np.random.default_rng(3)
    shuffled = Models(
        retrained=models.retrained.take(rng.permutation(19)),
        originals=models.originals.take(rng.permutation(3)),
        audited=models.audited,
        identity=models.identity,
    )
    first = policy.weigh(models, profile=PROFILE, scope="instance")
    second = policy.weigh(shuffled, profile=PROFILE, scope="instance")
    assert first.verdict.outcome == second.verdict.outcome
    for a, b in zip(first.statistics, second.statistics, strict=True):
        assert a.difference == pytest.approx(b.difference, abs=1e-9)
        assert a.outcome == b.outcome


def test_references_alone_decide_power_and_signal(models: Models) -> None:
    rng = np.random.default_rng(8)
    other = Models(
        retrained=models.retrained,
        originals=models.originals,
        audited=some_outputs(rng, 1, trained_on=1.0),
        identity=models.identity,
    )
    first, second = controls.control(models, "instance"), controls.control(other, "instance")
    assert first.n_eff == second.n_eff
    assert first.main.standard_error == second.main.standard_error
    assert np.array_equal(first.main.reference, second.main.reference)


def test_derived_scores_of_log_probabilities_equal_those_of_logits(models: Models) -> None:
    outputs = models.audited
    shift = np.log(np.exp(outputs.logits_f).sum(axis=-1, keepdims=True))
    again = Outputs(
        logits_f=outputs.logits_f - shift,
        logits_t=outputs.logits_t,
        y_f=outputs.y_f,
        y_t=outputs.y_t,
        retain_accuracy=outputs.retain_accuracy,
        test_accuracy=outputs.test_accuracy,
    )
    assert np.allclose(Derived.of(outputs).phi, Derived.of(again).phi, atol=1e-10)
