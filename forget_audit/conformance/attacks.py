"""What every attack keeps, each a function of its class."""

import dataclasses
import inspect
import json
import re
import sys

import numpy as np
from scipy.stats import binom

from forget_audit import stats
from forget_audit.conformance.cases import attacked_pool
from forget_audit.conformance.checks import (
    Check,
    error_of,
    global_generators,
    must,
    named,
    stir_generators,
)
from forget_audit.conformance.edges import EDGE_CHECKS
from forget_audit.conformance.scores import (
    fit_of,
    fresh,
    model_state,
    must_equal,
    numbers,
    restricted,
    scores_of,
    served,
    trouble_of,
)
from forget_audit.conformance.shortcuts import SHORTCUT_CHECKS
from forget_audit.contracts import Attack, Scores
from forget_audit.errors import AccessError
from forget_audit.seeds import generator
from forget_audit.targets import Target
from forget_audit.types import ACCESS_ORDER, Rows
from forget_audit.verdict.yardstick import INSTANCE_FAMILY

# Exact retraining is exposed to it as well, says its paper.
BESIDE_THE_ORIGINAL = ("update_leakage",)
CANDIDATE_ATTACKS = ("ruli", "u_lira")
JARGON = re.compile(
    r"\b(auc|roc|entropy|loss|logits?|gradients?|softmax|shadow|rho|z-score)\b", re.I
)
PAPER = re.compile(r"(arXiv:\d{4}\.\d{4,5}|doi:10\.|https://)")


def the_card_is_complete(cls: type[Attack]) -> None:
    """Name, number, paper, question and answer of a perfect model; idea in the docstring."""
    info, doc = cls.info, inspect.getdoc(cls) or ""
    must(re.fullmatch(r"[a-z][a-z0-9_]*", info.name), f"name: lower-case words, not {info.name!r}")
    must(re.fullmatch(r"[A-Z]+\d+", info.card), f"card: letters and a number, not {info.card!r}")
    must(PAPER.match(info.paper), "paper: arXiv:ID, doi:10... or https://")
    must(info.paper.removeprefix("doi:") in doc, "docstring: the paper belongs under References")
    summary, *rest = doc.split("\n\n")
    must(summary.endswith("."), "docstring: one sentence first")
    must(rest and not rest[0].startswith(("Args", "References")), "docstring: then the idea")
    for section in ("References:", "Departures:"):
        must(section in doc, f"docstring: {section} is missing")
    must(info.question.endswith("?"), "question: ends with a question mark")
    must(not JARGON.search(info.question), "question: in words for people who are no engineers")
    must(info.perfect.endswith("."), "perfect: a sentence")
    must(
        (info.headline == "auc") == (info.kind == "membership"),
        "headline: auc for attacks that score records, and for no others",
    )
    must(set(info.statistics) <= set(INSTANCE_FAMILY), "statistics: only those of the verdict")


def it_is_a_frozen_value(cls: type[Attack]) -> None:
    """The same after `repr` and after JSON, and nothing can be changed in it."""
    attack = cls()
    must(isinstance(attack, Attack), "it has no info, or no fit(pool, case, rng)")
    names = vars(sys.modules[cls.__module__])
    again = eval(repr(attack), names)  # noqa: S307  written by the class that is checked
    must(again == attack, "repr gives another one")
    settings = dataclasses.asdict(attack)  # type: ignore[call-overload]
    must(cls(**json.loads(json.dumps(settings))) == attack, "settings do not survive JSON")
    change = error_of(lambda: setattr(attack, "anything", 1), dataclasses.FrozenInstanceError)
    must(change, "a setting can be changed: use @dataclass(frozen=True, kw_only=True)")


def senseless_settings_are_refused_by_name(cls: type[Attack]) -> None:
    """A setting of -1 is a `ValueError` that names it."""
    for field in dataclasses.fields(cls):  # type: ignore[arg-type]
        if field.type in ("bool", bool):
            continue
        wrong = {field.name: -1}
        problem = error_of(lambda wrong=wrong: cls(**wrong), ValueError)  # type: ignore[misc]
        must(field.name in str(problem), f"{field.name} = -1: expected a ValueError that names it")


