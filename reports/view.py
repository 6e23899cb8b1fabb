"""The report as plain strings: what the template prints, in order, with nothing left to compute."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One cell of a table.

    Args:
        text: What it says.
        note: Smaller text beneath.
        kind: CSS class: `text`, `number`, `code` or `outcome-…`.
        symbol: Stands before the text of an outcome.
        span: Columns it takes.
    """

    text: str
    note: str = ""
    kind: str = "text"
    symbol: str = ""
    span: int = 1


@dataclass(frozen=True, kw_only=True)
class Row:
    """One row of a table; a heading row spans all columns.

    Args:
        cells: In order of the columns; the only one of a heading row.
        heading: Whether it is one.
    """

    cells: tuple[Cell, ...]
    heading: bool = False


@dataclass(frozen=True, kw_only=True)
class Fact:
    """A labelled value.

    Args:
        label: What it is.
        text: The value.
        code: Whether to set it in a fixed-width font that may break anywhere.
    """

    label: str
    text: str
    code: bool = False


@dataclass(frozen=True, kw_only=True)
class Text:
    """Paragraphs.

    Args:
        paragraphs: One string each.
    """

    kind: ClassVar = "text"
    paragraphs: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Points:
    """A list of points.

    Args:
        items: One string each.
    """

    kind: ClassVar = "points"
    items: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Facts:
    """Labelled values, one below the other.

    Args:
        items: In order.
    """

    kind: ClassVar = "facts"
    items: tuple[Fact, ...]


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table with a header that repeats on each page.

    Args:
        columns: Headers: text and CSS class.
        rows: In order.
        caption: Names the table for readers and screen readers.
        name: CSS class that fixes the column widths.
    """

    kind: ClassVar = "table"
    columns: tuple[Cell, ...]
    rows: tuple[Row, ...]
    caption: str
    name: str


@dataclass(frozen=True, kw_only=True)
class Drawing:
    """A picture as data URLs.

    Args:
        light: For paper.
        adaptive: For screens: follows a preference for dark pages.
    """

    light: str
    adaptive: str


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A picture with its words.

    Args:
        drawing: The picture.
        alternative: What it shows, for those who cannot see it.
        caption: What to look for.
        numbers: The plotted numbers.
        width: CSS class: `wide` or `half`.
    """

    kind: ClassVar = "figure"
    drawing: Drawing
    alternative: str
    caption: str
    numbers: Table
    width: str = "wide"


@dataclass(frozen=True, kw_only=True)
class Pair:
    """Narrow figures side by side, kept on one page.

    Args:
        figures: One or two.
    """

    kind: ClassVar = "pair"
    figures: tuple[Figure, ...]


@dataclass(frozen=True, kw_only=True)
class SignOff:
    """A framed place where a person signs.

    Args:
        facts: Who is to sign, and what they decided.
        anchor: Id of the frame, by which the PDF maker finds it.
    """

    kind: ClassVar = "signoff"
    facts: Facts
    anchor: str


@dataclass(frozen=True, kw_only=True)
class Section:
    """A numbered part of the body.

    Args:
        title: Heading.
        anchor: For links.
        blocks: Text, points, facts, tables, figures and places to sign.
        language: Of this section, where it is not English.
    """

    title: str
    anchor: str
    blocks: Sequence[Text | Points | Facts | Table | Figure | Pair | SignOff]
    language: str = "en"


@dataclass(frozen=True, kw_only=True)
class Banner:
    """The verdict as one sees it first.

    Args:
        outcome: PASS, FAIL or INCONCLUSIVE.
        word: The same in the reader's language.
        code: The outcome in brackets, where the word is another one.
        symbol: Says the same without colour.
        style: CSS class.
        sentence: The answer in one plain sentence.
        counts: How many of how many required tests.
    """

    outcome: str
    word: str
    code: str
    symbol: str
    style: str
    sentence: str
    counts: str


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where in a PDF the signature field lies.

    Args:
        page: Number of the page, the first is 0.
        box: Left, bottom, right, top in points.
    """

    page: int
    box: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Places:
    """Where in a PDF the signature fields lie.

    Args:
        tool: Of whoever issues the report.
        reviewer: Of the person who reviews it, if there is a place for one.
    """

    tool: Place
    reviewer: Place | None = None


@dataclass(frozen=True, kw_only=True)
class ReportView:
    """Everything on the page.

    Args:
        language: Of page one and the glossary: `en`, `de` or `fr`; the body is in English.
        draft: Whether every page must say that it is a draft.
        labels: The template's own words, by a short name.
        title: Of the document.
        identifier: Of the report.
        issued_at: ISO 8601.
        status_word: Issued, or a draft, in the reader's language.
        subtitle: What kind of paper it is.
        header: Date, version, classification and distribution.
        banner: The verdict.
        found: What the audit found.
        not_said: What the verdict does not say.
        asked: What the audit was asked.
        clock: The request and its dates.
        parties: Who answers, who works for them, who audited.
        signature: What a signature means.
        signer: Fingerprints.
        check: Commands with what they show, and the place in the ledger.
        sections: The body.
        footer: Foot of each page.
        roomy: Whether page one has room for large print.
    """

    language: str
    draft: bool
    labels: Mapping[str, str]
    title: str
    identifier: str
    issued_at: str
    status_word: str
    subtitle: str
    header: Facts
    banner: Banner
    found: tuple[str, ...]
    not_said: tuple[str, ...]
    asked: Facts
    clock: Facts
    parties: Facts
    signature: tuple[str, ...]
    signer: Facts
    check: Facts
    sections: tuple[Section, ...] = field(default=())
    footer: str
    roomy: bool = False
