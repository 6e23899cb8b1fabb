"""The shortest way in from Python: what goes wrong there is said in words, before any training."""

from typing import Any

import numpy as np
import pytest
from torch import nn

from forget_audit import certify
from forget_audit.audits.commission import Commission
from forget_audit.errors import ForgetAuditError, ModelError, PlanError, UnknownName
from forget_audit.training.references import Counts
from tests.bad_input import world


def never(x: object, y: object, seed: int) -> nn.Module:
    raise AssertionError("nothing is trained before the call is checked")


def returns_nothing(x: object, y: object, seed: int) -> None:
    return None


def without_seed(x: object, y: object) -> nn.Module:
    return never(x, y, 0)


class Nothing:
    """A recipe with settings, which returns nothing."""

    def __call__(self, x: object, y: object, seed: int) -> None:
        return None


@pytest.mark.parametrize("given", ["train", "trainer"])
@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        (returns_nothing, "returns_nothing returned something else than a model"),
        (Nothing(), "Nothing returned something else than a model"),
        (without_seed, r"without_seed must take \(x, y, seed\), found \(x: object, y: object\)"),
        (7, r"expected a function that takes \(x, y, seed\) as the recipe, found int"),
    ],
    ids=["nothing", "object", "seed", "number"],
)
def test_a_recipe_is_called_with_care_whichever_way_it_comes(
    given: str, recipe: Any, message: str
) -> None:
    case = world.rows(trainer=recipe) if given == "trainer" else world.case()
    train = recipe if given == "train" else None
    with pytest.raises(ModelError, match=message):
        certify(case, unlearned=world.retrained(), train=train, counts=world.COUNTS, attacks=())


def test_a_recipe_of_the_case_audits_as_one_of_the_call() -> None:
    models = world.retrained(), world.retrained()
    by_case = certify(
        world.rows(trainer=world.fit), unlearned=models[0], counts=world.COUNTS, attacks=()
    )
    by_call = world.audit(models[1])
    assert by_case.verdict == by_call.verdict
    found = [[one.difference for one in made.weighed.statistics] for made in (by_case, by_call)]
    assert found[0] == found[1]


@pytest.mark.parametrize(
    ("more", "kind", "message"),
    [
        ({"attacks": ["lirra"]}, UnknownName, "unknown attack 'lirra'; did you mean 'lira'?"),
        ({"attacks": "lirra"}, UnknownName, "unknown attack 'lirra'; did you mean 'lira'?"),
        (
            {"counts": Counts(identity=0)},
            PlanError,
            "counts.identity: expected at least 1 model, found 0",
        ),
    ],
    ids=["attack", "alone", "identity"],
)
def test_what_cannot_be_run_is_named_before_anything_is_trained(
    more: dict[str, Any], kind: type[ForgetAuditError], message: str
) -> None:
    with pytest.raises(kind) as caught:
        certify(world.case(), unlearned=world.retrained(), train=never, **more)
    assert message in str(caught.value)


def test_an_experiment_that_is_not_there_is_named_before_anything_is_trained() -> None:
    with pytest.raises(UnknownName, match="unknown experiment 'one_run_canry'; did you mean 'one_"):
        Commission(case=world.case(), template=nn.Identity, experiments=("one_run_canry",))


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        ({"retrained": 0}, "counts.retrained: expected a whole number from 3 to 100,000, found 0"),
        (
            {"retrained": 3.5},
            "counts.retrained: expected a whole number from 3 to 100,000, found 3",
        ),
        ({"retrained": True}, "found True"),
        ({"originals": 0}, "counts.originals: expected a whole number from 1 to"),
        ({"copies": 0}, "counts.copies: expected a whole number from 1 to"),
        ({"shadows": -1}, "counts.shadows: expected a whole number from 0 to"),
        ({"shadows": 100_001}, "counts.shadows: expected a whole number from 0 to"),
    ],
    ids=["none", "fraction", "truth", "originals", "copies", "negative", "most"],
)
def test_counts_are_checked(counts: dict[str, Any], message: str) -> None:
    with pytest.raises(PlanError) as caught:
        Counts(**counts)
    assert message in str(caught.value)


def test_all_counts_that_are_wrong_are_listed() -> None:
    with pytest.raises(PlanError) as caught:
        Counts(retrained=0, originals=0)
    assert len(caught.value.problems) == 2


def test_counts_of_numpy_are_counts() -> None:
    assert type(Counts(retrained=np.int64(5)).retrained) is int  # type: ignore[arg-type]


@pytest.mark.parametrize("ends", ["well", "badly"])
def test_models_are_left_in_the_mode_they_were_in(ends: str) -> None:
    unlearned, original = world.retrained(), world.original()
    unlearned.train()
    unlearned.get_submodule("hidden").eval()
    original.eval()
    modes = [part.training for part in unlearned.modules()]
    attacks = [] if ends == "well" else ["lirra"]
    try:
        certify(
            world.case(), unlearned=unlearned, original=original, train=world.fit,
            counts=world.COUNTS, attacks=attacks,
        )  # fmt: skip
    except UnknownName:
        assert ends == "badly"
    assert [part.training for part in unlearned.modules()] == modes
    assert not original.training
