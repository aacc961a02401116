"""What a report is made of, whether it becomes a page or Markdown: sections of text, tables, charts and pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Tone = Literal["", "helps", "hurts", "same", "unknown", "failed", "quiet", "finding"]


@dataclass(frozen=True)
class Cell:
    """A cell of a table with a colour and weight of its own."""

    text: str
    tone: Tone = ""


@dataclass(frozen=True)
class Text:
    """A paragraph."""

    text: str
    tone: Tone = ""


@dataclass(frozen=True)
class Table:
    """A table.

    Attributes:
        caption: what it shows.
        headings: one a column; the first column names its row.
        rows: cells, as many as headings.
        words: indices of further columns that hold words, which stand left, not numbers, which stand right.
    """

    caption: str
    headings: Sequence[str]
    rows: Sequence[Sequence[str | Cell]]
    words: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Chart:
    """A chart, drawn once for wide and once for narrow pages.

    Attributes:
        name: stem of its file beside the Markdown.
        wide: SVG.
        narrow: SVG; "" if ``wide`` does for both.
        caption: what it shows and how to read it.
    """

    name: str
    wide: str
    narrow: str
    caption: str


@dataclass(frozen=True)
class Charts:
    """Several small charts of one kind.

    Attributes:
        name: stem of their files beside the Markdown.
        svgs: each chart.
        caption: of all.
    """

    name: str
    svgs: Sequence[str]
    caption: str


@dataclass(frozen=True)
class Picture:
    """A picture embedded in the page.

    Attributes:
        title: what it shows, also said where it cannot be seen.
        data: a PNG or JPEG file.
    """

    title: str
    data: bytes


@dataclass(frozen=True)
class Pictures:
    """Pictures side by side under one caption."""

    caption: str
    pictures: Sequence[Picture]


@dataclass(frozen=True)
class Folded:
    """Blocks that the page shows when asked."""

    summary: str
    blocks: Sequence[Block]


Block = Text | Table | Chart | Charts | Pictures | Folded


@dataclass(frozen=True)
class Section:
    """A heading and what stands under it."""

    title: str
    blocks: Sequence[Block]


@dataclass(frozen=True)
class Document:
    """A whole report."""

    title: str
    summary: str
    details: Sequence[str]
    sections: Sequence[Section]
