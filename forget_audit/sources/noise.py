"""Label noise belongs to the digits alone."""

from forget_audit.errors import CaseError


def refuse_noise(source: str, label_noise: float) -> None:
    """Refuse label noise.

    Raises:
        CaseError: If there is any.
    """
    if label_noise:
        raise CaseError(f"label noise is for digits only, found {label_noise:g} for {source}")
