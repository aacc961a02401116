"""The folder of a run: it says everything about it. Every file is written beside and renamed into place."""

from __future__ import annotations

import csv
import io
import json
import math
import os
import platform
import subprocess
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from regard.errors import RegardError
from regard.folders import next_folder as next_folder
from regard.graph.detector import Detector
from regard.replacing import replacing
from regard.weights.detector import save_detector, with_current_anchors
from regard.weights.store import load_state, save_state

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

PACKAGES = ("regard", "torch", "torchvision", "lightning-fabric", "numpy", "opencv-python-headless", "faster-coco-eval")

EpochRow = dict[str, float]


class RunFolder:
    """Where a run keeps its configuration, its table of results, its weights and what it needs to go on.

    Args:
        path: the folder; made where it does not exist.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._scalars: SummaryWriter | None = None
        path.mkdir(parents=True, exist_ok=True)

    def write_config(self, detector: Detector, config: Mapping[str, Any]) -> None:
        """Write ``model.yaml`` and ``run.json`` (settings, seed, versions, git state, command)."""
        self.write("model.yaml", with_current_anchors(detector).to_yaml())
        self.write_json("run.json", {**config, "environment": environment()})

    def write_results(self, rows: Sequence[EpochRow]) -> None:
        """Write ``results.csv``, one row an epoch."""
        columns = list(dict.fromkeys(name for row in rows for name in row))
        text = io.StringIO()
        table = csv.DictWriter(text, columns, lineterminator="\n")
        table.writeheader()
        table.writerows([{name: _number(value) for name, value in row.items()} for row in rows])
        self.write("results.csv", text.getvalue())

    def write_scalars(self, row: EpochRow) -> None:
        """Add an epoch to the TensorBoard log in ``tensorboard/``."""
        from torch.utils.tensorboard import SummaryWriter  # takes seconds to import

        epoch = int(row["epoch"])
        if self._scalars is None:  # what an earlier process wrote of this epoch, before it was killed, is superseded
            self._scalars = SummaryWriter(str(self.path / "tensorboard"), purge_step=epoch)
        for name, value in row.items():
            if name != "epoch" and not math.isnan(value):
                self._scalars.add_scalar(name, value, epoch)
        self._scalars.flush()

    def close(self) -> None:
        """End the TensorBoard log."""
        if self._scalars is not None:
            self._scalars.close()
            self._scalars = None

    def write_weights(
        self, name: str, detector: Detector, training: Mapping[str, Any], extra: Mapping[str, Any]
    ) -> None:
        """Write a detector as ``<name>.safetensors``."""
        save_detector(self.path / f"{name}.safetensors", detector, training=training, extra=extra)

    def write_state(self, state: dict[str, Any]) -> None:
        """Write ``state.pt``, all that continuing needs."""
        save_state(self.path / "state.pt", state)

    def read_state(self) -> dict[str, Any]:
        """Return what ``write_state`` wrote last.

        Raises:
            RegardError: there is nothing to continue from.
        """
        return load_state(self.path / "state.pt")

    def remove_unfinished(self) -> None:
        """Remove the files that a killed process was about to put in place."""
        for path in self.path.glob(".*.tmp"):
            path.unlink(missing_ok=True)

    def write_json(self, name: str, document: Mapping[str, Any]) -> None:
        """Write a JSON file whole or not at all."""
        self.write(name, json.dumps(document, indent=2, ensure_ascii=False) + "\n")

    def write(self, name: str, text: str) -> None:
        """Write a text file whole or not at all."""
        with replacing(self.path / name) as file:
            file.write(text.encode())


def read_config(folder: Path) -> dict[str, Any]:
    """Return the configuration of an earlier run.

    Raises:
        RegardError: the folder holds no run, or its ``run.json`` is damaged.
    """
    file = folder / "run.json"
    if not file.is_file():
        raise RegardError("no run in this folder", file=folder, expected="a folder with run.json and state.pt")
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise RegardError(f"damaged: {error}", file=file) from error
    if not isinstance(config, dict):
        raise RegardError("damaged: not a mapping", file=file)
    return config


def environment() -> dict[str, Any]:
    """Return versions, hardware, git state, the command line and the time."""
    import torch

    return {
        "started": datetime.now().astimezone().isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "packages": {name: version(name) for name in PACKAGES},
        "platform": platform.platform(),
        "processor": platform.machine(),
        "cpus": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name(0) if torch.cuda.is_available() else None,
        "git": git_state(Path.cwd()),
        "regard_git": git_state(Path(__file__).parent, Path(__file__).name),
        "command": [Path(sys.argv[0]).name.replace("__main__.py", "regard"), *sys.argv[1:]],
    }


def git_state(folder: Path, file: str | None = None) -> dict[str, Any] | None:
    """Return the commit that a folder is at, and whether anything is changed; None outside git.

    Args:
        folder: any folder of a working tree.
        file: a file in it that must be tracked: an installed package may lie in another project's tree.
    """

    def git(*arguments: str) -> str:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments], capture_output=True, text=True, timeout=10, check=True
        )
        return done.stdout.strip()

    try:
        if file is not None:
            git("ls-files", "--error-unmatch", file)
        return {"commit": git("rev-parse", "HEAD"), "changed": bool(git("status", "--porcelain"))}
    except (OSError, subprocess.SubprocessError):
        return None


def _number(value: float) -> str:
    return f"{value:.6g}"
