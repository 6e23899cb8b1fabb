"""Coin tosses in the verdict, levels of repeated attempts, and what an audit can show."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import special
from scipy import stats as distributions

from forget_audit.audits import attempts, commission, power, runs
from forget_audit.audits.commission import Commission, from_plan
from forget_audit.errors import ForgetAuditError, PlanError, VerificationError
from forget_audit.findings import Gate
from forget_audit.model_files import safetensors_bytes
from forget_audit.outputs import Outputs
from forget_audit.plans.plan import check_plan
from forget_audit.progress import Silent
from forget_audit.training.references import Counts
from forget_audit.types import Case, Floats, Rows
from forget_audit.verdict import controls, scoretable, weighing
from forget_audit.verdict.gates import canary_gate
from forget_audit.verdict.policy import decide, weigh
from forget_audit.verdict.profiles import PROFILES
from forget_audit.verdict.weighing import Comparison, Family, Models
from tests.fixtures.commands import Run

STANDARD = PROFILES["standard"]
GATES = ("HARNESS", "NO_SIGNAL", "UNDERPOWERED", "YARDSTICK", "SHIFT", "ACCESS", "UTILITY")


@pytest.mark.parametrize(
    ("attempt", "alpha", "references"), [(1, 0.05, 19), (2, 0.025, 39), (3, 0.0125, 79)]
)
def test_each_attempt_halves_the_level(attempt: int, alpha: float, references: int) -> None:
    profile = STANDARD.at_attempt(attempt)
    assert profile.alpha == pytest.approx(alpha, rel=1e-12)
    assert profile.exact_references(canary=False) == references
    assert 1 / (references + 1) <= profile.level(canary=False) * (1 + 1e-12)
    assert 1 / references > profile.level(canary=False)
    assert dataclasses.replace(profile, alpha=STANDARD.alpha) == STANDARD


def test_all_attempts_together_spend_less_than_twice_alpha() -> None:
    spent = [STANDARD.at_attempt(n).alpha for n in range(1, 40)]
    assert sum(spent) < 2 * STANDARD.alpha
    assert STANDARD.at_attempt(2).digest() != STANDARD.digest()
    assert STANDARD.at_attempt(1).digest() == STANDARD.digest()


def test_a_coin_toss_audit_takes_half_of_the_level() -> None:
    assert STANDARD.level(canary=True) == STANDARD.alpha / 2
    assert STANDARD.exact_references(canary=True) == 39
    assert STANDARD.at_attempt(2).exact_references(canary=True) == 79
    generous = dataclasses.replace(STANDARD, references=60)
    assert generous.exact_references(canary=True) == 60


def test_attempts_are_counted_by_request_and_plan(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    assert [attempts.count(folder, "a", plan) for plan in ("p", "q", "p", "r", "q")] == [
        1, 2, 1, 3, 2,
    ]  # fmt: skip
    assert attempts.count(folder, "b", "q") == 1
    assert attempts.count(folder, "a", "s") == 4
    known = json.loads((folder / attempts.FILE).read_text("utf-8"))
    assert known == {"a": ["p", "q", "r", "s"], "b": ["q"]}
    assert {path.name for path in folder.iterdir()} <= {attempts.FILE, attempts.LOCK}


def test_a_request_is_known_again_by_its_rows_in_any_order() -> None:
    key = attempts.request_key("R", ["1", "2"])
    assert attempts.request_key("R", ["2", "1"]) == key
    others = [("R", ["1"]), ("S", ["1", "2"]), ("R", ["1", "2", "3"])]
    assert key not in [attempts.request_key(*other) for other in others]


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe", b"3", b'{"a": 3}'])
def test_an_unreadable_past_is_no_empty_one(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / attempts.FILE
    path.write_bytes(content)
    with pytest.raises(PlanError, match="cannot be read") as caught:
        attempts.count(tmp_path, "a", "p")
    assert caught.value.problems[0].place == str(path)
    assert path.read_bytes() == content


PLAN: dict[str, Any] = {
    "request": {"reference": "REQ-1", "random": 60},
    "data": {"source": "digits", "label_noise": 0.15},
    "model": {"options": {"hidden": [8]}},
    "method": {"name": "retrain"},
}


def commissioned(monkeypatch: pytest.MonkeyPatch, folder: Path, text: str) -> Commission:
    """Return what would be carried out for a plan, without carrying it out."""
    found: list[Commission] = []

    def stop(ordered: Commission, *_: object) -> None:
        found.append(ordered)
        raise ForgetAuditError("far enough")

    monkeypatch.setattr(runs, "carry_out", stop)
    monkeypatch.setenv("FORGET_AUDIT_HOME", str(folder / "home"))
    path = folder / "plan.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ForgetAuditError, match="far enough"):
        runs.certify(runs.read(path), folder / "out", None)  # type: ignore[arg-type]
    return found[0]


TOML = """\
[request]
reference = "REQ-1"
random = 60
[data]
source = "digits"
[model]
options = {{ hidden = [8] }}
{model}
[method]
name = "retrain"
options = {{}}
[report]
controller = "{controller}"
[training]
epochs = {epochs}
"""


def test_another_plan_for_the_same_request_is_judged_at_half_the_level(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def attempt(controller: str, epochs: int) -> tuple[int, float]:
        text = TOML.format(model="", controller=controller, epochs=epochs)
        ordered = commissioned(monkeypatch, tmp_path, text)
        return ordered.attempt, ordered.profile.alpha

    assert attempt("A", 3) == (1, 0.05)
    assert attempt("B", 3) == (1, 0.05)
    assert attempt("A", 4) == (2, 0.025)
    assert attempt("A", 3) == (1, 0.05)


def test_a_request_that_was_tried_too_often_is_refused_before_training(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    text = TOML.format(model="", controller="A", epochs=3)
    monkeypatch.setattr(attempts, "count", lambda *_: 16)
    assert commissioned(monkeypatch, tmp_path, text).attempt == 16
    monkeypatch.setattr(attempts, "count", lambda *_: 17)
    plan = runs.read(tmp_path / "plan.toml")
    with pytest.raises(PlanError, match="at most 16 attempts at a request, found 17"):
        runs.certify(plan, tmp_path / "out", Silent())


def test_another_model_under_the_same_name_is_another_attempt(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The plan stays as it is, but the answer need not."""
    architecture = check_plan(PLAN, tmp_path)
    found = []
    for bias in (0.0, 1.0):
        model = architecture.architecture(architecture.dataset()).build()
        for parameter in model.parameters():
            parameter.data.fill_(bias)
        (tmp_path / "mine.safetensors").write_bytes(safetensors_bytes(model))
        text = TOML.format(model='unlearned = "mine.safetensors"', controller="A", epochs=3)
        found.append(commissioned(monkeypatch, tmp_path, text).attempt)
    assert found == [1, 2]


