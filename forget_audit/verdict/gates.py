"""Conditions without which a verdict would be empty, checked before the audited model counts."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from scipy import stats as distributions

from forget_audit.findings import Gate
from forget_audit.types import SMALL_REQUEST, Labels, Scope
from forget_audit.verdict import epsilon
from forget_audit.verdict.controls import Control
from forget_audit.verdict.profiles import Profile
from forget_audit.verdict.weighing import Comparison, Family, Models, compare, standard_error
from forget_audit.verdict.yardstick import Measured

TEST_ROWS, COPIES = "TEST_ROWS", "COPIES"
NO_SPREAD = 1e-12  # retrained models that differ by rounding alone are one model


def gate_all(models: Models, known: Control, profile: Profile, scope: Scope) -> tuple[Gate, ...]:
    """Check everything without which a verdict would be empty, before the audited model counts."""
    canary = models.canary is not None
    level, references = profile.level(canary=canary), profile.exact_references(canary=canary)
    alarms = [p for p in known.identity if p <= level]
    harness = len(known.identity) >= 2 and len(alarms) == len(known.identity)
    margins = profile.margins(scope, len(models.audited))
    needed = {name: profile.control_factor * margins[name] for name in known.signals}
    signal = (
        all(known.signals[name].effect_low >= bound for name, bound in needed.items())
        and known.n_eff >= profile.n_eff
        and (known.p_value <= level or len(models.retrained) < references)
    )
    n_f, n_t = models.retrained.n_f, models.retrained.n_t
    kind = unit_word(models)
    floor = max(n_f, profile.test) if scope == "instance" else profile.test_class
    power = known.pass_probability(margins, profile.alpha)
    r, spread = len(models.retrained), float(np.std(known.main.reference, ddof=1))
    size = size_in_words(n_f)
    shown = ", ".join(f"{p:.3f}" for p in known.identity)
    details = {
        "HARNESS": (
            not harness,
            f"identity models retrained by the audit: p = {shown}; the alarm needs all of them "
            f"at {level:g} or below",
        ),
        "NO_SIGNAL": (
            signal,
            f"originals show at least {_bounds(known, needed)} and are told apart with "
            f"p = {known.p_value:.3f}; {known.n_eff:.1f} forget {kind} carry the evidence "
            f"(required {profile.n_eff:g})",
        ),
        "UNDERPOWERED": (
            n_f >= profile.forget and n_t >= floor,
            f"{size} forget {kind} (required {profile.forget}), {n_t} control {kind} (required "
            f"{floor}); a true retrain is expected to pass with probability {power:.2f}",
        ),
        "YARDSTICK": (
            r >= references and spread > NO_SPREAD,
            f"{r} retrained models (required {references}), spread {spread:.3f}",
        ),
        "SHIFT": _shift(models, scope),
        "ACCESS": _access(models, scope),
    }
    return tuple(_gate(code, good, detail) for code, (good, detail) in details.items())


def _bounds(known: Control, needed: Mapping[str, float]) -> str:
    words = {"rho_p": "of the influence", "probe": "of the difference inside the model"}
    return " and ".join(
        f"{known.signals[name].effect_low:.2f} {words[name]} (required {bound:.2f})"
        for name, bound in needed.items()
    )


def _access(models: Models, scope: Scope) -> tuple[bool, str]:
    if scope == "instance":
        return True, "black-box answers and the training recipe, as the claim needs"
    if "probe" in models.retrained.traces:
        return True, "answers, the training recipe and the weights, as the claim needs"
    return False, (
        "requests for a class or a label need a look inside the model, since its answers can be "
        "masked; this audit saw answers alone"
    )


def size_in_words(n: int) -> str:
    """Return a number of forgotten rows, only bounded if it could point at somebody."""
    return str(n) if n >= SMALL_REQUEST else f"fewer than {SMALL_REQUEST}"


def _gate(code: str, good: bool, detail: str) -> Gate:
    return Gate(code=code, outcome="pass" if good else "fail", detail=detail)


def unit_word(models: Models) -> str:
    """Return what is counted: rows, or the people they belong to."""
    return "rows" if models.retrained.units_f is None else "people"


def _shift(models: Models, scope: Scope) -> tuple[bool, str]:
    y_f, y_t = models.retrained.y_f, models.retrained.y_t
    if y_f.ndim == 2:
        return _shift_of_labels(y_f, y_t)
    y_f = _usual(y_f, models.retrained.units_f)
    y_t = _usual(y_t, models.retrained.units_t)
    classes = np.union1d(y_f, y_t)
    if scope != "instance" or len(classes) < 2:
        same = set(np.unique(y_f).tolist()) == set(np.unique(y_t).tolist())
        what = "bear the label or not" if scope == "attribute" else "are of the forgotten classes"
        return same, f"control rows {what}, like the forget rows"
    counts = np.array([[np.sum(y == c) for c in classes] for y in (y_f, y_t)])
    p = float(distributions.chi2_contingency(counts)[1])
    kind = unit_word(models)
    detail = f"class shares of forget and control {kind} agree (p = {p:.3f}; alarm at 0.001)"
    return p > 0.001, detail


def _usual(y: Labels, units: Labels | None) -> Labels:
    """Return the most frequent class of each person, the smallest of equals."""
    if units is None:
        return y
    counts = np.zeros((int(units.max()) + 1, int(y.max()) + 1), dtype=np.int64)
    np.add.at(counts, (units, y), 1)
    return np.asarray(np.argmax(counts, axis=1), dtype=np.int64)


def _shift_of_labels(y_f: Labels, y_t: Labels) -> tuple[bool, str]:
    """Compare how often each label is borne, with a Bonferroni bound over labels."""
    found = []
    for column in range(y_f.shape[1]):
        counts = np.array([[np.sum(y[:, column] == v) for v in (0, 1)] for y in (y_f, y_t)])
        if np.all(counts.sum(axis=0)) and np.all(counts.sum(axis=1)):
            found.append(float(distributions.chi2_contingency(counts)[1]))
    p = min([1.0, *(len(found) * value for value in found)])
    detail = f"shares of each label agree in forget and control rows (p = {p:.3f}; alarm at 0.001)"
    return p > 0.001, detail


def canary_gate(canary: tuple[int, int], profile: Profile) -> Gate:
    """Fail a leak that a coin-toss audit of the method has proven to exceed the margin."""
    guesses, right = canary
    level = 1 - profile.level(canary=True)
    bound = epsilon.one_run_per_example(guesses, right, m=guesses, level=level)
    detail = (
        f"{right} of {guesses} coins guessed right: epsilon of one record at least {bound:.2f} "
        f"with {100 * level:g} % confidence; fails above {profile.epsilon:g}"
    )
    return _gate("EPSILON", bound <= profile.epsilon, detail)


def control_rows_gate(
    measured: Sequence[Measured], copies: int, profile: Profile
) -> tuple[Gate, ...]:
    """Fail if control rows are proven to take more off the residual influence than the margin.

    A model that was trained on them is sure of them as it is of the forget rows. What it still
    knows of these would then pass for a matter of difficulty.

    Args:
        measured: Retrained models, then audited ones.
        copies: Number of the audited ones.
        profile: The rule.

    Returns:
        The gate, or none if it does not fail: reports of early versions know none.
    """
    values = np.array([m.values.get("taken_off", 0.0) for m in measured])
    reference, audited = values[:-copies], values[-copies:]
    error, df = standard_error(audited, reference)
    off = Comparison(
        name=TEST_ROWS, audited=audited, reference=reference, standard_error=error, df=df
    )
    low = off.difference - off.half_width(profile.accusing())
    margin = profile.margins("instance", copies)["rho_p"]
    if low <= margin:
        return ()
    detail = (
        f"the audited model knows the control rows better than retrained models do, which takes "
        f"{off.difference:.2f} off the residual influence (at least {low:.2f}, allowed {margin:g}):"
        " it seems to have been trained on them; hand in test rows that it never saw"
    )
    return (_gate(TEST_ROWS, False, detail),)


def copies_gate(
    measured: Sequence[Measured], copies: int, names: Iterable[str], profile: Profile, scope: Scope
) -> tuple[Gate, ...]:
    """Fail if one of several audited models is proven to exceed the margin of a single one.

    The mean over many copies hides one that was never unlearned, and each of them is named in the
    report as audited.

    Args:
        measured: Retrained models, then audited ones.
        copies: Number of the audited ones.
        names: Of the primary statistics.
        profile: The rule.
        scope: Of the request.

    Returns:
        The gate, or none if it does not fail: reports of early versions know none.
    """
    margins, pool = profile.margins(scope, 1), measured[:-copies]
    worst = max(
        (_beyond(pool, one, name, profile.accusing() / copies) - margins[name], number, name)
        for name in names
        for number, one in enumerate(measured[-copies:], 1)
    )
    over, number, name = worst
    if copies < 2 or over <= 0:
        return ()
    detail = (
        f"audited model {number} of {copies} by itself differs from retrained models by at least "
        f"{over + margins[name]:.2f} in {name} (allowed {margins[name]:g}): a mean over copies "
        "does not speak for each of them"
    )
    return (_gate(COPIES, False, detail),)


def _beyond(pool: Sequence[Measured], one: Measured, name: str, level: float) -> float:
    """Return how far one model is proven to lie from the retrained ones."""
    found = compare([*pool, one], 1, [name]).of(name)
    return abs(found.difference) - found.half_width(level)


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
