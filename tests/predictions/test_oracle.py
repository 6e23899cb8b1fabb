"""An audit of recorded answers says what the audit of the models themselves says."""

import dataclasses
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from forget_audit import registry
from forget_audit.audits import predicted
from forget_audit.audits.audit import carry_out
from forget_audit.audits.battery import run_battery
from forget_audit.audits.commission import Commission
from forget_audit.audits.predicted import Recorded
from forget_audit.errors import ModelError, NotApplicable
from forget_audit.findings import AttackResult
from forget_audit.model_files import safetensors_bytes
from forget_audit.predictions import from_arrays
from forget_audit.targets import Target
from forget_audit.training.references import prepare_references
from forget_audit.types import Rows
from forget_audit.verdict import scoretable
from forget_audit.verdict.policy import Weighed
from tests.predictions.recorded import (
    Arrays,
    groups_of,
    lines,
    logits,
    numbers,
    ordered_by,
    probabilities,
    tiny,
    trained,
    weighed,
    write_csv,
    write_npz,
    write_parquet,
)

Write = Callable[[Path], Path]
QUICK = ("entropy_logistic", "jensen_shannon", "lira", "loss_threshold", "residual_influence")


@cache
def ordinary() -> Weighed:
    return weighed(trained())


def moved(found: Weighed) -> float:
    """Return how far the number that moved furthest is from the audit of the models."""
    expected = numbers(ordinary())
    values = numbers(found)
    assert set(values) == set(expected)
    return max(abs(values[name] - expected[name]) for name in expected)


def same_answer(found: Weighed) -> None:
    assert found.verdict.outcome == ordinary().verdict.outcome == "PASS"
    assert found.verdict.reasons == ordinary().verdict.reasons
    assert found.verdict.p_value == ordinary().verdict.p_value
    assert [s.outcome for s in found.statistics] == [s.outcome for s in ordinary().statistics]
    assert [gate.outcome for gate in found.gates] == [gate.outcome for gate in ordinary().gates]


EXACT: dict[str, Write] = {
    "npz of logits": lambda folder: write_npz(folder / "p.npz", logits_of_run()),
    "npz of probabilities": lambda folder: write_npz(folder / "p.npz", probabilities()),
    "csv of 17 digits": lambda folder: write_csv(folder / "p.csv", lines(probabilities())),
    "packed csv of logits": lambda f: write_csv(f / "p.csv.gz", lines(logits_of_run())),
    "parquet": lambda folder: write_parquet(folder / "p.parquet", lines(probabilities())),
}


def logits_of_run() -> Arrays:
    return dict(logits())


@pytest.mark.parametrize("name", EXACT)
def test_every_statistic_is_that_of_the_models(name: str, tmp_path: Path) -> None:
    found = weighed(ordered_by(EXACT[name](tmp_path)))
    same_answer(found)
    assert moved(found) < 1e-9


def test_recorded_logits_give_the_very_same_numbers(tmp_path: Path) -> None:
    found = weighed(ordered_by(write_npz(tmp_path / "p.npz", logits())))
    assert moved(found) == 0.0


def test_answers_of_an_original_fail(tmp_path: Path) -> None:
    arrays = probabilities()
    for part in "ftra":
        arrays[f"prob_A_{part}"] = 0.999 * arrays[f"prob_O_{part}"][:1] + 0.0001
    found = weighed(ordered_by(write_csv(tmp_path / "p.csv.gz", lines(arrays))))
    assert (found.verdict.outcome, found.verdict.reasons) == ("FAIL", ("RESIDUAL",))


DIGITS = {6: 1e-4, 9: 1e-7}


@pytest.mark.parametrize("digits", DIGITS)
def test_fewer_digits_move_the_statistics_a_little(digits: int, tmp_path: Path) -> None:
    table = lines(probabilities(), digits)
    found = weighed(ordered_by(write_csv(tmp_path / "p.csv", table)))
    same_answer(found)
    assert 0 < moved(found) < DIGITS[digits]


def test_float32_is_as_good_as_seven_digits(tmp_path: Path) -> None:
    path = write_npz(tmp_path / "p.npz", probabilities(np.float32))
    found = weighed(ordered_by(path))
    same_answer(found)
    assert moved(found) < 1e-6


def test_cut_decimals_move_them_far(tmp_path: Path) -> None:
    table = [
        {k: f"{float(v):.6f}" if k[0] == "p" and k[1:].isdigit() else v for k, v in line.items()}
        for line in lines(probabilities())
    ]
    ordered = ordered_by(write_csv(tmp_path / "p.csv", table))
    assert moved(weighed(ordered)) > 0.01
    notes = (ordered.about.answers or {})["notes"]
    assert "are exactly 0 and count as 1e-45" in notes


