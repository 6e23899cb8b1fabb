"""Models of other libraries, seen through their answers alone."""

from __future__ import annotations

from torch import nn

from forget_audit.errors import ModelError
from forget_audit.foreign.answers_only import AnswersOnly as AnswersOnly
from forget_audit.foreign.answers_only import Filed as Filed
from forget_audit.foreign.answers_only import SelfTrained as SelfTrained

EXPECTED = "a torch.nn.Module, or a fitted classifier of scikit-learn or XGBoost"
OTHERS = ("keras", "tensorflow", "jax", "flax", "lightgbm", "catboost")


def adopt(found: object, n_classes: int | None = None) -> nn.Module:
    """Return a trained model of any library that is known here as a module in evaluation mode.

    Args:
        found: A `torch.nn.Module`, which is used as it is, or a fitted classifier or pipeline of
            scikit-learn, or of XGBoost, which is copied.
        n_classes: Number of outputs, for models that do not know classes they have not seen.

    Raises:
        ModelError: If it is something else, is not fitted, or has other classes.
        MissingDependency: If it is of scikit-learn, and skops is not installed.
    """
    if isinstance(found, nn.Module):
        return found.eval()
    # Here, because they load scikit-learn and XGBoost.
    from forget_audit.foreign import boosted, estimators

    if isinstance(found, type):
        raise ModelError(f"expected {EXPECTED}, found the class {found.__name__}")
    module = boosted.adopted(found, n_classes) or estimators.adopted(found, n_classes)
    if module is not None:
        return module.eval()
    kind = f"{type(found).__module__}.{type(found).__qualname__}"
    if found is None:
        hint = "return the trained model"
    elif kind.startswith(OTHERS):
        hint = "write its answers to a file and audit predictions"
    else:
        hint = "give it back as one of these, or audit predictions"
    raise ModelError(f"expected {EXPECTED}, found {kind.removeprefix('builtins.')}; {hint}")
