"""The battery: a row for every attack, whatever happens to it."""

import dataclasses
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from forget_audit import registry
from forget_audit.architectures import Architecture
from forget_audit.audits.battery import run_battery
from forget_audit.audits.scoring import score_groups
from forget_audit.contracts import AttackInfo, Fitted, Scores
from forget_audit.data import Request, prepare
from forget_audit.pools import Pool
from forget_audit.sources import loading as datasets
from forget_audit.training.loop import Recipe
from forget_audit.training.references import Counts, Workshop, prepare_references
from forget_audit.training.trainers import RecipeTrainer
from forget_audit.types import SMALL_REQUEST, Case
from forget_audit.verdict import exact_tests

SEED = 4


@pytest.fixture(scope="module")
def world() -> tuple[Case, Pool]:
    dataset = datasets.load("digits", folder=Path(), label_noise=0.15)
    architecture = Architecture(name="mlp", shape=(64,), n_classes=10, options={"hidden": [32]})
    trainer = RecipeTrainer(architecture=architecture, recipe=Recipe(epochs=40, lr=1e-2))
    case = prepare(dataset, Request(random=60), seed=SEED, trainer=trainer)
    bench = Workshop(case=case, seed=SEED, template=architecture.build)
    counts = Counts(retrained=5, originals=3, identity=0, shadows=4)
    return case, prepare_references(bench, counts).pool


def test_every_registered_attack_has_a_row(world: tuple[Case, Pool]) -> None:
    case, pool = world
    results = run_battery(pool.originals[0], pool, case, SEED)
    assert [r.name for r in results] == list(registry.attacks())
    rows = {r.name: r for r in results}
    assert rows["attribute_inference"].outcome == "not-applicable"
    assert rows["weight_distance"].outcome == "not-applicable"
    for name, row in rows.items():
        assert row.outcome in ("informative", "not-applicable"), (name, row.reason)
        assert bool(row.reason) == (row.outcome != "informative")
        for metric in row.metrics:
            assert np.isfinite([metric.audited, metric.retrained_mean, metric.retrained_sd]).all()
            if metric.low is not None and metric.high is not None:
                assert metric.low <= metric.audited <= metric.high
                assert metric.construction
    assert set(rows["lira"].series["roc"]) == {
        "audited",
        "retrained_low",
        "retrained_high",
        "original",
    }


def test_attacks_that_were_not_asked_for_say_so(world: tuple[Case, Pool]) -> None:
    case, pool = world
    seen: list[int] = []
    results = run_battery(pool.originals[0], pool, case, SEED, ["loss_threshold"], seen.append)
    outcomes = {r.name: (r.outcome, r.reason) for r in results}
    assert outcomes["loss_threshold"] == ("informative", "")
    assert outcomes["lira"] == ("not-run", "the plan does not ask for it")
    assert sum(seen) == len(results)


def test_adding_an_attack_leaves_the_numbers_of_others(world: tuple[Case, Pool]) -> None:
    case, pool = world
    alone = run_battery(pool.originals[0], pool, case, SEED, ["shadow"])
    among = run_battery(pool.originals[0], pool, case, SEED, ["shadow", "relearn", "lira"])
    pick = {r.name: r.metrics for r in alone}["shadow"]
    assert pick == {r.name: r.metrics for r in among}["shadow"]


class Exploding:
    """An attack that fails half-way."""

    info: ClassVar[AttackInfo] = AttackInfo(
        name="exploding",
        title="Exploding",
        card="A99",
        paper="arXiv:0000.00000",
        access="score",
        kind="membership",
        question="?",
        perfect="?",
        headline="auc",
    )

    def fit(self, pool: Pool, case: Case, rng: np.random.Generator) -> Fitted:
        raise ZeroDivisionError("by zero")


def test_an_error_becomes_a_row_and_the_others_go_on(
    world: tuple[Case, Pool], monkeypatch: pytest.MonkeyPatch
) -> None:
    case, pool = world
    kept = {"loss_threshold": registry.get_attack("loss_threshold"), "exploding": Exploding}
    monkeypatch.setattr(registry, "attacks", lambda: kept)
    results = {r.name: r for r in run_battery(pool.originals[0], pool, case, SEED)}
    assert results["exploding"].outcome == "error"
    assert results["exploding"].reason == "ZeroDivisionError; the log says more"
    assert results["loss_threshold"].outcome == "informative"


def test_retrained_models_are_scored_by_the_others(world: tuple[Case, Pool]) -> None:
    case, pool = world
    sizes: list[int] = []

    class Counting(Exploding):
        info: ClassVar[AttackInfo] = dataclasses.replace(
            Exploding.info, kind="model", leave_one_out=True
        )

        def fit(self, pool: Pool, case: Case, rng: np.random.Generator) -> Fitted:
            sizes.append(len(pool.retrained))
            own = {id(target) for target in pool.retrained}
            return Fitted(score=lambda target, _: Scores(scalars={"own": float(id(target) in own)}))

    groups = score_groups(Counting(), pool.originals[0], pool, case, SEED)
    assert sizes == [5, 4, 4, 4, 4, 4]
    assert [len(groups[name]) for name in ("audited", "retrained", "original")] == [1, 5, 3]


def test_small_requests_get_no_curve(world: tuple[Case, Pool]) -> None:
    case, pool = world
    few = case.replace(forget=case.forget.take(np.arange(SMALL_REQUEST - 1)))
    rows = run_battery(pool.originals[0], pool, few, SEED, ["loss_threshold"])
    row = next(r for r in rows if r.name == "loss_threshold")
    assert "roc" not in row.series
    assert {m.name for m in row.metrics} >= {"auc", "tpr_at_1_percent_fpr", "balanced_accuracy"}


def test_an_original_stands_out_and_ranks_are_never_zero(world: tuple[Case, Pool]) -> None:
    case, pool = world
    rows = run_battery(pool.originals[0], pool, case, SEED, ["lira"])
    metrics = {m.name: m for m in next(r for r in rows if r.name == "lira").metrics}
    assert metrics["auc"].audited > metrics["auc"].retrained_mean + 0.1
    assert metrics["auc"].p_value == pytest.approx(2 / 6)
    assert exact_tests.rank_p_value(0.0, np.zeros(39)) == 1.0
