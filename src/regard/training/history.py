"""The runs below a folder, as far as their files tell: settings, results by epoch, and whether they are going on."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Any, Literal

from regard.config import flattened
from regard.errors import RegardError
from regard.system.files import is_file
from regard.system.loaders import parse_csv, read_json_mapping, read_start, read_text
from regard.system.locks import LOCK, is_held

DEEPEST, MOST_RUNS, MOST_FOLDERS, MOST_EPOCHS = 4, 200, 5000, 100_000
"""Depth of folders, and numbers of runs that are listed and folders that are visited."""

SHOWN = ("epochs", "batch", "imgsz", "seed")
"""Settings that tell runs apart."""

LOG, LOG_BYTES = "train.log", 4000
"""Output of a training that was not started in a terminal, and how much of its end is read."""

State = Literal["waiting", "starting", "running", "finished", "stopped", "failed"]
"""The first two are known to what starts runs only."""

COMMAND = "$ regard "
"""Start of the line by which each command that writes to a log begins."""


@dataclass(frozen=True)
class RunInfo:
    """A run.

    Attributes:
        name: its folder, relative to that which was searched.
        state: ``stopped`` if no process works on it and it has no final metrics; ``failed`` if its output shows why.
        settings: epochs, batch, imgsz and seed.
        data: source of its data set.
        results: values of each column of ``results.csv`` by epoch; None where an epoch has none.
        metrics: final ``ap``, ``ap50`` and ``ap75``, if it is finished.
        log: the end of its output, if that was kept.
        fault: the error with which it ended.
    """

    name: str
    state: State
    settings: dict[str, float]
    data: str
    results: dict[str, list[float | None]]
    metrics: dict[str, float]
    log: str
    fault: str = ""


def runs_below(folder: Path, without: str = "") -> list[RunInfo]:
    """List the runs in a folder and below it, the latest first; links are not followed.

    Args:
        folder: the folder.
        without: name of a file; folders that contain it are not searched.

    Example:
        >>> runs_below(Path("no-such-folder"))
        []
    """
    found: list[Path] = []
    for place, folders, files in walk(folder):
        if "run.json" in files and is_own(place / "run.json"):
            found.append(place)
        if "run.json" in files or without in files:
            folders.clear()
    found.sort(key=lambda path: -modified(path / "run.json"))
    return [read_run(path, folder) for path in found[:MOST_RUNS]]


def walk(folder: Path) -> Iterator[tuple[Path, list[str], list[str]]]:
    """Visit a folder and those below it as ``os.walk`` does, up to a depth and a number, without hidden ones."""
    for visited, (place, folders, files) in enumerate(os.walk(folder)):
        depth = len(Path(place).relative_to(folder).parts)
        folders[:] = [] if depth >= DEEPEST or visited > MOST_FOLDERS else [f for f in folders if not f.startswith(".")]
        yield Path(place), folders, files


def read_run(path: Path, folder: Path) -> RunInfo:
    """Read what is known of the run in ``path``; what is missing or damaged is left out."""
    config = _mapping(path / "run.json")
    finished = _mapping(path / "metrics.json")
    running, log = is_held(path / LOCK), read_log(path / LOG)
    fault = "" if running or finished else fault_in(log)
    state: State = "running" if running else "finished" if finished else "failed" if fault else "stopped"
    settings, data = config.get("settings"), config.get("data")
    return RunInfo(
        name=path.relative_to(folder).as_posix(),
        state=state,
        settings=_numbers(settings, SHOWN),
        data=str(data.get("source", "")) if isinstance(data, dict) else "",
        results=_results(path / "results.csv"),
        metrics=_numbers(finished, ("ap", "ap50", "ap75")),
        log=log,
        fault=fault,
    )


def modified(file: Path) -> float:
    """When a file was last changed, in seconds since 1970; 0 if it was removed meanwhile."""
    try:
        return file.stat().st_mtime
    except OSError:
        return 0


def is_own(file: Path) -> bool:
    """Whether a file is there and is no link, which could lead to anything else that the user can read."""
    return is_file(file) and not file.is_symlink()


@dataclass(frozen=True)
class RunComparison:
    """Runs next to each other: for each name, one value per run, None where a run has none.

    Attributes:
        runs: their names.
        settings: those that differ, as text; nested ones by dotted names.
        metrics: final metrics.
    """

    runs: tuple[str, ...]
    settings: dict[str, tuple[str | None, ...]]
    metrics: dict[str, tuple[float | None, ...]]


def compare_runs(folder: Path, names: Sequence[str]) -> RunComparison:
    """Compare the settings and the final metrics of runs.

    Args:
        folder: in which they are.
        names: their folders, relative to it.

    Raises:
        RegardError: one is no run.
    """
    for name in names:
        if not is_file(folder / name / "run.json"):
            raise RegardError("there is no run in this folder", file=folder / name)
    configs = [_mapping(folder / name / "run.json") for name in names]
    settings = [_settings(config) for config in configs]
    metrics = [_mapping(folder / name / "metrics.json") for name in names]
    known = {key: tuple(own.get(key) for own in settings) for own in settings for key in own}
    numbers = {key: None for own in metrics for key, value in own.items() if _is_number(value)}
    return RunComparison(
        tuple(names),
        {key: values for key, values in known.items() if len(set(values)) > 1},
        {key: tuple(own[key] if _is_number(own.get(key)) else None for own in metrics) for key in numbers},
    )


def _settings(config: Mapping[str, Any]) -> dict[str, str]:
    """All settings of a run, and its data set, as text."""
    data, settings = config.get("data"), config.get("settings")
    source = {"data": data.get("source")} if isinstance(data, Mapping) else {}
    return {key: str(value) for key, value in flattened({**source, **_dict(settings)}).items()}


def _dict(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _mapping(file: Path) -> Mapping[str, Any]:
    try:
        return read_json_mapping(file) if is_own(file) else {}
    except RegardError:  # it is damaged
        return {}


def _numbers(values: Any, names: tuple[str, ...]) -> dict[str, float]:
    if not isinstance(values, Mapping):
        return {}
    return {name: float(values[name]) for name in names if _is_number(values.get(name))}


def _finite(cell: str) -> float | None:
    """A number; None where there is none, or one that JSON cannot represent."""
    value = float(cell or "nan")
    return value if math.isfinite(value) else None


def _results(file: Path) -> dict[str, list[float | None]]:
    try:
        head, *rows = parse_csv(read_text(file), file, most=MOST_EPOCHS) if is_own(file) else [[]]
        return {name: [_finite(row[i]) for row in rows] for i, name in enumerate(head)}
    except (RegardError, ValueError, IndexError):  # it is damaged
        return {}


def read_log(file: Path) -> str:
    """Read the end of the output that a process left; "" where there is none."""
    try:
        return read_start(file, LOG_BYTES, from_end=True).decode(errors="replace") if is_own(file) else ""
    except (RegardError, OSError):
        return ""


def fault_in(log: str) -> str:
    r"""Find the error with which the last command of a log ended; "" where it ended without one.

    Example:
        >>> print(fault_in("epoch 1\nerror: no such device\n  expected: cpu\n"))
        no such device
          expected: cpu
        >>> fault_in("error: no such device\n$ regard train\nepoch 1\nstopped\n")
        ''
    """
    lines = ("\n" + log).rpartition("\n" + COMMAND)[2].rstrip().splitlines()
    starts = [k for k, line in enumerate(lines) if line.startswith("error: ")]
    if not lines or lines[-1] == "stopped":
        return ""
    if starts:
        rest = takewhile(lambda line: line.startswith("  "), lines[starts[-1] + 1 :])
        return "\n".join([lines[starts[-1]].removeprefix("error: "), *rest])
    return lines[-1] if "Traceback (most recent call last):" in lines else ""
