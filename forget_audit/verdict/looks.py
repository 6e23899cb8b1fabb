"""Retrained models in blocks: the verdict as soon as it is clear, at the error of a single look.

The audit looks after a quarter, a half and all of the most retrained models it may train: 19, 39
and 79. Each look spends a share of the error, and the shares add up to it, so by the union bound
neither a false FAIL nor a false PASS is more likely than with one look, whatever the looks have to
do with each other (alpha spending with a Bonferroni split; Lan and DeMets, 1983,
doi:10.1093/biomet/70.3.659).

- Difference: the exact test cannot go below 1 / (R + 1), so the first look finds none, and the
  others share the level: .025 of .05 is reached by the most extreme of 40, and by the most or
  second most extreme of 80. A look that cannot reach its share leaves it to those after it.
- Equivalence: levels .01, .02 and .02 of each side. No PASS at the first look if the exact test
  has p <= .10, twice the level: such a model may yet fail.
- A later attempt has half the level to share, and a coin-toss audit takes half of the difference
  test's, as always. Then the gate `YARDSTICK` keeps looks with too few models from deciding.

Which look ended the audit follows from the scores: the first models of the pool are those of the
first look. So whoever verifies takes the same steps again.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from forget_audit.errors import VerificationError
from forget_audit.types import Scope
from forget_audit.verdict.policy import Weighed, weigh
from forget_audit.verdict.profiles import LookProfile, Profile
from forget_audit.verdict.weighing import Models

MOST = 79
EQUIVALENCE_SHARES = (1, 2, 2)
DOUBT = 2.0  # no PASS at the first look below this many levels
Step = Literal["stop", "go on"]


@dataclass(frozen=True, kw_only=True)
class Looks:
    """When an audit looks, and by which rule at each look.

    Args:
        profile: The rule of the attempt, whose level the looks share.
        sizes: Number of retrained models at each look, growing.
        canary: Whether a coin-toss audit takes half of the difference test's level.
    """

    profile: Profile
    sizes: tuple[int, ...]
    canary: bool = False

    @staticmethod
    def of(profile: Profile, *, canary: bool = False, most: int = MOST) -> Looks:
        """Return looks at a quarter, a half and all of `most` retrained models.

        Raises:
            ValueError: If `most + 1` is no multiple of 4, or a look has fewer models than the
                profile needs.
        """
        sizes = (most + 1) // 4 - 1, (most + 1) // 2 - 1, most
        if (most + 1) % 4 or sizes[0] < profile.references:
            raise ValueError(
                f"retrained: looks need 4 n - 1 models, at least {4 * profile.references + 3}, "
                f"found {most}"
            )
        return Looks(profile=profile, sizes=sizes, canary=canary)

    def differences(self) -> tuple[float, ...]:
        """Return the level of the exact test at each look."""
        left, levels = self.profile.level(canary=self.canary), [0.0]
        for k, size in enumerate(self.sizes[1:], start=1):
            share = left / (len(self.sizes) - k)
            reachable = share * (size + 1) >= 1 - 1e-9
            levels.append(share if reachable else 0.0)
            left -= levels[-1]
        return tuple(levels)

    def at(self, look: int) -> LookProfile:
        """Return the rule at a look, counted from 1."""
        share = EQUIVALENCE_SHARES[look - 1] / sum(EQUIVALENCE_SHARES)
        settings = dataclasses.asdict(self.profile)
        total = settings.pop("alpha")
        return LookProfile(
            **settings,
            alpha=total * share,
            look=look,
            difference=self.differences()[look - 1],
            total=total,
        )

    def weigh(self, models: Models, look: int, *, scope: Scope) -> Weighed:
        """Return the verdict at a look, from its share of the retrained models."""
        first = models.retrained.take(np.arange(self.sizes[look - 1]))
        seen = dataclasses.replace(models, retrained=first)
        return weigh(seen, profile=self.at(look), scope=scope)

    def step(self, weighed: Weighed, look: int) -> Step:
        """Say whether the audit ends with this verdict or trains the next block."""
        outcome = weighed.verdict.outcome
        doubtful = look == 1 and weighed.privacy.p_value <= DOUBT * self.profile.alpha
        decided = outcome == "FAIL" or (outcome == "PASS" and not doubtful)
        return "stop" if decided or look == len(self.sizes) else "go on"

    def settle(self, models: Models, *, scope: Scope) -> tuple[int, Weighed]:
        """Take all steps again, from the models of the look at which the audit ended.

        Returns:
            The look, counted from 1, and the verdict.

        Raises:
            VerificationError: If the audit would have ended earlier, or not yet.
        """
        found = len(models.retrained)
        if found not in self.sizes:
            allowed = ", ".join(map(str, self.sizes))
            raise VerificationError(f"expected {allowed} retrained models, found {found}")
        last = self.sizes.index(found) + 1
        for look in range(1, last + 1):
            weighed = self.weigh(models, look, scope=scope)
            step = self.step(weighed, look)
            if step == "stop" and look < last:
                raise VerificationError(
                    f"the audit was decided at {self.sizes[look - 1]} retrained models and has "
                    f"{found}"
                )
        if step == "go on":
            raise VerificationError(f"the audit was not decided at {found} retrained models")
        return last, weighed

    def as_json(self, look: int) -> dict[str, Any]:
        """Return what the evidence says of an audit that ended at a look."""
        return {"looks": list(self.sizes), "stopped_at": look}


def looks_of(battery: Mapping[str, Any], profile: Profile, *, canary: bool) -> Looks | None:
    """Return the looks that the evidence speaks of, or nothing if it was a single look.

    Args:
        battery: `battery` of the evidence; its `sequential` holds `looks` and `stopped_at`.
        profile: The rule of the attempt.
        canary: Whether there was a coin-toss audit.

    Raises:
        VerificationError: If the looks are not those that the rule allows.
    """
    stated = battery.get("sequential")
    if stated is None:
        return None
    try:
        looks = Looks.of(profile, canary=canary, most=stated["looks"][-1])
    except (ValueError, TypeError, KeyError, IndexError) as error:
        raise VerificationError(f"battery.sequential: {error}") from error
    if list(looks.sizes) != stated["looks"]:
        raise VerificationError(f"battery.sequential.looks: expected {list(looks.sizes)}")
    return looks
