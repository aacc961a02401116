"""The notebooks: made from one source in both languages, run from top to bottom, interrupted, and in two processes."""

from __future__ import annotations

import ast
import json
import sys
import time
from pathlib import Path
from typing import Any

import pytest

import regard
from scripts import load_script

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "notebooks"
FILES = sorted(FOLDER.glob("*.ipynb"))
DATA = "synthetic:context?train=13&val=3&test=0"


def training(folder: str, more: str) -> str:
    """The code of a small run."""
    return f"regard.train('odd-one-out', {DATA!r}, folder={folder!r}, imgsz=64, workers=0, plots=False, {more})"


def code_of(file: Path) -> list[str]:
    cells = json.loads(file.read_text(encoding="utf-8"))["cells"]
    return ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]


def test_the_notebooks_are_those_of_their_sources() -> None:
    made = dict(load_script("notebooks/make_notebooks.py").notebooks())
    assert {path.name: text for path, text in made.items()} == {f.name: f.read_text(encoding="utf-8") for f in FILES}


@pytest.mark.parametrize("file", [f for f in FILES if ".zh-TW" in f.name], ids=lambda file: file.name)
def test_both_languages_have_the_same_cells(file: Path) -> None:
    chinese, english = (
        json.loads(path.read_text(encoding="utf-8"))["cells"]
        for path in (file, file.with_name(file.name.replace(".zh-TW", "")))
    )
    assert [cell["cell_type"] for cell in chinese] == [cell["cell_type"] for cell in english]
    assert code_of(file) == code_of(file.with_name(file.name.replace(".zh-TW", "")))
    for one, other in zip(chinese, english, strict=True):
        if one["cell_type"] == "markdown":
            assert not "".join(one["source"]).isascii()
            assert "".join(other["source"]).isascii()


def test_the_attention_notebook_runs_and_shows_something(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("REGARD_NOTEBOOK_SHORT", "1")
    names: dict[str, Any] = {"__name__": "__main__"}
    shown = []
    for text in code_of(FOLDER / "attention.ipynb"):
        body = ast.parse(text).body
        last = body.pop() if isinstance(body[-1], ast.Expr) else None
        exec(compile(ast.Module(body, []), "cell", "exec"), names)
        if isinstance(last, ast.Expr):
            value = eval(compile(ast.Expression(last.value), "cell", "eval"), names)  # noqa: S307 - our own notebook
            shown.append(type(value).__name__)
            assert isinstance(value, dict) or hasattr(value, "_repr_html_") or hasattr(value, "_repr_png_")
    assert shown == ["Summary", "Summary", "CostReport", "Metrics", "Gates", "Metrics", "Detections", "View"]


@pytest.mark.slow
@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_a_notebook_runs_in_a_kernel(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nbclient, nbformat = pytest.importorskip("nbclient"), pytest.importorskip("nbformat")
    pytest.importorskip("ipykernel")
    monkeypatch.setenv("REGARD_NOTEBOOK_SHORT", "1")
    document = nbformat.read(file, as_version=4)
    nbformat.validate(document)
    install_kernel(tmp_path, monkeypatch)
    nbclient.NotebookClient(document, timeout=1200, resources={"metadata": {"path": str(tmp_path)}}).execute()
    outputs = [output for cell in document.cells if cell.cell_type == "code" for output in cell.outputs]
    kinds = {kind for output in outputs if output.output_type == "execute_result" for kind in output.data}
    assert "text/html" in kinds
    assert "attention" not in file.name or "image/png" in kinds


def install_kernel(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Write a kernel specification for this interpreter, as none may be installed."""
    spec = folder / "jupyter" / "kernels" / "python3"
    spec.mkdir(parents=True)
    argv = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    (spec / "kernel.json").write_text(json.dumps({"argv": argv, "display_name": "Python 3", "language": "python"}))
    monkeypatch.setenv("JUPYTER_PATH", str(folder / "jupyter"))


class Kernel:
    """A kernel in a folder, and what its cells print."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        manager = pytest.importorskip("jupyter_client").KernelManager
        pytest.importorskip("ipykernel")
        install_kernel(folder, monkeypatch)
        self.manager = manager(kernel_name="python3")
        self.manager.start_kernel(cwd=str(folder))
        self.client = self.manager.client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=300)

    def run(self, code: str, *, interrupt_at: str = "") -> str:
        """Run a cell; as soon as it prints ``interrupt_at``, interrupt it as the stop button does."""
        asked = self.client.execute(code)
        printed, end = "", time.monotonic() + 600
        while time.monotonic() < end:
            message = self.client.get_iopub_msg(timeout=600)
            if message["parent_header"].get("msg_id") != asked:
                continue
            content = message["content"]
            if message["msg_type"] == "status" and content["execution_state"] == "idle":
                return printed
            data = content.get("data", {})
            printed += content.get("text", "") + data.get("text/html", "") + "\n".join(content.get("traceback", ()))
            if interrupt_at and interrupt_at in printed:
                self.manager.interrupt_kernel()
                interrupt_at = ""
        raise TimeoutError(printed)

    def close(self) -> None:
        self.client.stop_channels()
        self.manager.shutdown_kernel(now=True)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_an_interrupted_cell_leaves_a_run_that_continues(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = Kernel(tmp_path, monkeypatch)
    try:
        kernel.run("import regard")
        printed = kernel.run("run = " + training("run", "epochs=400"), interrupt_at=" 3/400 ")
        assert "KeyboardInterrupt" in printed
        assert "<progress" in printed  # the bar
        rows = (tmp_path / "run" / "results.csv").read_text().splitlines()
        assert 3 <= len(rows) < 400
        printed = kernel.run(f"run = regard.resume('run', epochs={len(rows) + 1}); run.metrics")
        assert "<table" in printed
    finally:
        kernel.close()
    assert len((tmp_path / "run" / "results.csv").read_text().splitlines()) == len(rows) + 2
    assert regard.load(tmp_path / "run").nc == 2


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_two_devices_in_a_notebook_are_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = Kernel(tmp_path, monkeypatch)
    try:
        kernel.run("import regard")
        printed = kernel.run(training("run", "epochs=1, device='cpu', devices=2"))
        assert "RegardError" in printed
        assert "!regard train" in printed
        printed = kernel.run(training("run", "epochs=1, device='cpu'") + ".metrics")
        assert "<table" in printed  # the folder is free
    finally:
        kernel.close()
