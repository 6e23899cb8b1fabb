"""The rules of `ruff check` for security hold everywhere, and each exception says why."""

import ast
import io
import re
import tokenize
import tomllib
from collections.abc import Iterator
from pathlib import Path

from tests.fixtures.offline import ROOT

PACKAGE = ("forget_audit", "attacks", "experiments", "methods", "reports")
EVERYWHERE = (*PACKAGE, "scripts", "tests", "benchmarks", "examples")


def files(folders: tuple[str, ...]) -> Iterator[Path]:
    for folder in folders:
        for path in sorted((ROOT / folder).rglob("*.py")):
            if not any(parent.is_symlink() for parent in path.parents):
                yield path


def is_type(test: ast.expr) -> bool:
    """Whether a condition is `x is not None` or `isinstance(x, T)`."""
    if isinstance(test, ast.Call):
        return isinstance(test.func, ast.Name) and test.func.id == "isinstance"
    return (
        isinstance(test, ast.Compare)
        and isinstance(test.ops[0], ast.IsNot)
        and isinstance(test.comparators[0], ast.Constant)
        and test.comparators[0].value is None
    )


def test_the_rules_are_on() -> None:
    lint = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["ruff"]["lint"]
    assert "S" in lint["select"]
    assert {rule for rule in lint["ignore"] if re.fullmatch(r"S\d+", rule)} == {"S101", "S603"}
    exceptions = {
        place: {rule for rule in rules if re.fullmatch(r"S\d*", rule)}
        for place, rules in lint["per-file-ignores"].items()
    }
    assert {place for place, rules in exceptions.items() if rules} == {"tests/**"}


def test_asserts_of_the_package_tell_a_type_and_check_no_input() -> None:
    wrong = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in files(PACKAGE)
        for node in ast.walk(ast.parse(path.read_bytes()))
        if isinstance(node, ast.Assert) and not is_type(node.test)
    ]
    assert wrong == []


def test_every_exception_beside_a_line_has_its_reason() -> None:
    bare = []
    for path in files(EVERYWHERE):
        source = path.read_text(encoding="utf-8")
        if "noqa: S" not in source:
            continue
        for token in tokenize.generate_tokens(io.StringIO(source).readline):
            found = re.match(r"#\s*noqa: ([A-Z0-9, ]*\bS\d+[A-Z0-9, ]*)(.*)", token.string)
            if token.type == tokenize.COMMENT and found and not found[2].strip():
                bare.append(f"{path.relative_to(ROOT)}:{token.start[0]}")
    assert bare == []
