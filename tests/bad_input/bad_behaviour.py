"""Models whose answers hang on chance, batch or mode, and models that do not match."""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from forget_audit.seeds import derive, seeded_torch
from forget_audit.training.own_functions import SEEDS
from tests.bad_input.world import (
    Changed,
    Trial,
    audit,
    audit_all,
    audit_of,
    case,
    changed,
    fit,
    of_classes,
    original,
    retrained,
)

ORDER = torch.tensor([3, 0, 5, 1, 9, 2, 7, 4, 6, 8])
DIFFERENTLY = "answered differently the second time"
BATCH = "answered differently in a smaller batch"


class Hidden(nn.Module):
    """Dropout in a list, which `eval()` does not reach."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner, self.parts = inner, [nn.Dropout(0.3)]

    def forward(self, x: torch.Tensor) -> Any:
        return self.inner(self.parts[0](x))


class Updating(nn.Module):
    """Statistics of the batch, kept and used while it is asked."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner, self.norm = inner, nn.BatchNorm1d(64)

    def forward(self, x: torch.Tensor) -> Any:
        self.norm.train()
        return self.inner(self.norm(x) * 0.25 + 0.3)


class Counting(nn.Module):
    """A count of what it was asked, in a buffer."""

    asked: torch.Tensor

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner
        self.register_buffer("asked", torch.zeros(1))

    def forward(self, x: torch.Tensor) -> Any:
        self.asked += len(x)
        return self.inner(x)


def noisy(model: nn.Module, x: torch.Tensor) -> torch.Tensor:
    return model(x) + torch.randn(len(x), 10)  # type: ignore[no-any-return]


def swapped(model: nn.Module, x: torch.Tensor) -> torch.Tensor:
    return model(x)[:, ORDER]  # type: ignore[no-any-return]


def exchanged(model: nn.Module, x: torch.Tensor) -> torch.Tensor:
    answers = model(x).clone()
    answers[:, [2, 7]] = answers[:, [7, 2]]
    return answers  # type: ignore[no-any-return]


def first_of(root: int) -> Callable[[int], bool]:
    """Return which seed is that of the first retrained model of an audit."""
    return lambda seed: seed == derive(root, "retrained", 0) % SEEDS


def wider(model: nn.Module, x: torch.Tensor) -> torch.Tensor:
    answers = model(x)
    return torch.cat([answers, answers[:, :1] - 3], dim=1)


def several_rows(model: nn.Module, x: torch.Tensor) -> Any:
    if len(x) == 1:
        raise ValueError("one row alone")
    return model(x)


def nothing(x: Any, y: Any, seed: int) -> Any:
    return None


def ignorant(*_: object) -> nn.Module:
    return retrained()


def unseeded(x: Any, y: Any, seed: int) -> nn.Module:
    torch.manual_seed(1)  # noqa: TID251 as users do
    return fit(x, y, seed)


def unlearned(seed: int) -> nn.Module:
    with seeded_torch(seed):
        return fit(case().retain.x, case().retain.y, seed)


