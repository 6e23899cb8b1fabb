"""Models on which an attacker practises: shadows that went through the audited method."""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt

from forget_audit.contracts import Method
from forget_audit.pools import CandidateShadow, Pool, Shadow
from forget_audit.seeds import generator
from forget_audit.targets import Target
from forget_audit.training.loop import Index
from forget_audit.training.references import Workshop
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
    shadows = tuple(_after(shadow, method, case, seed, k) for k, shadow in enumerate(pool.shadows))
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


def _after(shadow: Shadow, method: Method, case: Case, seed: int, k: int) -> Shadow:
    """Make a shadow forget as large a share of its members as the request is of the rows."""
    auxiliary = case.auxiliary
    _, unit = auxiliary.numbered()
    members = np.unique(unit[shadow.members])
    share = len(case.forget) / len(case.training)
    size = min(max(round(share * len(members)), 1), len(members) - 1)
    rng = generator(seed, "shadow forgets", k)
    chosen = np.isin(unit, rng.permutation(members)[:size])
    smaller = case.replace(
        retain=auxiliary.take(shadow.members & ~chosen),
        forget=auxiliary.take(chosen),
        auxiliary=auxiliary.take(np.zeros(0, dtype=np.int64)),
    )
    return dataclasses.replace(
        shadow, after=_forget(method, shadow.target, smaller, rng), forgotten=chosen
    )


def _candidate_shadows(
    workshop: Workshop, method: Method, rows: Rows, kept: list[Mask], forgotten: list[Mask]
) -> tuple[CandidateShadow, ...]:
    case, seed = workshop.case, workshop.seed
    models = workshop.train(GROUP, *trained_rows(case, rows, kept, forgotten))
    return tuple(
        CandidateShadow(
            before=Target(model),
            after=_forget(
                method,
                Target(model),
                _case_of(case, rows, kept[k], forgotten[k]),
                generator(seed, "candidate shadow forgets", k),
            ),
            kept=kept[k],
            forgotten=forgotten[k],
        )
        for k, model in enumerate(models)
    )


def _case_of(case: Case, rows: Rows, kept: Mask, forgotten: Mask) -> Case:
    """Return the request as this shadow's provider would see it."""
    return case.replace(
        retain=Rows.concat(case.retain, rows.take(kept)),
        forget=rows.take(forgotten),
        test=rows.take(~kept & ~forgotten),
    )


def _forget(method: Method, target: Target, case: Case, rng: np.random.Generator) -> Target:
    return Target(method.unlearn(target.own_copy(), case, rng).model)
