"""Continuing a run: with its own settings, its own data, and the few changes that it can take."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from torch import nn

from regard.config import TrainSettings, checked, describe
from regard.data.synthetic import PREFIX
from regard.errors import RegardError
from regard.system.files import is_there
from regard.system.launcher import is_first_process, launched_processes
from regard.training.callbacks import Callback
from regard.training.folder import RunFolder, read_config, run_settings
from regard.training.prepare import load_training_data
from regard.training.run import Run, describe_data, run_training
from regard.weights.detector import load_detector
from regard.weights.store import load_weights

log = logging.getLogger("regard.training")

CHANGEABLE = ("epochs", "patience", "val_every", "device", "devices", "workers", "cache", "plots")
"""Settings that may be others when a run is continued: they do not change what an epoch computes, up to rounding."""


def resumed_settings(folder: Path, asked: Mapping[str, Any]) -> TrainSettings:
    """Read the settings of the run in ``folder``, with the changes that are asked for.

    Raises:
        RegardError: there is no run, or it cannot be continued with one of the changes.
    """
    file = folder / "run.json"
    settings, _ = run_settings(read_config(folder), file)
    if started := launched_processes():
        asked = {"devices": started, **asked}
    wanted = checked(TrainSettings, asked)
    now, before = describe(wanted), describe(settings)
    changed = {name for name in wanted.model_fields_set if now[name] != before[name]}
    if kept := sorted(changed.difference(CHANGEABLE)):
        listed = "; ".join(f"{name} {_shown(before[name])}, not {_shown(now[name])}" for name in kept)
        raise RegardError(
            f"the run in this folder has {listed}: it cannot be continued with another",
            file=file,
            expected="changes of " + ", ".join(CHANGEABLE),
            hint="leave it out, or start a new run from last.safetensors",
        )
    return settings.model_copy(update={name: getattr(wanted, name) for name in changed})


def _shown(value: Any) -> str:
    return str(value.get("name")) if isinstance(value, dict) else repr(value)


def resume_training(
    folder: Path,
    settings: TrainSettings | None = None,
    *,
    data: str | Path | None = None,
    modules: Mapping[str, type[nn.Module]] | None = None,
    callbacks: Sequence[Callback] = (),
    verbose: bool = True,
) -> Run:
    """Continue the run in ``folder`` where its last finished epoch left it.

    Args:
        folder: of the run.
        settings: those of `resumed_settings`; the run's if not given.
        data, modules, callbacks, verbose: as for `regard.resume`.

    Raises:
        RegardError: there is no run, no state to resume from, or ``data`` is another data set than the run's.
    """
    config, file = read_config(folder), folder / "run.json"
    before, source = run_settings(config, file)
    settings = settings or before
    if data is None and not source.startswith(PREFIX) and not is_there(source):
        what = f"the run's data set {source} does not exist"
        raise RegardError(what, file=file, hint="name where it is now: --data PATH (in Python: data=PATH)")
    loaded = load_training_data(data or source, settings)
    described = describe_data(loaded)
    _check_same_data(config["data"], described, file)
    detector = load_detector(folder / "last.safetensors", modules=modules)
    _report(before, settings, _finished(folder), file)
    if is_first_process():
        _record(folder, config, {**config["data"], "source": described["source"]}, before, settings)
    return run_training(detector, loaded, settings, folder, callbacks=callbacks, verbose=verbose, resume=True)


def _finished(folder: Path) -> int:
    epoch = load_weights(folder / "last.safetensors")[1].extra.get("epoch")
    return epoch if isinstance(epoch, int) else 0


def _report(before: TrainSettings, settings: TrainSettings, finished: int, file: Path) -> None:
    """Log what a change of the number of epochs means.

    Raises:
        RegardError: more epochs are finished.
    """
    if settings.epochs < finished:
        what = f"{finished} epochs are finished, so the run cannot end after {settings.epochs}"
        raise RegardError(what, file=file, expected=f"epochs of at least {finished}")
    if settings.epochs != before.epochs:
        log.info(
            "the run continues to epoch %d instead of %d; from epoch %d on the learning rate and mosaic are scheduled "
            "as in a run of %d epochs",
            *(settings.epochs, before.epochs, finished + 1, settings.epochs),
        )
    elif finished == settings.epochs:
        log.info("all %d epochs are finished; --epochs with a larger number (in Python epochs=) adds more", finished)


def _record(
    folder: Path, config: Mapping[str, Any], data: Mapping[str, Any], before: TrainSettings, settings: TrainSettings
) -> None:
    """Write new settings, and where the data are now, to ``run.json``, with a note of what they were before."""
    now, then = describe(settings), describe(before)
    entry: dict[str, Any] = {}
    if changed := {name: [then[name], now[name]] for name in now if now[name] != then[name]}:
        entry["settings"] = changed
    if data != config["data"]:
        entry["data"] = {"source": [config["data"]["source"], data["source"]]}
    if not entry:
        return
    time, earlier = datetime.now().astimezone().isoformat(timespec="seconds"), config.get("changes")
    entry = {"after_epoch": _finished(folder), "time": time, **entry}
    changes = [*(earlier if isinstance(earlier, list) else []), entry]
    RunFolder(folder).write_json("run.json", {**config, "settings": now, "data": dict(data), "changes": changes})


def _check_same_data(earlier: Mapping[str, Any], now: Mapping[str, Any], file: Path) -> None:
    """Check that a run continues with the classes, and the numbers of images and boxes, that it began with."""
    for key in ("names", "splits"):
        if key in earlier and earlier[key] != now[key]:
            what = f"the run's data had {key} {earlier[key]}, and those of {now['source']} are {now[key]}"
            raise RegardError(what, file=file, expected="the same data set")
