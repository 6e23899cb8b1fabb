"""The tables of docs/bad-input.md, written from the trials: `python -m tests.bad_input.page`."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.bad_input.bad_answers import ANSWERS
from tests.bad_input.bad_behaviour import BEHAVIOUR
from tests.bad_input.bad_plans import PLANS
from tests.bad_input.bad_predictions import PREDICTIONS
from tests.bad_input.bad_requests import REQUESTS, UNITS
from tests.bad_input.bad_rows import CLASSES, FEATURES
from tests.bad_input.world import Trial

PAGE = Path(__file__).parents[2] / "docs" / "bad-input.md"
TRIALS: Mapping[str, Sequence[Trial]] = {
    "features": FEATURES,
    "labels": CLASSES,
    "requests": REQUESTS,
    "people": UNITS,
    "answers": ANSWERS,
    "behaviour": BEHAVIOUR,
    "predictions": PREDICTIONS,
    "plans": PLANS,
}


def table(trials: Sequence[Trial]) -> str:
    """Return the table of a group of trials, as it must stand on the page."""
    lines = ["| What is wrong | How it ends | What is said |", "| --- | --- | --- |"]
    for trial in trials:
        said = f"`{trial.says}`" if trial.says else ""
        lines.append(f"| {trial.what} | {trial.ending} | {said} |")
    return "\n".join(lines)


def filled(page: str) -> str:
    """Return the page with its tables as they follow from the trials."""
    for name, trials in TRIALS.items():
        start, end = f"<!-- trials: {name} -->\n", "<!-- end -->"
        before, _, rest = page.partition(start)
        _, _, after = rest.partition(end)
        page = f"{before}{start}\n{table(trials)}\n\n{end}{after}"
    return page


if __name__ == "__main__":
    PAGE.write_text(filled(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
