"""A run from beginning to end: processes started, trained, the best weights measured once more, all of it kept."""

from __future__ import annotations

import hashlib
import math
import os
import warnings
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import nn

from regard.config import TrainSettings
from regard.data.dataset import DetectionDataset
from regard.data.formats import load_data
from regard.data.validation import ValidationLoader
from regard.errors import RegardError
from regard.evaluation import Metrics, evaluate
from regard.graph.detector import Detector
from regard.nn.fuse import fuse
from regard.profiling.fit import check_attention_fits
from regard.training.folder import RunFolder, read_config
from regard.training.loop import Trainer, named_gates, validation_split
from regard.training.pictures import Pictures
from regard.training.precision import FABRIC, resolve
from regard.weights.detector import RUN_WEIGHTS, load_detector
from regard.weights.store import load_weights


@dataclass(frozen=True)
class Run:
    """What training came to.

    Attributes:
        folder: everything about the run: weights, table, configuration, pictures.
        metrics: of the best epoch's weights on the validation split.
        model: the detector with those weights, in evaluation mode.
        gates: the final value of every gate by the name of its layer; empty without gates.
    """

    folder: Path
    metrics: Metrics
    model: Detector
    gates: dict[str, float] = field(default_factory=dict)


def run_training(
    detector: Detector, data: DetectionDataset, settings: TrainSettings, folder: Path, *, resume: bool = False
) -> Run:
    """Train ``detector``, which is left as it was, on ``data`` and return the best epoch's weights.

    Args:
        detector: where to start from.
        data: with splits train and val.
        settings: budget, recipe, hardware.
        folder: where the run is kept.
        resume: continue from the folder's ``state.pt``.

    Raises:
        RegardError: the data, the settings or the hardware do not allow it, or the folder holds a run already.
    """
    if not resume and (folder / "run.json").is_file():
        raise RegardError(
            "there is a run in this folder", file=folder, hint="continue it with --resume, or name another"
        )
    check_attention_fits(
        detector, settings.imgsz, math.ceil(settings.batch / settings.devices), _device(settings.device)
    )
    fabric = _fabric(settings)
    config = {"data": describe_data(data), "start": fingerprint(detector)}
    # A partial, as Fabric looks into plain arguments for modules and stumbles over frozen dataclasses.
    fit = partial(
        _fit, detector=deepcopy(detector), data=data, settings=settings, folder=folder, config=config, resume=resume
    )
    if settings.devices > 1 and not _launched_from_outside():
        fabric.launch(fit)
    else:
        fabric.launch()
        fit(fabric)
    return _finish(data, settings, folder, detector.user_modules)


def resume_training(folder: Path, *, modules: Mapping[str, type[nn.Module]] | None = None) -> Run:
    """Continue the run in ``folder`` exactly where its last finished epoch left it.

    Raises:
        RegardError: there is no run, or nothing to continue from.
    """
    config = read_config(folder)
    settings = TrainSettings.model_validate(config["settings"])
    data = load_data(config["data"]["source"], single_cls=settings.single_cls, classes=settings.classes)
    detector = load_detector(folder / "last.safetensors", modules=modules)
    return run_training(detector, data, settings, folder, resume=True)


def _fit(
    fabric: Fabric,
    detector: Detector,
    data: DetectionDataset,
    settings: TrainSettings,
    folder: Path,
    config: Mapping[str, Any],
    resume: bool,
) -> None:
    """Train in one process; started once in each."""
    if fabric.world_size > 1:
        torch.set_num_threads(max((os.cpu_count() or 1) // fabric.world_size, 1))
    Trainer(fabric, detector, data, settings, folder, config, resume=resume).fit()


def describe_data(data: DetectionDataset) -> dict[str, Any]:
    """Return where the data are and how much there is, JSON-ready."""
    counts = {
        split: {"images": len(records), "boxes": sum(len(record.class_ids) for record in records)}
        for split, records in data.splits.items()
    }
    return {"source": data.source, "format": data.format, "names": list(data.names), "splits": counts}


def fingerprint(detector: Detector) -> dict[str, Any]:
    """Return what tells two starting points apart: the size, and a hash over all tensors."""
    digest = hashlib.sha256()
    for key, tensor in detector.state_dict().items():
        digest.update(key.encode())
        digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return {"parameters": sum(p.numel() for p in detector.parameters()), "sha256": digest.hexdigest()}


def _finish(
    data: DetectionDataset, settings: TrainSettings, folder: Path, modules: Mapping[str, type[nn.Module]]
) -> Run:
    """Measure the best weights and write what is only known at the end."""
    best = next(file for name in RUN_WEIGHTS if (file := folder / name).is_file())
    model = load_detector(best, modules=modules).to(_device(settings.device))
    split, records = validation_split(data)
    loader = ValidationLoader(records, imgsz=settings.imgsz, batch=settings.batch, workers=0, stride=model.max_stride)
    metrics = evaluate(fuse(model).to(memory_format=torch.channels_last), loader, records, data.names)
    gates = named_gates(model)
    about = {"weights": best.name, "epoch": load_weights(best)[1].extra["epoch"], "split": split}
    RunFolder(folder).write_json("metrics.json", {**about, **metrics.to_dict(), "gates": gates})
    if settings.plots:
        pictures = Pictures(folder, data.names)
        pictures.metrics(metrics)
        pictures.predictions(model, records, settings.imgsz)
    return Run(folder, metrics, model.cpu(), gates)


def _fabric(settings: TrainSettings) -> Fabric:
    accelerator, index = _accelerator(settings.device)
    precision = FABRIC[resolve(settings.precision, accelerator)]
    devices: Any = [index] if index is not None and settings.devices == 1 else settings.devices
    if accelerator == "cpu":
        devices = settings.devices
    strategy = "auto" if settings.devices == 1 else "ddp" if _launched_from_outside() else "ddp_spawn"
    with warnings.catch_warnings():
        # Fabric tells users of CPUs with GPUs beside them that they might want those; they named the device.
        warnings.filterwarnings("ignore", message="GPU available but not used")
        return Fabric(accelerator=accelerator, devices=devices, strategy=strategy, precision=precision)


def _accelerator(device: str) -> tuple[str, int | None]:
    """Return Fabric's accelerator and the index of the device, for "auto", "cpu", "cuda", "cuda:1", "1" or "mps"."""
    kind, _, number = ("cuda", "", device) if device.isdigit() else device.partition(":")
    if kind == "auto":
        kind = "cuda" if torch.cuda.is_available() else "cpu"
    if kind not in ("cpu", "cuda", "mps") or (number and not number.isdigit()):
        raise RegardError(f"there is no device {device!r}", expected="auto, cpu, cuda, cuda:N, N or mps")
    if kind == "cuda" and not torch.cuda.is_available():
        raise RegardError(f"device {device!r} is asked for, and torch sees no CUDA device", hint="use --device cpu")
    return kind, int(number) if number else None


def _device(device: str) -> torch.device:
    kind, index = _accelerator(device)
    return torch.device(kind if index is None else f"{kind}:{index}")


def _launched_from_outside() -> bool:
    """Whether torchrun, or another launcher, has started one process for each device already."""
    return "LOCAL_RANK" in os.environ and "WORLD_SIZE" in os.environ
