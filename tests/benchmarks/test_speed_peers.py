"""The contestants that need other tools, at a tiny size; skipped where those are not installed."""

import pytest

from benchmarks.speed import peers
from benchmarks.speed.__main__ import WORK
from benchmarks.speed.clock import Json, fresh_process

FOLDER = WORK / "peers"
LACKING = peers.missing(FOLDER)
pytestmark = pytest.mark.skipif(
    bool(LACKING), reason=f"make bench installs {', '.join(LACKING)} into build/speed/peers"
)
RACE: Json = {"shadows": 4, "epochs": 1, "seed": 0}


@pytest.mark.parametrize("tool", ["with_sacroml", "with_art"])
def test_other_tools_train_and_attack(tool: str) -> None:
    found = fresh_process(f"benchmarks.speed.tools.{tool}", RACE, FOLDER)
    assert 0 < found["training"] < found["whole"]
    assert 0.3 < found["auc"] < 0.7
    assert found["accuracy"] > 0.4


def test_bootstraps_find_the_same() -> None:
    options = {"rows": 300, "draws": 200, "rounds": 1}
    run = fresh_process("benchmarks.speed.tools.bootstraps", options, FOLDER)["runs"][0]
    assert run["theirs"]["bootstraps"] < run["theirs"]["whole"]
    for name in ("auc", "auc_low", "auc_high", "accuracy"):
        assert run["standard_errors"][name] < 5, name


def test_demo_is_profiled() -> None:
    options = {"arguments": ["list", "attacks"]}
    found = fresh_process("benchmarks.speed.tools.demo_profile", options, FOLDER)
    assert found["shares"]["import"] > 0
    assert sum(found["shares"].values()) == pytest.approx(1.0)
