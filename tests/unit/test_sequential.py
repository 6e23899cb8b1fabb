"""Audits that stop as soon as the verdict is clear, from the plan to the signed report."""

import dataclasses
import json
from pathlib import Path

import pytest

from forget_audit.audits import runs
from forget_audit.audits.audit import carry_out
from forget_audit.audits.commission import Commission, from_plan
from forget_audit.errors import PlanError
from forget_audit.plans.plan import check_plan
from forget_audit.progress import Silent
from forget_audit.reports import html
from forget_audit.training.references import more_retrained, prepare_references
from forget_audit.types import Json
from forget_audit.verdict import scoretable
from tests.fixtures.commands import Run

TABLES: dict[str, Json] = {
    "request": {"reference": "LOOKS", "random": 100},
    "data": {"source": "digits", "label_noise": 0.15},
    "model": {"architecture": "mlp"},
    "method": {"name": "retrain"},
    "references": {"originals": 4, "shadows": 0, "sequential": True},
    "battery": {"attacks": []},
    "report": {"formats": ["html"]},
}


def commission(**replaced: Json) -> Commission:
    return from_plan(check_plan({**TABLES, **replaced}, Path()))


def test_a_plan_that_asks_for_looks_trains_no_more_than_79() -> None:
    ordered = commission()
    assert ordered.counts.retrained == 79
    assert ordered.first_counts().retrained == 19
    assert ordered.looks().sizes == (19, 39, 79)


def test_a_number_of_models_that_cannot_be_shared_is_refused() -> None:
    references = {**TABLES["references"], "retrained": 50}
    with pytest.raises(PlanError, match=r"references\.retrained: looks need 4 n - 1 models"):
        commission(references=references)


def test_further_models_are_those_that_would_have_been_trained_at_once() -> None:
    ordered = commission(training={"epochs": 2})
    shop, counts = ordered.workshop(), dataclasses.replace(ordered.counts, retrained=5)
    whole = prepare_references(shop, counts).pool.retrained
    first = prepare_references(shop, dataclasses.replace(counts, retrained=3))
    grown = more_retrained(shop, first, 5).pool.retrained
    assert [t.digest() for t in grown] == [t.digest() for t in whole]


@pytest.mark.parametrize(
    ("method", "outcome", "needed"), [("retrain", "PASS", 19), ("finetune", "FAIL", 39)]
)
def test_an_audit_ends_when_it_is_clear_and_verifies(
    run: Run,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    method: str,
    outcome: str,
    needed: int,
) -> None:
    monkeypatch.setenv("FORGET_AUDIT_HOME", str(tmp_path / "home"))
    plan = check_plan({**TABLES, "method": {"name": method}}, tmp_path)
    done = runs.certify(plan, tmp_path / "audit", Silent())
    evidence = json.loads((tmp_path / "audit/evidence.json").read_bytes())
    assert evidence["verdict"]["outcome"] == outcome
    assert evidence["counts"]["retrained"] == needed
    stopped = {19: 1, 39: 2}[needed]
    assert evidence["battery"]["sequential"] == {"looks": [19, 39, 79], "stopped_at": stopped}
    assert done.audit.weighed.profile.error() == 0.05
    _, said, _ = run("verify", tmp_path / "audit")
    assert "statistics and verdict follow from the scores" in said
    assert "mismatch" not in said
    page = html.page(html.build(evidence, None), medium="html").decode()
    assert f"until the verdict was clear: after {needed}." in page


def test_an_audit_that_stopped_where_it_should_not_have_does_not_verify() -> None:
    audit = carry_out(commission())
    evidence = json.loads(json.dumps(audit.evidence))
    assert not scoretable.recompute(evidence, audit.scores)
    arrays = scoretable.from_bytes(audit.scores)
    fewer = {name: arrays[name] for name in arrays}
    fewer |= {name: array[:-1] for name, array in fewer.items() if name.endswith("_R")}
    assert scoretable.recompute(evidence, scoretable.to_bytes(fewer))
    evidence["battery"]["sequential"]["stopped_at"] = 2
    assert scoretable.recompute(evidence, audit.scores)
