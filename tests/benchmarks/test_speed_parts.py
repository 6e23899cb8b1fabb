"""The parts of the speed benchmark at sizes that only show that they work, without other tools."""

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks.speed import curves, machine, peers, protocol, race
from benchmarks.speed.clock import Json, fresh_process, peak_megabytes, timed
from benchmarks.speed.gpu import main as measure_gpu
from benchmarks.speed.protocol import Protocol
from benchmarks.speed.store import Store
from benchmarks.speed.tools import (
    networks,
    plain_batched,
    plain_loop,
    scaling_attacks,
    scaling_training,
    with_forget_audit,
)

TINY = Protocol(shadows=10, epochs=6)


@pytest.fixture(scope="module")
def ground() -> protocol.Ground:
    return protocol.ground(TINY)


@pytest.fixture(scope="module")
def raced(ground: protocol.Ground) -> dict[str, dict[str, float]]:
    tools = {"loop": plain_loop, "batched": plain_batched, "ours": with_forget_audit}
    return {name: tool.run(ground, TINY) for name, tool in tools.items()}


def test_contestants_train_equally_good_models(raced: dict[str, dict[str, float]]) -> None:
    for name, found in raced.items():
        assert 0 < found["training"] < found["whole"], name
        assert found["accuracy"] == pytest.approx(raced["loop"]["accuracy"], abs=0.02), name
        assert found["auc"] == pytest.approx(raced["loop"]["auc"], abs=0.04), name
        assert found["accuracy"] > 0.85, name


def test_our_attack_finds_what_the_yardstick_finds(raced: dict[str, dict[str, float]]) -> None:
    assert raced["ours"]["own_auc"] == pytest.approx(raced["ours"]["auc"], abs=0.005)
    assert raced["ours"]["low"] < raced["ours"]["own_auc"] < raced["ours"]["high"]


def test_yardstick_sees_members_and_leaves_out_rows_that_no_shadow_was_trained_on(
    ground: protocol.Ground,
) -> None:
    member = protocol.halves(len(ground.x), Protocol(shadows=8))
    assert (member.sum(axis=1) == len(ground.x) // 2).all()
    member[:, 5] = False
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(8, len(ground.x), protocol.CLASSES))
    shift = np.where(member, 3.0, 0.0)
    logits[:, np.arange(len(ground.x)), ground.y] += shift
    phi = np.where(ground.members, 3.0, 0.0)
    seen = protocol.Ground(
        x=ground.x, y=ground.y, members=ground.members, target=ground.target, phi=phi
    )
    assert protocol.compared(seen, list(logits), member)["auc"] > 0.95


def runs_of(gap: float, noise: float) -> dict[str, list[Json]]:
    rng = np.random.default_rng(1)
    loop = [{"accuracy": 0.97, "auc": 0.56, "training": 5.0, "whole": 5.5} for _ in range(5)]
    found: dict[str, list[Json]] = {race.LOOP: loop}
    for tool, extra, seconds in ((race.OURS, gap, 1.0), (race.FLOOR, 0.0, 0.9)):
        found[tool] = [
            {
                "accuracy": 0.97 + extra + noise * rng.standard_normal(),
                "auc": 0.56 + noise * rng.standard_normal(),
                "training": seconds,
                "whole": seconds + 0.1,
            }
            for _ in range(5)
        ]
    return found


def test_race_sums_up_and_says_when_models_are_not_equally_good() -> None:
    runs = runs_of(0.0, 0.002)
    table = race.summary(runs)
    assert table[race.LOOP]["training_ratio"] == pytest.approx(5.0)
    assert table[race.FLOOR]["training_ratio"] == pytest.approx(0.9)
    assert race.agreement(runs)["accuracy"]["agrees"]
    assert not race.agreement(runs_of(-0.02, 0.002))["accuracy"]["agrees"]


