"""A report as GitHub Markdown, with its charts as files beside it; pictures are left to the page."""

from __future__ import annotations

import re
from collections.abc import Iterable

from regard.ablate.report.document import Block, Cell, Chart, Charts, Document, Folded, Pictures, Table, Text
from regard.ablate.report.svg import standing_alone

SPECIAL = re.compile(r"([\\`*_\[\]<>|#])")


def to_markdown(document: Document) -> str:
    """Return the text."""
    parts = [f"# {plain(document.title)}", f"**{plain(document.summary)}**"]
    parts.append("\n".join(f"- {plain(detail)}" for detail in document.details))
    for section in document.sections:
        parts += [f"## {plain(section.title)}", *_blocks(section.blocks)]
    return "\n\n".join(parts) + "\n"


def chart_files(document: Document) -> dict[str, str]:
    """Return the charts that the Markdown shows: SVG by file name."""
    files: dict[str, str] = {}
    for section in document.sections:
        for block in section.blocks:
            if isinstance(block, Chart):
                files[f"{block.name}.svg"] = standing_alone(block.wide)
            elif isinstance(block, Charts):
                files |= {_name(block, i): standing_alone(svg) for i, svg in enumerate(block.svgs)}
    return files


def plain(text: str) -> str:
    """Return text with every character that Markdown would take for its own made plain, on one line."""
    return SPECIAL.sub(r"\\\1", " ".join(text.split()))


def _blocks(blocks: Iterable[Block]) -> list[str]:
    parts = []
    for block in blocks:
        match block:
            case Text():
                parts.append(plain(block.text))
            case Table():
                parts += [plain(block.caption), _table(block)]
            case Chart():
                parts += [f"![{plain(block.caption)}]({block.name}.svg)", plain(block.caption)]
            case Charts():
                parts += [" ".join(f"![]({_name(block, i)})" for i in range(len(block.svgs))), plain(block.caption)]
            case Pictures():
                parts.append(f"{plain(block.caption)} (in report.html: {plain(_titles(block))})")
            case Folded():
                parts += [plain(block.summary), *_blocks(block.blocks)]
    return parts


def _table(table: Table) -> str:
    rule = [":--" if i == 0 or i in table.words else "--:" for i in range(len(table.headings))]
    rows = [[plain(cell.text if isinstance(cell, Cell) else cell) for cell in row] for row in table.rows]
    heads = [plain(heading) for heading in table.headings]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (heads, rule, *rows))


def _titles(block: Pictures) -> str:
    return "; ".join(picture.title for picture in block.pictures)


def _name(block: Charts, index: int) -> str:
    return f"{block.name}-{index + 1}.svg"
