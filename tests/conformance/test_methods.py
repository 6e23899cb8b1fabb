"""What every registered unlearning method must do; a new method is tested by being there."""

import re

import pytest

from forget_audit.conformance import checks
from forget_audit.conformance.checks import Check
from forget_audit.conformance.methods import CHECKS
from forget_audit.contracts import Method
from forget_audit.registry import methods

METHODS = methods()


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.name.replace(" ", "-"))
@pytest.mark.parametrize("cls", METHODS.values(), ids=METHODS.keys())
def test_every_method_keeps(cls: type[Method], check: Check) -> None:
    check.run(cls)


@pytest.mark.parametrize("cls", METHODS.values(), ids=METHODS.keys())
def test_a_file_bears_the_name_of_its_method(cls: type[Method]) -> None:
    assert cls.__module__.rpartition(".")[2] == cls.info.name
    assert re.fullmatch(r"M\d\d", cls.info.card)
    assert checks(cls) == CHECKS
