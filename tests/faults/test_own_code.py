"""Training functions of the user's own that misbehave: told, put right, and never a PASS."""

import contextlib
import ctypes
import os
import random
import signal
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from forget_audit import stopping
from forget_audit.engines.local import Local
from forget_audit.errors import MachineError, ModelError
from forget_audit.training.own_functions import CallTrainer
from tests.faults.machines import FIT, OWN, python
from tests.fixtures.commands import Run

X, Y = np.ones((4, 3), np.float32), np.array([0, 1, 0, 1])


def call(function: object) -> nn.Module:
    return CallTrainer(function)(X, Y, 7)  # type: ignore[arg-type]


def raising(x: object, y: object, seed: int) -> None:
    raise KeyError("learning_rate")


def nothing(x: object, y: object, seed: int) -> None:
    return None


def leaving(x: object, y: object, seed: int) -> None:
    sys.exit(0)


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (raising, r"raising failed with seed 7 at line \d+: KeyError: 'learning_rate'"),
        (nothing, "returned something else than a model"),
        (leaving, r"leaving failed with seed 7 at line \d+: EndedItself: it called sys.exit\(0\)"),
    ],
    ids=["raises", "returns nothing", "exits"],
)
def test_what_a_function_must_not_do(function: object, words: str) -> None:
    with pytest.raises(ModelError, match=words):
        call(function)


def test_an_interrupt_of_its_own_is_told_and_one_of_the_users_is_heeded() -> None:
    def interrupting(x: object, y: object, seed: int) -> None:
        raise KeyboardInterrupt

    def swallowing(x: object, y: object, seed: int) -> nn.Module:
        with contextlib.suppress(BaseException):
            os.kill(os.getpid(), signal.SIGTERM)
            signal.pause()
        return nn.Linear(3, 2)

    with pytest.raises(KeyboardInterrupt):
        call(interrupting)  # in a notebook it is the user who stops it
    with stopping.heeded():
        with pytest.raises(ModelError, match="EndedItself: it raised KeyboardInterrupt"):
            call(interrupting)
        with pytest.raises(stopping.Stopped):
            call(swallowing)
    assert stopping.asked() == signal.SIGTERM


def test_what_a_function_sets_does_not_outlive_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def setting(x: object, y: object, seed: int) -> nn.Module:
        os.chdir(tmp_path)
        torch.set_default_dtype(torch.float64)
        torch.set_default_device("meta")
        torch.set_num_threads(3)
        torch.use_deterministic_algorithms(True)
        torch.set_grad_enabled(False)
        torch.manual_seed(1)  # noqa: TID251
        np.seterr(all="raise")
        warnings.simplefilter("ignore")
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        print("epoch 1")  # noqa: T201
        sys.stdout.close()
        return nn.Linear(3, 2, device="cpu", dtype=torch.float32)

    def state() -> list[object]:
        return [
            Path.cwd(), torch.get_default_dtype(), torch.get_default_device(),
            torch.get_num_threads(), torch.are_deterministic_algorithms_enabled(),
            torch.is_grad_enabled(), torch.get_rng_state().tolist(), np.geterr(),
            list(warnings.filters), signal.getsignal(signal.SIGINT),
            signal.getsignal(signal.SIGTERM), sys.stdout,
        ]  # fmt: skip

    before = state()
    call(setting)
    assert state() == before
    out, said = capsys.readouterr()
    assert (out, said) == ("", "epoch 1\n")


