"""Every model is asked twice: about rows moved a little, and in training mode.

What follows from the second answers is decided in `verdict.rehearsal`. Moves are drawn from the
root seed, like the references: whoever makes the audited model must not know it beforehand.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial

import numpy as np
from torch import nn

from forget_audit import asking, stats
from forget_audit.errors import ForgetAuditError, ModelError
from forget_audit.foreign.answering import AnswersOnly
from forget_audit.outputs import Outputs
from forget_audit.seeds import derive, generator, seeded_torch
from forget_audit.streaming import Streamed
from forget_audit.targets import Target
from forget_audit.types import Access, Case, Features, Floats, Rows
from forget_audit.verdict import rehearsal
from forget_audit.verdict.profiles import Profile

MOVES = (2.0, 1.0, 0.5, 0.25, 0.1)  # of each feature's standard deviation, the farthest first
ROWS_AT_ONCE = 512

Pair = tuple[Floats, Floats]
Ask = Callable[[Target], Pair]


def questions(case: Case, seed: int, access: Access) -> Mapping[str, Iterator[Ask]]:
    """Return how models can be asked the second time, by way, the most telling first.

    Only requests for single rows with one class each are asked twice. Features that are whole
    numbers in all rows, such as the tokens of texts, mean something else when they are moved, and
    stay; so do rows that are read from elsewhere when they are needed.

    Args:
        case: The request.
        seed: Root seed.
        access: What the audit may use; training mode needs the weights.
    """
    if case.scope != "instance" or case.multi_label:
        return {}
    parts = (case.forget, case.test)
    asks: dict[str, Iterator[Ask]] = {}
    if not any(isinstance(rows.x, Streamed) for rows in parts):
        spread = _spread(np.concatenate([rows.x for rows in parts]))
        if spread.any():
            moved = (_moved(parts, move * spread, seed) for move in MOVES)
            asks["near"] = (partial(_beside, rows) for rows in moved)
    if access == "weights":
        asks["mode"] = iter([partial(_in_training, parts, seed)])
    return asks


def settled(
    asks: Mapping[str, Iterable[Ask]],
    retrained: Sequence[Target],
    originals: Sequence[Target],
    first: tuple[Outputs, Outputs],
    profile: Profile,
) -> Mapping[str, Ask]:
    """Return for each way the first question that would find out every original, if there is one.

    Args:
        asks: By way, as `questions` gives them; no more are made than are needed.
        retrained: References.
        originals: Models trained with the forget rows.
        first: First answers of both groups.
        profile: The rule of the verdict.
    """
    found: dict[str, Ask] = {}
    for way, several in asks.items():
        for ask in several:
            try:
                again = [
                    answered(outputs, targets, {way: ask})
                    for outputs, targets in zip(first, (retrained, originals), strict=True)
                ]
            except ModelError:  # models of this kind cannot be asked so
                continue
            if rehearsal.would_be_found(again[0], again[1], way, profile):
                found[way] = ask
                break
    return found


def answered(outputs: Outputs, targets: Sequence[Target], asks: Mapping[str, Ask]) -> Outputs:
    """Return `outputs` with the second answers of the same models, as log-odds of the label.

    Raises:
        ModelError: If a model does not answer.
    """
    second = dict(outputs.second)
    for way, ask in asks.items():
        pairs = [_answers(way, ask, target) for target in targets]
        forget, control = zip(*pairs, strict=True)
        second[way] = np.stack(forget), np.stack(control)
    return dataclasses.replace(outputs, second=second)


def _answers(way: str, ask: Ask, target: Target) -> Pair:
    try:
        return ask(target)
    except ForgetAuditError as error:
        raise ModelError(
            f"asked {rehearsal.WAYS[way]}, a model gave no answer ({error}); the audit asks all "
            "models of a recipe so if its own models can answer: hand in a model that runs the "
            "code of the recipe"
        ) from error


def _spread(x: Features) -> Floats:
    """Return the standard deviation of each feature, 0 for those of whole numbers."""
    whole = np.all(x == np.round(x), axis=0)
    return np.where(whole, 0.0, x.std(axis=0))


def _moved(parts: Sequence[Rows], spread: Floats, seed: int) -> list[Rows]:
    """Return rows with Gaussian noise, of standard deviation `spread` on each feature."""
    moved = []
    for k, rows in enumerate(parts):
        rng, x = generator(seed, "moved rows", k), np.array(rows.x)
        for start in range(0, len(x), ROWS_AT_ONCE):
            batch = x[start : start + ROWS_AT_ONCE]
            batch[:] = batch + spread * rng.standard_normal(batch.shape)
        moved.append(rows.replace(x=x))
    return moved


def _beside(parts: Sequence[Rows], target: Target) -> Pair:
    forget, control = (target.log_odds(rows) for rows in parts)
    return forget, control


def _in_training(parts: Sequence[Rows], seed: int, target: Target) -> Pair:
    """Ask a copy in training mode, the same batches and the same dice for every model."""
    model = target.own_copy()
    if isinstance(model, AnswersOnly):
        raise ModelError("a model that only answers has no training mode")
    model.train()
    with seeded_torch(derive(seed, "training mode")):
        forget, control = (_log_odds(model, rows) for rows in parts)
    return forget, control


def _log_odds(model: nn.Module, rows: Rows) -> Floats:
    batches = np.array_split(np.arange(len(rows)), -(-len(rows) // ROWS_AT_ONCE))
    logits = np.concatenate([asking.ask(model, rows.x[part]) for part in batches])
    return stats.log_odds(logits, rows.y)
