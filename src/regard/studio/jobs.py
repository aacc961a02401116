"""Work that the studio starts: processes of the command line, which go on when the page or the server ends.

In a workspace one works at a time, whichever studio has started it; others wait in the queue of their studio, which is
forgotten when that ends. What works and what waits is recorded in its folder (`regard.studio.owners`).
"""

from __future__ import annotations

import json
import logging
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
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
from regard.studio.owners import INTERRUPT, OWNER, Owner, interrupt, living_owner, owned_by, remove_owner, write_owner
from regard.system.files import is_file, make_folder, portable_name, reject_links, reject_other, write_file
from regard.system.loaders import read_json_mapping
from regard.system.locks import LOCK, exclusive, is_held
from regard.system.scratch import LOCK_SUFFIX, PREFIX
from regard.system.translation import VARIABLE
from regard.training.folder import reject_run
from regard.training.history import COMMAND, LOG, RunInfo, fault_in, is_own, read_log, runs_below, walk
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

CLAIM = f"{PREFIX}studio{LOCK_SUFFIX}"
"""File of the workspace that a studio locks while it starts or stops work."""
PATIENCE = 20.0
"""Seconds to wait for another studio that has locked it."""
PERIOD = 1.0
"""Seconds between two looks whether the work of another studio has ended."""

PendingState = Literal["starting", "waiting", "stopped", "failed"]


@dataclass(frozen=True)
class Pending:
    """A training that has not begun: its path in the workspace, why not, and the end and the error of its output."""

    name: str
    state: PendingState
    log: str
    fault: str = ""


@dataclass(frozen=True)
class Task:
    """Work in a folder, ``name`` in the workspace: the words of its command, and the record that it waits."""

    name: str
    folder: Path
    words: tuple[str, ...]
    owner: Owner


