"""Reading the run folders of three packages. A package is one module and one entry of ``PACKAGES``."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import Protocol

from regard.diagnosis.packages import own, ultralytics, yolov5
from regard.diagnosis.record import TrainingRecord
from regard.errors import RegardError
from regard.system.files import is_file, is_folder, reject_special


class Package(Protocol):
    """A module that reads the run folders of one package."""

    SETTINGS: str
    """Name of the file by which a folder is recognised."""

    def read(self, folder: Path) -> TrainingRecord:
        """Read what a run folder states.

        Raises:
            RegardError: a file is missing or damaged.
        """


PACKAGES: tuple[Package, ...] = (own, yolov5, ultralytics)
DEEPEST = 3
"""Folders between one that is no run, such as that of a study, and its runs."""
MOST_FOLDERS = 1000
"""Folders that are looked through for a run at each depth."""


def read_run(folder: Path) -> TrainingRecord:
    """Read a run folder of any of the packages.

    Raises:
        RegardError: there is no such folder, it is none of a run, or a file in it is damaged.
    """
    if not is_folder(folder):
        reject_special(folder)
        what = "this is a file" if is_file(folder) else "no such folder"
        raise RegardError(what, file=folder, expected="the folder of a training run", hint=_hint(_run_above(folder)))
    for package in PACKAGES:
        reject_special(folder / package.SETTINGS)
        if is_file(folder / package.SETTINGS):
            return package.read(folder)
    others = ", ".join(package.SETTINGS for package in PACKAGES[:-1])
    raise RegardError(
        "no training run in this folder",
        file=folder,
        expected=f"a folder with {others} or {PACKAGES[-1].SETTINGS}",
        hint=_hint(_run_above(folder) or _run_below(folder)),
    )


def _is_run(folder: Path) -> bool:
    return any(is_file(folder / package.SETTINGS) for package in PACKAGES)


def _run_above(place: Path) -> Path | None:
    return next((one for one in place.absolute().parents[:2] if _is_run(one)), None)


def _run_below(folder: Path) -> Path | None:
    """The first run in the folders below, as those of a study are; at most ``DEEPEST`` down."""
    below = [folder]
    for _ in range(DEEPEST):
        below = sorted(islice((one for above in below for one in above.glob("*/")), MOST_FOLDERS))
        if found := next(filter(_is_run, below), None):
            return found
    return None


def _hint(run: Path | None) -> str | None:
    return None if run is None else f"there is a run in {run}"
