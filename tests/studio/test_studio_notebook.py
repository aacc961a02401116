"""`regard.studio(model)`: a server in a thread, its page in a frame, and plain words where there is no way to it."""

from __future__ import annotations

import json
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("fastapi")

import regard
from regard.errors import RegardError
from regard.studio import notebook
from regard.studio.guard import Guard

COLAB = "https://8123-m-s-3.prod.colab.dev"


@pytest.fixture
def shown(tmp_path: Path) -> Iterator[notebook.Studio]:
    studio = regard.studio(regard.load("odd-one-out"), workspace=tmp_path, height=500)
    yield studio
    studio.stop()


def ask(address: str, **headers: str) -> tuple[int, dict[str, str], bytes]:
    try:
        with urllib.request.urlopen(urllib.request.Request(address, headers=headers), timeout=20) as answer:
            return answer.status, dict(answer.headers), answer.read()
    except urllib.error.HTTPError as error:
        return error.code, dict(error.headers), error.read()


def test_the_name_is_a_package_and_a_function() -> None:
    import regard.studio.guard

    assert regard.studio.guard.Guard is Guard
    assert callable(regard.studio)


def test_the_page_is_framed_by_pages_of_this_machine_only(shown: notebook.Studio) -> None:
    address, _, token = shown.address.partition("/?token=")
    status, headers, page = ask(address)
    assert (status, b"regard studio" in page) == (200, True)
    policy = headers["content-security-policy"]
    assert policy.endswith("frame-ancestors http://localhost:* http://127.0.0.1:* vscode-webview:")
    assert ask(f"{address}/api/state")[0] == 401
    assert ask(f"{address}/", Host="evil.example")[0] == 403
    opened = json.loads(ask(f"{address}/api/state", **{"x-regard-token": token})[2])
    assert opened["source"] == "model"


def test_a_cell_shows_a_frame_and_another_way(shown: notebook.Studio) -> None:
    text = shown._repr_html_()
    assert f'src="{shown.address}"' in text
    assert 'height="500"' in text
    assert "ssh -L" in text
    assert shown.address in repr(shown)


def test_stop_ends_the_server(shown: notebook.Studio) -> None:
    assert shown._server.should_exit is False
    shown.stop()
    assert shown._server.should_exit


def test_colab_reaches_it_by_its_proxy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    colab = ModuleType("google.colab")
    colab.output = SimpleNamespace(eval_js=lambda text: f"{COLAB}/" if "proxyPort(" in text else "")  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "google.colab", colab)
    studio = regard.studio("odd-one-out", workspace=tmp_path)
    try:
        assert studio.address.startswith(f"{COLAB}/?token=")
        local = f"http://127.0.0.1:{studio.port}/"
        status, headers, _ = ask(local, Host=COLAB.removeprefix("https://"), Origin=COLAB)
        assert status == 200
        assert "https://colab.research.google.com" in headers["content-security-policy"]
        assert ask(local, Origin="https://other.colab.dev")[0] == 403
        assert ask(local, Host="other.colab.dev")[0] == 403
    finally:
        studio.stop()


@pytest.mark.parametrize("variable", ["JUPYTERHUB_SERVICE_PREFIX", "KAGGLE_KERNEL_RUN_TYPE"])
def test_where_no_browser_can_reach_it_a_sentence_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    monkeypatch.setenv(variable, "/user/me/")
    monkeypatch.setattr(notebook, "in_notebook", lambda: True)
    studio = regard.studio(workspace=tmp_path)
    try:
        assert "iframe" not in studio._repr_html_()
        assert "ssh -L" in repr(studio)
        assert studio.address in repr(studio)
    finally:
        studio.stop()


def test_a_wrong_model_starts_nothing(tmp_path: Path) -> None:
    with pytest.raises(RegardError):
        regard.studio("nowhere.pt", workspace=tmp_path)


def test_missing_data_starts_nothing(tmp_path: Path) -> None:
    with pytest.raises(RegardError, match="nowhere"):
        regard.studio(data=str(tmp_path / "nowhere"), workspace=tmp_path / "made")
    assert not (tmp_path / "made").exists()


def test_a_model_is_found_in_the_workspace(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("base: odd-one-out\n")
    studio = regard.studio("mine.yaml", workspace=tmp_path)
    try:
        address, _, token = studio.address.partition("/?token=")
        state = json.loads(ask(f"{address}/api/state", **{"x-regard-token": token})[2])
        assert state["source"] == "mine.yaml"
    finally:
        studio.stop()


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "regard.studio.notebook", raising=False)
    monkeypatch.setitem(sys.modules, "uvicorn", None)  # type: ignore[arg-type]
    with pytest.raises(RegardError) as error:
        regard.studio()
    assert error.value.hint == 'pip install "regard[studio]"'


@pytest.mark.parametrize(
    "wrong",
    [{"model": 3}, {"workspace": 3}, {"port": "x"}, {"port": 1.5}, {"data": 3}, {"height": "x"}, {"modules": "a.py:A"}],
)
def test_a_value_of_another_kind_is_an_error(wrong: dict[str, Any]) -> None:
    with pytest.raises(RegardError, match=next(iter(wrong))):
        regard.studio(**wrong)
