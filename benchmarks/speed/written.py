"""Results on disk: the JSON file, its page, its drawing, and the tables of docs/speed.md."""

import json
from pathlib import Path

from benchmarks.speed import chart, gpu_page, page
from benchmarks.speed.clock import ROOT, Json
from scripts.tables import current, replaced

RESULTS = ROOT / "benchmarks" / "results"
DOCS = ROOT / "docs" / "speed.md"
NAME, GPU = "speed", "speed-gpu"


def read(results: Path = RESULTS, name: str = NAME) -> Json | None:
    """Return a result, or nothing if there is none."""
    file = results / f"{name}.json"
    if not file.is_file():
        return None
    found: Json = json.loads(file.read_text("utf-8"))
    return found


def write(result: Json, results: Path = RESULTS) -> None:
    """Write the result, its page and its drawing."""
    results.mkdir(parents=True, exist_ok=True)
    (results / f"{NAME}.json").write_text(json.dumps(result, indent=1) + "\n", "utf-8")
    (results / f"{NAME}.md").write_text(page.page(result), "utf-8")
    if "scaling" in result["parts"]:
        (results / f"{NAME}.svg").write_text(
            chart.svg(result["parts"]["scaling"]["curves"]), "utf-8"
        )


def write_gpu(result: Json | None, results: Path = RESULTS) -> None:
    """Write the result of a GPU and its page, or the page that says that there is none."""
    results.mkdir(parents=True, exist_ok=True)
    if result is not None:
        (results / f"{GPU}.json").write_text(json.dumps(result, indent=1) + "\n", "utf-8")
    (results / f"{GPU}.md").write_text(gpu_page.page(result), "utf-8")


def tables(results: Path = RESULTS) -> dict[str, str]:
    """Return the tables of the documentation by their marks."""
    result = read(results) or {"parts": {}}
    found = {f"speed-{name}": page.block(result, name) for name in page.TITLES}
    found["speed-machine"] = page.machine(result).strip() if result["parts"] else page.NOTHING
    found["speed-gpu"] = gpu_page.block(read(results, GPU))
    drawing = f"![{chart.ALTERNATIVE}](../benchmarks/results/{NAME}.svg)"
    if "scaling" in result["parts"]:
        found["speed-scaling"] = f"{drawing}\n\n{found['speed-scaling']}"
    return found


def write_docs() -> None:
    """Write the tables into the documentation, between their marks."""
    text = DOCS.read_text("utf-8")
    for name, table in tables().items():
        text = replaced(text, name, table)
    DOCS.write_text(text, "utf-8")


def outdated() -> list[str]:
    """Return the tables of the documentation that are not those of the results."""
    text = DOCS.read_text("utf-8")
    return [name for name, table in tables().items() if current(text, name) != table]


if __name__ == "__main__":
    write_docs()
