"""Requests of people with several rows: the person is the unit, from the deal to the report."""

import dataclasses
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from forget_audit import stats
from forget_audit.architectures import Architecture
from forget_audit.attack_metrics import of_people
from forget_audit.attacks.loss_cross_validation import LossCrossValidation
from forget_audit.audits.audit import Audit, carry_out
from forget_audit.audits.commission import Commission
from forget_audit.contracts import Scores
from forget_audit.data import Request, prepare
from forget_audit.datasets import Dataset
from forget_audit.errors import CaseError, NotApplicable
from forget_audit.methods.finetune import Finetune
from forget_audit.outputs import unit_means
from forget_audit.pools import Pool
from forget_audit.seeds import generator
from forget_audit.targets import Target
from forget_audit.training.loop import Recipe
from forget_audit.training.references import Counts, shadow_members
from forget_audit.training.trainers import RecipeTrainer
from forget_audit.types import Case, Floats, Ids, Rows
from forget_audit.verdict.scoretable import from_bytes, models_of, recompute

HEAVY = "person-heavy"


def people_of(n: int, sizes: list[int]) -> Ids:
    """Name people with so many rows each, HEAVY first; the rest have one row each."""
    names = [HEAVY, *(f"person-{k}" for k in range(1, len(sizes)))]
    several = np.repeat(names, sizes)
    alone = [f"single-{k}" for k in range(n - len(several))]
    return np.concatenate([several, np.array(alone)])


def dataset(labels: int | None = None) -> Dataset:
    rng = generator(3, "people")
    x = rng.normal(size=(700, 6)).astype(np.float32)
    y = rng.integers(0, 2, 700) if labels is None else rng.integers(0, 2, (700, labels))
    ids = np.array([f"row-{k}" for k in range(700)])
    rows = Rows(x=x, y=y, ids=ids, units=people_of(700, [12, *[2] * 100]))
    names = () if labels is None else tuple("abcdef"[:labels])
    return Dataset(name="people", title="people", rows=rows, sizes=(240, 240, 220), labels=names)


def forty_nine() -> tuple[str, ...]:
    return (HEAVY, *(f"single-{k}" for k in range(48)))


def audited(source: Dataset, request: Request) -> Audit:
    shape = source.rows.x.shape[1:]
    architecture = Architecture(name="mlp", shape=shape, n_classes=source.n_classes)
    trainer = RecipeTrainer(
        architecture=architecture, recipe=Recipe(epochs=40, steps_per_epoch=4, lr=0.01)
    )
    commission = Commission(
        case=prepare(source, request, seed=1, trainer=trainer),
        template=architecture.build,
        counts=Counts(retrained=9, originals=3, shadows=2),
        method=Finetune(epochs=1),
        attacks=("loss_threshold", "lira", "jensen_shannon"),
    )
    return carry_out(commission)


@cache
def audit() -> Audit:
    return audited(dataset(), Request(ids=forty_nine()))


def case_of(request: Request) -> Case:
    return prepare(dataset(), request, seed=1)


def test_a_person_with_twelve_rows_among_sixty_is_one_of_forty_nine() -> None:
    case = case_of(Request(ids=forty_nine()))
    assert (len(case.forget), case.forget.numbered()[0]) == (60, 49)
    assert np.sum(case.forget.groups == HEAVY) == 12


def test_all_rows_of_a_person_play_the_same_role() -> None:
    case = case_of(Request(random=30))
    assert case.forget.numbered()[0] == 30
    roles = [set(rows.groups.tolist()) for rows in case.roles().values()]
    assert sum(map(len, roles)) == len(set.union(*roles))
    with pytest.raises(CaseError, match="share 1 people"):
        case.replace(
            retain=Rows.concat(case.retain, case.forget.take(np.arange(1))),
            forget=case.forget.take(np.arange(1, len(case.forget))).replace(
                units=np.repeat(case.forget.groups[:1], len(case.forget) - 1)
            ),
        )


def test_requests_name_people_and_not_rows() -> None:
    with pytest.raises(CaseError, match="rows have people behind them: name those"):
        case_of(Request(ids=("row-3",)))


def test_requests_for_a_class_are_about_rows() -> None:
    case = case_of(Request(classes=(1,)))
    assert case.forget.units is None


def test_a_case_of_arrays_takes_people() -> None:
    rows = dataset().rows
    train, test = rows.take(np.arange(400)), rows.take(np.arange(400, 700))
    case = Case.from_arrays(train.x, train.y, forget=[HEAVY], test=test, units=train.units)
    assert len(case.forget) == 12
    assert case.test.groups[0] == test.groups[0]


def test_halves_of_shadows_keep_people_together() -> None:
    rows = dataset().rows
    for half in shadow_members(rows, 3, seed=0):
        assert not set(rows.groups[half].tolist()) & set(rows.groups[~half].tolist())
        assert abs(np.unique(rows.groups[half]).size - np.unique(rows.groups[~half]).size) <= 1


def slow_means(values: Floats, units: list[int]) -> Floats:
    people = sorted(set(units))
    return np.stack(
        [np.mean([values[:, i] for i, u in enumerate(units) if u == p], axis=0) for p in people],
        axis=1,
    )


def test_means_of_units_equal_the_slow_way() -> None:
    rng = generator(0, "means")
    for _ in range(20):
        n = int(rng.integers(3, 30))
        _, units = np.unique(rng.integers(0, 6, n), return_inverse=True)
        values = rng.normal(size=(4, n))
        np.testing.assert_allclose(unit_means(values, units), slow_means(values, units.tolist()))


