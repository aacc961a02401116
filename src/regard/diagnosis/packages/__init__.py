"""Reading the run folders of three packages. A package is one module and one entry of ``PACKAGES``."""

from __future__ import annotations

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


def read_run(folder: Path) -> TrainingRecord:
    """Read a run folder of any of the packages.

    Raises:
        RegardError: there is no such folder, it is none of a run, or a file in it is damaged.
    """
    if not is_folder(folder):
        reject_special(folder)
        raise RegardError("no such folder", file=folder, expected="the folder of a training run")
    for package in PACKAGES:
        reject_special(folder / package.SETTINGS)
        if is_file(folder / package.SETTINGS):
            return package.read(folder)
    expected = "a folder with " + ", ".join(package.SETTINGS for package in PACKAGES[:-1])
    raise RegardError("no training run in this folder", file=folder, expected=f"{expected} or {PACKAGES[-1].SETTINGS}")
