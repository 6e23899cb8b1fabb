"""What is measured of a model that has forgotten a set, against models retrained without it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import stats as distributions

from forget_audit import registry, stats
from forget_audit.errors import NotApplicable
from forget_audit.outputs import Derived, Outputs, units_of
from forget_audit.pools import Pool
from forget_audit.questions import answers, asked
from forget_audit.seeds import generator
from forget_audit.stress.strategies import JUDGES
from forget_audit.targets import Target
from forget_audit.types import Case, Floats, Json, Rows
from forget_audit.verdict.profiles import Profile
from forget_audit.verdict.weighing import standard_error
from forget_audit.verdict.yardstick import Influences, influences

BEYOND, WITHIN, UNDECIDED, NO_SIGNAL = "beyond", "within", "undecided", "no signal"
FLAGS = (BEYOND, WITHIN, UNDECIDED, NO_SIGNAL)


@dataclass(frozen=True, kw_only=True, eq=False)
class Judge:
    """Retrained models and originals of one set, and what follows from them alone.

    Args:
        case: The request for the set.
        retrained: Trained without it.
        originals: Trained with it; none of them is the model that was unlearned.
        profile: Margin and level of the plan's rule.
    """

    case: Case
    retrained: tuple[Target, ...]
    originals: tuple[Target, ...]
    profile: Profile

    @cached_property
    def about_set(self) -> Json:
        """What the set is like, before any method is looked at.

        `effect` is what training on the set adds to the mean probability of its labels,
        `reference_sd` the spread of the retrained models' residual influence.
        """
        answered = self._answers
        retrained, n_f = answered.p[: len(self.retrained)], answered.n_f
        trained = answered.p[len(self.retrained) :]
        return {
            "effect": float((trained.mean(axis=0) - retrained.mean(axis=0))[:n_f].mean()),
            "signal": self._signal(retrained, trained),
            "reference_sd": float(np.std(self._alone.rho, ddof=1)),
            "retrained_forget_accuracy": self._retrained_accuracy["forget"],
            "retrained_test_accuracy": self._retrained_accuracy["test"],
            "retrained_mia_auc": self._retrained_mia,
        }

    def measure(self, model: Target) -> tuple[dict[str, float | None], str]:
        """Return every measure of one model, and where its residual influence lies.

        - `influence`: residual influence less the mean of the retrained models; none if training
          on the set leaves no mark at all.
        - `left`: mean probability of the set's labels less that under retrained models.
        - `forget_accuracy`, `retain_accuracy`, `test_accuracy`, and `efficacy`, the share of the
          set that is answered wrongly.
        - `tow`: product of one less each distance of the three accuracies to retrained models:
          Zhao et al. (2024), What Makes Unlearning Hard, arXiv:2406.01257.
        - `mia_auc` of the judging attack, and `mia_excess` beyond retrained models.
        """
        p = self._derive([model]).p
        retrained, n_f = self._answers.p[: len(self.retrained)], self._answers.n_f
        pool = self._influences(np.concatenate([retrained, p]))
        seen = bool(pool.n_eff[-1] > 0)
        rho = float(pool.rho[-1] - pool.rho[:-1].mean())
        accuracy = self._accuracy(model)
        usual = self._retrained_accuracy
        mia = self._mia(model)
        values = {
            "influence": rho if seen else None,
            "left": float((p[0] - retrained.mean(axis=0))[:n_f].mean()),
            **{f"{role}_accuracy": value for role, value in accuracy.items()},
            "efficacy": 1 - accuracy["forget"],
            "tow": float(np.prod([1 - abs(accuracy[role] - usual[role]) for role in usual])),
            "mia_auc": mia,
            "mia_excess": None if self._retrained_mia is None or mia is None
            else mia - self._retrained_mia,
        }  # fmt: skip
        return values, self._flag(rho, pool)

    def _flag(self, rho: float, pool: Influences) -> str:
        if not self.about_set["signal"]:
            return NO_SIGNAL
        error, df = standard_error(pool.rho[-1:], pool.rho[:-1])
        error = max(error, float(pool.standard_error[-1]))
        half = float(distributions.t.isf(self.profile.alpha, df)) * error
        margin = self.profile.margins(self.case.scope, 1)["rho_p"]
        if abs(rho) - half >= margin:
            return BEYOND
        return WITHIN if abs(rho) + half < margin else UNDECIDED

    def _signal(self, retrained: Floats, trained: Floats) -> bool:
        """Say whether an audit of this set could see anything: as its gate `NO_SIGNAL` does.

        Its exact test is left out, which needs more retrained models.
        """
        n_f, instance = self._answers.n_f, self.case.scope == "instance"
        null, k = stats.calibrate(retrained), len(trained)
        every = influences(null, trained.mean(axis=0), trained.mean(axis=0), n_f)
        effect = np.array(
            [
                influences(
                    null, own, np.delete(trained, i, axis=0).mean(axis=0), n_f, adjust=instance
                ).rho
                for i, own in enumerate(trained)
            ]
        )
        alone = self._alone.rho
        error = np.sqrt(np.var(effect, ddof=1) / k + np.var(alone, ddof=1) / len(alone))
        low = effect.mean() - alone.mean() - distributions.t.isf(0.05, k - 1) * error
        needed = self.profile.control_factor * self.profile.margins(self.case.scope, 1)["rho_p"]
        return bool(low >= needed and every.n_eff >= self.profile.n_eff)

    @cached_property
    def _answers(self) -> Derived:
        return self._derive([*self.retrained, *self.originals])

    @cached_property
    def _alone(self) -> Influences:
        return self._influences(self._answers.p[: len(self.retrained)])

    def _influences(self, p: Floats) -> Influences:
        """Return the residual influence of each model against all the others."""
        null = stats.leave_one_out_nulls(p)
        trained = self._answers.p[len(self.retrained) :].mean(axis=0)
        instance = self.case.scope == "instance"
        return influences(null, p, trained, self._answers.n_f, adjust=instance)

    @cached_property
    def _retrained_accuracy(self) -> Mapping[str, float]:
        each = [self._accuracy(target) for target in self.retrained]
        return {role: float(np.mean([one[role] for one in each])) for role in each[0]}

    @cached_property
    def _retrained_mia(self) -> float | None:
        areas = [area for target in self.retrained if (area := self._mia(target)) is not None]
        return float(np.mean(areas)) if areas else None

    def _accuracy(self, target: Target) -> dict[str, float]:
        case = self.case
        roles = {"forget": case.forget, "retain": case.retain, "test": self._never_trained}
        return {role: target.accuracy(rows) for role, rows in roles.items()}

    @cached_property
    def _never_trained(self) -> Rows:
        return self.case.never_trained

    def _mia(self, target: Target) -> float | None:
        """Return the AUC of the attack on single rows that judges; none if it does not apply."""
        attack = registry.get_attack(JUDGES[1])()
        rng = generator(0, "stress", attack.info.name)
        try:
            scores = attack.fit(Pool(), self.case, rng).score(target, rng)
        except NotApplicable:
            return None
        return stats.auc(scores.forget, scores.control)

    def _derive(self, targets: Sequence[Target]) -> Derived:
        rows = asked(self.case)
        nothing = np.zeros(len(targets))
        return Derived.of(
            Outputs(
                logits_f=np.stack([answers(target, rows["f"], self.case) for target in targets]),
                logits_t=np.stack([answers(target, rows["t"], self.case) for target in targets]),
                y_f=rows["f"].y,
                y_t=rows["t"].y,
                retain_accuracy=nothing,
                test_accuracy=nothing,
                units_f=units_of(rows["f"]),
                units_t=units_of(rows["t"]),
            )
        )
