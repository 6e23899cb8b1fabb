"""Methods that need a record, or training of their own, get both from an audit's plan."""

from pathlib import Path

import pytest

from forget_audit.audits.commission import Commission, from_plan
from forget_audit.audits.subject import make_subject
from forget_audit.errors import NotApplicable
from forget_audit.plans.plan import check_plan
from forget_audit.targets import weights_digest
from forget_audit.training.references import fingerprint


def commission_of(method: str) -> Commission:
    tables = {
        "request": {"reference": "REQ-1", "random": 20},
        "data": {"source": "digits", "train": 120, "test": 100, "auxiliary": 0},
        "training": {"epochs": 3},
        "model": {"options": {"hidden": [8]}},
        "method": {"name": method},
        "references": {"retrained": 3, "originals": 1, "shadows": 0},
    }
    return from_plan(check_plan(tables, Path()))


@pytest.mark.parametrize("method", ["amnesiac", "partial_amnesiac"])
def test_the_audit_keeps_the_record_that_a_method_needs(method: str) -> None:
    commission = commission_of(method)
    subject = make_subject(commission, commission.workshop(), lambda _: None)
    plain = commission_of("finetune")
    parents = make_subject(plain, plain.workshop(), lambda _: None).parents
    for recorded, parent in zip(subject.parents, parents, strict=True):
        for a, b in zip(recorded.parameters(), parent.parameters(), strict=True):
            assert (a - b).abs().max() < 1e-4, "a record must not change the training"
    assert weights_digest(subject.models[0]) != weights_digest(subject.parents[0])


def test_a_model_handed_in_has_no_record() -> None:
    commission = commission_of("amnesiac")
    case = commission.case
    assert commission.method is not None
    assert case.trainer is not None
    model = case.trainer(case.training.x, case.training.y, 0)
    with pytest.raises(NotApplicable, match=r"amnesiac needs a record .* case\.log empty"):
        commission.method.unlearn(model, case, None)  # type: ignore[arg-type]


def test_recipes_of_methods_train_originals_and_references_alike() -> None:
    commission = commission_of("sisa")
    workshop = commission.workshop()
    subject = make_subject(commission, workshop, lambda _: None)
    kind = type(subject.parents[0])
    assert subject.twin is not None
    assert type(subject.twin) is kind is type(subject.models[0])
    assert fingerprint(commission.case.trainer) is None, "its settings are not in its source"
