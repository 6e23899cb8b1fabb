"""Settings of a method searched for without a look at what the audit will judge it by.

The search has a request of its own: the same rows to forget and to keep, auxiliary rows in place
of test rows, and models of its own seeds in place of the yardstick. An audit that comes later
draws its yardstick from other seeds and keeps its test rows to itself, so a method cannot be
fitted to its judges.
"""

from __future__ import annotations

import dataclasses
import importlib.util
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin, get_type_hints

import numpy as np

from forget_audit import registry
from forget_audit.audits.calibration import answers_of
from forget_audit.audits.commission import Commission
from forget_audit.contracts import Method
from forget_audit.errors import (
    CaseError,
    LeakageError,
    MissingDependency,
    ModelError,
    NotApplicable,
)
from forget_audit.outputs import Derived, Outputs
from forget_audit.seeds import derive, generator
from forget_audit.targets import Target
from forget_audit.training.references import Counts, prepare_references
from forget_audit.types import Case, Progress
from forget_audit.verdict import yardstick

if TYPE_CHECKING:
    import optuna

RETRAINED, ORIGINALS = 12, 5
SPAN = 10.0
LOSS_WEIGHT = 5.0


@dataclass(frozen=True, kw_only=True)
class Tried:
    """One choice of settings and what came of it.

    Args:
        options: Settings that differ from the defaults.
        cost: See `tune`; lower is better.
        influence: Residual influence: 0 like a retrained model, 1 like an original.
        lost: Accuracy on auxiliary rows below that of retrained models, 0 if it is not lower.
        refused: Why the method did not run with these settings; empty if it did.
    """

    options: Mapping[str, Any]
    cost: float
    influence: float
    lost: float
    refused: str = ""


def tune(
    commission: Commission,
    name: str,
    *,
    trials: int = 30,
    over: Sequence[str] = (),
    progress: Progress = lambda _: None,
) -> list[Tried]:
    """Search for settings of a method and return all that was tried, the best first.

    The cost is the absolute residual influence of the primary statistic, plus five times the
    accuracy lost against retrained models, both measured with auxiliary rows and models that the
    search trains for itself. The defaults are tried first.

    Args:
        commission: The audit that is to come; its test rows and seeds are not used.
        name: Of the method.
        trials: How many settings are tried.
        over: Fields to search; if none are named, the number of epochs and all positive numbers
            that are not whole.
        progress: Called with 1 after each trial.

    Raises:
        CaseError: If there are too few auxiliary rows.
        NotApplicable: If the method, or the search, does not serve the request.
        ModelError: If the method has no such fields.
        MissingDependency: If Optuna is not installed.
    """
    kind = registry.get_method(name)
    space = fields_of(kind, over)
    own = rehearsal(commission)
    counts = Counts(retrained=RETRAINED, originals=ORIGINALS, identity=0, shadows=0)
    pool = prepare_references(own.workshop(), counts).pool
    parent = pool.originals[-1]
    retrained, originals = answers_of(pool.retrained, own), answers_of(pool.originals[:-1], own)
    found: list[Tried] = []

    def cost(trial: optuna.Trial) -> float:
        options = {field: _suggest(trial, kind, field) for field in space}
        found.append(_try(kind, options, own, parent, retrained, originals))
        progress(1)
        return found[-1].cost

    study = _study(own.seed)
    study.enqueue_trial({field: getattr(kind(), field) for field in space})
    study.optimize(cost, n_trials=trials)
    return sorted(found, key=lambda tried: tried.cost)


def rehearsal(commission: Commission) -> Commission:
    """Return the search's own request: auxiliary rows as control rows, and other seeds.

    Raises:
        CaseError: If there are too few auxiliary rows to stand in for the control rows.
        NotApplicable: For sub-class requests.
        LeakageError: If a row that the audit keeps to itself got in all the same.
    """
    case = commission.case
    if case.scope == "subclass":
        raise NotApplicable("tuning cannot tell sub-classes of auxiliary rows; tune on the class")
    inside, others = _stand_ins(case)
    least = commission.profile.test_class
    if len(inside) < least:
        raise CaseError(
            f"tuning needs {least} auxiliary rows like the control rows, found {len(inside)}; "
            "keep more rows aside with data.auxiliary"
        )
    rows = case.auxiliary
    own = case.replace(
        test=rows.take(inside),
        others=rows.take(others) if case.others is not None else None,
        auxiliary=rows.take(np.zeros(0, dtype=np.int64)),
    )
    kept = set(case.never_trained.ids.tolist())
    if kept & {i for part in own.roles().values() for i in part.ids.tolist()}:
        raise LeakageError("tuning must not see test rows, found some among its own")
    return dataclasses.replace(commission, case=own, seed=derive(commission.seed, "tuning"))


