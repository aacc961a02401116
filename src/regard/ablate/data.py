"""The data of a study of detectors: checks before the study, checksums, and the detections of its runs on val."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from regard.ablate.folder import VAL, RunRecord
from regard.ablate.plan import Plan
from regard.ablate.variants import VariantBuilder
from regard.data.dataset import DetectionDataset, Sample
from regard.data.images import ImageFile, image_size
from regard.data.loader import TrainLoader
from regard.errors import RegardError
from regard.evaluation.matching import match_classes, weighted_ap
from regard.system.loaders import read_json
from regard.training.run import fingerprint
from regard.types import Detections


def check_seeds(builder: VariantBuilder) -> dict[str, str]:
    """Hash the base's starting point and the first batch of each seed; no two may be equal.

    Raises:
        RegardError: two seeds would give the same run, for example with one image and no augmentation.
    """
    plan, seen = builder.plan, dict[str, int]()
    for seed in plan.seeds:
        settings = plan.settings(seed, 1)
        loader = TrainLoader(
            builder.data.splits["train"],
            settings=settings.recipe.augment,
            imgsz=plan.imgsz,
            batch=plan.batch,
            seed=seed,
            workers=0,
        )
        batch = next(loader.epoch(0))
        digest = hashlib.sha256(fingerprint(builder.base(seed))["sha256"].encode())
        digest.update(batch.images.numpy().tobytes())
        if (key := digest.hexdigest()) in seen:
            raise RegardError(
                f"the seeds {seen[key]} and {seed} have the same start and the same first batch",
                hint="with more than a batch of images, augmentation or fresh weights, seeds differ",
            )
        seen[key] = seed
    return {str(seed): key for key, seed in seen.items()}


def file_sums(plan: Plan) -> dict[str, str]:
    """Hash every file that a plan names for a model, weights, a recipe or a module."""
    named = [plan.base, plan.weights, plan.recipe, *plan.model]
    named += [reference.partition(".py:")[0] + ".py" * (".py:" in reference) for reference in plan.module]
    sums = {}
    for name in (text for text in named if isinstance(text, str)):
        path = Path(name)
        inside = sorted(path.glob("*.safetensors")) if path.is_dir() else [path]
        files = [file for file in inside if file.is_file()]  # a name of the zoo is not a file
        if files:
            sums[name] = hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()
    return sums


def checksum(data: DetectionDataset) -> str:
    """Hash every image file and label; a drawn scene is determined by its name."""
    digest = hashlib.sha256(repr(data.names).encode())
    for split, samples in sorted(data.splits.items()):
        digest.update(split.encode())
        for sample in samples:
            source = sample.image
            digest.update(source.path.read_bytes() if isinstance(source, ImageFile) else source.name.encode())
            digest.update(sample.boxes_cxcywh.tobytes() + sample.class_ids.tobytes())
    return digest.hexdigest()


def overlap_lines(data: DetectionDataset) -> list[str]:
    """State how many images of val and of test are also used for training, one sentence each; empty if none are."""
    lines = []
    for split in ("val", "test"):
        samples = data.splits.get(split, ())
        if count := also_trained_on(data.splits["train"], samples):
            of = f"all {count}" if count == len(samples) else f"{count} of the {len(samples)}"
            lines.append(
                f"{of} images of {split} are also trained on: what is measured there is partly memory and shows "
                "little about new images"
            )
    return lines


def also_trained_on(train: Sequence[Sample], other: Sequence[Sample]) -> int:
    """Count images of ``other`` that are also in ``train``, by name or path, else by the content of the file."""
    names = {_identity(sample) for sample in train}
    sizes = {path.stat().st_size for path in _files(train)} & {path.stat().st_size for path in _files(other)}
    contents = {_digest(path) for path in _files(train) if path.stat().st_size in sizes}  # others need not be read

    def is_known(sample: Sample) -> bool:
        if _identity(sample) in names:
            return True
        return any(path.stat().st_size in sizes and _digest(path) in contents for path in _files([sample]))

    return sum(map(is_known, other))


def _files(samples: Iterable[Sample]) -> list[Path]:
    return [sample.image.path for sample in samples if isinstance(sample.image, ImageFile)]


def _identity(sample: Sample) -> str:
    """Path of a file with all links followed; a drawn scene is determined by its name."""
    return str(sample.image.path.resolve()) if isinstance(sample.image, ImageFile) else sample.image.name


def _digest(path: Path) -> bytes:
    return hashlib.sha256(path.read_bytes()).digest()


LEVELS = {"ap": slice(None), "ap50": slice(0, 1), "ap75": slice(5, 6)}
"""IoU thresholds of the metrics that can be measured on resampled images."""


def image_sizes(samples: Sequence[Sample]) -> list[tuple[int, int]]:
    """(height, width) in pixels of each image file, to which detections refer."""
    return [image_size(sample.image) for sample in samples]


def read_detections(run: RunRecord, sizes: Sequence[tuple[int, int]], names: Sequence[str]) -> list[Detections]:
    """Read the detections in each val image, best score first.

    Raises:
        RegardError: the file is missing, damaged, or belongs to other images or classes.
    """
    file = run.folder / VAL
    try:
        entries = read_json(file)
        rows = np.array([(e["image_id"], e["category_id"], e["score"], *e["bbox"]) for e in entries], dtype=np.float64)
    except (ValueError, TypeError, KeyError) as error:
        raise RegardError(
            f"the detections cannot be read ({error})", file=file, expected="a COCO results file"
        ) from error
    rows = rows.reshape(-1, 7)
    rows = rows[np.argsort(-rows[:, 2], kind="stable")]
    limits = [(0, 1, len(sizes)), (1, 0, len(names) - 1)]
    if any(rows[:, i].min(initial=low) < low or rows[:, i].max(initial=low) > high for i, low, high in limits):
        raise RegardError("detections in other images or of other classes than those of val", file=file)
    by_id, own = dict(enumerate(names)), rows[:, 0].astype(int)
    return [_detections(rows[own == i], size, by_id) for i, size in enumerate(sizes, start=1)]


def resampled_metric(
    run: RunRecord, metric: str, weights: NDArray[np.int64], samples: Sequence[Sample], names: Sequence[str]
) -> NDArray[np.float64] | None:
    """Compute AP of a run's detections on draws of val images; None for a metric that is not an AP over all sizes.

    Args:
        run: finished, with its detections in its folder.
        metric: that decides.
        weights: (draws, images) how often each image was drawn.
        samples: the val images with their labels.
        names: class names.

    Returns:
        (draws,) AP; NaN for a draw without labelled boxes.
    """
    if metric not in LEVELS:
        return None
    detections = read_detections(run, image_sizes(samples), names)
    return weighted_ap(match_classes(detections, samples, len(names)), weights, LEVELS[metric])


def _detections(rows: NDArray[np.float64], size: tuple[int, int], names: Mapping[int, str]) -> Detections:
    boxes = rows[:, 3:].copy()
    boxes[:, 2:] += boxes[:, :2]
    scores, class_ids = rows[:, 2].astype(np.float32), rows[:, 1].astype(np.int64)
    return Detections(boxes.astype(np.float32), scores, class_ids, names, size)
