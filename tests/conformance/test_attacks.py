"""What every registered attack must keep; a new attack is tested by being registered."""

import copy
import dataclasses
import inspect
import json
import random
import re
import sys
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
import torch
from scipy.stats import binom
from torch import nn

from forget_audit import registry, stats
from forget_audit.attacks._references import log_odds
from forget_audit.contracts import Attack, Fitted, Scores
from forget_audit.errors import AccessError, ForgetAuditError, NotApplicable
from forget_audit.pools import Pool
from forget_audit.seeds import generator
from forget_audit.targets import Target, weights_digest
from forget_audit.types import ACCESS_ORDER, Access, Case, Rows
from forget_audit.yardstick import INSTANCE_FAMILY

ATTACKS = dict(registry.attacks())
BESIDE_THE_ORIGINAL = ("update_leakage",)  # exact retraining is exposed as well, says its paper
CANDIDATE_ATTACKS = ("ruli", "u_lira")
MEMBERSHIP = [name for name, cls in ATTACKS.items() if cls.info.kind == "membership"]
JARGON = re.compile(
    r"\b(auc|roc|entropy|loss|logits?|gradients?|softmax|shadow|rho|z-score)\b", re.I
)

every_attack = pytest.mark.parametrize("name", list(ATTACKS))
membership_attacks = pytest.mark.parametrize("name", MEMBERSHIP)


@pytest.fixture
def case(name: str, digits_case: Case) -> Case:
    """The request of the fixture, or one of a class for attacks that need it."""
    return served(name, digits_case)


def served(name: str, request: Case) -> Case:
    return request if "instance" in ATTACKS[name].info.scopes else class_request(request)


@pytest.fixture(scope="module")
def fitted(digits_case: Case, digits_pool: Pool) -> Callable[[str], Fitted]:
    known: dict[str, Fitted] = {}

    def get(name: str) -> Fitted:
        if name not in known:
            request = served(name, digits_case)
            known[name] = ATTACKS[name]().fit(digits_pool, request, generator(1, name))
        return known[name]

    return get


def attack_scores(
    name: str, pool: Pool, case: Case, target: Target, attack: Attack | None = None
) -> Scores:
    fit = (attack or ATTACKS[name]()).fit(pool, case, generator(1, name))
    return fit.score(target, generator(2, name))


def scores_or_refusal(name: str, pool: Pool, case: Case, target: Target) -> Scores | None:
    """Return finite scores, or nothing after a refusal that gives a reason."""
    try:
        scores = attack_scores(name, pool, case, target)
    except NotApplicable as refusal:
        reason = str(refusal)
    else:
        assert np.all(np.isfinite(numbers(scores)))
        return scores
    assert len(reason) > 20, "a refusal says why"
    return None


def error_of(action: Callable[[], object]) -> Exception | None:
    try:
        action()
    except (ForgetAuditError, RuntimeError) as error:
        return error
    return None


def numbers(scores: Scores) -> npt.NDArray[np.float64]:
    curves = [np.asarray(series.y) for _, series in sorted(scores.series.items())]
    scalars = np.asarray([value for _, value in sorted(scores.scalars.items())])
    return np.concatenate([scores.forget, scores.control, scalars, *curves])


def fresh(target: Target, batch_size: int = 2048) -> Target:
    return Target(target.model_copy(), batch_size=batch_size)


def state(model: nn.Module) -> object:
    return (
        weights_digest(model),
        [module.training for module in model.modules()],
        [(p.requires_grad, p.grad is None) for p in model.parameters()],
        [(len(m._forward_hooks), len(m._backward_hooks)) for m in model.modules()],
    )


def global_generators() -> object:
    return random.getstate(), str(np.random.get_state()), torch.get_rng_state().tolist()  # noqa: NPY002


@every_attack
def test_the_card_is_complete(name: str) -> None:
    cls = ATTACKS[name]
    info, doc = cls.info, inspect.getdoc(cls) or ""
    assert info.name == name == cls.__module__.rpartition(".")[2]
    assert re.fullmatch(r"A\d\d", info.card)
    assert re.match(r"(arXiv:\d{4}\.\d{4,5}|doi:10\.|https://)", info.paper)
    assert info.paper.removeprefix("doi:") in doc, "the paper belongs in the docstring"
    summary, *rest = doc.split("\n\n")
    assert summary.endswith("."), "one sentence first"
    assert rest, "then the idea"
    assert not rest[0].startswith(("Args", "References"))
    assert "References:" in doc
    assert "Departures:" in doc
    assert info.question.endswith("?")
    assert not JARGON.search(info.question), "the question is for a non-engineer"
    assert info.perfect.endswith(".")
    assert (info.headline == "auc") == (info.kind == "membership")
    assert set(info.statistics) <= set(INSTANCE_FAMILY)


