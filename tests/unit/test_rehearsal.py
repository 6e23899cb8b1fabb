"""Second answers: who is asked, what is found out, and what is stored."""

import dataclasses
from collections.abc import Callable, Mapping

import numpy as np
import pytest
import torch
from torch import nn

from forget_audit import stats
from forget_audit.audits.second_questions import MOVES, Ask, answered, questions, settled
from forget_audit.errors import ModelError, VerificationError
from forget_audit.outputs import Outputs
from forget_audit.streaming import Streamed
from forget_audit.targets import Target
from forget_audit.types import Case, Features, Outcome, Rows
from forget_audit.verdict import policy, rehearsal, scoretable
from forget_audit.verdict.profiles import PROFILES
from forget_audit.verdict.score_outputs import outputs_of
from forget_audit.verdict.weighing import Models
from tests.unit.test_policy import world

STANDARD = PROFILES["standard"]
ROUNDS = 0.05


def twice(first: Outputs, then: Outputs, way: str = "near") -> Outputs:
    """Return the answers of `first`, which are those of `then` when asked again."""
    rng = np.random.default_rng(7)
    pair = stats.log_odds(then.logits_f, then.y_f), stats.log_odds(then.logits_t, then.y_t)
    forget, control = (values + rng.normal(0, ROUNDS, values.shape) for values in pair)
    return dataclasses.replace(first, second={way: (forget, control)})


def asked_twice(lean: float, then: float, way: str = "near", copies: int = 1) -> Models:
    """Return an audit of a model that leans towards the rows, and so much when asked again."""
    first, second = world(lean=lean, copies=copies), world(lean=then, copies=copies)
    return Models(
        retrained=twice(first.retrained, first.retrained, way),
        originals=twice(first.originals, first.originals, way),
        audited=twice(first.audited, second.audited, way),
        identity=twice(first.identity, first.identity, way),
    )


def judged(models: Models) -> tuple[str, tuple[str, ...], Mapping[str, Outcome]]:
    weighed = policy.weigh(models, profile=STANDARD, scope="instance")
    gates = {gate.code: gate.outcome for gate in weighed.gates}
    return weighed.verdict.outcome, weighed.verdict.reasons, gates


@pytest.mark.parametrize(("way", "copies"), [("near", 1), ("mode", 1), ("near", 4)])
def test_a_model_that_leans_only_when_asked_again_fails(way: str, copies: int) -> None:
    honest = judged(asked_twice(0.0, 0.0, way, copies))
    assert honest[0] == "PASS"
    assert honest[2][rehearsal.CODE] == "pass"
    cheat = judged(asked_twice(0.0, 1.0, way, copies))
    assert cheat[:2] == ("FAIL", (rehearsal.CODE,))


def test_a_model_that_leans_both_times_is_not_rehearsed() -> None:
    outcome, reasons, gates = judged(asked_twice(1.0, 1.0))
    assert (outcome, reasons) == ("FAIL", ("RESIDUAL",))
    assert gates[rehearsal.CODE] == "pass"


def test_a_change_inside_the_margin_is_no_proof() -> None:
    assert judged(asked_twice(0.0, 0.1))[2][rehearsal.CODE] == "pass"


def test_nobody_asked_twice_no_gate() -> None:
    assert rehearsal.CODE not in judged(world())[2]


def test_true_retrains_are_never_called_rehearsed() -> None:
    first = asked_twice(0.0, 0.0)
    for k in range(4):
        rest = np.delete(np.arange(len(first.retrained)), k)
        audited = first.retrained.take(np.array([k]))
        models = dataclasses.replace(first, retrained=first.retrained.take(rest), audited=audited)
        assert judged(models)[2][rehearsal.CODE] == "pass"


def test_a_way_that_would_not_find_originals_out_is_not_taken() -> None:
    models, lost = world(), world(taught=0.0)
    known = twice(models.retrained, models.retrained), twice(models.originals, models.originals)
    blind = known[0], twice(models.originals, lost.originals)
    assert rehearsal.would_be_found(*known, "near", STANDARD)
    assert not rehearsal.would_be_found(*blind, "near", STANDARD)


# Who is asked


def rows(name: str, n: int, x: Features) -> Rows:
    return Rows(x=x[:n], y=np.arange(n) % 2, ids=np.array([f"{name}-{i}" for i in range(n)]))


def case_of(make: Callable[[np.random.Generator, int], Features], **changes: object) -> Case:
    rng = np.random.default_rng(3)
    parts = {role: rows(role, 40, make(rng, 40)) for role in ("retain", "forget", "test")}
    nobody = rows("aux", 40, make(rng, 40)).take(np.zeros(0, dtype=np.int64))
    return Case(
        name="few", n_classes=2, **parts, auxiliary=nobody, scope="instance", **changes  # type: ignore[arg-type]
    )  # fmt: skip


def measured(rng: np.random.Generator, n: int) -> Features:
    return rng.normal(size=(n, 3)).astype(np.float32)


