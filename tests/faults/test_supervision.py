"""Code that ends the process in the middle of an audit: never a PASS or a FAIL, and told."""

import fcntl
import os
import re
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from forget_audit import cli
from forget_audit.program import SUPERVISED
from forget_audit.stopping import descendants
from forget_audit.supervision import SAME_S
from tests.faults.machines import FIT, OWN, gone, heeding, program, python

WORK = """
import atexit, ctypes, os, signal, subprocess, sys, threading, time
sys.argv = ["forget-audit", "certify", "my plan.toml"]
from forget_audit import cli, program
def work():
    {body}
cli.app = work
program.main()
"""
READY = "print(os.getpid(), flush=True); time.sleep(60)"
ONWARD = "What was finished is kept; to go on: forget-audit certify 'my plan.toml'\n"
EXIT = {
    "os._exit": "os._exit({code})",
    "C": "ctypes.CDLL(None).exit({code})",
    "exec": "os.execv('/bin/sh', ['sh', '-c', 'exit {code}'])",
}


def worked(body: str, *, line: str = '"$0" -c "$1"') -> subprocess.CompletedProcess[str]:
    call = ["bash", "-c", line, sys.executable, WORK.format(body=body)]
    return subprocess.run(
        call, capture_output=True, text=True, check=False, timeout=60, preexec_fn=heeding,
        start_new_session=True,
    )  # fmt: skip


