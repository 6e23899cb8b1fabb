"""Files to start from: a commented plan and an adapter for one's own data and model."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, Literal

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from forget_audit.errors import ForgetAuditError
from forget_audit.starter.code import adapter, functions, template
from forget_audit.types import Scope
from forget_audit.whole_files import write_output

Kind = Literal["torch", "function", "xgboost", "sklearn", "huggingface", "predictions", "preset"]

BARE = re.compile(r"[A-Za-z0-9_-]+")
PLAN, ADAPTER, OURS = "plan.toml", "my_model.py", "my_model:"
WRITER, ANSWERS = "write_predictions.py", "predictions.csv"
KINDS: Mapping[Kind, str] = {
    "torch": "a PyTorch model, trained by the recipe in the plan",
    "function": "a training loop of my own, fit(x, y, seed)",
    "xgboost": "XGBoost",
    "sklearn": "a classifier of scikit-learn",
    "huggingface": "a Hugging Face classifier in a local folder",
    "predictions": "predictions alone, written by any language",
    "preset": "the experiment of a paper",
}
TRAIN_THEMSELVES: tuple[Kind, ...] = ("xgboost", "sklearn")


@dataclass(frozen=True, kw_only=True)
class Start:
    """What a plan to start from says.

    Args:
        kind: What there is to audit; the experiment of a paper has a plan of its own.
        source: Of the rows.
        options: Of the reader of the rows.
        images: Whether the rows are read by a reader of images.
        n_classes: Number of classes, if known.
        architecture: Of the model.
        settings: Of the architecture.
        function: Training loop of the user's own; kind `function` gets an example if left out.
        forget: File of ids, if the request names rows so.
        random: Number of rows drawn, if no other key names any.
        classes: To be forgotten.
        attribute: Label to be forgotten.
        scope: Of the request.
        method: Makes the unlearned model, unless one is handed in.
        original: File of the model before unlearning.
        unlearned: File of the unlearned model.
        predictions: File of recorded answers; takes the place of data and model.
        answered: Whether that file is there.
        controller: Who answers for the model.
        received: Day of the request; today if left out.
    """

    kind: Kind = "torch"
    source: str = "my_model:load"
    options: Mapping[str, object] = field(default_factory=dict)
    images: bool = False
    n_classes: int | None = None
    architecture: str = "my_model:build"
    settings: Mapping[str, object] = field(default_factory=dict)
    function: str | None = None
    forget: str | None = None
    random: int = 100
    classes: tuple[int, ...] = ()
    attribute: str | None = None
    scope: Scope = "instance"
    method: str | None = "scrub"
    original: str | None = None
    unlearned: str | None = None
    predictions: str | None = None
    answered: bool = False
    controller: str = "Example Controller Ltd"
    received: date | None = None


@dataclass(frozen=True, kw_only=True)
class Written:
    """A file that was written.

    Args:
        path: The file.
        former: Where the file is now that stood there before, if one did.
    """

    path: Path
    former: Path | None = None


def write_starter(folder: Path) -> list[Path]:
    """Write the plan and the adapter for a model of one's own; return their paths.

    Raises:
        ForgetAuditError: If one of them exists; nothing is written then.
    """
    return [written.path for written in write(folder, example())]


def example() -> dict[str, str]:
    """Return plan and adapter for a model of one's own, by name; they run as they are."""
    return {PLAN: plan_text(Start()), ADAPTER: adapter(("load", "build", "fit"), {})}


def texts(folder: Path, start: Start) -> dict[str, str]:
    """Return the files of a start by name: the plan, and the code that it names.

    An adapter that is there already is used as it is.

    Raises:
        ForgetAuditError: If it is, and lacks a function that the plan names.
    """
    found = {PLAN: plan_text(start)}
    if start.predictions:
        return found if start.answered else {**found, WRITER: template(WRITER)}
    wanted = _of_adapter(start)
    path = folder / ADAPTER
    if wanted and path.exists():
        _refuse_lacking(path, wanted)
    elif wanted:
        values = {"N_CLASSES": start.n_classes or 2, "ARCHITECTURE": start.architecture}
        known = start.architecture != f"{OURS}build" and "build" in wanted
        found[ADAPTER] = adapter(wanted, values, known_network=known)
    return found