@pytest.mark.parametrize(
    ("guesses", "right", "fails"),
    [(200, 100, False), (200, 200, True), (200, 0, False), (20, 14, False), (1, 1, False)],
)
def test_the_coin_toss_gate_fails_a_proven_leak_only(guesses: int, right: int, fails: bool) -> None:
    gate = canary_gate((guesses, right), STANDARD)
    low = 0.0
    if right:
        low = float(distributions.beta.ppf(0.025, right, guesses - right + 1))
    bound = max(0.0, float(special.logit(low))) if low else 0.0
    assert gate.code == "EPSILON"
    assert f"at least {bound:.2f} with 97.5 % confidence" in gate.detail
    assert (gate.outcome == "fail") == (bound > STANDARD.epsilon) == fails


def test_the_coin_toss_gate_turns_where_its_bound_crosses_the_margin() -> None:
    outcomes = [canary_gate((400, right), STANDARD).outcome for right in range(401)]
    turn = outcomes.index("fail")
    assert set(outcomes[turn:]) == {"fail"}
    rate = special.expit(STANDARD.epsilon)
    assert distributions.binom.sf(turn - 1, 400, rate) <= 0.025
    assert distributions.binom.sf(turn - 2, 400, rate) > 0.025


def family(**differences: float) -> Family:
    reference = np.linspace(-1, 1, 39) * 0.01
    return Family(
        comparisons=tuple(
            Comparison(
                name=name,
                audited=np.array([differences.get(name, 0.0)]),
                reference=reference,
                standard_error=0.01,
                df=38,
            )
            for name in ("rho_p", "zauc")
        ),
        p_value=0.5,
        leader="rho_p",
    )