def results(audited: Target, ordered: Commission) -> dict[str, AttackResult]:
    assert ordered.references is not None
    pool = ordered.references.pool
    few = dataclasses.replace(pool, retrained=pool.retrained[:6])
    found = run_battery(audited, few, ordered.case, ordered.seed, QUICK, access=ordered.access)
    return {result.name: result for result in found if result.name in QUICK}


def test_attacks_find_the_same(tmp_path: Path) -> None:
    ordered = ordered_by(write_npz(tmp_path / "p.npz", logits()))
    theirs = results(groups_of(ordered)["audited"][0], ordered)
    ours = results(groups_of(trained())["audited"][0], trained())
    assert theirs.keys() == ours.keys() == set(QUICK)
    for name, result in ours.items():
        assert result.outcome == theirs[name].outcome == "informative"
        for one, other in zip(result.metrics, theirs[name].metrics, strict=True):
            assert one == other


def small(tmp_path: Path, **arrays: Any) -> Path:
    return write_npz(tmp_path / "p.npz", {**tiny(retrained=5, f=4, t=4, r=4, a=4), **arrays})


def test_every_attack_applies_or_says_why_not(tmp_path: Path) -> None:
    ordered = ordered_by(small(tmp_path))
    assert ordered.references is not None
    audited = groups_of(ordered)["audited"][0]
    found = run_battery(audited, ordered.references.pool, ordered.case, 0, access=ordered.access)
    assert {result.name for result in found} == set(registry.attacks())
    assert not [(r.name, r.reason) for r in found if r.outcome == "error"]
    reasons = {result.name: result.reason for result in found if result.outcome != "informative"}
    assert all(reasons.values())
    assert {"lira", "jensen_shannon", "residual_influence", "loss_threshold"}.isdisjoint(reasons)
    assert "only answers to given rows were handed in" in reasons["label_only"]
    assert {"shadow", "weight_distance", "zrf", "attribute_inference"} < set(reasons)


# How models are told from their answers


def test_answers_are_looked_up_by_number() -> None:
    answers = np.random.default_rng(0).normal(size=(5, 3))
    target = Target(Recorded(answers))
    rows = Rows(
        x=np.array([[3], [0]], dtype=np.float32), y=np.array([0, 1]), ids=np.array(["a", "b"])
    )
    assert np.array_equal(target.logits(rows), answers[[3, 0]])
    assert target.access == "score"
    assert not list(Recorded(answers).parameters())


@pytest.mark.parametrize("x", [[[0.5]], [[-1.0]], [[5.0]], [[0.0, 1.0]], [[float("nan")]]])
def test_other_rows_have_no_answer(x: list[list[float]]) -> None:
    model = Recorded(np.zeros((5, 3)))
    with pytest.raises(NotApplicable, match="only answers to given rows"):
        model(torch.tensor(x))


def test_nothing_can_be_trained(tmp_path: Path) -> None:
    ordered = ordered_by(small(tmp_path))
    with pytest.raises(ModelError, match="needs the training recipe"):
        prepare_references(ordered.workshop(), ordered.counts)


def test_roles_are_numbered_through(tmp_path: Path) -> None:
    case = ordered_by(small(tmp_path)).case
    parts = (case.forget, case.test, case.retain, case.auxiliary)
    assert np.concatenate([part.x[:, 0] for part in parts]).tolist() == list(range(16))
    assert case.others is None
    assert case.forget.units is None


def test_people_are_the_units_of_single_rows_only(tmp_path: Path) -> None:
    arrays = tiny(f=30, t=30, r=30)
    for part in "ftr":
        arrays[f"unit_{part}"] = np.repeat([f"{part}{i}" for i in range(10)], 3)
    found = from_arrays(arrays, name="p.npz", digest="")
    assert predicted.case_of(found).forget.numbered()[0] == 10
    assert predicted.case_of(found, scope="class", classes=(1,)).forget.units is None


