"""What rows are picked with: models that the auditor trained for that, and judges nothing by.

Half of the models come in pairs that share out the training rows between them, so that every row
was seen by exactly one model of each pair. What a row does to a model that saw it, and what the
others say of it, follows from the same models for every strategy.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from forget_audit import stats
from forget_audit.errors import CaseError, NotApplicable
from forget_audit.outputs import unit_means, units_of
from forget_audit.seeds import generator
from forget_audit.targets import Target
from forget_audit.types import ACCESS_ORDER, Floats, Labels, Rows
from forget_audit.worst_case import Surrogate

Mask = npt.NDArray[np.bool_]


def halves(units: int, pairs: int, seed: int) -> Mask:
    """Return which units each of `2 * pairs` models sees `(models, units)`.

    Models 2k and 2k + 1 share the units out between them.
    """
    members = np.zeros((2 * pairs, units), dtype=bool)
    for k in range(pairs):
        order = generator(seed, "stress halves", k).permutation(units)
        members[2 * k, order[: units // 2]] = True
        members[2 * k + 1] = ~members[2 * k]
    return members


@dataclass(frozen=True, kw_only=True, eq=False)
class Scouts:
    """The rows to pick from and the models to pick them with.

    A unit is a row, or a person with all their rows.

    Args:
        rows: The training rows.
        n_classes: Number of classes, or of labels a row.
        surrogate: Trained by the auditor on all of them; none if training leaves nothing to
            chance, because then it would be the audited model.
        halves: Trained on halves of the units, in pairs; may be none.
        members: Which units each of them saw `(models, units)`.
        finer: The finer class of each row `(n,)`, of data that have one.
        spare: Rows that nothing was trained on and nothing will be judged by.
    """

    rows: Rows
    n_classes: int
    surrogate: Surrogate | None
    halves: tuple[Surrogate, ...]
    members: Mask
    finer: Labels | None
    spare: Rows

    def __post_init__(self) -> None:
        units = self.rows.numbered()[0]
        pairs = self.members[::2]
        shared_out = np.array_equal(pairs, ~self.members[1::2])
        if self.members.shape != (len(self.halves), units) or not shared_out:
            raise CaseError(
                f"expected pairs of models that share {units} units out between them, found "
                f"{len(self.halves)} models and a mask {self.members.shape}"
            )

    @cached_property
    def unit(self) -> Labels:
        """The number of the unit behind each row `(n,)`."""
        return self.rows.numbered()[1]

    @cached_property
    def firsts(self) -> Labels:
        """The position of the first row of each unit `(units,)`."""
        return np.unique(self.unit, return_index=True)[1]

    @property
    def targets(self) -> tuple[Target, ...]:
        """All models that rows are picked with."""
        own = () if self.surrogate is None else (self.surrogate.target,)
        return (*own, *(half.target for half in self.halves))

    @cached_property
    def known(self) -> Floats:
        """Log-odds of each unit's label under the model of each pair that saw it."""
        return self._by_pair(seen=True)

    @cached_property
    def unknown(self) -> Floats:
        """The same under the model of each pair that did not see it `(pairs, units)`."""
        return self._by_pair(seen=False)

    def memorisation(self) -> Floats:
        """Return how much likelier models find a unit's label for having seen it `(units,)`.

        The mean probability of the label under models trained with it, less that under models
        trained without: Feldman and Zhang (2020), What Neural Networks Memorize and Why,
        arXiv:2008.03703.

        Raises:
            NotApplicable: Without models on halves.
        """
        self.need_halves()
        inside, outside = (stats.label_probability(phi) for phi in (self.known, self.unknown))
        return np.asarray(inside.mean(axis=0) - outside.mean(axis=0))

    def exposure(self) -> Floats:
        """Return how surely an attack calls each unit a member of the surrogate `(units,)`.

        The attack is the offline likelihood ratio (`lira`): the surrogate's log-odds in standard
        deviations from the models that did not see the unit.

        Raises:
            NotApplicable: Without surrogate or models on halves.
        """
        self.need_halves()
        own = self._log_odds([self.need_surrogate().target])[0]
        return stats.calibrate(self.unknown).z(own)

    def second_opinion(self) -> Floats:
        """Return the mean answer of the models that did not see a row `(n, classes)`.

        Raises:
            NotApplicable: Without models on halves.
        """
        self.need_halves()
        total = np.zeros((len(self.rows), self.n_classes))
        for half, seen in zip(self.halves, self.members, strict=True):
            unseen = ~seen[self.unit]
            total[unseen] += stats.probabilities(half.target.logits(self.rows)[unseen])
        return total / (len(self.halves) // 2)

    def need_halves(self) -> None:
        """Refuse to go on with fewer than two pairs of models."""
        if len(self.halves) < 4:
            raise NotApplicable(
                f"needs two pairs of models trained on halves, found {len(self.halves)} models"
            )

    def need_surrogate(self) -> Surrogate:
        """Return the surrogate; refuse to go on without."""
        if self.surrogate is None:
            raise NotApplicable(
                "needs a surrogate that is not the audited model, and training that leaves "
                "nothing to chance makes no other one"
            )
        return self.surrogate

    def need_gradients(self) -> Surrogate:
        """Return the surrogate; refuse models that only answer."""
        surrogate = self.need_surrogate()
        if ACCESS_ORDER.index(surrogate.target.access) < ACCESS_ORDER.index("gradient"):
            raise NotApplicable("needs gradients, and models of this kind only answer")
        return surrogate

    def need_classes(self) -> None:
        """Refuse rows that bear several labels."""
        if self.rows.y.ndim != 1:
            raise NotApplicable("needs one class a row, and these rows bear several labels")

    def _log_odds(self, targets: Sequence[Target]) -> Floats:
        each = [stats.log_odds(target.logits(self.rows), self.rows.y) for target in targets]
        return unit_means(np.stack(each), units_of(self.rows))

    def _by_pair(self, *, seen: bool) -> Floats:
        phi = self._log_odds([half.target for half in self.halves])
        return np.where(self.members[::2] == seen, phi[::2], phi[1::2])
