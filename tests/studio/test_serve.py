"""The command: its printed address, its token, and how it ends."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest

pytest.importorskip("uvicorn")

from typer.testing import CliRunner

from regard.cli import app
from regard.errors import RegardError
from regard.studio.bench import Bench
from regard.studio.serve import bind

ADDRESS = re.compile(r"http://127\.0\.0\.1:(\d+)/\?token=([\w-]{32})\n")


def test_other_machines_reach_it_only_by_a_second_flag() -> None:
    with pytest.raises(RegardError, match="other machines") as caught:
        bind("0.0.0.0", 0, remote=False)
    assert "--allow-remote" in str(caught.value)
    with bind("0.0.0.0", 0, remote=True) as listening:
        assert listening.getsockname()[0] == "0.0.0.0"
    with bind("127.0.0.1", 0, remote=False) as listening:
        listening.listen()
        with pytest.raises(RegardError, match="cannot listen"):
            bind("127.0.0.1", listening.getsockname()[1], remote=False)


@pytest.mark.parametrize("data", ["nothing", "empty", "notes.txt", "synthetic:nonsense"])
def test_what_is_no_data_set_is_an_error_of_the_command(data: str, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.txt").write_text("no data\n")
    source = data if data.startswith("synthetic:") else str(tmp_path / data)
    result = CliRunner().invoke(app, ["studio", "--data", source, "--workspace", str(tmp_path)])
    assert isinstance(result.exception, RegardError) or result.exit_code == 2


def test_a_model_of_the_workspace_is_found_from_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine.yaml").write_text("base: odd-one-out\n")
    opened: list[Bench] = []
    monkeypatch.setattr("regard.studio.serve.serve", lambda bench, *_, **__: opened.append(bench))
    result = CliRunner().invoke(app, ["studio", "mine.yaml", "--workspace", str(tmp_path)])
    assert result.exit_code == 0
    assert (opened[0].source, opened[0].start) == ("mine.yaml", "mine.yaml")


@pytest.mark.skipif(os.name == "nt", reason="Ctrl-C reaches a process of its own only on POSIX")
def test_it_prints_its_address_answers_and_stops(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "regard", "studio", "--workspace", str(tmp_path), "--no-browser"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path) as process:
        assert process.stdout
        found = ADDRESS.fullmatch(process.stdout.readline())
        assert found
        base = f"http://127.0.0.1:{found[1]}"
        with urllib.request.urlopen(found[0].strip()) as page:
            assert b'<div id="root">' in page.read()
            assert "default-src 'self'" in page.headers["content-security-policy"]
        request = urllib.request.Request(f"{base}/api/files", headers={"x-regard-token": found[2]})
        with urllib.request.urlopen(request) as answer:
            assert b"yolov5n" in answer.read()
        with pytest.raises(urllib.error.HTTPError, match="401"):
            urllib.request.urlopen(f"{base}/api/files")
        process.send_signal(signal.SIGINT)
        out, error = process.communicate(timeout=20)
        assert (out, error, process.returncode) == ("", "the studio has stopped\n", 0)