def test_the_verdict_counts_people() -> None:
    found = audit()
    assert found.evidence["counts"]["forget"] == 60
    assert found.evidence["counts"]["people"]["forget"] == 49
    assert "the 49 people (60 rows) of this request" in found.verdict.scope
    underpowered = next(g for g in found.evidence["gates"] if g["code"] == "UNDERPOWERED")
    assert underpowered["detail"].startswith("49 forget people (required 20)")
    assert "206 control people" in underpowered["detail"]
    assert recompute(found.evidence, found.scores) == []


def test_scores_hold_people_as_pseudonyms_only() -> None:
    arrays = from_bytes(audit().scores)
    assert len(np.unique(arrays["unit_f"])) == 49
    text = audit().scores + repr(arrays).encode()
    assert HEAVY.encode() not in text
    models = models_of(arrays)
    assert (models.retrained.n_f, models.derived.p.shape[1]) == (49, 49 + models.retrained.n_t)
    assert models.derived.n_f == 49


def test_splitting_a_person_into_strangers_changes_the_verdicts_numbers() -> None:
    arrays = from_bytes(audit().scores)
    del arrays["unit_f"], arrays["unit_t"]
    assert models_of(arrays).derived.n_f == 60


def test_attacks_score_people() -> None:
    loss = next(r for r in audit().attacks if r.name == "loss_threshold")
    auc = next(m for m in loss.metrics if m.name == "auc")
    case = case_of(Request(ids=forty_nine()))
    scores = Scores(
        forget=np.arange(60.0),
        control=np.arange(len(case.test), dtype=np.float64),
        forget_ids=case.forget.ids,
        control_ids=case.test.ids,
    )
    people = of_people(scores, case)
    assert len(people.forget) == 49
    heavy = np.mean(scores.forget[case.forget.groups == HEAVY])
    assert people.forget[people.forget_ids.tolist().index(HEAVY)] == heavy
    assert auc.construction == "DeLong 95 %"
    assert auc.retrained_mean is not None


def test_cross_validation_deals_people_into_folds() -> None:
    case = case_of(Request(ids=forty_nine()))
    torch_model = Architecture(name="linear", shape=(6,), n_classes=2).build()
    attack = LossCrossValidation(samplings=1, svm_samplings=1)
    scores = attack.fit(Pool(), case, generator(0)).score(Target(torch_model), generator(1))
    assert 0 <= scores.scalars["accuracy"] <= 1
    fewer = case.replace(
        forget=case.forget.take(case.forget.groups == HEAVY),
    )
    with pytest.raises(NotApplicable, match="found 1 and"):
        attack.fit(Pool(), fewer, generator(0))


def test_the_report_says_that_people_are_counted(tmp_path: Path) -> None:
    audit().draft(tmp_path)
    page = (tmp_path / "report.html").read_text("utf-8")
    assert "60 records of 49 people" in page
    assert "a person is the unit of all statistics" in page
    assert "an interval over records would be too narrow" in page
    assert HEAVY not in page


def test_a_row_wise_interval_would_be_too_narrow() -> None:
    """Both groups alike: 95 % intervals of the AUC must hold one half in 95 of 100 draws."""
    rng = generator(0, "coverage")
    sizes = np.array([12, *[1] * 48])
    held = {"rows": 0, "people": 0}
    draws = 600
    for _ in range(draws):
        groups = []
        for _ in range(2):
            person = np.repeat(rng.normal(size=len(sizes)), sizes)
            groups.append(person + 0.3 * rng.normal(size=len(person)))
        unit = np.repeat(np.arange(len(sizes)), sizes)
        by_person = [unit_means(scores, unit) for scores in groups]
        for name, (forget, control) in (("rows", groups), ("people", by_person)):
            low, high = stats.auc_interval(forget, control)
            held[name] += low <= 0.5 <= high
    assert held["people"] / draws >= 0.93
    assert held["rows"] / draws <= 0.85


def test_rows_of_several_labels_are_units_too(tmp_path: Path) -> None:
    source = dataset(labels=3)
    alone = dataclasses.replace(source, rows=source.rows.replace(units=None))
    found = audited(alone, Request(random=60))
    arrays = from_bytes(found.scores)
    assert arrays["y_f"].shape == (60, 3)
    derived = models_of(arrays).derived
    assert derived.p.shape[1] == 60 + len(arrays["y_t"])
    sign = np.where(arrays["y_f"] == 1, 1, -1)
    by_hand = (1 / (1 + np.exp(-sign * arrays["logit_R_f"].astype(np.float64)))).mean(axis=2)
    np.testing.assert_allclose(derived.p[:9, :60], by_hand, atol=1e-9)
    assert recompute(found.evidence, found.scores) == []
    outcomes = {r.name: r.outcome for r in found.attacks}
    assert outcomes["loss_threshold"] == "informative"
    assert outcomes["jensen_shannon"] == "not-applicable"
    assert "error" not in outcomes.values()
    found.draft(tmp_path)
    assert "yes-or-no labels of each record" in (tmp_path / "report.html").read_text("utf-8")


def test_people_with_rows_of_several_labels() -> None:
    found = audited(dataset(labels=2), Request(ids=forty_nine()))
    models = models_of(from_bytes(found.scores))
    assert models.derived.n_f == 49
    assert models.derived.predictions.shape[1] == 2 * (60 + len(models.retrained.y_t))
