"""The models that the auditor trains for comparison and practice."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from forget_audit.types import Rows

if TYPE_CHECKING:
    from forget_audit.targets import Target


@dataclass(frozen=True, kw_only=True)
class Shadow:
    """A model the auditor trained on part of the auxiliary rows.

    Args:
        target: The model.
        members: Mask over the auxiliary rows `(n,)`, true where it was trained on.
        after: The model after the audited method made it forget some members, if there is one.
        forgotten: Mask over the auxiliary rows `(n,)`, true where `after` has forgotten.
    """

    target: Target
    members: npt.NDArray[np.bool_]
    after: Target | None = None
    forgotten: npt.NDArray[np.bool_] | None = None


@dataclass(frozen=True, kw_only=True)
class CandidateShadow:
    """A model trained by the auditor on retained rows and some candidates, then unlearned.

    A candidate is kept, forgotten or was never trained on; the masks `(n,)` are disjoint.

    Args:
        before: After training on the retained rows and the kept and forgotten candidates.
        after: After the audited method made it forget the forgotten ones.
        kept: Candidates trained on and kept.
        forgotten: Candidates trained on and forgotten.
    """

    before: Target
    after: Target
    kept: npt.NDArray[np.bool_]
    forgotten: npt.NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class Pool:
    """The reference models an attack may learn from; never the audited model.

    Args:
        retrained: Trained by the recipe without the forget rows.
        originals: Trained by the recipe with the forget rows, by the auditor.
        shadows: Trained by the recipe on halves of the auxiliary rows.
        parent: The model from which the audited one was made, if it was handed in.
        twin: Retrained from the parent's own initialisation and data order, if that is known.
        candidates: Forget rows and some control rows, on which candidate shadows differ.
        candidate_shadows: Models trained on random parts of the candidates, then unlearned.
    """

    retrained: tuple[Target, ...] = ()
    originals: tuple[Target, ...] = ()
    shadows: tuple[Shadow, ...] = ()
    parent: Target | None = None
    twin: Target | None = None
    candidates: Rows | None = None
    candidate_shadows: tuple[CandidateShadow, ...] = ()

    def without(self, index: int) -> Pool:
        """Return the pool without the retrained model at `index`."""
        kept = self.retrained[:index] + self.retrained[index + 1 :]
        return dataclasses.replace(self, retrained=kept)
