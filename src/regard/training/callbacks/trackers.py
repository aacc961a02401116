"""Experiment trackers as callbacks: Weights & Biases, MLflow and SwanLab.

Each gets the settings, every number of ``results.csv``, and at the end the metrics of the best weights. Where a run is
logged, on this machine or on a server, is decided by the tracker's own settings, such as ``WANDB_MODE=offline``,
``MLFLOW_TRACKING_URI`` or ``SWANLAB_MODE=local``. A resumed run continues its run of the tracker, whose id is kept in
the folder. An error of a tracker is reported and does not end the training.

What the packages collect by themselves of the machine and of what is printed is switched off by their settings;
``docs/callbacks.md`` lists what remains.
"""

from __future__ import annotations

import io
import json
import math
import os
import re
import sys
import time
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar

from regard.config import flattened
from regard.errors import RegardError, nearest
from regard.evaluation.metrics import HEADLINE
from regard.system.files import is_file, write_file
from regard.system.loaders import read_json_mapping
from regard.training.callbacks.base import Callback
from regard.training.callbacks.events import EpochEnd, EpochRow, RunEnd, RunFailed, RunStart

IDS = "trackers.json"
"""File in the folder of a run with the id that each tracker gave to it."""
LONGEST = 500
"""Longest value of a setting in letters, as MLflow limits it."""


class Tracker(Callback):
    """Base class of the trackers.

    Args:
        project: under which the run is listed.
        name: of the run; by default that of its folder.

    Raises:
        RegardError: the tracker's package is not installed, or too old to be kept from recording the machine.
    """

    package: ClassVar[str]
    oldest: ClassVar[tuple[int, int]] = (0, 0)
    """Oldest version of the package that has the settings used here."""
    _begun = False
    """Whether the tracker has a run; all is logged up to the epoch ``_logged``."""
    _id, _logged = "", 0

    def __init__(self, project: str = "regard", name: str | None = None) -> None:
        hint = f"pip install --upgrade 'regard[{self.package}]'"
        if find_spec(self.package) is None:
            raise RegardError(f"{type(self).__name__} needs the package {self.package}", hint=hint)
        if (installed := _version_of(self.package)) is not None and installed < self.oldest:
            what = f"{self.package} {'.'.join(map(str, installed))} cannot be kept from recording this machine"
            raise RegardError(what, expected=f"version {'.'.join(map(str, self.oldest))} or later", hint=hint)
        self.project, self.name = project, name

    def on_run_start(self, event: RunStart) -> None:
        """Begin, or continue, a run of the tracker; what it lacks of the finished epochs is logged."""
        self._file, self._begun = event.folder / IDS, False
        known = self._known() if event.epoch else {}
        settings = flattened(event.settings.model_dump(mode="json"))
        settings |= {
            "data": Path(event.data.source).name,
            "parameters": sum(p.numel() for p in event.model.parameters()),
        }
        try:
            self._id = self.begin(event.folder, self.name or event.folder.name, settings, known.get("id"))
        except Exception:
            with suppress(Exception):  # a run that was begun in part is not left open
                self.finish(failed=True)
            raise
        self._begun, self._logged = True, min(known.get("epoch", 0), event.epoch)
        self._note()
        self._log_missing(event.rows)

    def on_epoch_end(self, event: EpochEnd) -> None:
        """Log every number of the epoch, and of those before it that could not be logged."""
        self._log_missing(event.rows)

    def _log_missing(self, rows: Sequence[EpochRow]) -> None:
        """Log, in their order, the epochs that the tracker lacks; one that fails is tried again with the next."""
        if not self._begun:  # which was reported
            return
        for row in rows:
            epoch = int(row["epoch"])
            if epoch > self._logged:
                values = {name: value for name, value in row.items() if name != "epoch" and math.isfinite(value)}
                self.record(values, epoch)
                self._logged = epoch
                self._note()

    def _known(self) -> dict[str, Any]:
        """Id of the run, and the last epoch up to which all were logged; empty if there is none."""
        found = read_json_mapping(self._file).get(self.package, {}) if is_file(self._file) else {}
        return found if isinstance(found, dict) and isinstance(found.get("epoch"), int) else {}

    def _note(self) -> None:
        every = read_json_mapping(self._file) if is_file(self._file) else {}
        write_file(self._file, json.dumps({**every, self.package: {"id": self._id, "epoch": self._logged}}))

    def on_run_end(self, event: RunEnd) -> None:
        """Log what is missing and the metrics of the best weights, and close the run, also where logging fails."""
        if not self._begun:
            return
        measured = {f"best/{name}": float(getattr(event.metrics, name)) for name in HEADLINE}
        try:
            self._log_missing(event.rows)
            self.record({name: value for name, value in measured.items() if math.isfinite(value)}, event.epoch)
        finally:
            self.finish(failed=False)

    def on_run_failed(self, event: RunFailed) -> None:  # noqa: ARG002
        """Close the run as failed; it continues when the training is resumed."""
        if self._begun:
            self.finish(failed=True)

    @abstractmethod
    def begin(self, folder: Path, name: str, settings: Mapping[str, Any], known: str | None) -> str:
        """Begin a run, or continue that of the id ``known``; the result is its id."""

    @abstractmethod
    def record(self, values: Mapping[str, float], epoch: int) -> None:
        """Log values of an epoch."""

    @abstractmethod
    def finish(self, *, failed: bool) -> None:
        """Close the run, if one is open."""


