"""Whoever may try again until it passes: plan seeds chosen after the result was seen.

One audited model, and references drawn afresh for each attempt, as another plan seed draws them.
Counted attempts are held to half the level each time; where nobody counts, the first rule serves
for all of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from benchmarks.providers.worlds import Finding, Suspect, World, world
from forget_audit.seeds import generator
from forget_audit.targets import Target

ATTEMPTS, REFERENCES, ORIGINALS = 5, 41, 8
GROUP = "Seeds chosen after the result"
WAYS = {"attempts counted": True, "attempts not counted": False}
SHARES = {"a fifth": 0.2, "two fifths": 0.4}


def best_of(seeds: int) -> Iterator[tuple[str, str, Sequence[Finding]]]:
    """Yield name, what the docs say, and the best finding of each audited model."""
    room = world(1000, pool=ATTEMPTS * REFERENCES, originals=ATTEMPTS * ORIGINALS)
    for words, share in SHARES.items():
        models = _left_in(room, share, seeds)
        for way, counted in WAYS.items():
            name = f"{words} of the rows left in, best of {ATTEMPTS} plan seeds, {way}"
            findings = [_best(room, model, counted=counted) for model in models]
            yield name, "missed" if share == 0.2 else "caught", findings


def _left_in(room: World, share: float, seeds: int) -> list[Suspect]:
    case = room.commission.case
    n_r, n_f = len(case.retain), len(case.forget)
    rng = generator(room.commission.seed, "left in", str(share))
    subsets = [
        np.concatenate([np.arange(n_r), n_r + rng.permutation(n_f)[: round(share * n_f)]])
        for _ in range(seeds)
    ]
    models = room.commission.workshop().train(f"{share} left in", case.training, subsets)
    return [Suspect(audited=room.bench.ask([Target(model)])) for model in models]


def _best(room: World, suspect: Suspect, *, counted: bool) -> Finding:
    """Return the first PASS of several attempts, or else the first finding."""
    findings = []
    for attempt in range(1, ATTEMPTS + 1):
        start, taught = (attempt - 1) * REFERENCES, (attempt - 1) * ORIGINALS
        fresh = Suspect(
            audited=suspect.audited,
            retrained=room.bench.retrained.take(np.arange(start, start + REFERENCES)),
            originals=room.bench.originals.take(np.arange(taught, taught + ORIGINALS)),
        )
        profile = room.commission.profile.at_attempt(attempt if counted else 1)
        rng = generator(0, "attempts")
        findings.append(room.judge(fresh, "weights", 0, rng, profile))
        if findings[-1][0] == "PASS":
            return findings[-1]
    return findings[0]
