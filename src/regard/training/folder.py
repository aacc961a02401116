"""The folder of a run. Every file is written under another name and renamed, so that it is whole or not there."""

from __future__ import annotations

import json
import os
import platform
import re
import subprocess
import sys
from collections.abc import Mapping
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from regard.config import TrainSettings, checked
from regard.errors import RegardError
from regard.graph.detector import Detector
from regard.system.files import is_file, is_there, make_folder, reject_other, write_file
from regard.system.loaders import read_json_mapping
from regard.system.resources import available_cores
from regard.weights.detector import save_detector
from regard.weights.store import load_state, save_state

MOST_BYTES = 64 * 2**20
"""Largest run.json that is read."""

HARMLESS = ("-c", "core.fsmonitor=false", "-c", f"core.hooksPath={os.devnull}")
RUNS_PROGRAMS = re.compile(r"^(local|worktree)\s+(filter\.|extensions\.partialclone|remote\..*\.promisor)", re.M | re.I)
"""Settings of a working tree by which ``git status`` runs a program that they name."""

WRITTEN = ("epochs", "batch", "imgsz", "seed", "recipe")
"""Settings that every version has written: one without them is not continued with defaults."""

FILES = (
    *("model.yaml", "last.safetensors", "best.safetensors", "state.pt", "results.csv", "metrics.json", "labels.jpg"),
    *("results.png", "predictions.jpg", "pr_curve.png", "f1_curve.png", "confusion.png"),
)
"""Files that a run writes in addition to its ``run.json``."""

BEGUN = ".regard-begun"
"""Mark of a run that has no ``run.json`` yet: none of `FILES` was there before it, so all of them are its own."""

PACKAGES = ("regard", "torch", "torchvision", "lightning-fabric", "numpy", "opencv-python-headless", "faster-coco-eval")


