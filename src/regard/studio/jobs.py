"""Trainings that the studio starts: processes of the command line, which go on when the page or the server ends."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from regard.errors import RegardError
from regard.graph.detector import Detector
from regard.studio.guard import inside
from regard.system.files import make_folder, reject_links
from regard.training.folder import reject_run
from regard.training.history import LOG, RunInfo, runs_below
from regard.weights.detector import save_detector

START = "start.safetensors"
"""The model from which a training starts, kept in its folder."""

NEW_GROUP = 0x200
"""CREATE_NEW_PROCESS_GROUP of Windows, so that Ctrl-C of the server does not reach it."""

NAME = re.compile(r"[\w][\w.-]{0,80}")


class Jobs:
    """The trainings of a workspace; one runs at a time.

    Args:
        workspace: the folder, resolved.
        modules: what ``--module`` named at the start.
    """

    def __init__(self, workspace: Path, modules: Sequence[str] = ()) -> None:
        self.workspace, self.modules = workspace, list(modules)
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def runs(self) -> list[RunInfo]:
        """List the runs of the workspace, the latest first."""
        return runs_below(self.workspace)

    def start(self, model: Detector, name: str, data: str, settings: dict[str, int]) -> str:
        """Start a training in ``runs/<name>``, whose path in the workspace is returned.

        Raises:
            RegardError: a training runs already, the name is taken, or it is no word.
        """
        if not NAME.fullmatch(name):
            raise RegardError(f"{name!r:.100} is no name for a run", expected="letters, digits, '.', '_' and '-'")
        folder = inside(self.workspace, f"runs/{name}")
        reject_run(folder)
        self._check_idle()
        make_folder(folder)
        save_detector(folder / START, model)
        options = [word for key, value in settings.items() for word in (f"--{key}", str(value))]
        self._launch(folder, ["train", str(folder / START), "--data", data, "--output", str(folder), *options])
        return folder.relative_to(self.workspace).as_posix()

    def resume(self, run: str) -> None:
        """Continue a stopped run.

        Raises:
            RegardError: a training runs already, or there is no run in this folder.
        """
        folder = inside(self.workspace, run)
        if not (folder / "run.json").is_file():
            raise RegardError(f"there is no run in {run!r:.200}")
        self._check_idle()
        self._launch(folder, ["train", "--resume", str(folder)])

    def stop(self, run: str) -> None:
        """Interrupt a training that this server started, as Ctrl-C does; it can be resumed from its last epoch.

        Raises:
            RegardError: this server did not start it, or it has ended.
        """
        process = self._running.get(run)
        if process is None or process.poll() is not None:
            raise RegardError(
                f"{run!r:.200} is no running training of this studio", hint="stop it where it was started"
            )
        process.send_signal(getattr(signal, "CTRL_BREAK_EVENT", signal.SIGINT))  # the former on Windows

    def _check_idle(self) -> None:
        self._running = {run: process for run, process in self._running.items() if process.poll() is None}
        if self._running:
            raise RegardError(
                f"a training runs already: {', '.join(self._running)}", hint="stop it, or wait for its end"
            )

    def _launch(self, folder: Path, words: list[str]) -> None:
        modules = [word for reference in self.modules for word in ("--module", reference)]
        windows = sys.platform == "win32"
        reject_links(folder)
        with (folder / LOG).open("ab") as log:
            self._running[folder.relative_to(self.workspace).as_posix()] = subprocess.Popen(
                [sys.executable, "-m", "regard", *words, *modules],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, "COLUMNS": "100", "NO_COLOR": "1"},
                start_new_session=not windows,
                creationflags=NEW_GROUP if windows else 0,
            )
