"""`reproduce`: the tables of the papers, measured again on the user's copy of their data."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from forget_audit.console import Bars, complain, end_with, say, say_json
from forget_audit.errors import PlanError, Problem, UnknownName

if TYPE_CHECKING:
    from forget_audit.plans.plan import Plan
    from forget_audit.presets.catalogue import Preset
    from forget_audit.types import Json

SEEDS = 3
STATE = ".forget-audit"


def reproduce(
    names: Annotated[
        list[str], typer.Argument(metavar="PRESET...", help="See `forget-audit list presets`.")
    ],
    data: Annotated[Path, typer.Option(help="Folder with the data sets; nothing is fetched.")],
    methods: Annotated[
        str | None, typer.Option(help="Names with commas between; all of the table if left out.")
    ] = None,
    seeds: Annotated[
        int | None, typer.Option(min=1, help="Originals; 3 if left out, 1 at smoke size.")
    ] = None,
    smoke: Annotated[
        bool, typer.Option("--smoke", help="Few rows and steps: does everything run?")
    ] = False,
    out: Annotated[Path, typer.Option(help="Folder for the tables.")] = Path("reproduced"),
    as_json: Annotated[bool, typer.Option("--json", help="JSON alone on standard output.")] = False,
) -> None:
    """Repeat tables of the papers on your copy of their data: trains many models.

    Writes our numbers beside the published ones, with the difference, as Markdown, CSV and JSON.
    Finished models are remembered in the folder of the tables. Exit code 2 if data are missing,
    4 if a method broke; its row says why.

    Example: forget-audit reproduce jit-cifar100-vgg11-class-rocket --data datasets --smoke
    """
    from forget_audit.presets.choices import chosen
    from forget_audit.presets.comparison import text, write
    from forget_audit.presets.reproduction import reproduce as measured

    wanted = None if methods is None else [name.strip() for name in methods.split(",")]
    count = seeds or (1 if smoke else SEEDS)
    try:
        plans = _plans(names, data, smoke=smoke)
        rows = {name: len(chosen(preset.names, wanted)) for name, (preset, _) in plans.items()}
    except UnknownName as error:
        complain(str(error))
        raise typer.Exit(2) from error
    results: dict[str, Json] = {}
    for name, (preset, plan) in plans.items():
        with Bars().stage(name, rows[name] * count) as step:
            results[name] = measured(
                preset,
                plan,
                seeds=count,
                methods=wanted,
                quick=smoke,
                cache=None if smoke else out / STATE / "models",
                progress=step,
            )
        paths = write(results[name], out)
        if not as_json:
            say("\n".join([text(results[name]), "", *map(str, paths), ""]))
    if as_json:
        say_json(results)
    end_with(
        f"{name}: {row['label']}: {row['reason']}"
        for name, result in results.items()
        for row in result["rows"]
        if row["status"] == "error"
    )


def _plans(names: list[str], data: Path, *, smoke: bool) -> dict[str, tuple[Preset, Plan]]:
    """Return presets and their plans on the files in `data`.

    Raises:
        UnknownName: If there is no such preset.
        PlanError: With everything that is missing for any of them.
    """
    from forget_audit.presets import smoke_size
    from forget_audit.presets.catalogue import get_preset
    from forget_audit.presets.supplies import checked

    presets = {name: get_preset(name) for name in names}
    found: dict[str, tuple[Preset, Plan]] = {}
    problems: list[Problem] = []
    for name, preset in presets.items():
        tables: Mapping[str, Any] = smoke_size.smoke(preset.tables) if smoke else preset.tables
        try:
            found[name] = (preset, checked(preset, tables, data))
        except PlanError as error:
            problems += error.problems
    if problems:
        raise PlanError(list(dict.fromkeys(problems)))
    return found
