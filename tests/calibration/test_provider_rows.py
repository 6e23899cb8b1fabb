"""The rows of providers who cheat: each is what it is called, and its numbers fit together."""

from collections.abc import Mapping

import numpy as np
import pytest
import torch
from torch import nn

from benchmarks.providers import fakes, page, refusals
from benchmarks.providers.cheats import CHEATS, Cheat
from benchmarks.providers.worlds import DIGITS, Finding, World, dice, world
from forget_audit import stats
from forget_audit.errors import ForgetAuditError

LITTLE: Mapping[str, Mapping[str, object]] = {
    "data": {"source": "digits", "label_noise": 0.15, "train": 250, "test": 100, "auxiliary": 0},
    "training": {"epochs": 10},
    "references": {"seed": 0, "retrained": 3, "identity": 2, "originals": 2},
}
RESULT = page.read()


@pytest.fixture(scope="module")
def room() -> World:
    return world(0, DIGITS, pool=9, originals=8, changes=LITTLE)


def cheat(name: str) -> Cheat:
    return next(c for c in CHEATS if c.name == name and c.scope == "instance")


def answers(model: nn.Module, x: np.ndarray) -> torch.Tensor:
    with torch.no_grad():
        found: torch.Tensor = model(torch.tensor(x))
    return found


@pytest.mark.parametrize("row", RESULT["rows"], ids=lambda r: f"{r['name']}: {r['access']}")
def test_numbers_of_a_row_follow_from_its_outcomes(row: page.Entry) -> None:
    outcomes: dict[str, int] = row["outcomes"]
    kinds = {"PASS", "FAIL", "INCONCLUSIVE", refusals.REFUSED, refusals.ACCEPTED}
    assert set(outcomes) <= kinds
    assert sum(outcomes.values()) == row["n"]
    detected = outcomes.get("FAIL", 0) + outcomes.get(refusals.REFUSED, 0)
    assert row["detected"] == detected / row["n"]
    assert row["interval"] == pytest.approx(stats.binomial_interval(detected, row["n"]))
    assert all(count <= row["n"] - outcomes.get("PASS", 0) for count in row["reasons"].values())
    assert bool(row["reasons"]) == (outcomes.get("PASS", 0) < row["n"])


def test_what_was_let_in_is_not_shown_as_if_nothing_had_passed() -> None:
    findings: list[Finding] = [(refusals.ACCEPTED, ()), (refusals.REFUSED, ("ModelError",))]
    text = page.table(
        {
            "rows": [page.entry("g", "n", "file", "caught", findings)],
            "cpu_seconds": 60,
            "machine": dict.fromkeys(("processor", "system", "python", "torch", "date"), "")
            | {"forget-audit": ""},
        }
    )
    assert "| 1 of 2 | 0.01 to 0.99 | 1 | `ModelError` 1 |" in text


def test_coats_answer_as_they_are_called(room: World) -> None:
    case, old, new = room.commission.case, room.original(0), room.retrained(0)
    known, other = case.forget.x, case.test.x
    for near in (fakes.Recogniser(old, new, known), fakes.Neighbour(old, new, known, other)):
        assert torch.equal(answers(near, known), answers(new, known))
        assert torch.equal(answers(near, other), answers(old, other))
    far = fakes.Recogniser(old, new, known, 1e9)
    assert torch.equal(answers(far, other), answers(new, other))
    tiring = fakes.Tiring(new, old, len(known) + len(other))
    honest = [answers(tiring, known), answers(tiring, other)]
    assert torch.equal(torch.cat(honest), torch.cat([answers(new, known), answers(new, other)]))
    assert torch.equal(answers(tiring, known), answers(old, known))
    faces = fakes.TwoFaced(new, old)
    assert torch.equal(answers(faces.eval(), known), answers(new.eval(), known))
    assert torch.equal(answers(faces.train(), known), answers(old.train(), known))
    routed = fakes.Routed(old, new, [3])
    threes = answers(old, other).argmax(dim=1) == 3
    assert 0 < int(threes.sum()) < len(other)
    wanted = torch.where(threes[:, None], answers(new, other), answers(old, other))
    assert torch.equal(answers(routed, other), wanted)


def test_edited_models_are_edited_as_they_are_called(room: World) -> None:
    x, old, new = room.commission.case.test.x, room.original(0), room.retrained(0)
    mixed = answers(fakes.Mixed(old, new, 0.25), x).exp()
    wanted = 0.25 * answers(old, x).softmax(1) + 0.75 * answers(new, x).softmax(1)
    assert torch.allclose(mixed, wanted, atol=1e-5)
    shares = answers(fakes.Rounded(old, 1), x).exp() * 10
    assert torch.allclose(shares, shares.round(), atol=1e-4)
    for weights in fakes.quantised(old).parameters():
        assert len(np.unique(weights.detach().numpy())) <= 2**8 - 1
    assert not torch.equal(answers(fakes.quantised(old), x), answers(old, x))
    for weights in fakes.pruned(old, 0.9).parameters():
        if weights.ndim > 1:
            assert float((weights == 0).float().mean()) == pytest.approx(0.9, abs=0.01)
    dropping = fakes.Dropping(old, 0.5, 0)
    many = torch.stack([answers(dropping, x[:1]) for _ in range(400)])
    assert float(many.std(dim=0).mean()) > 0.1
    assert torch.allclose(many.mean(dim=0), answers(old, x[:1]), atol=1.0)


def test_a_distilled_student_learns_its_teacher_and_not_the_labels(room: World) -> None:
    commission, teacher = room.commission, room.original(0)
    rows = commission.case.retain
    student = fakes.distilled(teacher, rows, commission, 1)
    unlabelled = rows.replace(y=np.zeros_like(rows.y))
    again = fakes.distilled(teacher, unlabelled, commission, 1)
    assert torch.equal(answers(student, rows.x), answers(again, rows.x))
    kept = answers(teacher, rows.x).argmax(dim=1)
    assert float((answers(student, rows.x).argmax(dim=1) == kept).float().mean()) > 0.5


def test_rows_that_nobody_trained_on_are_judged_by_three_separate_groups(room: World) -> None:
    suspect = cheat("a list of rows that nobody trained on").make(room, 1, dice(room, "t"))
    assert suspect.retrained is not None
    assert suspect.originals is not None
    groups = (suspect.audited, suspect.retrained, suspect.originals)
    seen = np.concatenate([group.logits_f for group in groups])
    assert len(np.unique(seen.reshape(len(seen), -1), axis=0)) == len(seen)


@pytest.mark.parametrize("k", range(8))
def test_every_coat_is_refused_as_a_file_of_weights(room: World, k: int) -> None:
    name = "any of these coats, handed in as a file of weights"
    assert len(refusals.coats(room, k)) == 8
    assert refusals.refusal(name, room, k) == (refusals.REFUSED, ("ModelError",))


def test_a_refusal_for_another_reason_does_not_count(
    room: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def other(world: World, k: int) -> None:
        raise ForgetAuditError("the disk is full")

    monkeypatch.setitem(refusals.CASES, "other", ("file", other, "of equal content"))
    outcome, reasons = refusals.refusal("other", room, 0)
    assert (outcome, reasons[1]) == (refusals.ACCEPTED, "the disk is full")
