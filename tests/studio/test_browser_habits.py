"""What a user does without a thought: keys only, a second tab, a reload, a file dropped anywhere."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("uvicorn")
pytest.importorskip("playwright.sync_api")

from browsing import PATIENCE, Server
from playwright import sync_api
from test_playing import video_in

from regard.api.edits import Edit

FOCUSED = "() => (document.activeElement.dataset.id ?? document.activeElement.innerText ?? '').trim()"


def drop(page: Any, file: Path, kind: str) -> None:
    page.evaluate(
        """([content, name, type]) => {
          const data = new DataTransfer();
          data.items.add(new File([Uint8Array.from(atob(content), (c) => c.charCodeAt(0))], name, { type }));
          document.querySelector(".graph").dispatchEvent(new DragEvent("drop", { bubbles: true, dataTransfer: data }));
        }""",
        [base64.b64encode(file.read_bytes()).decode(), file.name, kind],
    )


def test_an_edit_without_a_mouse(page: Any, server: Server) -> None:
    expect, keys = sync_api.expect, page.keyboard
    page.locator(".layer").first.wait_for()
    page.locator('.react-flow__node[tabindex="0"]').focus()  # the one layer at which Tab stops
    assert page.locator('.react-flow__node[tabindex="0"]').count() == 1
    for _ in range(9):
        keys.press("ArrowDown")
    assert page.evaluate(FOCUSED) == "sppf"
    outline = "getComputedStyle(document.activeElement).outlineStyle"
    assert page.evaluate(outline) != "none"
    keys.press("Enter")
    expect(page.locator(".inspector h2")).to_be_focused(timeout=PATIENCE)
    assert page.evaluate(FOCUSED) == "9 · sppf"
    keys.press("Escape")
    assert page.evaluate(FOCUSED) == "sppf"
    keys.press("Enter")
    page.wait_for_selector(".catalogue button")
    for _ in range(12):  # to the search, past the links and the buttons of the layer
        keys.press("Tab")
        if page.evaluate("document.activeElement.type") == "search":
            break
    keys.type("SE")
    keys.press("Tab")
    keys.press("Tab")
    assert page.evaluate(FOCUSED).startswith("SE")
    keys.press("Enter")
    page.get_by_role("button", name="Insert SE", exact=True).press("Enter")
    expect(page.locator(".inspector h2")).to_have_text("10 · sppf.se", timeout=PATIENCE)
    expect(page.locator(".inspector h2")).to_be_focused()
    assert server.bench.state.edits[0].command("a", "b") == "regard insert a SE --after sppf -o b"
    page.get_by_role("tab", name="Layer").press("ArrowRight")
    assert page.get_by_role("tab", name="YAML").get_attribute("aria-selected") == "true"
    page.get_by_role("button", name="Save").press("Enter")
    keys.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    expect(page.get_by_role("button", name="Save")).to_be_focused()


def test_a_second_tab_a_reload_and_what_is_unsaved(page: Any, server: Server) -> None:
    layers = page.locator(".layer")
    page.locator('.react-flow__node[data-id="sppf"]').click()
    page.locator(".catalogue button", has_text="SE").first.click()
    page.get_by_role("button", name="Insert SE", exact=True).click()
    sync_api.expect(layers).to_have_count(26, timeout=PATIENCE)
    page.reload()
    page.get_by_role("button", name="Undo").click()  # the history is that of the server
    sync_api.expect(layers).to_have_count(25, timeout=PATIENCE)
    page.get_by_role("button", name="Redo").click()
    sync_api.expect(layers).to_have_count(26, timeout=PATIENCE)
    facts = page.locator('.react-flow__node[data-id="sppf.se"] .layer-facts')
    assert facts.evaluate("(line) => line.scrollWidth <= line.clientWidth")
    page.get_by_role("button", name="Save").click()
    page.get_by_label("YAML with integers").check()
    page.get_by_label("Leave out gates").check()
    page.get_by_role("dialog").get_by_role("button", name="Save").click()
    page.get_by_text("Saved").wait_for()
    page.get_by_role("button", name="Open", exact=True).click()
    page.get_by_role("button", name="odd-one-out", exact=True).click()
    page.get_by_role("button", name="Cancel").click()  # the file is of another network
    assert server.bench.source == "yolov5n.pt"
    second = page.context.new_page()
    second.goto(server.address)
    second.wait_for_selector(".layer.fresh")
    second.get_by_role("button", name="Open", exact=True).click()
    second.get_by_role("button", name="odd-one-out", exact=True).click()
    second.get_by_role("button", name="Open without saving").click()
    sync_api.expect(second.locator(".layer")).to_have_count(8, timeout=PATIENCE)
    page.evaluate("window.dispatchEvent(new Event('focus'))")
    sync_api.expect(layers).to_have_count(8, timeout=PATIENCE)
    assert "Another page" in page.locator(".saved").inner_text()
    version = server.bench.version
    page.route("**/api/version", lambda route: route.fulfill(json=version))  # it has not asked since
    second.get_by_role("button", name="Open", exact=True).click()
    second.get_by_role("button", name="odd-one-out-se", exact=True).click()
    sync_api.expect(second.locator(".layer")).to_have_count(9, timeout=PATIENCE)
    page.get_by_role("button", name="Save").click()
    page.get_by_role("dialog").get_by_role("button", name="Save").click()  # a model that is not shown
    page.get_by_text("was not done").wait_for()
    assert list(server.workspace.glob("odd-one-out*")) == []
    second.close()


def test_a_video_dropped_on_the_graph_plays(page: Any, server: Server, tmp_path: Path) -> None:
    server.bench.open_model("odd-one-out", "odd-one-out")
    page.reload()
    page.wait_for_selector(".layer")
    drop(page, video_in(tmp_path), "")
    page.get_by_role("button", name="Play again").wait_for()
    assert page.locator(".viewer img").evaluate("(image) => [image.naturalWidth, image.naturalHeight]") == [128, 96]
    assert "scenes.avi · frame 4" in page.locator(".viewer figcaption").inner_text()
    assert "random" in page.locator(".look .hint").inner_text()


def test_an_idle_page_shows_what_changes_and_that_the_studio_has_ended(browser: Any, tmp_path: Path) -> None:
    server, context = Server(tmp_path), browser.new_context(viewport={"width": 1280, "height": 860}, locale="en")
    server.bench.open_model("odd-one-out", "odd-one-out")
    page = context.new_page()
    try:
        page.goto(server.address)
        page.get_by_text("none: random").wait_for(timeout=PATIENCE)
        with server.bench.changing():
            server.bench.apply(Edit("insert", "p4", "SE"))
        page.get_by_text("Another page has changed the model").wait_for(timeout=PATIENCE)
        page.get_by_role("tab", name="Runs").click()
    finally:
        server.stop()
    page.get_by_text("The studio does not answer").wait_for(timeout=PATIENCE)
    assert page.get_by_role("button", name="Open", exact=True).is_disabled()
    assert page.get_by_role("button", name="Measure").is_disabled()
    page.get_by_role("tab", name="YAML").click()
    page.get_by_text("regard insert odd-one-out SE --after p4").first.wait_for(timeout=PATIENCE)
    context.close()
