"""Three deletion requests on real people's records, audited to the three possible answers."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from forget_audit.audits import runs
from forget_audit.console import Bars, ask_passphrase, complain, say
from forget_audit.types import Decision
from forget_audit.whole_files import write_output

DATA: Mapping[str, str] = {
    "randhie": 'source = "randhie"',
    "digits": 'source = "digits"\nlabel_noise = 0.15',
}
ATTACKS = (
    "attribute_inference",
    "entropy_logistic",
    "jensen_shannon",
    "lira",
    "loss_threshold",
    "metric_thresholds",
    "prediction_distribution",
    "relearn",
    "residual_influence",
    "shadow",
    "shadow_xgboost",
    "weight_distance",
    "wilcoxon_entropy",
    "zrf",
)  # those that take a moment
PLAN = """\
[request]
reference = "{reference}"
random = {random}

[data]
{data}

[model]
architecture = "mlp"

[method]
name = "{method}"

[references]
seed = {seed}

[battery]
attacks = {attacks}

[report]
controller = "Example Controller Ltd"
"""


@dataclass(frozen=True, kw_only=True)
class Story:
    """One audit of the demonstration.

    Args:
        name: Of its folder.
        words: What happened, for people.
        random: Number of people who asked for deletion.
        method: Unlearning method.
        expected: The answer it should get.
    """

    name: str
    words: str
    random: int
    method: str
    expected: Decision


STORIES = (
    Story(
        name="retrained",
        words="100 people asked for deletion; the model was retrained without them",
        random=100,
        method="retrain",
        expected="PASS",
    ),
    Story(
        name="finetuned",
        words="the same 100 people; the model was only fine-tuned on everybody else",
        random=100,
        method="finetune",
        expected="FAIL",
    ),
    Story(
        name="too-few",
        words="8 people asked for deletion; too few to tell either way",
        random=8,
        method="retrain",
        expected="INCONCLUSIVE",
    ),
)


def run_demo(folder: Path, seed: int, data: str) -> bool:
    """Run the three audits and say whether each ended as it should.

    Args:
        folder: Plans and report directories go here.
        seed: Root seed of all three.
        data: `randhie` or `digits`.
    """
    plans = folder / "plans"
    start = time.perf_counter()
    spent: dict[str, float] = {}
    good = True
    for story in STORIES:
        path = plans / f"{story.name}.toml"
        text = PLAN.format(
            reference=f"DEMO-{story.name}",
            random=story.random,
            data=DATA[data],
            method=story.method,
            seed=seed,
            attacks=json.dumps(ATTACKS),
        )
        write_output(path, text)
        say(f"\n{story.words}")
        issue = runs.Issue(ask=ask_passphrase)
        done = runs.certify(runs.read(path), folder / story.name, Bars(), issue=issue)
        for line in done.lines():
            say(f"  {line}")
        for stage, seconds in done.timings().items():
            spent[stage] = spent.get(stage, 0.0) + seconds
        outcome = done.audit.verdict.outcome
        if outcome != story.expected:
            complain(f"{story.name}: expected {story.expected}, found {outcome}")
            good = False
    spent.pop("total", None)
    stages = ", ".join(f"{stage} {seconds:.1f} s" for stage, seconds in spent.items())
    say(f"\nall three: {time.perf_counter() - start:.1f} s ({stages})")
    say(f"check one:  forget-audit verify {folder / STORIES[0].name}")
    return good
