"""Whatever the program was started with: no reader, no streams, an old locale, no home."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from forget_audit import console
from forget_audit.errors import KeyFileError
from forget_audit.keys.signing import home
from tests.faults.machines import python
from tests.fixtures.commands import Run

SAY = """
from forget_audit.console import say, say_json
from forget_audit.commands.ending import code_of, end
from forget_audit.faults import prepare_streams
def command():
    for _ in range(20000):
        say("\\u25b2 harder than random")
    raise SystemExit(3)
prepare_streams()
end(code_of(command))
"""


def through_shell(words: str, code: str = SAY) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", "-c", f'"$0" -c "$1" {words}', sys.executable, code],
        capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_head_reads_enough_and_gets_no_verdict() -> None:
    done = through_shell('| head -1; echo "${PIPESTATUS[0]}"')
    assert done.stdout.splitlines()[1:] == ["141"]
    assert done.stderr == ""
    assert through_shell("").returncode == 3


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is full")
@pytest.mark.parametrize("times", ["20000", "1"])
def test_an_answer_that_does_not_fit_is_a_failure(times: str) -> None:
    done = through_shell("> /dev/full", SAY.replace("20000", times))
    assert done.returncode in (3, 4)
    assert done.returncode == 4 or times == "1"
    assert "standard output: No space left on device; free some" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("streams", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_missing_streams_change_nothing(streams: str) -> None:
    done = through_shell(streams)
    assert (done.returncode, done.stderr) == (3, "")


def test_an_old_locale_shows_question_marks() -> None:
    old = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = python(SAY, environment=old)
    assert done.returncode == 3
    assert done.stdout.startswith("? harder than random")


@pytest.mark.parametrize(
    "variables",
    [
        {"COLUMNS": "1"}, {"COLUMNS": "-5", "TERM": "dumb"}, {"NO_COLOR": "1"},
        {"FORGET_AUDIT_LOG": "nonsense"}, {"TMPDIR": "nowhere"}, {"HOME": "nowhere"},
    ],
    ids=lambda variables: "-".join(variables),
)  # fmt: skip
def test_odd_surroundings(
    run: Run, variables: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, str(tmp_path / value) if value == "nowhere" else value)
    code, out, said = run("list", "presets", "--json")
    assert (code, said) == (0, "")
    assert json.loads(out)


def test_an_account_without_a_home_is_told_what_to_set(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nowhere() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("FORGET_AUDIT_HOME", raising=False)
    monkeypatch.setattr(Path, "home", nowhere)
    with pytest.raises(KeyFileError, match="set FORGET_AUDIT_HOME"):
        home()
    code, _, said = run("ledger", "list")
    assert (code, "set FORGET_AUDIT_HOME" in said) == (2, True)


def test_no_answer_to_a_question_is_no_verdict(monkeypatch: pytest.MonkeyPatch) -> None:
    import typer

    def ended(*_: object, **__: object) -> None:
        raise typer.Abort

    monkeypatch.delenv(console.PASSPHRASE, raising=False)
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    monkeypatch.setattr("typer.prompt", ended)
    monkeypatch.setattr("typer.confirm", ended)
    with pytest.raises(KeyFileError, match="no answer"):
        console.ask_passphrase()
    assert not console.confirmed("destroy them?")