@pytest.mark.parametrize("equivalent", [True, False])
@pytest.mark.parametrize("attributed", [(), ("rho_p",), ("zauc",)])
@pytest.mark.parametrize("other", [None, *GATES])
def test_a_proven_epsilon_fails_in_every_cell(
    equivalent: bool, attributed: tuple[str, ...], other: str | None
) -> None:
    closed = {"EPSILON", other}
    gates = [
        Gate(code=code, outcome="fail" if code in closed else "pass", detail="")
        for code in (*GATES, "EPSILON")
    ]
    found = family(**dict.fromkeys(attributed, 0.5))
    outcome, reasons = decide({"rho_p": equivalent}, attributed, gates, found)
    assert outcome == "FAIL"
    different = bool(attributed) and not (attributed == ("rho_p",) and equivalent)
    if other in ("HARNESS", "YARDSTICK"):
        assert reasons == ("EPSILON",)
    else:
        utility = ("UTILITY",) if other == "UTILITY" else ()
        assert reasons == ((("RESIDUAL",) if different else ()) + utility + ("EPSILON",))


def outputs(rng: np.random.Generator, models: int, lean: float = 0.0) -> Outputs:
    world = np.random.default_rng(1)
    y_f, y_t = world.integers(0, 2, 40), world.integers(0, 2, 110)
    base_f, base_t = world.normal(0, 1, (40, 2)), world.normal(0, 1, (110, 2))
    return Outputs(
        logits_f=base_f + 4 * lean * np.eye(2)[y_f] + rng.normal(0, 0.3, (models, 40, 2)),
        logits_t=base_t + rng.normal(0, 0.3, (models, 110, 2)),
        y_f=y_f,
        y_t=y_t,
        retain_accuracy=rng.normal(0.95, 0.002, models),
        test_accuracy=rng.normal(0.8, 0.002, models),
    )


def models_of(references: int, identity_lean: float = 0.0) -> Models:
    rng = np.random.default_rng(3)
    return Models(
        retrained=outputs(rng, references),
        originals=outputs(rng, 3, 1.0),
        audited=outputs(rng, 1),
        identity=outputs(rng, 2, identity_lean),
    )


def test_coin_tosses_in_the_whole_verdict() -> None:
    models = models_of(39)
    answers = {}
    for name, canary in {"none": None, "fair": (200, 101), "leak": (200, 190)}.items():
        found = weigh(
            dataclasses.replace(models, canary=canary), profile=STANDARD, scope="instance"
        )
        assert [gate.code for gate in found.gates].count("EPSILON") == (canary is not None)
        answers[name] = (found.verdict.outcome, found.verdict.reasons)
    assert answers == {"none": ("PASS", ()), "fair": ("PASS", ()), "leak": ("FAIL", ("EPSILON",))}


