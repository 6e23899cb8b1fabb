"""The search for settings: what it may look at, what it minimises, what it refuses."""

import dataclasses
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from forget_audit.audits import tuning
from forget_audit.audits.commission import Commission, from_plan
from forget_audit.errors import CaseError, MissingDependency, ModelError, NotApplicable
from forget_audit.plans.plan import check_plan
from forget_audit.registry import get_method
from forget_audit.types import Rows


def commission_of(**request: Any) -> Commission:
    tables = {
        "request": {"reference": "REQ-1", **(request or {"random": 60})},
        "data": {"source": "digits", "train": 300, "test": 150, "auxiliary": 400},
        "training": {"epochs": 20, "lr": 0.01},
        "model": {"options": {"hidden": [16]}},
        "method": {"name": "finetune"},
        "references": {"retrained": 5, "originals": 2, "shadows": 0},
    }
    return from_plan(check_plan(tables, Path()))


class Forbidden(Rows):
    """Rows whose features and labels must not be read."""

    def __getattribute__(self, name: str) -> Any:
        if name in ("x", "y") and object.__getattribute__(self, "__dict__").get("closed"):
            raise AssertionError(f"test rows were read: {name}")
        return object.__getattribute__(self, name)


def test_no_test_row_and_no_yardstick_seed_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    commission = commission_of()
    test = commission.case.test
    closed = Forbidden(x=test.x, y=test.y, ids=test.ids)
    guarded = dataclasses.replace(commission, case=commission.case.replace(test=closed))
    object.__setattr__(closed, "closed", True)
    seeds: list[int] = []
    trainer = type(guarded.case.trainer)
    each = trainer.each  # type: ignore[union-attr]

    def noting(self: Any, x: Any, y: Any, subsets: Any, drawn: Any, of: Any = None) -> Any:
        seeds.extend(drawn)
        return each(self, x, y, subsets, drawn, of)

    monkeypatch.setattr(trainer, "each", noting)
    tried = tuning.tune(guarded, "finetune", trials=2, over=["lr"])
    assert len(tried) == 2
    searching = set(seeds)
    seeds.clear()
    workshop = commission.workshop()
    case = commission.case
    for group, rows in (("retrained", case.retain), ("originals", case.training)):
        workshop.train(group, rows, [np.arange(len(rows))] * 20)
    assert len(searching) == tuning.RETRAINED + tuning.ORIGINALS
    assert not searching & set(seeds)


def test_the_best_comes_first_and_the_defaults_were_tried() -> None:
    found = tuning.tune(commission_of(), "finetune", trials=4, over=["lr", "epochs"])
    costs = [tried.cost for tried in found]
    assert costs == sorted(costs)
    assert {"lr": 6e-3, "epochs": 10} in [dict(tried.options) for tried in found]
    for tried in found:
        assert tried.cost == pytest.approx(
            abs(tried.influence) + tuning.LOSS_WEIGHT * tried.lost, abs=1e-12
        )
    again = tuning.tune(commission_of(), "finetune", trials=4, over=["lr", "epochs"])
    assert [t.options for t in again] == [t.options for t in found]


def test_too_low_a_rate_leaves_influence() -> None:
    commission = commission_of()
    own = tuning.rehearsal(commission)
    assert set(own.case.test.ids.tolist()) == set(commission.case.auxiliary.ids.tolist())
    found = tuning.tune(commission, "neggrad", trials=3, over=["lr"])
    still = min(found, key=lambda tried: tried.options["lr"])
    assert abs(still.influence) > 0.2
    assert all(math.isfinite(tried.cost) for tried in found)


def test_class_requests_use_auxiliary_rows_of_the_class() -> None:
    own = tuning.rehearsal(commission_of(scope="class", classes=[3]))
    assert set(own.case.test.y.tolist()) == {3}
    assert own.case.others is not None
    assert 3 not in own.case.others.y


def test_what_cannot_be_tuned_is_said() -> None:
    commission = commission_of()
    with pytest.raises(ModelError, match=r"finetune has no field 'speed' to search; it has epochs"):
        tuning.tune(commission, "finetune", trials=1, over=["speed"])
    case = commission.case
    few = case.replace(auxiliary=case.auxiliary.take(np.arange(9)))
    with pytest.raises(CaseError, match="needs 30 auxiliary rows like the control rows, found 9"):
        tuning.rehearsal(dataclasses.replace(commission, case=few))
    grouped = case.replace(scope="subclass")
    with pytest.raises(NotApplicable, match="sub-classes"):
        tuning.rehearsal(dataclasses.replace(commission, case=grouped))


def test_fields_are_chosen_by_kind() -> None:
    chosen = tuning.fields_of(get_method("finetune"), ())
    assert chosen == ("epochs", "lr", "momentum")
    assert tuning.fields_of(get_method("finetune"), ["norms"]) == ("norms",)


def test_no_trial_is_spent_on_values_that_are_refused() -> None:
    found = tuning.tune(commission_of(), "finetune", trials=6, over=["momentum"])
    values = [tried.options["momentum"] for tried in found]
    assert not any(tried.refused for tried in found)
    assert max(values) <= 0.95
    assert min(values) >= 0.09


def test_a_missing_optuna_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(MissingDependency, match=r"forget-audit\[tune\]"):
        tuning.tune(commission_of(), "finetune", trials=1)
