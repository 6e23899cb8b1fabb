"""The backdoor check of Athena: does a secret trigger planted in the forgotten rows still work?"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt
from scipy.stats import binom

from forget_audit import stats
from forget_audit.contracts import AttackInfo, Scores
from forget_audit.errors import NotApplicable
from forget_audit.experiments._models import draw_seeds
from forget_audit.experiments._rows import distinct, need_single_records, unlike
from forget_audit.registry import experiment
from forget_audit.targets import Target
from forget_audit.trials import Lab
from forget_audit.types import SMALL_REQUEST, Case, Features, Rows


@experiment
@dataclass(frozen=True, kw_only=True)
class Backdoor:
    """Plant a personal trigger in the forget rows and ask after forgetting whether it works.

    The user draws some features and a label of their own. A share of the user's rows, which are
    the forget rows, get these features set to a fixed pattern and that label before training;
    then all of the user's rows are forgotten. Each of `n` distinct test rows of other labels is
    asked about once with the trigger in place, and `k` of them get the user's label.

    A trigger works at rate `p` on a model that kept the rows and `q` on one that never saw
    them, and both are estimated on other models: `p` on models with other triggers in the same
    rows, `q` with the user's own trigger on models retrained without the rows. Each model gives
    a one-sided Clopper-Pearson bound; the lowest `p` and the highest `q` are taken and reported
    as `rate_if_kept` and `rate_if_deleted`. With `k*` the smallest number such that
    `P[Bin(n, q) <= k*] >= 1 - alpha`, `not_deleted` is 1 if `k > k*`. `miss_probability` is
    `P[Bin(n, p) <= k*]`, the chance to overlook rows that were kept; where it is above
    `most_missed`, `too_weak` is 1, and a `not_deleted` of 0 then says nothing.

    Args:
        features: Share of the features that make up the trigger.
        poisoned: Share of the forget rows that carry it.
        references: Models with other triggers that tell `p`, and as many retrained ones for `q`.
        alpha: Probability to accuse a method that deleted the rows.
        level: Confidence of each bound of `p` and `q`.
        most_missed: Largest miss probability of a check that is worth its name.

    Raises:
        ValueError: If a field is out of its range.

    References:
        Sommer et al. (2022), Athena: Probabilistic Verification of Machine Unlearning,
        arXiv:2003.04247.

    Departures:
        The paper pools users to estimate the rates; answers of one model go up and down
        together, so we take the worst bound of several models. How often a trigger works by
        accident depends on the trigger more than on the model, so that `q` of other people's
        triggers would accuse methods that deleted everything; ours is that of the user's own
        trigger. Test rows that have the user's
        label anyway are not asked. The pattern lies at the ends of the features' own ranges, so
        that it suits tables as well as images. Only the rows with the trigger are checked.
    """

    info: ClassVar[AttackInfo] = AttackInfo(
        name="backdoor",
        title="Backdoor check",
        card="A15",
        paper="arXiv:2003.04247",
        access="label",
        kind="method",
        question=(
            "If people had hidden a secret sign in their own records, would the sign still work "
            "after deletion?"
        ),
        perfect=(
            "The rate of models retrained without the records, at which the sign works by accident."
        ),
        headline="success_rate",
    )
    features: float = 0.1
    poisoned: float = 0.5
    references: int = 4
    alpha: float = 1e-3
    level: float = 0.95
    most_missed: float = 0.05

    def __post_init__(self) -> None:
        for name in ("features", "poisoned"):
            if not 0 < getattr(self, name) <= 1:
                raise ValueError(f"{name} must lie in (0, 1], found {getattr(self, name)}")
        for name in ("alpha", "most_missed"):
            if not 0 < getattr(self, name) < 1:
                raise ValueError(f"{name} must lie in (0, 1), found {getattr(self, name)}")
        if not 0.5 <= self.level < 1:
            raise ValueError(f"level must lie in [0.5, 1), found {self.level}")
        if self.references < 1:
            raise ValueError(f"references must be at least 1, found {self.references}")

    def run(self, lab: Lab, case: Case, rng: np.random.Generator) -> Scores:
        """Plant triggers, train, forget one of them and estimate the rates on other models.

        Raises:
            NotApplicable: If the request is small or for a class, if features or labels do not
                vary, or with fewer than ten distinct test rows of other labels.
        """
        need_single_records(case)
        triggers = [_draw(case, self.features, rng) for _ in range(1 + self.references)]
        cases = [self._plant(case, trigger, k, rng) for k, trigger in enumerate(triggers)]
        queries = [_queries(case, trigger) for trigger in triggers]
        models = _train(lab, case, cases, rng)
        unlearned = lab.forget(models[:1], cases[:1], draw_seeds(rng, 1))[0]
        retrained = lab.retrain(case, draw_seeds(rng, self.references))
        kept = [self._bounds(*pair)[0] for pair in zip(models[1:], queries[1:], strict=True)]
        gone = [self._bounds(model, queries[0])[1] for model in retrained]
        n, k = len(queries[0]), _successes(unlearned, queries[0])
        p, q = min(kept), max(gone)
        threshold, missed = decision_rule(n, p, q, self.alpha)
        return Scores(
            scalars={
                "success_rate": k / n,
                "threshold_rate": threshold / n,
                "not_deleted": float(k > threshold),
                "miss_probability": missed,
                "too_weak": float(missed > self.most_missed),
                "rate_if_kept": p,
                "rate_if_deleted": q,
                "queries": float(n),
            }
        )

    def _plant(self, case: Case, trigger: "Trigger", k: int, rng: np.random.Generator) -> Case:
        """Return the case in which the user's rows carry trigger number `k`."""
        count = max(round(self.poisoned * len(case.forget)), 1)
        chosen = np.zeros(len(case.forget), dtype=bool)
        chosen[rng.permutation(len(case.forget))[:count]] = True
        signed = trigger.onto(case.forget.take(chosen))
        others = [rows for role, rows in case.roles().items() if role != "forget"]
        new = unlike(signed, others)
        if not len(new):
            raise NotApplicable(
                "needs records that the trigger makes unlike all others, found none; ask for a "
                "larger share of features"
            )
        forget = Rows.concat(new, case.forget.take(~chosen))
        ids = np.array([f"{name}+trigger-{k}" for name in forget.ids.tolist()])
        return case.replace(forget=Rows(x=forget.x, y=forget.y, ids=ids))

    def _bounds(self, target: Target, queries: Rows) -> tuple[float, float]:
        """Return one-sided bounds of the rate at which the trigger works, each at `level`."""
        count = _successes(target, queries)
        return stats.binomial_interval(count, len(queries), 2 * self.level - 1)


