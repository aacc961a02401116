"""Make the screenshots of docs/studio.md anew: `python docs/make_studio.py yolov5n.pt path/to/coco128`.

It needs playwright and a Chromium, starts a studio in a temporary workspace, walks through it as a newcomer would, and
writes docs/images/studio/. Look at every image afterwards.
"""

from __future__ import annotations

import argparse
import csv
import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
from PIL import Image
from playwright.sync_api import Page, sync_playwright

import regard
from regard.graph.renumber import integer_yaml

sys.path.append(str(Path(__file__).resolve().parents[1] / "studio"))

from chromium import CHROMIUM, launch, serve

DOCS = Path(__file__).resolve().parent
IMAGES = DOCS / "images" / "studio"
CELLS, STUDY = DOCS / "images" / "tutorial" / "cells.png", DOCS / "results" / "bccd-attention"
WORDS, COSTS = ("variant", "role", "seed", "status", "error"), ("seconds", "peak_mib")
"""Columns of the table of a study."""
SIZE = {"width": 1280, "height": 860}
PATIENCE = 90_000
"""Milliseconds that an analysis may take."""
COLOURS = 128
"""Of an image; fewer make it smaller."""


def main() -> None:
    """Make all screenshots."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("weights", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("--chromium", default=CHROMIUM)
    asked = parser.parse_args()
    with (
        TemporaryDirectory() as folder,
        serve("yolov5n.pt", "--workspace", ".", folder=fill(Path(folder), asked.weights, asked.data)) as address,
        sync_playwright() as playwright,
    ):
        browser = launch(playwright, asked.chromium)
        page = browser.new_context(viewport=SIZE, locale="en", color_scheme="light").new_page()
        page.set_default_timeout(PATIENCE)
        page.goto(address)
        for name, walk in WALKS.items():
            walk(page)
            shoot(page, name)
        browser.close()


def fill(workspace: Path, weights: Path, data: Path) -> Path:
    """Put into a workspace what the walks open."""
    shutil.copy(weights, workspace / "yolov5n.pt")
    shutil.copy(CELLS, workspace / "cells.png")
    shutil.copytree(data, workspace / "coco128")
    fill_study(workspace / "runs" / "bccd-attention")
    text = integer_yaml(regard.insert("yolov5n", "SE", after="sppf", gate=False).spec)
    (workspace / "by-hand.yaml").write_text(text.replace("[[-1, 15], 1, Concat, [1]]", "[[-1, 14], 1, Concat, [1]]"))
    return workspace


def fill_study(folder: Path) -> None:
    """Write a study whose table has all that its runs gave."""
    folder.mkdir(parents=True)
    shutil.copy(STUDY / "study.json", folder)
    (folder / "report.html").touch()  # it has ended
    places = {one["name"]: one["place"] for one in json.loads((STUDY / "study.json").read_text())["variants"]}
    with (STUDY / "results.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            run = folder / "runs" / places[row["variant"]] / f"seed-{row['seed']}"
            run.mkdir(parents=True)
            values = {name: float(value) for name, value in row.items() if value and name not in WORDS}
            parts = {part: _below(values, f"{part}/") for part in ("ap", "gate")}
            metrics = {name: value for name, value in values.items() if "/" not in name and name not in COSTS}
            result = {"metrics": metrics, "per_class": parts["ap"], "gates": parts["gate"]}
            (run / "result.json").write_text(json.dumps(result | {name: values[name] for name in COSTS}))


def _below(values: dict[str, float], prefix: str) -> dict[str, float]:
    return {name.removeprefix(prefix): value for name, value in values.items() if name.startswith(prefix)}


def shoot(page: Page, name: str) -> None:
    """Write what is shown, in few colours."""
    page.wait_for_timeout(1500)  # for pictures, and the predicted latency
    path = IMAGES / f"{name}.png"
    page.screenshot(path=path)
    pixels = cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)
    Image.fromarray(pixels).quantize(COLOURS, dither=Image.Dither.NONE).save(path, optimize=True)
    print(f"{path.name}: {path.stat().st_size / 1000:.0f} kB")


def layer(page: Page, name: str) -> None:
    """Select a layer of the graph."""
    page.locator(f'.react-flow__node[data-id="{name}"]').click()


def tab(page: Page, name: str) -> None:
    """Open a panel."""
    page.get_by_role("tab", name=name).click()


def insert(page: Page, after: str, module: str) -> None:
    """Insert a module behind a gate."""
    layer(page, after)
    page.get_by_role("searchbox", name="Find a module").fill(module)
    page.locator(".catalogue button", has_text=module).first.click()
    page.get_by_role("button", name=f"Insert {module}", exact=True).click()
    page.wait_for_selector(".layer.fresh")


def reopen(page: Page, source: str) -> None:
    """Open a model, and leave edits unsaved."""
    page.get_by_role("button", name="Open", exact=True).click()
    page.get_by_role("button", name=source, exact=True).click()
    page.get_by_role("button", name="Open without saving").click()
    page.wait_for_selector(".layer.fresh", state="detached")


def inserted(page: Page) -> None:
    """SE after sppf."""
    page.wait_for_selector(".layer")
    insert(page, "sppf", "SE")
    page.get_by_text("predicted").wait_for()
    page.wait_for_function("document.querySelectorAll('.catalogue small').length > 20")


def inserted_in_chinese(page: Page) -> None:
    """The same in Traditional Chinese, dark."""
    page.get_by_label("Theme").select_option("dark")
    page.get_by_label("Language").select_option("zh")
    page.get_by_text("預測").first.wait_for()


def shifted(page: Page) -> None:
    """The YAML before and after."""
    page.get_by_label("語言").select_option("en")
    page.get_by_label("Theme").select_option("light")
    tab(page, "YAML")
    for region in ("Before", "After"):
        page.get_by_role("region", name=region).locator("pre").evaluate("(pre) => pre.scrollTo(0, pre.scrollHeight)")


def map_of(page: Page) -> None:
    """The weights of one position in an attention layer that was just inserted."""
    insert(page, "p5", "MultiHeadSelfAttention")
    tab(page, "Look")
    page.get_by_label("Workspace").select_option("cells.png")
    page.get_by_label("Show").select_option("map")
    page.get_by_role("combobox", name="Layer", exact=True).select_option("p5.multiheadselfattention")
    page.locator(".stage").click(position={"x": 180, "y": 150})
    page.wait_for_selector(".query circle")


def found(page: Page) -> None:
    """What the model finds wrongly."""
    reopen(page, "yolov5n.pt")
    tab(page, "Data")
    page.get_by_label("Data set", exact=True).fill("coco128")
    page.get_by_role("button", name="Open data set").click()
    page.get_by_role("button", name="Find errors").click()
    page.wait_for_selector(".mistakes img")
    page.get_by_label("Kind of error").select_option("background")
    page.get_by_role("button", name="Find errors").scroll_into_view_if_needed()


def judged(page: Page) -> None:
    """A study with its verdict."""
    tab(page, "Runs")
    page.get_by_role("button", name="runs/bccd-attention").click()
    page.wait_for_selector("img.forest")


def tutored(page: Page) -> None:
    """The first chapter, after its step was made."""
    tab(page, "Tutorial")
    page.get_by_role("button", name="Do this step in the graph").first.click()
    page.wait_for_selector(".layer.fresh")
    tab(page, "Tutorial")


def miswired(page: Page) -> None:
    """A forgotten index."""
    reopen(page, "by-hand.yaml")
    page.wait_for_selector(".findings")
    tab(page, "Layer")


def compared(page: Page) -> None:
    """Two models of the zoo."""
    page.get_by_role("button", name="Compare models").click()
    page.get_by_label("First model").select_option("yolov5n")
    page.get_by_label("Second model").select_option("yolov5n-se")
    page.get_by_role("dialog").get_by_role("button", name="Compare").click()
    page.wait_for_selector("dialog .layer")


WALKS: dict[str, Callable[[Page], None]] = {
    "inserted": inserted,
    "inserted-zh": inserted_in_chinese,
    "yaml": shifted,
    "map": map_of,
    "errors": found,
    "study": judged,
    "tutorial": tutored,
    "miswired": miswired,
    "compare": compared,
}


if __name__ == "__main__":
    main()
