"""Journeys through the page in Chromium, against a server in this process."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("uvicorn")
pytest.importorskip("playwright.sync_api")

import cv2
from browsing import PATIENCE, PHOTOS, WEIGHTS, Server, opened, serious_faults
from playwright import sync_api

import regard
from regard.data.synthetic import scene
from regard.graph.renumber import integer_yaml


def layer(page: Any, name: str) -> Any:
    return page.locator(f'.react-flow__node[data-id="{name}"]')


def insert(page: Any, name: str, module: str) -> None:
    layer(page, name).click()
    page.get_by_role("searchbox", name="Find a module").fill(module)
    page.locator(".catalogue button", has_text=module).first.click()
    page.get_by_role("button", name=f"Insert {module}", exact=True).click()
    page.wait_for_selector(".layer.fresh")


def test_attention_is_inserted_undone_and_made_again(page: Any, server: Server) -> None:
    assert page.locator(".layer").count() == 25
    assert "token" not in page.url
    insert(page, "sppf", "SE")
    assert page.locator(".layer").count() == 26
    assert layer(page, "sppf.se").get_attribute("aria-pressed") == "true"
    edited = regard.insert(server.bench.base.built, "SE", after="sppf")
    totals = page.locator(".totals").inner_text()
    assert f"{sum(p.numel() for p in edited.parameters()):,}" in totals
    assert "349 of 349 tensors" in totals
    page.get_by_role("tab", name="YAML").click()
    after = page.get_by_role("region", name="After").locator("pre")
    shown = "\n".join(
        "".join(line.locator("span:not(.number), mark").all_inner_texts()) for line in after.locator(".line").all()
    )
    assert shown.strip() == integer_yaml(edited.spec, ungated=True).strip()
    assert after.locator("mark").all_inner_texts() == ["15", "11", "18", "21", "24"]
    assert after.locator(".line.new").count() == 1
    command = page.get_by_role("region", name="Command line").locator("pre").inner_text()
    assert command == "regard insert yolov5n.pt SE --after sppf -o edited.safetensors"
    page.get_by_role("button", name="Undo").click()
    sync_api.expect(page.locator(".layer")).to_have_count(25, timeout=PATIENCE)
    page.keyboard.press("Control+Shift+Z")
    sync_api.expect(page.locator(".layer")).to_have_count(26, timeout=PATIENCE)


def test_what_is_saved_is_the_edited_model(page: Any, server: Server) -> None:
    insert(page, "p4", "ECA")
    page.get_by_role("button", name="Save").click()
    page.get_by_label("YAML with names").check()
    page.get_by_label("Name", exact=True).fill("with-eca")
    page.get_by_role("dialog").get_by_role("button", name="Save").click()
    page.wait_for_selector(".saved")
    assert regard.load(server.workspace / "with-eca.yaml").spec.layer("p4.eca").inputs == ("p4",)


def drop(page: Any, text: str, name: str) -> None:
    page.evaluate(
        """([text, name]) => {
          const data = new DataTransfer();
          data.items.add(new File([text], name));
          document.querySelector(".app").dispatchEvent(new DragEvent("drop", { bubbles: true, dataTransfer: data }));
        }""",
        [text, name],
    )


def test_rows_that_read_themselves_or_none_are_drawn_and_corrected(page: Any) -> None:
    text = integer_yaml(regard.load("yolov5n").spec)
    deleted = "\n".join(line for line in text.splitlines() if "SPPF" not in line)
    drop(page, deleted, "deleted.yaml")
    page.get_by_text("row 23 reads row 23").wait_for()
    assert page.locator(".layer").count() == 24
    wires = page.locator(".wire.wrong").evaluate_all("wires => wires.map((wire) => wire.dataset.id)")
    assert {wire.partition(" ")[2] for wire in wires} == {
        *(f"detect {slot}" for slot in range(3)),
        "head.p4_merge 1",
        "head.p5_merge 1",
    }
    assert "detect detect 2" in wires
    assert "Line 35" in page.locator(".findings").inner_text()
    page.get_by_role("button", name="Apply all corrections").click()
    page.wait_for_selector(".findings", state="detached")
    drop(page, text.replace("[[-1, 14], 1, Concat", "[[-1, -30], 1, Concat"), "none.yaml")
    page.get_by_role("button", name="Open without saving").click()
    page.get_by_text("row 19 reads row -30").wait_for()
    assert page.locator(".nothing").inner_text() == "no row -30"
    assert page.locator(".wire.wrong").count() == 1
    assert page.locator(".findings ins").inner_text() == "[[-1, 14], 1, Concat, [1]]"
    assert page.locator(".findings del").evaluate("row => getComputedStyle(row).textDecorationLine") == "none"


def test_a_miswired_file_is_dropped_and_corrected(page: Any, server: Server) -> None:
    text = integer_yaml(regard.insert(server.bench.base.built, "SE", after="sppf", gate=False).spec)
    wrong = text.replace("[[-1, 15], 1, Concat, [1]]", "[[-1, 14], 1, Concat, [1]]  # cat")
    assert wrong != text
    drop(page, wrong, "<b>mine.yaml")
    page.wait_for_selector(".findings")
    assert page.locator(".wire.wrong").count() == 1
    line = 1 + next(i for i, row in enumerate(wrong.splitlines()) if "# cat" in row)
    assert f"Line {line}" in page.locator(".findings").inner_text()
    assert "<b>mine.yaml" in page.locator("header").inner_text()
    page.get_by_role("button", name="Apply the corrected row").click()
    page.wait_for_selector(".findings", state="detached")
    assert server.bench.state.text == text.replace("[[-1, 15], 1, Concat, [1]]", "[[-1, 15], 1, Concat, [1]]  # cat")
    assert page.locator(".wire.wrong").count() == 0


def test_an_image_its_boxes_and_an_attention_map(page: Any, server: Server, tmp_path: Path) -> None:
    photo = PHOTOS / "000000000009.jpg"
    if not (photo.is_file() and WEIGHTS.is_file()):
        photo = tmp_path / "scene.png"
        cv2.imwrite(str(photo), cv2.cvtColor(scene(0, "val", 0).read(), cv2.COLOR_RGB2BGR))
    insert(page, "p5", "MultiHeadSelfAttention")
    page.get_by_role("tab", name="Look").click()
    page.get_by_label("Choose an image or video").set_input_files(photo)
    page.wait_for_selector(".viewer img")
    for conf in (0.25, 0.6):
        page.get_by_label("Confidence").fill(str(conf))
        found = regard.predict(server.bench.state.built, photo, conf=conf)
        assert isinstance(found, regard.Detections)
        sync_api.expect(page.locator(".box")).to_have_count(len(found), timeout=PATIENCE)
        scores = page.locator(".box").evaluate_all("boxes => boxes.map((box) => Number(box.dataset.score))")
        assert scores == pytest.approx(found.scores.tolist(), abs=1e-5)
    page.get_by_label("Show").select_option("map")
    page.wait_for_selector(".thumbs button >> nth=4")
    page.locator(".stage").click(position={"x": 30, "y": 40})
    page.wait_for_selector(".query circle")
    painted = (
        "canvas => canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data.some((x) => x > 0)"
    )
    assert page.locator(".overlay canvas").evaluate(painted)
    page.get_by_label("Base next to edited").check()
    page.get_by_text("it has no such layer").wait_for()
    assert page.locator(".fault").count() == 0
    page.get_by_label("Show").select_option("boxes")
    assert page.locator(".viewer").count() == 2


def test_the_graph_is_used_by_the_keyboard(page: Any) -> None:
    layer(page, "p3").focus()
    page.keyboard.press("Enter")
    page.wait_for_selector(".inspector h2")
    assert page.locator(".inspector h2").inner_text() == "4 · p3"
    page.get_by_role("searchbox", name="Find a layer").fill("sppf")
    page.wait_for_selector(".layer.dim")
    assert page.locator(".layer:not(.dim)").count() == 1


def test_the_search_selects_hits_and_shows_them(browser: Any, server: Server) -> None:
    server.bench.open_model("yolov5n", "yolov5n")
    for page in opened(browser, server, 420):
        search, heading = page.get_by_role("searchbox", name="Find a layer"), page.locator(".inspector h2")
        readable = 45  # height in pixels
        assert layer(page, "stem").bounding_box()["height"] > readable
        page.get_by_role("tab", name="YAML").click()
        search.fill("concat")
        for keys, found in (("Enter", "12 · head.p4_concat"), ("Enter", "16 · head.p3_concat")):
            search.press(keys)
            sync_api.expect(heading).to_have_text(found, timeout=PATIENCE)
            sync_api.expect(layer(page, found.partition(" · ")[2])).to_be_in_viewport(ratio=0.9)
        search.press("Shift+Enter")
        sync_api.expect(heading).to_have_text("12 · head.p4_concat")
        assert layer(page, "head.p4_concat").bounding_box()["height"] > readable
        search.press("Escape")
        sync_api.expect(search).to_have_value("")
        assert page.locator(".layer.dim").count() == 0


def test_the_graph_is_seen_whole_whatever_is_above_it(browser: Any, server: Server) -> None:
    server.bench.open_model("yolov5n", "yolov5n")
    for page in opened(browser, server, 1440):
        assert page.locator("header").bounding_box()["height"] < 60
        drop(page, "nc: [", "wrong.yaml")
        page.get_by_text("wrong.yaml: Line").wait_for()
        page.get_by_text("(yolov5n is still open.)").wait_for()
        sync_api.expect(layer(page, "head.p5_out")).to_be_in_viewport(ratio=0.99)
        titles = page.locator(".heading").all_inner_texts()
        assert titles == ["Backbone", "Neck: top-down", "Neck: bottom-up", "Detection head"]


@pytest.mark.parametrize("width", [1280, 420])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_it_is_accessible_in_both_languages(theme: str, width: int, browser: Any, server: Server) -> None:
    server.bench.open_model("odd-one-out-se", "odd-one-out-se")
    for page in opened(browser, server, width):
        page.get_by_label("Theme").select_option(theme)
        page.get_by_label("Language").select_option("zh")
        assert page.locator("html").get_attribute("lang") == "zh-Hant-TW"
        layer(page, "p3").click()
        page.wait_for_selector(".catalogue button")
        page.locator(".catalogue button").first.click()
        assert page.get_by_role("button", name="插入 SE").count() == 1
        for tab in ("層", "YAML", "觀察", "資料", "訓練", "教學"):
            page.get_by_role("tab", name=tab).click()
            serious = serious_faults(page)
            assert serious == [], json.dumps(serious, indent=1)
            assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_a_page_without_the_token_says_so(browser: Any, server: Server) -> None:
    context = browser.new_context(locale="en")
    page = context.new_page()
    page.goto(server.address.partition("?")[0])
    page.wait_for_selector(".fault", timeout=PATIENCE)
    assert "token" in page.locator(".fault").inner_text()
    context.close()
