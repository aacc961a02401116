"""Training a detector, and continuing a training."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Unpack

import torch

from regard.config import TrainSettings, checked
from regard.config.keywords import TrainKeywords
from regard.config.signature import accepts, check_names
from regard.errors import RegardError
from regard.graph.detector import Detector
from regard.system.files import check_folder, is_file
from regard.system.interrupts import interrupts_deferred
from regard.system.launcher import is_first_process
from regard.system.terminal import in_notebook
from regard.training.callbacks import Callback, checked_callbacks
from regard.training.folder import begin_run, discard_begun, reject_taken
from regard.training.prepare import load_training_data
from regard.training.processes import claim_for_all, for_launcher, reject_cell_that_resumes
from regard.training.resume import resume_training, resumed_settings
from regard.training.run import Run, run_training
from regard.weights.detector import Model, Modules, as_detector


@accepts(TrainSettings)
@interrupts_deferred()
def train(
    model: Model,
    data: str | Path,
    *,
    folder: str | Path | None = None,
    callbacks: Sequence[Callback] = (),
    verbose: bool = True,
    **settings: Unpack[TrainKeywords],
) -> Run:
    """Train a copy of ``model`` and load the weights of its best epoch.

    The class names come from the data; where they differ, the head is replaced, and its tensors of equal name are kept.

    Example:
        >>> model, data = regard.load("odd-one-out"), "synthetic:context?train=8&val=4&test=0"
        >>> run = regard.train(model, data, epochs=1, imgsz=64, workers=0, plots=False, verbose=False)
        >>> run.metrics.images
        4

    Args:
        model: where to start from, a detector, which is not changed, or what ``load`` takes.
        data: a YOLO ``data.yaml`` or its folder, a COCO JSON, a Pascal VOC folder, or ``synthetic:context``.
        folder: folder of the run; the first free one of ``runs/train``, ``runs/train-2``, ... if not given.
        callbacks: see `regard.Callback`; they are called after those that write the folder and print the progress.
        verbose: print the progress.
        settings: the fields of ``regard.config.TrainSettings``.

    Returns:
        The run: its folder, the metrics of its best epoch, and the detector with the weights of that epoch.

    Raises:
        RegardError: an unknown or bad setting, or data or hardware that do not allow it.
    """
    asked, callbacks = for_launcher(checked(TrainSettings, settings)), _checked_watching(callbacks, verbose)
    check_folder(Path(folder or "runs"))
    if folder is not None:
        reject_taken(Path(folder))
    if not isinstance(model, Detector):
        torch.manual_seed(asked.seed)  # a model without weights starts from random ones
        model = as_detector(model)
    loaded = load_training_data(data, asked)
    with claim_for_all(asked, folder, Path("runs", "train")) as place, _left_in_order(place, verbose):
        start = model.started_from
        return run_training(model, loaded, asked, place, start=start, callbacks=callbacks, verbose=verbose)


@interrupts_deferred()
def resume(
    folder: str | Path,
    *,
    data: str | Path | None = None,
    modules: Modules | None = None,
    callbacks: Sequence[Callback] = (),
    verbose: bool = True,
    **settings: Unpack[TrainKeywords],
) -> Run:
    """Continue a run exactly where its last finished epoch left it.

    Args:
        folder: folder of the run.
        data: where the run's data set is now, if it has moved.
        modules: your own layers that the model needs.
        callbacks: as for ``train``; those of the earlier process are not restored.
        verbose: print the progress.
        settings: ``epochs``, to which the schedule of the learning rate is then stretched, ``patience``, ``val_every``,
            ``device``, ``devices``, ``workers``, ``cache`` and ``plots`` may be other than before.

    Returns:
        The whole run, as from ``train``.

    Raises:
        RegardError: there is no run in ``folder``, its data set is not found or has changed, or another setting is not
            the run's.

    Example:
        >>> model, data = regard.load("odd-one-out"), "synthetic:context?train=8&val=4&test=0"
        >>> settings = {"epochs": 1, "imgsz": 64, "workers": 0, "plots": False}
        >>> run = regard.train(model, data, folder="runs/first", verbose=False, **settings)
        >>> regard.resume("runs/first", verbose=False).metrics.images
        4
    """
    check_names(TrainSettings, ("folder", "data", "modules", "callbacks", "verbose"), settings)
    watching = _checked_watching(callbacks, verbose)
    asked = resumed_settings(Path(folder), settings)  # before anything is made there
    reject_cell_that_resumes(asked, Path(folder), data)
    with claim_for_all(asked, folder) as place, _left_in_order(place, verbose):
        return resume_training(place, asked, data=data, modules=modules, callbacks=watching, verbose=verbose)


@contextmanager
def _left_in_order(folder: Path, verbose: bool) -> Iterator[None]:
    """Mark a new run, and if it ends early, remove what cannot be resumed, or say in a notebook how to resume it."""
    if not is_first_process():
        yield
        return
    if not is_file(folder / "run.json"):
        begin_run(folder)
    try:
        yield
    except BaseException as error:
        if not is_file(folder / "run.json"):
            discard_begun(folder)
        elif isinstance(error, KeyboardInterrupt) and verbose and in_notebook():
            print(f"stopped: regard.resume({str(folder)!r}) continues after the last finished epoch")
        raise


def _checked_watching(callbacks: Sequence[Callback], verbose: bool) -> tuple[Callback, ...]:
    if not isinstance(verbose, bool):
        raise RegardError(f"verbose is {verbose!r:.200}", expected="True or False")
    return checked_callbacks(callbacks)
