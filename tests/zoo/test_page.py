"""The page on architectures names every network of the papers."""

from pathlib import Path

from forget_audit.architectures import BUILDERS

PAGE = Path(__file__).resolve().parents[2] / "docs/architectures.md"


def test_each_network_of_the_papers_is_there() -> None:
    part = PAGE.read_text("utf-8").split("## What the papers used")[1].split("\n## ")[0]
    named = {name for name in BUILDERS if f"`{name}`" in part}
    assert named == set(BUILDERS) - {"cnn", "linear", "vit", "text"}
