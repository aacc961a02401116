"""The documentation site builds without a warning, in both languages, and needs no other host."""

from __future__ import annotations

import inspect
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

for package in ("mkdocs", "material", "mkdocs_static_i18n", "mkdocstrings"):
    pytest.importorskip(package, reason="needs regard[docs]")

ROOT = Path(__file__).resolve().parents[1]
BEST = {
    "": {
        "--resume": "training/#the-folder-of-a-run",
        "--save-errors": "companions/#fiftyone",
        "save_errors": "settings/#validation-regard-val-regardval",
        "hf://": "models/",
        "regard.load": "api/#regard.api.models.load",
        "regard.insert": "api/#regard.api.models.insert",
        "Detections.filter": "api/#regard.detections.Detections.filter",
        "write_paper": "api/#regard.ablate.paper.write_paper",
        "resuming": "api/#regard.api.training.resume",
        "detect.cpp": "companions/#onnx-runtime-without-this-package",
        "SE": "catalogue/#SE",
        "attention": "attention/",
        "low mAP": "doctor/",
        "why is my mAP zero": "doctor/",
        "mAP50-95": "doctor/",
    },
    "zh-TW": {
        "自注意力": "tutorial/#3-用數字算一次自注意力",
        "小物件": "companions/#以-sahi-切片預測",
        "空間注意力": "catalogue/",
        "通道注意力": "catalogue/",
        "消融實驗": "ablation/",
        "regard.predict": "api/#regard.api.runs.predict",
        "--resume": "training/#訓練的資料夾",
        "為什麼AP偏低": "doctor/",
        "mAP 很低": "doctor/",
        "mAP 為什麼是零": "doctor/",
    },
}
"""The entry that a query must find first, by language."""
PARTS = {
    "SE注意力": ["se", "注意力"],
    "用SE的": ["用", "se"],
    "自注意力模組的用法": ["自注意力"],
}
"""Words that no page in Chinese has, and what must be found of them."""


def built(folder: Path) -> Path:
    """Build the site; --strict makes every warning an error, broken links and anchors among them."""
    command = [sys.executable, "-W", "ignore", "-m", "mkdocs", "build", "--strict", "-q", "-d", str(folder)]
    quiet = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, env=quiet, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


def every_page_is_there_in_both_languages(site: Path) -> None:
    pages = [page.stem for page in (ROOT / "docs").glob("*.md") if "." not in page.stem]
    for page in pages:
        assert (site / page / "index.html").is_file(), page
        assert (site / "zh-TW" / page / "index.html").is_file(), page
    english, chinese = ((site / part / "tutorial" / "index.html").read_text(encoding="utf-8") for part in ("", "zh-TW"))
    assert "Attention" in english
    assert "偵測器裡的注意力" in chinese
    assert '<html lang="zh-TW"' in chinese.replace("lang=zh-TW", 'lang="zh-TW"')
    assert "保留所有預訓練權重" in (site / "zh-TW" / "index.html").read_text(encoding="utf-8")


def each_language_is_searched_by_itself(site: Path) -> None:
    for place, phrase, page in (("", "confidence interval", "Diagnosis"), ("zh-TW", "信賴區間", "診斷")):
        index = json.loads((site / place / "search" / "search_index.json").read_text(encoding="utf-8"))
        entries = {entry["location"]: entry for entry in index["docs"]}
        assert not [location for location in entries if location.startswith("zh-TW/")]
        assert phrase in " ".join(entry["text"] + entry["title"] for entry in index["docs"]).replace("\u200b", "")
        assert entries["doctor/"]["tags"] == [page]
        assert entries["catalogue/#SE"]["title"] == "SE"
        assert "api/#regard.ablate.paper.write_paper" in entries
        for location in entries:
            path, _, anchor = location.partition("#")
            assert f'id="{anchor}"' in (site / place / path / "index.html").read_text(encoding="utf-8") or not anchor


def pages_lead_to_the_search_of_their_language(site: Path) -> None:
    for page in site.rglob("index.html"):
        base = re.findall(r'"base": "([^"]*)"', page.read_text(encoding="utf-8"))
        place = site / "zh-TW" if (site / "zh-TW") in page.parents else site
        assert [(page.parent / one).resolve() for one in base] in ([], [place.resolve()]), page


def the_reference_has_every_public_function(site: Path) -> None:
    import regard

    text = (site / "api" / "index.html").read_text(encoding="utf-8")
    for name in regard.__all__:
        assert name == "validate" or re.search(rf'id="regard\.(?:[\w.]*\.)?{name}"', text), name
    assert "<code>regard.validate</code>" in text
    assert not re.findall(r'id="regard\.[\w.]*\._\w+"', text)


def the_reference_has_what_functions_take_and_return(site: Path) -> None:
    import regard

    text = (site / "api" / "index.html").read_text(encoding="utf-8")
    for function in (one for name in regard.__all__ if inspect.isfunction(one := getattr(regard, name))):
        own, given = inspect.getdoc(function), inspect.signature(inspect.unwrap(function))
        parameters = re.search(r"^Args:\n((?: .*\n)+)", own, re.MULTILINE)[1]
        for name in (name for name, one in given.parameters.items() if one.kind is not one.VAR_KEYWORD):
            assert re.search(rf"^    {name}:", parameters, re.MULTILINE), (function.__name__, name)
        if given.return_annotation != "None":
            assert re.search(r"^Returns:$", own, re.MULTILINE), function.__name__
            for kind in re.findall(r"\b(?!None|str\b|list\b)\w+", given.return_annotation):
                assert re.search(rf'id="regard\.[\w.]*\.{kind}"', text), (function.__name__, kind)
    for kind in ("Summary", "TransferReport", "AttentionMap", "Finding"):  # those that other results have
        assert re.search(rf'id="regard\.[\w.]*\.{kind}"', text), kind


