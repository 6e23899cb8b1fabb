"""The decision table, cell by cell, the gates, and the profile."""

import dataclasses
import itertools
from typing import Any

import numpy as np
import pytest
from scipy.stats import binom

from forget_audit.findings import Gate
from forget_audit.outputs import Outputs
from forget_audit.verdict import controls, policy
from forget_audit.verdict.policy import decide, failure_codes
from forget_audit.verdict.profiles import PROFILES, Profile
from forget_audit.verdict.weighing import Comparison, Family, Models
from forget_audit.verdict.yardstick import INSTANCE_FAMILY

STANDARD = PROFILES["standard"]
GATES = ("HARNESS", "NO_SIGNAL", "UNDERPOWERED", "YARDSTICK", "SHIFT", "ACCESS", "UTILITY")


def comparison(name: str, difference: float = 0.0, error: float = 0.01) -> Comparison:
    reference = np.linspace(-1, 1, 39) * error
    return Comparison(
        name=name,
        audited=np.array([difference]),
        reference=reference,
        standard_error=error,
        df=38,
    )


def family(**differences: float) -> Family:
    return Family(
        comparisons=tuple(comparison(n, differences.get(n, 0.0)) for n in INSTANCE_FAMILY),
        p_value=0.5,
        leader="rho_p",
    )


def gates(*failed: str) -> list[Gate]:
    return [
        Gate(code=code, outcome="fail" if code in failed else "pass", detail="") for code in GATES
    ]


@pytest.mark.parametrize("equivalent", [True, False])
@pytest.mark.parametrize("attributed", [(), ("rho_p",), ("zauc",), ("rho_p", "js")])
@pytest.mark.parametrize("failed", [(), *[(code,) for code in GATES], ("NO_SIGNAL", "UTILITY")])
def test_decision_table(
    equivalent: bool, attributed: tuple[str, ...], failed: tuple[str, ...]
) -> None:
    found = family(**dict.fromkeys(attributed, 0.5))
    outcome, reasons = decide({"rho_p": equivalent}, attributed, gates(*failed), found)
    trivial = attributed == ("rho_p",) and equivalent
    different = bool(attributed) and not trivial
    blocked = bool(set(failed) - {"UTILITY"})
    if {"HARNESS", "YARDSTICK"} & set(failed):
        expected = "INCONCLUSIVE"
    elif different or "UTILITY" in failed:
        expected = "FAIL"
    elif blocked or not equivalent:
        expected = "INCONCLUSIVE"
    else:
        expected = "PASS"
    assert outcome == expected
    if outcome == "FAIL":
        assert ("UTILITY" in reasons) == ("UTILITY" in failed)
        assert ("RESIDUAL" in reasons) == different
    if outcome == "INCONCLUSIVE":
        assert reasons == (tuple(c for c in failed if c != "UTILITY") or ("NOT_SHOWN",))
    if outcome == "PASS":
        assert reasons == (("TRIVIAL",) if attributed else ())


@pytest.mark.parametrize("codes", list(itertools.product([True, False], repeat=2)))
def test_nothing_but_equivalence_with_all_gates_passes(codes: tuple[bool, bool]) -> None:
    equivalent, clean = codes
    outcome, _ = decide({"rho_p": equivalent}, (), gates(*([] if clean else ["SHIFT"])), family())
    assert (outcome == "PASS") == (equivalent and clean)


@pytest.mark.parametrize(
    ("differences", "codes"),
    [
        ({"rho_p": 0.9}, ("RESIDUAL",)),
        ({"rho_p": -0.9}, ("OVERFORGET",)),
        ({"zauc": -0.4}, ("OVERFORGET",)),
        ({"zauc": 0.4}, ("RESIDUAL",)),
        ({"rho_p": 0.9, "loss_auc": -0.5}, ("RESIDUAL", "OVERFORGET")),
        ({"dispersion": 0.7}, ("OVERFORGET",)),
        ({"entropy": 0.7}, ("OVERFORGET",)),
        ({"entropy": -0.7}, ("STREISAND",)),
        ({"js": 0.7}, ("STREISAND",)),
        ({"js": -0.7}, ("STREISAND",)),
    ],
)
def test_failures_are_named_by_direction(
    differences: dict[str, float], codes: tuple[str, ...]
) -> None:
    found = failure_codes(tuple(differences), family(**differences), {"rho_p": False})
    assert found == codes


def test_negating_every_score_never_turns_fail_into_pass() -> None:
    for sign in (1, -1):
        found = family(rho_p=sign * 0.9)
        outcome, _ = decide({"rho_p": False}, ("rho_p",), gates(), found)
        assert outcome == "FAIL"


def test_margins_by_scope_and_copies() -> None:
    assert STANDARD.margins("instance", 1) == {"rho_p": 0.20}
    assert STANDARD.margins("instance", 3) == {"rho_p": 0.20}
    assert STANDARD.margins("instance", 4) == {"rho_p": 0.10}
    assert STANDARD.margins("class", 1) == {"rho_p": 0.15, "probe": 0.35}
    assert STANDARD.margins("subclass", 4) == {"rho_p": 0.15, "probe": 0.25}


def test_every_setting_is_in_the_digest_of_a_profile() -> None:
    digests = {STANDARD.digest()}
    for item in dataclasses.fields(Profile):
        value = getattr(STANDARD, item.name)
        other = value + "x" if isinstance(value, str) else value + 1
        changes: dict[str, Any] = {item.name: other}
        digests.add(dataclasses.replace(STANDARD, **changes).digest())
    assert len(digests) == 1 + len(dataclasses.fields(Profile))


