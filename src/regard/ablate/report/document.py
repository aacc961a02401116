"""The parts of a report, and how templates turn them into a page that needs nothing but itself, or into Markdown."""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from dataclasses import dataclass
from html import unescape
from typing import ClassVar, Literal

from jinja2 import Environment, PackageLoader, select_autoescape
from markupsafe import Markup, escape

from regard.ablate.report.figures import DARK, LIGHT, standing_alone

Tone = Literal["", "helps", "hurts", "same", "unknown", "failed", "quiet", "finding"]

SPECIAL = re.compile(r"([\\`*_\[\]<>|#])")
"""Characters that mean something in Markdown."""


class Cell(str):
    """A cell of a table with a tone, which is a CSS class."""

    tone: Tone

    def __new__(cls, text: str, tone: Tone) -> Cell:
        """Make the text a cell."""
        cell = super().__new__(cls, text)
        cell.tone = tone
        return cell


@dataclass(frozen=True)
class Text:
    """A paragraph."""

    kind: ClassVar = "text"
    text: str
    tone: Tone = ""


@dataclass(frozen=True)
class Table:
    """A table.

    Attributes:
        caption: what it shows.
        headings: one per column; the first column names its row.
        rows: cells, as many as headings.
        text_columns: indices of further columns with text, which is aligned left, while numbers are aligned right.
    """

    kind: ClassVar = "table"
    caption: str
    headings: Sequence[str]
    rows: Sequence[Sequence[str]]
    text_columns: frozenset[int] = frozenset()


DESCRIPTION = re.compile(r'aria-label="([^"]*)"')
"""What a figure states of itself."""


@dataclass(frozen=True)
class Plots:
    """One figure, or several small ones of one kind.

    Attributes:
        name: stem of their files next to the Markdown.
        svgs: each figure.
        caption: what they show and how to read them.
        narrow: a single figure drawn for narrow pages; "" if ``svgs`` fit all pages.
    """

    kind: ClassVar = "plots"
    name: str
    svgs: Sequence[str]
    caption: str
    narrow: str = ""

    @property
    def files(self) -> list[str]:
        """Names of the files."""
        one = len(self.svgs) == 1 and bool(self.narrow)
        return [f"{self.name}.svg" if one else f"{self.name}-{i}.svg" for i in range(1, len(self.svgs) + 1)]

    @property
    def descriptions(self) -> list[str]:
        """What each figure shows in words, for those who do not see it."""
        return [unescape(found[1]) if (found := DESCRIPTION.search(svg)) else self.caption for svg in self.svgs]


@dataclass(frozen=True)
class Image:
    """An image embedded in the page, with its title; a PNG or JPEG file."""

    title: str
    data: bytes

    @property
    def source(self) -> str:
        """The image as a data URL."""
        kind = "png" if self.data.startswith(b"\x89PNG") else "jpeg"
        return f"data:image/{kind};base64,{base64.b64encode(self.data).decode()}"


@dataclass(frozen=True)
class Images:
    """Images side by side under one caption."""

    kind: ClassVar = "images"
    caption: str
    images: Sequence[Image]


@dataclass(frozen=True)
class Details:
    """Blocks that the page shows on request."""

    kind: ClassVar = "details"
    summary: str
    blocks: Sequence[Block]


Block = Text | Table | Plots | Images | Details


@dataclass(frozen=True)
class Section:
    """A heading and its blocks."""

    title: str
    blocks: Sequence[Block]


@dataclass(frozen=True)
class Document:
    """A whole report."""

    title: str
    summary: str
    details: Sequence[str]
    sections: Sequence[Section]


def to_html(document: Document) -> str:
    """Render the page."""
    return _environment().get_template("page.html").render(document=document, light=LIGHT, dark=DARK)


def to_markdown(document: Document) -> str:
    """Render GitHub Markdown that shows the figures as files next to it and leaves images to the page."""
    text = _environment().get_template("report.md").render(document=document)
    return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"


def figure_files(document: Document) -> dict[str, str]:
    """SVG files that the Markdown shows, by name."""
    plots = [block for section in document.sections for block in section.blocks if isinstance(block, Plots)]
    return {name: standing_alone(svg) for p in plots for name, svg in zip(p.files, p.svgs, strict=True)}


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("regard.ablate.report"),
        autoescape=select_autoescape(["html"]),
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"breakable": _breakable, "plain": plain}
    return environment


def plain(text: str) -> str:
    """Escape every character that means something in Markdown, on one line."""
    return SPECIAL.sub(r"\\\1", " ".join(text.split()))


def _breakable(name: str) -> Markup:
    """Allow a line break before the place of an insertion."""
    return escape(name).replace("@", Markup("<wbr>@"))
