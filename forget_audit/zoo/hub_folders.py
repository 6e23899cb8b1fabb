"""Folders that Hugging Face's libraries write, read from the disk alone."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from forget_audit.errors import MissingDependency, ModelError
from forget_audit.finite import read_json
from forget_audit.model_identity import folder_files

CONFIG, PREPROCESSOR = "config.json", "preprocessor_config.json"
MOST = {"layer": 1000, "depth": 1000, "block": 10_000, "num_labels": 100_000}
OFFLINE = {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
}


def read_config(folder: Path) -> dict[str, Any]:
    """Return `config.json` of a folder.

    Raises:
        ModelError: If there is no such folder or file, or it asks for code of its own.
    """
    if not folder.is_dir():
        raise ModelError(
            f"there is no folder {folder.name}; models are read from the disk alone, so copy it "
            "here first"
        )
    folder_files(folder)
    try:
        table = read_json((folder / CONFIG).read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(f"{folder.name}/{CONFIG} cannot be read: {error}") from error
    if not isinstance(table, dict):
        raise ModelError(f"{folder.name}/{CONFIG} is no table")
    for name in ("auto_map", "custom_pipelines", "quantization_config"):
        if name in table:
            raise ModelError(
                f"{folder.name}/{CONFIG} has {name!r}; models with code of their own and "
                "quantised ones are not loaded"
            )
    _check_counts(folder.name, table)
    if (folder / "adapter_config.json").exists():
        raise ModelError(f"{folder.name} holds an adapter; merge it into the model and save that")
    return table


def _check_counts(name: str, table: Any) -> None:
    """Refuse so many layers or classes that building the network would never end.

    Raises:
        ModelError: If there are, in a table or in one within it.
    """
    waiting = [("", table)]
    while waiting:
        key, value = waiting.pop()
        if isinstance(value, dict):
            waiting += [(str(part), inside) for part, inside in value.items()]
        elif isinstance(value, list):
            waiting += [(key, inside) for inside in value]
        most = next((count for word, count in MOST.items() if word in key), None)
        if most is not None and isinstance(value, int) and value > most:
            raise ModelError(f"{name}/{CONFIG}: expected {key} of at most {most:,}, found more")


@contextmanager
def offline() -> Iterator[Any]:
    """Give the body `transformers`, which cannot reach the network there, and says nothing.

    Raises:
        MissingDependency: If it is not installed.
        ModelError: If the body fails.
    """
    before = {name: os.environ.get(name) for name in OFFLINE}
    os.environ.update(OFFLINE)
    try:
        with _silent(_library()) as transformers:
            yield transformers
    except (ModelError, MissingDependency):
        raise
    except Exception as error:
        said = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ModelError(f"transformers refuses it: {said}") from error
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name)
            else:
                os.environ[name] = value


def _library() -> Any:
    try:
        import transformers
    except ImportError as error:
        raise MissingDependency(
            'models of transformers need: pip install "forget-audit[hf]"'
        ) from error
    return transformers


@contextmanager
def _silent(transformers: Any) -> Iterator[Any]:
    """Let the body of `offline` run without the hub, log lines and bars, also if it is loaded."""
    import huggingface_hub.constants as hub

    logs, reachable = transformers.utils.logging, hub.HF_HUB_OFFLINE
    level, bars = logs.get_verbosity(), logs.is_progress_bar_enabled()
    hub.HF_HUB_OFFLINE = True
    logs.set_verbosity_error()
    logs.disable_progress_bar()
    try:
        yield transformers
    finally:
        hub.HF_HUB_OFFLINE = reachable
        logs.set_verbosity(level)
        if bars:
            logs.enable_progress_bar()


def pretrained_config(folder: Path) -> Any:
    """Return the configuration in a folder of transformers.

    Raises:
        ModelError: If it is not sound.
        MissingDependency: If transformers is not installed.
    """
    read_config(folder)
    with offline() as transformers:
        return transformers.AutoConfig.from_pretrained(
            str(folder), local_files_only=True, trust_remote_code=False
        )


def normalisation(folder: Path) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and standard deviation of each channel, if the folder says to use them.

    Raises:
        ModelError: If it says so wrongly.
    """
    if not (folder / PREPROCESSOR).is_file():
        return (), ()
    try:
        table = read_json((folder / PREPROCESSOR).read_bytes())
        if not table.get("do_normalize"):
            return (), ()
        mean, std = (tuple(map(float, table[name])) for name in ("image_mean", "image_std"))
    except (
        OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError, OverflowError,
    ) as error:  # fmt: skip
        raise ModelError(f"{folder.name}/{PREPROCESSOR} is not sound: {error}") from error
    finite = all(map(math.isfinite, (*mean, *std)))
    if len(mean) != len(std) or not finite or not all(value > 0 for value in std):
        raise ModelError(f"{folder.name}/{PREPROCESSOR}: expected a mean and a std a channel")
    return mean, std
