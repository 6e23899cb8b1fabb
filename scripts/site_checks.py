"""What must hold of a built site: nothing is fetched from elsewhere, and nothing leads nowhere."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

# Attributes by which a browser fetches something without being asked.
FETCHED: Mapping[str, tuple[str, ...]] = {
    "audio": ("src",),
    "embed": ("src",),
    "form": ("action",),
    "iframe": ("src",),
    "image": ("href", "xlink:href"),
    "img": ("src", "srcset"),
    "input": ("src",),
    "object": ("data",),
    "script": ("src",),
    "source": ("src", "srcset"),
    "track": ("src",),
    "use": ("href", "xlink:href"),
    "video": ("src", "poster"),
}
NO_FETCH = {"alternate", "canonical", "edit", "next", "prev"}
CSS_ADDRESS = re.compile(r"""(?:url\(\s*|@import\s+)["']?([^"')\s]+)""")
HOME = "index.html"
NOT_LINKED = {"404.html"}


@dataclass
class Page:
    """What a page of a site refers to.

    Args:
        fetched: Addresses that a browser fetches to show it.
        linked: Addresses that a reader can go to.
        anchors: Places on it that can be linked to.
    """

    fetched: list[str] = field(default_factory=list)
    linked: list[str] = field(default_factory=list)
    anchors: set[str] = field(default_factory=set)


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.page = Page()
        self._style = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self._style = tag == "style"
        self.page.anchors |= {given[name] for name in ("id", "name") if name in given}
        self.page.fetched += CSS_ADDRESS.findall(given.get("style", ""))
        self.page.fetched += [given[name] for name in FETCHED.get(tag, ()) if given.get(name)]
        if tag == "link" and not set(given.get("rel", "").split()) & NO_FETCH:
            self.page.fetched.append(given.get("href", ""))
        if tag == "a" and "href" in given:
            self.page.linked.append(given["href"])

    def handle_data(self, data: str) -> None:
        if self._style:
            self.page.fetched += CSS_ADDRESS.findall(data)

    def handle_endtag(self, tag: str) -> None:
        if tag == "style":
            self._style = False


@cache
def read(path: Path) -> Page:
    """Return what a page refers to."""
    reader = _Reader()
    reader.feed(path.read_text("utf-8"))
    return reader.page


def pages(site: Path) -> list[Path]:
    """Return all pages of a site."""
    return sorted(site.rglob("*.html"))


def remote(site: Path) -> Iterator[str]:
    """Yield what would be fetched from elsewhere to show the site."""
    for path in pages(site):
        for address in read(path).fetched:
            if _elsewhere(address):
                yield f"{path.relative_to(site)}: {address}"
    for path in sorted(site.rglob("*.css")):
        for address in CSS_ADDRESS.findall(path.read_text("utf-8")):
            if _elsewhere(address):
                yield f"{path.relative_to(site)}: {address}"


def broken(site: Path) -> Iterator[str]:
    """Yield links and files that lead nowhere, with their page."""
    for path in pages(site):
        page = read(path)
        for address in [*page.linked, *page.fetched]:
            target, anchor = _target(path, address, site)
            if target is None:
                continue
            if not target.is_file() or not _holds(target, anchor):
                yield f"{path.relative_to(site)}: {address}"


def unreachable(site: Path) -> list[str]:
    """Return the pages to which no chain of links leads from the first one."""
    found, todo = {(site / HOME).resolve()}, [(site / HOME).resolve()]
    while todo:
        path = todo.pop()
        for address in read(path).linked:
            target, _ = _target(path, address, site)
            if target and target.suffix == ".html" and target.is_file() and target not in found:
                found.add(target)
                todo.append(target)
    everything = {path.resolve() for path in pages(site) if path.name not in NOT_LINKED}
    return sorted(path.relative_to(site.resolve()).as_posix() for path in everything - found)


def _elsewhere(address: str) -> bool:
    parts = urlsplit(address)
    return bool(parts.netloc) or parts.scheme in ("http", "https", "ftp")


def _holds(target: Path, anchor: str) -> bool:
    return not anchor or target.suffix != ".html" or anchor in read(target).anchors


def _target(path: Path, address: str, site: Path) -> tuple[Path | None, str]:
    parts = urlsplit(address)
    if parts.scheme or parts.netloc:
        return None, ""
    name = unquote(parts.path)
    base = site if name.startswith("/") else path.parent
    target = (base / name.lstrip("/")).resolve() if name else path.resolve()
    return (target / HOME if target.is_dir() else target), unquote(parts.fragment)