@every_attack
def test_the_parameters_are_plain_and_frozen(name: str) -> None:
    cls = ATTACKS[name]
    attack = cls()
    assert isinstance(attack, Attack)
    assert eval(repr(attack), vars(sys.modules[cls.__module__])) == attack
    parameters = dataclasses.asdict(attack)  # type: ignore[call-overload]
    assert cls(**json.loads(json.dumps(parameters))) == attack
    with pytest.raises(dataclasses.FrozenInstanceError):
        attack.anything = 1  # type: ignore[attr-defined]


@every_attack
def test_senseless_parameters_are_refused_by_name(name: str) -> None:
    for field in dataclasses.fields(ATTACKS[name]):  # type: ignore[arg-type]
        if field.type in ("bool", bool):
            continue
        with pytest.raises(ValueError, match=field.name):
            ATTACKS[name](**{field.name: -1})


@every_attack
def test_scores_have_the_rows_and_the_numbers(
    name: str, case: Case, digits_pool: Pool, fitted: Callable[[str], Fitted]
) -> None:
    scores = fitted(name).score(digits_pool.originals[0], generator(2, name))
    info = ATTACKS[name].info
    if info.kind == "membership":
        assert scores.forget_ids.tolist() == case.forget.ids.tolist()
        controls = case.test.ids.tolist()
        assert scores.control_ids.tolist() == [i for i in controls if i in scores.control_ids]
        assert len(scores.control) >= len(scores.forget)
        assert scores.forget.dtype == scores.control.dtype == np.float64
        assert scores.threshold is None or np.isfinite(scores.threshold)
    else:
        assert len(scores.forget) == len(scores.control) == 0
        assert info.headline in scores.scalars
    assert np.all(np.isfinite(numbers(scores)))
    for series in scores.series.values():
        assert len(series.x) == len(series.y)
    assert scores.fitted_on == fitted(name).fitted_on
    known = {*case.retain.ids.tolist(), *case.auxiliary.ids.tolist()}
    assert scores.fitted_on <= known, "forget and control rows are under test"


@every_attack
@pytest.mark.parametrize("batch_size", [7, 64])
def test_the_batch_size_does_not_matter(
    name: str, batch_size: int, digits_pool: Pool, fitted: Callable[[str], Fitted]
) -> None:
    target = digits_pool.originals[0]
    whole = fitted(name).score(fresh(target), generator(2, name))
    parts = fitted(name).score(fresh(target, batch_size=batch_size), generator(2, name))
    np.testing.assert_allclose(numbers(parts), numbers(whole), rtol=1e-3, atol=1e-3)


