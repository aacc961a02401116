"""The tutorial in two languages: the same code, the same figures, and figures that the code still draws.

``test_readme.py`` runs the blocks of the English page and compares what they print.
"""

from __future__ import annotations

import re
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from scripts import load_script
from test_readme import blocks

DOCS = Path(__file__).resolve().parents[1] / "docs"
ENGLISH, CHINESE = DOCS / "tutorial.md", DOCS / "tutorial.zh-TW.md"
FIGURE = re.compile(r"!\[.*?\]\(images/tutorial/(.*?)\)")
ANCHOR = re.compile(r"\]\(#(.*?)\)")
HEADING = re.compile(r"^## (.*)$", re.MULTILINE)
LARGEST = 150_000


@pytest.fixture(scope="module")
def maker() -> ModuleType:
    return load_script("docs/make_tutorial_figures.py")


def _small(path: Path) -> NDArray[np.float64]:
    return np.asarray(Image.open(path).convert("RGB").resize((96, 96)), dtype=np.float64)


def test_both_languages_have_the_same_code_and_figures() -> None:
    english, chinese = (page.read_text(encoding="utf-8") for page in (ENGLISH, CHINESE))
    code = [[block for block in blocks(page) if block.language != "text"] for page in (english, chinese)]
    assert code[0] == code[1]
    assert [block.language for block in blocks(english)] == [block.language for block in blocks(chinese)]
    assert len(blocks(english)) > 60
    assert FIGURE.findall(english) == FIGURE.findall(chinese)


@pytest.mark.parametrize("page", [ENGLISH, CHINESE], ids=lambda page: page.name)
def test_the_contents_lead_to_the_chapters(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    chapters = HEADING.findall(text)
    # GitHub makes an anchor of a heading so: lower case, letters, digits and hyphens kept, spaces to hyphens
    slugs = [re.sub(r"[^\w\- ]", "", chapter.lower()).replace(" ", "-") for chapter in chapters]
    assert ANCHOR.findall(text) == slugs
    assert [int(chapter.split(".")[0]) for chapter in chapters] == list(range(1, 13))


def test_every_figure_is_small_and_shown(maker: ModuleType) -> None:
    files = {path.name for path in maker.IMAGES.iterdir()}
    assert files == {*maker.FIGURES, maker.IMAGE.name}
    assert set(FIGURE.findall(ENGLISH.read_text(encoding="utf-8"))) == set(maker.FIGURES)
    for name in files:
        assert 1_000 < (maker.IMAGES / name).stat().st_size < LARGEST, name


@pytest.mark.parametrize(
    "name", ["grid", "indices", "queries", "heads", "shuffled", "shifts", "share", "variants", "interval"]
)
def test_a_figure_is_what_the_code_draws(maker: ModuleType, tmp_path: Path, name: str) -> None:
    file = f"{name}.png"
    maker.write(maker.FIGURES[file](), tmp_path / file)
    difference = np.abs(_small(tmp_path / file) - _small(maker.IMAGES / file)).mean()
    assert difference < 1.5, "run: python docs/make_tutorial_figures.py"  # other versions draw letters differently


def test_a_figure_of_another_query_is_another(
    maker: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    maker.write(maker.heads(), tmp_path / "a.png")
    monkeypatch.setattr(maker, "RIM", maker.GROUND)
    maker.write(maker.heads(), tmp_path / "b.png")
    assert np.abs(_small(tmp_path / "a.png") - _small(tmp_path / "b.png")).mean() > 5
