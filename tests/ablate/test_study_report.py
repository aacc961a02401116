"""The report of a realistic study: whole, well-formed, sealed against its own names, and right where it counts."""

from __future__ import annotations

import csv
import io
import json
import re
from collections import Counter
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import cv2
import numpy as np
import pytest
from fake_study import HOSTILE, fake_study, small_data, unfinished, with_detections

from regard.ablate.data import image_sizes, read_detections, resampled_metric
from regard.ablate.folder import CostRecord, StudyRecord
from regard.ablate.report import Extras, build, write_report
from regard.ablate.report.document import Section, to_html
from regard.ablate.report.tables import paired_ratio, to_csv
from regard.ablate.statistics import draw_images, image_interval
from regard.errors import RegardError
from regard.evaluation import score

PNG = cv2.imencode(".png", np.zeros((7, 11, 3), np.uint8))[1].tobytes()
VOID = {"meta", "img", "br", "wbr"}


class Page(HTMLParser):
    """Reads a page, and fails on tags that are not closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.count: Counter[str] = Counter()
        self.attributes: list[tuple[str, str, str]] = []
        self.texts: list[str] = []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.count[tag] += 1
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    @property
    def text(self) -> str:
        return " ".join("".join(self.texts).split())


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> StudyRecord:
    return with_detections(fake_study(tmp_path_factory.mktemp("study")), small_data())


@pytest.fixture(scope="module")
def html(study: StudyRecord) -> str:
    data = small_data()
    maps = [("MultiHeadSelfAttention@p5 on image 3", PNG)]
    extras = Extras(data.splits["val"], data.names, {"SE@sppf": (0.01, 0.03)}, maps)
    return write_report(study, extras).read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def page(html: str) -> Page:
    return Page(html)


def test_the_verdict_stands_first(page: Page) -> None:
    text = page.text
    assert "Does attention in yolov5n pay" in text
    places = [text.index(part) for part in ("SE@sppf helps; CBAM@p4 hurts", "SE@sppf helps: +0.0", "GFLOPs", "sha256")]
    assert places == sorted(places)


def test_everything_is_there(page: Page) -> None:
    for title in (
        "Verdict",
        "Power",
        "Cost and gain",
        "Learning curves",
        "By class and by size",
        "Images that changed most",
        "Attention maps",
        "Gates",
        "Test split",
        "Runs",
        "Method",
        "Provenance",
    ):
        assert title in page.text, title
    for part in ("control of SE@sppf", "base again, other data order", "seeds are needed", "No test split", "8940bc2"):
        assert part in page.text, part
    assert "Latencies on cpu, as drawn are medians" in page.text
    for part in ("43 of 45 runs finished", "out of memory", "over images", "AP of medium objects", "torch", "1.09x"):
        assert part in page.text, part


def test_a_failure_stands_in_its_row(page: Page) -> None:
    assert "? can't tell (2 failed: out of memory: <script>alert(1)" in page.text


def test_a_name_of_ones_own_is_explained(study: StudyRecord) -> None:
    named = replace(study, plan={"insert": ["ECA@sppf", "mine = SE(reduction=8)@sppf"]})
    assert "mine: SE(reduction=8)@sppf" in build(named, Extras()).details
    assert not any("ECA" in line for line in build(named, Extras()).details)


def test_the_level_of_the_base_is_reported(study: StudyRecord) -> None:
    values = [run.metrics["ap"] for run in study.runs if run.variant == "base"]
    assert f"the base reaches {sum(values) / 5:.3f}" in build(study, Extras()).details
    assert not any("reaches" in line for line in build(unfinished(study), Extras()).details)


def test_no_power_is_certain(study: StudyRecord) -> None:
    sections = build(replace(study, mde=0.3), Extras()).sections
    reported = str(next(section for section in sections if section.title == "Power"))
    assert "of more than 0.99" in reported
    assert "'> 0.99'" in reported
    assert "1.00" not in reported


def test_a_measure_that_no_run_has_is_left_out(page: Page, study: StudyRecord) -> None:
    assert "AP of small objects" not in page.text
    runs = [replace(run, metrics={**run.metrics, "ap_small": 0.1}) for run in study.runs]
    measures = next(s for s in build(replace(study, runs=runs), Extras()).sections if s.title == "By class and by size")
    assert "AP of small objects" in str(measures)


def test_names_are_no_markup(html: str, page: Page) -> None:
    assert HOSTILE in page.text
    assert HOSTILE not in html
    assert not page.count["b"] + page.count["script"]


def test_the_page_needs_nothing_else(html: str, page: Page) -> None:
    """Nothing is loaded, from the network or from other files."""
    loaded = [value for _, name, value in page.attributes if name in ("src", "href", "srcset", "data", "action")]
    assert loaded
    assert all(re.match(r"data:image/(png|jpeg);base64,", value) for value in loaded)
    assert not page.count["link"]
    assert "@import" not in html
    assert not re.search(r"url\((?!#)", html)  # clip paths of figures


def test_the_page_is_accessible(page: Page) -> None:
    images = [name for tag_, name, _ in page.attributes if tag_ == "img" and name == "alt"]
    assert len(images) == page.count["img"] > 3
    said = [value for tag_, name, value in page.attributes if tag_ == "svg" and name == "aria-label"]
    assert len(said) == page.count["svg"]
    assert all(said)
    assert ("html", "lang", "en") in page.attributes
    assert page.count["h1"] == 1


def test_light_and_dark_wide_and_narrow(html: str) -> None:
    for needed in ("prefers-color-scheme: dark", "max-width: 640px", "width=device-width", 'class="narrow"'):
        assert needed in html
    inside = "".join(re.findall(r"<svg.*?</svg>", html, re.DOTALL))
    assert not re.search(r"#[0-9a-f]{6}\b", inside)  # figures take all their colours from the page's scheme
    assert len(re.findall(r'id="([^"]+)"', html)) == len(set(re.findall(r'id="([^"]+)"', html)))


def test_markdown_has_the_same_tables_and_its_charts(study: StudyRecord, html: str) -> None:
    text = (study.folder / "report.md").read_text(encoding="utf-8")
    assert text.startswith("# Does attention")
    assert "▲ helps" in text
    assert "\\<b\\>A&B\\</b\\>\\|x" in text
    for line in text.splitlines():
        if line.startswith("| SE@sppf | ▲"):
            assert line.replace("\\|", "").count("|") == 10
    assert "<b>" not in text
    assert re.search(r"!\[AP\w* on val of [^\]]+ over \d+ epochs, ending at", text)  # in words too
    assert "![](" not in text
    charts = re.findall(r"\]\((\S+\.svg)\)", text)
    assert {"forest.svg", "pareto.svg", "curves-1.svg"} <= set(charts)
    for chart in charts:
        file = study.folder / chart
        assert ElementTree.parse(file).getroot().tag.endswith("svg")
        # On every page and in every viewer: on a white ground, in colours that need no variables.
        assert '<rect width="100%" height="100%" fill="#ffffff"/>' in file.read_text()
        assert "var(" not in file.read_text()
    assert html


def test_csv_has_every_run(study: StudyRecord, html: str) -> None:
    rows = list(csv.DictReader(io.StringIO((study.folder / "results.csv").read_text())))
    assert len(rows) == len(study.runs) == 45
    for row, run in zip(rows, study.runs, strict=True):
        assert (row["variant"], int(row["seed"]), row["status"]) == (run.variant, run.seed, run.status)
        assert row["ap"] == (str(run.metrics["ap"]) if run.metrics else "")
    assert {"ap/RBC", "gate/sppf-se", "error"} <= set(rows[0])
    assert "test/ap" not in rows[0]
    for row in rows:
        cost = study.costs[row["variant"]]
        assert float(row["cost/latency_ms"]) == np.median(cost.latency_ms)
        assert [int(row[f"cost/{name}"]) for name in ("parameters", "flops")] == [cost.parameters, cost.flops]
    tested = replace(study, test={"SE@sppf": {1: {"ap": 0.625}}}, costs={})
    rows = list(csv.DictReader(io.StringIO(to_csv(tested))))
    assert [(row["variant"], row["seed"]) for row in rows if row["test/ap"]] == [("SE@sppf", "1")]
    assert "cost/flops" not in rows[0]
    assert html


def test_the_choice_of_the_best_epoch_is_reported(study: StudyRecord) -> None:
    assert "chosen on val" not in to_html(build(study, Extras()))
    chosen = to_html(build(replace(study, plan={**study.plan, "epoch": "best"}), Extras()))
    assert "of each run's best epoch, chosen on val itself" in Page(chosen).text
    assert "every value is somewhat too high" in Page(chosen).text


def test_curves_that_cannot_be_drawn_say_why(study: StudyRecord) -> None:
    def reported(of: StudyRecord) -> str:
        return str(next(section for section in build(of, Extras()).sections if section.title == "Learning curves"))

    assert "Runs record AP of large objects only at their end" in reported(replace(study, metric="ap_large"))
    assert "No finished run has any" in reported(unfinished(study))


def test_a_peak_that_all_share_is_reported_once(study: StudyRecord) -> None:
    def costs(of: StudyRecord) -> str:
        return str(next(section for section in build(of, Extras()).sections if section.title == "Cost and gain"))

    assert "'peak MiB, one image'" in costs(study)
    same = {name: replace(cost, peak_mib=61.27) for name, cost in study.costs.items()}
    alike = costs(replace(study, costs=same))
    assert "'peak MiB, one image'" not in alike
    assert "each needs 61.3 MiB at its peak" in alike


def test_with_a_test_split(tmp_path: Path) -> None:
    text = Page(write_report(fake_study(tmp_path, with_test=True)).read_text()).text
    assert "No test split" not in text
    assert "Evaluated once, after the verdicts" in text


def test_before_anything_has_finished(tmp_path: Path) -> None:
    text = Page(write_report(unfinished(fake_study(tmp_path))).read_text()).text
    assert "Can't tell for SE@sppf, ECA@sppf" in text
    assert "0 of 45 runs finished" in text
    assert "no finished pair" in text


@pytest.mark.parametrize("seeds", [(4,), (4, 9)])
def test_few_seeds(tmp_path: Path, seeds: tuple[int, ...]) -> None:
    text = Page(write_report(fake_study(tmp_path, seeds=seeds)).read_text()).text
    assert ("no interval" in text) == (len(seeds) == 1)


def test_a_study_of_the_noise_alone(tmp_path: Path) -> None:
    study = fake_study(tmp_path)
    alone = replace(study, variants=[study.variants[0], study.variants[-1]])
    assert "There is no variant to judge." in Page(write_report(alone).read_text()).text


def test_detections_come_back_as_they_were(study: StudyRecord) -> None:
    """The AP of what was read is that of what was written, and the interval over images contains the difference."""
    data = small_data()
    records = data.splits["val"]
    sizes = image_sizes(records)
    ap = {}
    for name in ("base", "SE@sppf"):
        runs = study.finished(name).values()
        ap[name] = np.mean([score(read_detections(run, sizes, data.names), records, data.names).ap for run in runs])
    weights = draw_images(len(records), 200)
    own, base = (
        np.array([resampled_metric(run, "ap", weights, records, data.names) for run in study.finished(name).values()])
        for name in ("SE@sppf", "base")
    )
    low, high = image_interval(own, base, 0.95)
    assert low < ap["SE@sppf"] - ap["base"] < high
    assert resampled_metric(study.runs[0], "recall", weights, records, data.names) is None


def test_each_image_has_its_own_detections(tmp_path: Path) -> None:
    """Image ids count from 1, boxes are left, top, width, height, and the best score comes first."""
    run = replace(fake_study(tmp_path).runs[0], folder=tmp_path)
    rows = [
        {"image_id": 2, "category_id": 1, "score": 0.25, "bbox": [1, 2, 3, 5]},
        {"image_id": 2, "category_id": 0, "score": 0.5, "bbox": [7, 11, 13, 17]},
    ]
    (tmp_path / "val.json").write_text(json.dumps(rows))
    first, second = read_detections(run, [(97, 211), (89, 101)], ["a", "b"])
    assert (len(first), first.image_size, second.image_size) == (0, (97, 211), (89, 101))
    assert second.boxes_xyxy.tolist() == [[7, 11, 20, 28], [1, 2, 4, 7]]
    assert (second.scores.tolist(), second.class_ids.tolist()) == ([0.5, 0.25], [0, 1])


@pytest.mark.parametrize(
    "text",
    ["{", '[{"image_id": 1}]', '[{"image_id": 99, "category_id": 0, "score": 1, "bbox": [0, 0, 1, 1]}]', "[1]"],
)
def test_damaged_detections_are_reported(tmp_path: Path, text: str) -> None:
    run = replace(fake_study(tmp_path).runs[0], folder=tmp_path)
    with pytest.raises(RegardError, match=r"val\.json"):
        read_detections(run, [(128, 128)], ["a"])
    (tmp_path / "val.json").write_text(text)
    with pytest.raises(RegardError, match=r"val\.json"):
        read_detections(run, [(128, 128)], ["a"])


def test_latency_is_paired() -> None:
    """A machine that slows down for both leaves the ratio as it is."""
    base, own = CostRecord(1, 1, (2.0, 4.0, 8.0), 1, 1), CostRecord(1, 1, (3.0, 20.0, 12.0), 1, 1)
    assert paired_ratio(own, base) == (1.5, 1.5, 5.0)


def test_many_classes_are_cut_to_those_that_changed(tmp_path: Path) -> None:
    study = fake_study(tmp_path)
    runs = [
        replace(r, per_class={f"c{i}": 0.3 + (i / 100 if r.variant != "base" else 0) for i in range(37)})
        for r in study.runs
    ]
    text = to_html(build(replace(study, runs=runs), Extras()))
    assert "the 30 of 37 that changed most" in text
    assert ">c36<" in text
    assert ">c6<" not in text


def test_sections_have_no_empty_titles(study: StudyRecord) -> None:
    assert all(isinstance(section, Section) and section.title for section in build(study, Extras()).sections)