@contextmanager
def working(body: str) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """Start the program in a process group of its own; yield it and the process that works."""
    process = subprocess.Popen(
        [sys.executable, "-c", WORK.format(body=body)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=heeding,
        start_new_session=True,
    )  # fmt: skip
    assert process.stdout is not None
    with process:
        yield process, int(process.stdout.readline())


@pytest.mark.parametrize("code", [0, 1])
@pytest.mark.parametrize("way", EXIT)
def test_no_end_of_the_process_is_an_answer(way: str, code: int) -> None:
    done = worked(EXIT[way].format(code=code))
    assert (done.returncode, done.stdout) == (4, "")
    assert done.stderr.startswith(
        f"code of your own, or a library, ended the program with code {code} in the middle of its "
        "work, which is no answer: "
    )
    assert done.stderr.endswith(ONWARD)


@pytest.mark.parametrize(
    ("body", "code", "words"),
    [
        ("os.abort()", 4, r"crashed the program \(SIGABRT\), which is no answer\. "),
        ("os.kill(os.getpid(), signal.SIGSEGV)", 4, r"crashed the program \(SIGSEGV\)"),
        ("os.kill(os.getpid(), signal.SIGKILL)", 137, "killed, as systems do when memory runs out"),
        ("os.kill(os.getpid(), signal.SIGXCPU)", 152, "stopped by SIGXCPU"),
    ],
    ids=["abort", "crash", "kill -9", "processor time used up"],
)
def test_a_process_that_dies_is_told(body: str, code: int, words: str) -> None:
    done = worked(body)
    assert done.returncode == code
    assert re.search(words, done.stderr)
    assert done.stderr.endswith(ONWARD)


@pytest.mark.parametrize("code", [0, 1])
@pytest.mark.parametrize(
    "body",
    [
        "raise SystemExit({code})",
        "atexit.register(os._exit, 0); raise SystemExit({code})",
        "os.fork() or os._exit(0); os.wait(); raise SystemExit({code})",
        "if not os.fork(): raise SystemExit(0)\n    os.wait(); raise SystemExit({code})",
    ],
    ids=["plain", "ended by a library at the end", "copied", "copied and answered"],
)
def test_the_answer_is_the_one_that_was_given(body: str, code: int) -> None:
    assert worked(body.format(code=code)).returncode == code


def test_nobody_waits_for_what_was_left_running() -> None:
    with working(f"if not os.fork(): {READY}\n    os._exit(0)") as (process, _):
        assert process.wait(10) == 4
        os.killpg(process.pid, signal.SIGKILL)


def test_numbers_of_open_files_and_missing_streams() -> None:
    free = (
        "for number in range(3, 20):\n        try: os.fstat(number)\n        except OSError: pass"
    )
    assert worked(f"{free}\n        else: raise SystemExit(1)").returncode == 0
    for streams in ("<&-", ">&-", "2>&-", "<&- >&- 2>&-"):
        done = worked("print('words'); raise SystemExit(3)", line=f'"$0" -c "$1" {streams}')
        assert (done.returncode, done.stderr) == (3, "")
        assert worked("os._exit(0)", line=f'"$0" -c "$1" {streams}').returncode == 4
    done = worked("print('words')", line='trap "" CHLD; "$0" -c "$1"')
    assert (done.returncode, done.stdout) == (0, "words\n")


@pytest.mark.parametrize(
    "whom",
    [["the one that was started"], ["the one that works"], ["both"],
     ["the one that was started", "both"]],
    ids=" and ".join,
)  # fmt: skip
@pytest.mark.parametrize(
    ("number", "words"),
    [(signal.SIGINT, "Ctrl-C"), (signal.SIGTERM, "a request to end (SIGTERM)")],
    ids=["SIGINT", "SIGTERM"],
)
def test_one_request_to_stop_is_heeded_once(whom: list[str], number: int, words: str) -> None:
    body = f"try: {READY}\n    finally: time.sleep(0.5); print('tidied')"
    with working(body) as (process, worker):
        for name in whom:
            if name == "both":
                os.killpg(process.pid, number)
            else:
                os.kill(worker if name == "the one that works" else process.pid, number)
        out, said = process.communicate(timeout=30)
    assert (process.returncode, out) == (128 + number, "tidied\n")
    assert said == f"stopped by {words}. {ONWARD}"


@pytest.mark.parametrize("heard", ["raise", "pass"], ids=["tidying for long", "ignored"])
def test_a_second_request_ends_all_at_once(heard: str) -> None:
    body = (
        f"while True:\n        try: {READY}\n        except BaseException:\n"
        f"            print('heard', flush=True); time.sleep(60); {heard}"
    )
    with working(body) as (process, worker):
        assert process.stdout is not None
        below = descendants(process.pid)
        os.killpg(process.pid, signal.SIGINT)
        assert process.stdout.readline() == "heard\n"
        time.sleep(SAME_S + 0.2)
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait(20) == 130
    assert worker in below
    assert gone(below)


def test_code_that_never_returns_is_stopped_by_timeout() -> None:
    endless = "while True:\n        try: time.sleep(60)\n        except Exception: pass"
    done = worked(endless, line='timeout 3 "$0" -c "$1"')
    assert (done.returncode, done.stdout) == (124, "")  # what timeout itself ends with
    assert done.stderr == f"stopped by a request to end (SIGTERM). {ONWARD}"


def test_a_hang_up_that_is_ignored_stays_ignored() -> None:
    body = "os.killpg(0, signal.SIGHUP); time.sleep(0.3); raise SystemExit(3)"
    assert worked(body, line='trap "" HUP; "$0" -c "$1"').returncode == 3


def test_who_works_ends_with_who_was_killed() -> None:
    with working(READY) as (process, worker):
        process.kill()
        assert gone([worker], 5.0)


def until(hand: int, words: bytes) -> bytes:
    found = b""
    while words not in found:
        found += os.read(hand, 1000)
    return found


@pytest.mark.parametrize(("keys", "code"), [(b"secret\n", 3), (b"\x03", 130)], ids=["asks", "^C"])
def test_a_terminal(keys: bytes, code: int) -> None:
    body = "from forget_audit.console import ask_passphrase; "
    body += "raise SystemExit(3 * (ask_passphrase() == 'secret'))"
    hand, screen = os.openpty()

    def seated() -> None:
        heeding()
        fcntl.ioctl(screen, termios.TIOCSCTTY, 0)

    process = subprocess.Popen(
        [sys.executable, "-c", WORK.format(body=body)],
        stdin=screen, stdout=screen, stderr=screen, start_new_session=True, preexec_fn=seated,
    )  # fmt: skip
    until(hand, b"passphrase or PIN of the signing key")
    time.sleep(0.2)  # the question stands there before what is typed is hidden
    os.write(hand, keys)
    assert process.wait(30) == code
    if code == 130:
        assert until(hand, b"plan.toml'").count(b"stopped by Ctrl-C. ") == 1
    os.close(screen)
    os.close(hand)


@pytest.mark.parametrize(
    "way",
    ["os._exit", *(pytest.param(way, marks=pytest.mark.slow) for way in ("C", "exec"))],
)
@pytest.mark.parametrize("where", ["fit", "rows"])
def test_code_of_ones_own_ends_no_audit(tmp_path: Path, way: str, where: str) -> None:
    text = EXIT[way].format(code=0)
    fit = FIT.format(imports="ctypes, os", body=text if where == "fit" else "pass")
    rows = f"\n\ndef rows():\n    {text}\n"
    (tmp_path / "own_code.py").write_text(fit + rows, encoding="utf-8")
    plan = OWN if where == "fit" else OWN.replace('"digits"\nlabel_noise = 0.15', '"own_code:rows"')
    (tmp_path / "plan.toml").write_text(plan, encoding="utf-8")
    done = subprocess.run(
        program("certify", "plan.toml", "--out", "audit", "--json"),
        cwd=tmp_path, capture_output=True, text=True, check=False,
        env={**os.environ, "FORGET_AUDIT_HOME": str(tmp_path / "home"), "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (4, ""), done.stderr
    assert "ended the program with code 0 in the middle of its work" in done.stderr
    assert "to go on: forget-audit certify plan.toml --out audit --json" in done.stderr
    assert not (tmp_path / "audit").exists()


START = """
import errno, os, signal, sys
class Looked:
    def find_spec(self, name, *_):
        if name == "typer":
            {at}
sys.meta_path.insert(0, Looked())
from forget_audit.program import main
main()
"""


@pytest.mark.parametrize("command", ["certify", "verify"])
@pytest.mark.parametrize(
    ("number", "whom"),
    [("SIGINT", "os.getpid()"), ("SIGINT", "0"), ("SIGTERM", "os.getpid()")],
    ids=["Ctrl-C", "Ctrl-C to all", "SIGTERM"],
)
def test_to_stop_while_python_still_reads_ends_without_a_word(
    command: str, number: str, whom: str
) -> None:
    code = START.format(at=f"os.kill({whom}, signal.{number})")
    done = subprocess.run(
        [sys.executable, "-c", code, command, "x"], capture_output=True, text=True, check=False,
        preexec_fn=heeding, start_new_session=True,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (
        128 + getattr(signal, number), "", ""
    )  # fmt: skip


@pytest.mark.parametrize("command", ["certify", "verify"])
def test_a_broken_installation_is_no_answer(command: str) -> None:
    done = python(START.format(at="raise ImportError('half of a file')"), command, "x")
    assert (done.returncode, done.stdout) == (4, "")
    assert done.stderr.endswith("half of a file\nforget-audit cannot start; install it again\n")


def test_a_system_that_starts_no_more_processes_is_told() -> None:
    code = START.format(at="pass").replace(
        "main()",
        "def fork(): raise BlockingIOError(errno.EAGAIN, 'try again')\nos.fork = fork\nmain()",
    )
    done = python(code, "certify", "x")
    assert (done.returncode, done.stdout) == (4, "")
    assert done.stderr == (
        "try again; the system starts no more processes or threads; use fewer workers\n"
    )


def test_only_what_runs_no_code_of_others_is_done_in_one_process() -> None:
    commands = {
        command.name or getattr(command.callback, "__name__", "")
        for command in cli.app.registered_commands
    }
    groups = {group.name for group in cli.app.registered_groups}
    assert (commands | groups) - SUPERVISED == {
        "bundle", "gate", "keys", "ledger", "proof", "purge", "report", "review", "trust", "verify",
    }  # fmt: skip
    assert commands >= SUPERVISED
