"""Conditions without which a verdict would be empty, checked before the audited model counts."""

import numpy as np
from scipy import stats as distributions

from forget_audit.findings import Gate
from forget_audit.profiles import Profile
from forget_audit.types import SMALL_REQUEST, Scope
from forget_audit.weighing import Control, Family, Models


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
    size = size_in_words(n_f)
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
            f"{size} forget rows (required {profile.forget}), {n_t} control rows (required "
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


def size_in_words(n: int) -> str:
    """Return a number of forgotten rows, only bounded if it could point at somebody."""
    return str(n) if n >= SMALL_REQUEST else f"fewer than {SMALL_REQUEST}"


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


def utility_gate(fidelity: Family, profile: Profile) -> Gate:
    """Fail only a loss of accuracy that is proven to exceed the margin."""
    parts, proven = [], False
    for name, words in (("retain_accuracy", "retained"), ("test_accuracy", "test")):
        comparison = fidelity.of(name)
        loss = -comparison.difference
        low = loss - comparison.half_width(profile.alpha)
        proven = proven or low > profile.utility
        parts.append(f"{words} accuracy lower by {loss:.3f} (at least {low:.3f})")
    detail = f"{', '.join(parts)}; fails if a loss beyond {profile.utility:g} is proven"
    return _gate("UTILITY", not proven, detail)
