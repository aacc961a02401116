"""Experiment trackers as callbacks: Weights & Biases, MLflow and SwanLab.

Each gets the settings, every number of ``results.csv``, and at the end the metrics of the best weights. Where a run is
logged, on this machine or on a server, is decided by the tracker's own settings, such as ``WANDB_MODE=offline``,
``MLFLOW_TRACKING_URI`` or ``SWANLAB_MODE=offline``. A resumed run continues its run of the tracker, whose id is kept in
the folder. An error of a tracker is reported and does not end the training, and no tracker waits for input: where its
server cannot be used, as without a login, a run is logged to its folder.

What the packages collect by themselves of the machine and of what is printed is switched off by their settings;
``docs/callbacks.md`` lists what remains.
"""

from __future__ import annotations

import io
import json
import logging
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
from regard.data.paths import dataset_name
from regard.errors import RegardError, first_line, nearest, one_of
from regard.evaluation.metrics import HEADLINE
from regard.graph.detector import Detector
from regard.nn.attention import ATTENTION
from regard.nn.gate import Gated
from regard.system.files import is_file, write_file
from regard.system.loaders import read_json_mapping
from regard.training.callbacks.base import Callback
from regard.training.callbacks.events import EpochEnd, EpochRow, RunEnd, RunFailed, RunStart

log = logging.getLogger("regard.training.callbacks")

IDS = "trackers.json"
"""File in the folder of a run with the id that each tracker gave to it."""
LONGEST = 500
"""Longest value of a setting in letters, as MLflow limits it."""
PAUSE = 10
"""After a failure that took a second, nothing is logged for so many seconds: a dead server costs at most a tenth."""


class Tracker(Callback):
    """Base class of the trackers.

    Args:
        project: under which the run is listed; by default what the tracker's own variable, such as ``WANDB_PROJECT``,
            says, else "regard".
        name: of the run; by default that of its folder.

    Raises:
        RegardError: the tracker's package is not installed, or too old to be kept from recording the machine.
    """

    package: ClassVar[str]
    listed: ClassVar[str] = ""
    """Variable of the tracker's own that names the project."""
    oldest: ClassVar[tuple[int, int]] = (0, 0)
    """Oldest version of the package that has the settings used here."""
    _begun = False
    """Whether the tracker has a run; all is logged up to the epoch ``_logged``."""
    _id, _logged = "", 0
    _paused_until = -math.inf
    """When an epoch is sent again after a failure, in seconds of the monotonic clock."""

    def __init__(self, project: str | None = None, name: str | None = None) -> None:
        hint = f'pip install --upgrade "regard[{self.package}]"'
        if find_spec(self.package) is None:
            raise RegardError(f"{type(self).__name__} needs the package {self.package}", hint=hint)
        if (installed := _version_of(self.package)) is not None and installed < self.oldest:
            what = f"{self.package} {'.'.join(map(str, installed))} cannot be kept from recording this machine"
            raise RegardError(what, expected=f"version {'.'.join(map(str, self.oldest))} or later", hint=hint)
        self.project = project or os.environ.get(self.listed) or "regard"
        self.name = name

    def on_run_start(self, event: RunStart) -> None:
        """Begin, or continue, a run of the tracker; what it lacks of the finished epochs is logged."""
        self._file, self._begun = event.folder / IDS, False
        known = self._known() if event.epoch else {}
        settings = flattened(event.settings.model_dump(mode="json"))
        settings |= {"data": dataset_name(event.data.source), **about_model(event.model)}
        try:
            self._id = self.begin(event.folder, self.name or event.folder.name, settings, known.get("id"))
        except Exception as error:
            with suppress(Exception):  # a run that was begun in part is not left open
                self.finish(failed=True)
            raise RegardError(f"cannot begin, so this run is not logged there: {_reason(error)}") from error
        self._begun, self._logged = True, min(known.get("epoch", 0), event.epoch)
        self._note()
        self._log_missing(event.rows)

    def on_epoch_end(self, event: EpochEnd) -> None:
        """Log every number of the epoch, and of those before it that could not be logged."""
        self._log_missing(event.rows)

    def _log_missing(self, rows: Sequence[EpochRow]) -> None:
        """Log, in their order, the epochs that the tracker lacks; one that fails is tried again with the next."""
        if not self._begun or time.monotonic() < self._paused_until:  # which was reported
            return
        for row in rows:
            epoch = int(row["epoch"])
            if epoch > self._logged:
                values = {name: value for name, value in row.items() if name != "epoch" and math.isfinite(value)}
                self._send(values, epoch)
                self._logged = epoch
                self._note()

    def _send(self, values: Mapping[str, float], epoch: int) -> None:
        began = time.monotonic()
        try:
            self.record(values, epoch)
        except Exception as error:
            now = time.monotonic()
            self._paused_until = now + PAUSE * (now - began)
            what = f"epoch {epoch} cannot be logged, and is tried again later: {_reason(error)}"
            raise RegardError(what) from error

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
        self._paused_until = -math.inf
        measured = {f"best/{name}": float(getattr(event.metrics, name)) for name in HEADLINE}
        try:
            self._log_missing(event.rows)
            self._send({name: value for name, value in measured.items() if math.isfinite(value)}, event.epoch)
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


