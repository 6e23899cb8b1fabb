"""Ctrl-C and SIGTERM at any stage: state kept, nobody left behind, and a line to go on with."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from forget_audit.stopping import descendants
from tests.faults.machines import (
    FIT,
    OWN,
    PLAN,
    VERDICTS,
    gone,
    heeding,
    left_behind,
    program,
)

WAIT = """
import subprocess, sys, threading, time
sys.argv = ["forget-audit", "certify", "my plan.toml", "--fresh"]
from forget_audit import stopping
from forget_audit.commands.ending import code_of, end
def command():
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    threading.Thread(target=time.sleep, args=(60,)).start()
    try:
        print(child.pid, flush=True)
        {body}
    finally:
        {after}
end(code_of(command))
"""


def started(body: str = "time.sleep(60)", after: str = "pass") -> tuple[subprocess.Popen[str], int]:
    code = WAIT.format(body=body, after=after)
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        preexec_fn=heeding,
    )  # fmt: skip
    assert process.stdout is not None
    return process, int(process.stdout.readline())


@pytest.mark.parametrize(
    ("number", "code", "words"),
    [
        (signal.SIGINT, 130, "stopped by Ctrl-C"),
        (signal.SIGTERM, 143, "stopped by a request to end (SIGTERM)"),
        (signal.SIGHUP, 129, "stopped by a hang-up"),
    ],
    ids=["SIGINT", "SIGTERM", "SIGHUP"],
)
def test_one_signal_stops_in_good_order(number: int, code: int, words: str) -> None:
    process, child = started()
    process.send_signal(number)
    _, said = process.communicate(timeout=60)
    assert process.returncode == code
    assert said == (
        f"{words}. What was finished is kept; to go on: forget-audit certify 'my plan.toml'\n"
    )
    assert gone([child])


def test_a_second_one_stops_at_once() -> None:
    process, child = started(after="print('tidying', flush=True); time.sleep(60)")
    process.send_signal(signal.SIGINT)
    assert process.stdout is not None
    assert process.stdout.readline() == "tidying\n"
    process.send_signal(signal.SIGINT)
    assert process.wait(20) == 130
    assert gone([child])
    process.communicate()


@pytest.mark.parametrize(
    "body",
    [
        "\n        try: time.sleep(60)\n        except BaseException: raise ImportError('half')",
        "\n        try: time.sleep(60)\n        except BaseException: stopping.check()",
    ],
    ids=["turned into another error", "swallowed"],
)
def test_whatever_becomes_of_it_a_stop_is_a_stop(body: str) -> None:
    process, child = started(body)
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=60)
    assert (process.returncode, "Traceback" in said) == (143, False)
    assert gone([child])


def test_what_is_ignored_on_purpose_stays_ignored() -> None:
    body = "os = __import__('os'); os.kill(os.getpid(), 1); raise SystemExit(3)"
    code = f"import signal; signal.signal(signal.SIGHUP, signal.SIG_IGN)\n{WAIT}"
    process = subprocess.run(
        [sys.executable, "-c", code.format(body=body, after="pass")],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert process.returncode == 3  # although a thread would have gone on for a minute


def certify(folder: Path, *options: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        program("certify", "plan.toml", "--out", "audit", *options),
        cwd=folder, text=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        env={**os.environ, "FORGET_AUDIT_HOME": str(folder / "home"), "OMP_NUM_THREADS": "1"},
        preexec_fn=heeding,
    )  # fmt: skip


def until(process: subprocess.Popen[str], ready: Callable[[], bool]) -> None:
    while not ready():
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)


def models(folder: Path) -> list[Path]:
    return sorted((folder / ".forget-audit/models").glob("*.safetensors"))


def stopped_and_finished(folder: Path, number: int, *options: str) -> None:
    process = certify(folder, *options)
    until(process, lambda: bool(models(folder)))
    children = descendants(process.pid)
    process.send_signal(number)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 128 + number, said
    line = " ".join(["to go on: forget-audit certify plan.toml --out audit", *options])
    assert line in said
    assert "Traceback" not in said
    assert gone(children)
    assert not (folder / "audit").exists()
    assert not left_behind(folder)
    kept = {path: path.stat().st_mtime_ns for path in models(folder)}
    assert kept
    process = certify(folder, *options)
    _, said = process.communicate(timeout=600)
    assert process.returncode in VERDICTS, said
    assert all(path.stat().st_mtime_ns == when for path, when in kept.items())


def slow_to_train(folder: Path) -> Path:
    (folder / "plan.toml").write_text(OWN, encoding="utf-8")
    text = FIT.format(imports="time", body="time.sleep(0.3)")
    (folder / "own_code.py").write_text(text, encoding="utf-8")
    return folder


def test_a_run_that_was_stopped_goes_on(tmp_path: Path) -> None:
    stopped_and_finished(slow_to_train(tmp_path), signal.SIGTERM)


@pytest.mark.slow
def test_workers_end_with_their_master(tmp_path: Path) -> None:
    stopped_and_finished(slow_to_train(tmp_path), signal.SIGINT, "--workers", "2")


@pytest.mark.slow
def test_workers_end_with_a_master_that_was_killed(tmp_path: Path) -> None:
    folder = slow_to_train(tmp_path)
    process = certify(folder, "--workers", "2")
    until(process, lambda: bool(models(folder)))
    children = descendants(process.pid)
    process.kill()
    process.wait()
    assert children
    assert gone(children)
    process.communicate()


@pytest.mark.slow
def test_a_ray_run_leaves_nobody_behind(tmp_path: Path) -> None:
    stopped_and_finished(slow_to_train(tmp_path), signal.SIGTERM, "--engine", "ray")


@pytest.mark.slow
@pytest.mark.parametrize("after", [0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0])
def test_stopped_at_any_moment(tmp_path: Path, after: float) -> None:
    text = PLAN.replace('formats = ["html"]', "")  # the PDF maker is a process of its own
    (tmp_path / "plan.toml").write_text(text, encoding="utf-8")
    process = certify(tmp_path)
    time.sleep(after)
    children = descendants(process.pid)
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=120)
    assert process.returncode in (-signal.SIGTERM, 143, *VERDICTS), said
    assert "Traceback" not in said
    assert gone(children)
    if process.returncode not in VERDICTS:
        assert not (tmp_path / "audit").exists()
        assert not left_behind(tmp_path)