def scores_have_the_rows_and_the_numbers(cls: type[Attack]) -> None:
    """A finite score for each forget row in order, or the scalar that is shown first."""
    case, info = served(cls), cls.info
    scores = fit_of(cls).score(attacked_pool().originals[0], generator(2, info.name))
    if info.kind == "membership":
        must(scores.forget_ids.tolist() == case.forget.ids.tolist(), "forget_ids: case.forget.ids")
        controls = [i for i in case.test.ids.tolist() if i in scores.control_ids]
        must(scores.control_ids.tolist() == controls, "control_ids: of case.test, in its order")
        must(len(scores.control) >= len(scores.forget), "fewer control rows than forget rows")
        must(scores.threshold is None or np.isfinite(scores.threshold), "threshold is not finite")
    else:
        must(len(scores.forget) == len(scores.control) == 0, "scores of rows, but no membership")
        must(info.headline in scores.scalars, f"headline: scalars lack {info.headline}")
    must(np.all(np.isfinite(numbers(scores))), "numbers that are not finite")
    for name, series in scores.series.items():
        must(len(series.x) == len(series.y), f"series {name}: x and y differ in length")
    must(scores.fitted_on == fit_of(cls).fitted_on, "fitted_on: differs between fit and scores")
    known = {*case.retain.ids.tolist(), *case.auxiliary.ids.tolist()}
    must(scores.fitted_on <= known, "fitted_on: forget and control rows are under test")


def the_batch_size_does_not_matter(cls: type[Attack]) -> None:
    """Rows asked a few at a time give the same scores."""
    target, name = attacked_pool().originals[0], cls.info.name
    whole = fit_of(cls).score(fresh(target), generator(2, name))
    for batch_size in (7, 64):
        parts = fit_of(cls).score(fresh(target, batch_size), generator(2, name))
        must_equal(parts, whole, 1e-3, f"{batch_size} rows at a time give other scores")


def row_order_in_is_row_order_out(cls: type[Attack]) -> None:
    """Forget rows in another order get the same scores in that order."""
    if cls.info.kind != "membership":
        return
    case, target = served(cls), attacked_pool().originals[0]
    order = generator(3).permutation(len(case.forget))
    scores = scores_of(cls, attacked_pool(), case, target)
    again = scores_of(cls, attacked_pool(), case.replace(forget=case.forget.take(order)), target)
    turned = dataclasses.replace(
        scores, forget=scores.forget[order], forget_ids=scores.forget_ids[order]
    )
    must_equal(again, turned, 1e-4, "scores do not follow their rows")


def randomness_is_the_generators_alone(cls: type[Attack]) -> None:
    """The same generator gives the same scores, whatever the shared generators are at."""
    case, target = served(cls), attacked_pool().originals[0]
    before = global_generators()
    first = scores_of(cls, attacked_pool(), case, target)
    must(global_generators() == before, "a shared generator was moved; draw from rng alone")
    stir_generators()
    second = scores_of(cls, attacked_pool(), case, target)
    must(np.array_equal(numbers(first), numbers(second)), "the same seed gives other scores")


def models_are_left_as_found(cls: type[Attack]) -> None:
    """Weights, modes, flags, gradients and hooks of all models stay."""
    pool = attacked_pool()
    model = pool.originals[0].model_copy().train()
    next(model.parameters()).requires_grad_(False)
    before = model_state(model)
    references = [target.digest() for target in (*pool.retrained, *pool.originals)]
    scores_of(cls, pool, served(cls), Target(model))
    must(model_state(model) == before, "the audited model is another one afterwards")
    after = [target.digest() for target in (*pool.retrained, *pool.originals)]
    must(after == references, "reference models are others afterwards")


def models_are_left_as_found_when_they_fail(cls: type[Attack]) -> None:
    """An error of the model at its first, second or fourth answer is heard, and changes nothing."""
    for last in (0, 1, 3):
        model = attacked_pool().originals[0].model_copy().train()
        calls = [0]

        def fail(*_: object, calls: list[int] = calls, last: int = last) -> None:
            calls[0] += 1
            if calls[0] > last:
                raise RuntimeError("out of memory")

        model.register_forward_hook(fail)
        before, generators = model_state(model), global_generators()
        target = Target(model, batch_size=16)
        problem = trouble_of(lambda target=target: fit_of(cls).score(target, generator(2)))  # type: ignore[misc]
        heard = "out of memory" in str(problem) or calls[0] <= last
        must(heard, "an error of the model was not heard")
        must(model_state(model) == before, "after an error the model is another one")
        must(global_generators() == generators, "after an error a shared generator was moved")


