"""Ways of training that were measured on this machine, kept in a file of this account.

Trainings of fewer than `WORTH_MEASURING` steps are not measured: perceptrons take batches of
`BATCH`, which are hardly ever slower, everything else takes the loop. All others are measured when
they are first met, for however few models. So the way of a model depends neither on how many are
asked for nor on how many a broken run has left.
"""

import json
import logging
import os
import platform
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import get_args

import torch
from torch import nn

import forget_audit
from forget_audit.digests import canonical_json, sha256
from forget_audit.errors import StorageError
from forget_audit.finite import read_json
from forget_audit.keys.signing import home
from forget_audit.training.memory import training_bytes
from forget_audit.training.ways import How, Question, Way, draws_randomly, measure
from forget_audit.whole_files import write_whole

log = logging.getLogger(__name__)

FILE = "training-ways.json"
BATCH = 32
WORTH_MEASURING = 200  # steps of a training
LARGEST = 4 * 2**20  # bytes of the file


def way_for(question: Question) -> Way:
    """Return the way of a group of models: by rule, from the file, or measured."""
    model = question.build().train()
    if question.recipe.epochs * question.recipe.steps_per_epoch < WORTH_MEASURING:
        return _by_rule(question, model)
    file, key = home() / FILE, _key(question, model)
    known = remembered(file)
    if key not in known:
        found = measure(question)
        known = remembered(file)  # whoever was first is believed, so that all train alike
        if key not in known:
            known[key] = found
            _write(file, known)
    return known[key]


def _by_rule(question: Question, model: nn.Module) -> Way:
    if not question.written_out(model) or draws_randomly(model, question.rows) is None:
        return Way()
    each = training_bytes(model, question.rows, question.recipe)
    return Way(how="written out", models=BATCH, bytes_each=each)


def _key(question: Question, model: nn.Module) -> str:
    """Return a digest of all that the time of a step depends on."""
    weights = [[name, list(t.shape), str(t.dtype)] for name, t in model.state_dict().items()]
    device = question.device
    gpu = device.type == "cuda"
    depends = [
        *(forget_audit.__version__, torch.__version__, question.precision, device.type),
        torch.cuda.get_device_name(device) if gpu else f"{_processor()} x {os.cpu_count()}",
        *(question.recipe.optimizer, question.recipe.momentum != 0.0),
        *(str(model), weights, list(question.rows.shape)),
    ]
    return sha256(canonical_json(depends))


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:  # another kind of system
        log.debug("no list of processors")
    return f"{platform.machine()} {platform.processor()}"


def remembered(file: Path) -> dict[str, Way]:
    """Return what is remembered, by key; what is damaged is measured again."""
    if not file.is_file():
        return {}
    try:
        with file.open("rb") as opened:
            found = read_json(opened.read(LARGEST))
    except (OSError, ValueError, RecursionError) as error:
        log.warning("%s is damaged, and training times are measured again: %s", file, error)
        return {}
    if not isinstance(found, dict):
        log.warning("%s is damaged, and training times are measured again", file)
        return {}
    ways = {key: _way(entry) for key, entry in found.items()}
    return {key: way for key, way in ways.items() if way is not None}


def _way(entry: object) -> Way | None:
    if not isinstance(entry, Mapping) or set(entry) != set(asdict(Way())):
        return None
    how, models, threads, each, share = (entry[name] for name in asdict(Way()))
    sound = (
        how in get_args(How)
        and (type(models), type(threads), type(each)) == (int, bool, int)
        and type(share) is float
        and 1 <= models <= 1024
        and each >= 0
        and 0 <= share < 2
    )
    return Way(**entry) if sound else None


def _write(file: Path, known: Mapping[str, Way]) -> None:
    """Replace the file; a folder that cannot be written to costs measuring again, no more."""
    text = json.dumps({key: asdict(way) for key, way in known.items()}, indent=1)
    try:
        write_whole(file, text.encode("utf-8"), shared=True)
    except StorageError as error:
        log.info("training times cannot be remembered: %s", error)
