"""Architectures of other libraries, by the names that plans call them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

from torch import nn

from forget_audit.digests import file_digest
from forget_audit.errors import ModelError
from forget_audit.foreign import estimator_files
from forget_audit.named_objects import import_object
from forget_audit.zoo.bounded import fitting
from forget_audit.zoo.hub_folders import read_config
from forget_audit.zoo.hugging_face import Networks

Builder = Callable[..., nn.Module]


def find(name: str, folder: Path) -> Builder | None:
    """Return what builds a fresh model called `name`, or nothing if the name is none of these.

    Args:
        name: `xgboost`, `sklearn:module.Class`, or `hf:` and a folder.
        folder: Where relative paths start.

    Raises:
        ModelError: If there is no such classifier or folder.
        MissingDependency: If the library that it needs is not installed.
    """
    if name == "xgboost":
        from forget_audit.foreign.boosted import xgboost_classifier

        return xgboost_classifier
    kind, _, rest = name.partition(":")
    if kind == "sklearn":
        from forget_audit.foreign import estimators

        found: Builder = estimators.find(rest)
        return found
    return in_folder(folder / rest) if kind == "hf" else None


def content(name: str, folder: Path) -> str:
    """Return what a model called `name` depends on besides its name: library and settings.

    Args:
        name: Of an architecture.
        folder: Where relative paths start.
    """
    kind, _, rest = name.partition(":")
    library = {"xgboost": "xgboost", "sklearn": "scikit-learn"}.get(kind)
    if library is not None:
        return f"{library} {version(library)}"
    if kind != "hf":
        return ""
    files = sorted((folder / rest).glob("*.json")) + sorted((folder / rest).glob("*.skops"))
    return " ".join(f"{file.name} {file_digest(file)}" for file in files)


def in_folder(folder: Path) -> Builder:
    """Return what builds a fresh model of the kind that lies in `folder`.

    Raises:
        ModelError: If there is no such folder, or it holds no classifier that is known here.
        MissingDependency: If the library that reads it is not installed.
    """
    table = read_config(folder)
    if "sklearn" in table:
        return _Sklearn(estimator_files.in_folder(folder))
    if "model_type" in table:
        return Networks(folder)
    return _Mixin(folder, table)


class _Mixin:
    """Builds a class of the user's own from the settings that `PyTorchModelHubMixin` wrote."""

    def __init__(self, folder: Path, settings: Mapping[str, Any]) -> None:
        self.folder, self.settings = folder, settings

    def __call__(self, _shape: tuple[int, ...], _classes: int, **options: Any) -> nn.Module:
        name = options.pop("class", None)
        if not isinstance(name, str) or ":" not in name or options:
            raise ModelError(
                f"the folder does not say what kind of model it holds: expected options "
                f'{{class = "package.module:Class"}}, found {options or name!r}'
            )
        kind: Any = import_object(name)
        model = fitting(self.folder, partial(kind, **self.settings))
        if not isinstance(model, nn.Module):
            raise ModelError(f"{name} must be a torch.nn.Module, found {type(model).__name__}")
        return model


class _Sklearn:
    """Builds classifiers of scikit-learn like the one in a skops file."""

    def __init__(self, file: Path) -> None:
        self.model = estimator_files.loads(file.read_bytes())

    def __call__(self, shape: tuple[int, ...], n_classes: int) -> nn.Module:
        from forget_audit.foreign.estimators import Estimator

        return Estimator(self.model, math.prod(shape), n_classes).untrained()
