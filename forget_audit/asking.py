"""Asking a model: the one place where its code runs, and where its answers are looked at.

A model may be anybody's code. Whatever it does wrong ends in an error that says what was expected.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from torch import nn

from forget_audit.errors import ForgetAuditError, ModelError
from forget_audit.faults import gpu_lost, out_of_memory
from forget_audit.foreign.answering import AnswersOnly
from forget_audit.types import Case, Features, Floats

ROWS_OF_A_ROLE = 3
FEWEST_OF_A_KIND = 3
NOISE = 0.02  # share of the largest answer; bfloat16 rounds by half of it
SUM_ERROR = 1e-4
EXPECTED = "a model takes float32 features (n, ...) and returns logits (n, classes) for any n"


def device_of(model: nn.Module) -> torch.device:
    """Return the device of the first parameter, or the CPU if there is none."""
    return next((p.device for p in model.parameters()), torch.device("cpu"))


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Put every part of `model` into evaluation mode for the body, then back as it was."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


@contextmanager
def running(what: str) -> Iterator[None]:
    """Run code of a model; whatever it raises becomes an error with advice.

    Lack of memory and lost devices are no fault of the model and pass.

    Args:
        what: What the model was asked, for the message.

    Raises:
        ModelError: In the place of anything else.
    """
    try:
        yield
    except ForgetAuditError:
        raise
    except Exception as error:  # code of the user's own may raise anything
        if out_of_memory(error) or gpu_lost(error):
            raise
        line = (str(error).strip() or "no message").splitlines()[0]
        raise ModelError(
            f"the model fails when asked {what}: {type(error).__name__}: {line}; {EXPECTED}"
        ) from error


def ask(model: nn.Module, x: Features) -> Floats:
    """Return the answers of `model`, in the mode it is in, to one batch `(n, outputs)`, float64.

    It gets a copy of the rows, which it may change.

    Raises:
        ModelError: If it fails, or returns anything but finite logits, a line a row.
    """
    with running(f"about {len(x)} rows of shape {x.shape[1:]}"), torch.no_grad():
        found = model(torch.tensor(x, device=device_of(model)))
        _check_kind(found)
        numbers: Floats = found.detach().double().cpu().numpy()
    if numbers.ndim != 2 or len(numbers) != len(x):
        raise ModelError(
            f"expected logits of shape ({len(x)}, classes), found {numbers.shape}; {EXPECTED}"
        )
    odd = ~np.isfinite(numbers).all(axis=1)
    if odd.any():
        raise ModelError(
            f"the model returned logits that are not finite, for {int(odd.sum())} of {len(x)} "
            "rows: its training diverged, or its weights are damaged; lower the learning rate or "
            "scale the features"
        )
    return numbers


def refuse_probabilities(answers: Floats) -> None:
    """Refuse answers `(n, outputs)` that are probabilities: the softmax of them means nothing.

    Raises:
        ModelError: If no answer is negative and each line sums to one.
    """
    if answers.shape[1] < 2 or len(answers) < 2 or answers.min() < 0:
        return
    if np.abs(answers.sum(axis=1) - 1).max() <= SUM_ERROR:
        raise ModelError(
            "expected logits, found numbers that are not negative and sum to one in each row, as "
            "probabilities do; leave the softmax out, or return the logarithm of it"
        )


def check_model(model: nn.Module, case: Case, name: str) -> Floats:
    """Ask a model about a few rows of each role: twice, and in other batches.

    Models of other libraries answer alike by their nature and are asked once.

    Args:
        model: In any mode, which is kept.
        case: The rows; the first three of each role are taken.
        name: What to call the model in messages.

    Returns:
        Its answers `(n, outputs)`.

    Raises:
        ModelError: If it does not answer as a model should, answers the same rows differently the
            second time or in another batch, or is changed by being asked.
    """
    parts = (case.forget, case.retain, case.test)
    x = np.concatenate([np.asarray(part.x[:ROWS_OF_A_ROLE]) for part in parts])
    try:
        with evaluating(model):
            return _checked(model, x, case.n_classes)
    except ModelError as error:
        raise ModelError(f"{name}: {error}") from error


def _checked(model: nn.Module, x: Features, outputs: int) -> Floats:
    before = [(name, buffer.clone()) for name, buffer in model.named_buffers()]
    first = ask(model, x)
    if first.shape[1] != outputs:
        raise ModelError(
            f"expected {outputs} logits a row, one a class, found {first.shape[1]}; hand in a "
            "model of these classes, with head binary if two classes share one output"
        )
    refuse_probabilities(first)
    if isinstance(model, AnswersOnly):
        return first
    allowed = NOISE * float(np.abs(first).max())
    off = float(np.abs(ask(model, x) - first).max())
    if off > allowed:
        raise ModelError(
            f"the same rows were answered differently the second time, by up to {off:.3g}, so "
            "that no audit speaks for the next answer; switch dropout, noise and sampling off in "
            "evaluation mode, and register all parts as submodules so that eval() reaches them"
        )
    cut = max(1, len(x) // 3)
    apart = np.concatenate([ask(model, x[:cut]), ask(model, x[cut:])])
    off = float(np.abs(apart - first).max())
    if off > allowed:
        raise ModelError(
            f"the same rows were answered differently in a smaller batch, by up to {off:.3g}; an "
            "answer must follow from its own row, so normalise by stored statistics, as "
            "BatchNorm does in evaluation mode"
        )
    changed = [
        name
        for (name, old), (_, new) in zip(before, model.named_buffers(), strict=True)
        if not torch.equal(old, new)
    ]
    if changed:
        raise ModelError(
            f"being asked changes the model ({', '.join(changed[:3])}); update statistics in "
            "training mode alone"
        )
    return first


def check_models(models: Sequence[nn.Module], case: Case, name: str) -> None:
    """Check each of several models, and that their answers are no probabilities of yes.

    A single output may lie between 0 and 1 by chance; all answers of trained models do not.

    Args:
        models: Of one recipe.
        case: The rows.
        name: What to call them in messages, as in `retrained model`.

    Raises:
        ModelError: If one does not answer as a model should.
    """
    each = [check_model(model, case, f"{name} {k}") for k, model in enumerate(models, 1)]
    if len(each) < FEWEST_OF_A_KIND:
        return
    answers = np.stack(each)
    of_yes = answers[..., 1:] if not answers[..., 0].any() else answers
    single = case.multi_label or of_yes.shape[2] < answers.shape[2]
    if single and of_yes.size and of_yes.min() >= 0 and of_yes.max() <= 1 and np.ptp(of_yes) > 0:
        raise ModelError(
            f"{name}s: expected logits, found answers between 0 and 1 throughout, as probabilities "
            "are; leave the sigmoid out"
        )


def _check_kind(found: object) -> None:
    if not isinstance(found, torch.Tensor):
        raise ModelError(
            f"expected a tensor of logits, found {type(found).__name__}; {EXPECTED}, and nothing "
            "beside them"
        )
    if found.layout is not torch.strided:
        raise ModelError("expected a dense tensor of logits, found a sparse one; call to_dense()")
    if not found.is_floating_point():
        kind = str(found.dtype).removeprefix("torch.")
        raise ModelError(
            f"expected logits in floating point, found {kind}: classes and rounded answers do not "
            f"say how sure a model is; {EXPECTED}"
        )
