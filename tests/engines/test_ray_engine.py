"""Ray: the same models and verdicts as here, also when a machine dies in the middle."""

import dataclasses
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import nn

from forget_audit.architectures import Architecture
from forget_audit.audits.audit import Audit, carry_out
from forget_audit.audits.commission import Commission
from forget_audit.digests import canonical_json
from forget_audit.engines.engine import Engine, Item, Result, Shared
from forget_audit.engines.ray_engine import RayEngine, connected
from forget_audit.errors import EngineError, MissingDependency, ModelError
from forget_audit.methods.finetune import Finetune
from forget_audit.named_objects import imported_from
from forget_audit.training.loop import Recipe
from forget_audit.training.own_functions import FunctionTrainer
from forget_audit.training.references import Counts, Workshop
from forget_audit.training.trainers import RecipeTrainer
from forget_audit.types import Case, Rows

COUNTS = Counts(retrained=6, originals=2, identity=1, shadows=2, candidate_shadows=3)
# A user's own training function. On the machine whose name is in `victim` it never ends.
OWN = """\
import time
from pathlib import Path
import torch
from own_helper import built
HERE = Path({folder!r})
def fit(x, y, seed):
    import ray
    if ray.is_initialized() and (HERE / "victim").exists():
        here = ray.get_runtime_context().get_node_id()
        if here == (HERE / "victim").read_text():
            (HERE / "begun").touch()
            time.sleep(600)
    if len(x) == 3:
        raise ArithmeticError("three rows")
    model = built(x.shape[1])
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    inputs, labels = torch.as_tensor(x), torch.as_tensor(y)
    for _ in range(30):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(inputs), labels).backward()
        optimizer.step()
    return model
"""
HELPER = "from torch import nn\ndef built(width):\n    return nn.Linear(width, 2)\n"
COUNTED = npt.NDArray[np.float32]


def ray_of_this_machine() -> Any:
    return pytest.importorskip("ray", reason="needs the package ray")