def mixed(rng: np.random.Generator, n: int) -> Features:
    """Two measured columns around one of whole numbers."""
    x = measured(rng, n)
    x[:, 1] = rng.permutation(n)
    return x


def whole(rng: np.random.Generator, n: int) -> Features:
    return rng.permutation(3 * n).reshape(n, 3).astype(np.float32)


def ways(case: Case, access: str = "weights") -> list[str]:
    asks = questions(case, 0, access)  # type: ignore[arg-type]
    return [way for way, several in asks.items() for _ in several]


def beside(case: Case, seed: int = 0) -> Ask:
    return next(questions(case, seed, "score")["near"])


def in_training(case: Case) -> Ask:
    return next(questions(case, 0, "weights")["mode"])


def test_single_rows_are_asked_beside_and_networks_in_training_mode() -> None:
    assert ways(case_of(measured)) == ["near"] * len(MOVES) + ["mode"]
    assert ways(case_of(measured), "score") == ["near"] * len(MOVES)


def test_rows_of_whole_numbers_are_not_moved() -> None:
    assert ways(case_of(whole)) == ["mode"]


def test_streamed_rows_are_not_moved() -> None:
    case = case_of(measured)
    streamed = case.test.replace(x=Streamed(case.test.x))
    assert ways(case.replace(test=streamed)) == ["mode"]


class Spy(nn.Module):
    """A model that keeps what it was asked."""

    def __init__(self, *, training: bool | None = None) -> None:
        super().__init__()
        self.head = nn.Linear(3, 2)
        self.fails = training
        self.seen: list[torch.Tensor] = []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.seen.append(x.clone())
        if self.fails is not None and self.training == self.fails:
            raise RuntimeError("no answer")
        logits: torch.Tensor = self.head(x)
        return logits


def test_whole_columns_stay_and_measured_ones_move() -> None:
    case, spy = case_of(mixed), Spy()
    beside(case)(Target(spy))
    for seen, part in zip(spy.seen, (case.forget, case.test), strict=True):
        moved = seen.numpy() - part.x
        assert not moved[:, 1].any()
        assert np.all(moved[:, [0, 2]].std(axis=0) > 0.2)
    again = Spy()
    beside(case)(Target(again))
    assert all(torch.equal(a, b) for a, b in zip(spy.seen, again.seen, strict=True))
    beside(case, 1)(Target(again))
    assert not torch.equal(spy.seen[0], again.seen[2]), "another seed, other rows"


def test_being_asked_in_training_mode_changes_no_model() -> None:
    case = case_of(measured)
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(0.5), nn.Linear(4, 2))
    target = Target(model.eval())
    before = target.digest()
    ask = in_training(case)
    first, second = ask(target), ask(target)
    assert target.digest() == before
    assert not model.training
    assert np.array_equal(first[0], second[0]), "the same dice for everyone"
    assert not np.allclose(first[0], target.log_odds(case.forget))


def empty() -> Outputs:
    models = world().audited
    return models.take(np.zeros(0, dtype=np.int64))


def test_a_way_that_retrained_models_cannot_answer_is_left_out() -> None:
    case = case_of(measured)
    broken = [Target(Spy(training=True).eval())]
    assert (
        settled({"mode": [in_training(case)]}, broken, broken, (empty(), empty()), STANDARD) == {}
    )


def test_an_audited_model_that_does_not_answer_as_they_do_is_an_error() -> None:
    asks = {"mode": in_training(case_of(measured))}
    with pytest.raises(ModelError, match=r"in training mode, a model gave no answer.*no answer"):
        answered(empty(), [Target(Spy(training=True).eval())], asks)


# What is stored


def stored() -> scoretable.Arrays:
    models = asked_twice(0.0, 0.0)
    arrays: scoretable.Arrays = {"y_f": models.retrained.y_f, "y_t": models.retrained.y_t}
    for group, letter in scoretable.LETTERS.items():
        outputs = getattr(models, group)
        arrays |= {f"logit_{letter}_f": outputs.logits_f, f"logit_{letter}_t": outputs.logits_t}
        arrays[f"racc_{letter}"] = np.clip(outputs.retain_accuracy, 0, 1)
        forget, control = outputs.second["near"]
        arrays |= {f"near_{letter}_f": forget, f"near_{letter}_t": control}
    return arrays


def test_second_answers_are_read_again() -> None:
    arrays = stored()
    found = outputs_of(arrays, "A").second
    assert list(found) == ["near"]
    assert np.array_equal(found["near"][1], arrays["near_A_t"])


@pytest.mark.parametrize("damage", ["missing", "short", "nan"])
def test_damaged_second_answers_are_no_audit(damage: str) -> None:
    arrays = stored()
    if damage == "missing":
        del arrays["near_A_t"]
    elif damage == "short":
        arrays["near_A_t"] = arrays["near_A_t"][:, 1:]
    else:
        arrays["near_A_t"][0, 0] = np.nan
    with pytest.raises(VerificationError, match="near_A_t"):
        scoretable.models_of(arrays)
