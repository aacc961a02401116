"""One run in a process of its own: ``python -m regard.ablate.worker FOLDER...``.

It trains from the folder's start, or continues where an earlier process was killed, measures the detector on val, and
ends with a result or a failure on disk. It ends with the process that started it: its standard input is a pipe from
there, which the system closes however that process ends.
"""

from __future__ import annotations

import os
import resource
import select
import sys
import threading
import traceback
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from regard.ablate.folder import FAILURE, JOB, RESULT, START, VAL, alone, is_over, read_json, read_run
from regard.ablate.hardware import device_here
from regard.ablate.measure import detect_split, place_for
from regard.allocator import keep_freed_memory
from regard.config import TrainSettings
from regard.data.dataset import DetectionDataset
from regard.data.formats import load_data
from regard.errors import RegardError
from regard.evaluation import save_coco_json, score
from regard.evaluation.metrics import HEADLINE
from regard.graph.user_modules import import_modules
from regard.training.folder import RunFolder
from regard.training.run import fingerprint, resume_training, run_training
from regard.weights.detector import load_detector

MIB = 2**20


def run_job(folder: Path) -> None:
    """Bring the run in ``folder`` to its end; at once where it is over."""
    with alone(folder):
        if is_over(folder):
            return
        out = RunFolder(folder)
        try:
            result = _train_and_measure(folder, read_json(folder / JOB))
        except Exception as error:  # whatever a variant raises is its own result; the other runs go on
            traceback.print_exc()
            out.write_json(FAILURE, {"error": describe_failure(error)})
            return
        out.write_json(RESULT, result)
        for name in (START, "state.pt"):  # only continuing needed them
            (folder / name).unlink(missing_ok=True)


def describe_failure(error: BaseException) -> str:
    """Return in one line why a run failed."""
    lines = str(error).strip().splitlines() or [""]
    if isinstance(error, torch.OutOfMemoryError | MemoryError) or "can't allocate memory" in str(error):
        return f"out of memory: {lines[0]}"
    if isinstance(error, RegardError):
        return " ".join(line.strip() for line in lines)
    return f"{type(error).__name__}: {lines[0]}"


def _train_and_measure(folder: Path, job: Mapping[str, Any]) -> dict[str, Any]:
    settings = TrainSettings.model_validate(job["settings"])
    modules = import_modules(job["modules"])
    data = load_data(job["data"], single_cls=settings.single_cls, classes=settings.classes)
    _train(folder, settings, data, job["limit"], modules)
    detector = place_for(load_detector(folder / f"{job['epoch']}.safetensors", modules=modules), settings.device)
    records = _limited(data, job["limit"]).splits["val"]
    detections = detect_split(detector, records, imgsz=settings.imgsz, batch=settings.batch)
    numbered = [replace(record, image_id=i) for i, record in enumerate(records, start=1)]
    save_coco_json(folder / VAL, detections, numbered)
    values = score(detections, records, data.names).to_dict()
    return {
        "metrics": {name: values[name] for name in HEADLINE},
        "per_class": {entry["name"]: entry["ap"] for entry in values["per_class"]},
        "gates": read_json(folder / "metrics.json")["gates"],
        "seconds": read_run("", settings.seed, folder).seconds,
        "peak_mib": peak_mib(settings.device),
        "weights": fingerprint(detector)["sha256"],
    }


def _train(
    folder: Path, settings: TrainSettings, data: DetectionDataset, limit: int, modules: Mapping[str, type[nn.Module]]
) -> None:
    """Train, or continue if an earlier process had begun to."""
    if (folder / "run.json").is_file() and (folder / "state.pt").is_file():
        resume_training(folder, modules=modules)
    else:
        run_training(load_detector(folder / START, modules=modules), _limited(data, limit), settings, folder)


def peak_mib(device: str) -> float:
    """Return the most memory so far in MiB: of the GPU where ``device`` is one, else of this process."""
    if device_here(device) == "cuda":
        return torch.cuda.max_memory_reserved() / MIB
    unit = 1 if sys.platform == "darwin" else 1024  # bytes on macOS, KiB elsewhere
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / MIB


def _limited(data: DetectionDataset, limit: int) -> DetectionDataset:
    """Return the first images of each split; all of them where ``limit`` is 0."""
    if not limit:
        return data
    return replace(data, splits={name: records[:limit] for name, records in data.splits.items()})


def end_with(*pipes: int) -> None:
    """End this process when the other end of any of these pipes is closed; nothing may be written to them."""

    def wait() -> None:
        select.select(pipes, [], [])
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def main() -> None:
    """Bring each run named on the command line to its end."""
    keep_freed_memory()
    end_with(sys.stdin.fileno())
    for folder in sys.argv[1:]:
        run_job(Path(folder))


if __name__ == "__main__":
    main()
