"""The swap test: exchange the forgotten and the never-trained rows and add what an attack gets."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from forget_audit import stats
from forget_audit.contracts import AttackInfo, Scores
from forget_audit.errors import NotApplicable
from forget_audit.experiments._models import draw_seeds
from forget_audit.experiments._rows import distinct, need_records
from forget_audit.registry import experiment
from forget_audit.targets import Target
from forget_audit.trials import Lab
from forget_audit.types import Case, Floats, Rows


@experiment
@dataclass(frozen=True, kw_only=True)
class SwappedSplit:
    """Let two groups of rows change places and see whether an attack's advantage cancels.

    `F` are the forget rows, `T` as many test rows, drawn anew for each pair of runs. Run 1
    trains on the retained rows and `F` and forgets `F`; run 2 trains on the retained rows and
    `T` and forgets `T`. A fixed attack flags a row if its loss is at most the mean loss of the
    retained rows under the model at hand. With `a1 = P[flag | F] - P[flag | T]` in run 1 and
    `a2 = P[flag | T] - P[flag | F]` in run 2, a method that leaves no trace gives two models of
    the same law, so `E[a1 + a2] = 0` exactly, whatever the attack and however the groups differ.
    `swap_advantage` is `|a1 + a2| / 2` averaged over pairs, which chance keeps above 0;
    `signed_advantage` is `(a1 + a2) / 2` averaged over pairs, whose expectation is 0, and
    `unswapped_advantage` the mean of `a1`, which is not corrected for differing groups.

    Args:
        pairs: Pairs of runs.

    Raises:
        ValueError: If a field is out of its range.

    References:
        Tu, Hu and Ma (2025), A Reliable Cryptographic Framework for Empirical Machine Unlearning
        Evaluation, arXiv:2404.11577.
        Yeom et al. (2018), Privacy Risk in Machine Learning, arXiv:1709.01604 (the attack).

    Departures:
        The paper takes the strongest of a family of attacks; we fix one beforehand, so that
        nothing is chosen on the rows under test. Every run has seeds of its own. The signed mean is
        reported as well.
    """

    info: ClassVar[AttackInfo] = AttackInfo(
        name="swapped_split",
        title="Swap test",
        card="A14",
        paper="arXiv:2404.11577",
        access="score",
        kind="method",
        question=(
            "If the deleted records and records never seen had changed places, would the deleted "
            "ones still stand out?"
        ),
        perfect=(
            "0 up to the chance differences that models retrained without the records show too; "
            "the signed mean is 0 on average."
        ),
        headline="swap_advantage",
    )
    pairs: int = 4

    def __post_init__(self) -> None:
        if self.pairs < 1:
            raise ValueError(f"pairs must be at least 1, found {self.pairs}")

    def run(self, lab: Lab, case: Case, rng: np.random.Generator) -> Scores:
        """Carry out the pairs of runs.

        Raises:
            NotApplicable: With fewer than ten forget rows or fewer test rows than forget rows.
        """
        first, second = self._swaps(case, rng)
        advantages = _advantages(lab, case, first + second, rng)
        a1, a2 = advantages[: self.pairs], advantages[self.pairs :]
        both = (a1 + a2) / 2
        return Scores(
            scalars={
                "swap_advantage": float(np.mean(np.abs(both))),
                "signed_advantage": float(np.mean(both)),
                "unswapped_advantage": float(np.mean(a1)),
            }
        )

    def _swaps(self, case: Case, rng: np.random.Generator) -> tuple[list[Case], list[Case]]:
        """Return the cases of all first and all second runs; the test rows begin with `T`, `F`."""
        need_records(case)
        unseen, n = distinct(case.test), len(case.forget)
        if len(unseen) < n:
            raise NotApplicable(
                f"needs as many distinct test records as records to forget, found {len(unseen)} "
                f"for {n}; hand in more test records"
            )
        first, second = [], []
        for _ in range(self.pairs):
            order = rng.permutation(len(unseen))
            drawn, rest = unseen.take(order[:n]), unseen.take(order[n:])
            first.append(case.replace(test=Rows.concat(drawn, rest)))
            second.append(case.replace(forget=drawn, test=Rows.concat(case.forget, rest)))
        return first, second


def _advantages(lab: Lab, case: Case, cases: list[Case], rng: np.random.Generator) -> Floats:
    """Return for each run how much more often forgotten rows are flagged than those left out."""
    kept = np.arange(len(case.retain))
    everyone = Rows.concat(case.retain, case.forget, case.test)
    position = {name: i for i, name in enumerate(everyone.ids.tolist())}
    subsets = [
        np.concatenate([kept, [position[name] for name in part.forget.ids.tolist()]])
        for part in cases
    ]
    originals = lab.train(everyone, subsets, draw_seeds(rng, len(cases)))
    unlearned = lab.forget(originals, cases, draw_seeds(rng, len(cases)))
    return np.array([_advantage(model, part) for model, part in zip(unlearned, cases, strict=True)])


def _advantage(target: Target, case: Case) -> float:
    n = len(case.forget)
    threshold = float(np.mean(_losses(target, case.retain)))
    forgotten = _losses(target, case.forget) <= threshold
    left_out = _losses(target, case.test)[:n] <= threshold
    return float(np.mean(forgotten) - np.mean(left_out))


def _losses(target: Target, rows: Rows) -> Floats:
    return stats.cross_entropy(target.logits(rows), rows.y)
