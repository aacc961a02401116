"""The studio inside a notebook: a server in a thread of the kernel, and its page in a frame of the cell's output.

The page is reached in two ways: the browser runs on the kernel's machine, or the notebook has a proxy that gives a
port a host of its own, as Colab has. A proxy that puts the port into the path, as JupyterHub's, cannot carry the page.
"""

from __future__ import annotations

import html
import os
import secrets
import sys
import threading
from collections.abc import Sequence
from copy import deepcopy
from pathlib import Path
from urllib.parse import quote, urlsplit

import uvicorn

from regard.errors import RegardError
from regard.graph.detector import Detector
from regard.graph.user_modules import import_modules
from regard.studio.app import make_app
from regard.studio.bench import Bench
from regard.studio.guard import Guard, names_of
from regard.studio.serve import bind, check_page, configured
from regard.studio.workspace import Workspace
from regard.system.interrupts import interrupts_deferred
from regard.system.terminal import in_notebook

HOST = "127.0.0.1"
LOCAL_FRAMES = "http://localhost:* http://127.0.0.1:* vscode-webview:"
COLAB_FRAMES = "https://colab.research.google.com https://*.googleusercontent.com"
HOSTED = {"JUPYTERHUB_SERVICE_PREFIX": "JupyterHub", "KAGGLE_KERNEL_RUN_TYPE": "Kaggle"}
"""Environment variables of notebooks whose browser is elsewhere and whose proxies cannot carry the page."""


class Studio:
    """A studio that runs until `stop` is called or the kernel ends.

    Attributes:
        address: of the page, with its token.
        port: of the server on the kernel's machine.
        height: of the frame, in CSS pixels.
        unreachable: why the browser of this notebook cannot show the page, and what to do; "" where it can.
    """

    def __init__(self, address: str, port: int, height: int, unreachable: str, server: uvicorn.Server) -> None:
        self.address, self.port, self.height, self.unreachable = address, port, height, unreachable
        self._server = server

    def stop(self) -> None:
        """End the server; trainings that it started go on."""
        self._server.should_exit = True

    def __repr__(self) -> str:
        return self.unreachable or f"regard studio at {self.address}"

    @interrupts_deferred()
    def _repr_html_(self) -> str:
        if self.unreachable:
            return f"<p>{html.escape(self.unreachable)}</p>"
        address = html.escape(self.address)
        return (
            f'<iframe src="{address}" width="100%" height="{self.height}" style="border:0" '
            f'title="regard studio"></iframe><p><a href="{address}" target="_blank">Open in a tab</a>. A frame that '
            "stays empty means that the kernel runs on another machine: forward its port, as in "
            f"<code>ssh -L {self.port}:{HOST}:{self.port} HOST</code>.</p>"
        )


def studio(
    model: Detector | str | Path | None = None,
    *,
    data: str | None = None,
    workspace: str | Path = ".",
    port: int = 0,
    height: int = 800,
    modules: Sequence[str] = (),
) -> Studio:
    """Show the studio in a notebook, or serve it from Python.

    Args:
        model: a detector, which the page does not change, or what ``regard.load`` takes, also as a path in the
            workspace; the page can open others.
        data: data set for trainings.
        workspace: folder whose files the page can open, and into which it saves; no others.
        port: port of this machine; 0 for a free one.
        height: of the frame, in CSS pixels.
        modules: your own layers, as in ``my_attention.py:MyBlock``.

    Returns:
        what a cell shows as the page, or as a sentence where its browser cannot reach it; ``stop()`` ends it.

    Raises:
        RegardError: there is no such model or data set, a value is of another kind, or the port is taken.

    Example:
        >>> import regard
        >>> shown = regard.studio("odd-one-out")
        >>> shown.address.startswith("http://127.0.0.1")
        True
        >>> shown.stop()
    """
    check_page()
    _check("the model", model, (Detector, str, Path, type(None)), "a detector, or a file or name to open")
    _check("data", data, (str, type(None)), "a data set as text")
    _check("workspace", workspace, (str, Path), "a folder")
    _check("port", port, (int,), "0 to 65535")
    _check("height", height, (int,), "a number of CSS pixels")
    _check("modules", modules, (list, tuple), "a list such as ['layers.py:A']")
    for reference in modules:
        _check("modules", reference, (str,), "a list such as ['layers.py:A']")
    bench, folder = Bench(import_modules(modules), modules), Workspace(Path(workspace), data)
    if isinstance(model, Detector):
        bench.open_detector(deepcopy(model), "model")
    elif model is not None:
        bench.open_model(folder.locate(model), str(model))
    return _started(bench, folder, port, height, modules)


def _check(name: str, value: object, kinds: tuple[type, ...], expected: str) -> None:
    if not isinstance(value, kinds) or isinstance(value, bool):
        raise RegardError(f"{name} is {value!r:.200}", expected=expected)


def _started(bench: Bench, workspace: Workspace, port: int, height: int, modules: Sequence[str]) -> Studio:
    listening = bind(HOST, port, remote=False)
    listening.listen()  # requests may come before the thread works
    port, token = listening.getsockname()[1], secrets.token_urlsafe(24)
    proxy = _colab_address(port)
    app = Guard(
        make_app(bench, workspace, [str(Path(reference).absolute()) for reference in modules]),
        token=token,
        port=port,
        names=names_of(HOST),
        frames=COLAB_FRAMES if proxy else LOCAL_FRAMES,
        proxy=urlsplit(proxy).netloc,
    )
    server = uvicorn.Server(configured(app))
    threading.Thread(target=server.run, kwargs={"sockets": [listening]}, name="regard studio", daemon=True).start()
    address = f"{proxy or f'http://{HOST}:{port}'}/?token={quote(token)}"
    return Studio(address, port, height, _unreachable(port, address), server)


def _colab_address(port: int) -> str:
    """The address under which Colab's proxy shows a port of its kernel; "" elsewhere."""
    output = getattr(sys.modules.get("google.colab"), "output", None)
    return str(output.eval_js(f"google.colab.kernel.proxyPort({port})")).rstrip("/") if output else ""


def _unreachable(port: int, address: str) -> str:
    hosted = next((name for variable, name in HOSTED.items() if os.environ.get(variable)), None)
    if hosted is None or not in_notebook():
        return ""
    return (
        f"The studio runs on the kernel's machine, but {hosted} gives a browser no way to its page. Run it on your own "
        f"machine (regard studio), or forward the port (ssh -L {port}:{HOST}:{port} HOST) and open {address}"
    )
