"""One model that was never unlearned among many that were retrained: their mean hides it."""

from functools import cache
from pathlib import Path
from typing import Any

import pytest
from torch import nn

from forget_audit.audits.commission import from_plan
from forget_audit.audits.declarations import limits
from forget_audit.plans.plan import check_plan
from forget_audit.seeds import seeded_torch
from forget_audit.verdict.gates import COPIES
from tests.bad_input.world import FORGOTTEN, TRAINED, audit, digits, fit, original


@cache
def retrained(seed: int) -> nn.Module:
    x, y = digits()
    with seeded_torch(seed):
        return fit(x[FORGOTTEN:TRAINED], y[FORGOTTEN:TRAINED], seed)


@pytest.mark.parametrize("others", [3, 38])
def test_an_original_among_true_retrains_fails(others: int) -> None:
    """Among 38 it passed, and the gate of a deployment would have let it out."""
    done = audit([*(retrained(k) for k in range(others)), original()])
    assert done.verdict.outcome == "FAIL"
    assert COPIES in done.verdict.reasons
    found = next(gate for gate in done.weighed.gates if gate.code == COPIES)
    assert f"audited model {others + 1} of {others + 1} by itself differs" in found.detail


def test_true_retrains_pass_together() -> None:
    done = audit([retrained(k) for k in range(12)])
    assert done.verdict.outcome == "PASS"
    assert COPIES not in {gate.code for gate in done.weighed.gates}


def test_the_limits_say_that_the_recipe_was_code() -> None:
    assert "OWN_RECIPE" in {item["code"] for item in audit().evidence["limits"]}


@pytest.mark.parametrize(
    "tables",
    [
        {"method": {"name": "retrain"}},
        {"method": {"name": "sisa"}},
        {"method": {"name": "retrain"}, "model": {"architecture": "xgboost"}},
    ],
    ids=["settings", "of a method", "of a library"],
)
def test_a_recipe_of_settings_is_not_called_code(tables: dict[str, Any]) -> None:
    """Ours, that of a method of ours, and that of a library were, and nothing was handed in."""
    plan = {"request": {"reference": "R-1", "random": 40}, "data": {"source": "digits"}, **tables}
    ordered = from_plan(check_plan(plan, Path()))
    assert "OWN_RECIPE" not in {item["code"] for item in limits(ordered)}
