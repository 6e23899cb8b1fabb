"""Models that answer as no model should."""

from typing import Any

import torch
from torch import nn
from torch.nn import functional

from tests.bad_input.world import Trial, audit, audit_all, audit_of, changed, original, retrained

SUMS = "sum to one in each row"


def half_of_the_rows(model: nn.Module, x: torch.Tensor) -> torch.Tensor:
    answers = model(x).clone()
    answers[x.sum(1) > 19.5] = float("nan")
    return answers  # type: ignore[no-any-return]


def dividing(_: nn.Module, x: torch.Tensor) -> object:
    return len(x) / 0


def silent(*_: object) -> None:
    pass


def with_gradients(model: nn.Module, x: torch.Tensor) -> Any:
    with torch.enable_grad():
        return model(x)


def diverged() -> nn.Module:
    model = retrained()
    model.get_parameter("output.weight").data[0, 0] = float("nan")
    return model


ANSWERS = [
    Trial(what="nothing: a model that was truly retrained", play=audit, ending="PASS"),
    Trial(
        what="the original in the place of the unlearned model",
        play=lambda: audit(original()),
        ending="FAIL",
        says="RESIDUAL",
    ),
    Trial(
        what="NaN for some rows",
        play=audit_of(half_of_the_rows),
        ending="ModelError",
        says="logits that are not finite, for",
    ),
    Trial(
        what="infinite answers",
        play=audit_of(lambda m, x: m(x) / 0),
        ending="ModelError",
        says="not finite, for 9 of 9 rows",
    ),
    Trial(
        what="NaN in the weights",
        play=lambda: audit(diverged()),
        ending="ModelError",
        says="lower the learning rate",
    ),
    Trial(
        what="answers of 1e30, of the audited model alone",
        play=audit_of(lambda m, x: m(x) * 1e30),
        ending="FAIL",
    ),
    Trial(
        what="one answer to everything",
        play=audit_of(lambda m, x: m(x) * 0),
        ending="FAIL",
        says="UTILITY",
    ),
    Trial(
        what="one answer to everything, of all models",
        play=audit_all(lambda m, x: m(x) * 0),
        ending="INCONCLUSIVE",
        says="NO_SIGNAL, YARDSTICK",
    ),
    Trial(
        what="probabilities in the place of logits, of the audited model",
        play=audit_of(lambda m, x: m(x).softmax(1)),
        ending="ModelError",
        says=SUMS,
    ),
    Trial(
        what="the same, of the references",
        play=lambda: audit(retrained(), changed(lambda m, x: m(x).softmax(1))),
        ending="ModelError",
        says="retrained model 1: expected logits, found numbers that are not negative",
    ),
    Trial(
        what="logarithms of probabilities, which are logits",
        play=audit_all(lambda m, x: m(x).log_softmax(1)),
        ending="PASS",
    ),
    Trial(
        what="classes instead of answers `(n,)`",
        play=audit_of(lambda m, x: m(x).argmax(1)),
        ending="ModelError",
        says="found int64",
    ),
    Trial(
        what="one-hot answers",
        play=audit_of(lambda m, x: functional.one_hot(m(x).argmax(1), 10).float()),
        ending="ModelError",
        says=SUMS,
    ),
    Trial(
        what="whole numbers",
        play=audit_of(lambda m, x: m(x).long()),
        ending="ModelError",
        says="logits in floating point, found int64",
    ),
    Trial(
        what="yes and no",
        play=audit_of(lambda m, x: m(x) > 0),
        ending="ModelError",
        says="found bool",
    ),
    Trial(
        what="complex numbers",
        play=audit_of(lambda m, x: torch.complex(m(x), m(x))),
        ending="ModelError",
        says="found complex64",
    ),
    Trial(what="float16 answers", play=audit_of(lambda m, x: m(x).half()), ending="PASS"),
    Trial(
        what="a tuple",
        play=audit_of(lambda m, x: (m(x), x)),
        ending="ModelError",
        says="a tensor of logits, found tuple",
    ),
    Trial(
        what="a dictionary",
        play=audit_of(lambda m, x: {"logits": m(x)}),
        ending="ModelError",
        says="a tensor of logits, found dict",
    ),
    Trial(
        what="nothing at all",
        play=audit_of(silent),
        ending="ModelError",
        says="found NoneType",
    ),
    Trial(
        what="an array of NumPy",
        play=audit_of(lambda m, x: m(x).numpy()),
        ending="ModelError",
        says="found ndarray",
    ),
    Trial(
        what="a sparse tensor",
        play=audit_of(lambda m, x: m(x).to_sparse()),
        ending="ModelError",
        says="call to_dense()",
    ),
    Trial(
        what="a tensor on another device, without content",
        play=audit_of(lambda m, x: m(x).to("meta")),
        ending="ModelError",
        says="NotImplementedError",
    ),
    Trial(what="a tensor with gradients", play=audit_of(with_gradients), ending="PASS"),
    Trial(
        what="another axis in front",
        play=audit_of(lambda m, x: m(x)[None]),
        ending="ModelError",
        says="expected logits of shape (9, classes), found (1, 9, 10)",
    ),
    Trial(
        what="axes exchanged",
        play=audit_of(lambda m, x: m(x).T),
        ending="ModelError",
        says="found (10, 9)",
    ),
    Trial(
        what="an answer too few",
        play=audit_of(lambda m, x: m(x)[:-1]),
        ending="ModelError",
        says="found (8, 10)",
    ),
    Trial(
        what="an error of its own",
        play=audit_of(dividing),
        ending="ModelError",
        says="ZeroDivisionError: division by zero",
    ),
]