def _stand_ins(case: Case) -> tuple[Any, Any]:
    """Return positions of the auxiliary rows like the control rows, and of the others."""
    every = np.arange(len(case.auxiliary))
    if case.others is None:
        return every, every[:0]
    like = np.isin(case.auxiliary.y, np.unique(case.test.y))
    return every[like], every[~like]


def fields_of(kind: type[Method], over: Sequence[str]) -> tuple[str, ...]:
    """Return the fields that are searched.

    Raises:
        ModelError: If a named field does not exist or cannot be searched.
    """
    default = kind()
    known = {
        field.name: getattr(default, field.name)
        for field in dataclasses.fields(kind)  # type: ignore[arg-type]
    }
    hints = get_type_hints(kind)
    able = tuple(n for n, v in known.items() if _searchable(v) or get_origin(hints[n]) is Literal)
    unfit = [name for name in over if name not in able]
    if unfit:
        raise ModelError(
            f"{kind.info.name} has no field {unfit[0]!r} to search; it has {', '.join(able)}"
        )
    chosen = [n for n in able if n == "epochs" or (isinstance(known[n], float) and known[n] > 0)]
    return tuple(over) or tuple(chosen)


def _searchable(value: object) -> bool:
    return isinstance(value, (bool, int)) or (isinstance(value, float) and value > 0)


def _suggest(trial: optuna.Trial, kind: type[Method], field: str) -> Any:
    default = getattr(kind(), field)
    hint = get_type_hints(kind)[field]
    if isinstance(default, bool):
        return trial.suggest_categorical(field, [False, True])
    if get_origin(hint) is Literal:
        return trial.suggest_categorical(field, list(get_args(hint)))
    if isinstance(default, int):
        return trial.suggest_int(field, 1, max(4 * default, 4))
    return trial.suggest_float(field, default / SPAN, _highest(kind, field, default), log=True)


def _highest(kind: type[Method], field: str, default: float) -> float:
    """Return the greatest value that is searched: ten times the default, less if that is refused.

    A share or a momentum has to stay below one: then halfway there.
    """
    try:
        kind(**{field: default * SPAN})
    except ValueError:
        return max(default, (1 + default) / 2)
    return default * SPAN


def _try(
    kind: type[Method],
    options: Mapping[str, Any],
    own: Commission,
    parent: Target,
    retrained: Outputs,
    originals: Outputs,
) -> Tried:
    rng = generator(own.seed, "tuning", kind.info.name)
    try:
        method = kind(**options)
        model = method.unlearn(parent.model_copy(), own.case, rng).model
    except (ValueError, ModelError) as error:
        return Tried(
            options=options, cost=np.inf, influence=np.nan, lost=np.nan, refused=str(error)
        )
    audited = answers_of([Target(model)], own)
    derived = Derived.of(Outputs.concat(retrained, originals, audited))
    reference = np.arange(len(retrained))
    trained = derived.take(len(retrained) + np.arange(len(originals)))
    values = yardstick.primary_values(derived, len(derived) - 1, reference, trained, own.case.scope)
    worst = max(values.values(), key=abs)
    lost = max(0.0, float(retrained.test_accuracy.mean() - audited.test_accuracy[0]))
    cost = abs(worst) + LOSS_WEIGHT * lost
    return Tried(options=options, cost=cost, influence=worst, lost=lost)


def _study(seed: int) -> optuna.Study:
    if importlib.util.find_spec("optuna") is None:
        raise MissingDependency(
            "searching settings needs Optuna: python -m pip install 'forget-audit[tune]'"
        )
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return optuna.create_study(sampler=optuna.samplers.TPESampler(seed=seed % 2**32))
