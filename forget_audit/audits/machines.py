"""Where a run computes: on which device, and in this process or on a cluster."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from forget_audit.engines.engine import Engine
from forget_audit.engines.ray_engine import RayEngine, connected
from forget_audit.errors import ModelError, PlanError, Problem
from forget_audit.training.places import usable_device

ENGINES = ("local", "ray")


def chosen_device(asked: str, *, engine: str = "local") -> str:
    """Return where models are trained, as torch has it.

    Args:
        asked: `cpu`, `cuda`, `cuda:1` and so on; `auto` takes a GPU if there is one.
        engine: What runs trainings; machines of a cluster may have what this one lacks.

    Raises:
        PlanError: If there is no such device or engine.
    """
    _check_engine(engine)
    if asked == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        return str(torch.device(asked) if engine != "local" else usable_device(asked))
    except (ModelError, RuntimeError) as error:
        raise PlanError([Problem("--device", str(error))]) from error


@contextmanager
def chosen_engine(
    asked: str, *, device: str, workers: int, folder: Path
) -> Iterator[Engine | None]:
    """Give the body what runs trainings and attacks; none means this process.

    Args:
        asked: `local` or `ray`.
        device: Where models are trained; a task on a GPU takes a whole one.
        workers: Processors of a cluster that is started here; all if one.
        folder: Where modules of the user's own stand.

    Raises:
        PlanError: For anything else.
        MissingDependency: If Ray is not installed.
        EngineError: If the cluster named in `RAY_ADDRESS` cannot be reached.
    """
    _check_engine(asked)
    if asked == "local":
        yield None
        return
    engine = RayEngine(gpus=float(device != "cpu"))
    with connected(engine, workers=workers if workers > 1 else None, folder=folder) as joined:
        yield joined


def _check_engine(asked: str) -> None:
    if asked not in ENGINES:
        message = f"expected {' or '.join(ENGINES)}, found {asked!r}"
        raise PlanError([Problem("--engine", message)])
