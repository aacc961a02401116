"""The documentation site builds without a warning, in both languages, and needs no other host."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

for package in ("mkdocs", "material", "mkdocs_static_i18n", "mkdocstrings"):
    pytest.importorskip(package, reason="needs regard[docs]")

ROOT = Path(__file__).resolve().parents[1]


pytestmark = pytest.mark.slow  # building takes about ten seconds


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built site; --strict makes every warning an error, broken links and anchors among them."""
    folder = tmp_path_factory.mktemp("site") / "site"
    command = [sys.executable, "-W", "ignore", "-m", "mkdocs", "build", "--strict", "-q", "-d", str(folder)]
    quiet = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, env=quiet, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


def test_every_page_is_there_in_both_languages(site: Path) -> None:
    pages = [page.stem for page in (ROOT / "docs").glob("*.md") if "." not in page.stem]
    for page in pages:
        assert (site / page / "index.html").is_file(), page
        assert (site / "zh-TW" / page / "index.html").is_file(), page
    english, chinese = ((site / part / "tutorial" / "index.html").read_text(encoding="utf-8") for part in ("", "zh-TW"))
    assert "Attention" in english
    assert "偵測器裡的注意力" in chinese
    assert '<html lang="zh-TW"' in chinese.replace("lang=zh-TW", 'lang="zh-TW"')
    assert "保留所有預訓練權重" in (site / "zh-TW" / "index.html").read_text(encoding="utf-8")


def test_both_languages_are_searched(site: Path) -> None:
    index = json.loads((site / "search" / "search_index.json").read_text(encoding="utf-8"))
    assert {"en", "zh"} <= set(index["config"]["lang"])
    words = " ".join(entry["text"] + entry["title"] for entry in index["docs"]).replace("\u200b", "")
    assert "confidence interval" in words
    assert "信賴區間" in words


def test_the_reference_has_every_public_function(site: Path) -> None:
    import regard

    text = (site / "api" / "index.html").read_text(encoding="utf-8")
    for name in regard.__all__:
        if name not in ("nn", "validate", "Callback"):
            assert re.search(rf'id="regard\.[\w.]*\b{name}"', text), name


def test_nothing_is_loaded_from_another_host(site: Path) -> None:
    for page in site.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        assert not re.findall(r'<(?:script|link|img|iframe)[^>]*(?:src|href)="?https?://[^">]+', text), page


def test_links_of_plain_html_lead_to_pages(site: Path) -> None:
    text = (site / "catalogue.html").read_text(encoding="utf-8")
    links = [link for link in re.findall(r'href="([^"#]+)', text) if ":" not in link]
    assert links
    for link in links:
        assert (site / link / "index.html" if link.endswith("/") else site / link).is_file(), link
