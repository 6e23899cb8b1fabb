"""Dishonest providers: the published table holds, and a small one measured here agrees with it."""

import dataclasses
from collections.abc import Mapping

import numpy as np
import pytest
from scipy.stats import binom

from benchmarks.providers import __main__ as providers
from benchmarks.providers import page, refusals
from benchmarks.providers.cheats import CHEATS, Cheat
from benchmarks.providers.fakes import Recogniser
from benchmarks.providers.worlds import DIGITS, World, dice, world
from forget_audit.audits.judging import judge
from forget_audit.progress import Silent
from forget_audit.targets import Target
from forget_audit.training.references import References
from forget_audit.verdict import rehearsal, scoretable

SMALL: Mapping[str, Mapping[str, object]] = {
    "data": {"source": "digits", "label_noise": 0.15, "train": 500, "test": 150, "auxiliary": 0},
    "training": {"epochs": 80},
}
TRAINS_MORE = ("distilled", "recipe of", "recipe with")
CHEAP = [c for c in CHEATS if c.scope == "instance" and not any(w in c.name for w in TRAINS_MORE)]
SUSPECT = 1
RESULT = page.read()
FAKES_OF_THE_SELF_TESTS = (
    "logit mask", "bias mask", "output noise 1", "output noise 3", "random labels",
    "temperature suppression", "adaptive suppression", "constant answers", "one sure answer",
    "original that drops units at random", "recognises the very rows",
)  # fmt: skip


@pytest.fixture(scope="module")
def room() -> World:
    return world(0, DIGITS, pool=44, originals=10, changes=SMALL)


def cheat(name: str) -> Cheat:
    return next(c for c in CHEATS if c.name == name and c.scope == "instance")


# What is published


def test_the_table_of_the_docs_is_that_of_the_result() -> None:
    assert page.published() == page.table(RESULT)


def test_every_kind_of_provider_is_in_the_result_with_twenty_seeds() -> None:
    rows = {(row["group"], row["name"], row["access"], row["expected"]) for row in RESULT["rows"]}
    wanted = {(c.group, c.name, a, says) for c in CHEATS for a, says in c.expected.items()}
    assert wanted <= rows
    assert set(refusals.CASES) <= {name for _, name, _, _ in rows}
    assert all(row["n"] >= 20 for row in RESULT["rows"])
    assert {c.name for c in CHEATS} >= set(FAKES_OF_THE_SELF_TESTS)


def test_nothing_that_the_docs_call_detectable_passed() -> None:
    passed = [
        (row["name"], row["access"])
        for row in RESULT["rows"]
        if row["expected"] == "caught" and set(row["outcomes"]) & {"PASS", "ACCEPTED"}
    ]
    assert passed == []


def test_what_the_docs_call_honest_was_rarely_accused() -> None:
    honest = [row for row in RESULT["rows"] if row["expected"] == "honest"]
    assert len(honest) > 3
    for row in honest:
        assert row["outcomes"].get("FAIL", 0) <= binom.ppf(0.999, row["n"], 0.05), row["name"]
        assert rehearsal.CODE not in row["reasons"]


def test_asking_twice_changes_nothing_for_true_retrains() -> None:
    rows = [row for row in RESULT["rows"] if row["name"] == "truly retrained"]
    assert {row["access"] for row in rows} == {"file", "questions", "weights"}
    assert all(row["outcomes"] == rows[0]["outcomes"] for row in rows)


# What is measured here


@pytest.mark.parametrize("kind", CHEAP, ids=lambda c: f"{c.group}: {c.name}")
def test_no_cheap_fake_passes_where_it_is_called_detectable(room: World, kind: Cheat) -> None:
    suspect = kind.make(room, SUSPECT, dice(room, "test", kind.name))
    for access, says in kind.expected.items():
        outcome, _ = room.judge(suspect, access, SUSPECT, dice(room, "test", kind.name, "draw"))
        if says == "caught":
            assert outcome != "PASS", access


def test_a_table_for_the_very_rows_is_found_out_by_asking_beside_them(room: World) -> None:
    kind = cheat("recognises the very rows")
    suspect = kind.make(room, SUSPECT, dice(room, "test"))
    reasons = {
        access: room.judge(suspect, access, SUSPECT, dice(room, "draw"))[1]
        for access in ("file", "questions")
    }
    assert rehearsal.CODE not in reasons["file"]
    assert rehearsal.CODE in reasons["questions"]


def test_two_faces_are_found_out_with_the_weights_alone(room: World) -> None:
    kind = cheat("retrained in evaluation mode, original in training mode")
    suspect = kind.make(room, SUSPECT, dice(room, "test"))
    found = {
        access: room.judge(suspect, access, SUSPECT, dice(room, "draw"))
        for access in ("questions", "weights")
    }
    assert found["weights"] == ("FAIL", (rehearsal.CODE,))
    assert rehearsal.CODE not in found["questions"][1]


@pytest.mark.parametrize("name", refusals.CASES)
def test_refused_before_any_verdict(room: World, name: str) -> None:
    assert refusals.refusal(name, room, 0)[0] == refusals.REFUSED


@pytest.mark.parametrize("name", ["truly retrained", "recognises the very rows"])
def test_an_audit_asks_twice_and_its_scores_tell_the_same(room: World, name: str) -> None:
    """The whole way: questions settled, answers stored, verdict computed from what is stored."""
    commission, model = room.commission, room.retrained(0)
    if name != "truly retrained":
        model = Recogniser(room.original(0), model, commission.case.forget.x)
    pool = dataclasses.replace(
        room.pool, retrained=room.pool.retrained[1:40], originals=room.pool.originals[1:9]
    )
    references = References(pool=pool, identity=room.pool.retrained[40:42])
    judged = judge(commission, references, [Target(model.eval())], [], b"secret", Silent())
    gates = {gate.code: gate.outcome for gate in judged.weighed.gates}
    assert gates[rehearsal.CODE] == ("pass" if name == "truly retrained" else "fail")
    arrays = scoretable.from_bytes(judged.scores)
    assert arrays["near_A_f"].shape == (1, len(commission.case.forget))
    again = scoretable.models_of(arrays)
    assert np.array_equal(again.audited.second["near"][0], arrays["near_A_f"])


@pytest.mark.slow
def test_measured_again_nothing_detectable_passes() -> None:
    result = providers.measured(20)
    for row in result["rows"]:
        if row["expected"] == "caught":
            assert not set(row["outcomes"]) & {"PASS", "ACCEPTED"}, row["name"]
    assert result["cpu_seconds"] < 15 * 60