def outputs(
    rng: np.random.Generator, models: int, n_f: int, n_t: int, lean: float, shift: bool = False
) -> Outputs:
    world = np.random.default_rng(1)
    y_f, y_t = world.integers(0, 2, n_f), world.integers(0, 2, n_t)
    if shift:
        y_f = np.ones(n_f, dtype=np.int64)
    base_f, base_t = world.normal(0, 1, (n_f, 2)), world.normal(0, 1, (n_t, 2))
    return Outputs(
        logits_f=base_f + 4 * lean * np.eye(2)[y_f] + rng.normal(0, 0.5, (models, n_f, 2)),
        logits_t=base_t + rng.normal(0, 0.5, (models, n_t, 2)),
        y_f=y_f,
        y_t=y_t,
        retain_accuracy=rng.normal(0.95, 0.002, models),
        test_accuracy=rng.normal(0.8, 0.002, models),
    )


def world(
    *,
    seed: int = 0,
    n_f: int = 100,
    n_t: int = 200,
    r: int = 39,
    lean: float = 0.0,
    taught: float = 1.0,
    copies: int = 1,
    identity_lean: float = 0.0,
    shift: bool = False,
) -> Models:
    rng = np.random.default_rng(seed)
    return Models(
        retrained=outputs(rng, r, n_f, n_t, 0.0, shift),
        originals=outputs(rng, 8, n_f, n_t, taught, shift),
        audited=outputs(rng, copies, n_f, n_t, lean, shift),
        identity=outputs(rng, 2, n_f, n_t, identity_lean, shift),
    )


def verdict(models: Models, scope: str = "instance") -> tuple[str, tuple[str, ...]]:
    weighed = policy.weigh(models, profile=STANDARD, scope=scope)  # type: ignore[arg-type]
    return weighed.verdict.outcome, weighed.verdict.reasons


def test_three_answers() -> None:
    assert verdict(world()) == ("PASS", ())
    assert verdict(world(lean=1.0)) == ("FAIL", ("RESIDUAL",))
    assert verdict(world(lean=-1.0)) == ("FAIL", ("OVERFORGET",))
    assert verdict(world(n_f=8)) == ("INCONCLUSIVE", ("NO_SIGNAL", "UNDERPOWERED"))


@pytest.mark.parametrize(
    ("settings", "code"),
    [
        ({"identity_lean": 1.0}, "HARNESS"),
        ({"taught": 0.0}, "NO_SIGNAL"),
        ({"n_f": 15}, "UNDERPOWERED"),
        ({"n_t": 60}, "UNDERPOWERED"),
        ({"r": 12}, "YARDSTICK"),
        ({"shift": True}, "SHIFT"),
    ],
)
def test_each_gate_forbids_a_pass(settings: dict[str, object], code: str) -> None:
    outcome, reasons = verdict(world(**settings))  # type: ignore[arg-type]
    assert outcome == "INCONCLUSIVE"
    assert code in reasons


def test_class_requests_cannot_pass_on_answers_alone() -> None:
    models = world(shift=True)
    models = dataclasses.replace(models)
    outcome, reasons = verdict(models, scope="class")
    assert outcome == "INCONCLUSIVE"
    assert "ACCESS" in reasons
    assert verdict(world(lean=1.0, shift=True), scope="class")[0] == "FAIL"


def test_small_requests_can_still_fail() -> None:
    assert verdict(world(n_f=10, lean=1.0))[0] == "FAIL"


def test_a_failing_harness_forbids_a_fail_as_well() -> None:
    assert verdict(world(lean=1.0, identity_lean=1.0)) == ("INCONCLUSIVE", ("HARNESS",))


def test_a_proven_loss_of_accuracy_fails_and_a_possible_one_does_not() -> None:
    models = world()
    worse = dataclasses.replace(models.audited, test_accuracy=np.array([0.75]))
    assert verdict(dataclasses.replace(models, audited=worse)) == ("FAIL", ("UTILITY",))
    slightly = dataclasses.replace(models.audited, test_accuracy=np.array([0.785]))
    assert verdict(dataclasses.replace(models, audited=slightly))[0] == "PASS"


def test_copies_are_held_to_the_narrower_margin() -> None:
    weighed = policy.weigh(world(copies=4), profile=STANDARD, scope="instance")
    assert weighed.statistics[0].margin == 0.10
    assert weighed.verdict.outcome == "PASS"
    assert verdict(world(copies=4, lean=0.3))[0] == "FAIL"


def test_few_references_use_holm_and_never_pass() -> None:
    assert verdict(world(r=12, lean=1.0))[0] == "INCONCLUSIVE"
    assert "YARDSTICK" in verdict(world(r=12))[1]


def test_detectable_share_shrinks_with_the_request() -> None:
    small = controls.control(world(n_f=20), "instance").detectable(0.05)
    large = controls.control(world(n_f=200, n_t=400), "instance").detectable(0.05)
    assert large < small
    assert controls.control(world(), "instance").pass_probability({"rho_p": 0.2}, 0.05) > 0.9
    assert controls.control(world(), "instance").pass_probability({"rho_p": 0.001}, 0.05) == 0.0


def test_a_true_retrain_is_rarely_failed() -> None:
    outcomes = [verdict(world(seed=seed))[0] for seed in range(12)]
    assert outcomes.count("FAIL") <= binom.ppf(0.999, 12, STANDARD.alpha)
    assert outcomes.count("PASS") >= binom.ppf(0.001, 12, 0.9)
