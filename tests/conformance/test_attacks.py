"""What every registered attack must keep; a new attack is tested by being registered."""

import re

import numpy as np
import pytest

from forget_audit import registry, stats
from forget_audit.attacks._references import log_odds
from forget_audit.conformance import checks
from forget_audit.conformance.attacks import CHECKS
from forget_audit.conformance.cases import attacked_case, attacked_pool
from forget_audit.conformance.checks import Check
from forget_audit.conformance.scores import numbers, scores_of
from forget_audit.targets import Target

ATTACKS = dict(registry.attacks())


def marked(check: Check) -> object:
    marks = [pytest.mark.slow] if check.slow else []
    return pytest.param(check, id=check.name.replace(" ", "-"), marks=marks)


@pytest.mark.parametrize("check", [marked(check) for check in CHECKS])
@pytest.mark.parametrize("name", ATTACKS)
def test_every_attack_keeps(name: str, check: Check) -> None:
    check.run(ATTACKS[name])


@pytest.mark.parametrize("name", ATTACKS)
def test_a_file_bears_the_name_of_its_attack(name: str) -> None:
    cls = ATTACKS[name]
    assert cls.info.name == name == cls.__module__.rpartition(".")[2]
    assert re.fullmatch(r"A\d\d", cls.info.card)
    assert checks(cls, slow=True) == CHECKS


def test_retrained_models_are_scored_like_the_audited_one() -> None:
    """Leaving a retrained model out and handing it in as the audited one are the same thing."""
    case, pool = attacked_case(), attacked_pool()
    rest = pool.without(2)
    handed_in = Target(pool.retrained[2].model_copy())
    for cls in ATTACKS.values():
        if cls.info.leave_one_out:
            left_out = scores_of(cls, rest, case, pool.retrained[2])
            audited = scores_of(cls, rest, case, handed_in)
            np.testing.assert_array_equal(numbers(left_out), numbers(audited))


def test_reference_scores_come_forget_rows_first() -> None:
    case, target = attacked_case(), attacked_pool().originals[0]
    scores = log_odds(target, case)
    first = stats.log_odds(target.logits(case.forget), case.forget.y)
    assert scores[: len(first)].tolist() == first.tolist()
    assert len(scores) == len(case.forget) + len(case.test)
