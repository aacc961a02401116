"""Hooks of the documentation site: files of the repository's root become pages, and links to them lead there.

The site is built from a copy of ``docs/`` with these pages, as its plug-ins expect real files. Links between the two
languages of a page become plain HTML, as each language is built by itself.

Each language has a search index of its own, which is searched by `site_search.js`. Pages are found by their names in
the navigation too, modules of the catalogue by theirs, and entries of the API by what follows `import regard`.
"""

from __future__ import annotations

import atexit
import itertools
import json
import re
import shutil
import tempfile
from pathlib import Path
from posixpath import normpath
from typing import Any

import griffe
from mkdocs.plugins import event_priority

import regard

ROOT = Path(__file__).resolve().parents[1]
PAGES = {
    "README.md": "index.md",
    "README.zh-TW.md": "index.zh-TW.md",
    "CONTRIBUTING.md": "contributing.md",
    "CONTRIBUTING.zh-TW.md": "contributing.zh-TW.md",
    "CHANGELOG.md": "changelog.md",
}
"""Page by file in the root."""
CHINESE = ".zh-TW.md"
ENGLISH_LINKS = ("English", "英文版")
CATALOGUE = ("catalogue.html", "catalogue.zh-TW.html")
"""The pages that are HTML already; the site has both under the first name, each in its language."""
LINK = re.compile(r"\[([^\]\n]*)\]\(([^)#\s]+\.md)(#[^)\s]*)?\)")
SOURCE = re.compile(r'(?<=\ssrc=")(?![a-z]+:|/)(?=[^"]+")')
"""Where the address of an image in plain HTML begins."""
HREF = re.compile(r'href="([^":]+\.md)"')
TRANSLATED = "zh-TW/"
"""Where the pages in Chinese are on the site."""
BASE = re.compile(r'(?<="base": ")\.\./?(?=[^"]*")')
"""The first step up from a page to the folder to which its search belongs; the steps that remain lead to zh-TW/."""
ALTERNATE = re.compile(r'\s*<link rel="?alternate"?[^>]*\bhreflang=[^>]*>')
"""Addresses of a page in the other language, at each of which the script of the theme looks for a map of the site."""
CELL_CODE = re.compile(r"`[^`\n]+`")
CELL = re.compile(r"<td>(?=(?:(?!</td>).){60,}</td>)", re.DOTALL)
"""A cell that needs more width than a name or a number."""
TABLE = re.compile(r"<table>.*?</table>", re.DOTALL)
CELL_START = re.compile(r"<td\b")
TAG = re.compile(r"<[^>]+>")
HEADING = re.compile(r"<th\b[^>]*>(.*?)</th>", re.DOTALL)
MOST_ON_CARDS = 6
"""Columns up to which the rows of a table of prose or options are shown as cards on a phone."""
OPTION = re.compile(r"<code>(?=--[^\s<]*</code>)")
"""An option, in which no line ends."""
WORKER = re.compile(r'(?<="search": ")([^"]*)assets/javascripts/workers/search\.[^"]+(?=")')
"""The search of the theme, which `site_search.js` replaces."""
INDEX = "search/search_index.json"
MODULE = re.compile(r"<td><code>(\w+)</code></td>(?=\n<td>(?:(?!</?td>).)*</td>\n</tr>)", re.DOTALL)
"""The first cell of two: the tables of when one would want a module."""
ENTRY = re.compile(r'<td id="(\w+)"><code>\w+</code></td>\n<td[^>]*>(.*?)</td>', re.DOTALL)
IMAGE = re.compile(r"(\]\()docs/")


class Examples(griffe.Extension):
    """Let a section called Example be rendered as code."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Rename the section."""
        if obj.docstring:
            obj.docstring.value = re.sub(r"^Example:$", "Examples:", obj.docstring.value, flags=re.MULTILINE)