@dataclass(frozen=True, kw_only=True, eq=False)
class Trigger:
    """A pattern on some features, and the label that goes with it.

    Args:
        columns: Positions in the flattened features.
        values: The pattern there.
        label: The user's own label.
    """

    columns: npt.NDArray[np.int64]
    values: Features
    label: int

    def onto(self, rows: Rows) -> Rows:
        """Return `rows` with pattern and label."""
        flat = np.array(rows.x).reshape(len(rows), -1)
        flat[:, self.columns] = self.values
        return Rows(x=flat.reshape(rows.x.shape), y=np.full(len(rows), self.label), ids=rows.ids)


def decision_rule(n: int, p: float, q: float, alpha: float) -> tuple[int, float]:
    """Return the most successes of `n` that pass as deleted, and how likely kept rows pass."""
    threshold = int(binom.ppf(1 - alpha, n, q))
    return threshold, float(binom.cdf(threshold, n, p))


def _draw(case: Case, share: float, rng: np.random.Generator) -> Trigger:
    """Draw columns that vary, the end of their range that is further off, and a label."""
    flat = np.asarray(case.retain.x).reshape(len(case.retain), -1)
    low, high = flat.min(axis=0), flat.max(axis=0)
    varying = np.flatnonzero(high > low)
    labels = np.unique(case.training.y)
    if not len(varying) or len(labels) < 2:
        raise NotApplicable(
            "needs features and labels that vary among the records, found all the same"
        )
    size = min(max(round(share * flat.shape[1]), 1), len(varying))
    columns = rng.permutation(varying)[:size]
    middle = flat[:, columns].mean(axis=0)
    far = np.where(high[columns] - middle >= middle - low[columns], high[columns], low[columns])
    return Trigger(columns=columns, values=far, label=int(rng.choice(labels)))


def _queries(case: Case, trigger: Trigger) -> Rows:
    others = case.never_trained.take(case.never_trained.y != trigger.label)
    queries = distinct(trigger.onto(others))
    if len(queries) < SMALL_REQUEST:
        raise NotApplicable(
            f"needs at least {SMALL_REQUEST} distinct test records of other labels than the "
            f"trigger's, found {len(queries)}; hand in more test records"
        )
    return queries


def _successes(target: Target, queries: Rows) -> int:
    return int(np.sum(target.labels(queries) == queries.y))


def _train(lab: Lab, case: Case, cases: list[Case], rng: np.random.Generator) -> list[Target]:
    rows = Rows.concat(case.retain, *(part.forget for part in cases))
    ends = len(case.retain) + np.cumsum([len(part.forget) for part in cases])
    subsets = [
        np.append(np.arange(len(case.retain)), np.arange(end - len(part.forget), end))
        for end, part in zip(ends, cases, strict=True)
    ]
    return lab.train(rows, subsets, draw_seeds(rng, len(cases)))
