"""Adapters put together from pieces of real modules, so that what is written is what was tested."""

from __future__ import annotations

import ast
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib.resources import files

OWN, KNOWN = "my_model.py", "known_network.py"


@dataclass(frozen=True, kw_only=True)
class Pieces:
    """What a module holds, by name and in order.

    Args:
        title: The module's docstring, as it stands.
        imports: Lines that import a name.
        parts: Text of constants, functions and classes.
        needs: Names that a part uses.
    """

    title: str
    imports: Mapping[str, str]
    parts: Mapping[str, str]
    needs: Mapping[str, frozenset[str]]


def adapter(
    wanted: Collection[str],
    values: Mapping[str, object],
    *,
    known_network: bool = False,
) -> str:
    """Return the text of a module with these functions, and what they need.

    Args:
        wanted: Of `load`, `stream`, `build` and `fit`.
        values: Of constants, such as `N_CLASSES`.
        known_network: Whether `build` makes a network that comes with forget-audit.
    """
    own = _pieces(OWN)
    sources = [own, _pieces(KNOWN)] if known_network else [own]
    parts = {name: text for source in sources for name, text in source.parts.items()}
    needs = {name: used for source in sources for name, used in source.needs.items()}
    imports = {name: line for source in sources for name, line in source.imports.items()}
    chosen = _closure(wanted, needs)
    used = frozenset[str]().union(*(needs[name] for name in chosen))
    lines = _unique(line for name, line in imports.items() if name in used)
    groups = [
        "\n".join(line for line in lines if ("forget_audit" in line) is ours)
        for ours in (False, True)
    ]
    constants = [_with_value(parts[n], n, values) for n in parts if n in chosen and n.isupper()]
    bodies = [text for name, text in parts.items() if name in chosen and not name.isupper()]
    head = [own.title, *(group for group in groups if group), "\n".join(constants)]
    top = "\n\n".join(text for text in head if text)
    return "\n\n\n".join([top, *bodies]) + "\n"


def functions(text: str) -> frozenset[str]:
    """Return the names that a module defines at its top.

    Raises:
        SyntaxError: If it is not Python.
    """
    return frozenset(name for node in ast.parse(text).body for name in _defined(node))


def template(name: str) -> str:
    """Return the text of a file of this package's starter folder."""
    return (files("forget_audit.starter") / "files" / name).read_text(encoding="utf-8")


def _pieces(file: str) -> Pieces:
    text = template(file)
    lines = text.splitlines()
    imports: dict[str, str] = {}
    parts: dict[str, str] = {}
    needs: dict[str, frozenset[str]] = {}
    title, *body = ast.parse(text).body
    for node in body:
        said = "\n".join(lines[node.lineno - 1 : node.end_lineno])
        if isinstance(node, ast.Import | ast.ImportFrom):
            imports |= {(item.asname or item.name): said for item in node.names}
            continue
        for name in _defined(node):
            parts[name] = said
            used = (part.id for part in ast.walk(node) if isinstance(part, ast.Name))
            needs[name] = frozenset(used) - {name}
    said = "\n".join(lines[: title.end_lineno])
    return Pieces(title=said, imports=imports, parts=parts, needs=needs)


def _defined(node: ast.stmt) -> Iterator[str]:
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        yield node.name
    targets = node.targets if isinstance(node, ast.Assign) else []
    targets = [node.target] if isinstance(node, ast.AnnAssign) else targets
    yield from (target.id for target in targets if isinstance(target, ast.Name))


def _closure(wanted: Iterable[str], needs: Mapping[str, frozenset[str]]) -> frozenset[str]:
    found: set[str] = set()
    queue = list(wanted)
    while queue:
        name = queue.pop()
        if name in needs and name not in found:
            found.add(name)
            queue += needs[name]
    return frozenset(found)


def _unique(lines: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(lines))


def _with_value(line: str, name: str, values: Mapping[str, object]) -> str:
    """Return the line of a constant with another value, as Python writes it."""
    if name not in values:
        return line
    pattern = rf"^({name}(?:: [^=]+)?) = [^#]*?(  #.*)?$"
    return re.sub(pattern, lambda m: f"{m[1]} = {values[name]!r}{m[2] or ''}", line)