def test_with_coin_tosses_too_few_references_cannot_pass() -> None:
    few = models_of(20)
    assert weigh(few, profile=STANDARD, scope="instance").verdict.outcome == "PASS"
    found = weigh(dataclasses.replace(few, canary=(200, 101)), profile=STANDARD, scope="instance")
    assert (found.verdict.outcome, found.verdict.reasons) == ("INCONCLUSIVE", ("YARDSTICK",))
    leak = dataclasses.replace(few, canary=(200, 190))
    found = weigh(leak, profile=STANDARD, scope="instance")
    assert (found.verdict.outcome, found.verdict.reasons) == ("FAIL", ("EPSILON",))


def as_arrays(models: Models) -> scoretable.Arrays:
    arrays: scoretable.Arrays = {"y_f": models.retrained.y_f, "y_t": models.retrained.y_t}
    for group, letter in scoretable.LETTERS.items():
        answered: Outputs = getattr(models, group)
        arrays[f"racc_{letter}"] = answered.retain_accuracy
        arrays[f"logit_{letter}_f"] = answered.logits_f
        arrays[f"logit_{letter}_t"] = answered.logits_t
    return arrays


def test_coin_tosses_come_back_from_the_scores() -> None:
    arrays = as_arrays(models_of(3))
    assert scoretable.models_of(arrays).canary is None
    arrays["canary"] = np.array([200, 120])
    again = scoretable.from_bytes(scoretable.to_bytes(arrays))
    assert scoretable.models_of(again).canary == (200, 120)


@pytest.mark.parametrize("counts", [(10, 11), (10, -1), (0, 0), (-3, -4)])
def test_impossible_coin_tosses_are_refused(counts: tuple[int, int]) -> None:
    arrays = {**as_arrays(models_of(3)), "canary": np.array(counts)}
    with pytest.raises(VerificationError, match="are impossible"):
        scoretable.models_of(arrays)


