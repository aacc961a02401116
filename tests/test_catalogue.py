"""The generated pages list every module as the code has it now; only their times may be older."""

from __future__ import annotations

import importlib
import json
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from types import ModuleType

import pytest

from regard.nn.attention import ATTENTION
from regard.profiling.catalogue import entry, positions_of

DOCS = Path(__file__).resolve().parents[1] / "docs"


@pytest.fixture(scope="module")
def maker() -> Iterator[ModuleType]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(DOCS)
        yield importlib.import_module("make_catalogue")


PAGES = ("catalogue.md", "catalogue.zh-TW.md")
BEFORE, WHEN = slice(0, 2), slice(2, 3)
"""Parts of a page between its headings: the tables of modules and of blocks, and what is known of each module."""


def _table(page: str, parts: slice = BEFORE) -> dict[str, list[str]]:
    """Return the cells of each module's line, by the name in the first, in some parts of a page."""
    page = "\n".join(re.split("^## ", page, flags=re.MULTILINE)[parts])
    lines = [line for line in page.splitlines() if line.startswith("| `")]
    cells = [line.strip("| ").split(" | ") for line in lines]
    return {row[0].strip("`"): row for row in cells}


@pytest.mark.parametrize("name", ATTENTION)
def test_the_line_of_a_module_is_up_to_date(maker: ModuleType, name: str) -> None:
    for file in PAGES:
        shown, words = _table((DOCS / file).read_text(encoding="utf-8")).get(name, []), maker.PAGES[file]
        assert shown[: len(words.headings)] == maker.row(name, words), "run: python docs/make_catalogue.py"


@pytest.mark.parametrize("file", PAGES)
def test_the_lines_of_the_blocks_are_up_to_date(maker: ModuleType, file: str) -> None:
    shown, words = _table((DOCS / file).read_text(encoding="utf-8")), maker.PAGES[file]
    for name in maker.BLOCKS:
        assert shown.get(name, [])[: len(words.block_headings)] == maker.block_row(name, words)


@pytest.mark.parametrize("file", PAGES)
def test_the_prose_is_that_of_the_template(maker: ModuleType, file: str) -> None:
    page, template = ((folder / file).read_text(encoding="utf-8") for folder in (DOCS, maker.TEMPLATES))
    for part in re.split(r"\{\w+\}", template):
        assert part.strip("\n") in page, "run: python docs/make_catalogue.py"


@pytest.mark.parametrize("file", PAGES)
def test_the_page_has_no_line_too_many_and_a_small_image_for_each(maker: ModuleType, file: str) -> None:
    page = (DOCS / file).read_text(encoding="utf-8")
    assert set(_table(page)) == {*ATTENTION, *maker.BLOCKS}
    for name in ATTENTION:
        image = maker.IMAGES / f"{name}.png"
        assert f"({image.relative_to(DOCS)})" in page or f'"{image.relative_to(DOCS)}"' in page
        assert 500 < image.stat().st_size < 40_000, name


def test_the_same_module_gives_the_same_image(maker: ModuleType, tmp_path: Path) -> None:
    for i in range(2):
        maker.draw("SelfAttention", ATTENTION["SelfAttention"], tmp_path / f"{i}.png")
    assert (tmp_path / "0.png").read_bytes() == (tmp_path / "1.png").read_bytes()