def test_exponent_of_a_power_law() -> None:
    assert curves.fitted_exponent([1, 2, 4, 8], [3, 12, 48, 192]) == pytest.approx(2.0)
    line = curves.Line(path="", x=[1, 10], cpu=[0.5, 5.0], peak_mb=[1.0, 2.0])
    assert line.exponent == pytest.approx(1.0)


@pytest.mark.parametrize("path", ["batched", "one by one"])
def test_training_curve_measures_a_point(path: str) -> None:
    options = {"rows": 64, "models": 2, "hidden": 4, "epochs": 1, "repeats": 1, "path": path}
    found = scaling_training.measure(options)
    assert found["cpu"] > 0
    assert found["parameters"] == 64 * 4 + 4 + 4 * 10 + 10


def test_attack_curve_measures_a_point() -> None:
    options = {"rows": 40, "references": 5, "repeats": 1, "attacks": ["lira", "weight_distance"]}
    assert scaling_attacks.measure(options)["cpu"] > 0


def test_networks_compares_three_ways() -> None:
    found = networks.measure(
        {
            "architecture": "mlp",
            "models": 2,
            "rows": 16,
            "steps": 2,
            "epochs": 1,
            "rounds": 2,
            "batched": True,
        }
    )
    assert set(found["cpu"]) == {"loop", "automatic", "batched"}
    assert found["ratio"]["loop"] == 1.0


def test_gpu_script_runs_on_the_processor(tmp_path: Path) -> None:
    sizes = "--models 2 --looped 1 --rows 8 --batch 4 --epochs 1 --rounds 1 --precisions fp32"
    call = ["--device", "cpu", "--architectures", "cnn", *sizes.split(), "--out", str(tmp_path)]
    measure_gpu(call)
    result = json.loads((tmp_path / "speed-gpu.json").read_text("utf-8"))
    assert result["rows"][0]["ratio"] == pytest.approx(
        result["rows"][0]["loop"] / result["rows"][0]["automatic"]
    )
    assert "| `cnn` | fp32 | 2 |" in (tmp_path / "speed-gpu.md").read_text("utf-8")


def test_store_measures_once_and_again_if_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[Json] = []

    def measured(module: str, options: Json, _peers: Path | None) -> Json:
        calls.append({"module": module, **options})
        return {"n": len(calls)}

    monkeypatch.setattr("benchmarks.speed.store.fresh_process", measured)
    store = Store(folder=tmp_path, say=lambda _: None)
    assert store.run("plain_loop", {"seed": 1}) == {"n": 1}
    assert store.run("plain_loop", {"seed": 1}) == {"n": 1}
    assert store.run("plain_loop", {"seed": 2}) == {"n": 2}
    assert Store(folder=tmp_path, say=lambda _: None, fresh=True).run(
        "plain_loop", {"seed": 1}
    ) == {"n": 3}
    other = Store(folder=tmp_path, say=lambda _: None)
    other.__dict__["code"] = "other code"
    assert other.run("plain_loop", {"seed": 1}) == {"n": 4}


def test_a_process_of_its_own_reports_or_says_why_not() -> None:
    found = fresh_process(
        "benchmarks.speed.tools.plain_batched", {"shadows": 2, "epochs": 1, "seed": 0}
    )
    assert found["training"] > 0
    with pytest.raises(RuntimeError, match="No module named"):
        fresh_process("benchmarks.speed.tools.no_such_tool", {})


def test_clock_and_machine() -> None:
    assert timed(lambda: sum(range(200_000))) > 0
    peak = peak_megabytes()
    assert peak is None or peak > 10
    told = machine.description()
    assert told["processor"]
    assert told["torch"]


def test_peers_are_wanted_by_exact_version(tmp_path: Path) -> None:
    wanted = peers.wanted()
    assert wanted["sacroml"] == "2.0.1"
    assert wanted["adversarial-robustness-toolbox"] == "1.20.1"
    assert wanted["privacyguard-platform"] == "0.0.2"
    assert len(peers.missing(tmp_path)) == len(wanted)
    assert peers.versions(None) == {}
