"""What is said of a model on a set: equal to the audit's own statistics, and to closed forms."""

import dataclasses
from functools import cache

import numpy as np
import pytest

from forget_audit.outputs import Derived, Outputs
from forget_audit.pools import Pool
from forget_audit.registry import get_attack
from forget_audit.seeds import derive
from forget_audit.stress.drawing import Drawn
from forget_audit.stress.ground import case_of
from forget_audit.stress.judging import Judge
from forget_audit.stress.strategies import JUDGES
from forget_audit.targets import Target
from forget_audit.training.trainers import RecipeTrainer
from forget_audit.types import Case
from forget_audit.verdict import weighing, yardstick
from forget_audit.verdict.profiles import PROFILES
from tests.stress.small import prepared

STANDARD = PROFILES["standard"]


@cache
def forty() -> tuple[Case, tuple[Target, ...], tuple[Target, ...]]:
    """Forty digits with noisy labels: eight retrained models and four originals."""
    own, _ = prepared()
    drawn = Drawn(ids=own.rows.ids[np.random.default_rng(1).permutation(150)[:40]])
    case = case_of(own, drawn)
    trainer = case.trainer
    assert isinstance(trainer, RecipeTrainer)
    longer = dataclasses.replace(trainer, recipe=dataclasses.replace(trainer.recipe, epochs=50))
    rows = case.training
    kept, every = np.arange(len(case.retain)), np.arange(len(rows))
    subsets = [kept] * 9 + [every] * 5
    models = longer.many(rows.x, rows.y, subsets, [derive(2, k) for k in range(14)])
    targets = tuple(Target(model) for model in models)
    return case, targets[:9], targets[9:]


def judge() -> Judge:
    case, retrained, originals = forty()
    return Judge(case=case, retrained=retrained[:8], originals=originals[:4], profile=STANDARD)


def outputs(targets: tuple[Target, ...]) -> Outputs:
    case = forty()[0]
    nothing = np.zeros(len(targets))
    return Outputs(
        logits_f=np.stack([target.logits(case.forget) for target in targets]),
        logits_t=np.stack([target.logits(case.test) for target in targets]),
        y_f=case.forget.y,
        y_t=case.test.y,
        retain_accuracy=nothing,
        test_accuracy=nothing,
    )


def test_the_influence_is_that_of_an_audit() -> None:
    _, retrained, originals = forty()
    audited = originals[4]
    derived = Derived.of(outputs((*retrained[:8], audited, *originals[:4])))
    pool, trained = np.arange(9), derived.take(np.arange(9, 13))
    measured = yardstick.leave_one_out(derived, pool, trained, "instance")
    expected = weighing.compare(measured, 1, ("rho_p",)).of("rho_p").difference
    values, flag = judge().measure(audited)
    assert values["influence"] == pytest.approx(expected, rel=1e-12)
    assert flag == "beyond"


def test_the_influence_is_that_of_the_attack_that_judges() -> None:
    case, retrained, originals = forty()
    pool = Pool(retrained=retrained[:8], originals=originals[:4])
    rng = np.random.default_rng(0)
    fitted = get_attack(JUDGES[0])().fit(pool, case, rng)
    gaps = []
    for audited in (originals[4], retrained[8]):
        found = fitted.score(audited, rng).scalars["rho_p"]
        derived = Derived.of(outputs((*retrained[:8], audited, *originals[:4])))
        trained = derived.take(np.arange(9, 13))
        all_of_it = yardstick.leave_one_out(derived, np.arange(9), trained, "instance")
        usual = np.mean([one.values["rho_p"] for one in all_of_it[:-1]])
        gaps.append(found - usual - float(judge().measure(audited)[0]["influence"] or 0))
    assert gaps == pytest.approx([0, 0], abs=1e-9)


def test_a_retrained_model_has_nothing_left_and_an_original_all() -> None:
    _, retrained, originals = forty()
    honest, _ = judge().measure(retrained[8])
    bad, flag = judge().measure(originals[4])
    assert abs(honest["influence"] or 0) < 0.5 < (bad["influence"] or 0)
    assert abs(honest["left"] or 0) < 0.1 < (bad["left"] or 0)
    assert flag == "beyond"
    assert (bad["mia_excess"] or 0) > (honest["mia_excess"] or 0)
    assert (honest["tow"] or 0) > (bad["tow"] or 0)


def test_accuracies_and_what_follows_from_them() -> None:
    case, retrained, originals = forty()
    values, _ = judge().measure(originals[4])
    rows = {"forget": case.forget, "retain": case.retain, "test": case.test}
    own = {role: originals[4].accuracy(part) for role, part in rows.items()}
    usual = {
        role: np.mean([target.accuracy(part) for target in retrained[:8]])
        for role, part in rows.items()
    }
    for role, value in own.items():
        assert values[f"{role}_accuracy"] == pytest.approx(value)
    assert values["efficacy"] == pytest.approx(1 - own["forget"])
    gaps = [1 - abs(own[role] - usual[role]) for role in rows]
    assert values["tow"] == pytest.approx(np.prod(gaps))
    about = judge().about_set
    assert about["retrained_forget_accuracy"] == pytest.approx(usual["forget"])
    assert about["effect"] > 0.1
    assert about["signal"] is True


def test_a_set_that_leaves_no_mark_is_said_to_leave_none() -> None:
    case, retrained, _ = forty()
    blank = Judge(case=case, retrained=retrained[:6], originals=retrained[6:8], profile=STANDARD)
    values, flag = blank.measure(retrained[8])
    assert flag == "no signal"
    assert blank.about_set["signal"] is False
    assert abs(blank.about_set["effect"]) < 0.1
    same = Judge(
        case=case, retrained=retrained[:3], originals=(retrained[3],) * 2, profile=STANDARD
    )
    assert same.measure(retrained[8])[1] == "no signal"
    assert values["left"] is not None


@pytest.mark.parametrize(
    ("margin", "flag"), [(2.0, "within"), (1.0, "undecided"), (0.01, "beyond")]
)
def test_the_flag_follows_the_margin_of_the_rule(margin: float, flag: str) -> None:
    case, retrained, originals = forty()
    rule = dataclasses.replace(STANDARD, margin=margin, control_factor=0.0, n_eff=0.0)
    own = Judge(case=case, retrained=retrained[:8], originals=originals[:4], profile=rule)
    assert own.measure(originals[4])[1] == flag
