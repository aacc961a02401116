"""The catalogue as one HTML page that needs no other file and no network: a table with filters, which can be sorted."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from catalogue_studies import findings
from catalogue_words import ENGLISH, Words
from jinja2 import ChoiceLoader, Environment, FileSystemLoader, PackageLoader, select_autoescape

from regard.ablate.report.figures import DARK, LIGHT
from regard.nn.attention import ATTENTION
from regard.nn.attention.position import POSITIONS
from regard.profiling.catalogue import LEVELS, entry

TEMPLATES = Path(__file__).resolve().parent / "templates"


def html(times: Mapping[tuple[str, str], str], words: Words = ENGLISH) -> str:
    """Render the page.

    Args:
        times: by module and level, relative to global attention.
        words: the texts of a language.
    """
    environment = Environment(
        loader=ChoiceLoader([FileSystemLoader(TEMPLATES), PackageLoader("regard.ablate.report")]),
        autoescape=select_autoescape(["html"]),
        trim_blocks=True,
        lstrip_blocks=True,
    )
    entries = [entry(name) for name in ATTENTION]
    page = environment.get_template("catalogue.html").render(
        entries=entries,
        cards={name: kind.card for name, kind in ATTENTION.items()},
        found=findings(words),
        nothing=words.nothing,
        times=times,
        levels=LEVELS,
        families=list(dict.fromkeys(e.family for e in entries)),
        pairs=[(name, name) for name in POSITIONS],
        light=LIGHT,
        dark=DARK,
        words=words,
        t=lambda text: words.page.get(text, text),
        page="catalogue.md" if words is ENGLISH else f"catalogue.{words.code}.md",
    )
    return "\n".join(line.strip() for line in page.splitlines() if line.strip()) + "\n"
