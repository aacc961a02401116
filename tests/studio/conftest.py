"""A studio with a client that has its token, on a small model with random weights."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi")
from starlette.testclient import TestClient

from regard.studio.app import make_app
from regard.studio.bench import Bench
from regard.studio.guard import Guard, names_of
from regard.studio.workspace import Workspace

TOKEN, PORT = "secret-token", 8123
HEADERS = {"x-regard-token": TOKEN, "host": f"127.0.0.1:{PORT}"}


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Fail what is skipped for want of a browser or of Node.js, where the page must be tested (`.ci/run`)."""
    report = yield
    needs_page = "browser" in getattr(item, "fixturenames", ()) or item.name == "test_the_parts_of_the_page"
    if report.skipped and needs_page and os.environ.get("PAGE_TESTS") == "required":
        report.outcome, report.longrepr = "failed", f"skipped, but PAGE_TESTS=required: {report.longrepr}"
    return report


class Studio:
    """Requests as the page sends them."""

    def __init__(self, path: Path, data: str | None = None) -> None:
        self.workspace, self.headers = path, HEADERS
        self.bench = Bench()
        guard = Guard(make_app(self.bench, Workspace(path, data)), token=TOKEN, port=PORT, names=names_of("127.0.0.1"))
        self.client = TestClient(guard, base_url=f"http://127.0.0.1:{PORT}", raise_server_exceptions=False)

    def get(self, path: str, **more: Any) -> Any:
        answer = self.client.get(f"/api/{path}", headers=HEADERS, **more)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def post(self, path: str, status: int = 200, **question: Any) -> Any:
        answer = self.client.post(f"/api/{path}", headers=HEADERS, json=question)
        assert answer.status_code == status, answer.text
        return answer.json()

    def upload(self, content: bytes, name: str = "a.png", status: int = 200) -> Any:
        answer = self.client.post(f"/api/image?name={name}", headers=HEADERS, content=content)
        assert answer.status_code == status, answer.text
        return answer.json()


@pytest.fixture
def studio(tmp_path: Path) -> Studio:
    return Studio(tmp_path)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    from browsing import Server

    running = Server(tmp_path_factory.mktemp("workspace"))
    yield running
    running.stop()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from browsing import launched

    yield from launched()


@pytest.fixture
def page(browser: Any, server: Any) -> Iterator[Any]:
    """The page with the graph of yolov5n; an error of the script fails the test."""
    from browsing import WEIGHTS, opened

    server.bench.open_model(WEIGHTS if WEIGHTS.is_file() else "yolov5n", "yolov5n.pt")
    yield from opened(browser, server, 1280)