def nothing_is_loaded_from_another_host(site: Path) -> None:
    for page in site.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        assert not re.findall(r'<(?:script|link|img|iframe)[^>]*(?:src|href)="?https?://[^">]+', text), page


def searched(site: Path, place: str, queries: list[str]) -> list[Any]:
    """Results of each query, of each page the best ones first."""
    index, worker = site / place / "search" / "search_index.json", site / "site_search.js"
    command = ["node", str(ROOT / "tests" / "site_queries.js"), str(worker), str(index), *queries]
    return json.loads(subprocess.run(command, capture_output=True, encoding="utf-8", check=True, timeout=60).stdout)


def every_page_uses_the_search_of_the_site(site: Path) -> None:
    for page in (*site.rglob("index.html"), site / "404.html"):
        for place in re.findall(r'"search": "([^"]*)"', page.read_text(encoding="utf-8")):
            assert (
                (site if place.startswith("/") else page.parent) / place.lstrip("/")
            ).resolve() == site.resolve() / "site_search.js"


def the_search_finds_what_is_written(site: Path) -> None:
    if shutil.which("node") is None:
        assert os.environ.get("PAGE_TESTS") != "required"
        pytest.skip("without Node.js the search is not tested")
    for place, expected in BEST.items():
        for (query, entry), pages in zip(expected.items(), searched(site, place, [*expected]), strict=True):
            assert pages[0][0]["location"] == entry, (query, [page[0]["location"] for page in pages])
            assert all(page[0]["terms"] for page in pages), query
    for (query, parts), pages in zip(PARTS.items(), searched(site, "zh-TW", [*PARTS]), strict=True):
        assert {part for part, found in pages[0][0]["terms"].items() if found} >= {*parts}, query
    escaped, *nothing = searched(site, "", ["<image>", "zzzqq", "", " "])
    assert all("<image>" not in item["text"] for page in escaped for item in page)
    assert nothing == [[], [], []]


def no_page_asks_for_a_missing_map_of_the_site(site: Path) -> None:
    """The script of the theme asks for sitemap.xml at the address of every alternate page."""
    for page in site.rglob("index.html"):
        links = re.findall(r'<link rel="?alternate"?[^>]*href="([^"]+)"', page.read_text(encoding="utf-8"))
        assert [link for link in links if not (page.parent / link / "sitemap.xml").is_file()] == [], page


def formulas_have_width_and_no_escapes(site: Path) -> None:
    for place in ("", "zh-TW"):
        text = (site / place / "catalogue" / "index.html").read_text(encoding="utf-8")
        assert re.search(r"<td data-long><code>[^<]* s_c = alpha_c \|x_c\|</code>", text)  # the width is in site.css
        assert re.search(r'<link rel="stylesheet" href="[^"]*site.css">', text)
    for page in site.rglob("index.html"):
        cells = re.findall(r"<td.*?</td>", page.read_text(encoding="utf-8"), re.DOTALL)
        assert [cell for cell in cells if re.search(r"<code>[^<]*\\\|", cell)] == [], page


def tables_of_options_are_cards_on_a_phone(site: Path) -> None:
    """Cells have the names of their columns, options are not broken, and two columns need no width of their own."""
    for place, name in (("", "default"), ("zh-TW", "預設")):
        text = (site / place / "settings" / "index.html").read_text(encoding="utf-8")
        tables = [one for one in re.findall(r"<table.*?</table>", text, re.DOTALL) if ">--" in one]
        assert len(tables) == 6
        assert all(table.startswith("<table data-cards>") for table in tables)
        row = re.search(r"<tr>(?:(?!</tr>).)*--class-weight-power.*?</tr>", text, re.DOTALL)[0]
        assert "<code data-option>--class-weight-power</code>" in row
        assert re.search(rf'<td data-label="?{name}"?><code>0\.0</code>', row), row
    assert "<table data-cards" not in (site / "doctor" / "index.html").read_text(encoding="utf-8")
    style = (site / "site.css").read_text(encoding="utf-8")
    assert "table[data-cards]" in style
    assert re.search(r"table:not\(:has\(tr > :nth-child\(3\)\)\) td\[data-long\] {\s*min-width: 0;", style)


def every_link_leads_somewhere(site: Path) -> None:
    """Those of plain HTML too, which --strict does not check."""
    links = re.compile(r"""(?:src|href)=(?:"([^"]*)"|([^"\s>]+))""")
    broken = []
    for page in site.rglob("*.html"):
        found = {quoted or bare for quoted, bare in links.findall(page.read_text(encoding="utf-8"))}
        for link in (unquote(re.split("[#?]", one)[0]) for one in found if not re.match(r"\w+:", one)):
            target = site / link.lstrip("/") if link.startswith("/") else page.parent / link
            if not (target / "index.html" if target.is_dir() else target).is_file():
                broken.append((page.relative_to(site).as_posix(), link))
    assert not broken, (len(broken), broken[:5])


def test_the_site_is_whole(tmp_path: Path) -> None:
    """All checks of one build, which takes about eight seconds."""
    site = built(tmp_path / "site")
    for check in (
        every_page_is_there_in_both_languages,
        each_language_is_searched_by_itself,
        pages_lead_to_the_search_of_their_language,
        the_reference_has_every_public_function,
        the_reference_has_what_functions_take_and_return,
        nothing_is_loaded_from_another_host,
        every_page_uses_the_search_of_the_site,
        no_page_asks_for_a_missing_map_of_the_site,
        formulas_have_width_and_no_escapes,
        tables_of_options_are_cards_on_a_phone,
        every_link_leads_somewhere,
        the_search_finds_what_is_written,
    ):
        check(site)