BROKEN = {
    "one number": np.array([5]),
    "three numbers": np.array([5, 3, 1]),
    "a scalar": np.array(5),
    "not finite": np.array([np.inf, 3.0]),
    "nan": np.array([20.0, np.nan]),
    "words": np.array(["many", "few"]),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_coin_tosses_are_an_answer_and_not_a_crash(name: str) -> None:
    arrays = {**as_arrays(models_of(3)), "canary": BROKEN[name]}
    evidence = {"battery": {"profile": "standard"}, "request": {"scope": "instance"}}
    assert scoretable.recompute(evidence, scoretable.to_bytes(arrays))


@pytest.mark.parametrize("attempt", [1025, 5000])
def test_impossible_attempts_are_an_answer_and_not_a_crash(attempt: int) -> None:
    data = scoretable.to_bytes(as_arrays(models_of(3)))
    evidence = {
        "battery": {"profile": "standard", "attempt": attempt},
        "request": {"scope": "instance"},
    }
    assert scoretable.recompute(evidence, data)


def rows(n: int, prefix: str) -> Rows:
    rng = np.random.default_rng(len(prefix))
    ids = np.array([f"{prefix}-{i}" for i in range(n)])
    return Rows(x=rng.normal(size=(n, 2)).astype(np.float32), y=np.zeros(n, np.int64), ids=ids)


def ordered(n_f: int = 100, n_t: int = 200, r: int = 39, m: int = 1, **more: Any) -> Commission:
    case = Case(
        name="rows",
        n_classes=2,
        retain=rows(20, "r"),
        forget=rows(n_f, "fo"),
        test=rows(n_t, "tes"),
        auxiliary=rows(0, "auxi"),
        scope=more.pop("scope", "instance"),
    )
    counts = Counts(retrained=r, copies=m)
    return Commission(case=case, template=lambda: None, counts=counts, **more)  # type: ignore[arg-type,return-value]


@pytest.mark.parametrize(("n_f", "m"), [(100, 1), (30, 1), (40, 1), (100, 4), (30, 4), (60, 8)])
def test_power_of_the_two_one_sided_tests_by_simulation(n_f: int, m: int) -> None:
    """True retrains are drawn; the forecast treats the spread as known, hence the tolerance."""
    rng = np.random.default_rng(n_f + m)
    draws, r = 4000, 39
    for outlook in power.planned(ordered(n_f=n_f, m=m)):
        reference = rng.normal(0, outlook.spreads["rho_p"], (draws, r))
        audited = rng.normal(0, outlook.spreads["rho_p"], (draws, m))
        shown = simulated(audited, reference, STANDARD.margins("instance", m)["rho_p"])
        error = 4 * np.sqrt(0.25 / draws)
        assert outlook.pass_probability == pytest.approx(shown, abs=error + 0.05), outlook.label


def simulated(audited: Floats, reference: Floats, margin: float) -> float:
    """How often the interval of the difference of means lies inside the margin."""
    (draws, m), r = audited.shape, reference.shape[1]
    squares = [(group.var(axis=1) * group.shape[1]) for group in (audited, reference)]
    pooled = np.sqrt(sum(squares) / (r + m - 2) * (1 / m + 1 / r))
    half = distributions.t.isf(STANDARD.alpha, r + m - 2) * pooled
    difference = audited.mean(axis=1) - reference.mean(axis=1)
    assert half.shape == (draws,)
    return float(np.mean(np.abs(difference) + half < margin))


def test_the_simulated_interval_is_that_of_the_verdict() -> None:
    rng = np.random.default_rng(0)
    for m in (1, 5):
        audited, reference = rng.normal(0, 0.05, (200, m)), rng.normal(0, 0.05, (200, 39))
        passed = []
        for a, b in zip(audited, reference, strict=True):
            error, df = weighing.standard_error(a, b)
            compared = Comparison(name="rho_p", audited=a, reference=b, standard_error=error, df=df)
            passed.append(abs(compared.difference) + compared.half_width(0.05) < 0.12)
        assert simulated(audited, reference, 0.12) == pytest.approx(np.mean(passed), abs=0.011)


def test_a_residue_is_detected_in_eight_of_ten() -> None:
    rng = np.random.default_rng(9)
    known = controls.Signal(
        effect=np.ones(1),
        effect_low=1.0,
        reference=np.zeros(1),
        standard_error=0.05 * np.sqrt(1 + 1 / 39),
        df=38.0,
    )
    residue = known.detectable(0.05)
    audited, reference = rng.normal(residue, 0.05, 20000), rng.normal(0, 0.05, (20000, 39))
    gap = audited - reference.mean(axis=1)
    error = reference.std(axis=1, ddof=1) * np.sqrt(1 + 1 / 39)
    found = np.mean(2 * distributions.t.sf(np.abs(gap) / error, 38) <= 0.05)
    assert found == pytest.approx(0.8, abs=0.02)


def test_references_without_any_spread_are_an_answer_and_not_a_crash() -> None:
    """A recipe that ignores its seed gives the same model again and again."""
    models = models_of(20)
    same = np.zeros(20, dtype=np.int64)
    alike = dataclasses.replace(models, retrained=models.retrained.take(same))
    found = weigh(alike, profile=STANDARD, scope="instance")
    assert found.verdict.outcome == "INCONCLUSIVE"
    assert "YARDSTICK" in found.verdict.reasons


@pytest.mark.parametrize("key", ["n_f", "r", "m"])
def test_more_of_anything_shows_more(key: str) -> None:
    steps = {"n_f": (20, 30, 60, 150, 400), "r": (19, 29, 39, 79), "m": (4, 8, 16, 32)}[key]
    fixed: dict[str, Any] = {"n_f": 40, "n_t": 400}
    found = [power.planned(ordered(**{**fixed, key: step})) for step in steps]
    for k in range(len(power.SPREADS)):
        chances = [outlooks[k].pass_probability for outlooks in found]
        assert chances == sorted(chances)
        smallest = [outlooks[k].detectable for outlooks in found]
        assert smallest == sorted(smallest, reverse=True)
    order = [outlook.pass_probability for outlook in found[0]]
    assert order == sorted(order, reverse=True)


def test_a_class_request_is_as_likely_to_pass_as_its_weakest_statistic() -> None:
    """Only measured: what a probe finds was not surveyed."""
    commission = ordered(scope="class", access="weights")
    assert power.planned(commission) == []
    assert any("use --measure" in line for line in power.lines(power.as_json(commission, [])))
    rng = np.random.default_rng(4)
    found = {}
    for probe in (0.02, 0.2):
        signals = {
            name: controls.Signal(
                effect=np.ones(4),
                effect_low=0.9,
                reference=rng.normal(0, spread, 39),
                standard_error=spread,
                df=38.0,
            )
            for name, spread in (("rho_p", 0.02), ("probe", probe))
        }
        known = controls.Control(
            signals=signals, p_value=0.025, n_eff=40.0, n_statistics=6, identity=()
        )
        outlook = power.measured(commission, known)
        found[probe] = outlook.pass_probability
        assert set(outlook.spreads) == {"rho_p", "probe"}
    assert found[0.02] > 0.99
    assert found[0.2] < 0.5


def test_shares_left_in_pass_less_often_the_larger_they_are() -> None:
    for outlook in power.planned(ordered()):
        chances = list(outlook.passing.values())
        assert chances == sorted(chances, reverse=True)
        assert chances[-1] < 0.2
        assert outlook.pass_probability >= chances[0] - 0.02


def test_recommended_numbers_reach_nine_in_ten_and_no_fewer_do() -> None:
    for outlook in power.planned(ordered(n_f=40)):
        if outlook.references is not None:
            again = {o.label: o for o in power.planned(ordered(n_f=40, r=outlook.references))}
            assert again[outlook.label].pass_probability >= power.WANTED
        if outlook.copies is not None:
            again = {o.label: o for o in power.planned(ordered(n_f=40, m=outlook.copies))}
            assert again[outlook.label].pass_probability >= power.WANTED
            if outlook.copies > STANDARD.copies:
                fewer = power.planned(ordered(n_f=40, m=outlook.copies - 1))
                chances = {o.label: o.pass_probability for o in fewer}
                assert chances[outlook.label] < power.WANTED


@pytest.mark.parametrize("more", [{"canary": True}, {"profile": STANDARD.at_attempt(2)}])
def test_recommended_references_are_enough_for_the_exact_test(more: dict[str, Any]) -> None:
    commissioned_more = ordered(**more)
    needed = commissioned_more.profile.exact_references(canary=commissioned_more.canary)
    for outlook in power.planned(commissioned_more):
        assert outlook.references is None or outlook.references >= needed


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"n_f": 8}, "8 forget rows; at least 20 are needed"),
        ({"n_f": 30}, "of 30 forget rows typically 5 carry the evidence; 10 are needed"),
        ({"n_t": 60}, "60 control rows; at least 100 are needed"),
        ({"n_f": 150, "n_t": 120}, "120 control rows; at least 150 are needed"),
        ({"r": 12}, "12 retrained models; the exact test needs 19"),
        ({"r": 20, "canary": True}, "20 retrained models; the exact test needs 39"),
        (
            {"scope": "class", "n_t": 40, "access": "score"},
            "class or a label need access",
        ),
        ({"scope": "class", "n_t": 20}, "20 control rows; at least 30 are needed"),
    ],
)
def test_obstacles_are_named(settings: dict[str, Any], words: str) -> None:
    found = power.obstacles(ordered(**settings))
    assert len(found) == 1
    assert words in found[0]
    report = power.as_json(ordered(**settings), power.planned(ordered(**settings)))
    assert f"cannot PASS: {found[0]}" in power.lines(report)


