"""Work that the studio starts: processes of the command line, which go on when the page or the server ends.

One works at a time; others wait in a queue, which is forgotten when the server ends.
"""

from __future__ import annotations

import json
import logging
import os
import re
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import RLock, Thread
from typing import Any, Literal, cast

import yaml

from regard.ablate.folder import STUDY
from regard.ablate.listing import PLAN
from regard.ablate.plan import Plan
from regard.config import TrainSettings, checked, describe
from regard.config.form import words_of
from regard.errors import RegardError
from regard.graph.detector import Detector
from regard.studio.guard import inside
from regard.system.files import atomic_write, is_file, make_folder, reject_links, reject_other
from regard.system.loaders import read_json_mapping
from regard.training.folder import reject_run
from regard.training.history import LOG, RunInfo, is_own, read_log, runs_below
from regard.weights.detector import save_detector

START = "start.safetensors"
"""The model from which work starts, kept in its folder."""

ASKED = "start.json"
"""The data and the settings with which a training starts, kept in its folder, so that it can begin later."""

NEW_GROUP = 0x200
"""CREATE_NEW_PROCESS_GROUP of Windows, so that Ctrl-C of the server does not reach it."""

NAME = re.compile(r"[\w][\w.-]{0,80}")

log = logging.getLogger("regard.studio")

MOST_WAITING = 20
"""Length of the queue."""


RUNS = "runs"
"""Folder of the workspace in which work starts."""

PendingState = Literal["starting", "waiting", "stopped"]


@dataclass(frozen=True)
class Pending:
    """A training that has not begun: its path in the workspace, why not, and the end of its output."""

    name: str
    state: PendingState
    log: str


@dataclass(frozen=True)
class Task:
    """Work in a folder, ``name`` in the workspace: the words of its command."""

    name: str
    folder: Path
    words: tuple[str, ...]


