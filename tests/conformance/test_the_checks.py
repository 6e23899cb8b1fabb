"""Each check of conformance is broken by an item that breaks its promise, and says how."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from torch import nn

from forget_audit import conformance
from forget_audit.attacks.jensen_shannon import JensenShannon
from forget_audit.attacks.loss_threshold import LossThreshold
from forget_audit.conformance import __main__ as command
from forget_audit.conformance.checks import ConformanceError, NotChecked
from forget_audit.contracts import AttackInfo, Fitted, FreshGenerator, MethodInfo, Scores, Unlearned
from forget_audit.errors import NotApplicable
from forget_audit.methods.finetune import Finetune
from forget_audit.pools import Pool
from forget_audit.targets import Target
from forget_audit.types import Case


def reason(item: type[Any], check: str) -> str:
    """What the check of that name says of an item; nothing if it is kept."""
    found = next(c for c in conformance.checks(item) if c.name == check)
    try:
        found.run(item)
    except ConformanceError as error:
        return str(error)
    return ""


def spoiled(**members: Any) -> type[Finetune]:
    """Fine-tuning with other members."""
    return type("Spoiled", (Finetune,), members)


def unlearn_in_place(
    self: Finetune, model: nn.Module, case: Case, rng: np.random.Generator
) -> Unlearned:
    found = Finetune(epochs=1).unlearn(model, case, rng)
    model.load_state_dict(found.model.state_dict())
    return found


def unlearn_from_the_shared_generator(
    self: Finetune, model: nn.Module, case: Case, rng: np.random.Generator
) -> Unlearned:
    found = Finetune(epochs=1).unlearn(model, case, rng)
    with torch.no_grad():
        for parameter in found.model.parameters():
            parameter.add_(1e-3 * torch.randn_like(parameter))
    return found


def unlearn_with_a_look_aside(
    self: Finetune, model: nn.Module, case: Case, rng: np.random.Generator
) -> Unlearned:
    assert len(case.test.x)
    return Finetune(epochs=self.epochs).unlearn(model, case, rng)


def unlearn_nothing(
    self: Finetune, model: nn.Module, case: Case, rng: np.random.Generator
) -> Unlearned:
    return Finetune(epochs=0).unlearn(model, case, rng)


def unlearn_everything(
    self: Finetune, model: nn.Module, case: Case, rng: np.random.Generator
) -> Unlearned:
    found = Finetune(epochs=1).unlearn(model, case, rng)
    with torch.no_grad():
        for parameter in found.model.parameters():
            parameter.zero_()
    return found


def unlearn_anything(
    self: Finetune, model: nn.Module, case: Case, rng: np.random.Generator
) -> Unlearned:
    wide = case.replace(scope="instance", classes=()) if case.scope == "class" else case
    return Finetune(epochs=1).unlearn(model, wide, rng)


def unlearn_with_a_recipe(
    self: Finetune, model: nn.Module, case: Case, rng: np.random.Generator
) -> Unlearned:
    if case.trainer is None:
        raise NotApplicable("there is no recipe")
    return Finetune(epochs=1).unlearn(model, case, rng)


@pytest.mark.parametrize(
    ("members", "check", "said"),
    [
        ({"info": replace(Finetune.info, summary="no sentence")}, "the card is complete", "summar"),
        ({"unlearn": unlearn_in_place}, "model and rows are left alone", "given model is another"),
        ({"unlearn": unlearn_from_the_shared_generator}, "randomness is the generators alone",
         "same seed, other weights"),
        ({"unlearn": unlearn_with_a_look_aside}, "it reads the rows it declares", "'test'"),
        ({"unlearn": unlearn_nothing}, "exact means retraining", "nothing was changed"),
        ({"unlearn": unlearn_everything}, "nothing to do is the identity", "weights are others"),
        ({"unlearn": unlearn_everything}, "it forgets and keeps the rest", "kept"),
        ({"unlearn": unlearn_anything}, "it refuses other requests", "serves"),
        ({"unlearn": unlearn_with_a_recipe}, "a missing recipe is named only if needed",
         "its card needs none"),
    ],
)  # fmt: skip
def test_a_method_that_breaks_a_promise_is_told_so(
    members: dict[str, Any], check: str, said: str
) -> None:
    assert reason(Finetune, check) == ""
    assert said in reason(spoiled(**members), check)


@dataclass(kw_only=True)
class Loose:
    """A value that can be changed."""

    info: ClassVar[MethodInfo] = Finetune.info

    def unlearn(self, model: nn.Module, case: Case, rng: np.random.Generator) -> Unlearned:
        return Unlearned(model=model, report=Finetune().unlearn(model, case, rng).report)


def test_a_value_that_can_be_changed_and_a_model_that_is_handed_back_are_noticed() -> None:
    assert "can be changed" in reason(Loose, "it is a frozen value")
    assert reason(Loose, "it runs wherever its card allows")


@dataclass(frozen=True, kw_only=True)
class Careless(LossThreshold):
    """Does what `fault` says."""

    fault: ClassVar[str] = ""

    def fit(self, pool: Pool, case: Case, rng: np.random.Generator) -> Fitted:
        inner = LossThreshold().fit(pool, case, rng)
        if self.fault == "asks nothing":
            assert pool.retrained, "no reason"

        def score(target: Target, rng: np.random.Generator) -> Scores:
            found = inner.score(target, rng)
            if self.fault == "moves":
                np.random.random()  # noqa: NPY002
            if self.fault == "turned":
                return replace(found, forget=found.forget[::-1].copy())
            if self.fault == "random":
                return replace(found, forget=found.forget + np.random.default_rng().random())
            if self.fault == "backwards":
                return replace(found, forget=-found.forget, control=-found.control)
            if self.fault == "deaf":
                try:
                    target.logits(case.forget)
                except RuntimeError:
                    return found
            return found

        return Fitted(score=score)


@pytest.mark.parametrize(
    ("fault", "check", "said"),
    [
        ("moves", "randomness is the generators alone", "shared generator"),
        ("random", "randomness is the generators alone", "same seed gives other scores"),
        ("turned", "row order in is row order out", "do not follow"),
        ("backwards", "memorised rows score higher", "AUC"),
    ],
)
def test_an_attack_that_breaks_a_promise_is_told_so(fault: str, check: str, said: str) -> None:
    assert reason(LossThreshold, check) == ""
    assert said in reason(type("Spoiled", (Careless,), {"fault": fault}), check)


@dataclass(frozen=True, kw_only=True)
class Hasty(JensenShannon):
    """Takes shortcuts that are none."""

    fault: ClassVar[str]

    def fit(self, pool: Pool, case: Case, rng: np.random.Generator) -> Fitted:
        found = JensenShannon.fit(self, pool, case, rng)

        def score_many(targets: Sequence[Target], fresh: FreshGenerator) -> list[Scores]:
            scores = [found.score(target, fresh()) for target in targets]
            if self.fault == "turned":
                return scores[::-1]
            return scores[1:] if self.fault == "one short" else scores

        return replace(found, score_many=score_many)

    def fit_each(self, pool: Pool, case: Case, fresh: FreshGenerator) -> Sequence[Fitted]:
        if self.fault == "generous" and len(pool.retrained) == 1:
            return [JensenShannon.fit(self, pool, case, fresh())]
        fits = JensenShannon.fit_each(self, pool, case, fresh)
        if self.fault == "all in":
            return [JensenShannon.fit(self, pool, case, fresh())] * len(fits)
        return fits[1:] if self.fault == "one fit short" else fits


@pytest.mark.parametrize(
    ("fault", "check", "said"),
    [
        ("turned", "many at once are scored like one by one", "other scores than by score"),
        ("one short", "many at once are scored like one by one", "6 models, 5 answers"),
        ("all in", "all but one at once are like one by one", "learns something else"),
        ("one fit short", "all but one at once are like one by one", "as many fits"),
        ("generous", "too few are refused at once as one by one", "refused by fit_each: False"),
    ],
)
def test_a_shortcut_that_leads_elsewhere_is_noticed(fault: str, check: str, said: str) -> None:
    assert reason(type("Hasty", (Hasty,), {"fault": "none"}), check) == ""
    assert said in reason(type("Hasty", (Hasty,), {"fault": fault}), check)


@pytest.mark.parametrize(
    ("change", "check", "said"),
    [
        ({"question": "What is the AUC?"}, "the card is complete", "no engineers"),
        ({"headline": "mean"}, "the card is complete", "headline"),
        ({"access": "weights"}, "the declared access is enough and needed", "so say gradient"),
        ({"access": "label"}, "the declared access is enough and needed", ""),
    ],
)
def test_a_card_that_is_not_true_is_noticed(change: dict[str, Any], check: str, said: str) -> None:
    info: AttackInfo = replace(LossThreshold.info, **change)
    spoiled_one = type("Spoiled", (LossThreshold,), {"info": info})
    results = {result.check: result for result in conformance.results(spoiled_one)}
    assert results[check].outcome == "broken"
    assert said in results[check].reason


def test_whatever_an_item_does_becomes_a_result() -> None:
    def broken(*_: object) -> Unlearned:
        raise ZeroDivisionError("by nothing")

    results = [*conformance.results(spoiled(unlearn=broken))]
    reasons = {result.reason for result in results if result.outcome == "broken"}
    assert "ZeroDivisionError: by nothing" in reasons
    with pytest.raises(ConformanceError, match="by nothing"):
        conformance.check_method(spoiled(unlearn=broken))
    with pytest.raises(ConformanceError, match="expected a method, with unlearn"):
        conformance.checks(int)


def test_a_method_without_a_setting_that_does_nothing_is_not_checked_for_it() -> None:
    @dataclass(frozen=True, kw_only=True)
    class Blunt:
        info: ClassVar[MethodInfo] = replace(Finetune.info, name="blunt")

        def unlearn(self, model: nn.Module, case: Case, rng: np.random.Generator) -> Unlearned:
            return Finetune().unlearn(model, case, rng)

    check = next(c for c in conformance.checks(Blunt) if c.name.startswith("nothing to do"))
    with pytest.raises(NotChecked, match="epochs"):
        check.run(Blunt)


def test_the_command_counts_what_is_not_kept(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["loss_threshold"]) == 0
    out = capsys.readouterr().out
    assert out.count("kept ") >= 16
    assert out.endswith("everything is kept\n")
    assert command.main(["loss_treshold"]) == 2
    assert "did you mean 'loss_threshold'" in capsys.readouterr().err
