"""What an audit can and cannot show, said before it is carried out."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from scipy import stats as distributions

from forget_audit.audits.calibration import answers_of
from forget_audit.audits.commission import Commission
from forget_audit.training.references import prepare_references
from forget_audit.types import Json
from forget_audit.verdict import controls
from forget_audit.verdict.controls import Control, Signal
from forget_audit.verdict.profiles import Profile
from forget_audit.verdict.weighing import Models
from forget_audit.verdict.yardstick import INSTANCE_FAMILY

SPREADS = {"steady": 0.02, "typical": 0.03, "restless": 0.05}
CARRYING = 0.18
SHARES = (0.05, 0.1, 0.2, 0.4)
WANTED = 0.9


@dataclass(frozen=True, kw_only=True)
class Outlook:
    """What one assumption about the models leads to.

    Args:
        label: The assumption in a word, or `measured`.
        spreads: Seed-to-seed standard deviation of each primary statistic.
        n_eff: Number of forget rows that carry the evidence.
        pass_probability: Of a model that was truly retrained.
        detectable: Smallest residual influence told from none with probability .8.
        passing: Probability of a PASS with a random share of the rows left in, by share.
        references: Fewest retrained models at which a true retrain passes in nine of ten; none
            if more of them do not help.
        copies: Fewest independent copies at which it does, at the margin for copies.
    """

    label: str
    spreads: dict[str, float]
    n_eff: float
    pass_probability: float
    detectable: float
    passing: dict[str, float]
    references: int | None
    copies: int | None


def planned(commission: Commission) -> list[Outlook]:
    """Return the outlook under spreads that were seen on small models of many kinds.

    None for requests for a class: what its probe shows differs too much from case to case.

    At 100 forget rows the spread was between .02 and .05 and about a fifth of the rows carried
    the evidence (see the page on calibration); both are scaled to the size of the request.
    """
    n_f = commission.case.forget.numbered()[0]
    if commission.case.scope != "instance":
        return []
    return [
        _outlook(label, {"rho_p": at_100 * math.sqrt(100 / n_f)}, CARRYING * n_f, commission)
        for label, at_100 in SPREADS.items()
    ]


def measured(commission: Commission, known: Control) -> Outlook:
    """Return the outlook that references and originals of this very case lead to."""
    spreads = {
        name: float(np.std(signal.reference, ddof=1)) for name, signal in known.signals.items()
    }
    return _outlook("measured", spreads, known.n_eff, commission)


def control_of(commission: Commission) -> Control:
    """Train or recall references and originals and measure them; no audited model is involved."""
    references = commission.references or prepare_references(
        commission.workshop(), replace(commission.counts, shadows=0)
    )
    identity = answers_of(references.identity, commission)
    models = Models(
        retrained=answers_of(references.pool.retrained, commission),
        originals=answers_of(references.pool.originals, commission),
        audited=identity.take(np.arange(1)),
        identity=identity,
    )
    return controls.control(models, commission.case.scope)


def as_json(commission: Commission, outlooks: list[Outlook]) -> Json:
    """Return sizes, rule and outlooks."""
    case, profile, copies = commission.case, commission.profile, commission.counts.copies
    return {
        "rows": {role: len(rows) for role, rows in case.roles().items()},
        "references": commission.counts.retrained,
        "copies": copies,
        "alpha": profile.alpha,
        "margins": dict(profile.margins(case.scope, copies)),
        "obstacles": obstacles(commission),
        "outlooks": [vars(outlook) for outlook in outlooks],
    }


def obstacles(commission: Commission) -> list[str]:
    """Say what alone keeps this request from a PASS, whatever the models are like."""
    case, profile, counts = commission.case, commission.profile, commission.counts
    n_f, n_t = case.forget.numbered()[0], case.test.numbered()[0]
    kind = "rows" if case.forget.units is None else "people"
    grouped = case.scope != "instance"
    floor = profile.test_class if grouped else max(n_f, profile.test)
    needed = profile.exact_references(canary=commission.canary)
    found = []
    if n_f < profile.forget:
        found.append(f"{n_f} forget {kind}; at least {profile.forget} are needed")
    if not grouped and CARRYING * n_f < profile.n_eff <= n_f:
        typical = math.ceil(profile.n_eff / CARRYING)
        found.append(
            f"of {n_f} forget {kind} typically {CARRYING * n_f:.0f} carry "
            f"the evidence; {profile.n_eff:g} are needed, which took about {typical} {kind}"
        )
    if n_t < floor:
        found.append(f"{n_t} control {kind}; at least {floor} are needed")
    if counts.retrained < needed:
        found.append(f"{counts.retrained} retrained models; the exact test needs {needed}")
    if grouped and commission.access != "weights":
        found.append("requests for a class or a label need access to weights")
    return found


def lines(report: Json) -> list[str]:
    """Return the outlook for people."""
    margin = report["margins"]["rho_p"]
    text = [
        f"{report['rows']['forget']} forget rows, {report['rows']['test']} control rows, "
        f"{report['references']} references, {report['copies']} audited; margin {100 * margin:g} %",
    ]
    text += [f"cannot PASS: {obstacle}" for obstacle in report["obstacles"]]
    if not report["outlooks"]:
        text += [
            "what a request for a class or label can show differs from case to case: use --measure"
        ]
    for outlook in report["outlooks"]:
        left = ", ".join(f"{k} left in: {100 * v:.0f} %" for k, v in outlook["passing"].items())
        more, spread = _more(outlook), ", ".join(f"{s:.3f}" for s in outlook["spreads"].values())
        text += [
            f"{outlook['label']} (spread {spread}, {outlook['n_eff']:.0f} rows carry the evidence)",
            f"  a true retrain passes with probability {100 * outlook['pass_probability']:.0f} %; "
            f"{more}",
            f"  smallest residual influence seen in 8 of 10: {100 * outlook['detectable']:.0f} %",
            f"  equivalence shown with a random share of the rows still in: {left}",
        ]
    return text


def _more(outlook: Json) -> str:
    references, copies = outlook["references"], outlook["copies"]
    first = f"{references} references" if references else "no number of references"
    second = f"{copies} copies" if copies else "no number of copies up to 32"
    return f"for 90 %: {first}, or {second}"


def _outlook(
    label: str, spreads: dict[str, float], n_eff: float, commission: Commission
) -> Outlook:
    profile, counts = commission.profile, commission.counts
    r, m = counts.retrained, counts.copies
    margin = profile.margins(commission.case.scope, m)["rho_p"]
    known = _signal(spreads["rho_p"], r, m)
    return Outlook(
        label=label,
        spreads=spreads,
        n_eff=n_eff,
        pass_probability=_pass_probability(spreads, r, m, commission),
        detectable=known.detectable(profile.alpha / len(INSTANCE_FAMILY)),
        passing={
            f"{100 * share:g} %": _passing(share, known, n_eff, margin, profile) for share in SHARES
        },
        references=_fewest(
            range(profile.exact_references(canary=commission.canary), 200), spreads, m, commission
        ),
        copies=_fewest(range(profile.copies, 33), spreads, r, commission, copies=True),
    )


def _signal(spread: float, references: int, copies: int) -> Signal:
    return Signal(
        effect=np.ones(1),
        effect_low=1.0,
        reference=np.zeros(1),
        standard_error=spread * math.sqrt(1 / copies + 1 / references),
        df=float(references + copies - 2),
    )


def _passing(share: float, known: Signal, n_eff: float, margin: float, profile: Profile) -> float:
    """Probability that a random share of the rows left in is shown to lie inside the margin."""
    half = float(distributions.t.isf(profile.alpha, known.df)) * known.standard_error
    if half >= margin or n_eff <= 0:
        return 0.0
    wobble = math.hypot(known.standard_error, math.sqrt(share * (1 - share) / n_eff))
    inside = np.array([half - margin, margin - half])
    low, high = distributions.norm.cdf(inside, loc=share, scale=wobble)
    return float(high - low)


def _pass_probability(
    spreads: Mapping[str, float], references: int, copies: int, commission: Commission
) -> float:
    """Probability that a true retrain is shown equivalent in its weakest primary statistic."""
    profile = commission.profile
    margins = profile.margins(commission.case.scope, copies)
    return min(
        _signal(spread, references, copies).pass_probability(margins[name], profile.alpha)
        for name, spread in spreads.items()
    )


def _fewest(
    candidates: range,
    spreads: Mapping[str, float],
    other: int,
    commission: Commission,
    *,
    copies: bool = False,
) -> int | None:
    for n in candidates:
        r, m = (other, n) if copies else (n, other)
        if _pass_probability(spreads, r, m, commission) >= WANTED:
            return n
    return None
