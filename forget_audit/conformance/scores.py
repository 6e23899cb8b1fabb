"""Scores of attacks as conformance looks at them: taken, compared, and cases they are taken on."""

import dataclasses
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from torch import nn

from forget_audit.conformance.cases import attacked_case, attacked_pool
from forget_audit.conformance.checks import error_of, must
from forget_audit.contracts import Attack, Fitted, Scores
from forget_audit.errors import ForgetAuditError, NotApplicable
from forget_audit.pools import Pool
from forget_audit.seeds import generator
from forget_audit.targets import Target, weights_digest
from forget_audit.types import Access, Case

_fitted: dict[type[Attack], Fitted] = {}


def served(cls: type[Attack]) -> Case:
    """Return the request for single rows, or one for a class to attacks that need it."""
    case = attacked_case()
    return case if "instance" in cls.info.scopes else class_request(case)


def fit_of(cls: type[Attack]) -> Fitted:
    """Return the attack with default settings, fitted once."""
    if cls not in _fitted:
        _fitted[cls] = cls().fit(attacked_pool(), served(cls), generator(1, cls.info.name))
    return _fitted[cls]


def scores_of(cls: type[Attack], pool: Pool, case: Case, target: Target) -> Scores:
    """Return what an attack with its default settings says of a target."""
    fit = cls().fit(pool, case, generator(1, cls.info.name))
    return fit.score(target, generator(2, cls.info.name))


def must_answer(cls: type[Attack], pool: Pool, case: Case, target: Target, what: str) -> None:
    """Go on if there are finite scores, or a refusal that gives a reason.

    Raises:
        ConformanceError: If there is neither.
    """
    try:
        found = numbers(scores_of(cls, pool, case, target))
    except NotApplicable as refusal:
        must(len(str(refusal)) > 20, f"{what}: a refusal says why, not {str(refusal)!r}")
    else:
        must(len(found) and np.all(np.isfinite(found)), f"{what}: expected finite numbers")


def numbers(scores: Scores) -> npt.NDArray[np.float64]:
    """Return all numbers of scores in one row."""
    curves = [np.asarray(series.y) for _, series in sorted(scores.series.items())]
    scalars = np.asarray([value for _, value in sorted(scores.scalars.items())])
    return np.concatenate([scores.forget, scores.control, scalars, *curves])


def must_equal(found: Scores, expected: Scores, tolerance: float, reason: str) -> None:
    """Go on if two scores are the same, up to rounding.

    Raises:
        ConformanceError: If they are not.
    """
    pair = numbers(found), numbers(expected)
    must(np.allclose(*pair, rtol=tolerance, atol=tolerance), reason)


def trouble_of(action: Callable[[], object]) -> BaseException | None:
    """Return the error that an action ends with, if it is the user's or the model's."""
    return error_of(action, ForgetAuditError, RuntimeError)


def fresh(target: Target, batch_size: int = 2048) -> Target:
    """Return a target with a copy of the model, asked so many rows at a time."""
    return Target(target.model_copy(), batch_size=batch_size)


def model_state(model: nn.Module) -> object:
    """Return everything of a model that an attack must not change."""
    return (
        weights_digest(model),
        [module.training for module in model.modules()],
        [(p.requires_grad, p.grad is None) for p in model.parameters()],
        [(len(m._forward_hooks), len(m._backward_hooks)) for m in model.modules()],
    )


def restricted(pool: Pool, access: Access) -> Pool:
    """Return a pool whose models answer no more than `access`."""

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


def one_class(case: Case) -> Case:
    """Return a request whose rows all bear one label."""
    label = case.forget.y[0]
    return case.replace(
        forget=case.forget.take(case.forget.y == label), test=case.test.take(case.test.y == label)
    )


def class_request(case: Case) -> Case:
    """Return a request to forget a whole class."""
    label = int(case.forget.y[0])
    return one_class(case).replace(
        scope="class",
        classes=(label,),
        retain=case.retain.take(case.retain.y != label),
        others=case.test.take(case.test.y != label),
    )
