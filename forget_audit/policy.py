"""Evidence to verdict: profiles as data, gates, the decision table, reason codes, the scope.

PASS is only ever given by equivalence: the whole interval of every primary statistic inside its
margin. It never follows from a difference that was not found. Intersection-union testing
(Berger, 1982) and two one-sided tests (Schuirmann, 1987); differences by studentised max-T.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np
from scipy import stats as distributions

from forget_audit import weighing, yardstick
from forget_audit.digests import canonical_json, sha256
from forget_audit.types import Decision, Gate, Outcome, Role, Scope, Statistic, Verdict
from forget_audit.weighing import Comparison, Control, Family, Models

BLOCKS_FAIL = frozenset({"HARNESS", "YARDSTICK"})


@dataclass(frozen=True, kw_only=True)
class Profile:
    """The rule of the verdict, fixed before the run and digested with the plan.

    Args:
        name: Of the profile.
        alpha: Level of every test and of each side of the equivalence intervals.
        margin: Largest residual influence that passes, one audited model.
        margin_copies: The same with at least `copies` independent copies.
        copies: See `margin_copies`.
        margin_class: The same for class requests.
        control_factor: The originals' effect must exceed this many margins.
        n_eff: At least so many forget rows must carry the evidence.
        forget: At least so many forget rows.
        test: At least so many control rows, and no fewer than forget rows.
        test_class: At least so many control rows of a class request.
        references: Fewer retrained models allow no exact test.
        utility: Proven loss of accuracy beyond this fails.
    """

    name: str
    alpha: float = 0.05
    margin: float = 0.20
    margin_copies: float = 0.10
    copies: int = 4
    margin_class: float = 0.15
    control_factor: float = 2.0
    n_eff: float = 10.0
    forget: int = 20
    test: int = 100
    test_class: int = 30
    references: int = 19
    utility: float = 0.02

    def margin_for(self, scope: Scope, copies: int) -> float:
        """Return the margin of the primary statistic."""
        if scope == "class":
            return self.margin_class
        return self.margin_copies if copies >= self.copies else self.margin

    def digest(self) -> str:
        """Return the SHA-256 of all settings."""
        return sha256(canonical_json(asdict(self)))


PROFILES: Mapping[str, Profile] = {"standard": Profile(name="standard")}
PRIMARY = ("rho_p",)


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
    """

    statistics: tuple[Statistic, ...]
    gates: tuple[Gate, ...]
    verdict: Verdict
    control: Control
    privacy: Family
    fidelity: Family
    fidelity_differs: bool


