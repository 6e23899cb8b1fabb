"""What attacks keep that score many models, or leave out one after the other, in one go."""

import dataclasses
from functools import partial

import numpy as np

from forget_audit.conformance.cases import attacked_pool
from forget_audit.conformance.checks import Check, error_of, must, named
from forget_audit.conformance.scores import fit_of, numbers, scores_of, served
from forget_audit.contracts import Attack, FitsEach, Scores
from forget_audit.errors import NotApplicable
from forget_audit.seeds import generator
from forget_audit.targets import Target

ROUNDING = 1e-6
LEFT_OUT = (0, 3, 7)


def many_at_once_are_scored_like_one_by_one(cls: type[Attack]) -> None:
    """`score_many` gives each model what `score` gives it, whoever else is asked about."""
    fit, name, pool = fit_of(cls), cls.info.name, attacked_pool()
    if fit.score_many is None:
        return
    targets = (*pool.originals, _unlike(pool.originals[0]), *pool.retrained[:2])
    found = fit.score_many(targets, lambda: generator(2, name))
    must(len(found) == len(targets), f"score_many: {len(targets)} models, {len(found)} answers")
    for k, target in enumerate(targets):
        alone = fit.score(target, generator(2, name))
        _must_agree(found[k], alone, f"score_many: model {k} gets other scores than by score")


def all_but_one_at_once_are_like_one_by_one(cls: type[Attack]) -> None:
    """`fit_each` learns for each retrained model what `fit` learns from the others."""
    attack, name, pool, case = cls(), cls.info.name, attacked_pool(), served(cls)
    if not isinstance(attack, FitsEach):
        return
    fits = attack.fit_each(pool, case, lambda: generator(1, name))
    must(len(fits) == len(pool.retrained), "fit_each: as many fits as retrained models")
    for k in LEFT_OUT:
        for target in (pool.retrained[k], pool.originals[0]):
            found = fits[k].score(target, generator(2, name))
            expected = scores_of(cls, pool.without(k), case, target)
            _must_agree(found, expected, f"fit_each: without model {k} it learns something else")
        alone = attack.fit(pool.without(k), case, generator(1, name))
        must(fits[k].fitted_on == alone.fitted_on, "fit_each: another fitted_on than that of fit")


def too_few_are_refused_at_once_as_one_by_one(cls: type[Attack]) -> None:
    """`fit_each` is not applicable where `fit` without a model is not, and nowhere else."""
    attack, name, pool, case = cls(), cls.info.name, attacked_pool(), served(cls)
    if not isinstance(attack, FitsEach):
        return
    for few in (1, 2, 3):
        poor = dataclasses.replace(pool, retrained=pool.retrained[:few])
        one = partial(attack.fit, poor.without(0), case, generator(1, name))
        each = partial(attack.fit_each, poor, case, lambda: generator(1, name))
        refused = [error_of(action, NotApplicable) is not None for action in (each, one)]
        must(
            refused[0] == refused[1],
            f"{few} retrained models: refused by fit_each: {refused[0]}, by fit: {refused[1]}",
        )


SHORTCUT_CHECKS: tuple[Check, ...] = tuple(
    named(check)
    for check in (
        many_at_once_are_scored_like_one_by_one,
        all_but_one_at_once_are_like_one_by_one,
        too_few_are_refused_at_once_as_one_by_one,
    )
)


def _must_agree(found: Scores, expected: Scores, reason: str) -> None:
    """Go on if two scores are the same up to rounding, in rows, numbers and what they rest on."""
    for field in ("forget_ids", "control_ids"):
        must(np.array_equal(getattr(found, field), getattr(expected, field)), f"{reason}: {field}")
    must(list(found.scalars) == list(expected.scalars), f"{reason}: scalars")
    must(found.series.keys() == expected.series.keys(), f"{reason}: series")
    must(found.fitted_on == expected.fitted_on, f"{reason}: fitted_on")
    lines = [np.nan if s.threshold is None else s.threshold for s in (found, expected)]
    same = np.allclose(lines[0], lines[1], rtol=ROUNDING, atol=0, equal_nan=True)
    must(same, f"{reason}: threshold")
    pair = numbers(found), numbers(expected)
    must(np.allclose(*pair, rtol=ROUNDING, atol=ROUNDING**1.5), reason)


def _unlike(target: Target) -> Target:
    """Return a target with the same answers, which cannot be asked together with others."""
    model = target.model_copy()
    model.register_forward_hook(lambda *_: None)
    return Target(model, batch_size=7)
