"""`stress`: methods on forget sets that are hard to serve, beside sets drawn at random."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from forget_audit.console import Bars, end_with, say, say_json
from forget_audit.errors import PlanError, Problem, UnknownName

if TYPE_CHECKING:
    from forget_audit.stress.ground import Extent
    from forget_audit.stress.running import Order

SMALLEST = 10  # records; `types.SMALL_REQUEST`, without the arrays that come with that module
PlanFile = Annotated[Path, typer.Argument(metavar="PLAN", help="The plan, a TOML file.")]


def stress(
    plan: PlanFile,
    method: Annotated[
        list[str] | None,
        typer.Option(help="Name of a method, again for each; the plan's own if left out."),
    ] = None,
    strategies: Annotated[
        str | None,
        typer.Option(
            help="Names with commas between; all if left out. random, class, subclass, top_mia, "
            "memorised, influence, near_duplicates, mislabelled, canary, worst_case, easiest."
        ),
    ] = None,
    size: Annotated[int | None, typer.Option(min=SMALLEST, help="Rows or people in a set.")] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Times that all is done anew.")] = 5,
    references: Annotated[int, typer.Option(min=3, help="Retrained models of each set.")] = 12,
    parts: Annotated[
        int, typer.Option(min=0, help="Parts of the hardness curve; 0 leaves it out.")
    ] = 5,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Processes; the usable cores if left out.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder for the results; PLAN-stress if left out.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="JSON alone on standard output.")] = False,
) -> None:
    """Try methods on forget sets of different hardness: trains many models.

    Writes stress.json, which a plan can name under [report] to have it in its report, tables
    (Markdown, CSV) and a drawing (SVG, PNG). The plan's request is not used. Exit code 4 if a
    method broke; the tables say which.

    Example: forget-audit stress plan.toml --method scrub --method ssd --strategies worst_case
    """
    from joblib import cpu_count

    from forget_audit.stress.files import broken, lines, write
    from forget_audit.stress.ground import Extent
    from forget_audit.stress.running import stress as measure

    extent = Extent(
        size=size, seeds=seeds, references=references, parts=parts, workers=workers or cpu_count()
    )
    order = _order(plan, method or [], strategies, extent)
    with Bars().stage("sets", order.total) as step:
        result = measure(order, step)
    paths = write(result, out or plan.with_name(f"{plan.stem}-stress"))
    say_json(result) if as_json else say("\n".join([*lines(result), *map(str, paths)]))
    end_with(broken(result))


def _order(file: Path, names: list[str], strategies: str | None, extent: Extent) -> Order:
    """Read the plan, its own method or the named ones, and the strategies.

    Raises:
        PlanError: If something of it is wrong.
    """
    from forget_audit import registry
    from forget_audit.audits import runs
    from forget_audit.plans.plan import read_tables
    from forget_audit.stress.running import Order
    from forget_audit.stress.strategies import chosen

    section = read_tables(file).get("method", {})
    own = section.get("name") if isinstance(section, dict) else None
    names = names or ([own] if isinstance(own, str) else [])
    if not names:
        message = "name a method to be stressed with --method, or a [method] in the plan"
        raise PlanError([Problem("--method", message)])
    first = own if own in names else names[0]
    plan = runs.read(file, method=first)
    try:
        made = {name: registry.make_method(name) for name in dict.fromkeys(names)}
    except UnknownName as error:
        raise PlanError([Problem("--method", str(error))]) from error
    unlearner = plan.unlearner()
    if unlearner is not None:
        made[unlearner.info.name] = unlearner
    parts = None if strategies is None else [part.strip() for part in strategies.split(",")]
    try:
        picked = chosen(None if parts is None else [part for part in parts if part])
    except UnknownName as error:
        raise PlanError([Problem("--strategies", str(error))]) from error
    memory = plan.folder / runs.STATE / "stress"
    return Order(plan=plan, methods=made, strategies=picked, extent=extent, memory=memory)
