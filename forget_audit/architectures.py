"""Registered architectures and the user's own: how a fresh model is built."""

import inspect
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import nn

from forget_audit.errors import ForgetAuditError, ModelError
from forget_audit.faults import out_of_memory
from forget_audit.foreign.answering import AnswersOnly
from forget_audit.named_objects import import_object
from forget_audit.own_calls import guarded
from forget_audit.registry import unknown
from forget_audit.types import Features
from forget_audit.zoo import foreign_names
from forget_audit.zoo.bounded import check_fits_machine
from forget_audit.zoo.convolutions import alexnet, allcnn, cnn, lenet, vgg11, vgg16, vgg19
from forget_audit.zoo.heads import OneOutput
from forget_audit.zoo.perceptrons import linear, mlp
from forget_audit.zoo.residual import mobilenet_v2, resnet9, resnet18, resnet50
from forget_audit.zoo.transformers import vit, vit_large, vit_small
from forget_audit.zoo.words import text

BUILDERS: Mapping[str, Callable[..., nn.Module]] = {
    "mlp": mlp,
    "cnn": cnn,
    "linear": linear,
    "vit": vit,
    "lenet": lenet,
    "allcnn": allcnn,
    "alexnet": alexnet,
    "vgg11": vgg11,
    "vgg16": vgg16,
    "vgg19": vgg19,
    "resnet9": resnet9,
    "resnet18": resnet18,
    "resnet50": resnet50,
    "mobilenet_v2": mobilenet_v2,
    "vit_small": vit_small,
    "vit_large": vit_large,
    "text": text,
}
_FITTING: set[tuple[object, ...]] = set()


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """How to build a fresh, untrained model.

    Args:
        name: A registered name, or `package.module:function`.
        shape: Shape of one row of features.
        n_classes: Number of outputs.
        options: Keyword arguments of the builder, such as `hidden`.
        head: `classes`, one output a class, or `binary`, one output for two classes.
        folder: Where relative paths start, for architectures that are read from a folder.
    """

    name: str
    shape: tuple[int, ...]
    n_classes: int
    options: Mapping[str, object] = field(default_factory=dict)
    head: Literal["classes", "binary"] = "classes"
    folder: Path = field(default_factory=Path, compare=False, repr=False)

    def build(self) -> nn.Module:
        """Return a new model; its weights come from torch's global generator.

        Raises:
            ModelError: If the name is unknown, the builder refuses the options or fails, or a
                binary head does not fit the model or the classes.
        """
        if self.head == "binary" and self.n_classes != 2:
            raise ModelError(
                f"head binary: expected two classes, found {self.n_classes}; leave head out"
            )
        builder = find_builder(self.name, self.folder)
        outputs = 1 if self.head == "binary" else self.n_classes
        try:
            make = partial(builder, self.shape, outputs, **self.options)
            if self.name in BUILDERS:
                self._check_size(make, outputs)
            with guarded() if ":" in self.name else nullcontext():
                model = make()
        except TypeError as error:
            raise ModelError(
                f"{self.name} does not accept {dict(self.options)}: {error}"
            ) from error
        except ForgetAuditError:
            raise
        except Exception as error:
            if out_of_memory(error):
                raise
            raise ModelError(
                f"{self.name} cannot be built for rows of shape {self.shape} with "
                f"{dict(self.options)}: {type(error).__name__}: {error}"
            ) from error
        if not isinstance(model, nn.Module):
            raise ModelError(f"{self.name} must return a torch.nn.Module, found {type(model)}")
        return model if self.head == "classes" else self._two_answers(model)

    def answer(self, x: Features) -> None:
        """Build a model and let it answer rows, so that no training starts in vain.

        Models that only answer are not asked, for they know nothing before training.

        Args:
            x: Some rows of the data `(n, ...)`; one batch.

        Raises:
            ModelError: If it cannot be built, fails on the rows, or answers in another shape.
        """
        model = self.build()
        if isinstance(model, AnswersOnly):
            return
        try:
            with torch.no_grad():
                found = model.eval()(torch.tensor(np.asarray(x)))
        except ForgetAuditError:
            raise
        except Exception as error:
            raise ModelError(
                f"{self.name} fails on rows of shape {self.shape}: {type(error).__name__}: {error}"
            ) from error
        shape = tuple(getattr(found, "shape", ()))
        if shape != (len(x), self.n_classes):
            raise ModelError(
                f"{self.name}: expected logits of shape {(len(x), self.n_classes)} for {len(x)} "
                f"rows, found {shape or type(found).__name__}"
            )

    def _check_size(self, make: Callable[[], nn.Module], outputs: int) -> None:
        """Refuse a network that no memory holds; each one is looked at once a process."""
        asked = (self.name, self.shape, outputs, repr(sorted(self.options.items())))
        if asked not in _FITTING:
            check_fits_machine(self.name, make)
            _FITTING.add(asked)

    def _two_answers(self, model: nn.Module) -> nn.Module:
        if isinstance(model, AnswersOnly):
            raise ModelError(
                f"head binary: {self.name} answers for both classes already; leave head out"
            )
        wrapped = OneOutput(model)
        if self.name not in BUILDERS:
            with torch.no_grad():
                wrapped.eval()(torch.zeros(1, *self.shape))
        return wrapped.train()


def options_of(name: str) -> dict[str, object]:
    """Return the options of an architecture with their defaults, as far as it names them."""
    signature = inspect.signature(find_builder(name))
    return {
        option.name: option.default
        for option in signature.parameters.values()
        if option.default is not option.empty
    }


def find_builder(name: str, folder: Path | None = None) -> Callable[..., nn.Module]:
    """Return the registered builder called `name`, or import `package.module:function`.

    Args:
        name: As a plan has it.
        folder: Where relative paths start.

    Raises:
        ModelError: If there is none.
        MissingDependency: If the library that it needs is not installed.
    """
    foreign = foreign_names.find(name, folder or Path())
    if foreign is not None:
        return foreign
    if ":" in name:
        found = import_object(name)
        if not callable(found):
            raise ModelError(f"{name} is no function")
        return partial(found)
    if name not in BUILDERS:
        raise ModelError(
            unknown("architecture", name, [*BUILDERS, "xgboost"]) + ", or package.module:function"
        )
    return BUILDERS[name]
