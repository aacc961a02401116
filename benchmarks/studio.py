"""Time the studio in a browser: from the request to the drawn graph, and from a click on Insert to the new graph.

    python benchmarks/studio.py [MODEL] [--chromium PATH] [--repeats N]

It needs playwright and a Chromium, and prints medians in milliseconds.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from playwright.sync_api import Page, sync_playwright

sys.path.append(str(Path(__file__).resolve().parents[1] / "studio"))

from chromium import CHROMIUM, launch, serve

PAINTED = "performance.getEntriesByName('first-contentful-paint')[0].startTime"


def milliseconds(since: float) -> float:
    """Time that has passed."""
    return 1000 * (time.perf_counter() - since)


def first_paint(page: Page, address: str) -> tuple[float, float]:
    """Times until the browser's first contentful paint, and until the graph is drawn."""
    began = time.perf_counter()
    page.goto(address)
    page.wait_for_selector(".layer")
    drawn = milliseconds(began)
    return float(page.evaluate(PAINTED)), drawn


def edit(page: Page) -> float:
    """Time of an inserted SE after the last layer of the backbone, which is undone again."""
    page.locator(".layer.backbone").last.click()
    page.locator(".catalogue button", has_text="SE").first.click()
    began = time.perf_counter()
    page.get_by_role("button", name="Insert SE", exact=True).click()
    page.wait_for_selector(".layer.fresh")
    took = milliseconds(began)
    page.get_by_role("button", name="Undo").click()
    page.wait_for_selector(".layer.fresh", state="detached")
    return took


def main() -> None:
    """Start a studio, time it, and stop it."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("model", nargs="?", default="yolov5n")
    parser.add_argument("--chromium", default=CHROMIUM)
    parser.add_argument("--repeats", type=int, default=7)
    asked = parser.parse_args()
    with (
        TemporaryDirectory() as folder,
        serve(asked.model, "--workspace", folder) as address,
        sync_playwright() as playwright,
    ):
        browser = launch(playwright, asked.chromium)
        page = browser.new_page(viewport={"width": 1280, "height": 860}, locale="en")
        paints = [first_paint(page, address) for _ in range(asked.repeats)]
        edits = [edit(page) for _ in range(asked.repeats)]
        browser.close()
    print(f"first paint {median(one for one, _ in paints):.0f} ms, graph {median(two for _, two in paints):.0f} ms")
    print(f"edit {median(edits):.0f} ms")


if __name__ == "__main__":
    main()
