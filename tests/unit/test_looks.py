"""Looks at growing numbers of references: levels, steps, and how often they are wrong."""

import dataclasses
import json
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from scipy.special import expit, logit
from scipy.stats import binom

from forget_audit import stats
from forget_audit.digests import sha256
from forget_audit.errors import VerificationError
from forget_audit.outputs import Outputs
from forget_audit.seeds import generator
from forget_audit.types import Floats, Json
from forget_audit.verdict import scoretable
from forget_audit.verdict.looks import Looks, looks_of
from forget_audit.verdict.policy import Weighed, weigh
from forget_audit.verdict.profiles import PROFILES
from forget_audit.verdict.weighing import Models

STANDARD = PROFILES["standard"]
LOOKS = Looks.of(STANDARD)
N_F, N_T, ORIGINALS = 80, 120, 4
SPREAD = 0.03  # of what seeds leave of the influence


@pytest.fixture(scope="module")
def ease() -> Floats:
    return generator(90, "ease").normal(-1.0, 0.7, N_F)


@dataclasses.dataclass(frozen=True)
class World:
    """Retrained models are alike; `lean` is what the audited one has kept of the influence."""

    ease: Floats
    seed: int

    def outputs(self, name: str, models: int, lean: float) -> Outputs:
        rng = generator(91, self.seed, name)
        shared = generator(92, "expected").normal(size=(400, 1))
        without, taught = (expit(self.ease + up + shared).mean(axis=0) for up in (0.0, 3.0))
        kept = lean + SPREAD * rng.normal(size=(models, 1))
        p = expit(self.ease + rng.normal(size=(models, N_F))) + kept * (taught - without)
        phi_f = logit(np.clip(p, 1e-6, 1 - 1e-6))
        if lean == 1.0:
            phi_f = self.ease + 3.0 + rng.normal(size=(models, N_F))
        phi_t = rng.normal(size=(models, N_T)) + generator(93).normal(-1.0, 0.7, N_T)
        zeros = np.zeros((1, 1))
        return Outputs(
            logits_f=np.stack([phi_f + zeros, 0 * phi_f], axis=-1),
            logits_t=np.stack([phi_t + zeros, 0 * phi_t], axis=-1),
            y_f=np.zeros(N_F, np.int64),
            y_t=np.zeros(N_T, np.int64),
            retain_accuracy=0.9 + 0.01 * rng.random(models),
            test_accuracy=0.8 + 0.01 * rng.random(models),
        )

    def models(self, lean: float, retrained: int = 79) -> Models:
        return Models(
            retrained=self.outputs("retrained", 79, 0.0).take(np.arange(retrained)),
            originals=self.outputs("originals", ORIGINALS, 1.0),
            audited=self.outputs("audited", 1, lean),
            identity=self.outputs("identity", 2, 0.0),
        )


def until_it_stops(models: Models, looks: Looks = LOOKS) -> tuple[int, Weighed]:
    for look in range(1, 4):
        weighed = looks.weigh(models, look, scope="instance")
        if looks.step(weighed, look) == "stop":
            return look, weighed
    raise AssertionError("the last look always stops")


def test_levels_are_those_of_the_table_and_add_up() -> None:
    assert LOOKS.sizes == (19, 39, 79)
    assert [LOOKS.at(k).alpha for k in (1, 2, 3)] == pytest.approx([0.01, 0.02, 0.02])
    assert LOOKS.differences() == (0.0, 0.025, 0.025)
    assert LOOKS.differences()[1] >= 1 / 40, "the most extreme of 40 is a difference"
    assert 2 / 80 <= LOOKS.differences()[2] < 3 / 80, "so is the second most extreme of 80"


@pytest.mark.parametrize("attempt", range(1, 7))
@pytest.mark.parametrize("canary", [False, True], ids=["alone", "with coins"])
@pytest.mark.parametrize("most", [79, 159, 319])
def test_no_attempt_spends_more_than_its_level(attempt: int, canary: bool, most: int) -> None:
    profile = STANDARD.at_attempt(attempt)
    looks = Looks.of(profile, canary=canary, most=most)
    spent = looks.differences()
    assert sum(spent) <= profile.level(canary=canary) + 1e-15
    assert sum(looks.at(k).alpha for k in (1, 2, 3)) == pytest.approx(profile.alpha)
    assert spent[0] == 0
    for level, size in zip(spent, looks.sizes, strict=True):
        assert level == 0 or level >= 1 / (size + 1) - 1e-12, "a level that is never reached"
    for k, level in enumerate(spent, start=1):
        at = looks.at(k)
        assert at.difference_level(canary=canary) == level
        assert at.level(canary=canary) == profile.level(canary=canary)
        assert at.margins("instance", 1) == profile.margins("instance", 1)
        assert at.error() == profile.alpha
    reachable = profile.level(canary=canary) >= 1 / (most + 1)
    assert (sum(spent) == pytest.approx(profile.level(canary=canary))) is reachable
    assert any(spent) is reachable


