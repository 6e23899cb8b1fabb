"""`power`, `calibrate`, `tune`: what an audit can show, how often it is right, better settings."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from forget_audit.console import Bars, say, say_json
from forget_audit.errors import PlanError, Problem
from forget_audit.whole_files import write_output

PlanFile = Annotated[Path, typer.Argument(metavar="PLAN", help="The plan, a TOML file.")]
AsJson = Annotated[bool, typer.Option("--json", help="JSON alone on standard output.")]


def power(
    plan: PlanFile,
    measure: Annotated[
        bool, typer.Option(help="Train references and originals, and say it from them.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Say what an audit can and cannot show, before anything is trained.

    Example: forget-audit power plan.toml
    """
    from forget_audit.audits import power as outlook
    from forget_audit.audits import runs

    ordered = runs.commissioned(runs.read(plan))
    found = outlook.planned(ordered)
    if measure:
        found = [outlook.measured(ordered, outlook.control_of(ordered))]
    report = outlook.as_json(ordered, found)
    say_json(report) if as_json else say("\n".join(outlook.lines(report)))


def calibrate(
    plan: PlanFile,
    out: Annotated[Path, typer.Option(help="Folder for the results.")] = Path("calibration"),
    sets: Annotated[int, typer.Option(min=1, help="Requests drawn anew.")] = 2,
    retrained: Annotated[int, typer.Option(min=1, help="True retrains judged, a request.")] = 40,
    bad: Annotated[int, typer.Option(min=0, help="Models of each bad unlearner.")] = 4,
    left_in: Annotated[int, typer.Option(min=0, help="Models of each residue.")] = 8,
    workers: Annotated[int, typer.Option(min=1, help="Processes.")] = 1,
    as_json: AsJson = False,
) -> None:
    """Measure on your own case how often the verdict is right: trains many models.

    True retrains should PASS, bad unlearners FAIL; also models with some rows left in.

    Example: forget-audit calibrate plan.toml --sets 2 --retrained 40
    """
    from forget_audit.audits import runs, tally
    from forget_audit.audits.calibration import Size, pool_size
    from forget_audit.plans.plan import read_tables

    counts = runs.commissioned(runs.read(plan)).counts
    size = Size(
        pool=pool_size(counts, retrained),
        originals=2 * counts.originals,
        retrained=retrained,
        bad=bad,
        left_in=left_in,
    )
    with Bars().stage("requests", sets) as step:
        folder = plan.resolve().parent
        trials = tally.measure(
            read_tables(plan), folder, range(sets), size, workers=workers, progress=step
        )
    rows = tally.tally(trials)
    text = tally.markdown(rows)
    write_output(out / "calibration.json", json.dumps(rows, indent=1) + "\n")
    write_output(out / "calibration.md", text)
    say_json(rows) if as_json else say(text)


def tune(
    plan: PlanFile,
    trials: Annotated[int, typer.Option(min=1, help="Settings that are tried.")] = 30,
    over: Annotated[
        str, typer.Option(help="Fields to search, separated by commas; a choice if left out.")
    ] = "",
    as_json: AsJson = False,
) -> None:
    """Search for settings of the plan's method, without its test rows and yardstick.

    Prints the best settings as lines for the plan, and how the defaults did.

    Example: forget-audit tune plan.toml --trials 30 --over lr,epochs
    """
    from forget_audit.audits import runs, tuning
    from forget_audit.digests import plain

    checked = runs.read(plan)
    ordered = runs.commissioned(checked)
    if ordered.method is None:
        raise PlanError([Problem("method", "tuning needs a method; name one")])
    name = ordered.method.info.name
    fields = tuple(part.strip() for part in over.split(",") if part.strip())
    with Bars().stage("trials", trials) as step:
        found = tuning.tune(ordered, name, trials=trials, over=fields, progress=step)
    if as_json:
        say_json(plain(found))
        return
    for tried in found[:5]:
        settings = ", ".join(f"{key} = {value!r}" for key, value in tried.options.items())
        outcome = tried.refused or (
            f"cost {tried.cost:.3f}: residual influence {100 * tried.influence:.1f} %, "
            f"accuracy lost {100 * tried.lost:.1f} %"
        )
        say(f"{outcome}  ({settings})")
    say("")
    say("[method]")
    say(f'name = "{name}"')
    for key, value in found[0].options.items():
        say(f"options.{key} = {json.dumps(value)}")