@membership_attacks
def test_row_order_in_is_row_order_out(name: str, case: Case, digits_pool: Pool) -> None:
    target = digits_pool.originals[0]
    order = generator(3).permutation(len(case.forget))
    turned = case.replace(forget=case.forget.take(order))
    scores = attack_scores(name, digits_pool, case, target)
    again = attack_scores(name, digits_pool, turned, target)
    np.testing.assert_allclose(again.forget, scores.forget[order], rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(again.control, scores.control, rtol=1e-4, atol=1e-4)


@every_attack
def test_same_generator_same_scores_whatever_the_global_ones(
    name: str, case: Case, digits_pool: Pool
) -> None:
    target = digits_pool.originals[0]
    before = global_generators()
    first = attack_scores(name, digits_pool, case, target)
    assert global_generators() == before, "global generators must be left as found"
    random.random()
    np.random.random()  # noqa: NPY002
    torch.rand(3)
    second = attack_scores(name, digits_pool, case, target)
    np.testing.assert_array_equal(numbers(first), numbers(second))


@every_attack
def test_models_are_left_as_found(name: str, case: Case, digits_pool: Pool) -> None:
    model = digits_pool.originals[0].model_copy().train()
    next(model.parameters()).requires_grad_(False)
    before = state(model)
    pool_before = [target.digest() for target in (*digits_pool.retrained, *digits_pool.originals)]
    attack_scores(name, digits_pool, case, Target(model))
    assert state(model) == before
    assert pool_before == [t.digest() for t in (*digits_pool.retrained, *digits_pool.originals)]


@every_attack
@pytest.mark.parametrize("last", [0, 1, 3])
def test_models_are_left_as_found_when_they_fail_half_way(
    name: str, last: int, digits_pool: Pool, fitted: Callable[[str], Fitted]
) -> None:
    model = digits_pool.originals[0].model_copy().train()
    calls = 0

    def fail(*_: object) -> None:
        nonlocal calls
        calls += 1
        if calls > last:
            raise RuntimeError("out of memory")

    model.register_forward_hook(fail)
    before, generators = state(model), global_generators()
    fit = fitted(name)
    target = Target(model, batch_size=16)
    problem = error_of(lambda: fit.score(target, generator(2)))
    assert "out of memory" in str(problem) or calls == 0, "an error of the model must be heard"
    assert state(model) == before
    assert global_generators() == generators


def restricted(pool: Pool, access: Access) -> Pool:
    def view(target: Target | None) -> Target | None:
        return None if target is None else target.restricted(access)

    return dataclasses.replace(
        pool,
        retrained=tuple(target.restricted(access) for target in pool.retrained),
        originals=tuple(target.restricted(access) for target in pool.originals),
        shadows=tuple(
            dataclasses.replace(s, target=s.target.restricted(access), after=view(s.after))
            for s in pool.shadows
        ),
        parent=view(pool.parent),
        twin=view(pool.twin),
        candidate_shadows=tuple(
            dataclasses.replace(
                s, before=s.before.restricted(access), after=s.after.restricted(access)
            )
            for s in pool.candidate_shadows
        ),
    )


@every_attack
def test_the_declared_access_is_enough_and_needed(name: str, case: Case, digits_pool: Pool) -> None:
    access = ATTACKS[name].info.access
    target = digits_pool.originals[0]
    attack_scores(name, restricted(digits_pool, access), case, target.restricted(access))
    if access == ACCESS_ORDER[0]:
        return
    below = ACCESS_ORDER[ACCESS_ORDER.index(access) - 1]
    fit = ATTACKS[name]().fit(digits_pool, case, generator(1, name))
    with pytest.raises(AccessError, match=access):
        fit.score(target.restricted(below), generator(2, name))


@membership_attacks
def test_memorised_rows_score_higher(name: str, case: Case, digits_pool: Pool) -> None:
    assert digits_pool.parent is not None
    if name in BESIDE_THE_ORIGINAL:
        return
    whole = ATTACKS[name]().fit(digits_pool, case, generator(1, name))
    original = whole.score(digits_pool.parent, generator(2, name))
    retrained = []
    for i, target in enumerate(digits_pool.retrained):
        if ATTACKS[name].info.leave_one_out:
            scores = attack_scores(name, digits_pool.without(i), case, target)
        else:
            scores = whole.score(target, generator(2, name))
        retrained.append(stats.auc(scores.forget, scores.control))
    value = stats.auc(original.forget, original.control)
    assert value > 0.6, "an original remembers its rows"
    assert value > max(retrained), "and better than any retrained model"


@membership_attacks
def test_a_threshold_tells_members_better_than_chance(
    name: str, case: Case, digits_pool: Pool
) -> None:
    assert digits_pool.parent is not None
    scores = attack_scores(name, digits_pool, case, digits_pool.parent)
    if scores.threshold is not None:
        assert stats.balanced_accuracy(scores.forget, scores.control, scores.threshold) > 0.55


@pytest.mark.slow
@membership_attacks
def test_intervals_cover_chance_where_nothing_was_learnt(
    name: str, case: Case, digits_pool: Pool
) -> None:
    """Forget and control rows drawn at random from rows that the model never saw."""
    repetitions = 200 if name not in BESIDE_THE_ORIGINAL else 40
    attack = ATTACKS[name]()
    unseen = Rows.concat(case.forget, case.test)
    if name in CANDIDATE_ATTACKS:
        assert digits_pool.candidates is not None
        unseen = digits_pool.candidates
    target, rest = digits_pool.retrained[0], digits_pool.without(0)
    covered = 0
    for i in range(repetitions):
        order = generator(4, i).permutation(len(unseen))
        drawn = case.replace(forget=unseen.take(order[:60]), test=unseen.take(order[60:]))
        scores = attack_scores(name, rest, drawn, target, attack)
        low, high = stats.auc_interval(scores.forget, scores.control)
        covered += low <= 0.5 <= high
    assert covered >= binom.ppf(1e-4, repetitions, 0.95)


def one_row(case: Case) -> Case:
    return case.replace(forget=case.forget.take(np.array([0])))


def one_row_each(case: Case) -> Case:
    return one_row(case).replace(test=case.test.take(np.array([0])))


def one_class(case: Case) -> Case:
    label = case.forget.y[0]
    return case.replace(
        forget=case.forget.take(case.forget.y == label), test=case.test.take(case.test.y == label)
    )


def class_request(case: Case) -> Case:
    label = int(case.forget.y[0])
    return one_class(case).replace(
        scope="class",
        classes=(label,),
        retain=case.retain.take(case.retain.y != label),
        others=case.test.take(case.test.y != label),
    )


def duplicates(case: Case) -> Case:
    twice = Rows(x=case.forget.x, y=case.forget.y, ids=np.char.add("again-", case.forget.ids))
    return case.replace(forget=Rows.concat(case.forget, twice))


def no_auxiliary(case: Case) -> Case:
    return case.replace(auxiliary=case.auxiliary.take(np.zeros(0, dtype=np.int64)))


def no_sensitive(case: Case) -> Case:
    return case.replace(sensitive=None)


@every_attack
@pytest.mark.parametrize(
    "edge",
    [one_row, one_row_each, one_class, class_request, duplicates, no_auxiliary, no_sensitive],
)
def test_odd_cases_give_a_refusal_or_finite_numbers(
    name: str, edge: Callable[[Case], Case], case: Case, digits_pool: Pool
) -> None:
    target = digits_pool.originals[0]
    scores = scores_or_refusal(name, digits_pool, edge(case), target)
    assert scores is None or len(numbers(scores))


def constant(target: Target) -> Target:
    model = target.model_copy()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    return Target(model)


@every_attack
@pytest.mark.parametrize("whole_pool", [False, True])
def test_constant_answers_give_a_refusal_or_finite_numbers(
    name: str, whole_pool: bool, case: Case, digits_pool: Pool
) -> None:
    dull = constant(digits_pool.originals[0])
    pool = digits_pool
    if whole_pool:
        shadows = tuple(dataclasses.replace(shadow, target=dull) for shadow in pool.shadows)
        pool = Pool(
            retrained=(dull,) * 4, originals=(dull,) * 2, shadows=shadows, parent=dull, twin=dull
        )
    scores = scores_or_refusal(name, pool, case, dull)
    assert scores is None or len(numbers(scores))


@every_attack
def test_a_missing_reference_is_refused_and_never_replaced(
    name: str, case: Case, digits_pool: Pool
) -> None:
    poor = no_auxiliary(no_sensitive(case))
    problem = error_of(lambda: ATTACKS[name]().fit(Pool(), poor, generator(1)))
    if problem is None:
        scores = attack_scores(name, Pool(), poor, digits_pool.originals[0])
        assert np.all(np.isfinite(numbers(scores))), "what asks for nothing must work without"
    else:
        assert isinstance(problem, NotApplicable)
        assert isinstance(problem, ForgetAuditError)
        assert re.search(r"needs?|not handed in", str(problem))


@every_attack
def test_a_model_in_training_mode_is_evaluated_as_it_will_be_used(
    name: str, case: Case, digits_pool: Pool
) -> None:
    """Batch normalisation and dropout must neither see single rows nor answer at random."""
    layers = (nn.Flatten(), nn.BatchNorm1d(64), nn.Linear(64, 16), nn.Dropout(0.5))
    model = nn.Sequential(*layers, nn.ReLU(), nn.Linear(16, 10))
    pool = dataclasses.replace(digits_pool, parent=Target(copy.deepcopy(model)), twin=None)
    model.train()
    before = state(model)
    at_once = attack_scores(name, pool, case, Target(model))
    one_by_one = attack_scores(name, pool, case, Target(model, batch_size=1))
    np.testing.assert_allclose(numbers(one_by_one), numbers(at_once), rtol=1e-3, atol=1e-3)
    assert state(model) == before


def test_retrained_models_are_scored_like_the_audited_one(
    digits_case: Case, digits_pool: Pool
) -> None:
    """Leaving a retrained model out and handing it in as the audited one are the same thing."""
    rest = digits_pool.without(2)
    handed_in = Target(digits_pool.retrained[2].model_copy())
    for name, cls in ATTACKS.items():
        if cls.info.leave_one_out:
            left_out = attack_scores(name, rest, digits_case, digits_pool.retrained[2])
            audited = attack_scores(name, rest, digits_case, handed_in)
            np.testing.assert_array_equal(numbers(left_out), numbers(audited))


def test_reference_scores_come_forget_rows_first(digits_case: Case, digits_pool: Pool) -> None:
    target = digits_pool.originals[0]
    scores = log_odds(target, digits_case)
    first = stats.log_odds(target.logits(digits_case.forget), digits_case.forget.y)
    assert scores[: len(first)].tolist() == first.tolist()
    assert len(scores) == len(digits_case.forget) + len(digits_case.test)
