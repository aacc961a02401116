"""Checks before a study: changed files, seeds without an effect, images in several splits."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path

from regard.ablate.plan import Plan
from regard.ablate.variants import VariantBuilder
from regard.data.dataset import DetectionDataset, Sample
from regard.data.images import ImageFile
from regard.data.loader import TrainLoader
from regard.errors import RegardError
from regard.training.run import fingerprint


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
