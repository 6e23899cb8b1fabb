"""From models to the verdict: in one look, or in one of several."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from forget_audit.attributes import look_inside
from forget_audit.audits import second_questions
from forget_audit.audits.commission import CANARY, Commission
from forget_audit.errors import NotApplicable
from forget_audit.findings import AttackResult
from forget_audit.progress import Display
from forget_audit.targets import Target
from forget_audit.training.references import References
from forget_audit.types import Floats
from forget_audit.verdict import scoretable
from forget_audit.verdict.policy import Weighed, weigh
from forget_audit.verdict.weighing import GROUPS, Group

ROUNDING = 1e-3  # of log-odds


@dataclass(frozen=True, kw_only=True, eq=False)
class Judged:
    """A verdict, and what it rests on.

    Args:
        scores: Content of `scores.npz`.
        weighed: The verdict with its statistics.
        sequential: What the evidence says of the looks; none if there is one alone.
        wanted: Retrained models at the next look; none if the verdict is clear.
    """

    scores: bytes
    weighed: Weighed
    sequential: dict[str, object] | None = None
    wanted: int | None = None


def judge(
    commission: Commission,
    references: References,
    audited: Sequence[Target],
    experiments: Sequence[AttackResult],
    secret: bytes,
    shown: Display,
) -> Judged:
    """Return the verdict from the models that are there.

    Args:
        commission: Rows, rule and access.
        references: The models for comparison, of a sequential audit those of one look.
        audited: The audited model, or copies of it.
        experiments: Results of experiments on the method; one of them may take part.
        secret: Of the pseudonyms.
        shown: Shows how far it is.
    """
    case = commission.case
    scores = _scores(commission, references, audited, experiments, secret, shown)
    answers = scoretable.models_of(scoretable.from_bytes(scores))
    if not commission.sequential:
        weighed = weigh(answers, profile=commission.profile, scope=case.scope)
        return Judged(scores=scores, weighed=weighed)
    looks = commission.looks()
    look = looks.sizes.index(len(references.pool.retrained)) + 1
    weighed = looks.weigh(answers, look, scope=case.scope)
    clear = looks.step(weighed, look) == "stop"
    return Judged(
        scores=scores,
        weighed=weighed,
        sequential=looks.as_json(look),
        wanted=None if clear else looks.sizes[look],
    )


def _scores(
    commission: Commission,
    references: References,
    audited: Sequence[Target],
    experiments: Sequence[AttackResult],
    secret: bytes,
    shown: Display,
) -> bytes:
    """Return the content of `scores.npz`."""
    case, seed = commission.case, commission.seed
    groups: dict[Group, Sequence[Target]] = {
        "retrained": references.pool.retrained,
        "originals": references.pool.originals,
        "audited": audited,
        "identity": references.identity,
    }
    with shown.stage("statistics", sum(len(groups[name]) for name in GROUPS)) as step:
        inside = {
            name: look_inside(targets, case, seed, commission.access, step)
            for name, targets in groups.items()
        }
        arrays = scoretable.collect(groups, case, secret, inside)
        arrays |= _second_answers(commission, groups, arrays)
        if commission.canary:
            arrays["canary"] = _canary(experiments)
        return scoretable.to_bytes(arrays)


def _second_answers(
    commission: Commission, groups: Mapping[Group, Sequence[Target]], arrays: scoretable.Arrays
) -> scoretable.Arrays:
    """Ask everyone twice, in ways settled by originals and the references of the first look."""
    asks = second_questions.questions(commission.case, commission.seed, commission.access)
    known, count = scoretable.models_of(arrays), commission.first_counts().retrained
    ways = second_questions.settled(
        asks,
        groups["retrained"][:count],
        groups["originals"],
        (known.retrained.take(np.arange(count)), known.originals),
        commission.profile,
    )
    again: scoretable.Arrays = {}
    for way, ask in ways.items():
        asked: scoretable.Arrays = {}
        for group, letter in scoretable.LETTERS.items():
            outputs = second_questions.answered(getattr(known, group), groups[group], {way: ask})
            for part, values in zip("ft", outputs.second[way], strict=True):
                asked[f"{way}_{letter}_{part}"] = values.astype(np.float32)
        if not all(_same(values, arrays, name) for name, values in asked.items()):
            again |= asked
    return again


def _same(values: Floats, arrays: scoretable.Arrays, name: str) -> bool:
    """Say whether second answers are the first ones, up to how batches are computed."""
    _, _, rest = name.partition("_")
    return bool(np.allclose(values, arrays[f"phi_{rest}"], rtol=0, atol=ROUNDING))


def _canary(experiments: Sequence[AttackResult]) -> npt.NDArray[np.int64]:
    """Return guesses and right ones of the coin-toss audit.

    Raises:
        NotApplicable: If it could not be carried out.
    """
    found = next(result for result in experiments if result.name == CANARY)
    if found.reason:
        raise NotApplicable(f"the verdict asks for a coin-toss audit: {found.reason}")
    values = {metric.name: metric.audited for metric in found.metrics}
    return np.array([values["guesses"], values["correct"]], dtype=np.int64)
