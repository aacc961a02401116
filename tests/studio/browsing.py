"""A studio that runs in a thread, and its page in Chromium."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("uvicorn")
pytest.importorskip("playwright.sync_api")

import uvicorn
from playwright import sync_api

from regard.studio.app import make_app
from regard.studio.bench import Bench
from regard.studio.guard import Guard, names_of
from regard.studio.serve import bind
from regard.studio.workspace import Workspace
from scripts import ROOT, load_script

chromium = load_script("studio/chromium.py")
SHARED = ROOT.parent / "shared"
WEIGHTS, PHOTOS = SHARED / "weights" / "yolov5n.pt", SHARED / "data" / "coco128" / "images" / "train2017"
AXE = ROOT / "studio" / "node_modules" / "axe-core" / "axe.min.js"
TOKEN = "browser-token"
OWN = ("http://127.0.0.1", "data:", "blob:")
PATIENCE = 60_000
"""Milliseconds until something must have appeared; machines that run tests are busy."""


class Server:
    """A studio that runs in a thread."""

    def __init__(self, workspace: Path) -> None:
        self.workspace, self.bench = workspace, Bench()
        self.socket = bind("127.0.0.1", 0, remote=False)
        port = self.socket.getsockname()[1]
        app = Guard(make_app(self.bench, Workspace(workspace)), token=TOKEN, port=port, names=names_of("127.0.0.1"))
        self.server = uvicorn.Server(uvicorn.Config(app, log_level="error", lifespan="off"))
        self.thread = threading.Thread(target=self.server.run, kwargs={"sockets": [self.socket]})
        self.thread.start()
        self.address = f"http://127.0.0.1:{port}/?token={TOKEN}"

    def stop(self) -> None:
        self.server.should_exit = True
        self.thread.join()
        self.socket.close()


def launched() -> Iterator[Any]:
    if chromium.CHROMIUM is None:
        pytest.skip("there is no Chromium")
    with sync_api.sync_playwright() as playwright:
        browser = chromium.launch(playwright)
        yield browser
        browser.close()


def opened(browser: Any, server: Server, width: int) -> Iterator[Any]:
    context = browser.new_context(viewport={"width": width, "height": 860}, locale="en")
    page, errors = context.new_page(), []
    page.set_default_timeout(PATIENCE)
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda message: errors.append(message.text) if "Content Security" in message.text else None)
    page.on("request", lambda asked: None if asked.url.startswith(OWN) else errors.append(asked.url))
    page.goto(server.address)
    page.wait_for_selector(".layer")
    yield page
    context.close()
    assert errors == []


def serious_faults(page: Any) -> list[Any]:
    """What axe finds on the page as it is shown now."""
    if not AXE.is_file():
        pytest.skip("axe-core is not there: npm ci in the folder studio")
    page.evaluate(AXE.read_text(encoding="utf-8"))
    found = page.evaluate("axe.run({ resultTypes: ['violations'] })")["violations"]
    return [
        (one["id"], [node["html"][:90] for node in one["nodes"]][:3])
        for one in found
        if one["impact"] in ("serious", "critical")
    ]
