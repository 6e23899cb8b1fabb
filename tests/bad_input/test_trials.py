"""Whatever is handed in wrong ends in a named error with advice, or in a documented verdict."""

import re
from pathlib import Path

import pytest

from forget_audit.audits.audit import Audit
from forget_audit.errors import ForgetAuditError
from tests.bad_input.bad_plans import Ended
from tests.bad_input.page import PAGE, TRIALS, filled
from tests.bad_input.world import Trial

CODES = {0: "PASS", 1: "FAIL", 3: "INCONCLUSIVE", 2: "exit 2", 4: "exit 4"}
VERDICTS = ("PASS", "FAIL", "INCONCLUSIVE")
LONGEST = 700


def slug(group: str, trial: Trial) -> str:
    return f"{group}-{re.sub('[^a-z0-9]+', '-', trial.what.lower()).strip('-')}"


EVERY = [
    pytest.param(trial, id=slug(group, trial))
    for group, trials in TRIALS.items()
    for trial in trials
]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORGET_AUDIT_HOME", str(tmp_path / "home"))


def ended(trial: Trial) -> tuple[set[str], str]:
    """Return what the ending may be called, and what was said."""
    try:
        found = trial.play()
    except ForgetAuditError as error:
        return {kind.__name__ for kind in type(error).__mro__}, str(error)
    if isinstance(found, Ended):
        return {CODES[found.code]}, found.said
    assert isinstance(found, Audit)
    return {found.verdict.outcome}, ", ".join(found.verdict.reasons)


@pytest.mark.parametrize("trial", EVERY)
def test_it_ends_as_the_page_says(trial: Trial) -> None:
    endings, said = ended(trial)
    assert trial.ending in endings, said
    parts = trial.says.split(", ") if trial.ending in VERDICTS else [trial.says]
    assert all(part in said for part in parts), said
    assert "Traceback" not in said
    assert max(map(len, said.splitlines()), default=0) < LONGEST


def test_every_pass_is_there_because_nothing_is_wrong_with_the_answer() -> None:
    """Each of them is named here, so that a new one is thought about."""
    passes = {
        slug(group, trial)
        for group, trials in TRIALS.items()
        for trial in trials
        if trial.ending == "PASS"
    }
    assert passes == PASSES


PASSES = {
    "answers-a-tensor-with-gradients",
    "answers-float16-answers",
    "answers-logarithms-of-probabilities-which-are-logits",
    "answers-nothing-a-model-that-was-truly-retrained",
    "behaviour-a-model-handed-in-in-training-mode-which-is-asked-in-evaluation-mode",
    "behaviour-a-model-that-changes-its-input-and-gets-a-copy-each-time",
    "behaviour-a-model-that-fails-on-one-row-alone-where-no-batch-has-one",
    "features-a-constant-feature",
    "features-lists-of-numbers",
    "labels-a-class-of-one-row",
    "labels-classes-with-gaps-such-as-0-5-and-17-the-outputs-between-are-never-used",
    "labels-classes-counted-from-1-output-0-is-never-used",
    "labels-whole-labels-as-float",
    "predictions-nothing-answers-of-a-true-retrain",
    "predictions-probabilities-as-they-should-be",
}


def test_the_page_says_what_is_tested() -> None:
    """`python -m tests.bad_input.page` writes it."""
    page = PAGE.read_text(encoding="utf-8")
    assert page == filled(page)


def test_no_two_trials_are_called_alike() -> None:
    assert len({param.id for param in EVERY}) == len(EVERY)
