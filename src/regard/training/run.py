"""A run from beginning to end: processes started, trained, the best weights measured once more, all of it kept."""

from __future__ import annotations

import hashlib
import logging
import math
import os
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric

from regard.config import TrainSettings
from regard.data.check import also_in_train
from regard.data.dataset import DetectionDataset
from regard.data.synthetic import PREFIX
from regard.data.validation import ValidationLoader
from regard.errors import RegardError
from regard.evaluation import Metrics, evaluate
from regard.graph.detector import Detector
from regard.nn.fuse import fuse
from regard.profiling.memory import check_attention_fits
from regard.system.device import choose_device
from regard.system.files import is_file, is_folder
from regard.system.resources import available_cores
from regard.training.callbacks import Callback, RunEnd, RunFailed
from regard.training.folder import RunFolder, reject_run
from regard.training.loop import Trainer, named_gates
from regard.training.prepare import validation_split
from regard.training.processes import for_launcher, launch
from regard.weights.detector import load_detector
from regard.weights.paths import weights_of_run
from regard.weights.store import load_weights

log = logging.getLogger("regard.training")


class Gates(dict[str, float]):
    """Values of gates by the name of their layer; four digits of each are shown.

    Example:
        >>> Gates({"p4.se": -0.36370551586151123})
        {'p4.se': -0.3637}
    """

    def __repr__(self) -> str:
        return repr({name: round(value, 4) for name, value in self.items()})


@dataclass(frozen=True)
class Run:
    """The result of training.

    Attributes:
        folder: folder of the run, with weights, results, configuration and images.
        metrics: of the best epoch's weights on the validation split.
        model: the detector with those weights, in evaluation mode, on the CPU.
        gates: the final value of every gate by the name of its layer; empty without gates.
    """

    folder: Path
    metrics: Metrics = field(repr=False)
    model: Detector = field(repr=False)
    gates: Gates = field(default_factory=Gates)


class _Outcome:
    """Results that the first process determines at the end, for the others."""

    def __init__(self, weights: Path, metrics: Metrics, gates: dict[str, float]) -> None:
        self.weights, self.metrics, self.gates = weights, metrics, gates


def run_training(
    detector: Detector,
    data: DetectionDataset,
    settings: TrainSettings,
    folder: Path,
    *,
    start: str | None = None,
    callbacks: Sequence[Callback] = (),
    verbose: bool = True,
    resume: bool = False,
) -> Run:
    """Train a copy of ``detector`` on ``data`` and load the best epoch's weights.

    Args:
        detector: where to start from; unchanged.
        data: with splits train and val.
        settings: budget, recipe, hardware.
        folder: where the run is kept.
        start: what the weights of ``detector`` came from, for ``run.json``; see `Detector.started_from`.
        callbacks: called in the first process, after those that every run has.
        verbose: print the progress.
        resume: continue from the folder's ``state.pt``.

    Raises:
        RegardError: the data, the settings or the hardware do not allow it, or the folder already contains a run.
    """
    if not resume:
        reject_run(folder)
    settings = for_launcher(settings)
    check_attention_fits(
        detector, settings.imgsz, math.ceil(settings.batch / settings.devices), choose_device(settings.device)
    )
    outcome = launch(
        settings,
        _fit,
        detector=deepcopy(detector),
        data=data,
        settings=settings,
        folder=folder,
        config={"data": describe_data(data), "start": {**fingerprint(detector), "source": start}},
        callbacks=tuple(callbacks),
        verbose=verbose,
        resume=resume,
    )
    model = load_detector(outcome.weights, modules=detector.user_modules)
    return Run(folder, outcome.metrics, model, Gates(outcome.gates))


def _fit(fabric: Fabric, **arguments: Any) -> _Outcome:
    """Train in one of the processes. The first also measures the best weights, while the others wait for the result."""
    if fabric.world_size > 1:
        torch.set_num_threads(max(available_cores() // fabric.world_size, 1))
    trainer = Trainer(fabric, **arguments)
    try:
        trainer.fit()
        outcome = _finish(trainer) if fabric.is_global_zero else None
    except BaseException as error:
        trainer.callbacks.emit(RunFailed(trainer.path, trainer.state.epoch, error))
        hint = _way_on(trainer.path, trainer.state.epoch, getattr(error, "file", None))
        if isinstance(error, RegardError) and hint and not error.hint:
            raise RegardError(
                error.what, file=error.file, line=error.line, expected=error.expected, hint=hint
            ) from error
        raise
    shared = fabric.broadcast(outcome)
    assert isinstance(shared, _Outcome)
    return shared


def _way_on(folder: Path, epoch: int, file: str | Path | None) -> str | None:
    """How a run continues that a file in its folder ended: the disk is full, or the folder or its drive is gone."""
    kept = is_file(folder / "state.pt") or not is_folder(folder)
    if file is None or not epoch or not kept or folder not in Path(file).parents:
        return None
    return (
        f"complete epochs are kept: when its folder can be written again, `regard train --resume {folder}` continues "
        "the run (in Python: regard.resume)"
    )


def _finish(trainer: Trainer) -> _Outcome:
    """Measure the best weights, write what is only known at the end, and report it."""
    settings, folder, data = trainer.settings, trainer.path, trainer.data
    best = weights_of_run(folder)
    model = load_detector(best, modules=trainer.detector.user_modules).to(trainer.fabric.device)
    split, records = validation_split(data)
    loader = ValidationLoader(records, imgsz=settings.imgsz, batch=settings.batch, workers=0, stride=model.max_stride)
    metrics = evaluate(fuse(model).to(memory_format=torch.channels_last), loader, records, data.names)
    if metrics.ap == 0:
        log.warning("AP was 0 in every validated epoch, so best.safetensors contains the weights of the last one")
    gates = named_gates(model)
    about = {"weights": best.name, "epoch": load_weights(best)[1].extra.get("epoch"), "split": split}
    RunFolder(folder).write_json("metrics.json", {**about, **metrics.to_dict(), "gates": gates})
    state = trainer.state
    trainer.callbacks.emit(
        RunEnd(
            folder=folder,
            epoch=state.epoch,
            rows=tuple(state.rows),
            model=model,
            weights=best,
            metrics=metrics,
            gates=gates,
            reason=trainer.stop_reason,
        )
    )
    return _Outcome(best, metrics, gates)


def describe_data(data: DetectionDataset) -> dict[str, Any]:
    """Describe the source, as an absolute path, the size of the data, and images in train and others, for JSON."""
    counts = {
        split: {"images": len(records), "boxes": sum(len(record.class_ids) for record in records)}
        for split, records in data.splits.items()
    }
    source = data.source if data.source.startswith(PREFIX) else os.path.abspath(data.source)
    description = {"source": source, "format": data.format, "names": list(data.names), "splits": counts}
    return {**description, "also_in_train": also_in_train(data)}


def fingerprint(detector: Detector) -> dict[str, Any]:
    """Fingerprint of a starting point: its size, and a hash over all tensors."""
    digest = hashlib.sha256()
    for key, tensor in detector.state_dict().items():
        digest.update(key.encode())
        digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return {"parameters": sum(p.numel() for p in detector.parameters()), "sha256": digest.hexdigest()}