def test_rank_p_values_reach_the_levels_as_often_as_they_say() -> None:
    """Ranks among 39 and 79 others, the first 39 shared: the worst that looks can do together."""
    rng = generator(94)
    false, trials = 0, 40_000
    pool = rng.random((trials, 79))
    own = rng.random((trials, 1))
    p2 = (1 + np.sum(pool[:, :39] >= own, axis=1)) / 40
    p3 = (1 + np.sum(pool >= own, axis=1)) / 80
    false = int(np.sum((p2 <= LOOKS.differences()[1]) | (p3 <= LOOKS.differences()[2])))
    assert np.sum(p2 <= 0.025) == pytest.approx(0.025 * trials, rel=0.1)
    assert false <= binom.ppf(0.9999, trials, 0.05)
    assert false >= 0.025 * trials


def test_without_looks_the_rule_is_as_it_was() -> None:
    assert STANDARD.difference_level(canary=False) == STANDARD.alpha == STANDARD.error()
    assert STANDARD.difference_level(canary=True) == STANDARD.alpha / 2
    old = "b9e2af58ca70ca5d119f7754c26b2a7b8ae25fa47db2de19eb7af92e69b1412d"
    assert STANDARD.digest() == old, "signed reports state this digest"
    assert len({LOOKS.at(k).digest() for k in (1, 2, 3)} | {old}) == 4


@pytest.mark.parametrize("most", [19, 39, 75, 78, 80])
def test_looks_that_could_not_decide_are_refused(most: int) -> None:
    with pytest.raises(ValueError, match=f"at least 79, found {most}"):
        Looks.of(STANDARD, most=most)


def test_nothing_fails_at_the_first_look_and_a_bad_model_at_the_second(ease: Floats) -> None:
    world = World(ease, 0)
    first = LOOKS.weigh(world.models(1.0), 1, scope="instance")
    assert first.verdict.p_value == 1 / 20
    assert (first.verdict.outcome, LOOKS.step(first, 1)) == ("INCONCLUSIVE", "go on")
    assert not any(s.outcome == "fail" for s in first.statistics)
    look, found = until_it_stops(world.models(1.0))
    assert (look, found.verdict.outcome, found.verdict.p_value) == (2, "FAIL", 1 / 40)
    assert (
        weigh(world.models(1.0, 19), profile=STANDARD, scope="instance").verdict.outcome == "FAIL"
    )


def test_no_pass_at_the_first_look_while_in_doubt(ease: Floats) -> None:
    passed = doubtful = 0
    for seed in range(15):
        weighed = LOOKS.weigh(World(ease, seed).models(0.0, 19), 1, scope="instance")
        if weighed.verdict.outcome != "PASS":
            continue
        doubt = weighed.privacy.p_value <= 0.10
        assert LOOKS.step(weighed, 1) == ("go on" if doubt else "stop")
        assert LOOKS.step(weighed, 2) == LOOKS.step(weighed, 3) == "stop"
        passed, doubtful = passed + 1, doubtful + doubt
    assert passed > 5
    assert doubtful < passed


def test_the_scope_states_the_error_of_all_looks(ease: Floats) -> None:
    weighed = LOOKS.weigh(World(ease, 1).models(0.0), 1, scope="instance")
    assert "with 95 % confidence" in weighed.verdict.scope
    assert "from that of 19 retrained models" in weighed.verdict.scope
    half = (weighed.statistics[0].interval[1] - weighed.statistics[0].interval[0]) / 2
    single = weigh(World(ease, 1).models(0.0, 19), profile=STANDARD, scope="instance")
    narrow = (single.statistics[0].interval[1] - single.statistics[0].interval[0]) / 2
    assert half > 1.3 * narrow


def test_the_steps_can_be_taken_again_from_the_models(ease: Floats) -> None:
    stopped: dict[int, int] = {}
    for seed in range(12):
        for lean in (0.0, 0.12, 1.0):
            whole = World(ease, seed).models(lean)
            look, weighed = until_it_stops(whole)
            stopped.setdefault(look, seed)
            size = LOOKS.sizes[look - 1]
            models = World(ease, seed).models(lean, size)
            again, same = LOOKS.settle(models, scope="instance")
            assert (again, same.verdict) == (look, weighed.verdict)
            for other in set(LOOKS.sizes) - {size}:
                with pytest.raises(VerificationError, match="decided at"):
                    LOOKS.settle(World(ease, seed).models(lean, other), scope="instance")
        if len(stopped) == 3:
            break
    assert set(stopped) == {1, 2, 3}, "no world of every kind among the first ones"
    with pytest.raises(VerificationError, match="expected 19, 39, 79 retrained models, found 25"):
        LOOKS.settle(World(ease, 0).models(0.0, 25), scope="instance")