def about_model(model: Detector) -> dict[str, Any]:
    """What distinguishes the models of two runs: name of the file, attention and gated layers, start weights, size."""
    layers = [
        f"{row.name}: {row.module}{' (gated)' if isinstance(layer, Gated) else ''}"
        for row, layer in zip(model.spec.layers, model.model, strict=True)
        if row.module in ATTENTION or isinstance(layer, Gated)
    ]
    return {
        "model": model.spec.file.name if model.spec.file else "",
        "layers": ", ".join(layers),
        "start_weights": model.origin or "",
        "parameters": sum(p.numel() for p in model.parameters()),
    }


def _reason(error: Exception) -> str:
    """The error of a tracker's package in one line; its traceback goes to the log of level debug."""
    log.debug("traceback of the tracker's package", exc_info=error)
    return first_line(error) if isinstance(error, RegardError) else f"{type(error).__name__}: {first_line(error)}"


@contextmanager
def nobody_asked() -> Iterator[None]:
    """Replace standard input by an empty one and the terminal by one without input, so that no question can wait."""
    before, terminal = sys.stdin, os.environ.get("TERM")
    sys.stdin, os.environ["TERM"] = io.StringIO(), "dumb"  # W&B asks in a notebook, too, unless TERM says so
    try:
        yield
    finally:
        sys.stdin = before
        os.environ.pop("TERM")
        if terminal is not None:
            os.environ["TERM"] = terminal


class Hosted(Tracker):
    """A tracker with a server that wants a login; a run that it cannot take is logged to its folder."""

    mode: ClassVar[str]
    """Environment variable that decides where a run is logged."""
    kept: ClassVar[str]
    """Folder in that of the run, for runs that are logged on this machine."""

    def begin(self, folder: Path, name: str, settings: Mapping[str, Any], known: str | None) -> str:
        """Begin a run as the environment says, otherwise offline, which is reported; see `Tracker`."""
        with nobody_asked():
            try:
                return self.open_run(folder, name, settings, known, mode=None)
            except Exception as error:  # no login, or no answer; what else is wrong is wrong offline, too
                log.debug("%s is used offline", self.package, exc_info=error)
                with suppress(Exception):
                    self.finish(failed=True)
                found = self.open_run(folder, name, settings, known, mode="offline")
                reason = first_line(error)
        kind, package = type(self).__name__, self.package
        log.warning(
            "%s cannot be reached or has no login (%s), so this run is logged to %s; `%s login`, then `%s sync` sends "
            "it later, and %s=offline always keeps runs here",
            *(kind, reason, folder / self.kept, package, package, self.mode),
        )
        return found

    @abstractmethod
    def open_run(
        self, folder: Path, name: str, settings: Mapping[str, Any], known: str | None, *, mode: str | None
    ) -> str:
        """Begin a run, ``offline`` or, with None, as the environment says; the result is its id."""


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


W_AND_B_PATIENCE = "20"
"""Seconds for which a server may be silent before the run is logged to its folder: by default they are 90."""


