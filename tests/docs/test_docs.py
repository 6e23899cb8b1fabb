"""What the documentation shows exists: links, commands, plans, tables and code."""

import json
import re
import subprocess
import tomllib
import types
import typing
from pathlib import Path
from typing import Annotated, Any, Literal

import click
import pytest
import typer
from pydantic_core import PydanticUndefined

from forget_audit import cli
from forget_audit.plans import plan, sections
from scripts import blocks, tables
from scripts.blocks import FENCE, ROOT, Block, commands

PAGES = blocks.pages()
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")


def written_in(language: str) -> list[Any]:
    found = [block for page in PAGES for block in blocks.blocks(page)]
    return [pytest.param(block, id=block.name) for block in found if block.language == language]


def anchors(text: str) -> set[str]:
    heads = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head).strip().lower().replace(" ", "-") for head in heads}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_resolve(page: Path) -> None:
    broken = []
    for target in LINK.findall(FENCE.sub("", page.read_text("utf-8"))):
        if target.startswith("https://"):
            continue
        name, _, anchor = target.partition("#")
        path = page.parent / name if name else page
        if not path.exists() or (anchor and anchor not in anchors(path.read_text("utf-8"))):
            broken.append(target)
    assert not broken


def test_every_page_is_in_the_index() -> None:
    index = (ROOT / "docs/index.md").read_text("utf-8")
    for page in (ROOT / "docs").glob("*.md"):
        assert page.name == "index.md" or f"({page.name})" in index


@pytest.mark.parametrize("name", tables.TABLES)
def test_tables_agree_with_the_code(name: str) -> None:
    text = (ROOT / tables.HOMES[name]).read_text("utf-8")
    assert tables.current(text, name) == tables.TABLES[name](), "run `make tables`"


def test_a_stale_table_is_noticed_and_written() -> None:
    text = (ROOT / "README.md").read_text("utf-8")
    stale = tables.replaced(text, "methods", "| nothing |")
    assert tables.current(stale, "methods") == "| nothing |"
    assert tables.replaced(stale, "methods", tables.current(text, "methods")) == text
    with pytest.raises(ValueError, match="found no marks"):
        tables.current(text, "recipes")


# Commands


def parse(words: list[str]) -> None:
    command: Any = typer.main.get_command(cli.app)
    context, words = click.Context(command), words[1:]
    while words and hasattr(command, "commands") and not words[0].startswith("-"):
        found = command.get_command(context, words[0])
        assert found is not None, f"there is no command {words[0]}"
        command, words = found, words[1:]
    command.make_context("forget-audit", words, resilient_parsing=False)


@pytest.mark.parametrize("block", written_in("sh"))
def test_shell_lines_parse(block: Block) -> None:
    subprocess.run(["bash", "-n"], input=block.text, text=True, check=True)
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    for words in commands(block.text):
        if words[0] == "make":
            assert set(words[1:]) <= targets
        else:
            parse(words)


def test_readme_names_one_test_command() -> None:
    text = (ROOT / "README.md").read_text("utf-8")
    found = re.findall(r"<!-- test-command -->\n\n```sh\n(.*?)```", text, re.DOTALL)
    assert found == ["make test\n"]


def test_every_command_is_documented() -> None:
    group = typer.main.get_command(cli.app)
    assert hasattr(group, "commands")
    for page in ("README.md", "docs/exit-codes.md"):
        text = (ROOT / page).read_text("utf-8")
        missing = [name for name in group.commands if f"`{name}`" not in text]
        assert not missing, page


def test_documented_exit_codes_are_those_of_the_program() -> None:
    text = (ROOT / "docs/exit-codes.md").read_text("utf-8")
    row = next(line for line in text.splitlines() if line.startswith("| `certify` |"))
    cells = [cell.strip() for cell in row.split("|")][2:]
    for outcome, code in cli.CODES.items():
        assert cells[code] == outcome


# Python


@pytest.mark.parametrize("block", written_in("python"))
def test_python_compiles_and_that_of_the_readme_is_part_of_an_example(block: Block) -> None:
    compile(block.text, block.name, "exec")
    if block.page == "README.md":
        examples = [path.read_text("utf-8") for path in (ROOT / "examples").glob("*.py")]
        assert any(block.text in example for example in examples)


# Plans


@pytest.mark.parametrize("block", written_in("toml"))
def test_plans_are_good(block: Block, tmp_path: Path) -> None:
    shown = tomllib.loads(block.text)
    if block.title == "pyproject.toml":
        return
    if set(shown) >= sections.REQUIRED and not block.title:  # others are checked where they lie
        plan.check_plan(shown, tmp_path)
    for name, table in shown.items():
        sections.SECTIONS[name].model_validate(table)


def words_for(kind: Any) -> str:
    """Say in words which values a field of the plan takes."""
    origin, parts = typing.get_origin(kind), typing.get_args(kind)
    if origin is Annotated:
        return words_for(parts[0])
    if origin in (types.UnionType, typing.Union):
        return words_for(next(part for part in parts if part is not type(None)))
    if origin is Literal:
        named = [f"`{part}`" for part in parts]
        return " or ".join([", ".join(named[:-1]), named[-1]])
    if origin is list:
        inner = words_for(parts[0])
        plural = {"text": "texts", "whole number": "whole numbers", "table": "tables"}
        return f"list of {plural.get(inner, inner)}"
    if origin is dict or issubclass(kind, sections.Section):
        return "table"
    return {
        "str": "text",
        "int": "whole number",
        "float": "number",
        "date": "date",
        "bool": "true or false",
    }[kind.__name__]


def default_for(value: Any) -> str:
    if value is PydanticUndefined:
        return "required"
    return "none" if value is None else f"`{json.dumps(value)}`"


@pytest.mark.parametrize("section", sections.SECTIONS)
def test_plan_tables_agree_with_the_models(section: str) -> None:
    text = (ROOT / "docs/plan.md").read_text("utf-8")
    part = text.split(f"## `[{section}]`\n")[1].split("\n## ")[0]
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in part.splitlines()
        if line.startswith("| `")
    ]
    fields = sections.SECTIONS[section].model_fields
    assert [row[:3] for row in rows] == [
        [f"`{name}`", words_for(field.annotation), default_for(field.default)]
        for name, field in fields.items()
    ]


def test_plan_page_has_no_other_sections() -> None:
    text = (ROOT / "docs/plan.md").read_text("utf-8")
    assert re.findall(r"^## `\[(\w+)\]`$", text, re.MULTILINE) == list(sections.SECTIONS)


# The verdict


def test_verdict_page_names_every_statistic_gate_and_reason() -> None:
    from forget_audit.reports import words
    from forget_audit.verdict import yardstick

    text = (ROOT / "docs/verdict.md").read_text("utf-8")
    families = (yardstick.INSTANCE_FAMILY, yardstick.CLASS_FAMILY, yardstick.FIDELITY_FAMILY)
    known = {name for family in families for name in family} | set(words.GATES)
    assert not [name for name in sorted(known) if f"`{name}`" not in text]


def test_only_warnings_speak_of_models_that_have_forgotten() -> None:
    pages = [page for page in PAGES if "has forgotten" in page.read_text("utf-8")]
    assert {page.name for page in pages} <= {
        "README.md",
        "CONTRIBUTING.md",
        "talking-about-results.md",
    }
