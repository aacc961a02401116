"""Data, trainings and studies in the page, from the form to the errors and the verdict."""

from __future__ import annotations

import json
import re
import shutil
from typing import Any

import pytest

pytest.importorskip("uvicorn")
pytest.importorskip("playwright.sync_api")

from browsing import PATIENCE, Server, opened, serious_faults
from playwright import sync_api

from regard.ablate.folder import read_study
from regard.ablate.format import headline
from regard.ablate.verdict import analyse
from regard.data.formats import load_data

DATA = "synthetic:context?train=8&val=4&test=4"


def fill(page: Any, **fields: str) -> None:
    page.get_by_label("Data set", exact=True).fill(DATA)
    for name, value in fields.items():
        page.get_by_label(name, exact=True).fill(value)


@pytest.mark.slow
def test_a_study_from_the_form_to_its_verdict(page: Any, server: Server) -> None:
    server.bench.open_model("odd-one-out", "odd-one-out")
    page.reload()
    page.get_by_role("tab", name="Runs").click()
    page.get_by_text("Start a training", exact=True).click()
    fill(page, epochs="400", imgsz="64", batch="4")
    page.get_by_label("Folder in runs/").fill("long")
    page.get_by_role("button", name="Start a training").click()
    page.get_by_text("Start a training", exact=True).first.click()
    page.get_by_text("Start a study", exact=True).click()
    fill(page, epochs="1", imgsz="64", batch="4", seeds="2", insert="SE@p4")
    page.get_by_label("Folder in runs/").fill("short")
    page.get_by_role("button", name="Start a study").click()
    page.get_by_role("region", name="Waiting").wait_for()  # until the training ends
    page.get_by_role("button", name="runs/long").click()
    page.wait_for_selector(".curve")
    page.get_by_role("button", name="Stop", exact=True).click()
    page.get_by_role("button", name="Resume").wait_for()
    page.get_by_role("button", name="runs/short").click()
    shown = page.locator(".headline")
    sync_api.expect(page.locator("tr[aria-selected=true]")).to_contain_text("finished", timeout=5 * PATIENCE)
    study = read_study(server.workspace / "runs" / "short")
    sync_api.expect(shown).to_have_text(headline(study, analyse(study)))
    page.wait_for_selector("img.forest")
    assert page.locator("img.forest").evaluate("image => image.naturalWidth") > 0
    serious = serious_faults(page)
    assert serious == [], json.dumps(serious, indent=1)


@pytest.mark.slow
def test_errors_of_the_model_with_their_images(page: Any, server: Server) -> None:
    server.bench.open_model("odd-one-out", "odd-one-out")
    page.reload()
    page.get_by_role("tab", name="Data").click()
    page.get_by_label("Data set", exact=True).fill(DATA)
    page.get_by_role("button", name="Open data set").click()
    page.get_by_role("button", name="Check all images").click()
    page.get_by_text("No problems found.").wait_for()
    page.get_by_label("Image size").fill("64")
    page.get_by_role("button", name="Find errors").click()
    page.wait_for_selector(".mistakes img")
    page.get_by_label("Class", exact=True).select_option("odd")
    sync_api.expect(page.locator(".mistakes li")).to_have_count(4, timeout=PATIENCE)
    assert serious_faults(page) == []
    page.locator(".mistakes button").first.click()
    page.wait_for_selector("dialog .frame")
    labels = load_data(DATA).splits["val"][0].class_ids
    assert page.locator("dialog .label").count() == len(labels)
    assert serious_faults(page) == []


def test_all_columns_of_the_runs_fit_next_to_the_graph(browser: Any, server: Server) -> None:
    folder = server.workspace / "runs" / "a-long-name-of-a-run-after-sppf"
    folder.mkdir(parents=True)
    (folder / "run.json").write_text(json.dumps({"status": "finished", "settings": {"epochs": 100, "imgsz": 1280}}))
    (folder / "results.csv").write_text(
        "epoch,val/ap,val/ap50\n" + "".join(f"{i},0.12345,0.23456\n" for i in range(1, 101))
    )
    server.bench.open_model("odd-one-out", "odd-one-out")
    for page in opened(browser, server, 1280):
        for language in ("en", "zh"):
            page.get_by_label(re.compile("Language|語言")).select_option(language)
            page.get_by_role("tab", name=re.compile("Runs|訓練")).click()
            page.get_by_role("button", name=folder.name).first.wait_for()
            table = page.locator(".scroll", has_text=folder.name)
            assert table.evaluate("(table) => table.scrollWidth <= table.clientWidth"), language
    shutil.rmtree(folder)
