"""A report as one HTML file that needs nothing but itself."""

from __future__ import annotations

import base64

from regard.ablate.report.document import (
    Block,
    Cell,
    Chart,
    Charts,
    Document,
    Folded,
    Picture,
    Pictures,
    Section,
    Table,
    Text,
)
from regard.ablate.report.markup import Markup, join, tag
from regard.ablate.report.style import SHEET


def to_html(document: Document) -> str:
    """Return the page."""
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("title", f"{document.summary} {document.title}"),
        tag("style", Markup(SHEET)),
    )
    top = tag(
        "header",
        tag("p", "Question", class_="eyebrow"),
        tag("h1", document.title),
        tag("p", document.summary, class_="summary"),
        tag("ul", *(tag("li", detail) for detail in document.details), class_="details"),
    )
    main = tag("main", *map(_section, document.sections))
    foot = tag("footer", "Made by regard ablate. This file needs no other and no network.")
    return f"<!doctype html>\n{tag('html', head, tag('body', top, main, foot), lang='en')}\n"


def _section(section: Section) -> Markup:
    return tag("section", tag("h2", section.title), *map(_block, section.blocks))


def _block(block: Block) -> Markup:
    match block:
        case Text():
            return tag("p", block.text, class_=block.tone or None)
        case Table():
            return _table(block)
        case Chart():
            return _chart(block)
        case Charts():
            charts = tag("div", *map(Markup, block.svgs), class_="many")
            return tag("figure", charts, tag("figcaption", block.caption))
        case Pictures():
            count = "pictures few" if len(block.pictures) == 1 else "pictures"
            pictures = tag("div", *map(_picture, block.pictures), class_=count)
            return tag("figure", pictures, tag("figcaption", block.caption))
        case Folded():
            return tag("details", tag("summary", block.summary), *map(_block, block.blocks))


def _table(table: Table) -> Markup:
    head = tag(
        "tr", *(tag("th", _breakable(h), scope="col", class_=_words(table, i)) for i, h in enumerate(table.headings))
    )
    rows = [
        tag("tr", tag("th", _breakable(_text(first)), scope="row", class_=_tone(first)), *_cells(table, rest))
        for first, *rest in table.rows
    ]
    whole = tag("table", tag("thead", head), tag("tbody", *rows), aria_label=table.caption)
    scroll = tag("div", whole, class_="scroll", tabindex="0", role="region", aria_label=table.caption)
    return join(tag("p", table.caption, class_="caption"), scroll)


def _cells(table: Table, cells: list[str | Cell]) -> list[Markup]:
    classes = (" ".join(filter(None, (_words(table, i), _tone(cell)))) or None for i, cell in enumerate(cells, start=1))
    return [tag("td", _text(cell), class_=class_) for cell, class_ in zip(cells, classes, strict=True)]


def _breakable(name: str) -> Markup:
    """Return a name that may go on in the next line before the place of what is inserted."""
    return Markup(join(name).replace("@", "<wbr>@"))


def _words(table: Table, column: int) -> str | None:
    return "words" if column in table.words else None


def _text(cell: str | Cell) -> str:
    return cell.text if isinstance(cell, Cell) else cell


def _tone(cell: str | Cell) -> str | None:
    return (cell.tone or None) if isinstance(cell, Cell) else None


def _chart(chart: Chart) -> Markup:
    wide = tag("div", Markup(chart.wide), class_="wide paired" if chart.narrow else "wide")
    narrow = tag("div", Markup(chart.narrow), class_="narrow") if chart.narrow else None
    return tag("figure", wide, narrow, tag("figcaption", chart.caption))


def _picture(picture: Picture) -> Markup:
    kind = "png" if picture.data.startswith(b"\x89PNG") else "jpeg"
    source = f"data:image/{kind};base64,{base64.b64encode(picture.data).decode()}"
    return join(tag("div", tag("img", src=source, alt=picture.title, loading="lazy"), tag("span", picture.title)))
