"""`bench`: every unlearning method on four requests, against retrained models."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from forget_audit.console import Bars, complain, end_with, say, say_json
from forget_audit.errors import UnknownName

if TYPE_CHECKING:
    from forget_audit.types import Json

Chosen = Literal["class", "instance", "subclass", "attribute", "all"]


def bench(
    request: Annotated[Chosen, typer.Option(help="Which request; each on bundled data.")] = "all",
    methods: Annotated[
        str | None, typer.Option(help="Names with commas between; all if left out.")
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Originals each method unlearns.")] = 3,
    references: Annotated[int, typer.Option(min=3, help="Retrained models.")] = 19,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Processes; the usable cores if left out.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder for the results.")] = Path("bench"),
    as_json: Annotated[bool, typer.Option("--json", help="JSON alone on standard output.")] = False,
) -> None:
    """Measure all unlearning methods on bundled data: trains many models.

    Writes tables (Markdown, HTML, CSV), a drawing (SVG) and every number (JSON) for each request.
    Exit code 4 if a method broke; its row says why.

    Example: forget-audit bench --request class --methods finetune,ssd --seeds 3
    """
    from joblib import cpu_count

    from forget_audit.bench import running as measuring
    from forget_audit.bench.entries import entries
    from forget_audit.bench.requests import REQUESTS
    from forget_audit.bench.tables import write

    names = None if methods is None else tuple(name.strip() for name in methods.split(","))
    extent = measuring.Extent(
        methods=names, seeds=seeds, references=references, workers=workers or cpu_count()
    )
    try:
        rows = {name: len(entries(asked.request.scope, names)) for name, asked in REQUESTS.items()}
    except UnknownName as error:
        complain(f"--methods: {error}")
        raise typer.Exit(2) from error
    results: dict[str, Json] = {}
    for name in REQUESTS if request == "all" else (request,):
        with Bars().stage(name, rows[name] * seeds) as step:
            results[name] = measuring.bench(name, REQUESTS[name], extent, step)
        paths = write(results[name], out)
        if not as_json:
            say("\n".join([summary(results[name]), *map(str, paths)]))
    if as_json:
        say_json(results)
    end_with(
        f"{name}: {row['name']}: {row['reason']}"
        for name, result in results.items()
        for row in result["rows"]
        if row["status"] == "error"
    )


def summary(result: Json) -> str:
    """Return one line on one request."""
    states = [row["status"] for row in result["rows"]]
    counts = [f"{states.count(s)} {s}" for s in ("measured", "not applicable", "error")]
    return f"{result['request']}: {', '.join(counts)}"
