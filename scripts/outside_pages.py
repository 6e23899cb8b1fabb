"""A hook of MkDocs: links to files outside docs/ work on the site as they do in the repository.

Whatever a page links to outside `docs/` gets a place on the site: below `repository/`, Markdown
becomes a page, Python a page that shows the file, and a folder a list of what is in it; anything
else is copied below `files/`. The pages of all methods and of all attacks join the navigation by
themselves, and the index of the search is also written as a script, for pages opened from a disk.
"""

import posixpath
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files

FENCE = re.compile(r"^(```+|~~~+).*?^\1$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"(\]\()([^)\s#:]+)((?:#[^)\s]*)?\))")
PAGES, COPIES = "repository", "files"
CARDS = {"methods.md": "methods", "attacks.md": "attacks"}

origins: dict[str, str] = {}


def on_config(config: Any) -> Any:
    """Put the pages of methods and attacks below the pages that list them."""
    config["nav"] = [_with_cards(entry, Path(config["docs_dir"])) for entry in config["nav"]]
    return config


def on_files(files: Files, config: Any) -> Files:
    """Add what pages link to outside the folder of the documentation.

    Raises:
        PluginError: If a link leads nowhere.
    """
    root = Path(config["config_file_path"]).parent
    docs = Path(config["docs_dir"]).relative_to(root).as_posix()
    origins.clear()
    origins.update({page.src_uri: f"{docs}/{page.src_uri}" for page in files.documentation_pages()})
    todo = sorted(origins.values())
    known = set(todo)
    while todo:
        path = todo.pop()
        for target in targets(_origin(root, path), _text(root, path)):
            if target in known or target.startswith(f"{docs}/"):
                continue
            if not (root / target).exists():
                raise PluginError(f"{path}: there is no {target}")
            known.add(target)
            files.append(_file(root, target, config))
            if shown(root, target):
                todo.append(target)
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, **_: Any) -> str:
    """Make links to files outside the documentation lead to their place on the site."""
    root = Path(config["config_file_path"]).parent
    docs = Path(config["docs_dir"]).relative_to(root).as_posix()
    origin, here = origins[page.file.src_uri], posixpath.dirname(page.file.src_uri)

    def moved(found: re.Match[str]) -> str:
        target = _resolved(origin, found[2])
        if target.startswith(f"{docs}/"):
            place = target.removeprefix(f"{docs}/")
        else:
            place = site_name(root, target)
        return f"{found[1]}{posixpath.relpath(place, here or '.')}{found[3]}"

    return _outside_code(markdown, lambda text: LINK.sub(moved, text))


def on_post_page(output: str, **_: Any) -> str:
    """Give tables, which scroll, a place in the order of the keyboard, and the search a name."""
    output = output.replace("<table>", '<table tabindex="0">')
    return output.replace('role="dialog">', 'role="dialog" aria-label="Search">')


def on_post_build(config: Any) -> None:
    """Write the index of the search as a script, which pages from a disk may load."""
    index = Path(config["site_dir"]) / "search" / "search_index.json"
    text = f"var __index = {index.read_text('utf-8')}"
    index.with_suffix(".js").write_text(text, encoding="utf-8")


def targets(path: str, text: str) -> Iterator[str]:
    """Yield the files, by their path from the root, that the page at `path` links to."""
    for found in LINK.finditer(FENCE.sub("", text)):
        yield _resolved(path, found[2])


def shown(root: Path, path: str) -> bool:
    """Say whether a file or folder becomes a page; others are copied."""
    return (root / path).is_dir() or path.endswith((".md", ".py"))


def site_name(root: Path, path: str) -> str:
    """Return where a file outside the documentation stands on the site."""
    if (root / path).is_dir():
        return f"{PAGES}/{path}/contents.md"
    if path.endswith(".md"):
        return f"{PAGES}/{path}"
    return f"{PAGES}/{path}.md" if path.endswith(".py") else f"{COPIES}/{path}"


def _file(root: Path, path: str, config: Any) -> File:
    name = site_name(root, path)
    if not shown(root, path):
        return File.generated(config, name, abs_src_path=str(root / path))
    origins[name] = _origin(root, path)
    return File.generated(config, name, content=_text(root, path))


def _text(root: Path, path: str) -> str:
    place = root / path
    if place.is_dir():
        names = sorted(item.name for item in place.iterdir() if item.is_file())
        listed = "\n".join(f"- [{name}]({name})" for name in names)
        return f"# {path}\n\nFiles of this folder of the repository:\n\n{listed}\n"
    text = place.read_text("utf-8")
    if path.endswith(".py"):
        return f"# {path}\n\nA file of the repository.\n\n~~~~python\n{text.rstrip()}\n~~~~\n"
    return text


def _origin(root: Path, path: str) -> str:
    return f"{path}/contents.md" if (root / path).is_dir() else path


def _resolved(path: str, target: str) -> str:
    return posixpath.normpath(posixpath.join(posixpath.dirname(path), target))


def _outside_code(text: str, change: Any) -> str:
    parts, end = [], 0
    for fence in FENCE.finditer(text):
        parts += [change(text[end : fence.start()]), fence[0]]
        end = fence.end()
    return "".join([*parts, change(text[end:])])


def _with_cards(entry: Any, docs: Path) -> Any:
    if isinstance(entry, dict):
        return {title: _grown(value, docs) for title, value in entry.items()}
    return entry


def _grown(value: Any, docs: Path) -> Any:
    if isinstance(value, list):
        return [_with_cards(item, docs) for item in value]
    if value not in CARDS:
        return value
    paths = sorted((docs / CARDS[value]).iterdir())
    return [value, *({_title(path): f"{CARDS[value]}/{path.name}"} for path in paths)]


def _title(path: Path) -> str:
    found = re.search(r"^# (.+)$", path.read_text("utf-8"), re.MULTILINE)
    return found[1] if found else path.stem
