"""Hooks of the documentation site: files of the repository's root become pages, and links to them lead there.

The site is built from a copy of ``docs/`` with these pages, as its plug-ins expect real files. Links between the two
languages of a page become plain HTML, as each language is built by itself.
"""

from __future__ import annotations

import atexit
import re
import shutil
import tempfile
from pathlib import Path
from posixpath import normpath
from typing import Any

import griffe

ROOT = Path(__file__).resolve().parents[1]
PAGES = {
    "README.md": "index.md",
    "README.zh-TW.md": "index.zh-TW.md",
    "CONTRIBUTING.md": "contributing.md",
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
    return SOURCE.sub("../" * page.url.count("/") + (f"{base}/" if base else ""), markdown)


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