@contextmanager
def nobody_asked() -> Iterator[None]:
    """Replace standard input by an empty one, so that no question keeps a run waiting."""
    before, sys.stdin = sys.stdin, io.StringIO()
    try:
        yield
    finally:
        sys.stdin = before


def _version_of(package: str) -> tuple[int, int] | None:
    """Major and minor version of an installed package, or None where none is stated."""
    try:
        found = re.match(r"(\d+)\.(\d+)", version(package))
    except PackageNotFoundError:
        return None
    return (int(found[1]), int(found[2])) if found else None


W_AND_B_PRIVATE: Mapping[str, Any] = MappingProxyType(
    {
        **dict.fromkeys(("x_disable_meta", "x_disable_stats", "x_disable_machine_info"), True),
        **dict.fromkeys(("disable_git", "disable_code", "disable_job_creation"), True),
        **dict.fromkeys(("save_code", "x_save_requirements"), False),
        "console": "off",
        "host": "",
    }
)
"""Settings of W&B that leave out host name, command line, folders, packages, hardware, load, code and console."""


class WandB(Tracker):
    """Logs to Weights & Biases; with ``WANDB_MODE=offline`` to the folder of the run, for ``wandb sync``."""

    package: ClassVar[str] = "wandb"
    oldest: ClassVar[tuple[int, int]] = (0, 19)
    _run: Any = None

    def begin(self, folder: Path, name: str, settings: Mapping[str, Any], known: str | None) -> str:
        """Begin a run; see `Tracker`."""
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")  # of its own faults, to its makers
        wandb = import_module("wandb")
        quiet = wandb.Settings(silent=True, **W_AND_B_PRIVATE)
        where = {"project": self.project, "name": name, "dir": str(folder), "id": known, "resume": "allow"}
        with nobody_asked():  # where there is no login, W&B's own error says what to do
            self._run = wandb.init(**where, config=dict(settings), settings=quiet)
        return str(self._run.id)

    def record(self, values: Mapping[str, float], epoch: int) -> None:
        """Log values; see `Tracker`."""
        self._run.log(dict(values), step=epoch)

    def finish(self, *, failed: bool) -> None:
        """Close the run; see `Tracker`."""
        if self._run is not None:
            self._run.finish(exit_code=int(failed))
            self._run = None