def the_declared_access_is_enough_and_needed(cls: type[Attack]) -> None:
    """It works with models that answer no more than its card says, and not with less."""
    access, case = cls.info.access, served(cls)
    target = attacked_pool().originals[0]
    scores_of(cls, restricted(attacked_pool(), access), case, target.restricted(access))
    if access == ACCESS_ORDER[0]:
        return
    below = ACCESS_ORDER[ACCESS_ORDER.index(access) - 1]
    fit = cls().fit(attacked_pool(), case, generator(1, cls.info.name))
    problem = error_of(lambda: fit.score(target.restricted(below), generator(2)), AccessError)
    must(access in str(problem), f"access: it works with {below} alone, so say {below}")


def memorised_rows_score_higher(cls: type[Attack]) -> None:
    """An original is told from never-trained rows, and better than any retrained model."""
    info, pool, case = cls.info, attacked_pool(), served(cls)
    if info.kind != "membership" or info.name in BESIDE_THE_ORIGINAL:
        return
    assert pool.parent is not None
    whole = cls().fit(pool, case, generator(1, info.name))
    value = _auc(whole.score(pool.parent, generator(2, info.name)))
    retrained = [
        _auc(
            scores_of(cls, pool.without(i), case, target)
            if info.leave_one_out
            else whole.score(target, generator(2, info.name))
        )
        for i, target in enumerate(pool.retrained)
    ]
    must(value > 0.6, f"a model that remembers its rows gets an AUC of {value:.2f}, not above .6")
    must(value > max(retrained), f"a retrained model gets {max(retrained):.2f}, an original less")


def a_threshold_beats_chance(cls: type[Attack]) -> None:
    """If it calls rows members, it is right more often than a coin."""
    if cls.info.kind != "membership":
        return
    pool = attacked_pool()
    assert pool.parent is not None
    scores = scores_of(cls, pool, served(cls), pool.parent)
    if scores.threshold is not None:
        right = stats.balanced_accuracy(scores.forget, scores.control, scores.threshold)
        must(right > 0.55, f"threshold: right in {right:.0%}")


def intervals_cover_chance_where_nothing_was_learnt(cls: type[Attack]) -> None:
    """Forget and control rows drawn from rows the model never saw: AUC .5 lies in the interval."""
    name, pool, case = cls.info.name, attacked_pool(), served(cls)
    if cls.info.kind != "membership":
        return
    repetitions = 200 if name not in BESIDE_THE_ORIGINAL else 40
    unseen = Rows.concat(case.forget, case.test)
    if name in CANDIDATE_ATTACKS and pool.candidates is not None:
        unseen = pool.candidates
    target, rest = pool.retrained[0], pool.without(0)
    covered = 0
    for i in range(repetitions):
        order = generator(4, i).permutation(len(unseen))
        drawn = case.replace(forget=unseen.take(order[:60]), test=unseen.take(order[60:]))
        scores = scores_of(cls, rest, drawn, target)
        low, high = stats.auc_interval(scores.forget, scores.control)
        covered += low <= 0.5 <= high
    least = binom.ppf(1e-4, repetitions, 0.95)
    must(covered >= least, f"{covered} of {repetitions} intervals hold .5; at least {least:.0f}")


CHECKS: tuple[Check, ...] = (
    *[
        named(check)
        for check in (
            the_card_is_complete, it_is_a_frozen_value, senseless_settings_are_refused_by_name,
            scores_have_the_rows_and_the_numbers, the_batch_size_does_not_matter,
            row_order_in_is_row_order_out, randomness_is_the_generators_alone,
            models_are_left_as_found, models_are_left_as_found_when_they_fail,
            the_declared_access_is_enough_and_needed, memorised_rows_score_higher,
            a_threshold_beats_chance,
        )
    ],
    *EDGE_CHECKS,
    *SHORTCUT_CHECKS,
    named(intervals_cover_chance_where_nothing_was_learnt, slow=True),
)  # fmt: skip


def _auc(scores: Scores) -> float:
    return stats.auc(scores.forget, scores.control)
