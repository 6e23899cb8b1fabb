"""What the report says of an audited model whose classes are in another order than the labels."""

from collections.abc import Callable

import pytest

from forget_audit.audits.audit import Audit
from forget_audit.audits.class_orders import REMARK
from tests.bad_input.bad_behaviour import exchanged, swapped
from tests.bad_input.bad_predictions import TWO
from tests.bad_input.prediction_edits import audit_file, each
from tests.bad_input.world import audit, audit_of


def remark(done: Audit) -> str:
    found = [item["text"] for item in done.evidence["limits"] if item["code"] == REMARK]
    assert len(found) < 2
    return found[0] if found else ""


@pytest.mark.parametrize(
    ("play", "order"),
    [
        (audit_of(swapped), "class 0 for 3, 1 for 0, 2 for 5, 3 for 1, ...: "),
        (audit_of(exchanged), "class 2 for 7, 7 for 2: "),
        (audit_file(each("logit_A", lambda values: values[..., TWO])), "class 2 for 7, 7 for 2: "),
    ],
    ids=["all", "two", "predictions"],
)
def test_a_fail_for_the_order_of_classes_says_so_among_its_limits(
    play: Callable[[], Audit], order: str
) -> None:
    done = play()
    assert done.verdict.outcome == "FAIL"
    assert f"in another order ({order}" in remark(done)


def test_a_true_retrain_is_not_remarked_upon() -> None:
    assert not remark(audit())