def test_evidence_may_only_state_looks_that_the_rule_allows() -> None:
    assert looks_of({}, STANDARD, canary=False) is None
    stated = {"sequential": LOOKS.as_json(2)}
    assert stated["sequential"] == {"looks": [19, 39, 79], "stopped_at": 2}
    assert looks_of(stated, STANDARD, canary=False) == LOOKS
    wrongs: list[Any] = [
        {"looks": [19, 59, 79]},
        {"looks": []},
        {"looks": 79},
        {},
        3,
        {"looks": [39]},
    ]
    for wrong in wrongs:
        with pytest.raises(VerificationError, match=r"battery\.sequential"):
            looks_of({"sequential": wrong}, STANDARD, canary=False)


def signed(models: Models, look: int, weighed: Weighed) -> tuple[Json, bytes]:
    arrays: dict[str, Any] = {"y_f": models.retrained.y_f, "y_t": models.retrained.y_t}
    for group, letter in scoretable.LETTERS.items():
        seen: Outputs = getattr(models, group)
        for part, logits in (("f", seen.logits_f), ("t", seen.logits_t)):
            name, labels = f"{letter}_{part}", arrays[f"y_{part}"]
            arrays[f"logit_{name}"] = logits
            arrays[f"phi_{name}"] = stats.log_odds(logits, labels)
            arrays[f"loss_{name}"] = stats.cross_entropy(logits, labels)
        arrays[f"racc_{letter}"], arrays[f"tacc_{letter}"] = (
            seen.retain_accuracy,
            seen.test_accuracy,
        )
    scores = scoretable.to_bytes(arrays)
    battery = {
        "profile": "standard",
        "profile_digest": weighed.profile.digest(),
        "settings": dataclasses.asdict(weighed.profile),
        "sequential": LOOKS.as_json(look),
    }
    evidence = {"battery": battery, "request": {"scope": "instance"}}
    return {
        **evidence,
        **scoretable.weighed_json(weighed),
        "digests": {"scores": sha256(scores)},
    }, scores


def test_evidence_of_looks_is_verified_by_taking_them_again(ease: Floats) -> None:
    world = World(ease, 0)
    look, weighed = until_it_stops(world.models(1.0))
    evidence, scores = signed(world.models(1.0, 39), look, weighed)
    assert scoretable.recompute(evidence, scores) == []
    later = json.loads(json.dumps(evidence))
    later["battery"]["sequential"]["stopped_at"] = 3
    assert "battery.sequential.stopped_at" in scoretable.recompute(later, scores)[0]
    single = json.loads(json.dumps(evidence))
    del single["battery"]["sequential"]
    assert "battery.profile_digest is not that of the profile" in scoretable.recompute(
        single, scores
    )
    more, scores = signed(world.models(1.0), 3, LOOKS.weigh(world.models(1.0), 3, scope="instance"))
    assert scoretable.recompute(more, scores) == [
        "the audit was decided at 39 retrained models and has 79"
    ]


def simulated(ease: Floats, lean: float, runs: int) -> Iterator[tuple[str, int]]:
    for seed in range(runs):
        look, weighed = until_it_stops(World(ease, 1000 + seed).models(lean))
        yield weighed.verdict.outcome, LOOKS.sizes[look - 1]


def check_errors(ease: Floats, runs: int) -> None:
    honest = list(simulated(ease, 0.0, runs))
    at_margin = list(simulated(ease, STANDARD.margin, runs))
    most = binom.ppf(0.999, runs, 0.05)
    assert Counter(outcome for outcome, _ in honest)["FAIL"] <= most
    assert Counter(outcome for outcome, _ in at_margin)["PASS"] <= most
    assert Counter(outcome for outcome, _ in honest)["PASS"] >= 0.7 * runs
    assert np.mean([size for _, size in honest]) < 39


def test_errors_stay_below_the_level_in_a_few_runs(ease: Floats) -> None:
    check_errors(ease, 12)


@pytest.mark.slow
def test_errors_stay_below_the_level(ease: Floats) -> None:
    check_errors(ease, 400)


def test_sizes_grow() -> None:
    assert all(a < b for a, b in pairwise(LOOKS.sizes))
