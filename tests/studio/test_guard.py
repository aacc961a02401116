"""Other pages, other names, other folders and too much content are rejected."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi")
from starlette.types import Message

from regard.errors import RegardError
from regard.studio.guard import MOST_FILM_BYTES, MOST_IMAGE_BYTES, MOST_JSON_BYTES, Guard, inside, names_of

PORT, TOKEN = 8123, "secret-token"
OWN = {"host": f"127.0.0.1:{PORT}", "x-regard-token": TOKEN}


def status(path: str = "/api/files", method: str = "GET", any_address: bool = False, **headers: str) -> int:
    """Status of a request; 200 if it is passed on."""
    sent: list[Message] = []

    async def app(_scope: Any, receive: Any, send: Any) -> None:
        while (message := await receive())["type"] == "http.request" and message.get("more_body"):
            pass
        code = 200 if message["type"] == "http.request" else 499
        await send({"type": "http.response.start", "status": code, "headers": []})

    async def receive() -> Message:
        return {"type": "http.request", "body": b"x" * 2**20, "more_body": method == "ENDLESS"}

    async def send(message: Message) -> None:
        sent.append(message)

    guard = Guard(app, token=TOKEN, port=PORT, names=names_of("127.0.0.1"), any_address=any_address)
    own = {k: v for k, v in (OWN | {k.replace("_", "-"): v for k, v in headers.items()}).items() if v}
    scope = {
        "type": "http",
        "path": path,
        "method": "POST" if method == "ENDLESS" else method,
        "headers": [(k.encode(), v.encode()) for k, v in own.items()],
    }
    asyncio.run(guard(scope, receive, send))
    return int(sent[0]["status"])


def test_the_page_itself_is_let_pass() -> None:
    assert status() == 200
    assert status(origin=f"http://127.0.0.1:{PORT}", sec_fetch_site="same-origin") == 200
    assert status(host=f"localhost:{PORT}") == 200
    assert status(method="POST", content_length="10") == 200


@pytest.mark.parametrize("token", ["", "secret-toke", "SECRET-TOKEN", "sécret"])
def test_data_needs_the_token(token: str) -> None:
    assert status(x_regard_token=token) == 401


def test_the_page_needs_none() -> None:
    assert status("/", x_regard_token="") == 200


@pytest.mark.parametrize(
    "host",
    [f"evil.example:{PORT}", "127.0.0.1", "127.0.0.1:1", f"127.0.0.1.evil.example:{PORT}", "", f"10.0.0.1:{PORT}"],
)
@pytest.mark.parametrize("path", ["/", "/api/files"])
def test_another_host_is_rejected(host: str, path: str) -> None:
    assert status(path, host=host) == 403


def test_a_server_on_all_addresses_takes_numeric_ones_only() -> None:
    assert status(host=f"10.0.0.1:{PORT}", any_address=True) == 200
    assert status(host=f"[fe80::1]:{PORT}", any_address=True) == 200
    assert status(host=f"evil.example:{PORT}", any_address=True) == 403


@pytest.mark.parametrize("origin", ["http://evil.example", "null", f"https://127.0.0.1:{PORT}", "http://127.0.0.1:1"])
def test_another_origin_is_rejected(origin: str) -> None:
    assert status(origin=origin) == 403
    assert status(origin=origin, method="POST", content_length="1") == 403


@pytest.mark.parametrize("site", ["cross-site", "same-site", "none"])
def test_data_for_another_site_is_rejected(site: str) -> None:
    assert status(sec_fetch_site=site) == 403


def test_content_has_a_stated_and_limited_length() -> None:
    assert status(method="POST") == 411
    assert status(method="POST", content_length=str(MOST_JSON_BYTES + 1)) == 413
    assert status("/api/image", method="POST", content_length=str(MOST_JSON_BYTES + 1)) == 200
    assert status("/api/image", method="POST", content_length=str(MOST_IMAGE_BYTES + 1)) == 413
    assert status("/api/film", method="POST", content_length=str(MOST_FILM_BYTES)) == 200
    assert status("/api/film", method="POST", content_length=str(MOST_FILM_BYTES + 1)) == 413


def test_more_content_than_was_stated_is_cut_off() -> None:
    assert status(method="ENDLESS", content_length="1") == 499


@pytest.mark.parametrize("name", ["../x", "/etc/passwd", "a/../../x", "link/x", "\0", "link"])
def test_a_path_cannot_leave_the_workspace(name: str, tmp_path: Path) -> None:
    workspace, outside = tmp_path / "inside", tmp_path / "outside"
    workspace.mkdir()
    outside.mkdir()
    (workspace / "link").symlink_to(outside)
    with pytest.raises(RegardError):
        inside(workspace.resolve(), name)


def test_a_path_in_the_workspace_is_found(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert inside(tmp_path.resolve(), "link/a.yaml") == tmp_path.resolve() / "real" / "a.yaml"
    assert inside(tmp_path.resolve(), "b/../c") == tmp_path.resolve() / "c"
