"""Models on which an attacker practises: shadows that went through the audited method."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from functools import partial

import numpy as np
import numpy.typing as npt

from forget_audit.contracts import Method
from forget_audit.pools import CandidateShadow, Pool, Shadow
from forget_audit.seeds import generator
from forget_audit.targets import Target
from forget_audit.training.loop import Index
from forget_audit.training.references import Workshop
from forget_audit.training.unlearning import unlearn_each
from forget_audit.types import Case, Rows

Mask = npt.NDArray[np.bool_]
GROUP = "candidate shadows"


def practise(pool: Pool, workshop: Workshop, method: Method | None, candidates: int) -> Pool:
    """Return the pool with shadows that the method has made forget, if there is a method.

    Shadows practise on single records; for a class request the pool stays as it is.

    Args:
        pool: Reference models.
        workshop: Trains the candidate shadows.
        method: The audited method.
        candidates: Number of candidate shadows.
    """
    case, seed = workshop.case, workshop.seed
    if method is None or case.scope != "instance":
        return pool
    shadows = _shadows(pool.shadows, workshop, method)
    if not candidates:
        return dataclasses.replace(pool, shadows=shadows)
    rows = choose_candidates(case, seed)
    kept, forgotten = deal_candidates(rows, candidates, seed)
    return dataclasses.replace(
        pool,
        shadows=shadows,
        candidates=rows,
        candidate_shadows=_candidate_shadows(workshop, method, rows, kept, forgotten),
    )


def choose_candidates(case: Case, seed: int) -> Rows:
    """Return the forget rows and, if there are as many, rows of twice as many control units."""
    people, unit = case.test.numbered()
    order = generator(seed, "candidates").permutation(people)
    wanted = order[: 2 * case.forget.numbered()[0]]
    place = np.full(people, len(order))
    place[wanted] = np.arange(len(wanted))
    chosen = np.argsort(place[unit], kind="stable")[: int(np.isin(unit, wanted).sum())]
    return Rows.concat(case.forget, case.test.take(chosen))


def deal_candidates(rows: Rows, count: int, seed: int) -> tuple[list[Mask], list[Mask]]:
    """Return which of the candidates each of `count` shadows keeps, and which it forgets.

    Thirds are kept, forgotten and left out. Three shadows in a row share a permutation and take
    turns, so that every candidate has each role equally often. The rows of a person share a role.
    """
    people, unit = rows.numbered()
    kept, forgotten = [], []
    for k in range(count):
        third = (generator(seed, "candidate roles", k // 3).permutation(people) % 3)[unit]
        kept.append(third == k % 3)
        forgotten.append(third == (k + 1) % 3)
    return kept, forgotten


def trained_rows(
    case: Case, candidates: Rows, kept: list[Mask], forgotten: list[Mask]
) -> tuple[Rows, list[Index]]:
    """Return all rows, and the positions of those each candidate shadow is trained on."""
    retained = np.arange(len(case.retain))
    return Rows.concat(case.retain, candidates), [
        np.concatenate([retained, len(retained) + np.flatnonzero(k | f)])
        for k, f in zip(kept, forgotten, strict=True)
    ]


def _shadows(shadows: Sequence[Shadow], workshop: Workshop, method: Method) -> tuple[Shadow, ...]:
    """Make shadows forget as large a share of their members as the request is of the rows."""
    case = workshop.case
    _, unit = case.auxiliary.numbered()
    share = len(case.forget) / len(case.training)
    members = [np.unique(unit[shadow.members]) for shadow in shadows]
    rng_of = partial(_shadow_rng, workshop.seed, members)
    chosen = []
    for k, people in enumerate(members):
        size = min(max(round(share * len(people)), 1), len(people) - 1)
        chosen.append(np.isin(unit, _order(workshop.seed, people, k)[1][:size]))
    case_of = partial(_shadow_case, case, [shadow.members for shadow in shadows], chosen)
    models = [shadow.target.own_copy() for shadow in shadows]
    made = unlearn_each(workshop, method, models, case_of, rng_of, "shadow forgets")
    return tuple(
        dataclasses.replace(shadow, after=Target(one.model), forgotten=forgotten)
        for shadow, one, forgotten in zip(shadows, made, chosen, strict=True)
    )


def _order(seed: int, people: Index, k: int) -> tuple[np.random.Generator, Index]:
    """Return the generator of shadow `k`, and the order in which it drew its people."""
    rng = generator(seed, "shadow forgets", k)
    return rng, rng.permutation(people)


def _shadow_rng(seed: int, members: list[Index], k: int) -> np.random.Generator:
    """Return the generator of the method on shadow `k`: the people were its first draw."""
    return _order(seed, members[k], k)[0]


def _shadow_case(case: Case, members: list[Mask], chosen: list[Mask], k: int) -> Case:
    """Return the request that a shadow gets: some of its members, of the auxiliary rows."""
    auxiliary = case.auxiliary
    return case.replace(
        retain=auxiliary.take(members[k] & ~chosen[k]),
        forget=auxiliary.take(chosen[k]),
        auxiliary=auxiliary.take(np.zeros(0, dtype=np.int64)),
    )


def _candidate_shadows(
    workshop: Workshop, method: Method, rows: Rows, kept: list[Mask], forgotten: list[Mask]
) -> tuple[CandidateShadow, ...]:
    case = workshop.case
    before = [Target(m) for m in workshop.train(GROUP, *trained_rows(case, rows, kept, forgotten))]
    case_of = partial(_candidate_case, case, rows, kept, forgotten)
    models = [target.own_copy() for target in before]
    rng_of = partial(generator, workshop.seed, "candidate shadow forgets")
    made = unlearn_each(workshop, method, models, case_of, rng_of, "candidate shadow forgets")
    return tuple(
        CandidateShadow(
            before=target, after=Target(one.model), kept=kept[k], forgotten=forgotten[k]
        )
        for k, (target, one) in enumerate(zip(before, made, strict=True))
    )


def _candidate_case(
    case: Case, rows: Rows, kept: list[Mask], forgotten: list[Mask], k: int
) -> Case:
    """Return the request as the provider of candidate shadow `k` would see it."""
    return case.replace(
        retain=Rows.concat(case.retain, rows.take(kept[k])),
        forget=rows.take(forgotten[k]),
        test=rows.take(~kept[k] & ~forgotten[k]),
    )
