"""`init`: asks what there is, and writes a plan and an adapter that run."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from forget_audit.console import complain, say
from forget_audit.errors import PlanError

if TYPE_CHECKING:
    from forget_audit.starter.writing import Written

KINDS = "torch, function, xgboost, sklearn, huggingface, predictions, preset"


def init(
    folder: Annotated[Path, typer.Argument(metavar="[DIR]")] = Path(),
    kind: Annotated[
        str | None, typer.Option(metavar="KIND", help=f"What there is: {KINDS}.")
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(
            metavar="SOURCE",
            help="The rows: npz:FILE, csv:FILE, cifar10:FOLDER, package.module:function, digits; "
            "my_model:load and my_model:stream are written with an example. With predictions, "
            "their file. Paths start here.",
        ),
    ] = None,
    option: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=VALUE", help="Of the reader of the rows, such as limit=500."),
    ] = None,
    architecture: Annotated[
        str | None,
        typer.Option(help="The network: package.module:function, resnet18, hf:FOLDER, ..."),
    ] = None,
    function: Annotated[
        str | None, typer.Option(help="Your training loop, package.module:fit.")
    ] = None,
    forget: Annotated[str | None, typer.Option(metavar="FILE", help="Ids to be forgotten.")] = None,
    random: Annotated[
        int | None, typer.Option(min=1, help="So many rows or people drawn, for trying out.")
    ] = None,
    classes: Annotated[
        str | None, typer.Option(metavar="3,5", help="Whole classes to be forgotten.")
    ] = None,
    attribute: Annotated[
        str | None, typer.Option(metavar="NAME", help="One of several labels to be forgotten.")
    ] = None,
    scope: Annotated[
        str | None, typer.Option(help="instance, class, subclass or attribute.")
    ] = None,
    method: Annotated[str | None, typer.Option(help="Makes the unlearned model.")] = None,
    original: Annotated[
        str | None, typer.Option(metavar="FILE", help="Weights before unlearning.")
    ] = None,
    unlearned: Annotated[
        str | None, typer.Option(metavar="FILE", help="Weights to be audited; takes no method.")
    ] = None,
    preset: Annotated[
        str | None, typer.Option(help="Name of a paper's experiment; see `list presets`.")
    ] = None,
    controller: Annotated[str | None, typer.Option(help="Who answers for the model.")] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Ask nothing; take what is usual.")] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Replace files; the former ones are kept beside.")
    ] = False,
) -> None:
    """Write a commented plan, and code to go with it, that run as they are.

    Asks at a terminal. With flags or --yes it asks less or nothing; without either and without a
    terminal it writes a plan and an adapter with examples.

    Example: forget-audit init my-audit --kind function --data csv:rows.csv --random 100
    """
    from forget_audit.starter.dialogue import Dialogue
    from forget_audit.starter.interview import Flags, interview
    from forget_audit.starter.writing import PLAN, WRITER, example, refuse, write

    named = {"forget": forget, "random": random, "classes": classes, "attribute": attribute}
    said = {name: value for name, value in named.items() if value is not None}
    if len(said) > 1:
        complain(f"one way to say what is to be forgotten, found --{' and --'.join(said)}")
        raise typer.Exit(2)
    words = {name: f"{name} {value}" for name, value in said.items()}
    plain = [str(value) for name, value in said.items() if name in ("forget", "random")]
    flags = Flags(
        kind=kind,
        data=data,
        option=tuple(option or ()),
        architecture=architecture,
        function=function,
        who=next(iter([*plain, *words.values()]), None),
        scope=scope,
        method=method,
        original=original,
        unlearned=unlearned,
        preset=preset,
        controller=controller,
    )
    dialogue = Dialogue(asking=sys.stdin.isatty() and not yes)
    if not dialogue.asking and not flags.any():
        _tell(write(folder, example(), force=force))
        return
    refuse(folder, [PLAN], force=force)
    texts = interview(folder, flags, dialogue)
    _tell(write(folder, texts, force=force))
    plan = folder / PLAN
    if WRITER in texts:
        say(f"next: put your models into {folder / WRITER}, run it there, and then")
    elif flags.implied() == "preset":
        say("next: bring the data of the paper, and then")
    else:
        _check(plan)
        say("next: make the lines marked EDIT true, and then")
    say(f"  forget-audit certify {plan} --dry-run\n  forget-audit certify {plan}")


def _tell(written: Sequence[Written]) -> None:
    for file in written:
        kept = f" (the former one is now {file.former.name})" if file.former else ""
        say(f"{file.path}{kept}")


def _check(plan: Path) -> None:
    """Read the plan as `certify` does, and say what it would train and cannot show.

    Raises:
        Exit: With code 2, if something has to be put right.
    """
    from forget_audit.audits import forecasts, runs

    importlib.invalidate_caches()  # the adapter was not there a moment ago
    try:
        checked = runs.read(plan)
        forecast = forecasts.forecast(checked, runs.commissioned(checked))
    except PlanError as error:
        complain(f"{plan} is written; before it runs, put right:")
        for problem in error.problems:
            complain(f"  {problem}")
        raise typer.Exit(2) from error
    models = sum(group["models"] for group in forecast["trainings"].values())
    rows = ", ".join(f"{count} {role}" for role, count in forecast["rows"].items())
    say(f"checked: {rows} rows; {models} models to train")
    for note in forecast["notes"]:
        say(f"note: {note}")
