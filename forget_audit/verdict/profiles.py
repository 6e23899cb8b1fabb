"""The rules of the verdict as data: named, digested, fixed before a run."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace

from forget_audit.digests import canonical_json, sha256
from forget_audit.types import Scope


@dataclass(frozen=True, kw_only=True)
class Profile:
    """The rule of the verdict, fixed before the run and digested with the plan.

    Args:
        name: Of the profile.
        alpha: Level of every test and of each side of the equivalence intervals.
        margin: Largest residual influence that passes, one audited model; of rows or a label.
        margin_copies: The same with at least `copies` independent copies.
        copies: See `margin_copies`.
        margin_class: The same for class and sub-class requests.
        margin_probe: Largest residue of the few-shot probe that passes a class request.
        margin_probe_copies: The same with at least `copies` independent copies.
        control_factor: The originals' effect must exceed this many margins.
        n_eff: At least so many forget rows must carry the evidence.
        forget: At least so many forget rows.
        test: At least so many control rows, and no fewer than forget rows.
        test_class: At least so many control rows of a class request.
        references: Fewer retrained models allow no exact test.
        utility: Proven loss of accuracy beyond this fails.
        epsilon: Largest proven epsilon of one record in the coin-toss audit that passes; a margin
            of .10 on the AUC.
    """

    name: str
    alpha: float = 0.05
    margin: float = 0.20
    margin_copies: float = 0.10
    copies: int = 4
    margin_class: float = 0.15
    margin_probe: float = 0.35
    margin_probe_copies: float = 0.25
    control_factor: float = 2.0
    n_eff: float = 10.0
    forget: int = 20
    test: int = 100
    test_class: int = 30
    references: int = 19
    utility: float = 0.02
    epsilon: float = 0.405

    def at_attempt(self, attempt: int) -> "Profile":
        """Return the rule for the n-th audit of the same request: `alpha / 2^(n - 1)`.

        Whoever may try again until it passes would pass by chance some day. Over any number of
        attempts the levels add up to less than twice `alpha`.
        """
        return replace(self, alpha=self.alpha / 2 ** (attempt - 1))

    def level(self, *, canary: bool) -> float:
        """Return the level of the exact test: half of `alpha` if a coin-toss audit shares it."""
        return self.alpha / 2 if canary else self.alpha

    def accusing(self) -> float:
        """Return the level at which a trick is proven: that of the rule, at every attempt.

        Whoever tries again must not be the harder to find out.
        """
        rule = PROFILES.get(self.name)
        return self.alpha if rule is None else rule.alpha

    def difference_level(self, *, canary: bool) -> float:
        """Return the level at which a difference counts; none does at level 0."""
        return self.level(canary=canary)

    def error(self) -> float:
        """Return the error of the whole procedure that a PASS may claim."""
        return self.alpha

    def exact_references(self, *, canary: bool) -> int:
        """Return how many retrained models the exact test needs at least."""
        return max(self.references, math.ceil(1 / self.level(canary=canary) - 1e-9) - 1)

    def margins(self, scope: Scope, copies: int) -> Mapping[str, float]:
        """Return the margins of the primary statistics."""
        several = copies >= self.copies
        if scope in ("instance", "attribute"):
            return {"rho_p": self.margin_copies if several else self.margin}
        probe = self.margin_probe_copies if several else self.margin_probe
        return {"rho_p": self.margin_class, "probe": probe}

    def digest(self) -> str:
        """Return the SHA-256 of all settings."""
        return sha256(canonical_json(asdict(self)))


@dataclass(frozen=True, kw_only=True)
class LookProfile(Profile):
    """The rule at one of several looks at growing numbers of retrained models.

    `alpha` is then the level of each side of the equivalence intervals, and of a proven loss of
    accuracy, at this look alone.

    Args:
        look: Which look, counted from 1.
        difference: Level of the exact test at this look; 0 if it may find no difference yet.
        total: What the levels of all looks add up to: the `alpha` of the profile.
    """

    look: int
    difference: float
    total: float

    def level(self, *, canary: bool) -> float:
        """Return the level of gates and coins, which spend nothing of what the looks share."""
        return self.total / 2 if canary else self.total

    def accusing(self) -> float:
        """Return the level at which a trick is proven at this look alone."""
        return self.alpha

    def difference_level(self, *, canary: bool) -> float:
        """Return the level of the exact test at this look, whatever shares it with the looks."""
        return min(self.difference, self.level(canary=canary))

    def error(self) -> float:
        """Return the error of all looks together."""
        return self.total


PROFILES: Mapping[str, Profile] = {"standard": Profile(name="standard")}