@pytest.fixture(autouse=True)
def token(monkeypatch: pytest.MonkeyPatch) -> None:
    """All clusters of this process share a token, for Ray reads it once a process."""
    monkeypatch.setenv("RAY_AUTH_TOKEN", "5" * 64)
    monkeypatch.setenv("RAY_AUTH_MODE", "token")


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with a user's modules, as the folder of a plan is: first where imports look."""
    (tmp_path / "own_fit.py").write_text(OWN.format(folder=str(tmp_path)), encoding="utf-8")
    (tmp_path / "own_helper.py").write_text(HELPER, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    for name in ("own_fit", "own_helper"):
        sys.modules.pop(name, None)


def own_case() -> Case:
    """Noisy labels, so that models remember, and the trainer of `OWN`."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(400, 6)).astype(np.float32)
    y = (x[:, 0] + rng.normal(size=400) > 0).astype(np.int64)
    rows = Rows(x=x, y=y, ids=np.array([f"row {k}" for k in range(400)]))
    return Case(
        name="noise",
        n_classes=2,
        retain=rows.take(np.arange(140)),
        forget=rows.take(np.arange(140, 180)),
        test=rows.take(np.arange(180, 300)),
        auxiliary=rows.take(np.arange(300, 400)),
        trainer=FunctionTrainer(function="own_fit:fit", n_classes=2),
    )


def template() -> nn.Module:
    return nn.Linear(6, 2)


def own_workshop(engine: Engine | None = None) -> Workshop:
    return Workshop(case=own_case(), seed=3, template=template, engine=engine)


def recipes(engine: Engine | None, cache: Path) -> Workshop:
    architecture = Architecture(name="mlp", shape=(6,), n_classes=2, options={"hidden": [8]})
    trainer = RecipeTrainer(architecture=architecture, recipe=Recipe(epochs=3))
    case = own_case().replace(trainer=trainer)
    build = architecture.build
    return Workshop(case=case, seed=3, template=build, engine=engine, cache=cache)


def same(first: Sequence[nn.Module], second: Sequence[nn.Module]) -> bool:
    states = [[model.state_dict() for model in models] for models in (first, second)]
    return len(first) == len(second) and all(
        torch.equal(one[name], other[name])
        for one, other in zip(*states, strict=True)
        for name in one
    )


def settings() -> dict[str, str]:
    return {k: v for k, v in os.environ.items() if "RAY" in k or "BREAKPOINT" in k}


def told(shared: COUNTED, item: int) -> tuple[float, int, bool, str]:
    threads, home = torch.get_num_threads(), os.environ["RAY_USAGE_STATS_ENABLED"]
    return float(shared.sum()) + item, threads, shared.flags.writeable, home


def test_a_cluster_of_this_machine_does_what_this_process_does(
    own: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RAY_AUTH_MODE")
    ray, before = ray_of_this_machine(), settings()
    subsets = [np.arange(50 + 30 * (k % 2)) for k in range(5)]
    here = own_workshop().train("retrained", own_case().retain, subsets)
    assert imported_from(own) == ["own_fit", "own_helper"]
    with connected(RayEngine(), workers=2, folder=own) as engine:
        assert engine.width == 2
        assert os.environ["RAY_AUTH_MODE"] == "token", "else all who reach its ports run code"
        found = dict(engine.run(told, np.ones(300_000, np.float32), [0, 1, 2]))
        assert found == {k: (300_000.0 + k, 1, False, "0") for k in range(3)}
        there = own_workshop(engine).train("retrained", own_case().retain, subsets)
        assert same(here, there)
        with pytest.raises(ModelError, match=r"seed \d+ at line \d+: ArithmeticError: three rows"):
            own_workshop(engine).train("retrained", own_case().retain, [np.arange(3)] * 2)
        with pytest.raises(EngineError, match=r"processors and 1 GPUs free"):
            list(RayEngine(gpus=1).run(told, np.ones(3, np.float32), [0]))
        made = [
            recipes(e, own / str(e)).train("r", own_case().retain, subsets) for e in (None, engine)
        ]
        assert same(*made)
        kept = [sorted(p.name for p in (own / str(e)).iterdir()) for e in (None, engine)]
        assert kept[0] == kept[1], "a later run of either engine finds the models of the other"
        assert len(kept[0]) == 5
    assert not ray.is_initialized()
    assert settings() == before


@dataclasses.dataclass(frozen=True, kw_only=True)
class Killing:
    """Runs tasks by Ray, and kills a machine once it has begun one, after the first result."""

    inner: RayEngine
    begun: Path
    kill: Callable[[], None]

    @property
    def width(self) -> int:
        return self.inner.width

    def run(
        self, function: Callable[[Shared, Item], Result], shared: Shared, items: Sequence[Item]
    ) -> Iterator[tuple[int, Result]]:
        for found in self.inner.run(function, shared, items):
            yield found
            if not self.begun.with_name("killed").exists():
                limit = time.monotonic() + 90
                while not self.begun.exists() and time.monotonic() < limit:
                    time.sleep(0.05)
                self.kill()
                self.begun.with_name("killed").touch()


def audited(engine: Engine | None) -> Audit:
    attacks = ("loss_threshold", "lira", "shadow")
    commission = Commission(
        case=own_case(),
        template=template,
        counts=COUNTS,
        method=Finetune(epochs=2),
        attacks=attacks,
        seed=3,
        engine=engine,
    )
    return carry_out(commission)


def findings(audit: Audit) -> tuple[Any, ...]:
    attacks = [dataclasses.replace(result, duration_s=0.0) for result in audit.attacks]
    weighed = [statistic.__dict__ for statistic in audit.weighed.statistics]
    return audit.verdict, str(weighed), str(attacks), canonical_json(audit.evidence["verdict"])


def test_an_audit_survives_the_death_of_one_of_two_machines(own: Path) -> None:
    ray_of_this_machine()
    from ray.cluster_utils import Cluster

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        quick = {"health_check_period_ms": 200, "health_check_failure_threshold": 3}
        head = {"num_cpus": 1, "include_dashboard": False, "_system_config": quick}
        cluster: Any = Cluster(initialize_head=True, head_node_args=head)
        try:
            victim = cluster.add_node(num_cpus=1)
            here = audited(None)
            (own / "victim").write_text(victim.node_id, encoding="utf-8")
            with connected(RayEngine(), address=cluster.address, folder=own) as inner:
                assert inner.width == 2
                engine = Killing(
                    inner=inner,
                    begun=own / "begun",
                    kill=lambda: cluster.remove_node(victim, allow_graceful=False),
                )
                there = audited(engine)
                assert inner.width == 1
        finally:
            cluster.shutdown()
    assert (own / "begun").exists(), "no task ran on the machine that was killed"
    assert findings(there) == findings(here)
    assert len(here.weighed.statistics) > 3


def test_a_cluster_that_is_not_there_is_an_error() -> None:
    ray_of_this_machine()
    with (
        pytest.raises(EngineError, match=r"no Ray cluster at nowhere"),
        connected(RayEngine(), address="nowhere"),
    ):
        pass


def test_without_ray_the_line_that_installs_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    expected = r'pip install "forget-audit\[ray\]"'
    with pytest.raises(MissingDependency, match=expected), connected(RayEngine()):
        pass
