"""The pages of the speed benchmark say what its JSON says."""

import json
from pathlib import Path

from benchmarks.speed import chart, gpu_page, page, written
from benchmarks.speed.clock import Json

ABOUT: Json = {
    "machine": {
        "processor": "Some processor",
        "cores": 2,
        "memory_gb": 8.0,
        "system": "Linux 6 x86_64",
        "python": "3.11.7",
        "torch": "2.11",
        "numpy": "2.0",
        "forget-audit": "0.1.0",
        "date": "2026-01-02",
    },
    "peers": {"sacroml": "2.0.1"},
}
TOOL: Json = {
    "training": 1.0, "training_ratio": 1.0, "whole": 1.5, "whole_ratio": 1.0, "accuracy": 0.9712,
    "auc": 0.56,
}  # fmt: skip
AGREED: Json = {"noise": 0.001, "allowed": 0.002, "gaps": {"with_forget_audit": 0.0005}}
POINTS: Json = {"x": [4, 8], "peak_mb": [9, None]}
CURVES: Json = {
    "models": {
        "title": "training, by number of models",
        "label": "models",
        "lines": [
            {"path": "batched", **POINTS, "cpu": [1.0, 2.0], "exponent": 1.0},
            {"path": "one by one", **POINTS, "cpu": [2.0, 8.0], "exponent": 2.0},
        ],
    }
}  # fmt: skip
RESULT: Json = {
    "parts": {
        "shadows": {
            "rounds": 5,
            "tools": {
                "with_forget_audit": {**TOOL, "own_auc": 0.561},
                "plain_loop": {**TOOL, "training": 4.0, "training_ratio": 4.0},
            },
            "agreement": {
                "accuracy": {**AGREED, "agrees": True},
                "auc": {**AGREED, "agrees": False},
            },
            **ABOUT,
        },
        "bootstraps": {"missing": "privacyguard-platform is not installed", **ABOUT},
        "scaling": {"curves": CURVES, **ABOUT},
    }
}


def test_page_holds_the_figures() -> None:
    text = page.page(RESULT)
    assert "| plain PyTorch, one model after another | 4.00 | 4.00 |" in text
    assert "accuracy: agree;" in text
    assert "auc: DO NOT AGREE;" in text
    assert "Not measured: privacyguard-platform is not installed." in text
    assert "| training, by number of models | one by one | exponent | **2.00** |" in text
    assert "Some processor" in text
    assert text.count("Not measured yet.") == 3


def test_page_tells_machines_apart() -> None:
    other = json.loads(json.dumps(RESULT))
    other["parts"]["scaling"]["machine"]["processor"] = "Another processor"
    told = page.machine(other)
    assert told.count("\n- ") == 1
    assert "- Growth: Another processor" in told


def test_drawing_reads_in_the_dark_and_is_the_same_each_time() -> None:
    drawing = chart.svg(CURVES)
    assert "prefers-color-scheme:dark" in drawing
    assert drawing == chart.svg(CURVES)
    for light in (chart.INK, *chart.COLOURS):
        assert f"stroke: {light}" in drawing or f"fill: {light}" in drawing
        assert chart.DARK[light] in drawing


def test_gpu_page_says_when_nothing_was_measured() -> None:
    assert gpu_page.NOT_MEASURED in gpu_page.page(None)


def test_results_are_written_and_read_again(tmp_path: Path) -> None:
    assert written.read(tmp_path) is None
    written.write(RESULT, tmp_path)
    assert written.read(tmp_path) == RESULT
    assert (tmp_path / "speed.md").read_text("utf-8") == page.page(RESULT)
    assert (tmp_path / "speed.svg").is_file()
    tables = written.tables(tmp_path)
    assert "4.00" in tables["speed-shadows"]
    assert tables["speed-gpu"] == gpu_page.NOT_MEASURED


def test_published_pages_and_docs_are_those_of_the_json() -> None:
    assert written.outdated() == []
    result = written.read()
    assert result is not None, "make bench writes one"
    assert (written.RESULTS / "speed.md").read_text("utf-8") == page.page(result)
    assert (written.RESULTS / "speed.svg").read_text("utf-8") == chart.svg(
        result["parts"]["scaling"]["curves"]
    )
    published = (written.RESULTS / "speed-gpu.md").read_text("utf-8")
    assert published == gpu_page.page(written.read(name=written.GPU))
