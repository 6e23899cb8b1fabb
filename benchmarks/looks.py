"""How many retrained models does a verdict take with looks at 19, 39 and 79 of them?

Models whose true state is known are judged on the bundled digits, as in `calibrate.py`: each trial
draws its references and originals from pools that all trials share, so intervals over trials are a
little too narrow.

    python benchmarks/looks.py
    python benchmarks/looks.py --pool 130 --retrained 60 --bad 24
"""

import argparse
import json
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from forget_audit.audits.calibration import answers_of
from forget_audit.audits.commission import Commission, from_plan
from forget_audit.audits.impostors import ANSWERS
from forget_audit.outputs import Outputs
from forget_audit.plans.plan import check_plan
from forget_audit.seeds import generator
from forget_audit.targets import Target
from forget_audit.training.loop import fitting_threads
from forget_audit.training.references import Counts, Workshop, prepare_references
from forget_audit.verdict.looks import Looks
from forget_audit.verdict.weighing import Models

TABLES = {
    "request": {"reference": "LOOKS", "random": 100},
    "data": {"source": "digits", "label_noise": 0.15},
    "model": {"architecture": "mlp"},
    "method": {"name": "retrain"},
}
IDENTITY, ORIGINALS = 2, 8
LEFT_IN = (0.2, 0.4)


@dataclass(frozen=True, kw_only=True, eq=False)
class Pools:
    """Answers of many models of one request.

    Args:
        retrained: From which references and true retrains are drawn.
        originals: Trained with the forget rows.
        looks: When to look.
    """

    retrained: Outputs
    originals: Outputs
    looks: Looks

    def judge(
        self, kind: str, k: int, audited: Outputs, *, retrain: int = -1, original: int = -1
    ) -> tuple[str, int]:
        """Return the verdict on one model and how many references it took.

        Args:
            kind: Of the model.
            k: Number of the trial.
            audited: Answers of the model.
            retrain: Its place among the retrained models, of which it is then no reference.
            original: The same of the originals.
        """
        rng = generator(0, "looks", kind, k)
        drawn = _others(len(self.retrained), retrain, rng)
        most = self.looks.sizes[-1]
        models = Models(
            retrained=self.retrained.take(drawn[:most]),
            identity=self.retrained.take(drawn[most : most + IDENTITY]),
            originals=self.originals.take(_others(len(self.originals), original, rng)[:ORIGINALS]),
            audited=audited,
        )
        look, step = 0, "go on"
        while step == "go on":
            look += 1
            weighed = self.looks.weigh(models, look, scope="instance")
            step = self.looks.step(weighed, look)
        return weighed.verdict.outcome, self.looks.sizes[look - 1]


def _others(n: int, one: int, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    order = rng.permutation(n)
    return np.asarray(order[order != one])


def trials(
    commission: Commission, workshop: Workshop, retrained: int, bad: int, pool: int
) -> Iterator[tuple[str, str, int]]:
    """Yield kind, verdict and number of references of each trial."""
    counts = Counts(retrained=pool, originals=ORIGINALS + 4, identity=0, shadows=0)
    trained = prepare_references(workshop, counts).pool
    pools = Pools(
        retrained=answers_of(trained.retrained, commission),
        originals=answers_of(trained.originals, commission),
        looks=Looks.of(commission.profile),
    )
    for k in range(retrained):
        one = pools.retrained.take(np.array([k]))
        yield "true retrain", *pools.judge("true retrain", k, one, retrain=k)
    for k in range(bad):
        own = k % len(pools.originals)
        answers = pools.originals.take(np.array([own]))
        yield "nothing unlearned", *pools.judge("original", k, answers, original=own)
        name = list(ANSWERS)[k % len(ANSWERS)]
        fake = ANSWERS[name](answers, generator(1, name, k))
        yield "answers disguised", *pools.judge(name, k, fake, original=own)
    case = commission.case
    n_r, n_f = len(case.retain), len(case.forget)
    for share in LEFT_IN:
        kind = f"{100 * share:g} % left in"
        kept = [generator(0, kind, k).permutation(n_f)[: round(share * n_f)] for k in range(bad)]
        subsets = [np.concatenate([np.arange(n_r), n_r + part]) for part in kept]
        models = workshop.train(kind, case.training, subsets)
        left = answers_of([Target(model) for model in models], commission)
        for k in range(bad):
            yield kind, *pools.judge(kind, k, left.take(np.array([k])))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pool", type=int, default=100)
    parser.add_argument("--retrained", type=int, default=30)
    parser.add_argument("--bad", type=int, default=10)
    parser.add_argument("--out", type=Path, help="write the trials here as JSON")
    chosen = parser.parse_args()
    start = time.process_time()
    commission = from_plan(check_plan(TABLES, Path()))
    with fitting_threads(commission.template()):
        workshop = commission.workshop(lambda _: None)
        found = list(trials(commission, workshop, chosen.retrained, chosen.bad, chosen.pool))
    for kind in dict.fromkeys(kind for kind, _, _ in found):
        outcomes = Counter(outcome for other, outcome, _ in found if other == kind)
        sizes = [size for other, _, size in found if other == kind]
        shown = ", ".join(f"{outcome} {count}" for outcome, count in outcomes.most_common())
        print(f"{kind:18} {shown:32} mean R {np.mean(sizes):.1f}  {dict(Counter(sizes))}")
    print(f"{time.process_time() - start:.0f} CPU s")
    if chosen.out:
        chosen.out.write_text(json.dumps(found) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
