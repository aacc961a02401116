"""Each page in 繁體中文 has all parts of the English one: sections, paragraphs, code, tables, items and images."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
CHINESE = [ROOT / "README.zh-TW.md", ROOT / "CONTRIBUTING.zh-TW.md", *sorted(DOCS.rglob("*.zh-TW.md"))]
CATALOGUE = ROOT / "src" / "regard" / "locale" / "zh_TW" / "LC_MESSAGES" / "regard.po"
OTHER_TEXTS = [
    ROOT / "mkdocs.yml",
    *(ROOT / "docs" / name for name in ("catalogue_words.py", "make_settings.py", "make_studio.py", "site_hooks.py")),
    *(ROOT / "docs" / "templates").glob("*.zh-TW.md"),
    *sorted((ROOT / "notebooks" / "source").glob("*.py")),
    *sorted((ROOT / "src" / "regard" / "ablate" / "paper").glob("*.py")),
    ROOT / "studio" / "src" / "chinese.ts",
]
"""Other files with texts in Chinese."""
WITH_REQUIREMENTS = [
    file
    for pattern in ("*.md", "docs/**/*.md", "notebooks/source/*.py", "src/**/*.py", "src/**/*.po", "studio/src/*.ts*")
    for file in sorted(ROOT.glob(pattern))
    if "pip install" in file.read_text(encoding="utf-8")
]
SHELL = ("sh", "bash")
SENTENCE = re.compile(r"(?:\b[A-Za-z]{2,}\b[ ,]*){3}")
TERMS = ROOT / "CONTRIBUTING.md"
"""Has the table of terms."""
TABLE_ROW = re.compile(r"^\| [^|]+ \| [^|]+ \| ([^|\x00-\x7f][^|]*) \|$", re.MULTILINE)
FENCE = re.compile(r"^```(\w*)\n.*?^```$", re.MULTILINE | re.DOTALL)
CODE = re.compile(FENCE.pattern.replace("\\n.*?", "\\n(.*?)"), FENCE.flags)
INDENTED = re.compile(r"^ *```\w*\n.*?^ *```$", FENCE.flags)
PLACEHOLDER = re.compile("<[^>]+>")
SPAN = re.compile(r"`([^`]+)`")
OTHER_LANGUAGE = re.compile(r" *\[(?:English|繁體中文)\]\([^)]*\)")
LINK = re.compile(r"\[([^\]\n]*)\]\((?!\w+:)([^)#\s]+)\.md(?:#[^)\s]*)?\)")
TO_ENGLISH = ("English", "英文版")
IMAGE = re.compile(r'!\[[^\]]*\]\(([^)]+)\)|<img src="([^"]+)"')
CHARACTER = "[\u3000-\u303f\u4e00-\u9fff\uff00-\uffef]"
NUMBER = re.compile(r"\d+(?:[.,]\d+)+")
NAME = re.compile("`|^# regard$")
ITEM = re.compile(r"^(?:-|\d+\.) ", re.MULTILINE)


ENGLISH_ALONE = {"api.md"}
"""Pages without one in Chinese: docstrings are English."""
CONDITIONS = {"catalogue.zh-TW.md"}
"""Pages that refer to the English page of a measurement for its conditions."""


def test_every_page_is_in_both_languages() -> None:
    english = {page.name for page in DOCS.glob("*.md") if ".zh-TW" not in page.name} - ENGLISH_ALONE
    assert english - {english_of(page).name for page in CHINESE} == set()


def test_every_page_is_in_the_navigation_of_the_site_with_a_translation() -> None:
    text = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    nav = text[text.index("\nnav:") :]
    entries = dict(re.findall(r"^ +- ([^:\n]+): (\S+\.md)$", nav, re.MULTILINE))
    pages = {page.name for page in DOCS.glob("*.md") if ".zh-TW" not in page.name}
    assert pages - {*entries.values()} == set()
    assert [title for title in entries if f"  {title}: " not in text[: text.index("\nnav:")]] == []


@pytest.mark.parametrize("readme", ["README.md", "README.zh-TW.md"])
def test_the_readme_leads_to_every_page(readme: str) -> None:
    ending = ".zh-TW.md" if "zh" in readme else ".md"
    linked = set(re.findall(r"\]\(docs/([^)#]+?)\.(?:zh-TW\.)?md", (ROOT / readme).read_text(encoding="utf-8")))
    pages = {page.name.removesuffix(ending) for page in DOCS.glob(f"*{ending}")} - {"api"}
    assert {page for page in pages if "." not in page} - linked == set()


def english_of(page: Path) -> Path:
    return page.with_name(page.name.replace(".zh-TW", ""))


def parts_of(text: str) -> list[str]:
    """Kind and size of each block of a page, in order."""
    found = []
    text = FENCE.sub(r"\n```\1\n", OTHER_LANGUAGE.sub("", text))
    for block in filter(None, map(str.strip, re.split(r"\n\s*\n", text))):
        if block.startswith("#"):
            found.append(f"heading {len(block.split()[0])}")
        elif block.startswith("```"):
            found.append(f"code {block[3:]}")
        elif block.startswith("|"):
            found.append(f"table {[line.count(' | ') for line in block.splitlines()]}")
        else:
            found.append(f"list of {len(ITEM.findall(block))}" if ITEM.match(block) else "paragraph")
        found += [f"image {image.replace('-zh.', '.')}" for image in map("".join, IMAGE.findall(block))]
    return found


@pytest.mark.parametrize("page", CHINESE, ids=lambda page: page.name)
def test_a_page_in_chinese_has_all_parts_of_the_english_one(page: Path) -> None:
    own, english = (parts_of(one.read_text(encoding="utf-8")) for one in (page, english_of(page)))
    assert own == english


def code_of(text: str) -> list[list[str] | int]:
    """Lines of each block of code without what may be translated: comments, and what a program prints."""
    return [
        code.count("\n") if language == "text" else [line.split(" #")[0].rstrip() for line in code.splitlines()]
        for language, code in CODE.findall(text)
    ]


def names_of(text: str) -> set[str]:
    """What stands in backticks outside tables and blocks, without placeholders such as <page>."""
    prose = "\n".join(line for line in INDENTED.sub("", text).splitlines() if not line.startswith("|"))
    return {" ".join(PLACEHOLDER.sub("<>", name).split()).replace(".zh-TW", "") for name in SPAN.findall(prose)}


@pytest.mark.parametrize("page", CHINESE, ids=lambda page: page.name)
def test_a_page_in_chinese_has_the_code_of_the_english_one(page: Path) -> None:
    own, english = (one.read_text(encoding="utf-8") for one in (page, english_of(page)))
    assert code_of(own) == code_of(english)
    if page.name not in CONDITIONS:
        assert sorted(names_of(own) ^ names_of(english)) == []


@pytest.mark.parametrize("page", CHINESE, ids=lambda page: page.name)
def test_a_page_in_chinese_has_the_numbers_of_the_english_one(page: Path) -> None:
    own, english = (
        set(NUMBER.findall(FENCE.sub("", one.read_text(encoding="utf-8")))) for one in (page, english_of(page))
    )
    assert own - english == set()
    assert english - own == set() or page.name in CONDITIONS


@pytest.mark.parametrize("page", CHINESE, ids=lambda page: page.name)
def test_a_page_in_chinese_is_in_chinese(page: Path) -> None:
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    headings = [line for line in text.splitlines() if line.startswith("#")]
    assert re.findall(f".*{CHARACTER}\n(?={CHARACTER})", text) == []  # it would be shown as a space
    assert re.findall(r".*[，。；：、](?: |\n *)(?![\s|#>*!`\-]|\d+\.).+", text) == []  # also before a Latin word
    assert [line for line in headings if not re.search("[\u4e00-\u9fff]", line) and not NAME.search(line)] == []


def translations(file: Path) -> str:
    """All texts in Chinese of the catalogue of the command line, without the English ones."""
    blocks = re.findall(r"^msgstr (.*?)(?=^$)", file.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    return "".join(block.replace('"\n"', "") for block in blocks)


@pytest.mark.parametrize("page", [*CHINESE, CATALOGUE, *OTHER_TEXTS], ids=lambda page: page.name)
def test_there_is_one_term_for_each_thing(page: Path) -> None:
    rows = TABLE_ROW.findall(TERMS.read_text(encoding="utf-8"))
    wrong = [term for row in rows for term in row.split(", ")]
    assert len(wrong) > 30
    text = translations(page) if page == CATALOGUE else page.read_text(encoding="utf-8")
    if page.name == "CONTRIBUTING.zh-TW.md":
        assert TABLE_ROW.findall(text)[1:] == rows  # but for the heading
        text = TABLE_ROW.sub("", text)
    assert [term for term in wrong if term in text] == []


@pytest.mark.parametrize("page", [*CHINESE, CATALOGUE, *OTHER_TEXTS], ids=lambda page: page.name)
def test_percent_follows_a_space(page: Path) -> None:
    text = translations(page) if page == CATALOGUE else FENCE.sub("", page.read_text(encoding="utf-8"))
    assert re.findall(r".{0,20}\d%(?!\d|[A-F]).{0,9}[\u3000-\uffef]", SPAN.sub("", text)) == []


def console_blocks(text: str) -> list[str]:
    """What commands print: blocks of text that begin with a command, or follow one of a shell."""
    blocks = CODE.findall(text)
    return [
        "".join(line for line in code.splitlines(keepends=True) if not line.startswith("regard "))
        for (before, _), (language, code) in zip([("", ""), *blocks], blocks, strict=False)
        if language == "text" and (before in SHELL or code.startswith("regard "))
    ]


@pytest.mark.parametrize("page", CHINESE, ids=lambda page: page.name)
def test_output_that_a_page_in_chinese_quotes_is_in_chinese(page: Path) -> None:
    english = {
        line for block in console_blocks(english_of(page).read_text(encoding="utf-8")) for line in block.splitlines()
    }
    own = [line for block in console_blocks(page.read_text(encoding="utf-8")) for line in block.splitlines()]
    assert [line for line in own if line in english and SENTENCE.search(line)] == []


@pytest.mark.parametrize("page", WITH_REQUIREMENTS, ids=lambda page: page.name)
def test_requirements_are_in_double_quotes(page: Path) -> None:
    """Which all shells take away: in cmd.exe single quotes would be part of the requirement."""
    text = page.read_text(encoding="utf-8").replace("\\'", "'").replace('\\"', '"')
    assert re.findall(r"(?:pip install[^\n\"]*|[`、,] ?)'[\w.-]+(?:\[|[<>=~])[^']*'", text) == []


@pytest.mark.parametrize("page", CHINESE, ids=lambda page: page.name)
def test_links_of_a_page_in_chinese_lead_to_pages_in_chinese(page: Path) -> None:
    links = LINK.findall(page.read_text(encoding="utf-8"))
    assert [
        target for words, target in links if words not in TO_ENGLISH and (page.parent / f"{target}.zh-TW.md").exists()
    ] == []
