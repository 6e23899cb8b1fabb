"""What makes a second answer proof: either direction, any way, beyond the margin and the error."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from forget_audit import stats
from forget_audit.audits import second_questions
from forget_audit.audits.second_questions import questions, settled
from forget_audit.outputs import Outputs
from forget_audit.types import Case, Rows
from forget_audit.verdict import policy, rehearsal
from forget_audit.verdict.profiles import PROFILES
from forget_audit.verdict.weighing import Comparison, Models
from tests.unit.test_policy import comparison, world

STANDARD = PROFILES["standard"]
GROUPS = ("retrained", "originals", "audited", "identity")


def again(first: Outputs, then: Outputs) -> tuple[np.ndarray, np.ndarray]:
    """Return the answers of `then` as second answers of `first`."""
    rng = np.random.default_rng(7)
    pair = stats.log_odds(then.logits_f, then.y_f), stats.log_odds(then.logits_t, then.y_t)
    forget, control = (values + rng.normal(0, 0.05, values.shape) for values in pair)
    return forget, control


def asked(leans: Mapping[str, float], copies: int = 1) -> Models:
    """Return an audit of a clean model that leans so much when it is asked in each way."""
    first = world(copies=copies)
    thens = {way: world(lean=lean, copies=copies) for way, lean in leans.items()}
    groups: dict[str, Any] = {}
    for name in GROUPS:
        outputs: Outputs = getattr(first, name)
        second = {
            way: again(outputs, then.audited if name == "audited" else outputs)
            for way, then in thens.items()
        }
        groups[name] = dataclasses.replace(outputs, second=second)
    return Models(**groups)


def judged(models: Models) -> tuple[str, tuple[str, ...]]:
    found = policy.weigh(models, profile=STANDARD, scope="instance").verdict
    return found.outcome, found.reasons


@pytest.mark.parametrize(
    "leans",
    [{"near": -1.0}, {"near": 1.0, "mode": 0.0}, {"near": 0.0, "mode": 1.0}],
    ids=["away", "first-way", "second-way"],
)
def test_a_change_in_either_direction_and_in_any_way_fails(leans: Mapping[str, float]) -> None:
    assert judged(asked(leans)) == ("FAIL", (rehearsal.CODE,))
    assert judged(asked(dict.fromkeys(leans, 0.0)))[0] == "PASS"


@pytest.mark.parametrize(
    ("copies", "difference", "error", "outcome"),
    [
        (1, 0.3, 0.05, "fail"),
        (1, -0.3, 0.05, "fail"),
        (1, 0.3, 0.1, "pass"),  # beyond the margin of .20, and not proven to be
        (1, 0.25, 0.05, "pass"),
        (4, 0.25, 0.05, "fail"),  # of several copies the margin is .10
        (4, 0.15, 0.05, "pass"),
    ],
)
def test_proof_is_a_whole_interval_beyond_the_margin(
    monkeypatch: pytest.MonkeyPatch, copies: int, difference: float, error: float, outcome: str
) -> None:
    def change(*_: object) -> Comparison:
        return comparison("near", difference, error)

    monkeypatch.setattr(rehearsal, "change", change)
    (gate,) = rehearsal.gate(asked({"near": 0.0}, copies), [], STANDARD)
    assert gate.outcome == outcome


def test_a_failed_gate_outweighs_what_was_only_not_shown() -> None:
    models = asked({"near": 1.0})
    fewer: dict[str, Any] = {name: shortened(getattr(models, name), 15) for name in GROUPS}
    few = dataclasses.replace(models, **fewer)
    assert judged(few) == ("FAIL", (rehearsal.CODE,))


def shortened(outputs: Outputs, rows: int) -> Outputs:
    second = {way: (f[:, :rows], t) for way, (f, t) in outputs.second.items()}
    return dataclasses.replace(
        outputs, logits_f=outputs.logits_f[:, :rows], y_f=outputs.y_f[:rows], second=second
    )


def found_out(spread: float, shares: Sequence[float]) -> bool:
    """Settle a way in which retrained models lean by chance, and originals have so much left."""
    models = world()
    retrained, originals = models.retrained, models.originals
    clean, full = again(retrained, retrained), again(originals, originals)
    influence = full[0].mean(axis=0) - clean[0].mean(axis=0)
    lean = np.random.default_rng(3).normal(0, spread, (len(retrained), 1))
    left = clean[0][: len(originals)] + np.array(shares)[:, None] * influence
    return rehearsal.would_be_found(
        dataclasses.replace(retrained, second={"near": (clean[0] + lean * influence, clean[1])}),
        dataclasses.replace(originals, second={"near": (left, full[1])}),
        "near",
        STANDARD,
    )


def test_a_way_is_taken_if_each_original_would_be_found_and_no_error_hides_it() -> None:
    assert found_out(0.01, [1.0] * 8)
    assert not found_out(0.25, [1.0] * 8), "an interval wider than the margin proves little"
    assert not found_out(0.01, [0.0, *[1.0] * 7]), "one original would not be found"
    assert not found_out(0.09, [0.3, *[1.0] * 7]), "one would be found by luck alone"


def test_the_first_way_that_would_do_is_taken_and_no_other_is_tried(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    models, tried = world(), []

    def ask(number: int) -> second_questions.Ask:
        def answer(_: object) -> second_questions.Pair:
            tried.append(number)
            return np.zeros(100), np.zeros(200)

        return answer

    def enough(*_: object) -> bool:
        return 1 in tried

    monkeypatch.setattr(rehearsal, "would_be_found", enough)
    asks = {"near": [ask(number) for number in range(3)], "mode": []}
    targets = [object()] * 2
    first = models.retrained, models.originals
    found = settled(asks, targets, targets, first, STANDARD)  # type: ignore[arg-type]
    assert list(found) == ["near"]
    assert found["near"] is asks["near"][1]
    assert set(tried) == {0, 1}
    monkeypatch.setattr(rehearsal, "would_be_found", lambda *_: False)
    assert settled(asks, targets, targets, first, STANDARD) == {}  # type: ignore[arg-type]


def of_kind(scope: str, labels: int = 0) -> Case:
    rng = np.random.default_rng(3)

    def part(name: str, y: np.ndarray) -> Rows:
        x = rng.normal(size=(len(y), 3)).astype(np.float32)
        return Rows(x=x, y=y, ids=np.array([f"{name}-{i}" for i in range(len(y))]))

    y = np.zeros(20, dtype=np.int64)
    if labels:
        y = rng.integers(0, 2, (20, labels))
    forgotten = {"classes": (1,)} if scope == "class" else {}
    return Case(
        name="few", n_classes=2, retain=part("r", y), test=part("t", y + bool(forgotten)),
        forget=part("f", y + bool(forgotten)), auxiliary=part("a", y[:0]),
        others=part("o", y) if forgotten else None, scope=scope, **forgotten,  # type: ignore[arg-type]
    )  # fmt: skip


def test_requests_for_classes_and_rows_of_several_labels_are_asked_once() -> None:
    assert list(questions(of_kind("instance"), 0, "weights")) == ["near", "mode"]
    assert questions(of_kind("class"), 0, "weights") == {}
    assert questions(of_kind("instance", labels=2), 0, "weights") == {}


def test_rows_of_each_role_are_moved_by_dice_of_their_own() -> None:
    case = of_kind("instance")
    seen: list[np.ndarray] = []

    class Listening:
        def log_odds(self, rows: Rows) -> np.ndarray:
            seen.append(rows.x)
            return np.zeros(len(rows))

    next(questions(case, 0, "score")["near"])(Listening())  # type: ignore[arg-type]
    moves = [moved - part.x for moved, part in zip(seen, (case.forget, case.test), strict=True)]
    assert all(np.all(move.std(axis=0) > 0) for move in moves)
    assert abs(np.corrcoef(moves[0].ravel(), moves[1].ravel())[0, 1]) < 0.5