def weigh(models: Models, *, profile: Profile, scope: Scope) -> Weighed:
    """Compute every statistic and the verdict from what the models said.

    The same function serves the audit and whoever verifies it later from the stored scores.
    """
    known = weighing.control(models, scope)
    copies = len(models.audited)
    derived = models.derived
    pool = np.concatenate([models.positions("retrained"), models.positions("audited")])
    originals = derived.take(models.positions("originals"))
    measured = yardstick.leave_one_out(derived, pool, originals, scope)
    privacy = weighing.compare(measured, copies, weighing.family_names(measured[0], scope))
    fidelity = weighing.compare(measured, copies, yardstick.FIDELITY_FAMILY)
    margin = profile.margin_for(scope, copies)
    exact = len(models.retrained) >= profile.references
    attributed = _attributed(privacy, profile, exact=exact)
    gates = gate_all(models, known, profile, scope, margin)
    utility = _utility(fidelity, profile)
    gates = (*gates, utility)
    equivalent = {
        name: abs(privacy.of(name).difference) + privacy.of(name).half_width(profile.alpha) < margin
        for name in PRIMARY
    }
    outcome, reasons = decide(equivalent, attributed, gates, privacy)
    fidelity_differs = exact and fidelity.p_value <= profile.alpha
    main = privacy.of("rho_p")
    verdict = Verdict(
        outcome=outcome,
        reasons=reasons,
        profile=profile.name,
        p_value=privacy.p_value,
        attained_bound=abs(main.difference) + main.half_width(profile.alpha),
        detectable_share=known.detectable(profile.alpha),
        scope=_scope_sentence(models, known, profile, margin, scope),
    )
    statistics = (
        *_rows(privacy, profile, margin, attributed, equivalent),
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
    because then the comparison itself does not hold.
    """
    failed = tuple(gate.code for gate in gates if gate.outcome == "fail" and gate.code != "UTILITY")
    useless = any(gate.code == "UTILITY" and gate.outcome == "fail" for gate in gates)
    trivial = all(name in PRIMARY and equivalent[name] for name in attributed)
    if BLOCKS_FAIL & set(failed):
        return "INCONCLUSIVE", failed
    if (attributed and not trivial) or useless:
        codes = () if trivial else failure_codes(attributed, privacy)
        return "FAIL", (*codes, *(["UTILITY"] if useless else []))
    if failed:
        return "INCONCLUSIVE", failed
    if all(equivalent.values()):
        return "PASS", (("TRIVIAL",) if attributed else ())
    return "INCONCLUSIVE", ("NOT_SHOWN",)


def failure_codes(attributed: Sequence[str], privacy: Family) -> tuple[str, ...]:
    """Say in which direction the audited model differs.

    `RESIDUAL`: it still leans towards the forgotten rows. `OVERFORGET`: it leans away from
    them, which gives them away as well. `STREISAND`: its answers on them stand out.
    """
    codes = []
    leaning = {name: privacy.of(name).difference for name in attributed}
    lean = ("rho_p", "rho", "rho_top", "zauc", "loss_auc", "tpr1")
    main = privacy.of("rho_p")
    if main.difference > main.half_width(0.05) or any(leaning.get(n, 0) > 0 for n in lean):
        codes.append("RESIDUAL")
    if any(leaning.get(name, 0) < 0 for name in lean):
        codes.append("OVERFORGET")
    if not codes and any(leaning.get(name, 0) > 0 for name in ("dispersion", "entropy")):
        codes.append("OVERFORGET")
    if not codes:
        codes.append("STREISAND")
    return tuple(codes)


def gate_all(
    models: Models, known: Control, profile: Profile, scope: Scope, margin: float
) -> tuple[Gate, ...]:
    """Check everything without which a verdict would be empty, before the audited model counts."""
    alarms = [p for p in known.identity if p <= profile.alpha]
    harness = len(known.identity) >= 2 and len(alarms) == len(known.identity)
    needed = profile.control_factor * margin
    signal = (
        known.effect_low >= needed
        and known.n_eff >= profile.n_eff
        and (known.p_value <= profile.alpha or len(models.retrained) < profile.references)
    )
    n_f, n_t = models.retrained.logits_f.shape[1], models.retrained.logits_t.shape[1]
    floor = profile.test_class if scope == "class" else max(n_f, profile.test)
    power = known.pass_probability(margin, profile.alpha)
    r, spread = len(models.retrained), float(np.std(known.reference, ddof=1))
    shown = ", ".join(f"{p:.3f}" for p in known.identity)
    details = {
        "HARNESS": (
            not harness,
            f"identity models retrained by the audit: p = {shown}; the alarm needs all of them "
            f"at {profile.alpha:g} or below",
        ),
        "NO_SIGNAL": (
            signal,
            f"originals show at least {known.effect_low:.2f} of the influence (required "
            f"{needed:.2f}) and are told apart with p = {known.p_value:.3f}; {known.n_eff:.1f} "
            f"forget rows carry the evidence (required {profile.n_eff:g})",
        ),
        "UNDERPOWERED": (
            n_f >= profile.forget and n_t >= floor,
            f"{n_f} forget rows (required {profile.forget}), {n_t} control rows (required "
            f"{floor}); a true retrain is expected to pass with probability {power:.2f}",
        ),
        "YARDSTICK": (
            r >= profile.references and spread > 0,
            f"{r} retrained models (required {profile.references}), spread {spread:.3f}",
        ),
        "SHIFT": _shift(models, scope),
        "ACCESS": (
            scope != "class",
            "class requests need white-box statistics, which this audit did not take"
            if scope == "class"
            else "black-box answers and the training recipe, as the claim needs",
        ),
    }
    return tuple(_gate(code, good, detail) for code, (good, detail) in details.items())


def _gate(code: str, good: bool, detail: str) -> Gate:
    return Gate(code=code, outcome="pass" if good else "fail", detail=detail)


def _shift(models: Models, scope: Scope) -> tuple[bool, str]:
    y_f, y_t = models.retrained.y_f, models.retrained.y_t
    classes = np.union1d(y_f, y_t)
    if scope == "class" or len(classes) < 2:
        same = set(np.unique(y_f).tolist()) == set(np.unique(y_t).tolist())
        return same, "control rows are of the forgotten classes"
    counts = np.array([[np.sum(y == c) for c in classes] for y in (y_f, y_t)])
    p = float(distributions.chi2_contingency(counts)[1])
    detail = f"class shares of forget and control rows agree (p = {p:.3f}; alarm at 0.001)"
    return p > 0.001, detail


def _utility(fidelity: Family, profile: Profile) -> Gate:
    parts, proven = [], False
    for name, words in (("retain_accuracy", "retained"), ("test_accuracy", "test")):
        comparison = fidelity.of(name)
        loss = -comparison.difference
        low = loss - comparison.half_width(profile.alpha)
        proven = proven or low > profile.utility
        parts.append(f"{words} accuracy lower by {loss:.3f} (at least {low:.3f})")
    detail = f"{', '.join(parts)}; fails if a loss beyond {profile.utility:g} is proven"
    return _gate("UTILITY", not proven, detail)


def _attributed(family: Family, profile: Profile, *, exact: bool) -> tuple[str, ...]:
    """Name the statistics in which a difference was found."""
    by_holm = [
        c.name for c, p in zip(family.comparisons, family.holm, strict=True) if p <= profile.alpha
    ]
    if not exact:
        return tuple(by_holm)
    if family.p_value > profile.alpha:
        return ()
    return tuple(dict.fromkeys([family.leader, *by_holm]))


def _rows(
    family: Family,
    profile: Profile,
    margin: float,
    attributed: Sequence[str],
    equivalent: Mapping[str, bool],
) -> list[Statistic]:
    rows = []
    for c, p in zip(family.comparisons, family.holm, strict=True):
        half = c.half_width(profile.alpha)
        primary = c.name in PRIMARY
        outcome: Outcome
        if primary and equivalent[c.name]:
            outcome = "pass"
        elif c.name in attributed:
            outcome = "fail"
        else:
            outcome = "inconclusive" if primary else "informative"
        role: Role = "primary" if primary else "secondary"
        rows.append(_statistic(c, role, half, p, outcome, margin if primary else None))
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


def _scope_sentence(
    models: Models, known: Control, profile: Profile, margin: float, scope: Scope
) -> str:
    n_f, r = models.retrained.logits_f.shape[1], len(models.retrained)
    size = f"the {n_f} rows" if n_f >= 10 else "the fewer than 10 rows"
    what = f"{size} of the forgotten classes" if scope == "class" else f"{size} of this request"
    share = f"{100 * known.detectable(profile.alpha):.0f} %"
    return (
        f"For {what}, the stated training recipe, and access to answers and recipe: a PASS says "
        f"that the residual influence of the audited model differs from that of {r} retrained "
        f"models by less than {margin:g} of the influence the rows have on a model trained "
        f"with them, with {100 * (1 - profile.alpha):.0f} % confidence. A model that kept "
        f"{share} of it, spread over the rows, would have been told apart with probability 80 %. "
        "This does not prove deletion: other attacks, other access, a provider who adapts to the "
        "audit, and answers copied from a retrained model are outside the claim."
    )
