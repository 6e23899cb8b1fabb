"""Rows that an attack has learnt from are refused when it scores."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from forget_audit import registry, stats
from forget_audit.contracts import Scores
from forget_audit.errors import CaseError, LeakageError
from forget_audit.pools import Pool
from forget_audit.seeds import generator
from forget_audit.types import Case, Ids, Rows


def ids(prefix: str, n: int) -> Ids:
    return np.array([f"{prefix}-{i}" for i in range(n)])


@pytest.mark.parametrize("part", ["forget", "test"])
def test_scoring_a_row_that_was_fitted_on_raises(part: str) -> None:
    with pytest.raises(LeakageError, match=rf"1 scored rows .* \(first: {part}-2\)"):
        Scores(
            forget=np.zeros(4),
            control=np.zeros(5),
            forget_ids=ids("forget", 4),
            control_ids=ids("test", 5),
            fitted_on=frozenset({f"{part}-2", "retain-1"}),
        )


def test_other_rows_may_be_fitted_on() -> None:
    scores = Scores(
        forget=np.zeros(1),
        control=np.zeros(1),
        forget_ids=ids("forget", 1),
        control_ids=ids("test", 1),
        fitted_on=frozenset({"auxiliary-0"}),
    )
    assert scores.fitted_on == {"auxiliary-0"}


def test_an_attack_fitted_on_the_rows_it_scores_finds_what_is_not_there() -> None:
    """Random features of random rows: whoever fits on them sees members, the guard refuses."""
    rng = generator(31)
    n, columns = 60, 20
    noise = rng.normal(size=(2 * n, columns))
    member = np.repeat([1, 0], n)
    scored = {"forget": ids("forget", n), "control": ids("test", n)}
    everyone = np.concatenate([scored["forget"], scored["control"]])

    leaky = LogisticRegression().fit(noise, member).decision_function(noise)
    assert stats.auc(leaky[:n], leaky[n:]) > 0.65
    with pytest.raises(LeakageError, match="120 scored rows"):
        Scores(
            forget=leaky[:n],
            control=leaky[n:],
            forget_ids=scored["forget"],
            control_ids=scored["control"],
            fitted_on=frozenset(everyone.tolist()),
        )

    others = rng.normal(size=(2 * n, columns))
    honest = LogisticRegression().fit(others, member).decision_function(noise)
    low, high = stats.auc_interval(honest[:n], honest[n:], level=0.999)
    assert low < 0.5 < high


def test_roles_that_share_rows_make_no_case() -> None:
    rng = generator(32)
    x, y = rng.normal(size=(8, 3)).astype(np.float32), rng.integers(0, 2, 8)
    rows = Rows(x=x, y=y, ids=ids("row", 8))
    renamed = Rows(x=x[4:6], y=y[4:6], ids=ids("new", 2))
    retain, forget, test = (rows.take(np.array([i, i + 1])) for i in (0, 2, 4))
    for auxiliary, message in (
        (rows.take(np.array([5, 6])), "test and auxiliary share 1 rows"),
        (renamed, "test and auxiliary hold 2 rows of equal content"),
    ):
        with pytest.raises(CaseError, match=message):
            Case(
                name="leaky",
                n_classes=2,
                retain=retain,
                forget=forget,
                test=test,
                auxiliary=auxiliary,
            )


@pytest.mark.parametrize(
    "name", [name for name, kind in registry.attacks().items() if "instance" in kind.info.scopes]
)
def test_attacks_say_what_they_learnt_from(name: str, digits_case: Case, digits_pool: Pool) -> None:
    """Were the learnt rows among the control rows, every membership attack would be refused."""
    attack = registry.attacks()[name]()
    fit = attack.fit(digits_pool, digits_case, generator(33))
    under_test = {*digits_case.forget.ids.tolist(), *digits_case.test.ids.tolist()}
    assert not fit.fitted_on & under_test
    both = Rows.concat(digits_case.retain, digits_case.auxiliary)
    learnt_by = {
        **dict.fromkeys(("label_only", "loss_threshold"), digits_case.retain),
        **dict.fromkeys(("entropy_logistic", "metric_thresholds"), both),
        **dict.fromkeys(
            (
                "attribute_inference",
                "rmia",
                "shadow",
                "shadow_forgotten",
                "shadow_xgboost",
                "update_leakage",
            ),
            digits_case.auxiliary,
        ),
    }
    expected = learnt_by.get(name)
    assert fit.fitted_on == (frozenset() if expected is None else frozenset(expected.ids.tolist()))
    if fit.fitted_on:
        leaked = np.array(sorted(fit.fitted_on))
        with pytest.raises(LeakageError):
            Scores(control=np.zeros(len(leaked)), control_ids=leaked, fitted_on=fit.fitted_on)