@pytest.mark.parametrize("body", ["sys.exit(0)", "raise SystemExit", "raise KeyboardInterrupt"])
@pytest.mark.parametrize("where", ["in the function", "at import"])
def test_no_code_of_its_own_ends_an_audit_as_a_pass(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str, where: str
) -> None:
    monkeypatch.setenv("FORGET_AUDIT_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(sys, "path", list(sys.path))
    name = f"own_code_{abs(hash((body, where)))}"
    text = FIT.format(imports="sys", body=body if where == "in the function" else "pass")
    file = tmp_path / f"{name}.py"
    file.write_text(text + (f"\n{body}\n" if where == "at import" else ""), encoding="utf-8")
    plan = tmp_path / "plan.toml"
    plan.write_text(OWN.replace("own_code", name), encoding="utf-8")
    code, out, said = run("certify", plan, "--out", tmp_path / "audit")
    assert (code in (2, 4), out) == (True, ""), said
    assert "it called sys.exit" in said or "it raised KeyboardInterrupt" in said
    assert "line " in said
    assert not (tmp_path / "audit").exists()


def _vanish(shared: int, item: int) -> int:
    os.kill(os.getpid(), shared) if shared else os._exit(0)
    return 0


@pytest.mark.parametrize("number", [0, signal.SIGKILL], ids=["os._exit(0)", "kill -9"])
def test_a_worker_that_vanishes_is_told(number: int) -> None:
    with pytest.raises(MachineError, match="a worker process ended in the middle of its work"):
        list(Local(workers=2).run(_vanish, number, [1, 2]))


LEAK = """
import os, sys, time
import numpy as np
from forget_audit.engines.local import Local
kept = []
def leak(shared, item):
    kept.append(np.ones(20_000_000))  # 160 MB
    time.sleep(0.6)
    return os.getpid()
def main():
    found = [pid for _, pid in Local(workers=2).run(leak, None, range(12))]
    print(len(found), len(set(found)))
"""


@pytest.mark.slow
@pytest.mark.parametrize("psutil", ["there", "missing"])
def test_workers_that_take_more_and_more_memory_are_replaced(tmp_path: Path, psutil: str) -> None:
    pytest.importorskip("psutil")
    if psutil == "missing":
        (tmp_path / "psutil.py").write_text("raise ImportError", encoding="utf-8")
    (tmp_path / "leaking.py").write_text(LEAK, encoding="utf-8")  # which workers import
    paths = os.pathsep.join([str(tmp_path), *filter(None, sys.path)])
    done = python("import leaking; leaking.main()", environment={"PYTHONPATH": paths})
    models, processes = map(int, done.stdout.split())
    assert models == 12, done.stderr  # one after the other they would take 1.9 GB
    assert processes > 2 if psutil == "there" else processes == 2


def test_a_function_may_seed_all_there_is() -> None:
    before = torch.get_rng_state()

    def seeding(x: object, y: object, seed: int) -> nn.Module:
        np.random.seed(seed)  # noqa: NPY002, TID251
        random.seed(seed)  # noqa: TID251
        torch.manual_seed(seed)  # noqa: TID251
        return nn.Linear(3, 2)

    call(seeding)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_worker_whose_master_died_before_its_first_task_ends_too() -> None:
    """It used to wait for the end of whatever process had taken it in."""
    nobody = 2**22 + 1  # more than any system has
    code = "import sys, time; from forget_audit.workers import served; "
    code += "served(time.sleep).func(int(sys.argv[1]), time.sleep, 60)"
    began = time.monotonic()
    assert python(code, nobody).returncode == 1
    assert time.monotonic() - began < 50


def test_what_c_code_does_to_signals_does_not_outlive_it() -> None:
    """Ray, as others that come with a crash handler, takes SIGTERM where Python cannot see it."""
    library = ctypes.CDLL(None)
    library.signal.restype = ctypes.c_void_p
    library.signal.argtypes = [ctypes.c_int, ctypes.c_void_p]

    def taking(x: object, y: object, seed: int) -> nn.Module:
        library.signal(signal.SIGTERM, ctypes.c_void_p(1))  # SIG_IGN
        return nn.Linear(3, 2)

    with stopping.heeded():
        call(taking)
        with pytest.raises(stopping.Stopped):
            os.kill(os.getpid(), signal.SIGTERM)
