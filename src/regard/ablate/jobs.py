"""What a run's process is told: its starting point and its settings, as files in its folder."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import torch

from regard.ablate.folder import JOB, START
from regard.ablate.variants import Entry, Lineup, order_seed
from regard.config import describe
from regard.data.images import ImageFile
from regard.data.loader import TrainLoader
from regard.data.record import DetectionData
from regard.errors import RegardError
from regard.training.folder import RunFolder
from regard.training.run import fingerprint
from regard.weights.detector import save_detector


def write_job(folder: Path, lineup: Lineup, entry: Entry, seed: int, *, epochs: int, limit: int = 0) -> None:
    """Write a run's start and then its job.

    Args:
        folder: of the run; made where it does not exist.
        lineup: of the study.
        entry: the variant.
        seed: of the study.
        epochs: budget.
        limit: use only so many images of each split; 0 for all.
    """
    plan = lineup.plan
    settings = plan.settings(order_seed(entry, seed), epochs)
    update: dict[str, Any] = {"autoanchor": False}  # done for the base, once for all variants of a seed
    if "workers" not in plan.train and not (torch.cuda.is_available() and settings.device != "cpu"):
        update |= {"workers": 0}  # runs beside each other fill the cores already
    out = RunFolder(folder)
    save_detector(folder / START, lineup.start(entry, seed))
    job = {
        "settings": describe(settings.model_copy(update=update)),
        "data": plan.data,
        "modules": list(plan.module),
        "epoch": plan.epoch,
        "limit": limit,
    }
    out.write_json(JOB, job)


def check_seeds(lineup: Lineup) -> dict[str, str]:
    """Return for each seed a hash of where the base starts and of its first batch; no two may be equal.

    Raises:
        RegardError: two seeds would give the same run, such as one image without augmentation would.
    """
    plan, seen = lineup.plan, dict[str, int]()
    for seed in plan.seeds:
        settings = plan.settings(seed, 1)
        loader = TrainLoader(
            lineup.data.splits["train"],
            settings=settings.recipe.augment,
            imgsz=plan.imgsz,
            batch=plan.batch,
            seed=seed,
            workers=0,
        )
        batch = next(loader.epoch(0))
        digest = hashlib.sha256(fingerprint(lineup.base(seed))["sha256"].encode())
        digest.update(batch.images.numpy().tobytes())
        if (key := digest.hexdigest()) in seen:
            raise RegardError(
                f"the seeds {seen[key]} and {seed} have the same start and the same first batch",
                hint="with more than a batch of images, augmentation or fresh weights, seeds differ",
            )
        seen[key] = seed
    return {str(seed): key for key, seed in seen.items()}


def checksum(data: DetectionData) -> str:
    """Return a hash over every image file and label; drawn scenes are what their names say."""
    digest = hashlib.sha256(repr(data.names).encode())
    for split, records in sorted(data.splits.items()):
        digest.update(split.encode())
        for record in records:
            source = record.image
            digest.update(source.path.read_bytes() if isinstance(source, ImageFile) else source.name.encode())
            digest.update(record.boxes_cxcywh.tobytes() + record.class_ids.tobytes())
    return digest.hexdigest()
