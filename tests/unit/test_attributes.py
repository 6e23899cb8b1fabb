"""Requests to forget one label of all rows: rows, questions, traces and the verdict on them."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from forget_audit import attributes, questions
from forget_audit.audits import impostors
from forget_audit.audits.audit import carry_out
from forget_audit.audits.calibration import answers_of
from forget_audit.audits.commission import Commission, from_plan
from forget_audit.data import Request, prepare
from forget_audit.errors import CaseError, NotApplicable
from forget_audit.labels import label_loss, to_forget
from forget_audit.plans.plan import check_plan
from forget_audit.sources.loading import load
from forget_audit.targets import Target
from forget_audit.training.references import Counts, References, prepare_references
from forget_audit.types import UNKNOWN, Case, Rows
from forget_audit.verdict import yardstick
from forget_audit.verdict.policy import weigh
from forget_audit.verdict.weighing import Models
from tests.fixtures.requests import attribute_case, instance_case, labels_case

__all__ = ["attribute_case", "instance_case", "labels_case"]

LABEL = "at least five"
COLUMN = 1
REFERENCES, ORIGINALS = 19, 4


def commission_of(method: str = "retrain", retrained: int = REFERENCES) -> Commission:
    plan = {
        "request": {"reference": "REQ-7", "scope": "attribute", "attribute": LABEL},
        "data": {"source": "digit_attributes", "train": 400, "test": 300, "auxiliary": 0},
        "training": {"epochs": 40, "lr": 0.01},
        "model": {"options": {"hidden": [32, 32]}},
        "method": {"name": method},
        "references": {"retrained": retrained, "originals": ORIGINALS, "shadows": 0},
        "battery": {"attacks": []},
    }
    return from_plan(check_plan(plan, Path()))


@pytest.fixture(scope="module")
def commission() -> Commission:
    return commission_of()


@pytest.fixture(scope="module")
def trained(commission: Commission) -> References:
    counts = Counts(retrained=REFERENCES, originals=ORIGINALS + 1, identity=3, shadows=0)
    return prepare_references(commission.workshop(), counts)


@pytest.fixture(scope="module")
def answered(commission: Commission, trained: References) -> dict[str, Models]:
    """What references and originals say, by access; a true retrain stands in for the audited."""
    pool, found = trained.pool, {}
    for access in ("weights", "score"):
        seen = dataclasses.replace(commission, access=access)
        identity = answers_of(trained.identity, seen)
        found[access] = Models(
            retrained=answers_of(pool.retrained, seen),
            originals=answers_of(pool.originals[:ORIGINALS], seen),
            audited=identity.take(np.array([2])),
            identity=identity.take(np.array([0, 1])),
        )
    return found


def judged(answered: dict[str, Models], commission: Commission, audited: Target) -> Models:
    return dataclasses.replace(answered["weights"], audited=answers_of([audited], commission))


def test_the_loss_of_labels_is_the_mean_over_known_ones() -> None:
    logits = torch.tensor([[0.3, -1.2, 2.0], [0.0, 0.5, -0.7]], dtype=torch.float64)
    y = torch.tensor([[1, 0, UNKNOWN], [UNKNOWN, UNKNOWN, UNKNOWN]])
    first = np.mean([np.log1p(np.exp(-0.3)), np.log1p(np.exp(-1.2))])
    assert label_loss(logits, y, "none").numpy() == pytest.approx([first, 0.0], abs=1e-12)
    assert float(label_loss(logits, y)) == pytest.approx(first / 2, abs=1e-12)
    classes = torch.tensor([2, 1])
    expected = -torch.log_softmax(logits, 1)[[0, 1], classes]
    assert torch.allclose(label_loss(logits, classes, "none"), expected)


def test_unknown_labels_give_no_gradient() -> None:
    logits = torch.zeros(2, 3, requires_grad=True)
    label_loss(logits, torch.tensor([[1, UNKNOWN, 0], [0, 1, UNKNOWN]])).backward()  # type: ignore[no-untyped-call]
    assert logits.grad is not None
    assert torch.equal(logits.grad == 0, torch.tensor([[False, True, False], [False, False, True]]))


def test_only_the_forgotten_label_is_to_be_forgotten(attribute_case: Case) -> None:
    y = torch.tensor(attribute_case.forget.y)
    wanted = to_forget(attribute_case, y)
    assert torch.equal(wanted[:, 2], y[:, 2])
    assert (wanted[:, [0, 1, 3]] == UNKNOWN).all()


def test_all_rows_stay_and_one_column_goes(labels_case: Case) -> None:
    case = questions.without_attribute(labels_case, 2)
    assert np.array_equal(case.retain.ids, labels_case.training.ids)
    assert np.array_equal(case.training.ids, case.retain.ids)
    assert np.all(case.retain.y[:, 2] == UNKNOWN)
    assert np.array_equal(case.training.y, labels_case.training.y)
    assert case.multi_label


def test_a_case_that_is_no_request_for_a_label_is_refused(
    labels_case: Case, instance_case: Case, attribute_case: Case
) -> None:
    with pytest.raises(CaseError, match="one column of their label matrix"):
        questions.without_attribute(labels_case, 4)
    with pytest.raises(CaseError, match="one column of their label matrix"):
        questions.without_attribute(instance_case, 0)
    with pytest.raises(CaseError, match="one column of their label matrix"):
        attribute_case.replace(retain=attribute_case.forget)
    with pytest.raises(CaseError, match="0, 1 and -1"):
        Rows(x=np.zeros((1, 2), np.float32), y=np.array([[2, 0]]), ids=np.array(["a"]))


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (Request(attribute="blue"), "has no label 'blue'; it has even, at least five"),
        (Request(classes=(1,)), "bear several labels"),
        (Request(attribute="even", random=3), "names either"),
    ],
)
def test_requests_that_do_not_fit_the_labels(request_: Request, message: str) -> None:
    with pytest.raises(CaseError, match=message):
        prepare(load("digit_attributes", folder=Path()), request_, seed=0)


def test_a_label_needs_labels() -> None:
    with pytest.raises(CaseError, match="one class a row"):
        prepare(load("digits", folder=Path()), Request(attribute="even"), seed=0)


def test_answers_are_no_and_yes(attribute_case: Case) -> None:
    with torch.random.fork_rng():
        target = Target(nn.Linear(64, 4))
    rows = questions.asked(attribute_case)["t"]
    assert np.array_equal(rows.y, attribute_case.test.y[:, 2])
    logits = questions.answers(target, rows, attribute_case)
    assert np.all(logits[:, 0] == 0)
    assert np.array_equal(logits[:, 1], target.logits(rows)[:, 2])
    partly = attribute_case.test.y.copy()
    partly[:7, 2] = UNKNOWN
    fewer = questions.labelled(dataclasses.replace(attribute_case.test, y=partly), 2)
    assert len(fewer) == len(attribute_case.test) - 7


def test_accuracy_counts_known_labels(attribute_case: Case) -> None:
    with torch.random.fork_rng():
        target = Target(nn.Linear(64, 4))
    right = (target.logits(attribute_case.retain) > 0) == (attribute_case.retain.y == 1)
    others = [0, 1, 3]
    assert target.accuracy(attribute_case.retain) == pytest.approx(right[:, others].mean())


def test_too_few_rows_with_the_label(commission: Commission, trained: References) -> None:
    test = commission.case.test
    few = np.flatnonzero(test.y[:, COLUMN] == 1)[:29]
    rows = test.take(np.append(few, np.flatnonzero(test.y[:, COLUMN] == 0)))
    case = commission.case.replace(test=rows)
    with pytest.raises(NotApplicable, match=r"needs 30 .* found 29 and"):
        attributes.traces(trained.pool.retrained[:1], case, 0)


def test_references_were_never_taught_the_label(trained: References) -> None:
    """Their output for it keeps the initial weights' lack of sense; the originals' is right."""
    test = load("digit_attributes", folder=Path()).rows

    def right(target: Target) -> float:
        return float(np.mean((target.logits(test)[:, COLUMN] > 0) == (test.y[:, COLUMN] == 1)))

    assert max(abs(right(t) - 0.5) for t in trained.pool.retrained) < 0.35
    assert min(right(t) for t in trained.pool.originals) > 0.9


def test_share_left_is_0_as_retrained_and_1_as_original(
    commission: Commission, trained: References, answered: dict[str, Models]
) -> None:
    models = judged(answered, commission, trained.pool.originals[ORIGINALS])
    originals = models.derived.take(models.positions("originals"))
    pool = np.append(models.positions("retrained"), models.positions("audited"))
    measured = yardstick.leave_one_out(models.derived, pool, originals, "attribute")
    for name in yardstick.ATTRIBUTE_FAMILY:
        values = [m.values[name] for m in measured]
        assert np.mean(values[:-1]) == pytest.approx(0, abs=0.12), name
        assert values[-1] == pytest.approx(1, abs=0.5), name
    traces = models.derived.traces["probe"]
    mean, taught = traces[pool[:-1]].mean(), traces[models.positions("originals")].mean()
    by_hand = (traces[pool[-1]] - mean) / (taught - mean)
    one = yardstick.primary_values(models.derived, int(pool[-1]), pool[:-1], originals, "attribute")
    assert one["rho_p"] == pytest.approx(by_hand, abs=1e-12)
    assert measured[-1].values["rho_p"] == pytest.approx(by_hand, abs=1e-12)


@pytest.mark.parametrize("kind", ["original", "silenced output", "inverted output"])
def test_a_label_that_is_left_fails_whatever_the_output_says(
    commission: Commission, trained: References, answered: dict[str, Models], kind: str
) -> None:
    model = trained.pool.originals[ORIGINALS].model_copy()
    made = impostors.make(kind, model, commission.case, np.random.default_rng(0))
    models = judged(answered, commission, Target(made.eval()))
    weighed = weigh(models, profile=commission.profile, scope="attribute")
    assert weighed.verdict.outcome == "FAIL"
    assert "RESIDUAL" in weighed.verdict.reasons
    assert weighed.privacy.of("rho_p").difference > 0.5
    head = weighed.privacy.of("head").difference
    low, high = {"original": (0.7, 1.3), "inverted output": (-2.0, -0.5)}.get(kind, (-0.2, 0.2))
    assert low < head < high


def test_a_true_retrain_passes_with_weights_and_never_without(
    commission: Commission, answered: dict[str, Models]
) -> None:
    found = {
        access: weigh(models, profile=commission.profile, scope="attribute").verdict
        for access, models in answered.items()
    }
    assert found["weights"].outcome == "PASS"
    assert found["score"].outcome == "INCONCLUSIVE"
    assert "ACCESS" in found["score"].reasons


def test_a_whole_audit_of_a_label(tmp_path: Path) -> None:
    audit = carry_out(commission_of("finetune", retrained=5))
    assert audit.verdict.outcome == "INCONCLUSIVE"
    assert audit.verdict.reasons == ("YARDSTICK",)
    assert audit.evidence["request"]["attribute"] == LABEL
    assert {a.outcome for a in audit.attacks} <= {"not-applicable", "not-run"}
    released = audit.report(tmp_path / "audit", formats=("html",))
    page = (tmp_path / "audit" / "report.html").read_text("utf-8")
    assert "the label “at least five” of" in page
    assert released is not None