class MLflow(Tracker):
    """Logs to MLflow: to ``MLFLOW_TRACKING_URI``, or else its database, or ``mlruns`` with ``mlflow-skinny``."""

    package: ClassVar[str] = "mlflow"
    _client: Any = None
    _run = ""

    def begin(self, folder: Path, name: str, settings: Mapping[str, Any], known: str | None) -> str:  # noqa: ARG002
        """Begin a run; see `Tracker`."""
        # Without a server, mlflow-skinny has no other store than a folder, which MLflow wants to be asked for.
        os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        mlflow, entities = import_module("mlflow"), import_module("mlflow.entities")
        is_decided = mlflow.is_tracking_uri_set() or find_spec("sqlalchemy") is not None
        self._client = mlflow.MlflowClient(None if is_decided else Path("mlruns").absolute().as_uri())
        if known:
            self._run = self._client.get_run(known).info.run_id
            self._client.update_run(known, status="RUNNING")
            return self._run
        experiment = self._client.get_experiment_by_name(self.project)
        number = experiment.experiment_id if experiment else self._client.create_experiment(self.project)
        self._run = self._client.create_run(number, run_name=name).info.run_id
        parameters = [entities.Param(key, str(value)[:LONGEST]) for key, value in settings.items()]
        self._client.log_batch(self._run, params=parameters)
        return self._run

    def record(self, values: Mapping[str, float], epoch: int) -> None:
        """Log values; see `Tracker`."""
        entities, now = import_module("mlflow.entities"), int(1000 * time.time())
        self._client.log_batch(self._run, [entities.Metric(key, value, now, epoch) for key, value in values.items()])

    def finish(self, *, failed: bool) -> None:
        """Close the run; see `Tracker`."""
        if self._client is not None and self._run:
            self._client.set_terminated(self._run, "FAILED" if failed else "FINISHED")
            self._client = None


class SwanLab(Tracker):
    """Logs to SwanLab; with ``SWANLAB_MODE=local`` or ``offline`` to ``swanlog`` in the folder of the run."""

    package: ClassVar[str] = "swanlab"
    oldest: ClassVar[tuple[int, int]] = (0, 8)
    _run: Any = None

    def begin(self, folder: Path, name: str, settings: Mapping[str, Any], known: str | None) -> str:
        """Begin a run; see `Tracker`."""
        swanlab = import_module("swanlab")
        switches = swanlab.Settings.Probe.model_fields.items()  # each is something that it would collect
        probe = {field: False for field, about in switches if about.annotation is bool}
        quiet = swanlab.Settings(probe=probe, terminal={"proxy_type": "none"})
        where = {"project": self.project, "name": name, "log_dir": str(folder / "swanlog")}
        more = {"id": known, "resume": "allow"} if known else {}
        self._run = swanlab.init(**where, config=dict(settings), settings=quiet, **more)
        return str(getattr(self._run, "id", "") or getattr(getattr(self._run, "public", None), "run_id", ""))

    def record(self, values: Mapping[str, float], epoch: int) -> None:
        """Log values; see `Tracker`."""
        self._run.log(dict(values), step=epoch)

    def finish(self, *, failed: bool) -> None:
        """Close the run; see `Tracker`."""
        if self._run is not None:
            crashed = {"state": "crashed", "error": "the training was interrupted"} if failed else {}
            self._run.finish(**crashed)
            self._run = None


TRACKERS: Mapping[str, type[Tracker]] = MappingProxyType({kind.package: kind for kind in (WandB, MLflow, SwanLab)})
"""The trackers by the name of their package."""


def trackers_named(names: Sequence[str]) -> list[Callback]:
    """Make the trackers of these names, with their defaults.

    Raises:
        RegardError: there is no such tracker, or its package is not installed.

    Example:
        >>> trackers_named(["wandbb"])
        Traceback (most recent call last):
        regard.errors.RegardError: unknown tracker 'wandbb'
          expected: one of wandb, mlflow, swanlab
          did you mean 'wandb'?
    """
    for name in names:
        if name not in TRACKERS:
            expected = "one of " + ", ".join(TRACKERS)
            raise RegardError(f"unknown tracker {name!r}", expected=expected, hint=nearest(name, TRACKERS))
    return [TRACKERS[name]() for name in dict.fromkeys(names)]
