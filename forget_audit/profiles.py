"""The rules of the verdict as data: named, digested, fixed before a run."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass

from forget_audit.digests import canonical_json, sha256
from forget_audit.types import Scope


@dataclass(frozen=True, kw_only=True)
class Profile:
    """The rule of the verdict, fixed before the run and digested with the plan.

    Args:
        name: Of the profile.
        alpha: Level of every test and of each side of the equivalence intervals.
        margin: Largest residual influence that passes, one audited model.
        margin_copies: The same with at least `copies` independent copies.
        copies: See `margin_copies`.
        margin_class: The same for class requests.
        control_factor: The originals' effect must exceed this many margins.
        n_eff: At least so many forget rows must carry the evidence.
        forget: At least so many forget rows.
        test: At least so many control rows, and no fewer than forget rows.
        test_class: At least so many control rows of a class request.
        references: Fewer retrained models allow no exact test.
        utility: Proven loss of accuracy beyond this fails.
    """

    name: str
    alpha: float = 0.05
    margin: float = 0.20
    margin_copies: float = 0.10
    copies: int = 4
    margin_class: float = 0.15
    control_factor: float = 2.0
    n_eff: float = 10.0
    forget: int = 20
    test: int = 100
    test_class: int = 30
    references: int = 19
    utility: float = 0.02

    def margin_for(self, scope: Scope, copies: int) -> float:
        """Return the margin of the primary statistic."""
        if scope == "class":
            return self.margin_class
        return self.margin_copies if copies >= self.copies else self.margin

    def digest(self) -> str:
        """Return the SHA-256 of all settings."""
        return sha256(canonical_json(asdict(self)))


PROFILES: Mapping[str, Profile] = {"standard": Profile(name="standard")}