class Jobs:
    """The trainings and studies of a workspace.

    Args:
        workspace: the folder, resolved.
        modules: what ``--module`` named at the start.
    """

    def __init__(self, workspace: Path, modules: Sequence[str] = ()) -> None:
        self.workspace, self.modules = workspace, list(modules)
        self._lock, self._claims = RLock(), 0
        self._waiting: list[Task] = []
        self._running: tuple[Task, subprocess.Popen[bytes]] | None = None
        self._watching = False

    def runs(self) -> list[RunInfo]:
        """List the runs of the workspace that are of no study, the latest first."""
        return runs_below(self.workspace, without=STUDY)

    def queue(self) -> list[str]:
        """Names of what waits, for any studio of the workspace, the next first."""
        return self.at_work()[1]

    def running(self) -> list[str]:
        """Names of what studios have started and works now, or is being set up."""
        return self.at_work()[0]

    def at_work(self) -> tuple[list[str], list[str]]:
        """`running` and `queue`, for which the folders of the workspace are searched once."""
        own, owners = self._own(), self._owners()
        others = [name for name, owner in owners if not owner.waiting and name != own]
        return [own, *others] if own else others, [name for name, owner in owners if owner.waiting]

    def _owners(self) -> list[tuple[str, Owner]]:
        """What works and waits in the folders of the workspace, in the order in which it came."""
        places = {task.folder for task in self._waiting}  # also where there are too many folders to find them
        for folder, folders, files in walk(self.workspace):
            if OWNER in files:
                places.add(folder)
            if OWNER in files or "run.json" in files:
                folders.clear()
        found = [(folder.relative_to(self.workspace).as_posix(), living_owner(folder)) for folder in places]
        return sorted(((name, owner) for name, owner in found if owner), key=lambda one: one[1].since)

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
        with self._claimed():
            folder = self._new_folder(name)
            save_detector(folder / START, model)
            write_file(folder / ASKED, json.dumps({"data": data, "settings": dict(settings)}, indent=2))
            return self._add(folder, _train_words(folder, data, settings))

    def pending(self, running: Sequence[str], waiting: Sequence[str]) -> list[Pending]:
        """List the trainings that have not begun: what waits, what is starting, and what was stopped or has failed.

        Args:
            running: from `at_work`.
            waiting: likewise.
        """
        found = []
        for folder in sorted((self.workspace / RUNS).glob("*")):
            if is_own(folder / ASKED) and not is_file(folder / "run.json") and not folder.is_symlink():
                name, log = folder.relative_to(self.workspace).as_posix(), read_log(folder / LOG)
                state = "starting" if name in running else "waiting" if name in waiting else ""
                fault = "" if state else fault_in(log)
                state = state or ("failed" if fault else "stopped")
                found.append(Pending(name, cast(PendingState, state), log, fault))
        return found

    def discard(self, name: str) -> None:
        """Remove what was kept of a training that has not begun.

        Raises:
            RegardError: there is none of this name, or it waits or works.
        """
        with self._claimed():
            pending = self.pending(*self.at_work())
            if not any(one.name == name and one.state in ("stopped", "failed") for one in pending):
                raise RegardError(f"{name!r:.200} is no training that has not begun, or it waits or works")
            folder = inside(self.workspace, name)
            for file in (ASKED, START, LOG, OWNER):
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
        with self._claimed():
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
        with self._claimed():
            if living_owner(folder) or is_held(folder / LOCK) or name == self._own():
                raise RegardError(f"{name!r:.200} goes on already")
            reject_links(folder)
            self._add(folder, self._words(folder, name))

    def _words(self, folder: Path, name: str) -> list[str]:
        """The command that continues what is in a folder."""
        if is_file(folder / "run.json"):
            return ["train", f"--resume={folder}"]
        if is_own(folder / ASKED) and is_own(folder / START):
            asked = read_json_mapping(folder / ASKED)
            settings = asked.get("settings")
            if not isinstance(asked.get("data"), str) or not isinstance(settings, dict):
                raise RegardError("damaged: it has no data and settings", file=folder / ASKED)
            checked(TrainSettings, settings)
            return _train_words(folder, asked["data"], settings)
        if is_file(folder / STUDY) and not is_file(folder / PLAN):  # it was started elsewhere
            plan = read_json_mapping(folder / STUDY).get("plan")
            if not isinstance(plan, dict):
                raise RegardError("damaged: it has no plan", file=folder / STUDY)
            _write_plan(folder, {k: v for k, v in plan.items() if k in Plan.model_fields})
        if not is_file(folder / PLAN):
            raise RegardError(f"there is no run and no study in {name!r:.200}")
        return _study_words(folder)

    def stop(self, name: str) -> None:
        """Interrupt what a studio started, as Ctrl-C does, or take it out of its queue; it can be resumed.

        Raises:
            RegardError: no studio started it, or it has ended.
        """
        folder = inside(self.workspace, name)
        with self._claimed():
            owner = living_owner(folder)
            if self._running and self._own() == name:
                self._running[1].send_signal(INTERRUPT)
            elif owner is None:
                what = f"{name!r:.200} was not started by a studio, or has ended"
                raise RegardError(what, hint="stop it where it was started")
            elif owner.waiting:
                remove_owner(folder)
            else:
                interrupt(owner, folder)

    def _new_folder(self, name: str) -> Path:
        if not NAME.fullmatch(name):
            raise RegardError(f"{name!r:.100} is no name for a run", expected="letters, digits, '.', '_' and '-'")
        if portable_name(name) != name:
            raise RegardError(f"{name!r:.100} is no name for a folder on Windows", hint="choose another name")
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

    def _own(self) -> str:
        """Name of what this studio has started and works now; "" if nothing does."""
        return self._running[0].name if self._running and self._running[1].poll() is None else ""

    @contextmanager
    def _claimed(self) -> Iterator[None]:
        """Exclude other threads, and other studios of the workspace.

        Raises:
            RegardError: one is busy for too long, or the workspace cannot be written.
        """
        with self._lock:
            try:
                lock = None if self._claims else exclusive(self.workspace / CLAIM, seconds=PATIENCE)
                with lock or nullcontext():
                    self._claims += 1
                    try:
                        yield
                    finally:
                        self._claims -= 1
            except BlockingIOError as error:
                raise RegardError("another studio of this workspace starts or stops work", hint="try again") from error

    def _add(self, folder: Path, words: Sequence[str]) -> str:
        """Start work now, or after what waits."""
        reject_links(folder)
        with self._claimed():
            self._check_room()
            owner = owned_by(os.getpid(), waiting=True)
            task = Task(folder.relative_to(self.workspace).as_posix(), folder, tuple(words), owner)
            write_owner(folder, owner)
            self._waiting.append(task)
            self._advance()
            if self._waiting and not self._watching:
                self._watching = True
                Thread(target=self._watch, daemon=True).start()
        return task.name

    def _advance(self) -> None:
        """Start what is next, unless something works; what another studio has taken out of the queue is dropped."""
        with self._claimed():
            self._waiting = [task for task in self._waiting if living_owner(task.folder) == task.owner]
            while self._waiting:
                running, waiting = self.at_work()
                if running or waiting[0] != self._waiting[0].name:
                    break
                task = self._waiting.pop(0)
                try:
                    process = self._launch(task)
                except (OSError, RegardError) as error:
                    log.error("%s cannot be started: %s", task.name, error)
                    remove_owner(task.folder)
                    continue
                self._running = task, process
                Thread(target=self._follow, args=(task, process), daemon=True).start()
                write_owner(task.folder, owned_by(process.pid, waiting=False))

    def _watch(self) -> None:
        """Start what waits when the work of another studio has ended."""
        while True:
            time.sleep(PERIOD)
            with self._lock:
                if not self._waiting:
                    self._watching = False
                    return
                if not self._own():
                    self._try_to_advance()

    def _follow(self, task: Task, process: subprocess.Popen[bytes]) -> None:
        process.wait()
        killed_by = -(process.poll() or 0)
        if killed_by > 0 and is_own(task.folder / LOG):
            word = "stopped" if killed_by == signal.SIGINT else f"error: the process was killed (signal {killed_by})"
            with suppress(OSError), (task.folder / LOG).open("a", encoding="utf-8") as output:
                output.write(f"{word}\n")
        self._try_to_advance()

    def _try_to_advance(self) -> None:
        try:
            self._advance()
        except (OSError, RegardError) as error:
            log.error("the queue cannot be continued: %s", error)

    def _launch(self, task: Task) -> subprocess.Popen[bytes]:
        modules = [f"--module={reference}" for reference in self.modules]
        windows = sys.platform == "win32"
        reject_links(task.folder)
        with (task.folder / LOG).open("ab") as output:
            output.write(f"{COMMAND}{' '.join([*task.words, *modules])}\n".encode())
            output.flush()
            return subprocess.Popen(
                [sys.executable, "-m", "regard", *task.words, *modules],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, "COLUMNS": "100", "NO_COLOR": "1", VARIABLE: "en"},
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
    write_file(folder / PLAN, yaml.safe_dump(values, sort_keys=False, allow_unicode=True))
