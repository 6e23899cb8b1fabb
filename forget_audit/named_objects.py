"""Python objects that a plan names as `package.module:name`, and the code behind them."""

import ast
import importlib
import sys
import sysconfig
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import forget_audit
from forget_audit.digests import file_digest, sha256, sources_digest
from forget_audit.errors import ModelError
from forget_audit.own_calls import guarded, place_of

# The last two: text that is nested too deeply for Python.
_UNREADABLE = (OSError, SyntaxError, ValueError, RecursionError, MemoryError)


def import_object(reference: str) -> object:
    """Import `package.module:name`.

    Raises:
        ModelError: If module or name does not exist, or the module breaks while it is imported.
    """
    module, _, name = reference.partition(":")
    try:
        with guarded():
            return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ModelError(f"cannot import {reference}: {error}") from error
    except Exception as error:
        place = place_of(error)
        broken = f"{type(error).__name__}: {error}" + (f" ({place})" if place else "")
        raise ModelError(f"cannot import {reference}: {broken}") from error


@cache
def own_code() -> str:
    """Return version and digest of the sources of this package: what it computes depends on them.

    Nobody who works on the package can be given a result of code that is no longer there.
    """
    sources = sources_digest(Path(forget_audit.__file__).parent)
    return f"{forget_audit.__version__} {sources}"


def code_of(kind: type) -> str | None:
    """Return a digest of the code that a class runs; none if it stands in no file."""
    module = kind.__module__
    if module.partition(".")[0] == "forget_audit":
        return own_code()
    found = code_digest(module)
    return None if found is None else f"{own_code()} {found}"


def code_digest(module: str) -> str | None:
    """Return a SHA-256 over the file of a module and all files beside it that it imports.

    Import statements are followed wherever they stand, also within functions, and nothing is run.
    Of an installed package the files of the whole package count, and nothing of what it needs.

    Args:
        module: Name of an imported module.

    Returns:
        Nothing if the module stands in no file, or a file cannot be read as Python.
    """
    path = _source(module)
    if path is None:
        return None
    root = _root(path, module)
    try:
        found = _installed(root, path, module.split(".")) or _imported(root, path)
        named = [f"{one.relative_to(root).as_posix()}\x1f{file_digest(one)}" for one in found]
    except _UNREADABLE:
        return None
    return sha256("\x1e".join(sorted(named)).encode())


def own_files(module: str) -> tuple[Path, list[Path]]:
    """Return the folder that a module is imported from, and the files there that it needs.

    An installed module has none: it has to be installed wherever it runs.

    Args:
        module: Name of an imported module.

    Raises:
        ModelError: If the module stands in no file, or a file cannot be read as Python.
    """
    path = _source(module)
    if path is None:
        raise ModelError(f"{module} stands in no file of Python, and cannot be sent elsewhere")
    root = _root(path, module)
    if _installed(root, path, module.split(".")):
        return root, []
    try:
        return root, sorted(_imported(root, path))
    except _UNREADABLE as error:
        raise ModelError(f"the files of {module} cannot be read as Python: {error}") from error


def imported_from(folder: Path) -> list[str]:
    """Return the names of the modules below `folder` that are imported and not installed."""
    here = folder.resolve()
    found = {name: _source(name) for name in list(sys.modules) if name != "__main__"}
    below = [name for name, path in found.items() if path and path.is_relative_to(here)]
    return sorted(n for n in below if n.partition(".")[0] != "forget_audit" and own_files(n)[1])


def _source(module: str) -> Path | None:
    """Return the file of an imported module; some are made by code and name one that is not."""
    file = getattr(sys.modules.get(module), "__file__", None)
    if file is None or not file.endswith(".py") or not Path(file).is_absolute():
        return None
    return Path(file).resolve()


def _root(path: Path, module: str) -> Path:
    """Return the folder from which `module` is imported."""
    return path.parents[len(module.split(".")) - (path.name != "__init__.py")]


def _installed(root: Path, path: Path, parts: list[str]) -> list[Path]:
    """Return the files of an installed package or module; none if it is not installed."""
    places = {Path(sysconfig.get_path(name)).resolve() for name in ("purelib", "platlib", "stdlib")}
    if root not in places:
        return []
    return [path] if root == path.parent else sorted((root / parts[0]).rglob("*.py"))


def _imported(root: Path, path: Path) -> list[Path]:
    """Return a file and those below `root` that it imports, and that they import."""
    found: set[Path] = set()
    waiting = [path]
    while waiting:
        file = waiting.pop()
        if file not in found:
            found.add(file)
            waiting += [one for name in _names(file, root) for one in _files(root, name)]
    return list(found)


def _names(file: Path, root: Path) -> Iterator[str]:
    """Yield the absolute names that a file may import; `from a import b` may mean `a.b`."""
    package = file.relative_to(root).parent.parts
    for node in ast.walk(ast.parse(file.read_bytes())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else ()
            start = [*above, *([node.module] if node.module else [])]
            yield from (".".join([*start, alias.name]) for alias in node.names)


def _files(root: Path, name: str) -> Iterator[Path]:
    """Yield the files that importing a name would run, as far as they lie below `root`."""
    parts = name.split(".")
    if parts[0] == "forget_audit":  # its version counts
        return
    for count in range(1, len(parts) + 1):
        stem = root.joinpath(*parts[:count])
        for file in (stem.with_name(f"{stem.name}.py"), stem / "__init__.py"):
            if file.is_file():
                yield file
