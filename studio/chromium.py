"""The studio in Chromium, for its tests, its screenshots and its benchmark."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, Playwright

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-sync",
    "--disable-background-networking",
    "--disable-component-update",
)
"""No window, no sandbox, and no requests of the browser's own."""


def launch(playwright: Playwright, chromium: str | None = CHROMIUM) -> Browser:
    """Start a Chromium, by default the one of the system."""
    return playwright.chromium.launch(executable_path=chromium, args=FLAGS)


@contextmanager
def serve(*arguments: str, folder: Path | None = None) -> Iterator[str]:
    """Run `regard studio` in a folder, and give the address of its page."""
    command = [sys.executable, "-m", "regard", "studio", *arguments, "--no-browser"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=folder)
    try:
        assert server.stdout
        yield server.stdout.readline().strip()
    finally:
        server.terminate()
        server.wait()