class WandB(Hosted):
    """Logs to Weights & Biases; with ``WANDB_MODE=offline`` to the folder of the run, for ``wandb sync``."""

    package: ClassVar[str] = "wandb"
    listed: ClassVar[str] = "WANDB_PROJECT"
    mode: ClassVar[str] = "WANDB_MODE"
    kept: ClassVar[str] = "wandb"
    oldest: ClassVar[tuple[int, int]] = (0, 19)
    _run: Any = None

    def open_run(
        self, folder: Path, name: str, settings: Mapping[str, Any], known: str | None, *, mode: str | None
    ) -> str:
        """Begin a run; see `Hosted`."""
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")  # of its own faults, to its makers
        os.environ.setdefault("WANDB_INIT_TIMEOUT", W_AND_B_PATIENCE)
        wandb = import_module("wandb")
        quiet = wandb.Settings(silent=True, **W_AND_B_PRIVATE)
        where = {"project": self.project, "name": name, "dir": str(folder), "id": known, "resume": "allow"}
        self._run = wandb.init(**where, mode=mode, config=dict(settings), settings=quiet)
        return str(self._run.id)

    def record(self, values: Mapping[str, float], epoch: int) -> None:
        """Log values; see `Tracker`."""
        self._run.log(dict(values), step=epoch)

    def finish(self, *, failed: bool) -> None:
        """Close the run; see `Tracker`."""
        if self._run is not None:
            self._run.finish(exit_code=int(failed))
            self._run = None


MLFLOW_PATIENCE: Mapping[str, str] = MappingProxyType(
    {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2", "MLFLOW_HTTP_REQUEST_TIMEOUT": "10"}  # seconds
)
"""How long a server may be silent: by default a training would wait for 4 minutes for each request."""


class MLflow(Tracker):
    """Logs to MLflow: to ``MLFLOW_TRACKING_URI``, or else its database, or ``mlruns`` with ``mlflow-skinny``."""

    package: ClassVar[str] = "mlflow"
    listed: ClassVar[str] = "MLFLOW_EXPERIMENT_NAME"
    _client: Any = None
    _run = ""

    def begin(self, folder: Path, name: str, settings: Mapping[str, Any], known: str | None) -> str:  # noqa: ARG002
        """Begin a run; see `Tracker`."""
        # Without a server, mlflow-skinny has no other store than a folder, which MLflow wants to be asked for.
        os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        for variable, limit in MLFLOW_PATIENCE.items():
            os.environ.setdefault(variable, limit)
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


class SwanLab(Hosted):
    """Logs to SwanLab; with ``SWANLAB_MODE=offline`` to ``swanlog`` in the folder of the run."""

    package: ClassVar[str] = "swanlab"
    listed: ClassVar[str] = "SWANLAB_PROJ_NAME"
    mode: ClassVar[str] = "SWANLAB_MODE"
    kept: ClassVar[str] = "swanlog"
    oldest: ClassVar[tuple[int, int]] = (0, 8)
    _run: Any = None

    def open_run(
        self, folder: Path, name: str, settings: Mapping[str, Any], known: str | None, *, mode: str | None
    ) -> str:
        """Begin a run; see `Hosted`."""
        swanlab = import_module("swanlab")
        switches = swanlab.Settings.Probe.model_fields.items()  # each is something that it would collect
        probe = {field: False for field, about in switches if about.annotation is bool}
        silent = {"interactive": False} if "interactive" in swanlab.Settings.model_fields else {}
        quiet = swanlab.Settings(probe=probe, terminal={"proxy_type": "none"}, **silent)
        where = {"project": self.project, "name": name, "log_dir": str(folder / "swanlog")}
        more = {"id": known, "resume": "allow"} if known else {}
        self._run = swanlab.init(**where, mode=mode, config=dict(settings), settings=quiet, **more)
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
            expected = one_of(TRACKERS)
            raise RegardError(f"unknown tracker {name!r}", expected=expected, hint=nearest(name, TRACKERS))
    return [TRACKERS[name]() for name in dict.fromkeys(names)]
