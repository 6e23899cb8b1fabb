"""Evidence to verdict: profiles as data, gates, the decision table, reason codes, the scope.

PASS is only ever given by equivalence: the whole interval of every primary statistic inside its
margin. It never follows from a difference that was not found. Intersection-union testing
(Berger, 1982) and two one-sided tests (Schuirmann, 1987); differences by studentised max-T.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from forget_audit.findings import Gate, Statistic, Verdict
from forget_audit.types import SMALL_REQUEST, Decision, Outcome, Role, Scope
from forget_audit.verdict import controls, rehearsal, weighing, yardstick
from forget_audit.verdict.controls import Control
from forget_audit.verdict.gates import (
    COPIES,
    canary_gate,
    control_rows_gate,
    copies_gate,
    gate_all,
    size_in_words,
    unit_word,
    utility_gate,
)
from forget_audit.verdict.profiles import Profile
from forget_audit.verdict.weighing import Comparison, Family, Models

FAILS = ("UTILITY", rehearsal.CODE, "EPSILON", COPIES)
BLOCKS_FAIL = frozenset({"HARNESS", "YARDSTICK"})
LEANING = ("rho_p", "rho", "rho_top", "zauc", "loss_auc", "tpr1", *yardstick.WHITEBOX_FAMILY)


@dataclass(frozen=True, kw_only=True, eq=False)
class Weighed:
    """The verdict with everything that it rests on.

    Args:
        statistics: Privacy statistics first, then fidelity.
        gates: In order of the table in the documentation.
        verdict: The answer.
        control: What references and originals alone can show.
        privacy: The family that decides.
        fidelity: The family that is printed on its own line.
        fidelity_differs: Whether the model as a whole can be told from a retrained one.
        profile: The rule.
    """

    statistics: tuple[Statistic, ...]
    gates: tuple[Gate, ...]
    verdict: Verdict
    control: Control
    privacy: Family
    fidelity: Family
    fidelity_differs: bool
    profile: Profile


def weigh(models: Models, *, profile: Profile, scope: Scope) -> Weighed:
    """Compute every statistic and the verdict from what the models said.

    The same function serves the audit and whoever verifies it later from the stored scores.
    """
    known = controls.control(models, scope)
    copies = len(models.audited)
    derived = models.derived
    pool = np.concatenate([models.positions("retrained"), models.positions("audited")])
    originals = derived.take(models.positions("originals"))
    measured = yardstick.leave_one_out(derived, pool, originals, scope)
    names = weighing.family_names(measured[0], scope)
    privacy = weighing.compare(measured, copies, names)
    fidelity_names = {"attribute": yardstick.ATTRIBUTE_FIDELITY}
    whole = fidelity_names.get(scope, yardstick.FIDELITY_FAMILY)
    others = [name for name in whole if name not in names]
    fidelity = weighing.compare(measured, copies, others)
    margins = profile.margins(scope, copies)
    canary = models.canary is not None
    level = profile.difference_level(canary=canary)
    exact = len(models.retrained) >= profile.exact_references(canary=canary)
    attributed = _attributed(privacy, level, exact=exact)
    again = rehearsal.gate(models, [m.values["rho_p"] for m in measured], profile)
    shown = (
        *control_rows_gate(measured, copies, profile),
        *copies_gate(measured, copies, known.signals, profile, scope),
    )
    gates = (
        *gate_all(models, known, profile, scope),
        *shown,
        utility_gate(fidelity, profile),
        *again,
    )
    if models.canary is not None:
        gates = (*gates, canary_gate(models.canary, profile))
    equivalent = {
        name: abs(privacy.of(name).difference) + privacy.of(name).half_width(profile.alpha)
        < margins[name]
        for name in known.signals
    }
    outcome, reasons = decide(equivalent, attributed, gates, privacy)
    fidelity_differs = exact and fidelity.p_value <= profile.difference_level(canary=False)
    main = privacy.of("rho_p")
    verdict = Verdict(
        outcome=outcome,
        reasons=reasons,
        profile=profile.name,
        p_value=privacy.p_value,
        attained_bound=abs(main.difference) + main.half_width(profile.alpha),
        detectable_share=known.detectable(profile.alpha),
        scope=_scope_sentence(models, known, profile, scope),
    )
    statistics = (
        *_rows(privacy, profile, margins, attributed, equivalent),
        *_fidelity_rows(fidelity, profile, differs=fidelity_differs),
    )
    return Weighed(
        statistics=statistics,
        gates=gates,
        verdict=verdict,
        control=known,
        privacy=privacy,
        fidelity=fidelity,
        fidelity_differs=fidelity_differs,
        profile=profile,
    )


def decide(
    equivalent: Mapping[str, bool],
    attributed: Sequence[str],
    gates: Sequence[Gate],
    privacy: Family,
) -> tuple[Decision, tuple[str, ...]]:
    """Apply the decision table.

    A difference in any statistic fails, unless it is only in primary statistics that were all
    shown equivalent. Without a difference, equivalence passes and its lack is inconclusive. A
    failed gate forbids PASS; a failed `HARNESS` or `YARDSTICK` gate forbids FAIL as well,
    because then the comparison itself does not hold. The coin-toss audit compares with coins
    alone, so it fails whatever the references are like.
    """
    closed = [gate.code for gate in gates if gate.outcome == "fail"]
    failed = tuple(code for code in closed if code not in FAILS)
    proven = tuple(code for code in closed if code in FAILS)
    trivial = all(equivalent.get(name, False) for name in attributed)
    if BLOCKS_FAIL & set(failed):
        return ("FAIL", ("EPSILON",)) if "EPSILON" in proven else ("INCONCLUSIVE", failed)
    if (attributed and not trivial) or proven:
        codes = () if trivial else failure_codes(attributed, privacy, equivalent)
        return "FAIL", (*codes, *proven)
    if failed:
        return "INCONCLUSIVE", failed
    if all(equivalent.values()):
        return "PASS", (("TRIVIAL",) if attributed else ())
    return "INCONCLUSIVE", ("NOT_SHOWN",)


def failure_codes(
    attributed: Sequence[str], privacy: Family, equivalent: Mapping[str, bool]
) -> tuple[str, ...]:
    """Say in which direction the audited model differs.

    `MASK`: its answers are those of a retrained model, but the forgotten class is still inside.
    `RESIDUAL`: it still leans towards the forgotten rows. `OVERFORGET`: it leans away from
    them, which gives them away as well. `STREISAND`: its answers on them stand out.
    """
    codes = []
    leaning = {name: privacy.of(name).difference for name in attributed}
    main = privacy.of("rho_p")
    inside = any(leaning.get(name, 0) > 0 for name in yardstick.WHITEBOX_FAMILY)
    if inside and equivalent["rho_p"]:
        codes.append("MASK")
    elif main.difference > main.half_width(0.05) or any(leaning.get(n, 0) > 0 for n in LEANING):
        codes.append("RESIDUAL")
    if any(leaning.get(name, 0) < 0 for name in LEANING):
        codes.append("OVERFORGET")
    if not codes and any(leaning.get(name, 0) > 0 for name in ("dispersion", "entropy")):
        codes.append("OVERFORGET")
    if not codes:
        codes.append("STREISAND")
    return tuple(codes)


def _attributed(family: Family, level: float, *, exact: bool) -> tuple[str, ...]:
    """Name the statistics in which a difference was found."""
    if level <= 0:
        return ()
    by_holm = [c.name for c, p in zip(family.comparisons, family.holm, strict=True) if p <= level]
    if not exact:
        return tuple(by_holm)
    if family.p_value > level:
        return ()
    return tuple(dict.fromkeys([family.leader, *by_holm]))


def _rows(
    family: Family,
    profile: Profile,
    margins: Mapping[str, float],
    attributed: Sequence[str],
    equivalent: Mapping[str, bool],
) -> list[Statistic]:
    rows = []
    for c, p in zip(family.comparisons, family.holm, strict=True):
        half = c.half_width(profile.alpha)
        primary = c.name in equivalent
        outcome: Outcome
        if primary and equivalent[c.name]:
            outcome = "pass"
        elif c.name in attributed:
            outcome = "fail"
        else:
            outcome = "inconclusive" if primary else "informative"
        role: Role = "whitebox" if c.name in yardstick.WHITEBOX_FAMILY else "secondary"
        margin = margins[c.name] if primary else None
        rows.append(_statistic(c, "primary" if primary else role, half, p, outcome, margin))
    return rows


def _fidelity_rows(family: Family, profile: Profile, *, differs: bool) -> list[Statistic]:
    rows = []
    for c, p in zip(family.comparisons, family.holm, strict=True):
        outcome: Outcome = "fail" if differs and c.name == family.leader else "informative"
        rows.append(_statistic(c, "fidelity", c.half_width(profile.alpha), p, outcome, None))
    return rows


def _statistic(
    c: Comparison, role: Role, half: float, p_value: float, outcome: Outcome, margin: float | None
) -> Statistic:
    return Statistic(
        name=c.name,
        role=role,
        estimate=float(c.audited.mean()),
        reference_mean=float(c.reference.mean()),
        reference_sd=float(np.std(c.reference, ddof=1)),
        difference=c.difference,
        standard_error=c.standard_error,
        interval=(c.difference - half, c.difference + half),
        margin=margin,
        p_value=p_value,
        outcome=outcome,
    )


def _scope_sentence(models: Models, known: Control, profile: Profile, scope: Scope) -> str:
    n_f, r = models.retrained.n_f, len(models.retrained)
    margins = profile.margins(scope, len(models.audited))
    belonging = {
        "instance": "of this request",
        "class": "of the forgotten classes",
        "subclass": "of the forgotten sub-classes",
        "attribute": "that bore the forgotten label",
    }
    kind = unit_word(models)
    several = kind != "rows" and n_f >= SMALL_REQUEST
    counted = f" ({len(models.retrained.y_f)} rows)" if several else ""
    what = f"the {size_in_words(n_f)} {kind}{counted} {belonging[scope]}"
    inner = "probe" in models.retrained.traces
    looked = "answers, recipe and weights" if inner else "answers and recipe"
    inside = (
        f", and that the class stands out inside it by less than {margins['probe']:g} of what it "
        "does in a model trained with it,"
        if "probe" in known.signals
        else ""
    )
    share = f"{100 * known.detectable(profile.alpha):.0f} %"
    return (
        f"For {what}, the stated training recipe, and access to {looked}: a PASS says "
        f"that the residual influence of the audited model differs from that of {r} retrained "
        f"models by less than {margins['rho_p']:g} of the influence the {kind} have on a model "
        f"trained with them{inside or ','} with {100 * (1 - profile.error()):.0f} % confidence. "
        f"A model that kept {share} of it, spread over the {kind}, would have been told apart with "
        "probability 80 %. "
        "This does not prove deletion: other attacks, other access, a provider who adapts to the "
        "audit, and answers copied from a retrained model are outside the claim."
    )