BEHAVIOUR = [
    Trial(
        what="noise in evaluation mode, of the audited model",
        play=audit_of(noisy),
        ending="ModelError",
        says=DIFFERENTLY,
    ),
    Trial(
        what="noise in all models, which hides the difference",
        play=lambda: audit(Changed(original(), noisy), changed(noisy)),
        ending="ModelError",
        says=DIFFERENTLY,
    ),
    Trial(
        what="noise in the references alone",
        play=lambda: audit(retrained(), changed(noisy)),
        ending="ModelError",
        says="retrained model 1: the same rows were " + DIFFERENTLY,
    ),
    Trial(
        what="dropout in a list, out of reach of `eval()`",
        play=lambda: audit(Hidden(retrained())),
        ending="ModelError",
        says="register all parts as submodules",
    ),
    Trial(
        what="statistics of the batch, updated by being asked",
        play=lambda: audit(Updating(retrained())),
        ending="ModelError",
        says=BATCH,
    ),
    Trial(
        what="a buffer that counts questions",
        play=lambda: audit(Counting(retrained())),
        ending="ModelError",
        says="being asked changes the model (asked)",
    ),
    Trial(
        what="answers less the mean over the batch",
        play=audit_of(lambda m, x: m(x) - m(x).mean(0)),
        ending="ModelError",
        says=BATCH,
    ),
    Trial(
        what="the same, of all models",
        play=audit_all(lambda m, x: m(x) - m(x).mean(0)),
        ending="ModelError",
        says=BATCH,
    ),
    Trial(
        what="a model handed in in training mode, which is asked in evaluation mode",
        play=lambda: audit(nn.Sequential(nn.Dropout(0.5), retrained()).train()),
        ending="PASS",
    ),
    Trial(
        what="a model that changes its input, and gets a copy each time",
        play=audit_of(lambda m, x: m(x.add_(1).sub_(1))),
        ending="PASS",
    ),
    Trial(
        what="a model that fails on one row alone, where no batch has one",
        play=audit_of(several_rows),
        ending="PASS",
    ),
    Trial(
        what="weights in float64",
        play=lambda: audit(retrained().double()),
        ending="ModelError",
        says="takes float32 features",
    ),
    Trial(
        what="classes in another order, of the audited model, which the report notes",
        play=audit_of(swapped),
        ending="FAIL",
        says="UTILITY",
    ),
    Trial(
        what="classes in another order, of the references, and nothing was unlearned",
        play=lambda: audit(original(), changed(swapped)),
        ending="ModelError",
        says="expected answers in the order of the labels",
    ),
    Trial(
        what="classes in another order, of all models",
        play=audit_all(swapped),
        ending="ModelError",
        says="retrained model 1 and 24 other models: expected answers in the order of the labels",
    ),
    Trial(
        what="classes in another order, of some references, and nothing was unlearned",
        play=lambda: audit(original(), changed(swapped, lambda seed: seed % 10 == 3)),
        ending="ModelError",
        says="(class 0 for 3, 1 for 0, 2 for 5, 3 for 1, ...: 2 % of these answers are right",
    ),
    Trial(
        what="two classes exchanged in one reference",
        play=lambda: audit(retrained(), changed(exchanged, first_of(0))),
        ending="ModelError",
        says="(class 2 for 7, 7 for 2: ",
    ),
    Trial(
        what="a class too many",
        play=audit_of(wider),
        ending="ModelError",
        says="expected 10 logits a row, one a class, found 11",
    ),
    Trial(
        what="a class too few",
        play=audit_of(lambda m, x: m(x)[:, :9]),
        ending="ModelError",
        says="found 9",
    ),
    Trial(
        what="one output for ten classes",
        play=audit_all(lambda m, x: m(x)[:, :1]),
        ending="ModelError",
        says="found 1",
    ),
    Trial(
        what="a class too many in the references",
        play=lambda: audit(retrained(), of_classes(11)),
        ending="ModelError",
        says="retrained model 1: expected 10 logits",
    ),
    Trial(what="no model", play=lambda: audit([]), ending="ModelError", says="an unlearned model"),
    Trial(
        what="a number in the place of a model",
        play=lambda: audit(3),
        ending="ModelError",
        says="expected a torch.nn.Module",
    ),
    Trial(
        what="one model twice, as if it were two copies",
        play=lambda: audit([unlearned(1), unlearned(1)]),
        ending="ModelError",
        says="models 1 and 2 have the same weights",
    ),
    Trial(
        what="an unlearned model that is the original, byte for byte",
        play=lambda: audit(original(), original=original()),
        ending="FAIL",
        says="RESIDUAL",
    ),
    Trial(
        what="an unlearned model of another architecture, which lost accuracy",
        play=lambda: audit(nn.Linear(64, 10)),
        ending="FAIL",
        says="UTILITY",
    ),
    Trial(
        what="a recipe that returns nothing",
        play=lambda: audit(retrained(), nothing),
        ending="ModelError",
        says="return the trained model",
    ),
    Trial(
        what="a recipe without randomness",
        play=lambda: audit(retrained(), unseeded),
        ending="INCONCLUSIVE",
        says="YARDSTICK",
    ),
    Trial(
        what="a recipe that ignores its rows",
        play=lambda: audit(retrained(), ignorant),
        ending="INCONCLUSIVE",
        says="NO_SIGNAL, YARDSTICK",
    ),
    Trial(
        what="references of which some give NaN",
        play=lambda: audit(
            retrained(), changed(lambda m, x: m(x) * torch.nan, lambda seed: seed % 7 == 1)
        ),
        ending="ModelError",
        says="not finite",
    ),
]
