"""Unlearning that is remembered: the same method on the same model is run once."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from pydantic import TypeAdapter
from torch import nn

from forget_audit.contracts import Method, Unlearned, UnlearnReport
from forget_audit.digests import canonical_json, case_digest, sha256
from forget_audit.engines.local import Local
from forget_audit.errors import ModelError
from forget_audit.named_objects import code_of
from forget_audit.seals import sealed, unsealed
from forget_audit.seeds import derive, generator
from forget_audit.targets import weights_digest
from forget_audit.training.references import Workshop, fingerprint
from forget_audit.training.remembered_models import load_remembered, remembered_bytes
from forget_audit.types import Case
from forget_audit.whole_files import write_whole

log = logging.getLogger(__name__)

REPORT = TypeAdapter(UnlearnReport)
Given = tuple[Method, Callable[[int], Case], Callable[[int], np.random.Generator]]


def unlearn(
    workshop: Workshop, method: Method, model: nn.Module, case: Case, *labels: str | int
) -> Unlearned:
    """Return what the method makes of a model, remembered or made.

    Nothing is remembered of a method that reads the log of training, whose code stands in no
    file, or that returns a network of another build.

    Args:
        workshop: Says where things are remembered, and the root seed.
        method: Unlearns.
        model: Was trained on the forget rows of `case`.
        case: The request.
        *labels: Of the generator that the method is given.
    """
    file = _file(workshop, method, model, case, labels)
    found = _recalled(workshop, file)
    if found is not None:
        return found
    made = method.unlearn(model, case, generator(workshop.seed, *labels))
    return _noted(workshop, file, made)


def unlearn_each(
    workshop: Workshop,
    method: Method,
    models: Sequence[nn.Module],
    case_of: Callable[[int], Case],
    rng_of: Callable[[int], np.random.Generator],
    label: str,
) -> list[Unlearned]:
    """Return what the method makes of each model: tasks of the engine of the workshop.

    Args:
        workshop: Says where things are remembered and run, and the root seed.
        method: Unlearns.
        models: Changed, or not, as the method does.
        case_of: Builds the request of a model from its number, wherever the method runs.
        rng_of: Returns the generator of a model from its number.
        label: Of these generators, with the number of the model.
    """
    files = [
        _file(workshop, method, model, case_of(k), (label, k)) for k, model in enumerate(models)
    ]
    found = [_recalled(workshop, file) for file in files]
    missing = [k for k, one in enumerate(found) if one is None]
    engine = workshop.engine or Local()
    given = method, case_of, rng_of
    for place, made in engine.run(_unlearn, given, [(k, models[k]) for k in missing]):
        found[missing[place]] = _noted(workshop, files[missing[place]], made)
    return [one for one in found if one is not None]


def _unlearn(given: Given, wanted: tuple[int, nn.Module]) -> Unlearned:
    (method, case_of, rng_of), (k, model) = given, wanted
    return method.unlearn(model, case_of(k), rng_of(k))


def _recalled(workshop: Workshop, file: Path | None) -> Unlearned | None:
    if file is None or not file.is_file() or workshop.fresh:
        return None
    found = _remembered(workshop, file)
    if found is not None:
        workshop.held(file)
    return found


def _noted(workshop: Workshop, file: Path | None, made: Unlearned) -> Unlearned:
    """Remember what was made, if that is possible, and return it."""
    if file is not None and same_build(made.model, workshop.template()):
        write_whole(file.with_suffix(".json"), sealed(REPORT.dump_json(made.report), file.stem))
        write_whole(file, remembered_bytes(made.model, file.stem))
        workshop.held(file)
    return made


def _file(
    workshop: Workshop, method: Method, model: nn.Module, case: Case, labels: tuple[str | int, ...]
) -> Path | None:
    made_by, code = fingerprint(case.trainer), code_of(type(method))
    if workshop.cache is None or case.log is not None or made_by is None or code is None:
        return None
    settings = [type(method).__qualname__, code, repr(method), made_by]
    drawn = str(derive(workshop.seed, *labels))
    content = [weights_digest(model), case_digest(case), drawn]
    return workshop.cache / f"{sha256(canonical_json([settings, content]))}.safetensors"


def _remembered(workshop: Workshop, file: Path) -> Unlearned | None:
    try:
        report = REPORT.validate_json(unsealed(file.with_suffix(".json").read_bytes(), file.stem))
        return Unlearned(model=load_remembered(workshop.template(), file), report=report)
    except (ModelError, OSError, ValueError) as error:  # of pydantic, too
        log.warning("%s: %s; the method is run again", file.name, error)
        return None


def same_build(model: nn.Module, template: nn.Module) -> bool:
    """Say whether the weights of `model` tell all about it, given the template."""
    if repr(model) != repr(template):
        return False
    states = model.state_dict(), template.state_dict()
    shapes = [{name: (t.shape, t.dtype) for name, t in state.items()} for state in states]
    return shapes[0] == shapes[1] and all(isinstance(t, torch.Tensor) for t in states[0].values())