def plan_text(start: Start) -> str:
    """Return the plan: every value is written as TOML writes it, whatever it holds."""
    said = {**vars(start), "received": start.received or datetime.now(UTC).date()}
    said["trains_itself"] = start.kind in TRAIN_THEMSELVES
    if _loop_is_ours(start):
        said |= {"function": f"{OURS}fit", "architecture": f"{OURS}build"}
    if start.unlearned:
        said["method"] = None
    environment = Environment(
        autoescape=True,
        finalize=lambda value: Markup(toml(value)),  # noqa: S704  TOML, quoted by toml()
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.from_string(template(f"{PLAN}.j2")).render(said)


def toml(value: Any) -> str:
    """Return a value as TOML writes it.

    Raises:
        ForgetAuditError: If TOML has no such value.
    """
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return _basic_string(value)
    if isinstance(value, int | float | date):
        return repr(value) if not isinstance(value, date) else value.isoformat()
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(toml, value))}]"
    if isinstance(value, Mapping):
        pairs = [f"{_key(str(key))} = {toml(item)}" for key, item in value.items()]
        return f"{{ {', '.join(pairs)} }}" if pairs else "{}"
    raise ForgetAuditError(f"a plan cannot hold {value!r}")


def write(folder: Path, texts: Mapping[str, str], *, force: bool = False) -> list[Written]:
    """Write files by name; what stands in their place is kept beside them.

    Args:
        folder: Created if needed.
        texts: By name.
        force: Whether files that exist may be replaced.

    Raises:
        ForgetAuditError: If one exists and `force` is not given, or the folder cannot be written
            to; nothing is written then.
    """
    refuse(folder, texts, force=force)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        done = []
        for name, text in texts.items():
            path, former = folder / name, None
            if path.exists():
                former = path.rename(_free(path))
            write_output(path, text)
            done.append(Written(path=path, former=former))
    except OSError as error:
        raise ForgetAuditError(f"cannot write into {folder}: {error.strerror}") from error
    return done


def refuse(folder: Path, names: Iterable[str], *, force: bool = False) -> None:
    """Refuse to write where files stand.

    Raises:
        ForgetAuditError: If one exists and `force` is not given.
    """
    there = [folder / name for name in names if (folder / name).exists()]
    if there and not force:
        raise ForgetAuditError(
            f"{there[0]} exists already; nothing was written. Give another folder, or --force, "
            "which keeps the former file beside the new one"
        )


def _key(text: str) -> str:
    return text if BARE.fullmatch(text) else _basic_string(text)


def _basic_string(text: str) -> str:
    """Return a TOML string: as in JSON, but delete is a control character too."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise ForgetAuditError(f"{text!r} is no text in UTF-8; rename it") from error
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _loop_is_ours(start: Start) -> bool:
    """Say whether the adapter holds an example of a training loop."""
    return start.kind == "function" and start.function in (None, f"{OURS}fit")


def _of_adapter(start: Start) -> list[str]:
    """Return the functions of the adapter that the plan names."""
    wanted = [start.source.removeprefix(OURS)] if start.source.startswith(OURS) else []
    if _loop_is_ours(start):
        return [*wanted, "build", "fit"]
    return [*wanted, "build"] if start.architecture == f"{OURS}build" else wanted


def _refuse_lacking(path: Path, wanted: list[str]) -> None:
    try:
        there = functions(path.read_text(encoding="utf-8"))
    except (OSError, SyntaxError, ValueError, RecursionError, MemoryError) as error:
        why = str(error) or "nested too deeply"
        raise ForgetAuditError(f"{path} cannot be read as Python: {why}") from error
    missing = [name for name in wanted if name not in there]
    if missing:
        raise ForgetAuditError(
            f"{path} exists already and has no function {missing[0]}; nothing was written. Add it, "
            "or move the file away to get one with an example"
        )


def _free(path: Path) -> Path:
    """Return the first of `NAME.1`, `NAME.2` and so on that is not there."""
    number = 1
    while path.with_name(f"{path.name}.{number}").exists():
        number += 1
    return path.with_name(f"{path.name}.{number}")