def test_nothing_stands_in_the_way_of_a_usual_request() -> None:
    assert power.obstacles(ordered()) == []
    report = power.as_json(ordered(), power.planned(ordered()))
    assert json.loads(json.dumps(report)) == report
    text = power.lines(report)
    assert text[0] == "100 forget rows, 200 control rows, 39 references, 1 audited; margin 20 %"
    assert len(text) == 1 + 4 * len(power.SPREADS)


@pytest.fixture
def run(run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    monkeypatch.setenv("FORGET_AUDIT_HOME", str(tmp_path / "home"))
    return run


def test_power_command(run: Run, tmp_path: Path) -> None:
    plan = tmp_path / "plan.toml"
    plan.write_text(TOML.format(model="", controller="A", epochs=3), encoding="utf-8")
    code, out, err = run("power", plan, "--json")
    assert (code, err) == (0, "")
    report = json.loads(out)
    assert report["rows"]["forget"] == 60
    assert report["margins"] == {"rho_p": 0.2}
    assert [outlook["label"] for outlook in report["outlooks"]] == list(power.SPREADS)
    ordered_by_plan = from_plan(check_plan(json_tables(), tmp_path))
    assert report == power.as_json(ordered_by_plan, power.planned(ordered_by_plan))
    code, out, err = run("power", plan)
    assert (code, err) == (0, "")
    assert " ".join(out.split()) == " ".join(" ".join(power.lines(report)).split())
    assert not (tmp_path / ".forget-audit").exists()


def json_tables() -> dict[str, Any]:
    return {**PLAN, "data": {"source": "digits"}}


def test_power_of_a_bad_plan_names_its_problems(run: Run, tmp_path: Path) -> None:
    plan = tmp_path / "plan.toml"
    plan.write_text('[request]\nreference = "R"\nrandom = 5\n', encoding="utf-8")
    code, out, err = run("power", plan)
    assert (code, out) == (2, "")
    assert "the section [data] is missing" in err


def problems(folder: Path, **sections: Any) -> dict[str, str]:
    tables = {**PLAN, **sections}
    with pytest.raises(PlanError) as caught:
        check_plan({name: table for name, table in tables.items() if table is not None}, folder)
    return {problem.place: problem.message for problem in caught.value.problems}


@pytest.mark.parametrize("key", ["canary", "experiments"])
def test_experiments_need_a_method(tmp_path: Path, key: str) -> None:
    found = problems(tmp_path, battery={key: True}, method=None)
    assert "name it in a section [method]" in found["battery"]
    assert check_plan({**PLAN, "battery": {key: True}}, tmp_path).battery.model_dump()[key]


def test_a_coin_toss_audit_does_not_go_with_a_model_that_was_handed_in(tmp_path: Path) -> None:
    """The audit would end without a verdict, after everything was trained."""
    plan = check_plan(PLAN, tmp_path)
    model = plan.architecture(plan.dataset()).build()
    (tmp_path / "mine.safetensors").write_bytes(safetensors_bytes(model))
    section = {**PLAN["model"], "unlearned": "mine.safetensors"}
    assert "battery" in problems(tmp_path, model=section, battery={"canary": True})


@pytest.mark.parametrize("count", [1, 4, 8])
def test_candidate_shadows_come_in_threes(tmp_path: Path, count: int) -> None:
    found = problems(tmp_path, references={"candidate_shadows": count})
    assert "multiple of 3" in found["references.candidate_shadows"]
    good = check_plan({**PLAN, "references": {"candidate_shadows": 3 * count}}, tmp_path)
    assert from_plan(good).counts.candidate_shadows == 3 * count


def test_the_coin_toss_experiment_runs_whenever_the_verdict_asks_for_it(tmp_path: Path) -> None:
    for battery in ({"canary": True}, {"canary": True, "experiments": True}):
        ordered_by_plan = from_plan(check_plan({**PLAN, "battery": battery}, tmp_path))
        assert ordered_by_plan.canary
        assert ordered_by_plan.experiments.count(commission.CANARY) == 1
    assert from_plan(check_plan(PLAN, tmp_path)).experiments == ()
