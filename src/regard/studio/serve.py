"""Starting the server: its address, its token, its socket, and its end."""

from __future__ import annotations

import os
import secrets
import socket
import sys
import webbrowser
from collections.abc import Callable, Sequence
from contextlib import suppress
from urllib.parse import quote

import uvicorn

from regard.errors import RegardError
from regard.studio.app import PAGE, make_app
from regard.studio.bench import Bench
from regard.studio.guard import Guard, is_local, names_of
from regard.studio.workspace import Workspace

EVERYWHERE = ("0.0.0.0", "::")


def bind(host: str, port: int, *, remote: bool) -> socket.socket:
    """Listen on an address; port 0 is a free one.

    Raises:
        RegardError: other machines could reach it and ``remote`` is False, or it is taken.
    """
    if not is_local(host) and not remote:
        raise RegardError(
            f"other machines can reach a server on {host}: whoever learns its address can read and write the workspace "
            "and start trainings, and the connection is not encrypted",
            expected="127.0.0.1, and a tunnel such as ssh -L for other machines",
            hint="add --allow-remote to do it nevertheless",
        )
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listening = socket.socket(family)
        if os.name != "nt":  # there it would let other programs take the port over
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
    except OSError as error:
        listening.close()
        what = f"cannot listen on {host}, port {port}: {error.strerror or error}"
        raise RegardError(what, hint="--port 0 takes a free port") from error
    except OverflowError as error:
        raise RegardError(f"port {port}", expected="0 to 65535") from error
    return listening


class Server(uvicorn.Server):
    """A server that reports when it listens."""

    def __init__(self, config: uvicorn.Config, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start to listen, then call ``ready``."""
        await super().startup(sockets)
        if self.started:
            self._ready()


def serve(
    bench: Bench,
    workspace: Workspace,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    remote: bool = False,
    browser: bool = True,
    modules: Sequence[str] = (),
) -> None:
    """Serve the page until Ctrl-C; the whole address, with its token, is printed on a line of its own.

    Raises:
        RegardError: the address is taken or open to other machines, or the package was installed without its page.
    """
    check_page()
    with bind(host, port, remote=remote) as listening:
        port, token = listening.getsockname()[1], secrets.token_urlsafe(24)
        shown = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)
        address = f"http://{shown}:{port}/?token={quote(token)}"

        def ready() -> None:
            print(address, flush=True)
            if browser and _has_screen():
                webbrowser.open(address)

        app = Guard(
            make_app(bench, workspace, modules),
            token=token,
            port=port,
            names=names_of(host),
            any_address=host in EVERYWHERE,
        )
        with suppress(KeyboardInterrupt):
            Server(configured(app), ready).run(sockets=[listening])
        print("the studio has stopped", file=sys.stderr)


def check_page() -> None:
    """Check that the page was built.

    Raises:
        RegardError: it was not.
    """
    if not (PAGE / "index.html").is_file():
        raise RegardError(
            "the page of the studio is not in this installation", hint="npm ci && npm run build in studio/"
        )


def configured(app: Guard) -> uvicorn.Config:
    """Choose the server's settings."""
    return uvicorn.Config(
        app, log_level="warning", access_log=False, timeout_graceful_shutdown=1, server_header=False, lifespan="off"
    )


def _has_screen() -> bool:
    """Whether a browser would open in a window; without one, some run in the terminal."""
    if sys.platform in ("win32", "darwin"):
        return True
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
