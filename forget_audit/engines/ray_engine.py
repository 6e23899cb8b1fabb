"""Tasks on a Ray cluster: of many machines, or started on this one for the time of a run.

The shared object is put into Ray's object store once and read there by all tasks of a machine;
a task whose process or machine dies is run again elsewhere, and nothing else is lost (Moritz et
al., Ray: a distributed framework for emerging AI applications, OSDI 2018, arXiv:1712.05889).
Ray's own backend for joblib is not used: it runs tasks in actors, and cannot replace a dead one.
"""

from __future__ import annotations

import logging
import os
import secrets
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch

from forget_audit.engines.engine import Item, Result, Shared
from forget_audit.errors import EngineError, MissingDependency
from forget_audit.named_objects import imported_from, own_code, own_files
from forget_audit.stopping import unchanged

QUIET: Mapping[str, str] = {
    "RAY_USAGE_STATS_ENABLED": "0",  # else Ray reports its use to its makers
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "1",  # tasks that ask for no GPU see none
}
TOKEN = "RAY_AUTH_TOKEN"  # noqa: S105  the name of a variable
CHANGED = ("RAY_AUTH_MODE", "PYTHONBREAKPOINT")  # by Ray, and put back as they were


@dataclass(frozen=True, kw_only=True)
class RayEngine:
    """Runs tasks on the cluster to which `connected` has connected this process.

    Args:
        cpus: Processors, and threads of PyTorch, of a task.
        gpus: GPUs of a task; parts of one let several tasks share it.
        retries: How often a task is run again whose process or machine died.
    """

    cpus: int = 1
    gpus: float = 0.0
    retries: int = 3

    @property
    def width(self) -> int:
        """How many tasks the machines that are there now run side by side."""
        found = _library().cluster_resources()
        places = found.get("CPU", 0.0) / self.cpus
        if self.gpus:
            places = min(places, found.get("GPU", 0.0) / self.gpus)
        return int(places)

    def run(
        self,
        function: Callable[[Shared, Item], Result],
        shared: Shared,
        items: Sequence[Item],
    ) -> Iterator[tuple[int, Result]]:
        """Yield the results with the positions of their items, each as soon as it is there.

        Args:
            function: Takes `shared` and one item.
            shared: What all items need; put into the object store once.
            items: One a task.

        Raises:
            EngineError: If no machine can run a task, or a task died more often than allowed.
        """
        if not items:
            return
        ray = _library()
        if not self.width:
            raise EngineError(
                f"expected a machine with {self.cpus} processors and {self.gpus:g} GPUs free for a "
                f"task, found {dict(ray.cluster_resources())}; add one, or ask for less a task"
            )
        task = ray.remote(_task).options(
            name=getattr(function, "__name__", "task"),
            num_cpus=self.cpus,
            num_gpus=self.gpus,
            max_retries=self.retries,
        )
        held, software = ray.put(shared), _software()
        waiting = {
            task.remote(function, held, item, self.cpus, software): number
            for number, item in enumerate(items)
        }
        try:
            while waiting:
                finished, _ = ray.wait(list(waiting), num_returns=1)
                for reference in finished:
                    number = waiting.pop(reference)
                    yield number, _result(ray, reference)
        finally:
            for reference in waiting:
                ray.cancel(reference, force=True)


@contextmanager
def connected(
    engine: RayEngine,
    *,
    address: str | None = None,
    workers: int | None = None,
    folder: Path | None = None,
) -> Iterator[RayEngine]:
    """Let `engine` run tasks within the body; Ray is left, or ended if it was started here.

    A cluster that is started here answers nobody who does not know its token, and keeps its
    files in a folder that is removed. If this process is connected already, it stays so.

    Args:
        engine: What runs tasks.
        address: Of the head of a cluster, such as `10.0.0.1:6379`; that in `RAY_ADDRESS`, or a
            cluster of this machine alone, if left out.
        workers: Processors of a cluster started here; all if left out.
        folder: Where modules of the user's own stand, such as that of the plan; those that this
            process has imported are sent to every machine, with what they import from there.

    Raises:
        MissingDependency: If Ray is not installed.
        EngineError: If the cluster cannot be reached.
    """
    wanted = address or os.environ.get("RAY_ADDRESS") or "local"
    with ExitStack() as stack:
        stack.enter_context(_environment(QUIET, *CHANGED))
        if (
            wanted == "local" and TOKEN not in os.environ
        ):  # else Ray writes one into the home folder
            stack.enter_context(_environment({TOKEN: _token()}))
        ray = _library()
        if not ray.is_initialized():
            code = stack.enter_context(_copied(folder))
            options: dict[str, Any] = {"runtime_env": {"py_modules": code}} if code else {}
            if wanted == "local":
                place = stack.enter_context(
                    tempfile.TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True)
                )
                options |= {"num_cpus": workers, "include_dashboard": False, "_temp_dir": place}
            stack.callback(ray.shutdown)
            try:
                with unchanged():  # Ray's own answer to SIGTERM is to crash
                    ray.init(
                        address=wanted, log_to_driver=False, logging_level=logging.ERROR, **options
                    )
            except (ConnectionError, OSError, RuntimeError, ValueError) as error:
                raise EngineError(f"no Ray cluster at {wanted}: {error}") from error
        yield engine


def _task(
    function: Callable[[Shared, Item], Result],
    shared: Shared,
    item: Item,
    threads: int,
    expected: str,
) -> Result:
    """Run one task, on as many threads on every machine, so that results are the same."""
    if _software() != expected:
        raise EngineError(
            f"a machine of the cluster runs other software: expected {expected}, found "
            f"{_software()}; install the same versions everywhere"
        )
    torch.set_num_threads(threads)
    return function(shared, item)


def _software() -> str:
    return f"forget-audit {own_code()}, torch {torch.__version__}"


def _result(ray: Any, reference: Any) -> Any:
    """Return what a task returned, or raise what it raised."""
    try:
        return ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, ray.exceptions.RayError):
            raise EngineError(f"a task failed: {error.cause}") from error
        raise error.cause from error
    except ray.exceptions.RayError as error:
        raise EngineError(f"Ray lost a task: {error}") from error


@contextmanager
def _copied(folder: Path | None) -> Iterator[list[str]]:
    """Give the body copies of the code below `folder`: what Ray is to send, and nothing else."""
    with tempfile.TemporaryDirectory() as copies:
        for module in [] if folder is None else imported_from(folder):
            root, files = own_files(module)
            for file in files:
                copy = Path(copies) / file.relative_to(root)
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(file, copy)
        yield sorted(str(path) for path in Path(copies).iterdir())


@contextmanager
def _environment(values: Mapping[str, str], *changed: str) -> Iterator[None]:
    """Set variables for the body, and put them and those that it changes back as they were."""
    before = {name: os.environ.get(name) for name in (*values, *changed)}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@cache
def _token() -> str:
    """Return the token of clusters that this process starts; Ray reads it once a process."""
    return secrets.token_hex(32)


def _library() -> Any:
    try:
        import ray
    except ImportError as error:
        raise MissingDependency(
            'running on a cluster needs Ray: pip install "forget-audit[ray]"'
        ) from error
    return ray
