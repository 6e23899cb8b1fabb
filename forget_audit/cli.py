"""The command line: one function a command, exit codes as documented, never a traceback.

0 the answer is yes, 1 it is no, 2 the plan or the call is wrong, 3 undecided, 4 the audit failed;
`forget_audit.commands.ending` has what happens when it is stopped or the machine breaks.
"""

from __future__ import annotations

import logging
import os
import threading
from pathlib import Path
from typing import Annotated

import typer

import forget_audit
from forget_audit.commands import (
    bench,
    catalogue,
    ending,
    gate,
    init,
    keys,
    ledger,
    outlook,
    presets,
    release,
    stress,
    verify,
)
from forget_audit.commands.release import KeyOption, LedgerOption, PassphraseEnv, PassphraseFd
from forget_audit.console import Bars, ask_passphrase, complain, say, say_json
from forget_audit.faults import prepare_streams

CODES = {"PASS": 0, "FAIL": 1, "INCONCLUSIVE": 3}

app = typer.Typer(
    name="forget-audit",
    help="Audit machine unlearning: is it gone, as far as a model retrained without that data?",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(keys.keys, name="keys")
app.add_typer(keys.trusted, name="trust")
app.add_typer(ledger.ledger, name="ledger")
app.add_typer(release.proof, name="proof")
app.command("verify")(verify.verify)
app.command("gate")(gate.gate)
app.command("bundle")(gate.bundle)
app.command("report")(release.report)
app.command("review")(release.review)
app.command("purge")(release.purge)
app.command("list")(catalogue.list_items)
app.command("show")(catalogue.show)
app.command("doctor")(catalogue.doctor)
app.command("power")(outlook.power)
app.command("calibrate")(outlook.calibrate)
app.command("tune")(outlook.tune)
app.command("bench")(bench.bench)
app.command("init")(init.init)
app.command("reproduce")(presets.reproduce)
app.command("stress")(stress.stress)

PlanFile = Annotated[Path, typer.Argument(metavar="PLAN", help="The plan, a TOML file.")]
AsJson = Annotated[bool, typer.Option("--json", help="JSON alone on standard output.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1 and so on.")]
Workers = Annotated[int, typer.Option(min=1, help="Processes for training functions of your own.")]


def main() -> None:
    """Run the command line and exit with its code."""
    before = threading.enumerate()
    prepare_streams()
    level = logging.getLevelNamesMapping().get(os.environ.get("FORGET_AUDIT_LOG", "ERROR").upper())
    logging.basicConfig(level=level or logging.ERROR)
    ending.end(ending.code_of(app), before)


@app.callback(invoke_without_command=True)
def root(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    """Audit machine unlearning: is it gone, as far as a model retrained without that data?"""
    if version:
        say(f"forget-audit {forget_audit.__version__}")
        raise typer.Exit


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Where the three audits go.")] = Path(
        "forget-audit-demo"
    ),
    seed: Annotated[int, typer.Option(min=0)] = 0,
    data: Annotated[str, typer.Option(help="randhie or digits.")] = "randhie",
) -> None:
    """Audit three deletion requests on real people's records: PASS, FAIL and INCONCLUSIVE.

    Example: forget-audit demo --out my-demo
    """
    from forget_audit.commands.demo import DATA, run_demo

    if data not in DATA:
        complain(f"--data is one of {', '.join(DATA)}, found {data!r}")
        raise typer.Exit(2)
    raise typer.Exit(0 if run_demo(out, seed, data) else 1)


@app.command()
def certify(
    plan: PlanFile,
    out: Annotated[
        Path | None, typer.Option(help="Report directory; PLAN-audit if left out.")
    ] = None,
    device: Device = "auto",
    workers: Workers = 1,
    engine: Annotated[
        str, typer.Option(help="local, or ray: on the cluster that RAY_ADDRESS names.")
    ] = "local",
    dry_run: Annotated[bool, typer.Option(help="Say what would be done, and do nothing.")] = False,
    fresh: Annotated[bool, typer.Option(help="Train again what is remembered.")] = False,
    key: KeyOption = None,
    passphrase_env: PassphraseEnv = None,
    passphrase_fd: PassphraseFd = None,
    ledger: LedgerOption = None,
    draft: Annotated[bool, typer.Option(help="Issue no report: every page says DRAFT.")] = False,
    as_json: AsJson = False,
) -> None:
    """Run the audit and write the signed report. Exit code 0 PASS, 1 FAIL, 3 INCONCLUSIVE.

    Example: forget-audit certify plan.toml --out audit
    """
    from forget_audit.audits import forecasts, runs
    from forget_audit.keys.sources import asker

    ask = asker(passphrase_env, passphrase_fd, ask_passphrase)
    checked = runs.read(plan)
    if dry_run:
        ordered = runs.commissioned(checked, device=device, engine=engine)
        forecast = forecasts.forecast(checked, ordered)
        say_json(forecast) if as_json else say("\n".join(forecasts.lines(forecast)))
        return
    target = out or plan.with_name(f"{plan.stem}-audit")
    done = runs.certify(
        checked,
        target,
        Bars(),
        device=device,
        fresh=fresh,
        workers=workers,
        engine=engine,
        issue=runs.Issue(key=key, ledger=ledger, draft=draft, ask=ask),
    )
    say_json(done.as_json()) if as_json else say("\n".join(done.lines()))
    raise typer.Exit(CODES[done.audit.verdict.outcome])


@app.command()
def unlearn(
    plan: PlanFile,
    method: Annotated[str, typer.Option(help="Name of the method; see `list methods`.")],
    out: Annotated[Path, typer.Option(help="Where the model goes.")] = Path(
        "unlearned.safetensors"
    ),
    device: Device = "auto",
    as_json: AsJson = False,
) -> None:
    """Apply one unlearning method; write the model and, beside it, its record.

    Example: forget-audit unlearn plan.toml --method scrub --out unlearned.safetensors
    """
    from forget_audit.audits import runs

    made = runs.unlearn(runs.read(plan, method=method), out, Bars(), device=device)
    say_json(made) if as_json else say(f"{made['method']} wrote {out} and {made['record']}")