def on_config(config: Any) -> Any:
    """Build from a copy of ``docs/`` in which the files of the root are pages."""
    if Path(config.docs_dir) == ROOT / "docs":
        folder = Path(tempfile.mkdtemp(prefix="regard-docs-"))
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        shutil.copytree(ROOT / "docs", folder / "docs", ignore=shutil.ignore_patterns("*.py", "__pycache__"))
        for page in sorted((folder / "docs").rglob("*.md")):
            place = page.relative_to(folder / "docs").as_posix()
            page.write_text(_with_links(page.read_text(encoding="utf-8"), f"docs/{place}"), encoding="utf-8")
        for name, place in PAGES.items():
            text = IMAGE.sub(r"\1", _with_links((ROOT / name).read_text(encoding="utf-8"), name))
            (folder / "docs" / place).write_text(text, encoding="utf-8")
        for name in CATALOGUE:
            catalogue = folder / "docs" / name
            catalogue.write_text(HREF.sub(_to_page, catalogue.read_text(encoding="utf-8")), encoding="utf-8")
        config.docs_dir = str(folder / "docs")
    return config


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Lead images in plain HTML, which MkDocs does not adapt to the place of the page, to their files."""
    base = page.file.src_uri.rpartition("/")[0]
    if base or "changelog" in page.file.src_uri:  # measurements and reports have most words, and are seldom meant
        page.meta["search"] = {"boost": 0.3}
    else:
        page.meta["tags"] = [page.title]  # the search looks there first
    if "catalogue" in page.file.src_uri:
        page.meta["hide"] = ["toc"]  # the width is for its table of twelve columns
    markdown = "\n".join(_without_escapes(line) if line.startswith("|") else line for line in markdown.split("\n"))
    return SOURCE.sub("../" * page.url.count("/") + (f"{base}/" if base else ""), markdown)


def on_page_content(html: str, page: Any, **_: Any) -> str:
    """Give the rows of the catalogue that state when one would want a module an address, and long cells their width."""
    if "catalogue" in page.file.src_uri:
        html = MODULE.sub(r'<td id="\1"><code>\1</code></td>', html)
    return TABLE.sub(_for_phones, CELL.sub("<td data-long>", html))


def _for_phones(table: re.Match[str]) -> str:
    """Mark options, and name the columns in cells of tables of prose or options, for where a row is a card."""
    html = OPTION.sub("<code data-option>", table[0])
    names = [TAG.sub("", name).strip() for name in HEADING.findall(html)]
    if not 2 < len(names) <= MOST_ON_CARDS or ("<td data-long>" not in html and "<code data-option>" not in html):
        return html
    labels = itertools.cycle(["", *names[1:]])
    return CELL_START.sub(lambda _: f'<td data-label="{next(labels)}"', html).replace("<table", "<table data-cards", 1)


def on_post_page(output: str, page: Any, **_: Any) -> str:
    """Let pages in Chinese search in zh-TW/, and pages ask for no map of the site where there is none."""
    output = WORKER.sub(r"\1site_search.js", ALTERNATE.sub("", output))
    if not page.url.startswith(TRANSLATED):
        return output
    return BASE.sub("", output, count=1).replace('"base": ""', '"base": "."', 1)


def on_post_template(output_content: str, **_: Any) -> str:
    """Search from the page for addresses that do not exist, too."""
    return WORKER.sub(r"\1site_search.js", output_content)


@event_priority(-100)  # after the index is written
def on_post_build(config: Any) -> None:
    """Split the search index by language, and add the modules of the catalogue."""
    site = Path(config.site_dir)
    index = site / INDEX
    if not index.is_file():  # of one language, while the other is built
        return
    found = json.loads(index.read_text(encoding="utf-8"))
    for prefix, is_own in (("", False), (TRANSLATED, True)):
        own = [one for one in found["docs"] if one["location"].startswith(TRANSLATED) == is_own]
        docs = [_entry(one, one["location"].removeprefix(prefix)) for one in own] + _modules(site / prefix)
        file = site / prefix / INDEX
        file.parent.mkdir(exist_ok=True)
        file.write_text(json.dumps(found | {"docs": docs}, ensure_ascii=False), encoding="utf-8")


def _entry(found: dict[str, Any], location: str) -> dict[str, Any]:
    """An entry of the search index: the name of a page belongs to the page alone, not to its sections."""
    texts = {part: found[part].replace("\u200b", "") for part in ("title", "text")}
    page, _, anchor = location.partition("#")
    entry = {key: value for key, value in found.items() if key != "tags"} | texts | {"location": location}
    if page == "api/" and anchor.startswith("regard."):
        entry["tags"] = [_imported(anchor)]
    elif not anchor and "tags" in found:
        entry["tags"] = found["tags"]
    return entry


def _imported(path: str) -> str:
    """How a user writes an object of the package: `regard.load` for `regard.api.models.load`."""
    names = path.split(".")
    first = next((at for at, name in enumerate(names) if at and name in regard.__all__), None)
    return path if first is None else ".".join(["regard", *names[first:]])


def _modules(folder: Path) -> list[dict[str, Any]]:
    """Entries of the search index for the modules of the catalogue."""
    page = (folder / "catalogue" / "index.html").read_text(encoding="utf-8")
    return [
        {
            "location": f"catalogue/#{name}",
            "title": name,
            "text": text,
            "tags": [name],
        }
        for name, text in ENTRY.findall(page)
    ]


def _with_links(text: str, source: str) -> str:
    """Lead links from a page to pages of the site.

    Args:
        text: the page.
        source: its place in the repository.
    """
    here = _place(source)
    is_chinese, base = source.endswith(CHINESE), source.rpartition("/")[0]

    def new(link: re.Match[str]) -> str:
        words, target, anchor = link[1], link[2], link[3] or ""
        if ":" in target:
            return link[0]
        there = _place(normpath(f"{base}/{target}" if base else target))
        up = "../" * (len(_url(here).split("/")) - 1)
        if not is_chinese and there.endswith(CHINESE):
            return f'<a href="{up}zh-TW/{_url(there)}">{words}</a>'
        if is_chinese and words in ENGLISH_LINKS:
            return f'<a href="{up}../{_url(there)}">{words}</a>'
        above = "../" * here.count("/")
        return f"[{words}]({above}{there.replace(CHINESE, '.md')}{anchor})"

    return LINK.sub(new, text).replace(*reversed(CATALOGUE))


def _without_escapes(row: str) -> str:
    r"""A row of a table whose code has | for the \| that GitHub needs: Python-Markdown shows both characters."""
    return CELL_CODE.sub(lambda code: code[0].replace(r"\|", "|"), row)


def _to_page(link: re.Match[str]) -> str:
    return f'href="{_url(link[1])}"'


def _place(source: str) -> str:
    """Place of a page in the site's folder."""
    return PAGES.get(source, source.removeprefix("docs/"))


def _url(place: str) -> str:
    """Address of a page without the language."""
    path = place.replace(CHINESE, ".md").removesuffix(".md")
    name = path.rpartition("/")[2]
    return path[: -len(name)] if name in ("index", "README") else f"{path}/"
