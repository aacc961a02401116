"""What a run's process is told: its starting point and its settings, as files in its folder."""

from __future__ import annotations

import hashlib
from pathlib import Path

from regard.ablate.folder import JOB, START
from regard.ablate.hardware import Hardware
from regard.ablate.plan import Plan
from regard.ablate.variants import Entry, Lineup, order_seed
from regard.config import TrainSettings, describe
from regard.data.dataset import DetectionDataset
from regard.data.images import ImageFile
from regard.data.loader import TrainLoader
from regard.errors import RegardError
from regard.training.folder import RunFolder
from regard.training.run import fingerprint
from regard.weights.detector import save_detector


def run_settings(plan: Plan, entry: Entry, seed: int, epochs: int, hardware: Hardware) -> TrainSettings:
    """Return the settings of one run, with nothing left for its machine to decide."""
    update = {**vars(hardware), "autoanchor": False}  # anchors: done for the base, once for all variants of a seed
    return plan.settings(order_seed(entry, seed), epochs).model_copy(update=update)


def write_job(
    folder: Path, lineup: Lineup, entry: Entry, seed: int, settings: TrainSettings, *, limit: int = 0
) -> None:
    """Write a run's start and then its job.

    Args:
        folder: of the run; made where it does not exist.
        lineup: of the study.
        entry: the variant.
        seed: of the study.
        settings: of the run.
        limit: use only so many images of each split; 0 for all.
    """
    plan = lineup.plan
    out = RunFolder(folder)
    save_detector(folder / START, lineup.start(entry, seed))
    job = {
        "settings": describe(settings),
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


def file_sums(plan: Plan) -> dict[str, str]:
    """Return a hash over the content of every file that a plan names for a model, weights, a recipe or a module."""
    named = [plan.base, plan.weights, plan.recipe, *plan.model]
    named += [reference.partition(".py:")[0] + ".py" * (".py:" in reference) for reference in plan.module]
    sums = {}
    for name in (text for text in named if isinstance(text, str)):
        path = Path(name)
        inside = sorted(path.glob("*.safetensors")) if path.is_dir() else [path]
        files = [file for file in inside if file.is_file()]  # a name of the zoo is no file
        if files:
            sums[name] = hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()
    return sums


def checksum(data: DetectionDataset) -> str:
    """Return a hash over every image file and label; drawn scenes are what their names say."""
    digest = hashlib.sha256(repr(data.names).encode())
    for split, records in sorted(data.splits.items()):
        digest.update(split.encode())
        for record in records:
            source = record.image
            digest.update(source.path.read_bytes() if isinstance(source, ImageFile) else source.name.encode())
            digest.update(record.boxes_cxcywh.tobytes() + record.class_ids.tobytes())
    return digest.hexdigest()