class Jobs:
    """The trainings and studies of a workspace.

    Args:
        workspace: the folder, resolved.
        modules: what ``--module`` named at the start.
    """

    def __init__(self, workspace: Path, modules: Sequence[str] = ()) -> None:
        self.workspace, self.modules = workspace, list(modules)
        self._lock = RLock()
        self._waiting: list[Task] = []
        self._running: tuple[Task, subprocess.Popen[bytes]] | None = None

    def runs(self) -> list[RunInfo]:
        """List the runs of the workspace that are of no study, the latest first."""
        return runs_below(self.workspace, without=STUDY)

    def queue(self) -> list[str]:
        """Names of what waits, the next first."""
        with self._lock:
            return [task.name for task in self._waiting]

    def running(self) -> str:
        """Name of what works now; "" if nothing of this server does."""
        with self._lock:
            return self._running[0].name if self._is_busy() and self._running else ""

    def train(self, model: Detector, name: str, data: str, settings: Mapping[str, Any]) -> str:
        """Start a training in ``runs/<name>``, whose path in the workspace is returned.

        Args:
            model: where it starts from.
            name: of its folder.
            data: the data set.
            settings: valid values of `TrainSettings`; those that are not given keep their defaults.

        Raises:
            RegardError: the name is taken or is no word, or the queue is full.
        """
        folder = self._new_folder(name)
        save_detector(folder / START, model)
        with atomic_write(folder / ASKED) as file:
            file.write(json.dumps({"data": data, "settings": dict(settings)}, indent=2).encode())
        return self._add(folder, _train_words(folder, data, settings))

    def pending(self) -> list[Pending]:
        """List the trainings that have not begun: what waits, what is starting, and what was stopped or has failed."""
        running, waiting = self.running(), self.queue()
        found = []
        for folder in sorted((self.workspace / RUNS).glob("*")):
            if is_own(folder / ASKED) and not is_file(folder / "run.json") and not folder.is_symlink():
                name = folder.relative_to(self.workspace).as_posix()
                state = "starting" if name == running else "waiting" if name in waiting else "stopped"
                found.append(Pending(name, cast(PendingState, state), read_log(folder / LOG)))
        return found

    def discard(self, name: str) -> None:
        """Remove what was kept of a training that has not begun.

        Raises:
            RegardError: there is none of this name, or it waits or works.
        """
        if not any(one.name == name and one.state == "stopped" for one in self.pending()):
            raise RegardError(f"{name!r:.200} is no training that has not begun, or it waits or works")
        folder = inside(self.workspace, name)
        for file in (ASKED, START, LOG):
            (folder / file).unlink(missing_ok=True)
        with suppress(OSError):  # there are other files in it
            folder.rmdir()

    def study(self, model: Detector | None, name: str, plan: Plan) -> str:
        """Start a study in ``runs/<name>``, whose path in the workspace is returned.

        Args:
            model: the base, which replaces that of the plan; None if the plan names another one.
            name: of its folder.
            plan: what is compared.

        Raises:
            RegardError: the name is taken or is no word, or the queue is full.
        """
        folder = self._new_folder(name)
        if model is not None:
            save_detector(folder / START, model)
            plan = plan.model_copy(update={"base": str(folder / START)})
        _write_plan(folder, describe(plan))
        return self._add(folder, _study_words(folder))

    def resume(self, name: str) -> None:
        """Continue a stopped run or study.

        Raises:
            RegardError: there is none in this folder, it goes on already, or the queue is full.
        """
        folder = inside(self.workspace, name)
        if name in (self.running(), *self.queue()):
            raise RegardError(f"{name!r:.200} goes on already")
        reject_links(folder)
        if is_file(folder / "run.json"):
            self._add(folder, ["train", f"--resume={folder}"])
            return
        if is_own(folder / ASKED) and is_own(folder / START):
            asked = read_json_mapping(folder / ASKED)
            settings = asked.get("settings")
            if not isinstance(asked.get("data"), str) or not isinstance(settings, dict):
                raise RegardError("damaged: it has no data and settings", file=folder / ASKED)
            checked(TrainSettings, settings)
            self._add(folder, _train_words(folder, asked["data"], settings))
            return
        if is_file(folder / STUDY) and not is_file(folder / PLAN):  # it was started elsewhere
            plan = read_json_mapping(folder / STUDY).get("plan")
            if not isinstance(plan, dict):
                raise RegardError("damaged: it has no plan", file=folder / STUDY)
            _write_plan(folder, {k: v for k, v in plan.items() if k in Plan.model_fields})
        if not is_file(folder / PLAN):
            raise RegardError(f"there is no run and no study in {name!r:.200}")
        self._add(folder, _study_words(folder))

    def stop(self, name: str) -> None:
        """Interrupt what this server started, as Ctrl-C does, or take it out of the queue; it can be resumed.

        Raises:
            RegardError: this server did not start it, or it has ended.
        """
        with self._lock:
            if name in self.queue():
                self._waiting = [task for task in self._waiting if task.name != name]
                return
            if not self._is_busy() or self._running is None or self._running[0].name != name:
                what = f"{name!r:.200} was not started by this studio, or has ended"
                raise RegardError(what, hint="stop it where it was started")
            self._running[1].send_signal(getattr(signal, "CTRL_BREAK_EVENT", signal.SIGINT))  # the former on Windows

    def _new_folder(self, name: str) -> Path:
        if not NAME.fullmatch(name):
            raise RegardError(f"{name!r:.100} is no name for a run", expected="letters, digits, '.', '_' and '-'")
        folder = inside(self.workspace, f"{RUNS}/{name}")
        reject_run(folder)
        for file in (STUDY, PLAN, START, ASKED, LOG):
            reject_other(folder / file, hint="choose another name")
        self._check_room()
        make_folder(folder)
        return folder

    def _check_room(self) -> None:
        if len(self.queue()) >= MOST_WAITING:
            raise RegardError(f"{MOST_WAITING} trainings and studies wait already", hint="stop one of them")

    def _is_busy(self) -> bool:
        return self._running is not None and self._running[1].poll() is None

    def _add(self, folder: Path, words: Sequence[str]) -> str:
        """Start work now, or after what waits."""
        reject_links(folder)
        task = Task(folder.relative_to(self.workspace).as_posix(), folder, tuple(words))
        with self._lock:
            self._check_room()
            self._waiting.append(task)
            self._advance()
        return task.name

    def _advance(self) -> None:
        with self._lock:
            while self._waiting and not self._is_busy():
                task = self._waiting.pop(0)
                try:
                    process = self._launch(task)
                except (OSError, RegardError) as error:
                    log.error("%s cannot be started: %s", task.name, error)
                    continue
                self._running = task, process
                Thread(target=self._follow, args=(process,), daemon=True).start()

    def _follow(self, process: subprocess.Popen[bytes]) -> None:
        process.wait()
        self._advance()

    def _launch(self, task: Task) -> subprocess.Popen[bytes]:
        modules = [f"--module={reference}" for reference in self.modules]
        windows = sys.platform == "win32"
        reject_links(task.folder)
        with (task.folder / LOG).open("ab") as output:
            return subprocess.Popen(
                [sys.executable, "-m", "regard", *task.words, *modules],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, "COLUMNS": "100", "NO_COLOR": "1"},
                start_new_session=not windows,
                creationflags=NEW_GROUP if windows else 0,
            )


def _train_words(folder: Path, data: str, settings: Mapping[str, Any]) -> list[str]:
    return [
        "train", str(folder / START), f"--data={data}", f"--output={folder}", *words_of(TrainSettings, settings)
    ]  # fmt: skip


def _study_words(folder: Path) -> list[str]:
    return ["ablate", f"--plan={folder / PLAN}", f"--output={folder}"]


def _write_plan(folder: Path, plan: Mapping[str, Any]) -> None:
    """Write a plan for the command line; modules are those of the studio's start."""
    values = {name: value for name, value in plan.items() if name != "module" and value is not None}
    with atomic_write(folder / PLAN) as file:
        file.write(yaml.safe_dump(values, sort_keys=False, allow_unicode=True).encode())
