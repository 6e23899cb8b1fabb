"""Answers that seem rehearsed: clean on the deleted rows, and not when asked in another way.

A model can recognise the very rows of an audit and answer them from a table, or by another
network. So every model is asked a second time: about rows moved a little, and in training mode.
The change of the residual influence from the first to the second answers is a statistic like any
other, with the retrained models as its yardstick. A model that knows rows by heart knows rows
very near them too, so an honest model changes no more than a retrained one.

The idea of asking beside the rows follows label-only attacks (Choquette-Choo et al., 2021,
arXiv:2007.14321), which find members by how far their answers carry.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from forget_audit.findings import Gate
from forget_audit.outputs import Derived, Outputs
from forget_audit.types import Floats
from forget_audit.verdict import yardstick
from forget_audit.verdict.profiles import Profile
from forget_audit.verdict.weighing import Comparison, Models, standard_error

CODE = "REHEARSED"
WAYS: Mapping[str, str] = {"near": "beside the rows", "mode": "in training mode"}


def gate(models: Models, first: Sequence[float], profile: Profile) -> tuple[Gate, ...]:
    """Fail a change from first to second answers that is proven to exceed the margin.

    Args:
        models: The groups of one audit.
        first: `rho_p` of each retrained, then each audited model, from their first answers.
        profile: The rule.

    Returns:
        One gate, or none if nobody was asked twice.
    """
    ways = [way for way in WAYS if way in models.retrained.second]
    if not ways:
        return ()
    margin = profile.margins("instance", len(models.audited))["rho_p"]
    parts, proven = [], False
    for way in ways:
        found = change(models, np.array(first), way)
        low = abs(found.difference) - found.half_width(profile.accusing())
        proven = proven or low > margin
        parts.append(f"{WAYS[way]} by {found.difference:.3f} (at least {max(low, 0.0):.3f})")
    detail = (
        f"asked again, the residual influence moves {', '.join(parts)}, compared with retrained "
        f"models; fails if a change beyond {margin:g} is proven"
    )
    return (Gate(code=CODE, outcome="fail" if proven else "pass", detail=detail),)


def change(models: Models, first: Floats, way: str) -> Comparison:
    """Compare how far `rho_p` moves in the audited and in the retrained models.

    Args:
        models: The groups of one audit, asked twice.
        first: `rho_p` of each retrained, then each audited model, from their first answers.
        way: How they were asked the second time, of `WAYS`.
    """
    moved = _second(way, models.originals, models.retrained, models.audited) - first
    r = len(models.retrained)
    return _comparison(way, reference=moved[:r], audited=moved[r:])


def would_be_found(retrained: Outputs, originals: Outputs, way: str, profile: Profile) -> bool:
    """Say whether asking in this way finds each original that has a perfect table for the rows.

    Settled by retrained models and originals alone, before the audited model is asked.
    """
    pool = Derived.of(retrained)
    measured = yardstick.leave_one_out(
        pool, np.arange(len(pool)), Derived.of(originals), "instance", primary_only=True
    )
    first = np.array([m.values["rho_p"] for m in measured])
    margin = profile.margins("instance", 1)["rho_p"]
    asked = Derived.of(_as_outputs(retrained, way), _as_outputs(originals, way))
    reference, positive = np.split(np.arange(len(asked)), [len(retrained)])
    taught = asked.take(positive)
    moved = _second(way, originals, retrained) - first
    half = _comparison(way, reference=moved, audited=np.zeros(1)).half_width(profile.accusing())
    null = yardstick.null_of(asked.take(reference))
    found = [
        yardstick.primary_values(asked, int(k), reference, taught, "instance", null)["rho_p"]
        for k in positive
    ]
    return half <= margin and min(found) - half > margin


def _second(way: str, originals: Outputs, *pool: Outputs) -> Floats:
    """Return `rho_p` of each model of the pool `(models,)`, from its second answers."""
    derived = Derived.of(*(_as_outputs(group, way) for group in pool))
    taught = Derived.of(_as_outputs(originals, way))
    measured = yardstick.leave_one_out(
        derived, np.arange(len(derived)), taught, "instance", primary_only=True
    )
    return np.array([m.values["rho_p"] for m in measured])


def _comparison(way: str, *, reference: Floats, audited: Floats) -> Comparison:
    error, df = standard_error(audited, reference)
    return Comparison(name=way, audited=audited, reference=reference, standard_error=error, df=df)


def _as_outputs(outputs: Outputs, way: str) -> Outputs:
    """Return second answers as first ones: two classes, with the log-odds of the label for 0."""
    forget, control = (
        np.stack([values, np.zeros_like(values)], axis=-1) for values in outputs.second[way]
    )
    return replace(
        outputs,
        logits_f=forget,
        logits_t=control,
        y_f=np.zeros(forget.shape[1], dtype=np.int64),
        y_t=np.zeros(control.shape[1], dtype=np.int64),
        traces={},
        second={},
    )