def test_people_count_as_the_units_of_the_statistics(tmp_path: Path) -> None:
    arrays = dict(logits())
    for part in "ftra":
        rows = len(arrays[f"y_{part}"])
        arrays[f"unit_{part}"] = np.array([f"{part}{i // 3}" for i in range(rows)])
    found = ordered_by(write_npz(tmp_path / "p.npz", arrays))
    cases = {"recorded": found.case, "trained": trained().case}
    units = {part: rows.units for part, rows in found.case.roles().items()}
    grouped = trained().case.replace(
        **{part: rows.replace(units=units[part]) for part, rows in cases["trained"].roles().items()}
    )
    theirs = weighed(dataclasses.replace(trained(), case=grouped))
    ours = weighed(found)
    assert numbers(ours) == numbers(theirs)
    assert numbers(ours) != numbers(ordinary())


# Requests for a class


def of_classes(good: bool) -> Arrays:
    """Return logits of models that know class 2 only if they were trained with it."""
    rng = np.random.default_rng(7)
    sizes = {"f": 60, "t": 60, "r": 80, "o": 60}
    counts = {"R": 21, "O": 4, "A": 1, "I": 2}
    arrays: Arrays = {}
    for part, rows in sizes.items():
        inside = part in "ft"
        y = np.full(rows, 2) if inside else rng.integers(0, 2, rows)
        arrays[f"y_{part}"] = y
        arrays[f"id_{part}"] = np.array([f"{part}-{i}" for i in range(rows)])
        for group, models in counts.items():
            knows = group == "O" or (group == "A" and not good)
            noise = rng.normal(size=(models, rows, 3))
            noise[..., 2] -= 0 if knows else 6
            noise[:, np.arange(rows), y] += 3 if knows or not inside else 0
            arrays[f"logit_{group}_{part}"] = noise
    return arrays


@pytest.mark.parametrize(("good", "outcome"), [(True, "INCONCLUSIVE"), (False, "FAIL")])
def test_a_class_never_passes_on_answers_alone(good: bool, outcome: str, tmp_path: Path) -> None:
    request = {"reference": "REQ-2", "scope": "class", "classes": [2]}
    path = write_npz(tmp_path / "p.npz", of_classes(good))
    found = weighed(ordered_by(path, request=request))
    assert found.verdict.outcome == outcome
    gates = {gate.code: gate.outcome for gate in found.gates}
    assert gates["ACCESS"] == "fail"
    if good:
        assert "ACCESS" in found.verdict.reasons


# The record


def test_the_record_names_the_file_and_can_be_computed_again(tmp_path: Path) -> None:
    path = write_npz(tmp_path / "p.npz", probabilities())
    ordered = dataclasses.replace(ordered_by(path), attacks=())
    audit = carry_out(ordered)
    evidence = audit.evidence
    assert not scoretable.recompute(evidence, audit.scores)
    (subject,) = evidence["model"]["audited"]
    found = from_arrays(probabilities(), name="", digest="")
    assert subject["name"] == "p.npz"
    assert subject["made_by"] == "handed in"
    assert subject["sha256"] == dict(ordered.about.files["predictions"])["p.npz"]
    assert evidence["data"]["source"] == "predictions:p.npz"
    assert evidence["counts"]["retrained"] == found.counts["retrained"]
    assert evidence["counts"]["shadows"] == 0
    assert evidence["training"]["trained_by"] == "whoever handed in the predictions"
    assert evidence["training"]["sha256"] == subject["sha256"]
    assert "handed in" in evidence["battery"]["access"]
    assert "HANDED_ANSWERS" in {limit["code"] for limit in evidence["limits"]}
    assert not [kept for kept in evidence["retention"] if "shadow models" in kept["what"]]
    assert not {"model", "training", "method", "references"} & set(evidence["plan"])
    assert str(tmp_path) not in str(evidence)
    assert audit.files() == {}
    assert safetensors_bytes(audit.models[0])


def test_several_copies_are_one_file_and_their_answers(tmp_path: Path) -> None:
    arrays = probabilities()
    for part in "ftra":
        retrained = arrays[f"prob_R_{part}"]
        arrays[f"prob_A_{part}"] = retrained[:4]
        arrays[f"prob_R_{part}"] = retrained[4:]
    path = write_npz(tmp_path / "p.npz", arrays)
    (tmp_path / "model.rds").write_bytes(b"of R")
    given = {"file": "p.npz", "model": "model.rds"}
    ordered = ordered_by(path, predictions=given)
    names = [name for name, _ in ordered.about.files["unlearned"]]
    assert names == ["model.rds", "p.npz", "p.npz", "p.npz"]
    evidence = carry_out(dataclasses.replace(ordered, attacks=())).evidence
    assert evidence["battery"]["claim"] == "algorithm"
    assert evidence["counts"]["copies"] == 4
