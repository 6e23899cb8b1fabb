"""The report as plain strings: what the template prints, in order, with nothing left to compute."""

from collections.abc import Sequence
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
class Section:
    """A numbered part of the body.

    Args:
        title: Heading.
        anchor: For links.
        blocks: Text, points, facts, tables and figures.
    """

    title: str
    anchor: str
    blocks: Sequence[Text | Points | Facts | Table | Figure | Pair]


@dataclass(frozen=True, kw_only=True)
class Banner:
    """The verdict as one sees it first.

    Args:
        outcome: PASS, FAIL or INCONCLUSIVE.
        symbol: Says the same without colour.
        style: CSS class.
        sentence: The answer in one plain sentence.
        counts: How many of how many required tests.
    """

    outcome: str
    symbol: str
    style: str
    sentence: str
    counts: str


@dataclass(frozen=True, kw_only=True)
class Signer:
    """Whose signature the report carries.

    Args:
        name: As in the certificate.
        org: Organisation, if any.
        protection: `unattended` or `passphrase`.
        key: Fingerprint of the key in groups of four.
        certificate: Fingerprint of the certificate in groups of four.
        until: Last day of the certificate.
    """

    name: str
    org: str | None
    protection: str
    key: str
    certificate: str
    until: str


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
class ReportView:
    """Everything on the page.

    Args:
        title: Of the document.
        identifier: Of the report.
        issued: For people.
        issued_at: For machines.
        status: `issued` or `draft`.
        classification: Who may read it.
        subtitle: One line beneath the title.
        banner: The verdict.
        asked: What the audit was asked.
        found: What it found.
        not_said: What the verdict does not say.
        signature: What a signature means.
        signer: Fingerprints.
        check: Commands with what they show.
        sections: The body.
        evidence_digest: SHA-256 of the evidence.
        footer: Foot of each page.
    """

    title: str
    identifier: str
    issued: str
    issued_at: str
    status: str
    classification: str
    subtitle: str
    banner: Banner
    asked: Facts
    found: tuple[str, ...]
    not_said: tuple[str, ...]
    signature: tuple[str, ...]
    signer: Facts
    check: Facts
    sections: tuple[Section, ...] = field(default=())
    evidence_digest: str
    footer: str