def test_times_come_from_the_newest_measurement(
    maker: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(maker, "RESULTS", tmp_path)
    assert maker.newest_times() == ({}, "")
    for day, ratio, level in (("2026-01-02", 1.23456, "P3"), ("2026-01-01", 9.0, "P4")):
        small = {"name": "SE", "model": "yolov5n", "level": "P3", "forward_ratio": ratio}
        rows = [small, small | {"model": "yolov5s", "forward_ratio": 5.0}, small | {"level": level, "name": "ECA"}]
        measured = {"rows": rows, "about": f"On {day}."}
        (tmp_path / f"attention-{day}.json").write_text(json.dumps(measured))
    times, about = maker.newest_times()
    assert times == {("SE", "P3"): "1.2", ("ECA", "P3"): "1.2", ("ECA", "P4"): "9"}
    assert "results/attention-2026-01-02.md" in about
    assert about.endswith("On 2026-01-02.")


@pytest.mark.parametrize("file", PAGES)
def test_when_and_what_is_known_of_each_module_is_up_to_date(maker: ModuleType, file: str) -> None:
    shown, words = _table((DOCS / file).read_text(encoding="utf-8"), WHEN), maker.PAGES[file]
    found = maker.findings(words)
    assert {name: row[1] for name, row in shown.items()} == {
        name: f"{words.translate(kind.card.when)}{words.gap}{maker.known(found.get(name, []), words)}"
        for name, kind in ATTENTION.items()
    }


def test_what_is_known_agrees_with_the_studies(maker: ModuleType) -> None:
    """The verdicts are those that the studies recorded, and every study with a module is there."""
    import catalogue_studies as studies

    found = maker.findings()
    for folder in sorted(path.parent for path in studies.RESULTS.glob("*/study.json")):
        study = json.loads((folder / "study.json").read_text(encoding="utf-8"))
        for edit in study["plan"]["insert"]:
            match = studies.EDIT.fullmatch(edit)
            verdict = study["decision"]["verdicts"][match["label"] or edit].replace(
                "the MDE", f"{study['plan']['mde']:g}"
            )
            texts = [text for text, page in found[match["module"]] if page == f"results/{folder.name}/report.md"]
            assert len(texts) == 1, edit
            assert texts[0].startswith(f"{verdict} "), edit
    measured = json.loads((studies.RESULTS / "swap.json").read_text(encoding="utf-8"))["settings"]["variants"]
    assert all(any(page == "results/swap.md" for _, page in found[name]) for name in measured)
    for text, page in (*maker.PAGES[PAGES[0]].other.values(), *maker.PAGES[PAGES[1]].other.values()):
        numbers = re.findall(r"\d\.\d+", text)
        assert numbers
        assert all(number in (DOCS / page).read_text(encoding="utf-8") for number in numbers)


class _Bodies(HTMLParser):
    """What the page states about each module: the attributes of its part of the table, and its text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.page = page
        self.found: dict[str, dict[str, str | None]] = {}
        self.text: dict[str, str] = {}
        self.outside: list[str] = []
        self.name = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        if tag == "tbody":
            self.name = values["data-name"] or ""
            self.found[self.name] = values
        if tag in ("script", "link", "img", "iframe"):
            self.outside += [v for k, v in attrs if k in ("src", "href", "srcset") and v]

    def handle_data(self, data: str) -> None:
        self.text[self.name] = self.text.get(self.name, "") + data


@pytest.fixture(scope="module", params=PAGES)
def bodies(request: pytest.FixtureRequest) -> _Bodies:
    parser = _Bodies(request.param)
    parser.feed((DOCS / request.param).with_suffix(".html").read_text(encoding="utf-8"))
    return parser


def test_the_html_page_needs_no_other_file(bodies: _Bodies) -> None:
    assert bodies.outside == []
    text = (DOCS / bodies.page).with_suffix(".html").read_text(encoding="utf-8")
    assert not re.search(r"@import|url\(|fetch\(|XMLHttp", text)


def test_the_html_page_is_up_to_date(maker: ModuleType, bodies: _Bodies) -> None:
    words = maker.PAGES[bodies.page]
    table, found = _table((DOCS / bodies.page).read_text(encoding="utf-8")), maker.findings(words)
    assert list(bodies.found) == list(ATTENTION)
    for name, values in bodies.found.items():
        card = ATTENTION[name].card
        stated = (values["data-family"], values["data-linear"], values["data-exports"], values["data-positions"])
        exports, linear = ("no" if card.obstacle else "yes"), ("yes" if card.linear else "no")
        assert stated == (card.family, linear, exports, " ".join(positions_of(name))), "run: docs/make_catalogue.py"
        flops = float(values["data-p4"] or "nan")  # of the same map as in the other page
        assert f"= {flops * 1e3:,.1f} M" in table[name][words.headings.index("FLOPs")]
        assert words.translate(card.when) in bodies.text[name]
        assert all(text in bodies.text[name] for text, _ in found.get(name, [(words.nothing, "")]))


@pytest.mark.parametrize("name", ["SE", "MultiHeadSelfAttention"])
def test_the_html_page_has_the_cost_of_an_entry(bodies: _Bodies, name: str) -> None:
    for level, flops in entry(name).flops.items():
        assert float(bodies.found[name][f"data-{level.lower()}"] or "nan") == flops / 1e9
