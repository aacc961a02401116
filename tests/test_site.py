"""The documentation site builds without a warning, in both languages, and needs no other host."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from urllib.parse import unquote

import pytest

for package in ("mkdocs", "material", "mkdocs_static_i18n", "mkdocstrings"):
    pytest.importorskip(package, reason="needs regard[docs]")

ROOT = Path(__file__).resolve().parents[1]


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


def both_languages_are_searched(site: Path) -> None:
    index = json.loads((site / "search" / "search_index.json").read_text(encoding="utf-8"))
    assert {"en", "zh"} <= set(index["config"]["lang"])
    words = " ".join(entry["text"] + entry["title"] for entry in index["docs"]).replace("\u200b", "")
    assert "confidence interval" in words
    assert "信賴區間" in words


def the_reference_has_every_public_function(site: Path) -> None:
    import regard

    text = (site / "api" / "index.html").read_text(encoding="utf-8")
    for name in regard.__all__:
        if name not in ("nn", "validate", "Callback"):
            assert re.search(rf'id="regard\.[\w.]*\b{name}"', text), name


def nothing_is_loaded_from_another_host(site: Path) -> None:
    for page in site.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        assert not re.findall(r'<(?:script|link|img|iframe)[^>]*(?:src|href)="?https?://[^">]+', text), page


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
        both_languages_are_searched,
        the_reference_has_every_public_function,
        nothing_is_loaded_from_another_host,
        every_link_leads_somewhere,
    ):
        check(site)