class RunFolder:
    """Writes and reads the configuration, the weights and the state of a run.

    Args:
        path: the folder; made if it does not exist.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        make_folder(path)

    def write_config(self, detector: Detector, config: Mapping[str, Any]) -> None:
        """Write ``model.yaml`` and ``run.json`` (settings, seed, versions, git state, command)."""
        self.write("model.yaml", detector.spec.to_yaml())
        self.write_json("run.json", {**config, "environment": environment()})
        (self.path / BEGUN).unlink(missing_ok=True)

    def write_weights(
        self, name: str, detector: Detector, training: Mapping[str, Any], extra: Mapping[str, Any]
    ) -> Path:
        """Write a detector as ``<name>.safetensors``; the file is returned."""
        file = self.path / f"{name}.safetensors"
        save_detector(file, detector, training=training, extra=extra)
        return file

    def write_state(self, state: dict[str, Any]) -> Path:
        """Write ``state.pt``, which contains everything that resuming needs; the file is returned."""
        file = self.path / "state.pt"
        save_state(file, state)
        return file

    def read_state(self) -> dict[str, Any]:
        """Read ``state.pt``.

        Raises:
            RegardError: there is none, or it is damaged.
        """
        return load_state(self.path / "state.pt")

    def write_json(self, name: str, document: Mapping[str, Any]) -> None:
        """Write a JSON file."""
        self.write(name, json.dumps(document, indent=2, ensure_ascii=False) + "\n")

    def write(self, name: str, text: str) -> None:
        """Write a text file."""
        write_file(self.path / name, text)


def reject_run(folder: Path) -> None:
    """Check that no run would be overwritten.

    Raises:
        RegardError: the folder contains one.
    """
    if is_file(folder / "run.json"):
        hint = "continue it with --resume (in Python: regard.resume), or name another folder"
        raise RegardError("there is a run in this folder", file=folder, hint=hint)


def reject_taken(folder: Path) -> None:
    """Check that a new run replaces nothing; one that was killed before its ``run.json`` may begin again.

    Raises:
        RegardError: the folder contains a run, or a file of a name that a run writes.
    """
    reject_run(folder)
    if not is_there(folder / BEGUN):
        for name in FILES:
            reject_other(folder / name, hint="name another folder")


def begin_run(folder: Path) -> None:
    """Mark the folder of a new run before its first file is written.

    Raises:
        RegardError: as `reject_taken`.
    """
    reject_taken(folder)
    write_file(folder / BEGUN, "")


def discard_begun(folder: Path) -> None:
    """Remove what a new run has written before its ``run.json``, without which nothing can be resumed."""
    if is_there(folder / BEGUN):
        for name in (*FILES, BEGUN):
            (folder / name).unlink(missing_ok=True)


def read_config(folder: Path) -> dict[str, Any]:
    """Read the configuration of an earlier run.

    Raises:
        RegardError: the folder contains no run, or its ``run.json`` is damaged.
    """
    file = folder / "run.json"
    if not is_file(file):
        hint = "a run that was stopped before its first epoch leaves none: train again"
        raise RegardError(
            "no run in this folder", file=folder, expected="a folder with run.json and state.pt", hint=hint
        )
    return read_json_mapping(file, MOST_BYTES)


def run_settings(config: Mapping[str, Any], file: Path) -> tuple[TrainSettings, str]:
    """Check the settings and the source of the data in the configuration of an earlier run.

    Raises:
        RegardError: a value is missing or wrong; the error names the file.
    """
    settings, data = config.get("settings"), config.get("data")
    source = data.get("source") if isinstance(data, dict) else None
    if not isinstance(settings, dict) or not isinstance(source, str):
        raise RegardError("damaged: it lacks settings, or the source of the data", file=file)
    if missing := [name for name in WRITTEN if name not in settings]:
        raise RegardError(f"damaged: its settings lack {', '.join(missing)}", file=file)
    try:
        return checked(TrainSettings, settings), source
    except RegardError as error:
        raise RegardError(f"damaged: {error.what}", file=file, expected=error.expected) from error


def environment() -> dict[str, Any]:
    """Collect versions, hardware, git state, the command line and the time."""
    import torch

    return {
        "started": datetime.now().astimezone().isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "packages": {name: version(name) for name in PACKAGES},
        "platform": platform.platform(),
        "processor": platform.machine(),
        "cpus": available_cores(),
        "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name(0) if torch.cuda.is_available() else None,
        "git": git_state(Path.cwd()),
        "regard_git": git_state(Path(__file__).parent, Path(__file__).name),
        "command": [Path(sys.argv[0]).name.replace("__main__.py", "regard"), *sys.argv[1:]],
    }


def git_state(folder: Path, file: str | None = None) -> dict[str, Any] | None:
    """Look up the commit that a folder is at, and whether anything has changed; None outside git.

    A working tree may be anybody's, and git runs programs that its configuration names: hooks, monitors and filters, or
    what fetches missing objects. The first two are switched off. Where there are others, ``changed`` is None: unknown.

    Args:
        folder: any folder of a working tree.
        file: a file in it that must be tracked: an installed package may be in the tree of another project.
    """

    def git(*arguments: str) -> str:
        done = subprocess.run(
            ["git", "-C", str(folder), *HARMLESS, *arguments],
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=10,
            check=True,
            env={**os.environ, "GIT_OPTIONAL_LOCKS": "0", "GIT_NO_LAZY_FETCH": "1"},
        )
        return done.stdout.strip()

    try:
        if file is not None:
            git("ls-files", "--error-unmatch", file)
        commit, keys = git("rev-parse", "HEAD"), git("config", "--show-scope", "--name-only", "--list")
        if RUNS_PROGRAMS.search(keys):
            return {"commit": commit, "changed": None}
        return {"commit": commit, "changed": bool(git("status", "--porcelain", "--ignore-submodules=all"))}
    except (OSError, subprocess.SubprocessError):
        return None
