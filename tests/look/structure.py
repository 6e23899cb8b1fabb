"""What a page is made of, as a strict reader of HTML sees it."""

from dataclasses import dataclass, field
from functools import cache
from html.parser import HTMLParser
from pathlib import Path

EMPTY = {"meta", "img", "br", "hr", "input", "link", "base", "wbr", "col"}


@dataclass
class Element:
    """An element with its attributes, its own elements and the text in it."""

    tag: str
    attributes: dict[str, str]
    children: list["Element"] = field(default_factory=list)
    text: str = ""

    def all(self, *tags: str) -> list["Element"]:
        """Return this element and those in it, in order; of the given kinds, if any are."""
        found = [self] if not tags or self.tag in tags else []
        return found + [item for child in self.children for item in child.all(*tags)]

    def words(self) -> str:
        """Return the text of the element and all in it, in no particular order."""
        return self.text + "".join(child.words() for child in self.children)


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.root = Element("", {})
        self.open = [self.root]
        self.trouble: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        element = Element(tag, {name: value or "" for name, value in attrs})
        self.open[-1].children.append(element)
        if tag not in EMPTY:
            self.open.append(element)

    def handle_endtag(self, tag: str) -> None:
        if self.open[-1].tag != tag:
            self.trouble.append(f"</{tag}> closes <{self.open[-1].tag}>")
        else:
            self.open.pop()

    def handle_data(self, data: str) -> None:
        self.open[-1].text += data

    def handle_comment(self, data: str) -> None:
        self.trouble.append(f"a comment: {data[:40]}")


def parse(text: str) -> tuple[Element, list[str]]:
    """Return the page as a tree, and whatever does not close, or is a comment."""
    reader = _Reader()
    reader.feed(text)
    reader.close()
    left = [f"<{item.tag}> is not closed" for item in reader.open[1:]]
    return reader.root, reader.trouble + left


@cache
def tree(path: Path) -> Element:
    """Return a well-formed page as a tree."""
    root, trouble = parse(path.read_text("utf-8"))
    assert not trouble, trouble[:5]
    return root
